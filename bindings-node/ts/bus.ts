import { clearTimeout, setImmediate, setTimeout } from './clock';
import {
  type ArgumentError,
  ClosedError,
  type ErrorCode,
  type EventBusError,
  errorFromNative,
} from './error';
import { type BusHealth, unconnected } from './health';
import type { ErrorContext, Reporter } from './logger';
import { type BusMetrics, type DisconnectReport, NO_METRICS } from './metrics';
import {
  type Addon,
  type EffectiveConfig,
  errorFromThrown,
  KeepAlive,
  type NativeBus,
  type Notice,
} from './native';
import { Publisher } from './publish';
import type { Registry } from './registry';
import { Dispatcher } from './subscribe';
import { Topics } from './topics';

const COMPLETION_COLUMNS = 5;
/** Completions taken at once: as many as the default for what is in flight. */
const MAX_COMPLETIONS = 8192;

/** The core keeps the deadline of a shutdown; this long after it nobody waits for the core any more. */
const SHUTDOWN_GRACE_MS = 400;

/** Failures that the core goes on from or that end it, and that no caller of ours hears of. */
const FOR_ON_ERROR = new Set(['invalid_message', 'consumer_failed', 'internal_error']);

interface Operation {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

type LogNotice = Extract<Notice, { type: 'log' }>;

const disconnected = (): ClosedError => new ClosedError('the event bus was disconnected');

/**
 * One connection, from `connect` to `shutdown`: the addon's bus with the halves that publish and
 * subscribe.
 *
 * @internal
 */
export class Connection {
  /** `open`: everything; `draining`: publishes of running handlers only. */
  phase: 'connecting' | 'open' | 'draining' | 'closed' = 'connecting';
  readonly publisher: Publisher;
  readonly dispatcher: Dispatcher;
  readonly #native: NativeBus;
  readonly #topics: Topics;
  readonly #registry: Registry;
  readonly #reporter: Reporter;
  readonly #keepAlive = new KeepAlive();

  readonly #operations = new Map<number, Operation>();
  #lastOperation = 0;
  readonly #completions = new Int32Array(MAX_COMPLETIONS * COMPLETION_COLUMNS);
  readonly #status = new Int32Array(2);
  #pumpScheduled = false;

  /** The topics that the core was told last, and its answer. */
  #told: { readonly topics: string; readonly answer: Promise<unknown> } = {
    topics: '[]',
    answer: Promise.resolve(),
  };
  #isSubscribed = false;
  #lastMetrics: BusMetrics | undefined;

  constructor(addon: Addon, settings: EffectiveConfig, registry: Registry, reporter: Reporter) {
    this.#registry = registry;
    this.#reporter = reporter;
    // Until it is released the addon's thread-safe function holds the callback, and thereby this.
    this.#native = new addon.NativeBus(() => this.#pump());
    this.#topics = new Topics(this.#native);
    this.publisher = new Publisher(this.#native, this.#topics, settings, this.#keepAlive);
    this.dispatcher = new Dispatcher(this.#native, this.#topics, registry, reporter);
  }

  /** Resolves when a broker has answered and the topics of the registry are subscribed to. */
  async connect(configJson: string): Promise<void> {
    this.#keepAlive.hold();
    try {
      await this.#call((operation) => this.#native.connect(operation, configJson));
      // A handler that is added meanwhile relies on this.
      do await this.applyTopics();
      while (this.#told.topics !== this.#topicsJson());
      if (this.#isClosed()) throw disconnected();
      this.phase = 'open';
    } finally {
      this.#keepAlive.release();
    }
  }

  /** Consumes the topics that have handlers; resolves when the client knows, at once when it does already. */
  async applyTopics(): Promise<void> {
    const types = this.#registry.types();
    const topics = this.#topicsJson();
    if (topics !== this.#told.topics) {
      // Deliveries name their topic by number, so the number must be known before the first one.
      for (const type of types) this.#topics.id(type);
      const answer = this.#call((operation) => this.#native.setTopics(operation, topics));
      const told = { topics, answer };
      this.#told = told;
      answer.catch(() => {
        // What failed is told again with the next change.
        if (this.#told === told) this.#told = { topics: '?', answer: Promise.resolve() };
      });
    }
    this.#keepAliveFor(types.length > 0);
    await this.#told.answer;
  }

  #topicsJson(): string {
    return JSON.stringify(this.#registry.topics());
  }

  #keepAliveFor(subscribed: boolean): void {
    if (subscribed === this.#isSubscribed) return;
    this.#isSubscribed = subscribed;
    if (subscribed) this.#keepAlive.hold();
    else this.#keepAlive.release();
  }

  /** Asks the core about dead letters, or to replay some. */
  deadLetters(requestJson: string): Promise<unknown> {
    return this.#callAlive((operation) => this.#native.deadLetters(operation, requestJson));
  }

  /** Goes on reading a partition elsewhere. */
  async seek(requestJson: string): Promise<void> {
    await this.#callAlive((operation) => this.#native.seek(operation, requestJson));
  }

  /** The process stays alive until the answer. */
  async #callAlive(start: (operation: number) => void): Promise<unknown> {
    this.#keepAlive.hold();
    try {
      return await this.#call(start);
    } finally {
      this.#keepAlive.release();
    }
  }

  isConnected(): boolean {
    return this.phase === 'open' && this.#native.isConnected();
  }

  health(): BusHealth {
    if (this.phase === 'connecting') return unconnected('the bus is connecting');
    if (this.phase === 'closed') return unconnected('the bus is disconnected');
    return JSON.parse(this.#native.health()) as BusHealth;
  }

  metrics(): BusMetrics {
    if (this.#lastMetrics !== undefined) return this.#lastMetrics;
    if (this.phase === 'connecting') return NO_METRICS;
    const core = JSON.parse(this.#native.metrics()) as BusMetrics;
    const { waiting, waitingBytes, aborted, refused, errors } = this.publisher.counts;
    const all = new Map<string, number>(Object.entries(core.errors));
    const add = (code: ErrorCode, count: number): void => {
      if (count > 0) all.set(code, (all.get(code) ?? 0) + count);
    };
    for (const [code, count] of errors) add(code, count);
    const { failed, unreadable, late } = this.dispatcher.reports;
    add('EVBUS_HANDLER', failed);
    add('EVBUS_CODEC', unreadable);
    return {
      ...core,
      publish: {
        ...core.publish,
        failed: core.publish.failed + refused,
        waiting,
        waitingBytes,
        aborted,
      },
      consume: { ...core.consume, handledAfterTimeout: late },
      errors: Object.fromEntries(all),
    };
  }

  /**
   * Ends the connection; resolves by the deadline and half a second, whatever happens.
   *
   * @param timeoutMs - the time for everything, in milliseconds
   */
  async shutdown(timeoutMs: number): Promise<DisconnectReport> {
    this.phase = 'draining';
    this.#keepAlive.hold();
    this.publisher.handOver();
    this.dispatcher.drain();
    const report = await this.#shutdownCore(timeoutMs);
    this.close();
    return report;
  }

  async #shutdownCore(timeoutMs: number): Promise<DisconnectReport> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs + SHUTDOWN_GRACE_MS);
    });
    try {
      const ended = this.#call((operation) => this.#native.shutdown(operation, timeoutMs));
      const report = (await Promise.race([ended, late])) as DisconnectReport | undefined;
      if (report !== undefined) return report;
      const message = `the client did not end within ${timeoutMs} ms and is left behind`;
      this.#reporter.log.write('error', 'shutdown_timed_out', message);
    } catch (error) {
      const { message } = error as Error;
      this.#reporter.log.write('error', 'shutdown_failed', message, {}, error as Error);
    } finally {
      clearTimeout(timer);
    }
    const { consume } = this.metrics();
    const lost = this.publisher.inFlight + this.publisher.counts.waiting;
    return { handled: 0, abandoned: consume.inFlight, published: 0, lost, clean: false };
  }

  /** Lets go of everything: what has no answer yet gets a `ClosedError`. */
  close(): void {
    if (this.phase === 'closed') return;
    this.#lastMetrics = { ...this.metrics(), connected: false };
    this.phase = 'closed';
    this.dispatcher.close();
    this.publisher.close();
    this.#native.release();
    for (const operation of this.#operations.values()) {
      operation.reject(disconnected());
    }
    this.#operations.clear();
    this.#keepAlive.close();
  }

  #call(start: (operation: number) => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#lastOperation += 1;
      const operation = this.#lastOperation;
      this.#operations.set(operation, { resolve, reject });
      try {
        start(operation);
      } catch (thrown) {
        this.#operations.delete(operation);
        reject(errorFromThrown(thrown));
      }
    });
  }

  /** Takes what other threads have written. Runs whenever the addon wakes, and once more after each batch. */
  #pump(): void {
    if (this.phase === 'closed') return;
    try {
      this.#takeCompletions();
      const hasDeliveries = this.#status[0] === 1;
      if (this.#status[1] === 1) this.#takeNotices();
      // One batch a turn, so that a flood of deliveries does not keep publishes from settling. Taking a notice may
      // have closed this.
      if (hasDeliveries && !this.#isClosed()) {
        const batch = this.#native.takeDeliveries();
        if (batch !== null) {
          this.dispatcher.take(batch);
          this.#schedulePump();
        }
      }
    } catch (thrown) {
      const error = errorFromThrown(thrown);
      this.#reporter.report(
        'error',
        error as EventBusError,
        { event: 'internal_error' },
        error.message,
      );
    }
  }

  #isClosed(): boolean {
    return this.phase === 'closed';
  }

  #schedulePump(): void {
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    setImmediate(this.#pumpAgain);
  }

  readonly #pumpAgain = (): void => {
    this.#pumpScheduled = false;
    this.#pump();
  };

  #takeCompletions(): void {
    for (let count = MAX_COMPLETIONS; count === MAX_COMPLETIONS; ) {
      count = this.#native.pump(this.#completions, this.#status);
      if (count > 0) this.publisher.complete(this.#completions, count);
    }
  }

  #takeNotices(): void {
    const json = this.#native.takeNotices();
    if (json === null) return;
    // Completions that came before a result must be told before it.
    this.#takeCompletions();
    for (const notice of JSON.parse(json) as Notice[]) {
      if (notice.type === 'stop') this.dispatcher.stop(notice.slot, notice.epoch);
      else if (notice.type === 'abort') this.dispatcher.abort(notice.slot, notice.epoch);
      else if (notice.type === 'log') this.#log(notice);
      else this.#answered(notice);
    }
  }

  #answered({ op, value, error }: Extract<Notice, { type: 'result' }>): void {
    const operation = this.#operations.get(op);
    this.#operations.delete(op);
    if (error === undefined) operation?.resolve(value);
    else operation?.reject(errorFromNative(error));
  }

  #log({ level, event, message, fields, error }: LogNotice): void {
    const behind: EventBusError | ArgumentError | undefined =
      error === undefined ? undefined : errorFromNative(error);
    this.#reporter.log.write(level, event, message, fields, behind);
    if (behind === undefined || !FOR_ON_ERROR.has(event)) return;
    this.#reporter.tell(behind as EventBusError, { ...(fields as Partial<ErrorContext>), event });
  }
}
