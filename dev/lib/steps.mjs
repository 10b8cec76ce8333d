// Steps of a test run: each is announced, timed, and counted; one that fails hides no other.

import { stream } from './child.mjs';
import { Failure } from './exec.mjs';
import { Tally } from './tally.mjs';

const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/** A step that cannot be done here, which is no failure. */
export class Skip extends Error {}

export class Steps {
  #ends = [];
  #failed = new Set();
  #appendix = [];

  /** Whether any step has failed. */
  get failed() {
    return this.#failed.size > 0;
  }

  /**
   * Runs a step, or says that it does not run because one that it needs has failed.
   *
   * @param {string} name
   * @param {(tally: Tally) => Promise<void>} body throws a Failure or a Skip; what it counts in `tally` are tests
   * @param {{ needs?: string[] }} [options] names of earlier steps
   */
  async step(name, body, { needs = [] } = {}) {
    console.log(`\n━━ ${name}`);
    const tally = new Tally();
    const started = Date.now();
    const end = { name, tally, state: 'ok', why: '' };
    try {
      const missing = needs.find((need) => this.#failed.has(need));
      if (missing) throw new Failure(`not run, because "${missing}" failed`);
      await body(tally);
    } catch (error) {
      end.state = error instanceof Skip ? 'SKIPPED' : 'FAILED';
      end.why = error instanceof Skip || error instanceof Failure ? error.message : error.stack;
    }
    // A step without tests of its own counts as one, and so does a failure that no test reported.
    if (end.state === 'SKIPPED') tally.skipped += 1;
    else if (end.state === 'FAILED' && tally.failed === 0) tally.failed += 1;
    else if (!tally.any) tally.passed += 1;
    // A runner may close with failures and still end with status 0.
    if (end.state === 'ok' && tally.failed > 0) end.state = 'FAILED';
    if (end.state === 'FAILED') this.#failed.add(name);
    end.ms = Date.now() - started;
    this.#ends.push(end);
    console.log(`━━ ${name}: ${end.state} (${seconds(end.ms)})${end.why ? `: ${end.why}` : ''}`);
  }

  /**
   * A step that is one command.
   *
   * @param {string} name
   * @param {readonly string[]} command
   * @param {{ env?: Record<string, string | undefined>, cwd?: string, needs?: string[] }} [options]
   */
  command(name, command, { needs, ...options } = {}) {
    return this.step(name, (tally) => must(command, { ...options, tally }), { needs });
  }

  /** Has a text printed at the end, in front of the sum. */
  append(text) {
    this.#appendix.push(text);
  }

  /** Prints what became of every step, and the sum of all as the last line. */
  close() {
    const sum = new Tally();
    const width = Math.max(...this.#ends.map(({ name }) => name.length));
    console.log('\n━━ summary');
    for (const { name, state, tally, ms, why } of this.#ends) {
      sum.add(tally);
      console.log(
        `${state.padEnd(8)}${name.padEnd(width + 2)}${seconds(ms).padStart(9)}  ${why.split('\n')[0] || tally}`,
      );
    }
    // Again, because what a runner printed is far above, or cut off.
    for (const { name, state, tally } of this.#ends) {
      if (state === 'FAILED' && tally.named.length > 0)
        console.log(`\nfailed in ${name}:\n  ${tally.named.join('\n  ')}`);
    }
    for (const { name, state, why } of this.#ends) {
      if (state === 'SKIPPED') console.log(`\n!!! SKIPPED: ${name} !!!\n${why}`);
    }
    for (const text of this.#appendix) console.log(`\n${text}`);
    console.log(`\n${sum}`);
  }
}

/**
 * Runs a command and counts the tests that it reports.
 *
 * @throws {Failure} when it does not end with status 0
 */
export async function must(command, { tally, ...options }) {
  const failure = await stream(command, { ...options, onLine: (line) => tally.line(line) });
  if (failure) throw new Failure(`${command.slice(0, 3).join(' ')} … ${failure}`);
}
