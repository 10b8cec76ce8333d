import type { ErrorCode } from './error';

/** The state of a bus in numbers. Counters start at 0 with each `connect()`. */
export interface BusMetrics {
  /** Whether a broker can be reached and publishes make progress; at most 3 s late. */
  readonly connected: boolean;
  /** How often the connection was lost. */
  readonly connectionsLost: number;
  /** Kafka clients that gave up for good and were replaced. */
  readonly clientsRebuilt: number;
  readonly publish: PublishMetrics;
  readonly consume: ConsumeMetrics;
  /** Failures by the code of their kind; a kind that never failed has no entry. */
  readonly errors: { readonly [code in ErrorCode]?: number };
}

/** What became of publishes. */
export interface PublishMetrics {
  /** Events that the brokers acknowledged. */
  readonly acknowledged: number;
  /** Publishes that failed, refused ones included. */
  readonly failed: number;
  /** Events handed to the client and not yet acknowledged. */
  readonly inFlight: number;
  /** Publishes that wait for a free place in flight. */
  readonly waiting: number;
  /** Their bytes. */
  readonly waitingBytes: number;
  /** Publishes that were given up through an `AbortSignal`. */
  readonly aborted: number;
  /** Acknowledged events per second, over the last 10 seconds. */
  readonly perSecond: number;
}

/** What became of received records. */
export interface ConsumeMetrics {
  /** Records received. */
  readonly received: number;
  /** Events whose handlers all succeeded. */
  readonly handled: number;
  /** Attempts in which a handler failed. */
  readonly failed: number;
  /** Attempts after the first one. */
  readonly retries: number;
  /** Records that are stored in a dead-letter topic. */
  readonly deadLettered: number;
  /** Events that were passed over because their attempts were used up. */
  readonly skipped: number;
  /** Records that are not events. */
  readonly invalid: number;
  /** Handler results that came after their partition had gone to another member. */
  readonly handledAfterRevoke: number;
  /** Handler results that came after `handlerTimeoutMs`. */
  readonly handledAfterTimeout: number;
  /** Events handed to handlers and not yet finished. */
  readonly inFlight: number;
  /** Bytes of received records that are not finished. */
  readonly inFlightBytes: number;
  /** Finished events per second, over the last 10 seconds. */
  readonly perSecond: number;
  /** Assignments and revocations of partitions. */
  readonly rebalances: number;
  /** Commits that failed; they are tried again. */
  readonly commitFailures: number;
  /** Partitions that went on from another offset because theirs was not in the log any more. */
  readonly offsetResets: number;
  /** Partitions that are paused because their handlers are behind. */
  readonly pausedPartitions: number;
  /** Partitions that stand still because of `halt`. */
  readonly haltedPartitions: number;
  /** Partitions that have records and get none, for no reason of the bus; they are being healed. */
  readonly stalledPartitions: number;
  /** How often a partition began to stand still so. */
  readonly stalls: number;
  /** Records on their way to a dead-letter topic; nothing is committed past them. */
  readonly deadLettersPending: number;
  /** How far the group is behind, per partition that this member owns. */
  readonly lag: readonly PartitionLag[];
  /** How long handlers took. */
  readonly processingTime: Histogram;
}

/** How far the group is behind on one partition. */
export interface PartitionLag {
  readonly topic: string;
  readonly partition: number;
  /** Records between the first unfinished one and the end of the partition. */
  readonly lag: number;
}

/** A histogram of durations. */
export interface Histogram {
  /** How many were measured. */
  readonly count: number;
  /** Their sum, in seconds. */
  readonly sum: number;
  /** Per bucket its upper bound in seconds (`null`: unbounded) and how many fell into it, not those below. */
  readonly buckets: readonly (readonly [bound: number | null, count: number])[];
}

/** What became of everything when a bus was disconnected. */
export interface DisconnectReport {
  /** Events whose handlers finished meanwhile. */
  readonly handled: number;
  /** Received events that were not finished; they are delivered again to the group. */
  readonly abandoned: number;
  /** Events acknowledged meanwhile. */
  readonly published: number;
  /** Publishes that were given up at the deadline; each rejected with its own error. */
  readonly lost: number;
  /** Whether every step ended before the deadline. */
  readonly clean: boolean;
}

/**
 * The numbers of a bus that has not been connected yet.
 *
 * @internal
 */
export const NO_METRICS: BusMetrics = {
  connected: false,
  connectionsLost: 0,
  clientsRebuilt: 0,
  publish: {
    acknowledged: 0,
    failed: 0,
    inFlight: 0,
    waiting: 0,
    waitingBytes: 0,
    aborted: 0,
    perSecond: 0,
  },
  consume: {
    received: 0,
    handled: 0,
    failed: 0,
    retries: 0,
    deadLettered: 0,
    skipped: 0,
    invalid: 0,
    handledAfterRevoke: 0,
    handledAfterTimeout: 0,
    inFlight: 0,
    inFlightBytes: 0,
    perSecond: 0,
    rebalances: 0,
    commitFailures: 0,
    offsetResets: 0,
    pausedPartitions: 0,
    haltedPartitions: 0,
    stalledPartitions: 0,
    stalls: 0,
    deadLettersPending: 0,
    lag: [],
    processingTime: { count: 0, sum: 0, buckets: [] },
  },
  errors: {},
};
