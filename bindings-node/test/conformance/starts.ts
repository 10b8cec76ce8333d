import { expect } from 'vitest';
import { rejection } from '../support/promises';
import { consumer, eventually, handler, ids, names, type Scenario } from './support';
import type { World } from './world';

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

  'a seek goes on at an offset or an end, and the group behind what is handled then': async (
    world,
  ) => {
    const { bus, seen, reaches } = await watched(world);
    await bus.publishMany(world.events(4));
    await reaches(4);
    const [, , third, fourth] = seen;
    if (third === undefined || fourth === undefined) throw new Error('they were seen');
    const { partition } = third;
    await bus.seek(world.type(), partition, { offset: third.offset });
    expect(await reaches(6)).toEqual(['2', '3']);
    await bus.seek(world.type(), partition, 'beginning');
    expect(await reaches(10)).toEqual(['0', '1', '2', '3']);
    await bus.seek(world.type(), partition, 'end');
    await bus.publishMany(world.events(2, 4));
    expect(await reaches(12)).toEqual(['4', '5']);
    expect(await rejection(bus.seek(world.type(), 1_000, 'end'))).toMatchObject({
      code: 'EVBUS_ILLEGAL_STATE',
      context: { topic: world.type(), partition: '1000' },
    });
    // Behind a seek the group goes on from what is handled then, though it had been further.
    await bus.seek(world.type(), partition, { offset: fourth.offset });
    expect(await reaches(15)).toEqual(['3', '4', '5']);
    expect(await bus.disconnect()).toMatchObject({ clean: true });
    const again = await consumer(world);
    await again.bus.publish(world.event('6'));
    await eventually(() => again.seen.length >= 1, 'the last event');
    expect(ids(again.seen)).toEqual(['6']);
  },

  'a seek may go to a time': async (world) => {
    const { bus, seen, reaches } = await watched(world);
    await bus.publishMany(world.events(2));
    await reaches(2);
    const first = Date.now();
    await eventually(() => Date.now() > first + 1, 'a later millisecond');
    const time = new Date();
    await bus.publishMany(world.events(2, 2));
    await reaches(4);
    await bus.seek(world.type(), seen[0]?.partition ?? -1, { timestamp: time });
    expect(await reaches(6)).toEqual(['2', '3']);
  },
};

/** A connected bus of the scenario's group, and where what it handles comes from. */
async function watched(world: World) {
  const { bus } = world.bus();
  const seen: { readonly id: string; readonly partition: number; readonly offset: number }[] = [];
  await bus.subscribe(
    world.type(),
    handler(async ({ eventId }, { partition, offset }) => {
      seen.push({ id: eventId, partition, offset });
    }),
  );
  await bus.connect();
  let before = 0;
  /** Waits for so many events in all, and gives those since the last time. */
  const reaches = async (count: number): Promise<string[]> => {
    await eventually(() => seen.length >= count, `${count} events`);
    const since = seen.slice(before).map(({ id }) => id);
    before = seen.length;
    return since;
  };
  return { bus, seen, reaches };
}
