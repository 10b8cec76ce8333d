import type { AbortSignalLike } from './abort';
import type { Batch } from './delivery';

/** The type of `AbortSignal` where the program knows one, and else what the bus offers of it. */
type Signal = typeof globalThis extends { AbortSignal: { prototype: infer S } }
  ? S
  : AbortSignalLike;

/**
 * A record's headers in their order, duplicates included. Iterating gives pairs of a name and its bytes.
 *
 * @example
 * ```ts
 * for (const [name, value] of context.headers) console.log(name, value?.toString('hex'));
 * ```
 */
export interface EventHeaders extends Iterable<readonly [name: string, value: Uint8Array | null]> {
  /** How many there are. */
  readonly size: number;
  /** The value of the last header of that name, read as UTF-8; `null` is Kafka's null. */
  get(name: string): string | null | undefined;
  /** The bytes of all headers of that name, in their order. */
  getAll(name: string): readonly (Uint8Array | null)[];
}

/** Where an event comes from, which attempt this is, and when to give up. */
export interface HandlerContext {
  /** The topic, which is the event's type. */
  readonly topic: string;
  readonly partition: number;
  /** The offset in the partition. */
  readonly offset: number;
  /** The record's timestamp, where the broker stores one. */
  readonly timestamp: Date | undefined;
  /** The record's headers, those of the bus (`eventId`, `version`, `timestamp`) included. */
  readonly headers: EventHeaders;
  /** The record's key, read as UTF-8: the aggregate's id. */
  readonly key: string | null;
  /** The number of this attempt, from 1. */
  readonly attempt: number;
  /** Whether no attempt follows this one, should it fail. */
  readonly isLastAttempt: boolean;
  /**
   * Aborts when the result is of no use any more: the handler took longer than `handlerTimeoutMs`, its partition
   * went to another member, or the bus ended. `signal.reason` says which.
   */
  readonly signal: Signal;
}

/**
 * Makes what is seldom asked for when it is asked for.
 *
 * @internal
 */
export class DeliveryContext implements HandlerContext {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly attempt: number;
  readonly isLastAttempt: boolean;
  readonly #batch: Batch;
  readonly #at: number;
  readonly #call: { readonly signal: AbortSignal };
  #headers: EventHeaders | undefined;

  constructor(topic: string, batch: Batch, at: number, call: { readonly signal: AbortSignal }) {
    this.topic = topic;
    this.partition = batch.partition(at);
    this.offset = batch.offset(at);
    this.attempt = batch.attempt(at);
    this.isLastAttempt = batch.isLastAttempt(at);
    this.#batch = batch;
    this.#at = at;
    this.#call = call;
  }

  get timestamp(): Date | undefined {
    const time = this.#batch.time(this.#at);
    return time === undefined ? undefined : new Date(time);
  }

  get key(): string | null {
    return this.#batch.key(this.#at);
  }

  get headers(): EventHeaders {
    this.#headers ??= unpackHeaders(this.#batch.headers(this.#at));
    return this.#headers;
  }

  get signal(): Signal {
    return this.#call.signal as Signal;
  }
}

/**
 * Reads packed headers; the bytes are copied.
 *
 * @internal
 */
export function unpackHeaders(packed: Buffer): EventHeaders {
  const pairs: (readonly [string, Buffer | null])[] = [];
  for (let at = 0; at < packed.length; ) {
    const nameEnd = at + 2 + packed.readUInt16LE(at);
    const name = packed.toString('utf8', at + 2, nameEnd);
    const length = packed.readInt32LE(nameEnd);
    at = nameEnd + 4 + Math.max(length, 0);
    // A copy, so that a header that is kept does not keep the batch that it came with.
    pairs.push([name, length < 0 ? null : Buffer.from(packed.subarray(nameEnd + 4, at))]);
  }
  const getAll = (name: string) =>
    pairs.filter(([known]) => known === name).map(([, value]) => value);
  return {
    size: pairs.length,
    getAll,
    get(name) {
      const last = getAll(name).at(-1);
      return last === undefined || last === null ? last : last.toString('utf8');
    },
    [Symbol.iterator]: () => pairs[Symbol.iterator](),
  };
}
