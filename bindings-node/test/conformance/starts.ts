import { expect } from 'vitest';
import { consumer, eventually, ids, names, type Scenario } from './support';

/** Where a group begins. */
export const starts: Readonly<Record<string, Scenario>> = {
  'a new group may start behind the newest event': async (world) => {
    const writer = world.bus();
    await writer.bus.connect();
    await writer.bus.publishMany(world.events(5));
    const made = await consumer(world, {}, { from: 'latest' });
    await eventually(
      () => made.lines.some(({ event }) => event === 'partitions_assigned'),
      'the assignment',
    );
    // When it has begun to read is not told: events are written until one comes.
    let next = 5;
    await eventually(() => {
      if (made.seen.length === 0) void writer.bus.publish(world.event(String(next++)));
      return made.seen.length > 0;
    }, 'an event');
    expect(Number(made.seen[0]?.eventId)).toBeGreaterThanOrEqual(5);
    const all = made.seen.map(({ eventId }) => Number(eventId));
    expect(all).toEqual([...all].sort((a, b) => a - b));
  },

  'a new group may start at a time': async (world) => {
    const writer = world.bus();
    await writer.bus.connect();
    await writer.bus.publishMany(world.events(3));
    const first = Date.now();
    await eventually(() => Date.now() > first + 1, 'a later millisecond');
    const time = new Date();
    await writer.bus.publishMany(world.events(3, 3));
    const made = await consumer(world, {}, { from: { timestamp: time } });
    await eventually(() => made.seen.length >= 3, 'the later events');
    expect(ids(made.seen)).toEqual(names(3, 6));
    // A group that has committed goes on where it ended, whatever it says.
    await made.bus.disconnect();
    const again = await consumer(world, {}, { from: 'earliest' });
    await writer.bus.publish(world.event('6'));
    await eventually(() => again.seen.length >= 1, 'the last event');
    expect(ids(again.seen)).toEqual(['6']);
  },
};
