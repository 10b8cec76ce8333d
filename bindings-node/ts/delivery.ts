import { CodecError } from './error';
import type { BaseEventPayload, IDomainEvent } from './event';
import type { DeliveryBatch } from './native';
import { reviveEvent } from './serialize';

/** How many numbers a delivery takes in the index of its batch. */
export const COLUMNS = 18;

// The columns that are read; core/src/frame.rs has them all.
export const LANE = 0;
export const TOPIC_ID = 1;
const PARTITION = 2;
const OFFSET_LO = 3;
const OFFSET_HI = 4;
const TIME_LO = 5;
const TIME_HI = 6;
export const TICKET_LO = 7;
export const TICKET_HI = 8;
const KEY_POS = 9;
const KEY_LEN = 10;
const HEADERS_POS = 11;
const VALUE_POS = 12;
const VALUE_LEN = 13;
const ATTEMPT = 14;
const FLAGS = 15;
const OCCURRED_ON_LO = 16;
const OCCURRED_ON_HI = 17;

const HAS_TIME = 1;
const HAS_OCCURRED_ON = 2;
const LAST_ATTEMPT = 4;

const TWO_TO_32 = 2 ** 32;

/** What is made text at once: a string above 128 KiB would get memory of its own, which is dear. */
const CHUNK_BITS = 16;

/**
 * A batch of deliveries as it is read. `at` is where the numbers of a delivery begin.
 *
 * @internal
 */
export class Batch {
  readonly index: Int32Array;
  readonly #data: Buffer;
  /** Text by chunks, of which a part costs next to nothing; none where a byte is not a character. */
  readonly #chunks: (string | undefined)[] | undefined;

  constructor({ data, index, isAscii }: DeliveryBatch) {
    this.index = index;
    this.#data = data;
    this.#chunks = isAscii ? [] : undefined;
  }

  partition(at: number): number {
    return this.index[at + PARTITION] as number;
  }

  offset(at: number): number {
    return toNumber(this.index[at + OFFSET_LO] as number, this.index[at + OFFSET_HI] as number);
  }

  attempt(at: number): number {
    return this.index[at + ATTEMPT] as number;
  }

  isLastAttempt(at: number): boolean {
    return this.#has(at, LAST_ATTEMPT);
  }

  /** The record's timestamp in milliseconds. */
  time(at: number): number | undefined {
    if (!this.#has(at, HAS_TIME)) return undefined;
    return toNumber(this.index[at + TIME_LO] as number, this.index[at + TIME_HI] as number);
  }

  key(at: number): string | null {
    const start = this.index[at + KEY_POS] as number;
    const length = this.index[at + KEY_LEN] as number;
    return length < 0 ? null : this.#data.toString('utf8', start, start + length);
  }

  /** The packed headers, in memory of the batch. */
  headers(at: number): Buffer {
    return this.#data.subarray(this.index[at + HEADERS_POS], this.index[at + VALUE_POS]);
  }

  /**
   * The event, with the record's timestamp where the event does not say when it occurred.
   *
   * @throws {@link CodecError} when the record holds no event
   */
  event(at: number): IDomainEvent {
    const { index } = this;
    const start = index[at + VALUE_POS] as number;
    const text = this.#text(start, start + (index[at + VALUE_LEN] as number));
    const occurredOn = this.#has(at, HAS_OCCURRED_ON)
      ? toNumber(index[at + OCCURRED_ON_LO] as number, index[at + OCCURRED_ON_HI] as number)
      : (this.time(at) ?? Number.NaN);
    return reviveEvent<BaseEventPayload>(parse(text), occurredOn);
  }

  #has(at: number, flag: number): boolean {
    return ((this.index[at + FLAGS] as number) & flag) !== 0;
  }

  #text(start: number, end: number): string {
    const number = start >> CHUNK_BITS;
    if (this.#chunks === undefined || (end - 1) >> CHUNK_BITS !== number) {
      return this.#data.toString('utf8', start, end);
    }
    const from = number << CHUNK_BITS;
    this.#chunks[number] ??= this.#data.toString('latin1', from, from + (1 << CHUNK_BITS));
    return this.#chunks[number].substring(start - from, end - from);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CodecError(`the record is not JSON: ${(cause as Error).message}`, { cause });
  }
}

function toNumber(lo: number, hi: number): number {
  return hi * TWO_TO_32 + (lo >>> 0);
}
