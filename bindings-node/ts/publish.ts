import { AbortError, type AbortSignalLike, Aborts, isAbortSignal } from './abort';
import { now, soon } from './clock';
import { Deadlines } from './deadline';
import {
  ArgumentError,
  type ErrorCode,
  errorFromNative,
  type NativeError,
  type PublishOutcome,
} from './error';
import { type BaseEventPayload, type IDomainEvent, nameValue, validateEvent } from './event';
import { Fifo } from './fifo';
import { Frames, frameBound, MAX_EVENT_ID_BYTES } from './frame';
import { type EffectiveConfig, errorFromThrown, type NativeBus } from './native';
import { Pending, type Reject, type Resolve } from './pending';
import {
  aborted,
  closing,
  type PublishFailure,
  PublishManyError,
  queueFull,
  tooLarge,
} from './refusal';
import { recordLength, recordValue, type SerializedEvent, serializeEvent } from './serialize';
import type { Topics } from './topics';

/** Options of one `publish` or `publishMany`. */
export interface PublishOptions {
  /**
   * Gives the call up. An event that still waited for a free place in flight is certainly `not_sent`; one that the
   * client has already is `unknown`: the promise rejects at once, the event may still be stored.
   */
  readonly signal?: AbortSignalLike | undefined;
  /** Milliseconds until the call rejects with a `TimeoutError`; by default `publishTimeoutMs` of the configuration. */
  readonly timeoutMs?: number | undefined;
}

/**
 * What became of publishes on the JavaScript side, beside what the core counts.
 *
 * @internal
 */
export interface PublishCounts {
  /** Publishes that wait for a free place in flight. */
  waiting: number;
  /** Their bytes. */
  waitingBytes: number;
  /** Publishes that were refused before the core saw them. */
  refused: number;
  /** Publishes that were given up through a signal. */
  aborted: number;
  /** Failures by code that the core does not count. */
  readonly errors: Map<ErrorCode, number>;
}

/**
 * The limits that the publisher keeps.
 *
 * @internal
 */
export type PublishLimits = Pick<
  EffectiveConfig,
  | 'maxInFlight'
  | 'publishMaxInFlightBytes'
  | 'maxQueuedBytes'
  | 'messageMaxBytes'
  | 'publishTimeoutMs'
>;

/**
 * The part of the addon that it uses.
 *
 * @internal
 */
export type PublishPort = Pick<NativeBus, 'publish' | 'failure'>;

/**
 * What keeps the process alive meanwhile.
 *
 * @internal
 */
export interface Holder {
  hold(): void;
  release(): void;
}

const ARENA_BYTES = 256 * 1024;
const COMPLETION_COLUMNS = 5;
/** Of a slot whose caller does not wait any longer. */
const NOBODY = (): void => {};

/**
 * The publishing half of one connection: events become frames in an arena, which goes to the addon once a tick;
 * promises settle by the slot that their frame carries.
 *
 * @internal
 */
export class Publisher {
  readonly #native: PublishPort;
  readonly #topics: Topics;
  readonly #limits: PublishLimits;
  readonly #holder: Holder;
  readonly #frames: Frames;
  #scheduled = false;

  // By slot. Functions and numbers lie in arrays of their own, because an object for each publish costs more.
  readonly #resolves: Resolve[] = [];
  readonly #rejects: Reject[] = [];
  readonly #indexes: number[] = [];
  readonly #sizes: number[] = [];
  readonly #topicIds: number[] = [];
  readonly #free: number[] = [];
  #inFlight = 0;
  #inFlightBytes = 0;

  readonly #waiters = new Fifo<Pending>();
  readonly #deadlines = new Deadlines();
  readonly #aborts = new Aborts();
  #holding = false;
  #closed = false;

  readonly counts: PublishCounts = {
    waiting: 0,
    waitingBytes: 0,
    refused: 0,
    aborted: 0,
    errors: new Map(),
  };

  constructor(
    native: PublishPort,
    topics: Topics,
    limits: PublishLimits,
    holder: Holder,
    arenaBytes: number = ARENA_BYTES,
  ) {
    this.#native = native;
    this.#topics = topics;
    this.#limits = limits;
    this.#holder = holder;
    this.#frames = new Frames(arenaBytes);
  }

  /** Publishes that the client has and that are not completed. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Validates and writes the event in this call, and resolves when it is stored. */
  publish<T extends BaseEventPayload>(
    event: IDomainEvent<T>,
    options: PublishOptions | undefined,
  ): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      try {
        this.#send(event, resolve as Resolve, reject, 0, checkOptions(options));
      } catch (error) {
        reject(this.#refused(error));
      }
    });
  }

  /** Resolves when all are stored; rejects when each has settled, if one failed. */
  publishMany<T extends BaseEventPayload>(
    events: Iterable<IDomainEvent<T>>,
    options: PublishOptions | undefined,
  ): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const failures: PublishFailure[] = [];
      let count = 0;
      // The loop itself counts as one, so that nothing ends before it.
      let open = 1;
      const ended = (): void => {
        open -= 1;
        if (open > 0) return;
        if (failures.length === 0) resolve();
        else reject(new PublishManyError(count, failures));
      };
      const failed: Reject = (error, index) => {
        failures.push({ index, error: error as Error });
        ended();
      };
      try {
        const checked = checkOptions(options);
        for (const event of iterable(events)) {
          const index = count;
          count += 1;
          open += 1;
          try {
            this.#send(event, ended, failed, index, checked);
          } catch (error) {
            failed(this.#refused(error), index);
          }
        }
      } catch (error) {
        // What was sent before goes on; its outcome is nobody's to hear of.
        reject(error);
      }
      ended();
    });
  }

  #send(
    event: IDomainEvent,
    resolve: Resolve,
    reject: Reject,
    index: number,
    options: PublishOptions | undefined,
  ): void {
    validateEvent(event);
    const topic = event.eventType;
    const signal = options?.signal;
    if (signal?.aborted) throw aborted(signal, 'not_sent', topic);
    const topicId = this.#topics.id(topic);
    const record = serializeEvent(event);
    const units = recordLength(record, topic);
    this.#checkSize(record, topic, units);

    const frames = this.#framesFor(record);
    const length = frames.draft(topicId, record);
    // In flight is the whole record, whatever of it the core writes.
    const size = length + units - record.value.length;
    const mustWait = this.counts.waiting > 0 || !this.#hasRoom(size);
    const timeoutMs = options?.timeoutMs;
    if (mustWait || signal !== undefined || timeoutMs !== undefined) {
      const deadline = now() + (timeoutMs ?? this.#limits.publishTimeoutMs);
      const pending = new Pending(
        this,
        resolve,
        reject,
        index,
        topic,
        topicId,
        size,
        deadline,
        signal,
      );
      if (mustWait) {
        this.#wait(pending, frames.copyDraft(length));
        return;
      }
      this.#watch(pending);
      pending.slot = this.#takeSlot(pending.resolve, pending.reject, index, size, topicId);
      this.#commit(frames, pending.slot, length);
      return;
    }
    this.#commit(frames, this.#takeSlot(resolve, reject, index, size, topicId), length);
  }

  /** The arena, emptied if need be; for an event that is too large for it, memory of its own. */
  #framesFor(record: SerializedEvent): Frames {
    const bound = frameBound(record);
    if (this.#frames.fits(bound)) return this.#frames;
    this.flush();
    return this.#frames.fits(bound) ? this.#frames : new Frames(bound);
  }

  #commit(frames: Frames, slot: number, length: number): void {
    frames.commit(slot, length);
    if (frames !== this.#frames) this.#hand(frames);
    else if (!this.#scheduled) this.#scheduleFlush();
  }

  #hasRoom(size: number): boolean {
    // An event above the byte cap must get through alone.
    return (
      this.#inFlight === 0 ||
      (this.#inFlight < this.#limits.maxInFlight &&
        this.#inFlightBytes + size <= this.#limits.publishMaxInFlightBytes)
    );
  }

  #takeSlot(
    resolve: Resolve,
    reject: Reject,
    index: number,
    size: number,
    topicId: number,
  ): number {
    const slot = this.#free.length > 0 ? (this.#free.pop() as number) : this.#resolves.length;
    this.#resolves[slot] = resolve;
    this.#rejects[slot] = reject;
    this.#indexes[slot] = index;
    this.#sizes[slot] = size;
    this.#topicIds[slot] = topicId;
    this.#inFlight += 1;
    this.#inFlightBytes += size;
    if (!this.#holding) this.#hold();
    return slot;
  }

  #freeSlot(slot: number): void {
    this.#inFlight -= 1;
    this.#inFlightBytes -= this.#sizes[slot] as number;
    this.#resolves[slot] = NOBODY;
    this.#rejects[slot] = NOBODY;
    this.#free.push(slot);
  }

  #scheduleFlush(): void {
    this.#scheduled = true;
    soon(this.#flushSoon);
  }

  readonly #flushSoon = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  /** Hands what is in the arena to the addon. */
  flush(): void {
    if (this.#frames.count > 0) this.#hand(this.#frames);
  }

  #hand(frames: Frames): void {
    let error: Error | undefined;
    try {
      const taken = this.#native.publish(frames.bytes, frames.length, frames.count);
      if (!taken) error = closing('not_sent');
    } catch (thrown) {
      error = errorFromThrown(thrown);
    }
    const slots = error === undefined ? [] : frames.slots();
    frames.clear();
    for (const slot of slots) {
      const reject = this.#rejects[slot] as Reject;
      this.#freeSlot(slot);
      reject(this.#refused(error), this.#indexes[slot] as number);
    }
    if (slots.length > 0) this.#settled();
  }

  /** Settles publishes: rows of (slot, kind, partition, offsetLo, offsetHi), kind 0 being success. */
  complete(rows: Int32Array, count: number): void {
    for (let at = 0; at < count * COMPLETION_COLUMNS; at += COMPLETION_COLUMNS) {
      const slot = rows[at] as number;
      if (rows[at + 1] === 0) {
        const resolve = this.#resolves[slot] as Resolve;
        this.#freeSlot(slot);
        resolve(undefined);
      } else {
        const reject = this.#rejects[slot] as Reject;
        const error = this.#failure(slot, rows[at + 2] as number);
        this.#freeSlot(slot);
        reject(error, this.#indexes[slot] as number);
      }
    }
    this.#settled();
  }

  #failure(slot: number, partition: number): Error {
    const native = JSON.parse(this.#native.failure(slot)) as NativeError;
    const topic = this.#topics.name(this.#topicIds[slot] as number);
    return errorFromNative({ ...native, topic, partition: partition < 0 ? null : partition });
  }

  /** Places may have come free. */
  #settled(): void {
    this.#admit();
    if (this.#holding && this.#inFlight === 0 && this.counts.waiting === 0) {
      this.#holding = false;
      this.#holder.release();
    }
  }

  #hold(): void {
    this.#holding = true;
    this.#holder.hold();
  }

  #wait(pending: Pending, frame: Buffer): void {
    const { maxQueuedBytes } = this.#limits;
    if (this.counts.waitingBytes + pending.size > maxQueuedBytes) {
      const { waiting, waitingBytes } = this.counts;
      throw queueFull(waiting, waitingBytes, maxQueuedBytes, pending.topic);
    }
    pending.frame = frame;
    this.#waiters.push(pending);
    this.counts.waiting += 1;
    this.counts.waitingBytes += pending.size;
    this.#watch(pending);
    if (!this.#holding) this.#hold();
  }

  #watch(pending: Pending): void {
    this.#deadlines.add(pending);
    if (pending.signal !== undefined) this.#aborts.add(pending.signal, pending);
  }

  #admit(): void {
    while (this.counts.waiting > 0) {
      const next = this.#waiters.peek() as Pending;
      if (next.frame === undefined) {
        this.#waiters.shift();
      } else if (this.#hasRoom(next.size)) {
        this.#waiters.shift();
        this.#admitOne(next, next.frame);
      } else {
        return;
      }
    }
    // Those that gave up while they waited lie behind.
    this.#waiters.clear();
  }

  #admitOne(pending: Pending, frame: Buffer): void {
    this.#leaveQueue(pending);
    pending.slot = this.#takeSlot(
      pending.resolve,
      pending.reject,
      pending.index,
      pending.size,
      pending.topicId,
    );
    if (!this.#frames.fits(frame.length)) this.flush();
    const frames = this.#frames.fits(frame.length) ? this.#frames : new Frames(frame.length);
    frames.append(frame, pending.slot);
    if (frames !== this.#frames) this.#hand(frames);
    else if (!this.#scheduled) this.#scheduleFlush();
  }

  #leaveQueue(pending: Pending): void {
    pending.frame = undefined;
    this.counts.waiting -= 1;
    this.counts.waitingBytes -= pending.size;
  }

  /** The publish is settled: nothing may call it any more. */
  forget(pending: Pending): void {
    this.#deadlines.delete(pending);
    if (pending.signal !== undefined) this.#aborts.delete(pending.signal, pending);
  }

  /**
   * The caller does not wait any longer. One that waited is gone; one that the client has keeps its slot until the
   * client reports, so that the report cannot settle another one.
   *
   * @returns what is known of the event
   */
  giveUp(pending: Pending): PublishOutcome {
    this.forget(pending);
    if (pending.frame === undefined) {
      this.#resolves[pending.slot] = NOBODY;
      this.#rejects[pending.slot] = NOBODY;
      return 'unknown';
    }
    this.#leaveQueue(pending);
    this.#settled();
    return 'not_sent';
  }

  /** Hands everything to the core, waiters beyond the caps too: the core's end of the bus flushes what it has. */
  handOver(): void {
    for (let next = this.#waiters.shift(); next !== undefined; next = this.#waiters.shift()) {
      if (next.frame !== undefined) this.#admitOne(next, next.frame);
    }
    this.flush();
  }

  /** The connection is over: what has no answer yet gets none any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (let next = this.#waiters.shift(); next !== undefined; next = this.#waiters.shift()) {
      if (next.frame === undefined) continue;
      this.#leaveQueue(next);
      next.reject(this.#refused(closing('not_sent', next.topic)), next.index);
    }
    for (let slot = 0; slot < this.#rejects.length; slot += 1) {
      const reject = this.#rejects[slot] as Reject;
      if (reject === NOBODY) continue;
      const topic = this.#topics.name(this.#topicIds[slot] as number);
      this.#freeSlot(slot);
      reject(this.#refused(closing('unknown', topic)), this.#indexes[slot] as number);
    }
    this.#inFlight = 0;
    this.#inFlightBytes = 0;
    this.#settled();
  }

  /** @param units - how many code units the value of the record has at least */
  #checkSize(record: SerializedEvent, topic: string, units: number): void {
    const max = this.#limits.messageMaxBytes;
    const { eventId } = record;
    if (units * 3 > max) {
      const bytes = units > max ? units : Buffer.byteLength(recordValue(record, topic));
      if (bytes > max) throw tooLarge(bytes, max, eventId, topic);
    }
    if (
      eventId.length * 3 > MAX_EVENT_ID_BYTES &&
      Buffer.byteLength(eventId) > MAX_EVENT_ID_BYTES
    ) {
      throw new ArgumentError(`eventId is longer than ${MAX_EVENT_ID_BYTES} bytes`, {
        outcome: 'not_sent',
        topic,
        hint: 'an eventId is a short text, e.g. crypto.randomUUID()',
      });
    }
  }

  /** Counts what the core does not see. */
  #refused(error: unknown): unknown {
    this.counts.refused += 1;
    this.count(error);
    return error;
  }

  count(error: unknown): void {
    if (error instanceof AbortError) {
      this.counts.aborted += 1;
      return;
    }
    const { code } = error as { code?: ErrorCode };
    if (code !== undefined) this.counts.errors.set(code, (this.counts.errors.get(code) ?? 0) + 1);
  }
}

function checkOptions(options: PublishOptions | undefined): PublishOptions | undefined {
  if (options === undefined) return undefined;
  const { signal, timeoutMs } = options;
  if (signal !== undefined && !isAbortSignal(signal)) {
    throw new ArgumentError(`signal must be an AbortSignal, got ${nameValue(signal)}`, {
      outcome: 'not_sent',
    });
  }
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs > 0)) {
    throw new ArgumentError(
      `timeoutMs must be a number of milliseconds above 0, got ${nameValue(timeoutMs)}`,
      {
        outcome: 'not_sent',
      },
    );
  }
  return options;
}

function iterable<T>(events: Iterable<T>): Iterable<T> {
  if (typeof (events as Partial<Iterable<T>> | undefined)?.[Symbol.iterator] === 'function')
    return events;
  throw new ArgumentError(`publishMany takes an array of events, got ${nameValue(events)}`, {
    outcome: 'not_sent',
  });
}
