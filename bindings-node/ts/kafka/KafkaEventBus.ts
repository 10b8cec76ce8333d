import { AbortError, type AbortSignalLike } from '../abort';
import { BaseEventBus, notConnected } from '../base/BaseEventBus';
import { Connection } from '../bus';
import {
  type CheckedConfig,
  checkConfig,
  checkSubscription,
  checkTopics,
  type KafkaConfig,
  withEnvironment,
} from '../config';
import { DeadLetters } from '../dead-letters';
import { ArgumentError, ClosedError, ConfigError } from '../error';
import {
  type BaseEventPayload,
  type IDomainEvent,
  type IEventHandler,
  isTopicName,
  type KafkaEventHandler,
  nameValue,
} from '../event';
import { type BusHealth, unconnected } from '../health';
import { Log, Reporter } from '../logger';
import { type BusMetrics, type DisconnectReport, NO_METRICS } from '../metrics';
import { addon } from '../native';
import type { SubscribeOptions } from '../policy';
import type { Publisher, PublishOptions } from '../publish';
import { Registry } from '../registry';
import { type SeekTo, seekRequest } from '../seek';
import { Dispatcher } from '../subscribe';

/** Options of `connect`. */
export interface ConnectOptions {
  /** Gives up waiting; the connection is abandoned when nobody waits for it any more. */
  readonly signal?: AbortSignalLike | undefined;
}

/** Options of `disconnect`. */
export interface DisconnectOptions {
  /** Milliseconds for everything; by default `shutdownTimeoutMs` of the configuration. */
  readonly timeoutMs?: number | undefined;
}

/** A `connect` under way. */
interface Attempt {
  readonly connection: Connection;
  promise: Promise<void>;
  waiting: number;
  cancelled: boolean;
}

const NEVER = new Promise<void>(() => {});

const NOTHING: DisconnectReport = { handled: 0, abandoned: 0, published: 0, lost: 0, clean: true };

/**
 * Domain events over Kafka.
 *
 * A publish that resolved is stored by all in-sync replicas. Events are handled at least once, in order
 * per aggregate within an event type; the offset of an event is committed when all handlers of its
 * type have succeeded, or when it is stored as a dead letter. A handler that fails is logged, reported to `onError`
 * and called again as `retry` says; the others go on. All methods belong to the thread that made the bus, and
 * handlers run on it.
 *
 * @typeParam T - the payload, or the union of all payloads, that the bus carries
 *
 * @example
 * ```ts
 * const bus = new KafkaEventBus<OrderPlaced>({
 *   clientId: 'orders',
 *   brokers: ['localhost:9092'],
 *   groupId: 'billing',
 * });
 * await bus.subscribe('order.placed', { handle: async (event) => console.log(event.payload) });
 * await bus.connect();
 * await bus.publish(event);
 * await bus.disconnect();
 * ```
 */
export class KafkaEventBus<T extends BaseEventPayload = BaseEventPayload> extends BaseEventBus<T> {
  readonly #config: CheckedConfig;
  readonly #reporter: Reporter;
  readonly #registry: Registry<T>;
  #connection: Connection | undefined;
  #attempt: Attempt | undefined;
  #closing: Promise<DisconnectReport> | undefined;
  #lastMetrics: BusMetrics = NO_METRICS;

  /** @throws {@link ConfigError} that names the option, and for an unknown one the nearest */
  constructor(config: KafkaConfig) {
    super();
    this.#config = checkConfig(config);
    this.#reporter = new Reporter(new Log(this.#config.logger), this.#config.onError);
    this.#registry = new Registry<T>(this.#config.settings.policy, this.#config.isRetryable);
  }

  /**
   * A bus whose `brokers`, `clientId`, `groupId` and `groupInstanceId` come from `KAFKA_BROKERS` (separated by
   * commas), `KAFKA_CLIENT_ID`, `KAFKA_GROUP_ID` and `KAFKA_GROUP_INSTANCE_ID` where the configuration leaves them
   * out.
   *
   * @throws {@link ConfigError} as the constructor does
   */
  static fromEnv<T extends BaseEventPayload = BaseEventPayload>(
    config: Partial<KafkaConfig> = {},
  ): KafkaEventBus<T> {
    return new KafkaEventBus<T>(withEnvironment(config));
  }

  /**
   * Whether a broker can be reached and publishes make progress, at most 3 seconds late. It informs:
   * during an outage publishes are accepted and wait until their deadline.
   */
  override get isConnected(): boolean {
    return this.#connection?.isConnected() ?? false;
  }

  /** The handlers by event type. To change them use {@link subscribe} and {@link unsubscribe}. */
  override get handlers(): Map<string, Set<IEventHandler<T>>> {
    return super.handlers;
  }

  /**
   * Connects; resolves when a broker has answered and the handlers' topics are subscribed to. Does
   * nothing when connected; joins a call that is under way.
   *
   * @throws `EventBusError` with code `EVBUS_UNAVAILABLE` when no broker answered within
   * `connectTimeoutMs`, naming the addresses dialled and what to check; `EVBUS_AUTH` when the
   * credentials or the TLS handshake were refused. Nothing is left behind; `connect()` can be called again
   * @throws {@link ClosedError} when `disconnect()` was called meanwhile
   * @throws {@link AbortError} through the signal
   */
  async connect(options: ConnectOptions = {}): Promise<void> {
    const { signal } = options;
    for (;;) {
      if (signal?.aborted) throw new AbortError('connecting was aborted', signal);
      if (this.#closing !== undefined) {
        this.#connection?.dispatcher.releaseCurrent();
        await this.#closing;
      } else if (this.#attempt?.cancelled) {
        await this.#attempt.promise.catch(() => {});
      } else if (this.#connection !== undefined) {
        return;
      } else {
        this.#attempt ??= this.#begin();
        return join(this.#attempt, signal);
      }
    }
  }

  #begin(): Attempt {
    const { settings, json } = this.#config;
    const connection = new Connection(
      addon(),
      settings,
      this.#registry as unknown as Registry,
      this.#reporter,
    );
    const connecting = async (): Promise<void> => {
      try {
        await connection.connect(json);
        this.#connection = connection;
      } catch (error) {
        connection.close();
        throw attempt.cancelled ? cancelled() : error;
      } finally {
        this.#attempt = undefined;
      }
    };
    const attempt: Attempt = { connection, waiting: 0, cancelled: false, promise: NEVER };
    attempt.promise = connecting();
    return attempt;
  }

  /**
   * Ends the bus in order: no new publishes, running handlers finish, offsets are committed, the group
   * is left, what was published is flushed. Always resolves by its deadline and half a second. Does
   * nothing when not connected; `connect()` may be called again afterwards. Called in a handler it
   * does not wait for that handler, whose event is delivered again.
   *
   * @returns what became of everything
   * @throws {@link ArgumentError} for a `timeoutMs` that is no number of milliseconds
   */
  async disconnect(options: DisconnectOptions = {}): Promise<DisconnectReport> {
    const { timeoutMs = this.#config.settings.shutdownTimeoutMs } = options;
    if (!(typeof timeoutMs === 'number' && timeoutMs >= 0 && timeoutMs <= 0x7fff_ffff)) {
      throw new ArgumentError(
        `timeoutMs must be a number of milliseconds, got ${nameValue(timeoutMs)}`,
      );
    }
    if (this.#attempt !== undefined) {
      cancel(this.#attempt);
      await this.#attempt.promise.catch(() => {});
    }
    this.#connection?.dispatcher.releaseCurrent();
    if (this.#closing !== undefined) return this.#closing;
    const connection = this.#connection;
    if (connection === undefined) return NOTHING;
    this.#closing = connection.shutdown(timeoutMs).finally(() => {
      this.#lastMetrics = connection.metrics();
      this.#connection = undefined;
      this.#closing = undefined;
    });
    return this.#closing;
  }

  /**
   * Publishes an event; resolves when all in-sync replicas have stored it. The event is validated and
   * written in this call, so it may be changed afterwards.
   *
   * @throws {@link ArgumentError} or `CodecError` for what is no valid event, with nothing sent
   * @throws {@link ClosedError} `Event bus is not connected`
   * @throws `PublishError`, `TimeoutError`: `outcome` says whether the event may have been stored
   * @throws {@link AbortError} through the signal
   */
  override publish(event: IDomainEvent<T>, options?: PublishOptions): Promise<void> {
    const publisher = this.#publisher();
    return publisher === undefined
      ? Promise.reject(notConnected())
      : publisher.publish(event, options);
  }

  /**
   * Publishes events in their order with one promise; resolves when all are stored.
   *
   * @throws `PublishManyError` when every event has settled and some failed: its `failures` name the
   * index and the error of each, all others are stored
   * @throws {@link ClosedError} `Event bus is not connected`
   */
  publishMany(events: Iterable<IDomainEvent<T>>, options?: PublishOptions): Promise<void> {
    const publisher = this.#publisher();
    return publisher === undefined
      ? Promise.reject(notConnected())
      : publisher.publishMany(events, options);
  }

  /** The publisher, if a publish is accepted: while open, and else from a running handler. */
  #publisher(): Publisher | undefined {
    const connection = this.#connection ?? this.#attempt?.connection;
    if (connection === undefined) return undefined;
    if (connection.phase === 'open' || connection.dispatcher.current() !== undefined) {
      return connection.publisher;
    }
    return undefined;
  }

  /**
   * Adds a handler for an event type, before or after `connect()`. Several handlers of one type each get
   * every event. A new group starts at the earliest event of the topic, unless `from` says otherwise.
   *
   * @param options - what differs from the configuration of the bus; all but `isRetryable` belong to the event type
   * and hold until its last handler is removed
   * @throws {@link ArgumentError} when the type is no legal topic name, the handler has no `handle`, the type is
   * subscribed to with other options already, or dead letters would go to a topic that the bus consumes
   * @throws {@link ConfigError} when the configuration has no `groupId`, and for an invalid option
   *
   * @example
   * ```ts
   * await bus.subscribe(
   *   'order.placed',
   *   { handle: async (event, { attempt, signal }) => ship(event.payload, { attempt, signal }) },
   *   { ordering: 'key', concurrency: 100, retry: { attempts: 10 }, handlerTimeoutMs: 5_000 },
   * );
   * ```
   */
  override async subscribe(
    eventType: string,
    handler: KafkaEventHandler<T>,
    options?: SubscribeOptions,
  ): Promise<void> {
    if (this.#config.settings.groupId === null) {
      throw new ConfigError(
        `cannot subscribe to ${nameValue(eventType)}: the configuration has no groupId`,
        {
          context: { option: 'groupId' },
          hint: 'set groupId, the name of the consumer group, or KAFKA_GROUP_ID with fromEnv()',
        },
      );
    }
    const settings = options === undefined ? {} : checkSubscription(this.#config.json, options);
    this.#registry.check(eventType, settings);
    const isNew = this.addHandler(eventType, handler);
    if (isNew) this.#registry.add(eventType, handler, settings);
    try {
      checkTopics(this.#config.json, this.#registry.topics());
      await this.#applyTopics();
    } catch (error) {
      if (isNew && this.removeHandler(eventType, handler))
        this.#registry.remove(eventType, handler);
      throw error;
    }
  }

  /**
   * Removes a handler. No call of it starts from now on, and none runs when this resolves; called in a
   * handler it does not wait for that call itself. The topic is left when no other handler wants it.
   */
  override async unsubscribe(eventType: string, handler: KafkaEventHandler<T>): Promise<void> {
    if (this.removeHandler(eventType, handler)) this.#registry.remove(eventType, handler);
    const call = Dispatcher.running();
    try {
      await this.#applyTopics();
    } finally {
      await this.#registry.idle(eventType, handler, call);
    }
  }

  async #applyTopics(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined || connection.phase !== 'open') return;
    try {
      await connection.applyTopics();
    } catch (error) {
      // A bus that ends meanwhile consumes nothing any more, which is no failure of this call.
      if (!(error instanceof ClosedError)) throw error;
    }
  }

  /**
   * The dead letters of an event type: to look at, and to send back. Its methods need a connected bus, though no
   * subscription and no `groupId`.
   *
   * @param options - `topic` when a subscription names a `deadLetterTopic` of its own
   * @throws {@link ArgumentError} when the type is no legal topic name
   *
   * @example
   * ```ts
   * const letters = bus.deadLetters('order.placed');
   * console.log(await letters.list({ limit: 10 }));
   * await letters.replay({ reason: 'exhausted' });
   * ```
   */
  deadLetters(eventType: string, options: { readonly topic?: string } = {}): DeadLetters {
    if (typeof eventType !== 'string' || !isTopicName(eventType)) {
      throw new ArgumentError(`there are no dead letters of event type ${nameValue(eventType)}`, {
        hint: 'an event type is a Kafka topic name: 1 to 249 of A-Z a-z 0-9 . _ - and not "." or ".."',
      });
    }
    return new DeadLetters(eventType, options.topic, async (request) =>
      this.#open().deadLetters(request),
    );
  }

  /**
   * Reads a partition from another place on, to replay a part of the log or to pass one over; resolves when the
   * client does so. The partition has to be assigned to this bus: `metrics().consume.lag` lists those that are.
   *
   * Events from before that are still with their handlers count no more: their signals abort, what they return is
   * dropped, and the events behind them wait until they have ended. The offset that the group has stored follows when
   * the first event from the new place is finished. An offset that is not in the log is replaced by the oldest one, as
   * `offset_reset` in the log tells.
   *
   * @param to - `'beginning'`, `'end'`, `{ offset }` or `{ timestamp }`
   * @throws {@link ArgumentError} for what is no topic name, no partition or no place
   * @throws `EventBusError` with code `EVBUS_ILLEGAL_STATE` when the partition is not assigned to this bus,
   * `EVBUS_TIMEOUT` or `EVBUS_UNAVAILABLE` when its leader does not tell its offsets
   * @throws {@link ClosedError} `Event bus is not connected`
   *
   * @example
   * ```ts
   * const anHourAgo = { timestamp: Date.now() - 3_600_000 };
   * for (const { topic, partition } of bus.metrics().consume.lag) await bus.seek(topic, partition, anHourAgo);
   * ```
   */
  async seek(eventType: string, partition: number, to: SeekTo): Promise<void> {
    const request = seekRequest(eventType, partition, to);
    await this.#open().seek(request);
  }

  /** The connection of a call that is neither for running handlers nor for a bus that ends. */
  #open(): Connection {
    const connection = this.#connection;
    if (connection === undefined || connection.phase !== 'open') throw notConnected();
    return connection;
  }

  /**
   * Whether the bus does its work, and what keeps it from it: for the probes of a service. Cheap.
   *
   * @example
   * ```ts
   * const { live, ready, reasons } = bus.health();
   * for (const { code, message } of reasons) console.log(code, message);
   * ```
   */
  health(): BusHealth {
    const connection = this.#connection ?? this.#attempt?.connection;
    return connection?.health() ?? unconnected('the bus is not connected: call connect()');
  }

  /** The state of the bus in numbers; after `disconnect()` those of its end. */
  metrics(): BusMetrics {
    return this.#connection?.metrics() ?? this.#lastMetrics;
  }
}

/** Ends an attempt at once; what the client still does for it ends on the client's own threads. */
function cancel(attempt: Attempt): void {
  attempt.cancelled = true;
  attempt.connection.close();
}

const cancelled = (): ClosedError =>
  new ClosedError('connecting was given up: disconnect() was called meanwhile');

/** Waits for an attempt; when the last one that waits gives up, so does the attempt. */
function join(attempt: Attempt, signal: AbortSignalLike | undefined): Promise<void> {
  attempt.waiting += 1;
  return new Promise<void>((resolve, reject) => {
    const onAbort = (): void => {
      attempt.waiting -= 1;
      if (attempt.waiting === 0) cancel(attempt);
      reject(new AbortError('connecting was aborted', signal as AbortSignalLike));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const ended = (): void => signal?.removeEventListener('abort', onAbort);
    attempt.promise.then(resolve, reject).finally(ended);
  });
}
