import { ConfigError } from './error';
import { nameValue } from './event';
import type { IsRetryable } from './failure';
import type { Logger, OnError } from './logger';
import { addon, type EffectiveConfig, errorFromThrown } from './native';
import { coreOptions, type DeliveryPolicy, type SubscribeOptions } from './policy';
import type { EffectivePolicy, HandlerSettings } from './registry';

/** A certificate or a key in PEM format. */
export type Pem = string | Uint8Array;

/** TLS. Giving one of them encrypts the connections. */
export interface SslConfig {
  /** Certificate authorities to trust instead of the system's. */
  readonly ca?: Pem | readonly Pem[];
  /** The client's certificate, together with `key`. */
  readonly cert?: Pem;
  /** The client's private key, together with `cert`. */
  readonly key?: Pem;
}

/** Credentials. */
export interface SaslConfig {
  /** Use `plain` over TLS only: it sends the password as it is. Default `plain`. */
  readonly mechanism?: 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly username: string;
  readonly password: string;
}

/**
 * The configuration of a {@link KafkaEventBus}.
 *
 * What it says of order, retries and dead letters holds for every subscription that does not say otherwise.
 */
export interface KafkaConfig extends DeliveryPolicy {
  /** Names this client in the brokers' logs and quotas. */
  readonly clientId: string;
  /** Addresses to bootstrap from, `host:port` each; `memory:NAME` alone is a broker inside this process. */
  readonly brokers: readonly string[];
  /** The consumer group; needed to subscribe. */
  readonly groupId?: string;
  /** Encrypts connections and checks the brokers' certificates. Default `false`. */
  readonly ssl?: boolean | SslConfig;
  readonly sasl?: SaslConfig;
  /** How long `connect()` may take, in milliseconds. Default 10 000. */
  readonly connectTimeoutMs?: number;
  /** How long a publish may take from the call to the acknowledgement, outages included, in ms. Default 30 000. */
  readonly publishTimeoutMs?: number;
  /** How long `disconnect()` may take unless the call says otherwise, in milliseconds. Default 10 000. */
  readonly shutdownTimeoutMs?: number;
  /** How many publishes may be in flight; further ones wait. Default 8192. */
  readonly maxInFlight?: number;
  /** How many bytes of publishes may be in flight; further ones wait. Default 64 MiB. */
  readonly publishMaxInFlightBytes?: number;
  /** How many bytes of publishes may wait for a place in flight; further ones fail at once. Default 32 MiB. */
  readonly maxQueuedBytes?: number;
  /** How many bytes of received records may be unfinished; then fetching pauses. Default 64 MiB. */
  readonly maxInFlightBytes?: number;
  /** The largest record to publish, in bytes. Default 1 048 588, the brokers' own. */
  readonly messageMaxBytes?: number;
  /** Compression of published batches. Default `none`. */
  readonly compression?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';
  /** Whether subscribing creates missing topics with the brokers' defaults. Default `true`. */
  readonly autoCreateTopics?: boolean;
  /** How often the offsets of finished events are committed, in milliseconds. Default 1000. */
  readonly commitIntervalMs?: number;
  /** After how long without a heartbeat the group gives this member's partitions to others, in ms. Default 8000. */
  readonly sessionTimeoutMs?: number;
  /** How often the group hears of this member, in ms; at most a third of `sessionTimeoutMs`. Default 1000. */
  readonly heartbeatIntervalMs?: number;
  /** After how long without polling the member leaves the group, in ms; handlers do not count. Default 300 000. */
  readonly maxPollIntervalMs?: number;
  /**
   * After how long a partition that has records and gets none counts as stalled, which is told and healed, in ms; at
   * least 1000, and 0 turns it off. Default 30 000.
   */
  readonly stallTimeoutMs?: number;
  /**
   * Names this member for ever, so that a restart within `sessionTimeoutMs` moves no partition. Each process needs a
   * name of its own. Default none, or with `fromEnv()` that in `KAFKA_GROUP_INSTANCE_ID`.
   */
  readonly groupInstanceId?: string;
  /** Any further property of librdkafka. One that would break a promise of the bus is refused. */
  readonly kafka?: Readonly<Record<string, string | number | boolean>>;
  /** Where the bus writes its log: by default the console, `false` for nowhere. See {@link Logger}. */
  readonly logger?: Logger | false;
  /** Called for each failure that no caller hears of: a failing handler, an invalid record. */
  readonly onError?: OnError;
}

/**
 * A configuration that was found valid.
 *
 * @internal
 */
export interface CheckedConfig {
  /** As the core reads it. */
  readonly json: string;
  readonly settings: EffectiveConfig;
  readonly logger: Logger | false | undefined;
  readonly onError: OnError | undefined;
  readonly isRetryable: IsRetryable | undefined;
}

/**
 * Has the core check a configuration, to which all options belong that are not functions.
 *
 * @throws {@link ConfigError}
 * @internal
 */
export function checkConfig(config: KafkaConfig): CheckedConfig {
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new ConfigError(`the configuration must be an object, got ${nameValue(config)}`, {
      hint: 'give at least clientId and brokers',
    });
  }
  const { logger, onError, isRetryable, ...options } = config;
  checkLogger(logger);
  if (onError !== undefined && typeof onError !== 'function') {
    throw invalid('onError', 'a function', onError, 'pass (error, context) => { … }');
  }
  checkIsRetryable(isRetryable);
  const json = toJson(withPemTexts(options), 'the configuration');
  try {
    const settings = JSON.parse(addon().validateConfig(json)) as EffectiveConfig;
    return { json, settings, logger, onError, isRetryable };
  } catch (thrown) {
    throw errorFromThrown(thrown);
  }
}

/**
 * Has the core check the options of a subscription.
 *
 * @param configJson - the configuration of the bus, which holds where the options say nothing
 * @throws {@link ConfigError}
 * @internal
 */
export function checkSubscription(configJson: string, options: SubscribeOptions): HandlerSettings {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new ConfigError(
      `the options of a subscription must be an object, got ${nameValue(options)}`,
      { hint: "give an object, for example { ordering: 'key' }" },
    );
  }
  const { isRetryable } = options;
  checkIsRetryable(isRetryable);
  const json = toJson(coreOptions(options), 'the options of the subscription');
  // Options that only JavaScript needs leave the event type as it is.
  if (json === '{}') return { isRetryable };
  try {
    const policy = JSON.parse(addon().validateSubscription(configJson, json)) as EffectivePolicy;
    return { policy, isRetryable };
  } catch (thrown) {
    throw errorFromThrown(thrown);
  }
}

/**
 * Has the core check what a bus is to consume.
 *
 * @param topics - as the registry gives them
 * @throws {@link ArgumentError} for names that are no topics, and for dead letters that would be delivered as events
 * @internal
 */
export function checkTopics(configJson: string, topics: readonly object[]): void {
  try {
    addon().validateTopics(configJson, JSON.stringify(topics));
  } catch (thrown) {
    throw errorFromThrown(thrown);
  }
}

function checkIsRetryable(isRetryable: unknown): void {
  if (isRetryable === undefined || typeof isRetryable === 'function') return;
  const hint = 'pass (error, context) => boolean';
  throw invalid('isRetryable', 'a function', isRetryable, hint);
}

function checkLogger(logger: unknown): void {
  if (logger === undefined || logger === false) return;
  const methods = ['debug', 'info', 'warn', 'error'] as const;
  const has = (method: string): boolean =>
    typeof (logger as Record<string, unknown> | null)?.[method] === 'function';
  if (methods.every(has)) return;
  throw invalid(
    'logger',
    'an object with the methods debug, info, warn and error, or false',
    logger,
    'pass the console, a pino logger, or false for no log',
  );
}

function invalid(option: string, wanted: string, value: unknown, hint: string): ConfigError {
  return new ConfigError(`${option} must be ${wanted}, got ${nameValue(value)}`, {
    context: { option },
    hint,
  });
}

type CoreOptions = Omit<KafkaConfig, 'logger' | 'onError' | 'isRetryable'>;

/** Certificates are often read from files as bytes. */
function withPemTexts(options: CoreOptions): CoreOptions {
  const { ssl } = options;
  if (typeof ssl !== 'object' || ssl === null || Array.isArray(ssl)) return options;
  const texts = Object.entries(ssl).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.map(pemText) : pemText(value),
  ]);
  return { ...options, ssl: Object.fromEntries(texts) as SslConfig };
}

function pemText(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : value;
}

function toJson(options: object, what: string): string {
  try {
    // JSON would leave out what it cannot hold; the core must see it to refuse it.
    return JSON.stringify(options, (_, value: unknown) => {
      if (typeof value === 'function' || typeof value === 'symbol') return [String(typeof value)];
      if (typeof value === 'bigint' || (typeof value === 'number' && !Number.isFinite(value))) {
        return String(value);
      }
      return value;
    });
  } catch (cause) {
    const [why] = (cause instanceof Error ? cause.message : String(cause)).split('\n');
    throw new ConfigError(`${what} cannot be read: ${why}`, {
      cause,
      hint: 'give plain values: texts, numbers, booleans, arrays and objects of them',
    });
  }
}

const VARIABLES = {
  brokers: 'KAFKA_BROKERS',
  clientId: 'KAFKA_CLIENT_ID',
  groupId: 'KAFKA_GROUP_ID',
  groupInstanceId: 'KAFKA_GROUP_INSTANCE_ID',
} as const;

/**
 * A configuration whose brokers, client id, group id and group instance id come from the environment where it
 * leaves them out. A variable that is empty counts as not set.
 *
 * @internal
 */
export function withEnvironment(
  config: Partial<KafkaConfig> = {},
  environment: NodeJS.ProcessEnv = process.env,
): KafkaConfig {
  const from = Object.entries(VARIABLES)
    .filter(([option]) => config[option as keyof typeof VARIABLES] === undefined)
    .map(([option, variable]) => [option, environment[variable]?.trim()] as const)
    .filter(([, value]) => value)
    .map(([option, value]) => [option, option === 'brokers' ? value?.split(',') : value]);
  return { ...config, ...Object.fromEntries(from) } as KafkaConfig;
}
