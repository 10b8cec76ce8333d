import type { Expiring } from './deadline';
import { TimeoutError } from './error';
import type { Registration } from './registry';

/** A delivery that is with its handlers. */
export interface Delivery {
  readonly ticketLo: number;
  readonly ticketHi: number;
  answered: boolean;
}

/**
 * A running call of a handler.
 *
 * @typeParam D - what called it
 * @internal
 */
export class Call<D = unknown> implements Expiring {
  /** Nobody waits for it any more. */
  ended = false;
  /** Nobody can use its result any more; `reason` says why. */
  isAborted = false;
  reason: Error | undefined;
  /** It took longer than it may, so its result is of no use. */
  isExpired = false;
  /** By `now()`; unused without a timeout. */
  deadline = 0;
  #controller: AbortController | undefined;
  #giveUp: ((reason: Error) => void) | undefined;

  constructor(
    readonly dispatcher: D,
    readonly registration: Registration,
    readonly delivery: Delivery,
  ) {}

  /** Made when it is first asked for: most handlers never do. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.isAborted) this.#controller.abort(this.reason);
    }
    return this.#controller.signal;
  }

  abort(reason: Error): void {
    if (this.isAborted) return;
    this.isAborted = true;
    this.reason = reason;
    this.#controller?.abort(reason);
  }

  /**
   * What the call returned, until it expires.
   *
   * @param settled - called when it settles, even after it expired
   */
  until(returned: PromiseLike<unknown>, settled: () => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#giveUp = reject;
      returned.then(
        (value) => {
          resolve(value);
          settled();
        },
        (reason) => {
          reject(reason);
          settled();
        },
      );
    });
  }

  expire(): void {
    const { handlerTimeoutMs } = this.registration;
    const error = new TimeoutError(`it took longer than ${handlerTimeoutMs} ms`, {
      hint: 'end what the handler does when context.signal aborts, or raise handlerTimeoutMs',
    });
    this.isExpired = true;
    // Its end comes first, so that a listener of the signal that throws does not keep the event from the next attempt.
    this.#giveUp?.(error);
    this.abort(error);
  }
}
