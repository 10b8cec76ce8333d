import type { PublishOutcome } from './error';

/** @internal */
export interface AbortDetails {
  readonly outcome?: PublishOutcome;
  readonly topic?: string;
}

/**
 * What the bus uses of an `AbortSignal`. Structural, so that one of another realm will do, and so that programs
 * compile without the libraries that declare it.
 */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** @internal */
export function isAbortSignal(value: unknown): value is AbortSignalLike {
  const signal = value as Partial<AbortSignalLike> | null | undefined;
  return typeof signal?.aborted === 'boolean' && typeof signal.addEventListener === 'function';
}

/**
 * A call was given up through its `AbortSignal`; `cause` is the signal's reason. Like Node's own, it
 * is told by its name, `AbortError`, or its code, `ABORT_ERR`.
 */
export class AbortError extends Error {
  readonly code = 'ABORT_ERR';
  readonly retryable = false;
  /** Of a publish: `not_sent` when it still waited, `unknown` when it had been handed to the client. */
  declare readonly outcome?: PublishOutcome;
  declare readonly topic?: string;

  /** @internal */
  constructor(message: string, signal: AbortSignalLike, about: AbortDetails = {}) {
    super(message, { cause: signal.reason });
    Object.assign(this, about);
  }
}
// Enumerable properties of an error are printed; its name is in the stack already.
Object.defineProperty(AbortError.prototype, 'name', {
  value: 'AbortError',
  configurable: true,
  writable: true,
});

/** @internal */
export interface Abortable {
  abort(signal: AbortSignalLike): void;
}

interface Watched {
  readonly calls: Set<Abortable>;
  readonly listener: () => void;
}

/**
 * Calls that end with their signals. One listener a signal, however many calls share it: Node warns
 * of a leak from eleven on.
 *
 * @internal
 */
export class Aborts {
  readonly #signals = new Map<AbortSignalLike, Watched>();

  add(signal: AbortSignalLike, call: Abortable): void {
    const present = this.#signals.get(signal);
    if (present !== undefined) {
      present.calls.add(call);
      return;
    }
    const calls = new Set([call]);
    const listener = (): void => {
      this.#signals.delete(signal);
      for (const each of calls) each.abort(signal);
    };
    this.#signals.set(signal, { calls, listener });
    signal.addEventListener('abort', listener, { once: true });
  }

  delete(signal: AbortSignalLike, call: Abortable): void {
    const present = this.#signals.get(signal);
    if (!present?.calls.delete(call) || present.calls.size > 0) return;
    this.#signals.delete(signal);
    signal.removeEventListener('abort', present.listener);
  }
}
