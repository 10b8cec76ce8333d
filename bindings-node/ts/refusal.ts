import { AbortError, type AbortSignalLike } from './abort';
import {
  brand,
  ClosedError,
  type ErrorKind,
  EventBusError,
  PublishError,
  type PublishOutcome,
  TimeoutError,
} from './error';

// The errors of publishes that end on the JavaScript side.

/** @internal */
export function aborted(
  signal: AbortSignalLike,
  outcome: PublishOutcome,
  topic: string,
): AbortError {
  const what =
    outcome === 'not_sent'
      ? 'before it was sent'
      : 'after it was handed to the client, which may still store it';
  return new AbortError(`the publish to ${topic} was aborted ${what}`, signal, { outcome, topic });
}

/** @internal */
export function timedOut(outcome: PublishOutcome, topic: string): TimeoutError {
  const message =
    outcome === 'not_sent'
      ? `no place in flight came free in time for the publish to ${topic}`
      : `the publish to ${topic} was not acknowledged in time`;
  const hint =
    outcome === 'not_sent'
      ? 'it was not sent: publish it again, publish less at once, or raise timeoutMs, publishTimeoutMs or maxInFlight'
      : 'it may still be stored: consumers recognise a second copy by its eventId';
  return new TimeoutError(message, { outcome, topic, hint });
}

/** @internal */
export function closing(outcome: PublishOutcome, topic?: string): ClosedError {
  const message =
    outcome === 'not_sent'
      ? 'the event bus was disconnected before the event was sent'
      : 'the event bus was disconnected before the event was acknowledged';
  const hint = 'await publishes before disconnect(), or give disconnect() more time';
  return new ClosedError(message, { outcome, topic, hint });
}

/** @internal */
export function queueFull(
  waiting: number,
  waitingBytes: number,
  maxQueuedBytes: number,
  topic: string,
): PublishError {
  return new PublishError(
    `too much waits to be published: ${waiting} events with ${waitingBytes} bytes, of at most ${maxQueuedBytes} bytes`,
    {
      kind: 'QueueFull',
      outcome: 'not_sent',
      topic,
      hint: 'await publishes before making more, or raise maxInFlight, publishMaxInFlightBytes or maxQueuedBytes',
    },
  );
}

/** @internal */
export function tooLarge(bytes: number, max: number, eventId: string, topic: string): PublishError {
  return new PublishError(
    `event ${eventId} takes ${bytes} bytes as JSON, more than the ${max} that messageMaxBytes allows`,
    {
      kind: 'TooLarge',
      outcome: 'not_sent',
      topic,
      context: { eventId },
      hint: 'publish a reference to the data instead, or raise messageMaxBytes and the limit of the topic (max.message.bytes)',
    },
  );
}

/** One event of a `publishMany` that was not published. */
export interface PublishFailure {
  /** Its place in what was passed, from 0. */
  readonly index: number;
  /** Why; its `outcome` says whether the event may have been stored. */
  readonly error: Error & { readonly outcome?: PublishOutcome; readonly retryable?: boolean };
}

/**
 * Some events of a `publishMany` failed; all others are stored. `kind`, `code` and `cause` are the
 * first failure's; `retryable` is true if every failure is; `outcome` is `not_sent` if every failure is.
 *
 * @example
 * ```ts
 * try {
 *   await bus.publishMany(events);
 * } catch (error) {
 *   if (!(error instanceof PublishManyError)) throw error;
 *   for (const { index, error: why } of error.failures) console.error(events[index].eventId, why.message);
 * }
 * ```
 */
export class PublishManyError extends EventBusError {
  /** The failures, by index. */
  readonly failures: readonly PublishFailure[];

  /** @internal */
  constructor(count: number, failures: PublishFailure[]) {
    failures.sort((a, b) => a.index - b.index);
    const { index, error } = failures[0] as PublishFailure;
    const every = (test: (error: PublishFailure['error']) => boolean): boolean =>
      failures.every((failure) => test(failure.error));
    super(
      `${failures.length} of ${count} events were not published; the first, at index ${index}: ${error.message}`,
      {
        kind: (error as { kind?: ErrorKind }).kind ?? 'IllegalState',
        outcome: every((one) => one.outcome === 'not_sent') ? 'not_sent' : 'unknown',
        topic: (error as { topic?: string }).topic,
        hint: (error as { hint?: string }).hint,
        cause: error,
      },
    );
    Object.assign(this, { retryable: every((one) => one.retryable === true) });
    this.failures = failures;
  }
}
brand(PublishManyError, ['PublishManyError', 'PublishError', 'EventBusError']);
