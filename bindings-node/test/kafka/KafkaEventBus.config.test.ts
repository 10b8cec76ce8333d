import { afterEach, describe, expect, it, vi } from 'vitest';
import { withEnvironment } from '../../ts/config';
import { createKafkaEventBus } from '../../ts/EventBusFactory';
import { ArgumentError, ConfigError } from '../../ts/error';
import { KafkaEventBus } from '../../ts/kafka/KafkaEventBus';
import { collector, makeBus, memoryBroker } from '../support/bus';
import { type OrderPlaced, orderPlaced, withId } from '../support/events';
import { until } from '../support/native';
import { rejection } from '../support/promises';

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

describe('the environment', () => {
  it('fills what the configuration leaves out', async () => {
    const broker = memoryBroker();
    vi.stubEnv('KAFKA_BROKERS', broker);
    vi.stubEnv('KAFKA_CLIENT_ID', 'from-env');
    vi.stubEnv('KAFKA_GROUP_ID', 'from-env');
    const handler = collector();
    for (const bus of [
      createKafkaEventBus<OrderPlaced>({ logger: false }),
      KafkaEventBus.fromEnv<OrderPlaced>({ logger: false }),
    ]) {
      await bus.subscribe('order.placed', handler);
      await bus.connect();
      await bus.publish(withId('1'));
      await until(() => handler.seen.length === 1, 'the event');
      await bus.disconnect();
      handler.seen.length = 0;
    }
  });

  it('names the member', () => {
    vi.stubEnv('KAFKA_GROUP_INSTANCE_ID', 'pod-7');
    const fromEnv = withEnvironment({ clientId: 'x' });
    expect(fromEnv).toEqual({ clientId: 'x', groupInstanceId: 'pod-7' });
    expect(withEnvironment({ groupInstanceId: 'own' })).toEqual({ groupInstanceId: 'own' });
  });

  it('does not replace what the configuration says', async () => {
    vi.stubEnv('KAFKA_BROKERS', 'nowhere.invalid:9092');
    const bus = createKafkaEventBus<OrderPlaced>({
      brokers: [memoryBroker()],
      clientId: 'x',
      logger: false,
    });
    await bus.connect();
    await bus.disconnect();
  });

  it('is told by the error when it is not enough', () => {
    vi.stubEnv('KAFKA_BROKERS', '');
    expect(() => createKafkaEventBus({ clientId: 'x' })).toThrow(/brokers/);
  });
});

describe('a configuration', () => {
  const valid = { clientId: 'x', brokers: ['localhost:9092'] };
  it.each([
    ['nothing', undefined, /the configuration must be an object, got undefined/],
    ['{}', {}, /clientId|brokers/],
    ['no brokers', { clientId: 'x' }, /brokers/],
    ['empty brokers', { ...valid, brokers: [] }, /brokers/],
    ['brokers that are no list', { ...valid, brokers: 5 }, /brokers must be/],
    ['malformed brokers', { ...valid, brokers: ['localhost:port'] }, /localhost:port/],
    ['no clientId', { brokers: ['localhost:9092'] }, /clientId/],
    ['a wrong type', { ...valid, maxInFlight: 'many' }, /maxInFlight must be an integer/],
    ['a function', { ...valid, maxInFlight: () => 5 }, /maxInFlight must be an integer/],
    ['a BigInt', { ...valid, maxInFlight: 5n }, /maxInFlight must be an integer/],
    ['NaN', { ...valid, publishTimeoutMs: Number.NaN }, /publishTimeoutMs must be an integer/],
    ['contradictory', { ...valid, sessionTimeoutMs: 1000, heartbeatIntervalMs: 900 }, /heartbeat/],
    ['a logger without methods', { ...valid, logger: {} }, /logger must be an object with the/],
    ['onError that is no function', { ...valid, onError: 'log' }, /onError must be a function/],
    ['isRetryable that is no function', { ...valid, isRetryable: 5 }, /isRetryable must be a func/],
    ['an unknown order', { ...valid, ordering: 'none' }, /ordering must be one of partition, key/],
  ])('is refused: %s', (_, config, message) => {
    let error: ConfigError | undefined;
    try {
      new KafkaEventBus(config as never);
    } catch (thrown) {
      error = thrown as ConfigError;
    }
    expect(error).toBeInstanceOf(ConfigError);
    expect(error?.code).toBe('EVBUS_CONFIG');
    expect(`${error?.message} ${error?.hint}`).toMatch(message);
  });

  it.each([
    [{ broker: ['localhost:9092'] }, 'brokers'],
    [{ publishTimeout: 5 }, 'publishTimeoutMs'],
    [{ handlerTimeout: 5 }, 'handlerTimeoutMs'],
    [{ retries: () => {} }, undefined],
  ])('is refused with an unknown option, naming the nearest: %j', (more, nearest) => {
    let error: ConfigError | undefined;
    try {
      new KafkaEventBus({ ...valid, ...more } as never);
    } catch (thrown) {
      error = thrown as ConfigError;
    }
    expect(error).toBeInstanceOf(ConfigError);
    expect(error?.message).toContain(`there is no option ${Object.keys(more)[0]}`);
    if (nearest !== undefined) expect(error?.hint).toContain(nearest);
  });

  it('is refused with a cycle', () => {
    const kafka: Record<string, unknown> = {};
    kafka['self'] = kafka;
    expect(() => new KafkaEventBus({ ...valid, kafka } as never)).toThrow(
      /the configuration cannot be read/,
    );
  });

  it('never shows a password', () => {
    const sasl = { mechanism: 'plain', username: 'u', password: 'hunter2', pasword: 'hunter2' };
    const thrown = (() => {
      try {
        return new KafkaEventBus({ ...valid, sasl } as never);
      } catch (error) {
        return error as ConfigError;
      }
    })();
    expect(thrown).toBeInstanceOf(ConfigError);
    expect(JSON.stringify({ ...thrown, message: (thrown as Error).message })).not.toContain(
      'hunter2',
    );
  });

  it('takes certificates as bytes', () => {
    const text = '-----BEGIN CERTIFICATE-----\nnot a certificate\n-----END CERTIFICATE-----\n';
    const ssl = (ca: unknown) => {
      try {
        return new KafkaEventBus({ ...valid, ssl: { ca } } as never) && 'accepted';
      } catch (error) {
        return (error as Error).message;
      }
    };
    const asText = ssl(text);
    expect(ssl(Buffer.from(text))).toBe(asText);
    expect(ssl([Buffer.from(text)])).toBe(asText);
  });
});

describe('bad input', () => {
  it.each([
    ['a handler without handle', 'order.placed', {}, ArgumentError, /has no method handle/],
    ['no handler', 'order.placed', undefined, ArgumentError, /has no method handle/],
    ['an empty type', '', collector(), ArgumentError, /cannot subscribe to event type ""/],
    ['no type', undefined, collector(), ArgumentError, /cannot subscribe to event type undefined/],
    ['an illegal type', 'a b', collector(), ArgumentError, /cannot subscribe to event type "a b"/],
  ])('to subscribe: %s', async (_, type, handler, Class, message) => {
    for (const isConnected of [false, true]) {
      const { bus } = makeBus();
      if (isConnected) await bus.connect();
      const error = await rejection(bus.subscribe(type as never, handler as never));
      expect(error).toBeInstanceOf(Class);
      expect(error.message).toMatch(message);
      expect(bus.handlers.size).toBe(0);
    }
  });

  it('to subscribe without a group', async () => {
    const bus = new KafkaEventBus<OrderPlaced>({
      clientId: 'x',
      brokers: [memoryBroker()],
      logger: false,
    });
    const error = await rejection(bus.subscribe('order.placed', collector()));
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toContain('groupId');
    expect(bus.handlers.size).toBe(0);
  });

  it('to subscribe: options that are none, or other ones than those that hold', async () => {
    for (const isConnected of [false, true]) {
      const { bus } = makeBus();
      if (isConnected) await bus.connect();
      const [first, second] = [collector(), collector()];
      const wrong = await rejection(bus.subscribe('order.placed', first, { concurrency: -1 }));
      expect(wrong).toBeInstanceOf(ConfigError);
      expect(bus.handlers.size).toBe(0);
      await bus.subscribe('order.placed', first, { ordering: 'key' });
      const other = await rejection(
        bus.subscribe('order.placed', second, { ordering: 'partition', concurrency: 5 }),
      );
      expect(other).toBeInstanceOf(ArgumentError);
      expect(other.message).toContain('concurrency, ordering');
      expect(bus.handlers.get('order.placed')).toEqual(new Set([first]));
      await bus.subscribe('order.placed', second);
      await bus.subscribe('order.placed', second, { ordering: 'key', concurrency: 64 });
      expect(bus.handlers.get('order.placed')?.size).toBe(2);
      await bus.unsubscribe('order.placed', first);
      await bus.unsubscribe('order.placed', second);
      await bus.subscribe('order.placed', second, { concurrency: 5 });
    }
  });

  it('to publish sends nothing', async () => {
    const { bus } = makeBus();
    await bus.connect();
    const cycle = { ...orderPlaced().payload, self: {} };
    cycle.self = cycle;
    for (const bad of [{ eventId: '' }, { version: 1.5 }, { payload: cycle }]) {
      const error = await rejection(bus.publish({ ...withId('1'), ...bad }));
      expect(error).toMatchObject({ outcome: 'not_sent' });
    }
    const large = { ...orderPlaced().payload, orderId: 'x'.repeat(1_100_000) };
    const error = await rejection(bus.publish(withId('1', { payload: large })));
    expect(error).toMatchObject({ code: 'EVBUS_TOO_LARGE', outcome: 'not_sent' });
    const { publish, errors } = bus.metrics();
    expect(publish).toMatchObject({ acknowledged: 0, failed: 4 });
    expect(errors).toEqual({ EVBUS_ARGUMENT: 2, EVBUS_CODEC: 1, EVBUS_TOO_LARGE: 1 });
  });

  it('to disconnect', async () => {
    const { bus } = makeBus();
    for (const timeoutMs of [-1, Number.NaN, '5']) {
      const error = await rejection(bus.disconnect({ timeoutMs } as never));
      expect(error).toBeInstanceOf(ArgumentError);
    }
  });
});
