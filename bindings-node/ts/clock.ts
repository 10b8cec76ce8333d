import { performance } from 'node:perf_hooks';
import * as timers from 'node:timers';

// Captured when the module loads: a test that installs fake timers afterwards must not stop the bus.

/** @internal */
export const setTimeout = timers.setTimeout;
/** @internal */
export const clearTimeout = timers.clearTimeout;
/** @internal */
export const setInterval = timers.setInterval;
/** @internal */
export const clearInterval = timers.clearInterval;
/** @internal */
export const setImmediate = timers.setImmediate;

/**
 * Milliseconds that only go forward, with fractions.
 *
 * @internal
 */
export const now: () => number = performance.now.bind(performance);

/**
 * Runs a task when the code that runs now, and the microtasks before it, are done.
 *
 * @internal
 */
export function soon(task: () => void): void {
  void RESOLVED.then(task);
}

const RESOLVED = Promise.resolve();
