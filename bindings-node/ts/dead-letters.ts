import { type EventHeaders, unpackHeaders } from './context';
import { ArgumentError } from './error';
import { nameValue } from './event';

/**
 * The headers of dead letters, behind those that the record had itself, and of records that were replayed. The README
 * says what each holds.
 */
export const DEAD_LETTER_HEADERS = {
  topic: 'dead-letter.topic',
  partition: 'dead-letter.partition',
  offset: 'dead-letter.offset',
  timestamp: 'dead-letter.timestamp',
  group: 'dead-letter.group',
  reason: 'dead-letter.reason',
  handler: 'dead-letter.handler',
  attempts: 'dead-letter.attempts',
  errorCode: 'dead-letter.error-code',
  errorMessage: 'dead-letter.error-message',
  firstFailedAt: 'dead-letter.first-failed-at',
  lastFailedAt: 'dead-letter.last-failed-at',
  reduced: 'dead-letter.reduced',
  replayId: 'dead-letter.replay-id',
  replayCount: 'dead-letter.replay-count',
} as const;

/** Why an event is a dead letter. */
export type DeadLetterReason = 'exhausted' | 'fatal' | 'invalid' | 'parked' | 'requested';

/** Which dead letters are meant; all that is given has to hold. */
export interface DeadLetterFilter {
  /** One reason, or any of several. */
  readonly reason?: DeadLetterReason | readonly DeadLetterReason[];
  /** The last attempt failed then (a `Date`, or milliseconds since the Unix epoch) or later. */
  readonly since?: Date | number;
  /** The last attempt failed before then. */
  readonly until?: Date | number;
  /** They lie in this partition of the dead-letter topic. */
  readonly partition?: number;
  /** They lie at this offset; needs the partition. */
  readonly offset?: number;
  /** They have this key, which is the aggregate's id. */
  readonly key?: string | Uint8Array;
}

/** Options of {@link DeadLetters.list}. */
export interface ListOptions extends DeadLetterFilter {
  /** How many at most. Default 100. */
  readonly limit?: number;
}

/** Options of {@link DeadLetters.replay}. */
export interface ReplayOptions extends DeadLetterFilter {
  /** How many at most. Default no bound. */
  readonly limit?: number;
  /** How many a second at most; 0.5 is one in two seconds. Default no bound. */
  readonly ratePerSecond?: number;
  /** Only tells what would be replayed. Default `false`. */
  readonly dryRun?: boolean;
  /** An event that was replayed so often already is skipped and reported. Default 3. */
  readonly maxReplays?: number;
}

/** What is known of a dead letter, without its value and headers. */
export interface DeadLetter {
  /** Its partition in the dead-letter topic. */
  readonly partition: number;
  /** Its offset in the dead-letter topic. */
  readonly offset: number;
  readonly sourceTopic: string;
  readonly sourcePartition: number;
  readonly sourceOffset: number;
  /** The record's timestamp, where the broker stored one. */
  readonly timestamp: Date | null;
  /** The event's id; `null` where the record holds no event. */
  readonly eventId: string | null;
  /** The record's key; `null` is Kafka's null. */
  readonly key: Uint8Array | null;
  /** The bytes of key, value and headers. */
  readonly size: number;
  /** The consumer group that could not handle it. */
  readonly group: string | null;
  readonly reason: DeadLetterReason | null;
  /** The handler that failed. */
  readonly handler: string | null;
  readonly attempts: number | null;
  /** The code or class of the last error. */
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  readonly firstFailedAt: Date | null;
  readonly lastFailedAt: Date | null;
  /** The code of the error because of which the letter only says where the record lies. */
  readonly reduced: string | null;
  /** How often the event had been replayed before it became this dead letter. */
  readonly replays: number;
}

/** A dead letter with its record. */
export interface DeadLetterRecord extends DeadLetter {
  /** The record's value; `null` is a tombstone. */
  readonly value: Uint8Array | null;
  /** The headers that the record had before it became a dead letter. */
  readonly headers: EventHeaders;
}

/** A letter that was not replayed; it stays where it is. */
export interface SkippedLetter {
  readonly partition: number;
  readonly offset: number;
  /** How often its event was replayed before. */
  readonly replays: number;
  /** `max-replays`: that often was enough; `reduced`: its record is missing; `refused`: the broker did not take it. */
  readonly why: 'max-replays' | 'reduced' | 'refused';
  /** The code of the broker's refusal. */
  readonly code?: string;
  /** What the refusal says. */
  readonly message?: string;
}

/** What a replay did, or, as a dry run, would do. */
export interface ReplayReport {
  /** Records of the dead-letter topic that were read. */
  readonly read: number;
  /** Letters that are stored in the event's topic again. */
  readonly replayed: number;
  /** Letters that match and were not replayed. */
  readonly skipped: number;
  /** The first 1000 of those. */
  readonly skippedLetters: readonly SkippedLetter[];
  readonly dryRun: boolean;
  /** Nothing that matches is left: the end was reached, not the limit. */
  readonly complete: boolean;
}

/**
 * Asks the core; a function of the bus, which rejects while it is not connected.
 *
 * @internal
 */
export type AskDeadLetters = (requestJson: string) => Promise<unknown>;

const DEFAULT_LIMIT = 100;

/**
 * The dead letters of one event type, from `bus.deadLetters(type)`.
 *
 * @example
 * ```ts
 * const letters = bus.deadLetters('order.placed');
 * for (const letter of await letters.list({ reason: 'exhausted' })) {
 *   console.log(letter.partition, letter.offset, letter.eventId, letter.errorMessage);
 * }
 * const { replayed, skipped } = await letters.replay({ since: new Date('2026-01-01'), ratePerSecond: 50 });
 * ```
 */
export class DeadLetters {
  readonly #eventType: string;
  readonly #topic: string | undefined;
  readonly #ask: AskDeadLetters;

  /** @internal */
  constructor(eventType: string, topic: string | undefined, ask: AskDeadLetters) {
    this.#eventType = eventType;
    this.#topic = topic;
    this.#ask = ask;
  }

  /**
   * What is known of the letters that match, those whose last attempt failed first in front. Letters that were
   * replayed stay in the topic and in this list.
   *
   * @throws `EventBusError` with code `EVBUS_UNKNOWN_TOPIC` while there is no dead-letter topic, and what else reading
   * may fail with
   * @throws {@link ArgumentError} for an invalid option
   */
  async list(options: ListOptions = {}): Promise<DeadLetter[]> {
    const { limit = DEFAULT_LIMIT } = optionsOf(options);
    const request = { ...filterOf(options), limit: whole('limit', limit) };
    const found = (await this.#call('list', request)) as WireLetter[];
    return found.map(readLetter);
  }

  /**
   * One letter with its record.
   *
   * @throws {@link ArgumentError} when there is no dead letter of this event type at that place
   */
  async show(place: {
    readonly partition: number;
    readonly offset: number;
  }): Promise<DeadLetterRecord> {
    const { partition, offset } = optionsOf(place);
    const request = { partition: whole('partition', partition), offset: whole('offset', offset) };
    const found = (await this.#call('show', request)) as WireRecord;
    const headers = unpackHeaders(Buffer.from(found.headers, 'hex'));
    return { ...readLetter(found), value: bytesOf(found.value), headers };
  }

  /**
   * Publishes the letters that match to the topic and partition that they came from, as they were, with the headers
   * `dead-letter.replay-id` and `dead-letter.replay-count`.
   *
   * It goes on where the last replay with the same filter ended, and ends where the topic ended when it began. The way
   * is kept as offsets of a consumer group, always behind the acknowledgements: a replay that is killed and started
   * again leaves nothing out, and repeats at most the last 100 letters, which their replay id tells. A filter for one
   * offset always replays that letter.
   *
   * @throws {@link ArgumentError} for an invalid option
   * @throws `EventBusError` that may not come again, with the number of letters that were `replayed` in its `context`:
   * start the replay again to go on
   */
  async replay(options: ReplayOptions = {}): Promise<ReplayReport> {
    const { limit, ratePerSecond, dryRun, maxReplays } = optionsOf(options);
    const request = {
      ...filterOf(options),
      limit: limit === undefined ? limit : whole('limit', limit),
      ratePerSecond,
      dryRun,
      maxReplays: maxReplays === undefined ? maxReplays : whole('maxReplays', maxReplays),
    };
    if (ratePerSecond !== undefined && !(Number.isFinite(ratePerSecond) && ratePerSecond > 0)) {
      throw invalid('ratePerSecond', 'a number above 0', ratePerSecond);
    }
    if (dryRun !== undefined && typeof dryRun !== 'boolean') {
      throw invalid('dryRun', 'a boolean', dryRun);
    }
    return (await this.#call('replay', request)) as ReplayReport;
  }

  #call(call: string, request: object): Promise<unknown> {
    const [eventType, topic] = [this.#eventType, this.#topic];
    return this.#ask(JSON.stringify({ call, eventType, topic, ...request }));
  }
}

/** Bytes come as hexadecimal digits and times as milliseconds. */
type WireLetter = Omit<DeadLetter, 'key' | 'timestamp' | 'firstFailedAt' | 'lastFailedAt'> & {
  readonly key: string | null;
  readonly timestamp: number | null;
  readonly firstFailedAt: number | null;
  readonly lastFailedAt: number | null;
};

type WireRecord = WireLetter & { readonly value: string | null; readonly headers: string };

const bytesOf = (digits: string | null): Buffer | null =>
  digits === null ? null : Buffer.from(digits, 'hex');

const dateOf = (time: number | null): Date | null => (time === null ? null : new Date(time));

function readLetter(wire: WireLetter): DeadLetter {
  const { value: _, headers: __, ...letter } = wire as WireLetter & Partial<WireRecord>;
  return {
    ...letter,
    key: bytesOf(letter.key),
    timestamp: dateOf(letter.timestamp),
    firstFailedAt: dateOf(letter.firstFailedAt),
    lastFailedAt: dateOf(letter.lastFailedAt),
  };
}

function filterOf(options: DeadLetterFilter): object {
  const { reason, since, until, partition, offset, key } = optionsOf(options);
  return {
    reasons: reason === undefined ? undefined : [reason].flat(),
    since: since === undefined ? undefined : timeOf('since', since),
    until: until === undefined ? undefined : timeOf('until', until),
    partition: partition === undefined ? undefined : whole('partition', partition),
    offset: offset === undefined ? undefined : whole('offset', offset),
    key: key === undefined ? undefined : Buffer.from(keyOf(key)).toString('hex'),
  };
}

function optionsOf<O extends object>(options: O): O {
  if (typeof options === 'object' && options !== null) return options;
  throw new ArgumentError(`the options must be an object, got ${nameValue(options)}`);
}

function keyOf(key: unknown): Uint8Array {
  if (typeof key === 'string') return Buffer.from(key);
  if (key instanceof Uint8Array) return key;
  throw invalid('key', 'a text or bytes', key);
}

function timeOf(option: string, value: unknown): number {
  const time = value instanceof Date ? value.getTime() : value;
  if (Number.isSafeInteger(time)) return time as number;
  throw invalid(option, 'a Date, or milliseconds since the Unix epoch', value);
}

function whole(option: string, value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw invalid(option, 'a whole number from 0', value);
}

function invalid(option: string, wanted: string, value: unknown): ArgumentError {
  return new ArgumentError(`${option} must be ${wanted}, got ${nameValue(value)}`, {
    context: { option },
  });
}
