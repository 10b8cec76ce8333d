import { AsyncLocalStorage } from 'node:async_hooks';
import { Call, type Delivery } from './call';
import { now, setImmediate } from './clock';
import { DeliveryContext } from './context';
import { Deadlines } from './deadline';
import { Batch, COLUMNS, LANE, TICKET_HI, TICKET_LO, TOPIC_ID } from './delivery';
import { ClosedError, EventBusError } from './error';
import type { IDomainEvent } from './event';
import { type Failure, joined } from './failure';
import type { Reporter } from './logger';
import { type DeliveryBatch, errorFromThrown, type NativeBus } from './native';
import { Progress } from './progress';
import type { Registration, Registry } from './registry';
import { FailureReports } from './reports';
import type { Topics } from './topics';

/** The columns of an answer: ticketLo, ticketHi, outcome, elapsed microseconds. */
const ANSWER_COLUMNS = 4;
const MAX_ANSWERS = 512;
const MAX_MICROS = 2 ** 32 - 1;

const DONE = 0;
const FAILED = 1;
const RELEASED = 2;
const INVALID = 3;
type Outcome = typeof DONE | typeof FAILED | typeof RELEASED | typeof INVALID;

/** The part of the addon that it uses. */
export type SubscribePort = Pick<NativeBus, 'finish'>;

const CURRENT = new AsyncLocalStorage<Call<Dispatcher>>();

/** Some deliveries of one lane, of which those before `next` have been started. */
interface Run {
  readonly batch: Batch;
  readonly slot: number;
  readonly epoch: number;
  next: number;
  readonly end: number;
  /** The calls of the delivery that is being handled. */
  calls: Call<Dispatcher> | Call<Dispatcher>[] | undefined;
}

/** A delivery on its way through its handlers. */
interface Handling {
  readonly run: Run;
  readonly at: number;
  readonly topic: string;
  readonly delivery: Delivery;
  readonly event: IDomainEvent;
}

const invoke = (
  registration: Registration,
  event: IDomainEvent,
  context: DeliveryContext | undefined,
): unknown => registration.handler.handle(event, context as DeliveryContext);

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
  readonly reports: FailureReports;
  readonly #native: SubscribePort;
  readonly #topics: Topics;
  readonly #registry: Registry;
  readonly #reporter: Reporter;

  readonly #lanes = new Map<number, Run[]>();
  /** By slot, the latest epoch whose deliveries must not start any more, like those of epochs before. */
  readonly #stopped = new Map<number, number>();
  readonly #progress = new Progress();
  readonly #deadlines = new Deadlines();
  #answers = new Int32Array(MAX_ANSWERS * ANSWER_COLUMNS);
  #answerCount = 0;
  /** Of the answers, by their row. */
  #failures: (Failure & { readonly row: number })[] = [];
  #scheduled = false;
  #draining = false;
  #closed = false;

  constructor(native: SubscribePort, topics: Topics, registry: Registry, reporter: Reporter) {
    this.#native = native;
    this.#topics = topics;
    this.#registry = registry;
    this.#reporter = reporter;
    this.reports = new FailureReports(reporter);
  }

  /** The handler call that the caller runs in, if it does and the call has not ended. */
  static running(): Call<Dispatcher> | undefined {
    const call = CURRENT.getStore();
    return call?.ended === false ? call : undefined;
  }

  /** The same, if the call is one of this connection. */
  current(): Call<Dispatcher> | undefined {
    const call = Dispatcher.running();
    return call?.dispatcher === this ? call : undefined;
  }

  /** Starts what can start of a batch. */
  take(deliveries: DeliveryBatch): void {
    const batch = new Batch(deliveries);
    const { index } = batch;
    for (let at = 0; at < index.length; ) {
      const lane = index[at + LANE] as number;
      const ticketHi = index[at + TICKET_HI] as number;
      const [slot, epoch] = [ticketHi & 0xffff, ticketHi >>> 16];
      let end = at + COLUMNS;
      while (
        end < index.length &&
        index[end + LANE] === lane &&
        index[end + TICKET_HI] === ticketHi
      ) {
        end += COLUMNS;
      }
      const run: Run = { batch, slot, epoch, next: at, end, calls: undefined };
      if (this.#draining || this.#isStopped(slot, epoch)) this.#release(run);
      else this.#enqueue(lane, run);
      at = end;
    }
  }

  /** Deliveries of this slot and epoch that have not started do not start any more. */
  stop(slot: number, epoch: number): void {
    this.#stopped.set(slot, epoch);
    this.#progress.forget(slot);
    for (const run of this.#runs()) {
      if (run.slot === slot && run.epoch === epoch) this.#release(run);
    }
  }

  #isStopped(slot: number, epoch: number): boolean {
    const stopped = this.#stopped.get(slot);
    // Epochs wrap: of two, the one less than half a circle behind is the earlier one.
    return stopped !== undefined && ((stopped - epoch) & 0xffff) < 0x8000;
  }

  /** Nobody can use what running handlers of this slot and epoch still do. */
  abort(slot: number, epoch: number): void {
    for (const run of this.#runs()) {
      if (run.slot !== slot || run.epoch !== epoch) continue;
      const reason = this.#draining
        ? new ClosedError('the event bus was disconnected before the handler ended')
        : new EventBusError('the partition of the event went to another member of the group', {
            kind: 'IllegalState',
            topic: this.#topics.name(run.batch.index[run.end - COLUMNS + TOPIC_ID] as number),
            partition: run.batch.partition(run.end - COLUMNS),
            hint: 'end what the handler does: the event comes again there',
          });
      abortCalls(run, reason);
    }
  }

  /** Nothing starts any more; what runs is still answered. */
  drain(): void {
    this.#draining = true;
    for (const run of this.#runs()) this.#release(run);
    this.flush();
  }

  /** Nobody waits for answers any more either. */
  close(): void {
    this.drain();
    this.#closed = true;
    this.#progress.clear();
    const reason = new ClosedError('the event bus was disconnected before the handler ended');
    for (const run of this.#runs()) abortCalls(run, reason);
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

  *#runs(): Iterable<Run> {
    for (const runs of this.#lanes.values()) yield* runs;
  }

  #release(run: Run): void {
    for (; run.next < run.end; run.next += COLUMNS) {
      this.#answer(deliveryAt(run.batch.index, run.next), RELEASED, 0);
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
      const { batch } = run;
      while (run.next < run.end) {
        const at = run.next;
        run.next += COLUMNS;
        const delivery = deliveryAt(batch.index, at);
        const topic = this.#topics.name(batch.index[at + TOPIC_ID] as number);
        const registrations = this.#registry.of(topic);
        if (registrations === undefined) {
          this.#progress.delete(delivery);
          this.#answer(delivery, RELEASED, 0);
          continue;
        }
        let event: IDomainEvent;
        try {
          event = batch.event(at);
        } catch (thrown) {
          const failure = this.reports.unreadableRecord(thrown, topic, batch, at);
          this.#answer(delivery, INVALID, 0, failure);
          continue;
        }
        const started = now();
        let outcome: Outcome = DONE;
        let failure: Failure | undefined;
        if (registrations.length === 1 && this.#progress.isEmpty) {
          // By far the most common case: no closure, no array, one await.
          const registration = registrations[0] as Registration;
          const call = new Call<Dispatcher>(this, registration, delivery);
          run.calls = call;
          registration.begin();
          try {
            const context = registration.wantsContext
              ? new DeliveryContext(topic, batch, at, call)
              : undefined;
            const returned = CURRENT.run(call, invoke, registration, event, context);
            if (isThenable(returned)) {
              await (registration.handlerTimeoutMs === 0
                ? returned
                : this.#within(call, returned, topic, batch, at));
            }
          } catch (thrown) {
            failure = this.#failed(thrown, call, { run, at, topic, delivery, event });
            outcome = failure === undefined ? RELEASED : FAILED;
          }
          call.ended = true;
          registration.end();
        } else {
          const ended = await this.#callAll(registrations, { run, at, topic, delivery, event });
          ({ outcome, failure } = ended);
        }
        run.calls = undefined;
        this.#answer(delivery, outcome, (now() - started) * 1000, failure);
        // What follows in the run would overtake the next attempt.
        if (outcome === FAILED) this.#release(run);
      }
      runs.shift();
    }
    this.#lanes.delete(lane);
  }

  /** Calls several handlers side by side, but none that an earlier attempt settled. */
  async #callAll(
    registrations: readonly Registration[],
    handling: Handling,
  ): Promise<{ outcome: Outcome; failure: Failure | undefined }> {
    const { run, at, topic, delivery, event } = handling;
    const before = this.#progress.of(delivery);
    const settled = new Set(before?.handlers);
    const fatal = [...(before?.fatal ?? [])];
    const again: Failure[] = [];
    let gaveUp = false;
    const calls: Call<Dispatcher>[] = [];
    run.calls = calls;
    const callOne = async (registration: Registration): Promise<void> => {
      const call = new Call<Dispatcher>(this, registration, delivery);
      calls.push(call);
      registration.begin();
      try {
        const context = registration.wantsContext
          ? new DeliveryContext(topic, run.batch, at, call)
          : undefined;
        const returned = CURRENT.run(call, invoke, registration, event, context);
        if (isThenable(returned)) {
          await (registration.handlerTimeoutMs === 0
            ? returned
            : this.#within(call, returned, topic, run.batch, at));
        }
        settled.add(registration);
      } catch (thrown) {
        const failure = this.#failed(thrown, call, handling);
        if (failure === undefined) gaveUp = true;
        else if (failure.retryable === false) fatal.push(failure);
        else again.push(failure);
        if (failure?.retryable === false) settled.add(registration);
      }
      call.ended = true;
      registration.end();
    };
    await Promise.all(registrations.filter((one) => !settled.has(one)).map(callOne));
    if (!gaveUp && again.length > 0 && !run.batch.isLastAttempt(at)) {
      this.#progress.set(delivery, { handlers: settled, fatal });
      return { outcome: FAILED, failure: joined(again) };
    }
    this.#progress.delete(delivery);
    if (gaveUp) return { outcome: RELEASED, failure: undefined };
    const failures = [...again, ...fatal];
    return failures.length === 0
      ? { outcome: DONE, failure: undefined }
      : { outcome: FAILED, failure: joined(failures) };
  }

  /** What a handler returned, until its timeout. */
  async #within(
    call: Call<Dispatcher>,
    returned: PromiseLike<unknown>,
    topic: string,
    batch: Batch,
    at: number,
  ): Promise<void> {
    call.deadline = now() + call.registration.handlerTimeoutMs;
    this.#deadlines.add(call);
    try {
      await call.until(returned, () => {
        if (call.isExpired) this.reports.tooLate(call, topic, batch, at);
      });
    } finally {
      this.#deadlines.delete(call);
    }
  }

  /** The failure of a call; none when its result is of no use to anybody. */
  #failed(thrown: unknown, call: Call<Dispatcher>, handling: Handling): Failure | undefined {
    const { run, at, topic, event } = handling;
    if (call.isAborted && !call.isExpired) {
      this.reports.gaveUp(thrown, call, topic, run.batch, at);
      return undefined;
    }
    return this.reports.handlerFailed(thrown, call, event, topic, run.batch, at);
  }

  #answer(delivery: Delivery, outcome: Outcome, micros: number, failure?: Failure): void {
    if (delivery.answered || this.#closed) return;
    delivery.answered = true;
    const rows = this.#answers;
    const at = this.#answerCount * ANSWER_COLUMNS;
    rows[at] = delivery.ticketLo;
    rows[at + 1] = delivery.ticketHi;
    rows[at + 2] = outcome;
    // Stored modulo 2^32 and read as unsigned, so more than an hour must not wrap around to nothing.
    rows[at + 3] = Math.min(micros, MAX_MICROS);
    if (failure !== undefined) this.#failures.push({ row: this.#answerCount, ...failure });
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
      if (this.#failures.length === 0) {
        this.#native.finish(this.#answers, count);
      } else {
        const failures = JSON.stringify(this.#failures);
        this.#failures = [];
        this.#native.finish(this.#answers, count, failures);
      }
    } catch (thrown) {
      const error = errorFromThrown(thrown) as EventBusError;
      this.#reporter.report('error', error, { event: 'internal_error' }, error.message);
    }
  }
}

function deliveryAt(index: Int32Array, at: number): Delivery {
  return {
    ticketLo: index[at + TICKET_LO] as number,
    ticketHi: index[at + TICKET_HI] as number,
    answered: false,
  };
}

function abortCalls({ calls }: Run, reason: Error): void {
  if (calls === undefined) return;
  for (const call of Array.isArray(calls) ? calls : [calls]) {
    if (!call.ended) call.abort(reason);
  }
}
