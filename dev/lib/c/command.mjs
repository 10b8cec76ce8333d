// A command that has to succeed and reports no tests.

import { stream } from '../child.mjs';
import { Failure } from '../exec.mjs';

/**
 * @param {readonly string[]} command
 * @param {Parameters<typeof stream>[1]} [options]
 * @throws {Failure} when it does not end with status 0
 */
export async function must(command, options) {
  const failure = await stream(command, options);
  if (failure) throw new Failure(`${command.slice(0, 3).join(' ')} … ${failure}`);
}
