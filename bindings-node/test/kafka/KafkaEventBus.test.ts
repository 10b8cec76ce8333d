import { afterEach, describe, expect, it, vi } from 'vitest';
import { AbortError } from '../../ts/abort';
import { BaseEventBus } from '../../ts/base/BaseEventBus';
import { createKafkaEventBus } from '../../ts/EventBusFactory';
import { ArgumentError, ClosedError, ConfigError, TimeoutError } from '../../ts/error';
import type { IDomainEvent } from '../../ts/event';
import { KafkaEventBus } from '../../ts/kafka/KafkaEventBus';
import { PublishManyError } from '../../ts/refusal';
import { collector, makeBus, memoryBroker } from '../support/bus';
import { DomainEvent, type OrderPlaced, orderPlaced } from '../support/events';
import { until } from '../support/native';

const event = (eventId: string, more: Partial<IDomainEvent<OrderPlaced>> = {}) =>
  orderPlaced({ eventId, ...more });

/** A promise and what settles it. */
function gate() {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** A broker in memory that lives as long as the test: one goes with its last bus. */
async function keptBroker(): Promise<string> {
  const broker = memoryBroker();
  await makeBus({ brokers: [broker] }).bus.connect();
  return broker;
}

const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => {
      throw new Error('it did not reject');
    },
    (error) => error,
  );

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

describe('dropped in', () => {
  it('handles what it publishes, with dates, plain objects with their extra fields', async () => {
    const { bus } = makeBus();
    const handler = collector();
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    const plain = { ...event('1'), tenant: 'acme' };
    await bus.publish(plain);
    const made = new DomainEvent({ secret: 'x' }, event('2'));
    await bus.publish(made);
    await until(() => handler.seen.length === 2, 'both events');
    expect(handler.seen).toContainEqual(plain);
    expect(handler.seen).toContainEqual(event('2'));
    expect(handler.seen[0]?.occurredOn).toBeInstanceOf(Date);
    expect(handler.seen[0]?.payload.timestamp).toBeInstanceOf(Date);
  });

  it('is a BaseEventBus with isConnected and handlers as properties', async () => {
    const { bus } = makeBus();
    const handler = collector();
    expect(bus).toBeInstanceOf(BaseEventBus);
    expect(bus.isConnected).toBe(false);
    await bus.subscribe('order.placed', handler);
    expect(bus.handlers).toEqual(new Map([['order.placed', new Set([handler])]]));
    await bus.connect();
    expect(bus.isConnected).toBe(true);
    await bus.unsubscribe('order.placed', handler);
    expect(bus.handlers).toEqual(new Map());
    await bus.disconnect();
    expect(bus.isConnected).toBe(false);
  });

  it('publishes only between connect and disconnect', async () => {
    const { bus } = makeBus();
    const refused = async (): Promise<void> => {
      for (const error of [
        await rejection(bus.publish(event('1'))),
        await rejection(bus.publishMany([event('1')])),
      ]) {
        expect(error).toBeInstanceOf(ClosedError);
        expect(error).toMatchObject({
          message: 'Event bus is not connected',
          code: 'EVBUS_CLOSED',
          outcome: 'not_sent',
        });
      }
    };
    await refused();
    const connecting = bus.connect();
    await refused();
    await connecting;
    await bus.publish(event('1'));
    const disconnecting = bus.disconnect();
    await refused();
    await disconnecting;
    await refused();
  });

  it('connects once for concurrent calls, and does nothing when connected', async () => {
    const { bus, lines } = makeBus();
    await Promise.all([bus.connect(), bus.connect(), bus.connect()]);
    await bus.connect();
    expect(lines.filter((line) => line.event === 'connection_established')).toHaveLength(1);
  });

  it('disconnects once for concurrent calls, and does nothing when not connected', async () => {
    const { bus } = makeBus();
    const nothing = { handled: 0, abandoned: 0, published: 0, lost: 0, clean: true };
    expect(await bus.disconnect()).toEqual(nothing);
    await bus.connect();
    const [first, second] = await Promise.all([bus.disconnect(), bus.disconnect()]);
    expect(second).toBe(first);
    expect(first).toMatchObject({ lost: 0, clean: true });
    expect(await bus.disconnect()).toEqual(nothing);
  });

  it('connects again after disconnect, with its handlers', async () => {
    const { bus } = makeBus();
    const handler = collector();
    await bus.subscribe('order.placed', handler);
    for (const id of ['1', '2', '3']) {
      await bus.connect();
      await bus.publish(event(id));
      await until(() => handler.seen.some(({ eventId }) => eventId === id), `event ${id}`);
      await bus.disconnect();
    }
    expect(handler.seen.map(({ eventId }) => eventId)).toEqual(['1', '2', '3']);
  });

  it('connects again when called while it disconnects', async () => {
    const { bus } = makeBus();
    await bus.connect();
    const disconnecting = bus.disconnect();
    await bus.connect();
    await disconnecting;
    await bus.publish(event('1'));
  });

  it('ends with its scope', async () => {
    const { bus } = makeBus();
    await bus.connect();
    await bus[Symbol.asyncDispose]();
    expect(bus.isConnected).toBe(false);
    expect(await rejection(bus.publish(event('1')))).toBeInstanceOf(ClosedError);
  });

  it('flushes what was published before disconnect', async () => {
    const { bus } = makeBus({ maxInFlight: 10 });
    await bus.connect();
    const all = Array.from({ length: 500 }, (_, n) => bus.publish(event(`${n}`)));
    const report = await bus.disconnect();
    await Promise.all(all);
    expect(report).toMatchObject({ lost: 0, clean: true });
    expect(bus.metrics().publish.acknowledged).toBe(500);
  });
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
      await bus.publish(event('1'));
      await until(() => handler.seen.length === 1, 'the event');
      await bus.disconnect();
      handler.seen.length = 0;
    }
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

  it('to publish sends nothing', async () => {
    const { bus } = makeBus();
    await bus.connect();
    const cycle = { ...orderPlaced().payload, self: {} };
    cycle.self = cycle;
    for (const bad of [{ eventId: '' }, { version: 1.5 }, { payload: cycle }]) {
      const error = await rejection(bus.publish({ ...event('1'), ...bad }));
      expect(error).toMatchObject({ outcome: 'not_sent' });
    }
    const large = { ...orderPlaced().payload, orderId: 'x'.repeat(1_100_000) };
    const error = await rejection(bus.publish(event('1', { payload: large })));
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

describe('publishMany', () => {
  it('stores all, keeps their order per aggregate, and names those that failed', async () => {
    const { bus } = makeBus();
    const handler = collector();
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    const list = Array.from({ length: 50 }, (_, n) => event(`${n}`));
    await bus.publishMany(list);
    const error = await rejection(bus.publishMany([event('50'), event(''), event('51')]));
    expect(error).toBeInstanceOf(PublishManyError);
    expect(error.failures.map(({ index }: { index: number }) => index)).toEqual([1]);
    await until(() => handler.seen.length === 52, 'all others');
    expect(handler.seen.map(({ eventId }) => eventId)).toEqual(
      Array.from({ length: 52 }, (_, n) => `${n}`),
    );
  });
});

describe('many publishes', () => {
  it('beyond the caps all arrive, in order per aggregate', async () => {
    const { bus } = makeBus({ maxInFlight: 100 });
    const handler = collector();
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    const all = Array.from({ length: 5_000 }, (_, n) =>
      bus.publish(event(`${n}`, { aggregateId: `order-${n % 7}` })),
    );
    await Promise.all(all);
    await until(() => handler.seen.length === 5_000, 'all events');
    const last = new Map<string, number>();
    for (const { eventId, aggregateId } of handler.seen) {
      expect(Number(eventId)).toBeGreaterThan(last.get(aggregateId) ?? -1);
      last.set(aggregateId, Number(eventId));
    }
    expect(bus.metrics()).toMatchObject({
      publish: { acknowledged: 5_000, failed: 0, inFlight: 0, waiting: 0 },
      consume: { received: 5_000 },
    });
  });

  it('resolve and are handled although timers are faked', async () => {
    const { bus } = makeBus();
    const handler = collector();
    await bus.subscribe('order.placed', handler);
    vi.useFakeTimers();
    await bus.connect();
    await bus.publish(event('1'));
    vi.useRealTimers();
    await until(() => handler.seen.length === 1, 'the event');
    vi.useFakeTimers();
    expect(await bus.disconnect()).toMatchObject({ clean: true });
  });
});

describe('handlers', () => {
  it('of several types, and several of one type, each get their events', async () => {
    const { bus } = makeBus();
    const [placed, alsoPlaced, paid] = [collector(), collector(), collector()];
    await bus.subscribe('order.placed', placed);
    await bus.subscribe('order.placed', alsoPlaced);
    await bus.connect();
    await bus.subscribe('order.paid', paid);
    await bus.publish(event('1'));
    await bus.publish(event('2', { eventType: 'order.paid' }));
    await bus.publish(event('3', { eventType: 'order.cancelled' }));
    await until(() => placed.seen.length + alsoPlaced.seen.length === 2, 'order.placed');
    await until(() => paid.seen.length === 1, 'order.paid');
    expect(bus.metrics().consume.received).toBe(2);
  });

  it('that are added twice are called once', async () => {
    const { bus } = makeBus();
    const handler = collector();
    await bus.subscribe('order.placed', handler);
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    await bus.publishMany([event('1'), event('2')]);
    await until(() => handler.seen.length >= 2, 'both events');
    expect(handler.seen).toHaveLength(2);
  });

  it('that are added while connecting are called', async () => {
    const { bus } = makeBus();
    const [first, second] = [collector(), collector()];
    await bus.subscribe('order.placed', first);
    const connecting = bus.connect();
    await bus.subscribe('order.paid', second);
    await connecting;
    await bus.publish(event('1', { eventType: 'order.paid' }));
    await until(() => second.seen.length === 1, 'the event');
  });

  it('that fail are told, and the later events go on', async () => {
    const { bus, errors, lines } = makeBus();
    const handler = collector();
    await bus.subscribe('order.placed', {
      handle: async ({ eventId }) => {
        if (eventId === '1') throw new Error('boom');
      },
    });
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    await bus.publishMany([event('1'), event('2')]);
    await until(() => handler.seen.length === 2, 'both events');
    await until(() => bus.metrics().consume.handled === 1, 'the metrics');
    expect(errors).toHaveLength(1);
    expect(errors[0]?.[1]).toMatchObject({ event: 'handler_failed', eventId: '1', attempt: 1 });
    expect(lines.filter((line) => line.event === 'handler_failed')).toHaveLength(1);
    expect(bus.metrics()).toMatchObject({
      consume: { received: 2, handled: 1, failed: 1 },
      errors: { EVBUS_HANDLER: 1 },
    });
    expect(bus.metrics().consume.processingTime.count).toBe(2);
  });

  it('may publish, also while the bus disconnects; others may not any more', async () => {
    const { bus } = makeBus();
    const [started, go] = [gate(), gate()];
    let published: Promise<void> = Promise.reject(new Error('not yet'));
    published.catch(() => {});
    await bus.subscribe('order.placed', {
      handle: async () => {
        started.open();
        await go.opened;
        published = bus.publish(event('2', { eventType: 'order.paid' }));
        await published;
      },
    });
    await bus.connect();
    await bus.publish(event('1'));
    await started.opened;
    const disconnecting = bus.disconnect();
    expect(await rejection(bus.publish(event('3')))).toBeInstanceOf(ClosedError);
    go.open();
    const report = await disconnecting;
    await published;
    expect(report).toMatchObject({ abandoned: 0, lost: 0, clean: true });
    expect(bus.metrics()).toMatchObject({
      publish: { acknowledged: 2, failed: 0 },
      consume: { handled: 1 },
      errors: {},
    });
  });
});

describe('unsubscribe', () => {
  it('waits for the running call, and none starts afterwards', async () => {
    const { bus } = makeBus();
    const [started, go] = [gate(), gate()];
    let calls = 0;
    const handler = {
      handle: async () => {
        calls += 1;
        started.open();
        await go.opened;
      },
    };
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    await bus.publishMany([event('1'), event('2')]);
    await started.opened;
    let ended = false;
    const unsubscribed = bus.unsubscribe('order.placed', handler).then(() => {
      ended = true;
    });
    await until(() => bus.handlers.size === 0, 'the removal');
    expect(ended).toBe(false);
    go.open();
    await unsubscribed;
    await bus.publish(event('3'));
    expect(calls).toBe(1);
  });

  it('inside the handler waits for all but its own call', async () => {
    const { bus } = makeBus();
    const ended = gate();
    const handler = {
      handle: async () => {
        await bus.unsubscribe('order.placed', handler);
        ended.open();
      },
    };
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    await bus.publish(event('1'));
    await ended.opened;
    expect(bus.handlers.size).toBe(0);
  });

  it('of one handler leaves the other, and its events are not lost to it', async () => {
    const { bus } = makeBus();
    const [stays, leaves] = [collector(), collector()];
    await bus.subscribe('order.placed', stays);
    await bus.subscribe('order.placed', leaves);
    await bus.connect();
    await bus.publish(event('1'));
    await until(() => stays.seen.length === 1 && leaves.seen.length === 1, 'the first event');
    await bus.unsubscribe('order.placed', leaves);
    await bus.publish(event('2'));
    await until(() => stays.seen.length === 2, 'the second event');
    expect(leaves.seen).toHaveLength(1);
  });

  it('of the last handler does not stop the bus; a later one goes on where it ended', async () => {
    const { bus } = makeBus();
    const [first, second] = [collector(), collector()];
    await bus.subscribe('order.placed', first);
    await bus.connect();
    await bus.publish(event('1'));
    await until(() => bus.metrics().consume.handled === 1, 'the first event');
    await bus.unsubscribe('order.placed', first);
    await bus.publish(event('2'));
    await bus.subscribe('order.placed', second);
    await until(() => second.seen.length === 1, 'the second event');
    expect(first.seen.map(({ eventId }) => eventId)).toEqual(['1']);
    expect(second.seen.map(({ eventId }) => eventId)).toEqual(['2']);
  });

  it('of what is not subscribed does nothing', async () => {
    const { bus } = makeBus();
    await bus.unsubscribe('order.placed', collector());
    await bus.connect();
    await bus.unsubscribe('order.placed', collector());
  });
});

describe('disconnect', () => {
  it('inside a handler does not wait for that handler, whose event is delivered again', async () => {
    const broker = await keptBroker();
    const { bus } = makeBus({ brokers: [broker] });
    const reports: unknown[] = [];
    await bus.subscribe('order.placed', {
      handle: async () => {
        reports.push(await bus.disconnect({ timeoutMs: 60_000 }));
      },
    });
    await bus.connect();
    await bus.publishMany([event('1'), event('2')]);
    const start = performance.now();
    await until(() => reports.length === 1, 'the report');
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(reports[0]).toMatchObject({ handled: 0, lost: 0, clean: true });
    const again = makeBus({ brokers: [broker] });
    const handler = collector();
    await again.bus.subscribe('order.placed', handler);
    await again.bus.connect();
    await until(() => handler.seen.length === 2, 'both events again');
    expect(handler.seen.map(({ eventId }) => eventId)).toEqual(['1', '2']);
  });

  it('waits for running handlers and commits what they handled', async () => {
    const broker = await keptBroker();
    const { bus } = makeBus({ brokers: [broker], commitIntervalMs: 600_000 });
    const [started, go] = [gate(), gate()];
    await bus.subscribe('order.placed', {
      handle: async () => {
        started.open();
        await go.opened;
      },
    });
    await bus.connect();
    await bus.publishMany([event('1'), event('2')]);
    await started.opened;
    const disconnecting = bus.disconnect();
    go.open();
    expect(await disconnecting).toMatchObject({ lost: 0, clean: true });
    const again = makeBus({ brokers: [broker] });
    const handler = collector();
    await again.bus.subscribe('order.placed', handler);
    await again.bus.connect();
    await until(() => handler.seen.length === 1, 'the second event');
    expect(handler.seen.map(({ eventId }) => eventId)).toEqual(['2']);
  });

  it('settles by its deadline although a handler never ends', async () => {
    const { bus } = makeBus();
    const started = gate();
    const never = gate();
    await bus.subscribe('order.placed', {
      handle: () => {
        started.open();
        return never.opened;
      },
    });
    await bus.connect();
    await bus.publish(event('1'));
    await started.opened;
    const start = performance.now();
    const report = await bus.disconnect({ timeoutMs: 300 });
    expect(performance.now() - start).toBeLessThan(300 + 500);
    expect(report).toMatchObject({ handled: 0, abandoned: 1 });
    never.open();
  });

  it('while connecting ends the connect', async () => {
    const { bus } = makeBus({ brokers: ['127.0.0.1:1'], connectTimeoutMs: 60_000 });
    const connecting = rejection(bus.connect());
    await bus.disconnect();
    const error = await connecting;
    expect(error).toBeInstanceOf(ClosedError);
    expect(error.message).toContain('disconnect() was called meanwhile');
    expect(bus.isConnected).toBe(false);
  });
});

describe('connect', () => {
  it('to a closed port fails in time, naming the address and what to check; then it can succeed', async () => {
    const { bus, lines } = makeBus({ brokers: ['127.0.0.1:1'], connectTimeoutMs: 700 });
    const start = performance.now();
    const error = await rejection(bus.connect());
    expect(performance.now() - start).toBeLessThan(700 + 1_500);
    expect(error.code).toBe('EVBUS_UNAVAILABLE');
    expect(error.retryable).toBe(true);
    expect(`${error.message} ${JSON.stringify(error.context)}`).toContain('127.0.0.1:1');
    expect(error.hint).toBeTruthy();
    expect(bus.isConnected).toBe(false);
    expect(await rejection(bus.publish(event('1')))).toBeInstanceOf(ClosedError);
    expect(await rejection(bus.connect())).toMatchObject({ code: 'EVBUS_UNAVAILABLE' });
    expect(lines.filter((line) => line.event === 'connection_established')).toHaveLength(0);
  });

  it('ends with its signal; another caller that waits is not disturbed', async () => {
    const { bus } = makeBus({ brokers: ['127.0.0.1:1'], connectTimeoutMs: 500 });
    const controller = new AbortController();
    const aborted = rejection(bus.connect({ signal: controller.signal }));
    const patient = rejection(bus.connect());
    controller.abort(new Error('enough'));
    const error = await aborted;
    expect(error).toBeInstanceOf(AbortError);
    expect(error.cause.message).toBe('enough');
    expect(await patient).toMatchObject({ code: 'EVBUS_UNAVAILABLE' });
    expect(await rejection(bus.connect({ signal: controller.signal }))).toBeInstanceOf(AbortError);
  });

  it('that everybody gave up leaves nothing behind', async () => {
    const { bus } = makeBus();
    const controller = new AbortController();
    const aborted = rejection(bus.connect({ signal: controller.signal }));
    controller.abort();
    expect(await aborted).toBeInstanceOf(AbortError);
    expect(bus.isConnected).toBe(false);
    await bus.connect();
    await bus.publish(event('1'));
  });
});

describe('giving up a publish', () => {
  it('by timeout or signal rejects at once', async () => {
    const { bus } = makeBus({ maxInFlight: 1 });
    await bus.connect();
    const { signal } = new AbortController();
    await bus.publish(event('1'), { signal, timeoutMs: 10_000 });
    const aborted = AbortSignal.abort();
    expect(await rejection(bus.publish(event('2'), { signal: aborted }))).toMatchObject({
      name: 'AbortError',
      outcome: 'not_sent',
    });
    const controller = new AbortController();
    const given = rejection(bus.publish(event('3'), { signal: controller.signal }));
    controller.abort();
    expect(await given).toMatchObject({ name: 'AbortError' });
    expect(TimeoutError.prototype.name).toBe('TimeoutError');
  });
});

describe('metrics', () => {
  it('are zeros before the first connect and stay after disconnect', async () => {
    const { bus } = makeBus();
    expect(bus.metrics()).toMatchObject({ connected: false, publish: { acknowledged: 0 } });
    await bus.connect();
    await bus.publish(event('1'));
    expect(bus.metrics()).toMatchObject({ connected: true, publish: { acknowledged: 1 } });
    await bus.disconnect();
    expect(bus.metrics()).toMatchObject({ connected: false, publish: { acknowledged: 1 } });
  });
});
