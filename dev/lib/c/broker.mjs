// A program that is a broker: it prints its address and lives until its input ends.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Failure } from '../exec.mjs';

/**
 * Runs a body while a broker runs.
 *
 * @param {readonly string[]} command the broker's program
 * @param {Record<string, string>} env added to ours
 * @param {(brokers: string) => Promise<void>} body
 */
export async function withBroker([program, ...args], env, body) {
  const broker = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(broker, 'exit');
  try {
    const [address] = await Promise.race([
      once(createInterface({ input: broker.stdout }), 'line'),
      ended.then(() => {
        throw new Failure(`the embedded broker of ${program} ended at once`);
      }),
    ]);
    await body(address);
  } finally {
    broker.stdin.end();
    await ended;
  }
}
