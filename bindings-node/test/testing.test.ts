import { afterEach, describe, expect, it } from 'vitest';
import { type EmbeddedBroker, startEmbeddedBroker } from '../ts/testing';
import { collector, makeBus } from './support/bus';
import { orderPlaced } from './support/events';
import { until } from './support/native';

const brokers: EmbeddedBroker[] = [];

async function start(...options: Parameters<typeof startEmbeddedBroker>): Promise<EmbeddedBroker> {
  const broker = await startEmbeddedBroker(...options);
  brokers.push(broker);
  return broker;
}

afterEach(async () => {
  await Promise.all(brokers.splice(0).map((broker) => broker.stop()));
});

describe('the embedded broker', () => {
  it('starts fast and serves a bus', async () => {
    const before = performance.now();
    const broker = await start({ topics: ['order.placed'], partitions: 2 });
    expect(performance.now() - before).toBeLessThan(1_000);
    expect(broker.brokers[0]).toMatch(/^127\.0\.0\.1:\d+$/);
    const { bus, lines } = makeBus({ brokers: broker.brokers });
    const handler = collector();
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    expect(bus.isConnected).toBe(true);
    const events = Array.from({ length: 1_000 }, (_, n) =>
      orderPlaced({ eventId: `${n}`, aggregateId: `order-${n % 10}` }),
    );
    await Promise.all(events.map((event) => bus.publish(event)));
    await until(() => handler.seen.length >= 1_000, 'all events', 30_000);
    expect(new Set(handler.seen.map(({ eventId }) => eventId)).size).toBe(1_000);
    const report = await bus.disconnect();
    expect(report).toMatchObject({ abandoned: 0, lost: 0, clean: true });
    expect(lines.map(({ event }) => event)).toContain('partitions_assigned');
  }, 60_000);

  it('gives its topics the partitions asked for, and takes new ones', async () => {
    const broker = await start({ topics: ['order.placed'], partitions: 3 });
    broker.createTopic('order.paid', 1);
    const { bus } = makeBus({ brokers: broker.brokers });
    await bus.connect();
    await bus.publish(orderPlaced());
    await bus.publish(orderPlaced({ eventType: 'order.paid' }));
    expect(bus.metrics().publish.acknowledged).toBe(2);
  }, 30_000);

  it('refuses what is no topic name', async () => {
    const broker = await start();
    expect(() => broker.createTopic('a b')).toThrow('cannot create the topic "a b"');
  });

  it.each([[{ partitions: 0 }], [{ partitions: 1.5 }], [{ topics: [5] }], [{ topics: ['a b'] }]])(
    'refuses the options %j',
    async (options) => {
      await expect(startEmbeddedBroker(options as never)).rejects.toMatchObject({
        code: 'EVBUS_ARGUMENT',
      });
    },
  );

  it('can be stopped twice, and has no topics afterwards', async () => {
    const broker = await start();
    await broker.stop();
    await broker[Symbol.asyncDispose]();
    expect(() => broker.createTopic('a')).toThrow('stopped');
  });
});

describe('an outage', () => {
  it('is told once, publishes fail at their deadline, and connect works again elsewhere', async () => {
    const broker = await start({ topics: ['order.placed'], partitions: 1 });
    const { bus, lines } = makeBus({ brokers: broker.brokers, publishTimeoutMs: 1_500 });
    await bus.connect();
    await bus.publish(orderPlaced());
    await broker.stop();
    const error = await bus.publish(orderPlaced()).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'EVBUS_TIMEOUT', retryable: true, topic: 'order.placed' });
    expect(error.outcome).toMatch(/^(not_sent|unknown)$/);
    await until(() => !bus.isConnected, 'the outage is noticed');
    await until(() => lines.some(({ event }) => event === 'connection_lost'), 'the log');
    expect(lines.filter(({ event }) => event === 'connection_lost')).toHaveLength(1);
    const report = await bus.disconnect({ timeoutMs: 2_000 });
    expect(report.lost).toBe(0);
  }, 60_000);
});
