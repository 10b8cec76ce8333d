import type { HandlerContext } from './context';
import { EventBusError } from './error';

/** What {@link RetryableError} and {@link FatalHandlerError} take beside their message. */
export interface FailureOptions {
  /** What it came from. */
  readonly cause?: unknown;
  /** A short name of the failure, for the headers of dead letters. By default the name of the class. */
  readonly code?: string;
}

/**
 * For handlers to throw: the event may be handled by another attempt. It is tried again as long as the policy allows.
 *
 * @example
 * ```ts
 * if (response.status === 503) throw new RetryableError('the warehouse is overloaded');
 * ```
 */
export class RetryableError extends Error {
  readonly retryable = true;
  declare readonly code?: string;

  constructor(message: string, options: FailureOptions = {}) {
    super(message, causeOf(options));
    withCode(this, options);
  }
}
named(RetryableError);

/**
 * For handlers to throw: no attempt can handle the event. Its retries end at once.
 *
 * @example
 * ```ts
 * if (order === undefined) throw new FatalHandlerError(`there is no order ${event.aggregateId}`);
 * ```
 */
export class FatalHandlerError extends Error {
  readonly retryable = false;
  declare readonly code?: string;

  constructor(message: string, options: FailureOptions = {}) {
    super(message, causeOf(options));
    withCode(this, options);
  }
}
named(FatalHandlerError);

function causeOf({ cause }: FailureOptions): ErrorOptions {
  return cause === undefined ? {} : { cause };
}

function withCode(error: Error, { code }: FailureOptions): void {
  if (code !== undefined) Object.assign(error, { code });
}

// Enumerable properties of an error are printed; its name is in the stack already.
function named(type: { readonly name: string; readonly prototype: object }): void {
  Object.defineProperty(type.prototype, 'name', {
    value: type.name,
    configurable: true,
    writable: true,
  });
}

/** Decides whether another attempt may handle an event, of an error that does not say so itself. */
export type IsRetryable = (error: unknown, context: HandlerContext) => boolean;

/** What failed, as the core writes it into logs and dead letters. */
export interface Failure {
  readonly handler: string;
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean | undefined;
}

/** Kinds of errors of the bus that say that the event itself is at fault. */
const INPUT_KINDS: ReadonlySet<string> = new Set(['Argument', 'Codec', 'TooLarge']);

/**
 * What an error says about further attempts; `undefined` when it says nothing.
 *
 * That an error of the bus is not retryable speaks of the bus, closed or refused, and seldom of the event.
 *
 * @internal
 */
export function retryableOf(thrown: unknown): boolean | undefined {
  if (typeof thrown !== 'object' || thrown === null) return undefined;
  const { retryable, name, kind } = thrown as {
    retryable?: unknown;
    name?: unknown;
    kind?: unknown;
  };
  if (typeof retryable !== 'boolean') return undefined;
  if (name === 'AbortError') return undefined;
  if (thrown instanceof EventBusError && !retryable) {
    return INPUT_KINDS.has(kind as string) ? false : undefined;
  }
  return retryable;
}

/**
 * The code that an error brings along, or the name of its class.
 *
 * @internal
 */
export function codeOf(thrown: unknown): string {
  if (typeof thrown !== 'object' || thrown === null) return typeof thrown;
  const { code, name } = thrown as { code?: unknown; name?: unknown };
  if (typeof code === 'string' && code !== '') return code;
  return typeof name === 'string' && name !== '' ? name : 'Error';
}

/** @internal */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/**
 * The failures of several handlers as one. Another attempt is worth it as long as one of them allows it.
 *
 * @internal
 */
export function joined(failures: readonly Failure[]): Failure {
  const first = failures[0] as Failure;
  if (failures.length === 1) return first;
  const { code, message } = first;
  return {
    handler: failures.map(({ handler }) => handler).join(', '),
    code,
    message: `${message} (and ${failures.length - 1} more handlers failed)`,
    retryable: failures.every(({ retryable }) => retryable === false) ? false : undefined,
  };
}
