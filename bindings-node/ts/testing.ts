import { ArgumentError } from './error';
import { isTopicName, nameValue } from './event';
import { addon, errorFromThrown } from './native';

declare global {
  // The libraries that have it may be missing where this package is compiled against.
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
}

/** Options of {@link startEmbeddedBroker}. */
export interface EmbeddedBrokerOptions {
  /** Topics to begin with. */
  readonly topics?: readonly string[];
  /** Partitions of each topic. */
  readonly partitions?: number;
}

/** A Kafka broker inside this process. */
export interface EmbeddedBroker {
  /** For the option `brokers` of a bus. */
  readonly brokers: string[];
  /**
   * Adds a topic.
   *
   * @param partitions - by default as many as the topics it began with have
   */
  createTopic(name: string, partitions?: number): void;
  /** Ends it; what it holds is gone. Does nothing when it is stopped. */
  stop(): Promise<void>;
  /** `stop()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

const DEFAULT_PARTITIONS = 4;

function checkTopic(name: string): void {
  if (typeof name === 'string' && isTopicName(name)) return;
  throw new ArgumentError(`cannot create the topic ${nameValue(name)}`, {
    hint: 'a topic name is 1 to 249 of A-Z a-z 0-9 . _ - and not "." or ".."',
  });
}

/**
 * Starts a Kafka broker inside this process, for tests and demonstrations; it is ready when the promise resolves.
 *
 * It speaks Kafka's protocol on a port of 127.0.0.1, for buses of this package. What it holds lies in memory, at
 * most 5 MiB per partition: older records are dropped beyond that. The first event of a new group arrives after some
 * seconds, as on a real broker that waits for further members. Later ones take up to half a second: unlike a real
 * broker it does not answer a consumer that waits before `fetch.wait.max.ms` is over, which
 * `kafka: { 'fetch.wait.max.ms': 10 }` shortens. It finds no offset by its time: with `from: { timestamp }` a new group
 * starts at the end. It has no authentication, and no order among several members that
 * join a group at once; prove those on a real Kafka.
 *
 * @example
 * ```ts
 * await using broker = await startEmbeddedBroker({ topics: ['order.placed'] });
 * const bus = new KafkaEventBus({ clientId: 'test', brokers: broker.brokers, groupId: 'test' });
 * ```
 */
export async function startEmbeddedBroker(
  options: EmbeddedBrokerOptions = {},
): Promise<EmbeddedBroker> {
  const { topics = [], partitions = DEFAULT_PARTITIONS } = options;
  topics.forEach(checkTopic);
  try {
    const { NativeTestBroker } = addon();
    const broker = new NativeTestBroker(JSON.stringify({ topics, partitions }));
    const stop = async (): Promise<void> => broker.close();
    return {
      brokers: broker.bootstrap.split(','),
      createTopic(name, count = partitions) {
        checkTopic(name);
        try {
          broker.createTopic(name, count);
        } catch (thrown) {
          throw errorFromThrown(thrown);
        }
      },
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (thrown) {
    throw errorFromThrown(thrown);
  }
}
