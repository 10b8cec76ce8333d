/** @import { IEventHandler } from '@repo-packages/i_event-bus' */

/**
 * A broken service, to show that a lost event is noticed: it says of every n-th event that it is
 * handled, and does nothing.
 *
 * @param {IEventHandler<any>} handler
 * @param {number} every 0: never
 * @returns {IEventHandler<any>}
 */
export function forgetful(handler, every) {
  if (every === 0) return handler;
  let count = 0;
  return {
    async handle(event) {
      count += 1;
      if (count % every !== 0) await handler.handle(event);
    },
  };
}
