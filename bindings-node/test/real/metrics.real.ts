import { describe, expect, it } from 'vitest';
import { collector, makeBus } from '../support/bus';
import { orderPlaced } from '../support/events';
import { until } from '../support/native';
import { gate } from '../support/promises';
import { brokers, makeTopic, noBrokers, unique } from './support/kafka';

const PARTITIONS = 3;
const EVENTS = 300;

describe.skipIf(noBrokers)('metrics', () => {
  it('tell the lag per partition, the rates and how long handlers took', async () => {
    const eventType = unique('metrics');
    await makeTopic(eventType, PARTITIONS);
    const { bus } = makeBus({ brokers, groupId: unique('metrics') });
    const go = gate();
    const starts: number[] = [];
    let ended = 0;
    await bus.subscribe(eventType, {
      handle: async () => {
        starts.push(performance.now());
        await go.opened;
        ended += 1;
      },
    });
    await bus.connect();
    const lag = () => bus.metrics().consume.lag.filter(({ topic }) => topic === eventType);
    const total = () => lag().reduce((sum, one) => sum + one.lag, 0);
    const events = Array.from({ length: EVENTS }, (_, n) =>
      orderPlaced({ eventId: String(n), eventType, aggregateId: `order-${n}` }),
    );
    await bus.publishMany(events);
    await until(() => total() === EVENTS, 'the lag of what nobody has handled', 20_000);
    expect(
      lag()
        .map(({ partition }) => partition)
        .sort(),
    ).toEqual([0, 1, 2]);
    for (const one of lag()) expect(one.lag).toBeGreaterThan(0);
    await bus.publishMany(events);
    await until(() => total() === 2 * EVENTS, 'the lag grows', 20_000);
    expect(bus.metrics().consume).toMatchObject({ handled: 0, processingTime: { count: 0 } });
    expect(bus.metrics().publish.perSecond).toBeGreaterThan(0);

    // One of each partition stands at the gate.
    expect(starts).toHaveLength(PARTITIONS);
    const heldMs = starts.reduce((sum, at) => sum + performance.now() - at, 0);
    go.open();
    await until(() => ended === 2 * EVENTS, 'the events are handled', 20_000);
    await until(() => lag().length === PARTITIONS && total() === 0, 'the lag is gone', 20_000);
    const { consume, publish, errors } = bus.metrics();
    expect(consume).toMatchObject({ received: 2 * EVENTS, handled: 2 * EVENTS, inFlight: 0 });
    expect(consume.perSecond).toBeGreaterThan(0);
    const { count, sum, buckets } = consume.processingTime;
    expect(count).toBe(2 * EVENTS);
    expect(buckets.reduce((all, [, n]) => all + n, 0)).toBe(count);
    expect(buckets.at(-1)?.[0]).toBeNull();
    expect(sum).toBeGreaterThan(heldMs / 1_000 - 0.01);
    expect(buckets.filter(([, n]) => n > 0).length).toBeGreaterThan(1);
    expect(publish).toMatchObject({ acknowledged: 2 * EVENTS, failed: 0, inFlight: 0 });
    expect(errors).toEqual({});
  });

  it('tell the lag of what is not even fetched, because its handler is behind', async () => {
    const eventType = unique('metrics');
    await makeTopic(eventType);
    const { bus } = makeBus({ brokers, groupId: unique('metrics'), maxInFlightBytes: 2 << 20 });
    const go = gate();
    await bus.subscribe(eventType, { handle: () => go.opened });
    await bus.connect();
    const writer = makeBus({ brokers });
    await writer.bus.connect();
    const large = { ...orderPlaced({ eventType }).payload, orderId: 'x'.repeat(10_000) };
    const events = Array.from({ length: EVENTS }, (_, n) =>
      orderPlaced({ eventId: String(n), eventType, payload: large }),
    );
    await writer.bus.publishMany(events);
    await until(() => bus.metrics().consume.pausedPartitions === 1, 'fetching pauses', 20_000);
    const lag = () => bus.metrics().consume.lag[0]?.lag;
    for (const times of [2, 3]) {
      await writer.bus.publishMany(events);
      await until(() => lag() === times * EVENTS, `the lag of ${times} times as many`, 20_000);
    }
    expect(bus.metrics().consume.received).toBeLessThan(EVENTS);
    go.open();
    await until(() => lag() === 0, 'the lag is gone', 30_000);
    expect(bus.metrics().consume.handled).toBe(3 * EVENTS);
  });

  it('tell the lag of a member that comes to a backlog', async () => {
    const eventType = unique('metrics');
    await makeTopic(eventType);
    const writer = makeBus({ brokers });
    await writer.bus.connect();
    await writer.bus.publishMany(
      Array.from({ length: EVENTS }, (_, n) => orderPlaced({ eventId: String(n), eventType })),
    );
    const { bus } = makeBus({ brokers, groupId: unique('metrics') });
    const handler = collector();
    await bus.subscribe(eventType, handler);
    await bus.connect();
    await until(() => handler.seen.length === EVENTS, 'the backlog', 20_000);
    await until(
      () => bus.metrics().consume.lag.some(({ lag, topic }) => topic === eventType && lag === 0),
      'it has caught up',
      20_000,
    );
  });
});
