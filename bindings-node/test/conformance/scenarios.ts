import { expect } from 'vitest';
import { ClosedError } from '../../ts/error';
import type { BusMetrics } from '../../ts/metrics';
import { PublishManyError } from '../../ts/refusal';
import { collector } from '../support/bus';
import { DomainEvent, type OrderPlaced } from '../support/events';
import { gate, rejection } from '../support/promises';
import { consumer, eventually, handler, ids, logged, names, type Scenario } from './support';

/** What every transport does alike. The texts are what is promised. */
export const scenarios: Readonly<Record<string, Scenario>> = {
  'a publish resolves when the event is stored': async (world) => {
    const { bus } = world.bus();
    await bus.connect();
    await bus.publish(world.event('1'));
    expect(bus.metrics().publish).toMatchObject({ acknowledged: 1, failed: 0, inFlight: 0 });
    await bus.disconnect();
    const { seen } = await consumer(world);
    await eventually(() => seen.length === 1, 'the stored event');
    expect(seen).toEqual([world.event('1')]);
  },

  'publishMany stores all in order and names those that it refuses': async (world) => {
    const { bus, seen } = await consumer(world);
    await bus.publishMany(world.events(50));
    const error = await rejection(
      bus.publishMany([world.event('50'), world.event(''), world.event('51')]),
    );
    expect(error).toBeInstanceOf(PublishManyError);
    const { failures } = error as PublishManyError;
    expect(failures.map(({ index }) => index)).toEqual([1]);
    expect(failures[0]?.error).toMatchObject({ code: 'EVBUS_ARGUMENT', outcome: 'not_sent' });
    await eventually(() => seen.length === 52, 'all others');
    expect(ids(seen)).toEqual(names(0, 52));
  },

  'publishes of one aggregate keep their order, many at once': async (world) => {
    const { bus, seen } = await consumer(world, { maxInFlight: 500 });
    const total = 3_000;
    await Promise.all(
      names(0, total).map((id) =>
        bus.publish(world.event(id, { aggregateId: `order-${Number(id) % 7}` })),
      ),
    );
    await eventually(() => seen.length === total, 'all events');
    const last = new Map<string, number>();
    for (const { eventId, aggregateId } of seen) {
      expect(Number(eventId)).toBeGreaterThan(last.get(aggregateId) ?? -1);
      last.set(aggregateId, Number(eventId));
    }
    expect(new Set(ids(seen)).size).toBe(total);
  },

  'publishing needs a connection': async (world) => {
    const { bus } = world.bus();
    const refused = async (): Promise<void> => {
      const error = await rejection(bus.publish(world.event('1')));
      expect(error).toBeInstanceOf(ClosedError);
      expect(error).toMatchObject({
        message: 'Event bus is not connected',
        code: 'EVBUS_CLOSED',
        outcome: 'not_sent',
      });
    };
    await refused();
    await bus.connect();
    await bus.publish(world.event('1'));
    await bus.disconnect();
    await refused();
  },

  'a bus tells whether it is connected, and connects again with its handlers': async (world) => {
    const made = world.bus();
    const handles = collector();
    const { seen } = handles;
    await made.bus.subscribe(world.type(), handles);
    for (const id of names(0, 3)) {
      expect(made.bus.isConnected).toBe(false);
      await made.bus.connect();
      expect(made.bus.isConnected).toBe(true);
      await made.bus.publish(world.event(id));
      await eventually(() => ids(seen).includes(id), `event ${id}`);
      await made.bus.disconnect();
    }
    expect(ids(seen)).toEqual(names(0, 3));
    expect(logged(made, 'connection_established')).toHaveLength(3);
    expect(logged(made, 'connection_lost')).toHaveLength(0);
  },

  'handlers may be added before and after connect': async (world) => {
    const { bus } = world.bus();
    const [before, after, second] = [collector(), collector(), collector()];
    await bus.subscribe(world.type('before'), before);
    await bus.connect();
    await bus.subscribe(world.type('after'), after);
    await bus.subscribe(world.type('before'), second);
    await bus.publish(world.event('1', { eventType: world.type('before') }));
    await bus.publish(world.event('2', { eventType: world.type('after') }));
    await eventually(
      () => before.seen.length + after.seen.length + second.seen.length === 3,
      'three calls',
    );
    expect([before, after, second].map(({ seen }) => ids(seen))).toEqual([['1'], ['2'], ['1']]);
  },

  'every handler of a type gets every event': async (world) => {
    const { bus } = world.bus();
    const all = [collector(), collector(), collector()];
    for (const each of all) await bus.subscribe(world.type(), each);
    await bus.connect();
    await bus.publishMany(world.events(20));
    await eventually(() => all.every(({ seen }) => seen.length === 20), 'all calls');
    for (const { seen } of all) expect(ids(seen)).toEqual(names(0, 20));
    await eventually(() => bus.metrics().consume.handled === 20, 'the metrics');
    expect(bus.metrics().consume).toMatchObject({ received: 20, failed: 0 });
  },

  'every handler gets the events of its own type': async (world) => {
    const { bus } = world.bus();
    const types = ['placed', 'paid', 'shipped'].map((name) => world.type(name));
    const all = types.map(() => collector());
    for (const [n, type] of types.entries()) await bus.subscribe(type, all[n] ?? collector());
    await bus.connect();
    for (const [n, eventType] of types.entries()) {
      await bus.publishMany([`${n}-a`, `${n}-b`].map((id) => world.event(id, { eventType })));
    }
    await eventually(() => all.every(({ seen }) => seen.length === 2), 'all events');
    expect(all.map(({ seen }) => ids(seen))).toEqual([
      ['0-a', '0-b'],
      ['1-a', '1-b'],
      ['2-a', '2-b'],
    ]);
  },

  'a handler that fails is told of, and stops neither others nor later events': async (world) => {
    const made = world.bus({ onExhausted: 'skip', retry: { attempts: 1 } });
    const { bus } = made;
    const good = collector();
    const rejects = handler(async ({ eventId }) => {
      if (eventId === '1') throw new Error('it rejects');
    });
    const throws = handler(({ eventId }) => {
      if (eventId === '2') throw new Error('it throws');
      return Promise.resolve();
    });
    for (const each of [rejects, throws, good]) await bus.subscribe(world.type(), each);
    await bus.connect();
    await bus.publishMany(world.events(4));
    await eventually(() => good.seen.length === 4, 'all events');
    // The core counts what it is told at the end of a turn.
    const ended = ({ consume }: BusMetrics) => consume.handled + consume.failed;
    await eventually(() => ended(bus.metrics()) === 4, 'all answers in the metrics');
    expect(ids(good.seen)).toEqual(names(0, 4));
    expect(bus.metrics()).toMatchObject({
      consume: { received: 4, handled: 2, failed: 2, skipped: 2, invalid: 0 },
      errors: { EVBUS_HANDLER: 2 },
    });
    const lines = logged(made, 'handler_failed');
    expect(lines).toHaveLength(2);
    for (const [n, [error, context]] of made.errors.entries()) {
      const about = { topic: world.type(), partition: context.partition, offset: context.offset };
      expect(context).toMatchObject({ ...about, eventId: String(n + 1), attempt: 1 });
      expect([typeof context.partition, typeof context.offset]).toEqual(['number', 'number']);
      expect(error).toMatchObject({ code: 'EVBUS_HANDLER', attempt: 1 });
      expect((error.cause as Error).message).toBe(['it rejects', 'it throws'][n]);
      expect(lines[n]?.level).toBe('error');
      expect(lines[n]?.fields).toMatchObject({ ...about, eventId: String(n + 1), attempt: 1 });
    }
    expect(made.errors).toHaveLength(2);
  },

  'records that are no events are skipped, told of and counted': async (world) => {
    const bad = [null, '', 'not json', '[1]', '{}', '{"eventId":"1"}', '"text"'];
    const good = JSON.stringify(world.event('good'));
    await world.write([...bad, good]);
    const made = await consumer(world);
    await eventually(() => made.seen.length === 1, 'the event behind them');
    expect(ids(made.seen)).toEqual(['good']);
    await eventually(() => made.bus.metrics().consume.handled === 1, 'the metrics');
    expect(made.bus.metrics()).toMatchObject({
      consume: { received: bad.length + 1, invalid: bad.length, failed: 0 },
      errors: { EVBUS_CODEC: bad.length },
    });
    const lines = logged(made, 'invalid_message');
    expect(lines).toHaveLength(bad.length);
    expect(made.errors).toHaveLength(bad.length);
    for (const [n, [error, context]] of made.errors.entries()) {
      expect(error.code).toBe('EVBUS_CODEC');
      expect(error.hint).toBeTruthy();
      expect(context).toMatchObject({ event: 'invalid_message', topic: world.type(), offset: n });
      expect(lines[n]?.fields).toMatchObject({ topic: world.type(), offset: n });
    }
    await made.bus.disconnect();
    // They are finished, so they do not come again.
    const again = await consumer(world);
    await again.bus.publish(world.event('later'));
    await eventually(() => again.seen.length === 1, 'the later event');
    expect(again.bus.metrics().consume.received).toBe(1);
  },

  'what the original wrote of class instances is read': async (world) => {
    const { eventId, occurredOn, ...props } = world.event('legacy');
    const _props = { eventId, occurredOn, ...props };
    await world.write([JSON.stringify({ cryptoService: {}, eventId, occurredOn, _props })]);
    const { seen, errors } = await consumer(world);
    await eventually(() => seen.length + errors.length === 1, 'the event');
    expect(errors).toEqual([]);
    expect(seen[0]).toMatchObject(world.event('legacy'));
  },

  'dates are dates, other texts stay texts': async (world) => {
    const { bus, seen } = await consumer(world);
    const iso = '2026-03-04T05:06:07.089Z';
    const occurredOn = new Date('1999-12-31T23:59:59.999Z');
    const payload = { ...world.event('1').payload, timestamp: new Date(0), orderId: iso };
    await bus.publish(world.event('1', { occurredOn, payload }));
    await eventually(() => seen.length === 1, 'the event');
    expect(seen[0]?.occurredOn).toEqual(occurredOn);
    expect(seen[0]?.occurredOn).toBeInstanceOf(Date);
    expect(seen[0]?.payload.timestamp).toEqual(new Date(0));
    expect(seen[0]?.payload.timestamp).toBeInstanceOf(Date);
    expect(seen[0]?.payload.orderId).toBe(iso);
  },

  'plain objects keep their extra fields, and any text survives': async (world) => {
    const { bus, seen } = await consumer(world);
    const text = 'quote" \\ \u0000 \u2028 ü 漢 😀 </script>';
    const extra = { tenant: 'acme', trace: { deep: [1, null, { text }] }, [text]: text };
    const plain = { ...world.event(text, { aggregateId: `order ${text}` }), ...extra };
    await bus.publish(plain);
    await eventually(() => seen.length === 1, 'the event');
    expect(seen[0]).toEqual(plain);
    expect(Object.keys(seen[0] ?? {})).toEqual(Object.keys(plain));
  },

  'class instances arrive as the six fields': async (world) => {
    const { bus, seen } = await consumer(world);
    await bus.publish(new DomainEvent({ secret: 'of a service' }, world.event('1')));
    await eventually(() => seen.length === 1, 'the event');
    expect(seen[0]).toEqual(world.event('1'));
  },

  'what is no event is refused and nothing is sent': async (world) => {
    const { bus, seen } = await consumer(world);
    const cycle: OrderPlaced & { self?: unknown } = { ...world.event('1').payload };
    cycle.self = cycle;
    const refused: readonly [object, string][] = [
      [{ eventId: '' }, 'EVBUS_ARGUMENT'],
      [{ aggregateId: '' }, 'EVBUS_ARGUMENT'],
      [{ occurredOn: undefined }, 'EVBUS_ARGUMENT'],
      [{ occurredOn: new Date(Number.NaN) }, 'EVBUS_ARGUMENT'],
      [{ version: 1.5 }, 'EVBUS_ARGUMENT'],
      [{ eventType: 'no topic name' }, 'EVBUS_ARGUMENT'],
      [{ payload: { ...cycle, self: 1n } }, 'EVBUS_CODEC'],
      [{ payload: cycle }, 'EVBUS_CODEC'],
      [{ payload: { ...cycle, self: 'x'.repeat(1_100_000) } }, 'EVBUS_TOO_LARGE'],
    ];
    for (const [bad, code] of refused) {
      const error = await rejection(bus.publish({ ...world.event('1'), ...bad }));
      expect(error).toMatchObject({ code, outcome: 'not_sent' });
    }
    await bus.publish(world.event('good'));
    await eventually(() => seen.length === 1, 'the event');
    expect(bus.metrics()).toMatchObject({
      publish: { acknowledged: 1, failed: refused.length },
      consume: { received: 1 },
    });
  },

  'unsubscribe waits for the running call, and none starts afterwards': async (world) => {
    const { bus } = world.bus();
    const [started, go] = [gate(), gate()];
    let calls = 0;
    const slow = handler(async () => {
      calls += 1;
      started.open();
      await go.opened;
    });
    const other = collector();
    await bus.subscribe(world.type(), slow);
    await bus.subscribe(world.type('other'), other);
    await bus.connect();
    await bus.publishMany(world.events(3));
    await started.opened;
    let ended = false;
    const unsubscribed = bus.unsubscribe(world.type(), slow).then(() => {
      ended = true;
    });
    // Events of another type flow meanwhile, so there was time to end too early.
    await bus.publish(world.event('4', { eventType: world.type('other') }));
    await eventually(() => other.seen.length === 1, 'the event of another type');
    expect(ended).toBe(false);
    go.open();
    await unsubscribed;
    await bus.publish(world.event('5'));
    await bus.publish(world.event('6', { eventType: world.type('other') }));
    await eventually(() => other.seen.length === 2, 'another event of another type');
    expect(calls).toBe(1);
  },

  'a handler may unsubscribe itself': async (world) => {
    const { bus } = world.bus();
    const ended = gate();
    const once = handler(async () => {
      await bus.unsubscribe(world.type(), once);
      ended.open();
    });
    await bus.subscribe(world.type(), once);
    await bus.connect();
    await bus.publish(world.event('1'));
    await ended.opened;
    expect(bus.handlers.size).toBe(0);
  },

  'the last handler may go and another come; it goes on where the first ended': async (world) => {
    const { bus } = world.bus();
    const [first, second] = [collector(), collector()];
    await bus.subscribe(world.type(), first);
    await bus.connect();
    await bus.publish(world.event('1'));
    await eventually(() => bus.metrics().consume.handled === 1, 'the first event');
    await bus.unsubscribe(world.type(), first);
    await bus.publish(world.event('2'));
    await bus.subscribe(world.type(), second);
    await eventually(() => second.seen.length >= 1, 'the second event');
    await bus.publish(world.event('3'));
    await eventually(() => ids(second.seen).includes('3'), 'the third event');
    expect(ids(first.seen)).toEqual(['1']);
    expect(ids(second.seen)).toEqual(['2', '3']);
  },

  'only topics with handlers are consumed, and nothing is committed for others': async (world) => {
    const { bus, seen } = await consumer(world);
    const other = { eventType: world.type('other') };
    await bus.publishMany([world.event('1', other), world.event('2', other), world.event('3')]);
    await eventually(() => seen.length === 1, 'the event with a handler');
    await eventually(() => bus.metrics().consume.handled === 1, 'the metrics');
    expect(bus.metrics().consume.received).toBe(1);
    await bus.disconnect();
    const again = world.bus();
    const later = collector();
    await again.bus.subscribe(other.eventType, later);
    await again.bus.connect();
    await eventually(() => later.seen.length === 2, 'the events that had no handler');
    expect(ids(later.seen)).toEqual(['1', '2']);
  },

  'a group goes on where it ended; an event that was passed over is finished too': async (
    world,
  ) => {
    const first = world.bus({ onExhausted: 'skip', retry: { attempts: 1 } });
    const seen = collector();
    await first.bus.subscribe(world.type(), seen);
    await first.bus.subscribe(
      world.type(),
      handler(async ({ eventId }) => {
        if (eventId === '9') throw new Error('the last one fails');
      }),
    );
    await first.bus.connect();
    await first.bus.publishMany(world.events(10));
    await eventually(() => seen.seen.length === 10, 'the first events');
    expect(await first.bus.disconnect()).toMatchObject({ abandoned: 0, lost: 0, clean: true });
    const second = await consumer(world);
    await second.bus.publishMany(world.events(5, 10));
    await eventually(() => second.seen.length >= 5, 'the later events');
    expect(ids(second.seen)).toEqual(names(10, 15));
  },

  'a new group starts at the earliest event, and every group gets every event': async (world) => {
    const writer = world.bus();
    await writer.bus.connect();
    await writer.bus.publishMany(world.events(5));
    const one = await consumer(world, { groupId: `${world.group}-one` });
    const two = await consumer(world, { groupId: `${world.group}-two` });
    await writer.bus.publishMany(world.events(5, 5));
    await eventually(() => one.seen.length + two.seen.length === 20, 'all events twice');
    expect(ids(one.seen)).toEqual(names(0, 10));
    expect(ids(two.seen)).toEqual(names(0, 10));
  },

  'disconnect waits for running handlers and commits what they handled': async (world) => {
    const { bus } = world.bus({ commitIntervalMs: 600_000 });
    const [started, go] = [gate(), gate()];
    let calls = 0;
    await bus.subscribe(
      world.type(),
      handler(async () => {
        calls += 1;
        started.open();
        await go.opened;
      }),
    );
    await bus.connect();
    await bus.publishMany(world.events(3));
    await started.opened;
    const disconnecting = bus.disconnect({ timeoutMs: 20_000 });
    go.open();
    expect(await disconnecting).toMatchObject({ handled: 1, lost: 0, clean: true });
    expect(calls).toBe(1);
    const again = await consumer(world);
    await eventually(() => again.seen.length >= 2, 'the other events');
    expect(ids(again.seen)).toEqual(['1', '2']);
  },

  'disconnect flushes what was published': async (world) => {
    const { bus } = world.bus({ maxInFlight: 10 });
    await bus.connect();
    const all = world.events(200).map((event) => bus.publish(event));
    const report = await bus.disconnect();
    await Promise.all(all);
    expect(report).toMatchObject({ lost: 0, clean: true });
    const { seen } = await consumer(world);
    await eventually(() => seen.length === 200, 'all events');
    expect(ids(seen)).toEqual(names(0, 200));
  },

  'disconnect ends by its deadline; an unfinished event comes again': async (world) => {
    const { bus } = world.bus();
    const [started, never] = [gate(), gate()];
    await bus.subscribe(
      world.type(),
      handler(() => {
        started.open();
        return never.opened;
      }),
    );
    await bus.connect();
    await bus.publish(world.event('1'));
    await started.opened;
    const start = performance.now();
    const report = await bus.disconnect({ timeoutMs: 800 });
    expect(performance.now() - start).toBeLessThan(800 + 500);
    expect(report).toMatchObject({ handled: 0, abandoned: 1, lost: 0 });
    never.open();
    const again = await consumer(world);
    await eventually(() => again.seen.length === 1, 'the event again');
    expect(ids(again.seen)).toEqual(['1']);
  },

  'a handler may publish, and what it publishes is handled': async (world) => {
    const { bus } = world.bus();
    const paid = collector();
    await bus.subscribe(
      world.type('placed'),
      handler(({ eventId }) =>
        bus.publish(world.event(`paid-${eventId}`, { eventType: world.type('paid') })),
      ),
    );
    await bus.subscribe(world.type('paid'), paid);
    await bus.connect();
    await bus.publishMany(
      names(0, 10).map((id) => world.event(id, { eventType: world.type('placed') })),
    );
    await eventually(() => paid.seen.length === 10, 'all events');
    expect(ids(paid.seen)).toEqual(names(0, 10).map((id) => `paid-${id}`));
  },
};
