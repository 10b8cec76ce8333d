// The order domain as a program: node examples/node/main.mjs [options], see options.mjs.

import { realpathSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { openBroker } from './broker.mjs';
import { Demo, TYPES } from './demo.mjs';
import { parseOptions, USAGE, UsageError } from './options.mjs';
import { LiveView } from './view/LiveView.mjs';

/** What a shell expects of a program that Ctrl+C ended. */
const INTERRUPTED = 130;

/**
 * @param {string[]} args
 * @returns {Promise<number>} the exit status
 */
export async function main(args) {
  const options = parseOptions(args);
  if (options === undefined) {
    console.log(USAGE);
    return 0;
  }
  const broker = await openBroker(options.brokers, TYPES);
  const view = new LiveView(process.stdout, broker.name);
  const demo = new Demo(broker.config, options, (line) => view.log(line));

  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  // Once: a second Ctrl+C ends the process as it would without this.
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  view.start(demo);
  try {
    await demo.run(interruption.signal);
  } finally {
    view.stop();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
    await broker.stop();
  }
  view.summarise(demo, interruption.signal.aborted);
  if (interruption.signal.aborted) return INTERRUPTED;
  return demo.succeeded ? 0 : 1;
}

if (process.argv[1] && pathToFileURL(realpathSync(process.argv[1])).href === import.meta.url) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    const { message, hint } = /** @type {Error & { hint?: string }} */ (error);
    console.error(`error: ${message}${hint ? `\n  ${hint}` : ''}`);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
