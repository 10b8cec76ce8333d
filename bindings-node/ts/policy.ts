import type { IsRetryable } from './failure';

/** How often and when a failed event is tried again. */
export interface RetryOptions {
  /** Attempts in all, the first included; 1 is no retry. Default 5. */
  readonly attempts?: number;
  /** The delay before the second attempt, in milliseconds. Default 200. */
  readonly initialDelayMs?: number;
  /** No delay between attempts is longer, in milliseconds. Default 30 000. */
  readonly maxDelayMs?: number;
  /** By what each further delay grows; 1 keeps them equal. Default 2. */
  readonly multiplier?: number;
  /** `full` takes a random time between nothing and the delay, so that many failures do not come back at once. Default `full`. */
  readonly jitter?: 'full' | 'none';
  /** No attempt starts later than this after the first failure, in milliseconds. Default 300 000. */
  readonly maxElapsedMs?: number;
}

/** How events are handled: order, retries, and what becomes of those that nobody can handle. */
export interface DeliveryPolicy {
  /**
   * What must not overlap: events of a `partition`, or only those of one `key`, while different keys run side by
   * side. Default `partition`.
   */
  readonly ordering?: 'partition' | 'key';
  /** How many events of a type may be with their handlers at once, with `ordering: 'key'`. Default 64. */
  readonly concurrency?: number;
  /** How often and when a failed event is tried again. */
  readonly retry?: RetryOptions;
  /** How long one call of a handler may take before it counts as failed, in milliseconds; 0 is for ever. Default 0. */
  readonly handlerTimeoutMs?: number;
  /** What becomes of an event after its last attempt; `halt` stops its partition. Default `dead-letter`. */
  readonly onExhausted?: 'dead-letter' | 'skip' | 'halt';
  /** What becomes of a record that holds no event; `halt` stops its partition. Default `skip`. */
  readonly onInvalid?: 'skip' | 'dead-letter' | 'halt';
  /** Whether later events of a key follow one that became a dead letter. Default `false`. */
  readonly parkKey?: boolean;
  /** The topic of dead letters; `{topic}` stands for the event's topic. Default `{topic}.dead-letter`. */
  readonly deadLetterTopic?: string;
  /**
   * Decides whether another attempt may handle an event, of an error without a boolean `retryable`. Without it
   * every such error is worth another attempt. One that throws counts as `true`.
   */
  readonly isRetryable?: IsRetryable;
}

/** Where a group starts that has committed nothing yet. */
export type StartFrom = 'earliest' | 'latest' | { readonly timestamp: Date | number };

/**
 * What a subscription wants that differs from the configuration of the bus.
 *
 * All but `isRetryable` belong to the event type: every handler of a type that gives options gives the same ones.
 */
export interface SubscribeOptions extends DeliveryPolicy {
  /**
   * Where a group starts that has committed nothing yet: at the oldest event, behind the newest one, or at the first
   * one of that time (a `Date`, or milliseconds since the Unix epoch) or later. Default `earliest`.
   */
  readonly from?: StartFrom;
}

/**
 * The options as the core reads them.
 *
 * @internal
 */
export function coreOptions({ isRetryable: _, from, ...rest }: SubscribeOptions): object {
  if (typeof from !== 'object' || from === null) return { ...rest, from };
  return { ...rest, from: { ...from, timestamp: Number(from.timestamp) } };
}
