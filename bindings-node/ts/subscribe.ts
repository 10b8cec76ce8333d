import { AsyncLocalStorage } from 'node:async_hooks';
import { now, setImmediate } from './clock';
import { CodecError, type EventBusError, HandlerError } from './error';
import type { BaseEventPayload, IDomainEvent } from './event';
import type { ErrorContext, Reporter } from './logger';
import { type DeliveryBatch, errorFromThrown, type NativeBus } from './native';
import type { Registration, Registry } from './registry';
import { reviveEvent } from './serialize';
import type { Topics } from './topics';

/** The columns of a delivery. */
const COLUMNS = 18;
const LANE = 0;
const TOPIC_ID = 1;
const PARTITION = 2;
const OFFSET_LO = 3;
const OFFSET_HI = 4;
const TICKET_LO = 7;
const TICKET_HI = 8;
const VALUE_POS = 12;
const VALUE_LEN = 13;
const ATTEMPT = 14;
const FLAGS = 15;
const OCCURRED_ON_LO = 16;
const OCCURRED_ON_HI = 17;
const HAS_OCCURRED_ON = 2;

const TWO_TO_32 = 2 ** 32;

/** The columns of an answer: ticketLo, ticketHi, outcome, elapsed microseconds. */
const ANSWER_COLUMNS = 4;
const MAX_ANSWERS = 512;
const DONE = 0;
const FAILED = 1;
const RELEASED = 2;

/** The part of the addon that it uses. */
export type SubscribePort = Pick<NativeBus, 'finish'>;

/** A delivery that is with its handlers. */
interface Delivery {
  readonly ticketLo: number;
  readonly ticketHi: number;
  answered: boolean;
}

/** A running call of a handler. */
export class Call {
  ended = false;

  constructor(
    readonly dispatcher: Dispatcher,
    readonly registration: Registration,
    readonly delivery: Delivery,
  ) {}
}

const CURRENT = new AsyncLocalStorage<Call>();

/** What is made text at once: a string above 128 KiB would get memory of its own, which is dear. */
const CHUNK_BITS = 16;

/** A batch as its deliveries are read. */
class Batch {
  readonly index: Int32Array;
  readonly #data: Buffer;
  /** Text by chunks, of which a part costs next to nothing; none where a byte is not a character. */
  readonly #chunks: (string | undefined)[] | undefined;

  constructor({ data, index, isAscii }: DeliveryBatch) {
    this.index = index;
    this.#data = data;
    this.#chunks = isAscii ? [] : undefined;
  }

  text(start: number, end: number): string {
    const number = start >> CHUNK_BITS;
    if (this.#chunks === undefined || (end - 1) >> CHUNK_BITS !== number) {
      return this.#data.toString('utf8', start, end);
    }
    const from = number << CHUNK_BITS;
    this.#chunks[number] ??= this.#data.toString('latin1', from, from + (1 << CHUNK_BITS));
    return this.#chunks[number].substring(start - from, end - from);
  }
}

/** Some deliveries of one lane, of which those before `next` have been started. */
interface Run {
  readonly batch: Batch;
  readonly slot: number;
  readonly epoch: number;
  next: number;
  end: number;
}

const invoke = (registration: Registration, event: IDomainEvent): unknown =>
  registration.handler.handle(event);

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

/**
 * The consuming half of one connection: calls the handlers of what the core hands out, and answers.
 *
 * The core decides what may run; deliveries of one lane run one after the other, those of different
 * lanes side by side.
 *
 * @internal
 */
export class Dispatcher {
  readonly #native: SubscribePort;
  readonly #topics: Topics;
  readonly #registry: Registry;
  readonly #reporter: Reporter;

  readonly #lanes = new Map<number, Run[]>();
  /** By slot, the epoch whose deliveries must not start any more. */
  readonly #stopped = new Map<number, number>();
  #answers = new Int32Array(MAX_ANSWERS * ANSWER_COLUMNS);
  #answerCount = 0;
  #scheduled = false;
  #draining = false;
  #closed = false;
  /** Handler failures so far. */
  failures = 0;
  /** Records so far that the core took for events and JavaScript cannot read. */
  unreadable = 0;

  constructor(native: SubscribePort, topics: Topics, registry: Registry, reporter: Reporter) {
    this.#native = native;
    this.#topics = topics;
    this.#registry = registry;
    this.#reporter = reporter;
  }

  /** The handler call that the caller runs in, if it does and the call has not ended. */
  static running(): Call | undefined {
    const call = CURRENT.getStore();
    return call?.ended === false ? call : undefined;
  }

  /** The same, if the call is one of this connection. */
  current(): Call | undefined {
    const call = Dispatcher.running();
    return call?.dispatcher === this ? call : undefined;
  }

  /** Starts what can start of a batch. */
  take(deliveries: DeliveryBatch): void {
    const batch = new Batch(deliveries);
    const { index } = batch;
    for (let at = 0; at < index.length; ) {
      const lane = index[at + LANE] as number;
      let end = at + COLUMNS;
      while (end < index.length && index[end + LANE] === lane) end += COLUMNS;
      const ticketHi = index[at + TICKET_HI] as number;
      const run = { batch, slot: ticketHi & 0xffff, epoch: ticketHi >>> 16, next: at, end };
      if (this.#draining || this.#stopped.get(run.slot) === run.epoch) this.#release(run);
      else this.#enqueue(lane, run);
      at = end;
    }
  }

  /** Deliveries of this slot and epoch that have not started do not start any more. */
  stop(slot: number, epoch: number): void {
    this.#stopped.set(slot, epoch);
    for (const runs of this.#lanes.values()) {
      for (const run of runs) {
        if (run.slot === slot && run.epoch === epoch) this.#release(run);
      }
    }
  }

  /** Nothing starts any more; what runs is still answered. */
  drain(): void {
    this.#draining = true;
    for (const runs of this.#lanes.values()) {
      for (const run of runs) this.#release(run);
    }
    this.flush();
  }

  /** Nobody waits for answers any more either. */
  close(): void {
    this.drain();
    this.#closed = true;
  }

  /**
   * Lets the core go on without the answer of the call that the caller runs in, if it does: that call
   * is about to wait for the core, and would wait for itself.
   */
  releaseCurrent(): void {
    const call = this.current();
    if (call === undefined) return;
    this.#answer(call.delivery, RELEASED, 0);
    this.flush();
  }

  #release(run: Run): void {
    const { index } = run.batch;
    for (; run.next < run.end; run.next += COLUMNS) {
      const ticketLo = index[run.next + TICKET_LO] as number;
      const ticketHi = index[run.next + TICKET_HI] as number;
      this.#answer({ ticketLo, ticketHi, answered: false }, RELEASED, 0);
    }
  }

  #enqueue(lane: number, run: Run): void {
    const present = this.#lanes.get(lane);
    if (present !== undefined) {
      present.push(run);
      return;
    }
    const runs = [run];
    this.#lanes.set(lane, runs);
    void this.#work(lane, runs);
  }

  /** Runs what waits in a lane. Never rejects: whatever a handler does ends as an answer. */
  async #work(lane: number, runs: Run[]): Promise<void> {
    for (let run = runs[0]; run !== undefined; run = runs[0]) {
      const { index } = run.batch;
      while (run.next < run.end) {
        const at = run.next;
        run.next += COLUMNS;
        const delivery: Delivery = {
          ticketLo: index[at + TICKET_LO] as number,
          ticketHi: index[at + TICKET_HI] as number,
          answered: false,
        };
        const registrations = this.#registry.of(this.#topics.name(index[at + TOPIC_ID] as number));
        if (registrations === undefined) {
          this.#answer(delivery, RELEASED, 0);
          continue;
        }
        const event = this.#read(run.batch, at);
        if (event === undefined) {
          this.#answer(delivery, FAILED, 0);
          continue;
        }
        const started = now();
        let failed = 0;
        if (registrations.length === 1) {
          // By far the most common case: no closure, no array, one await.
          const registration = registrations[0] as Registration;
          const call = this.#begin(registration, delivery);
          try {
            const returned = CURRENT.run(call, invoke, registration, event);
            if (isThenable(returned)) await returned;
          } catch (thrown) {
            failed += 1;
            this.#failed(thrown, event, index, at);
          }
          this.#end(call);
        } else {
          failed = await this.#callAll(registrations, delivery, event, index, at);
        }
        this.#answer(delivery, failed > 0 ? FAILED : DONE, (now() - started) * 1000);
      }
      runs.shift();
    }
    this.#lanes.delete(lane);
  }

  /** Calls several handlers side by side; gives how many failed. */
  async #callAll(
    registrations: readonly Registration[],
    delivery: Delivery,
    event: IDomainEvent,
    index: Int32Array,
    at: number,
  ): Promise<number> {
    let failed = 0;
    await Promise.all(
      registrations.map(async (registration) => {
        const call = this.#begin(registration, delivery);
        try {
          await CURRENT.run(call, invoke, registration, event);
        } catch (thrown) {
          failed += 1;
          this.#failed(thrown, event, index, at);
        }
        this.#end(call);
      }),
    );
    return failed;
  }

  #begin(registration: Registration, delivery: Delivery): Call {
    registration.begin();
    return new Call(this, registration, delivery);
  }

  #end(call: Call): void {
    call.ended = true;
    call.registration.end();
  }

  #read(batch: Batch, at: number): IDomainEvent | undefined {
    const { index } = batch;
    const start = index[at + VALUE_POS] as number;
    try {
      const text = batch.text(start, start + (index[at + VALUE_LEN] as number));
      const occurredOn =
        ((index[at + FLAGS] as number) & HAS_OCCURRED_ON) === 0
          ? undefined
          : toNumber(index[at + OCCURRED_ON_LO] as number, index[at + OCCURRED_ON_HI] as number);
      return reviveEvent<BaseEventPayload>(JSON.parse(text), occurredOn);
    } catch (thrown) {
      this.unreadable += 1;
      const where = this.#where(index, at);
      const error =
        thrown instanceof CodecError
          ? thrown
          : new CodecError(`the record is not JSON: ${textOf(thrown)}`, { cause: thrown });
      const message = `a record is not an event and is skipped: ${error.message}`;
      this.#reporter.report('warn', error, { event: 'invalid_message', ...where }, message);
      return undefined;
    }
  }

  #failed(thrown: unknown, event: IDomainEvent, index: Int32Array, at: number): void {
    this.failures += 1;
    const where = this.#where(index, at);
    const { topic, partition, offset, attempt } = where;
    const { eventId, eventType, aggregateId } = event;
    const message = `a handler of ${topic} failed on event ${eventId} (partition ${partition}, offset ${offset}, attempt ${attempt}): ${textOf(thrown)}`;
    const error = new HandlerError(message, {
      attempt,
      topic,
      partition,
      cause: thrown,
      context: { eventId, aggregateId, offset: String(offset) },
    });
    const context: ErrorContext = {
      event: 'handler_failed',
      eventId,
      eventType,
      aggregateId,
      ...where,
    };
    this.#reporter.report('error', error, context, message);
  }

  #where(index: Int32Array, at: number) {
    return {
      topic: this.#topics.name(index[at + TOPIC_ID] as number),
      partition: index[at + PARTITION] as number,
      offset: toNumber(index[at + OFFSET_LO] as number, index[at + OFFSET_HI] as number),
      attempt: index[at + ATTEMPT] as number,
    };
  }

  #answer(delivery: Delivery, outcome: number, micros: number): void {
    if (delivery.answered || this.#closed) return;
    delivery.answered = true;
    const rows = this.#answers;
    const at = this.#answerCount * ANSWER_COLUMNS;
    rows[at] = delivery.ticketLo;
    rows[at + 1] = delivery.ticketHi;
    rows[at + 2] = outcome;
    // Stored modulo 2^32 and read as unsigned, so more than an hour must not wrap around to nothing.
    rows[at + 3] = Math.min(micros, TWO_TO_32 - 1);
    this.#answerCount += 1;
    if (this.#answerCount === MAX_ANSWERS) {
      this.flush();
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(this.#flushSoon);
    }
  }

  readonly #flushSoon = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  /** Hands the answers to the core. */
  flush(): void {
    if (this.#answerCount === 0) return;
    const count = this.#answerCount;
    this.#answerCount = 0;
    try {
      this.#native.finish(this.#answers, count);
    } catch (thrown) {
      const error = errorFromThrown(thrown) as EventBusError;
      this.#reporter.report('error', error, { event: 'internal_error' }, error.message);
    }
  }
}

function toNumber(lo: number, hi: number): number {
  return hi * TWO_TO_32 + (lo >>> 0);
}

function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
