import type { ErrorCode } from './error';

/** Whether a bus does its work, as of half a second ago; the connection is up to 3 s late. */
export interface BusHealth {
  /** False when something stands still that a restart of the process may bring back: what a liveness probe asks. */
  readonly live: boolean;
  /** Publishes and handlers can make progress now: what a readiness probe asks. Never without `live`. */
  readonly ready: boolean;
  /** As `isConnected`. */
  readonly connected: boolean;
  /** All that is not as it should be, the worst first. Not every reason makes the bus unready. */
  readonly reasons: readonly HealthReason[];
  /** Partitions that stand still because of `halt`, or because their dead letter was refused. */
  readonly haltedPartitions: readonly HaltedPartition[];
  /** Partitions that have records and get none; they are being healed. */
  readonly stalledPartitions: readonly StalledPartition[];
  /** Records on their way to a dead-letter topic. */
  readonly deadLettersPending: number;
  /**
   * The latest failure that no caller heard of, for example of a connection or of a commit. It may be long over;
   * `null` when there was none.
   */
  readonly lastError: { readonly code: ErrorCode; readonly message: string } | null;
}

/**
 * What can be wrong with a bus. The words are those of the log's events.
 *
 * Not live: `internal_error`, `consumer_failed`, `partition_halted`, `partition_stalled`. Not ready either:
 * `not_connected`, `connection_lost`, `client_fatal`. Neither: `dead_letter_failed`.
 */
export type HealthCode =
  | 'internal_error'
  | 'consumer_failed'
  | 'partition_halted'
  | 'partition_stalled'
  | 'not_connected'
  | 'connection_lost'
  | 'client_fatal'
  | 'dead_letter_failed';

/** Something that is not as it should be. */
export interface HealthReason {
  readonly code: HealthCode;
  /** For a person: on what, and why. */
  readonly message: string;
}

/** A partition that stands still by policy, until another member or a restart tries its record again. */
export interface HaltedPartition {
  readonly topic: string;
  readonly partition: number;
  /** The offset of the record that nobody may pass. */
  readonly offset: number;
  /** Why, for a person. */
  readonly reason: string;
}

/** A partition that has records and gets none, for no reason of the bus. */
export interface StalledPartition {
  readonly topic: string;
  readonly partition: number;
  /** The first offset that is not handled; `null` while nobody knows. */
  readonly position: number | null;
  /** The offset behind the newest record that can be read. */
  readonly highWatermark: number;
  /** For how long, in milliseconds. */
  readonly stalledMs: number;
  /** The client does not fetch on, does not find out where to begin, or records wait although handlers are free. */
  readonly reason: 'not_fetched' | 'no_position' | 'not_handed_out';
}

/**
 * The health of a bus that is connected to nothing.
 *
 * @internal
 */
export function unconnected(message: string): BusHealth {
  return {
    live: true,
    ready: false,
    connected: false,
    reasons: [{ code: 'not_connected', message }],
    haltedPartitions: [],
    stalledPartitions: [],
    deadLettersPending: 0,
    lastError: null,
  };
}

/**
 * The health of a bus in which nothing can go wrong.
 *
 * @internal
 */
export const WELL: BusHealth = {
  ...unconnected(''),
  ready: true,
  connected: true,
  reasons: [],
};
