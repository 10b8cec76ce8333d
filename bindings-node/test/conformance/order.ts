import { expect } from 'vitest';
import { gate } from '../support/promises';
import { eventually, handler, names, type Scenario } from './support';

/** How many events of different aggregates there are: more than partitions, so that some share one. */
const AGGREGATES = 60;

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** What may run beside what. */
export const order: Readonly<Record<string, Scenario>> = {
  'by default one event of a partition runs at a time': async (world) => {
    const { bus } = world.bus();
    const running = new Map<number, number>();
    let [most, handled] = [0, 0];
    await bus.subscribe(
      world.type(),
      handler(async (_, { partition }) => {
        running.set(partition, (running.get(partition) ?? 0) + 1);
        most = Math.max(most, running.get(partition) ?? 0);
        await turn();
        running.set(partition, (running.get(partition) ?? 0) - 1);
        handled += 1;
      }),
    );
    await bus.connect();
    await bus.publishMany(
      names(0, AGGREGATES).map((id) => world.event(id, { aggregateId: `order-${id}` })),
    );
    await eventually(() => handled === AGGREGATES, 'all events');
    expect(most).toBe(1);
  },

  'with ordering key aggregates run side by side, no more than allowed': async (world) => {
    const { bus } = world.bus();
    const running: number[] = [];
    const together = gate();
    let [most, handled] = [0, 0];
    await bus.subscribe(
      world.type(),
      handler(async (_, { partition }) => {
        if (running.includes(partition)) together.open();
        running.push(partition);
        most = Math.max(most, running.length);
        await together.opened;
        running.splice(running.indexOf(partition), 1);
        handled += 1;
      }),
      { ordering: 'key', concurrency: AGGREGATES / 4 },
    );
    await bus.connect();
    await bus.publishMany(
      names(0, AGGREGATES).map((id) => world.event(id, { aggregateId: `order-${id}` })),
    );
    await eventually(() => handled === AGGREGATES, 'all events');
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(AGGREGATES / 4);
  },

  'with ordering key events of one aggregate keep their order and never overlap': async (world) => {
    const { bus } = world.bus();
    const running = new Set<string>();
    const seen = new Map<string, number[]>();
    let overlaps = 0;
    await bus.subscribe(
      world.type(),
      handler(async ({ aggregateId, eventId }) => {
        if (running.has(aggregateId)) overlaps += 1;
        running.add(aggregateId);
        await turn();
        if (Number(eventId) % 3 === 0) await turn();
        running.delete(aggregateId);
        seen.set(aggregateId, [...(seen.get(aggregateId) ?? []), Number(eventId)]);
      }),
      { ordering: 'key' },
    );
    await bus.connect();
    const all = names(0, 400).map((id) =>
      world.event(id, { aggregateId: `order-${Number(id) % 10}` }),
    );
    await bus.publishMany(all);
    const count = () => [...seen.values()].reduce((sum, { length }) => sum + length, 0);
    await eventually(() => count() >= 400, 'all events');
    expect(overlaps).toBe(0);
    expect(seen.size).toBe(10);
    for (const [aggregate, events] of seen) {
      const first = Number(aggregate.slice('order-'.length));
      expect(events).toEqual(Array.from({ length: 40 }, (_, n) => first + 10 * n));
    }
    await eventually(() => bus.metrics().consume.handled === 400, 'the metrics');
  },
};
