import { expect } from 'vitest';
import type { HandlerContext } from '../../ts/context';
import { FatalHandlerError } from '../../ts/failure';
import { collector } from '../support/bus';
import { gate } from '../support/promises';
import {
  consumer,
  eventually,
  handler,
  ids,
  logged,
  names,
  readDeadLetters,
  type Scenario,
  SOON,
} from './support';

/** What becomes of events that fail. */
export const retries: Readonly<Record<string, Scenario>> = {
  'a handler gets the context of its event': async (world) => {
    const { bus } = world.bus();
    const contexts: HandlerContext[] = [];
    await bus.subscribe(
      world.type(),
      handler(async (_, context) => {
        contexts.push(context);
      }),
    );
    await bus.connect();
    const before = Date.now();
    const event = world.event('1', { aggregateId: 'order-ü', version: 3 });
    await bus.publish(event);
    await eventually(() => contexts.length === 1, 'the event');
    const [context] = contexts as [HandlerContext];
    expect(context).toMatchObject({
      topic: world.type(),
      offset: 0,
      attempt: 1,
      isLastAttempt: false,
    });
    expect(context.partition).toBeGreaterThanOrEqual(0);
    expect(context.key).toBe('order-ü');
    expect([...context.headers].map(([name, value]) => [name, value?.toString()])).toEqual([
      ['eventId', '1'],
      ['version', '3'],
      ['timestamp', event.occurredOn.toISOString()],
    ]);
    expect(context.timestamp?.getTime()).toBeGreaterThan(before - 60_000);
    expect(context.timestamp?.getTime()).toBeLessThan(Date.now() + 60_000);
    expect(context.signal.aborted).toBe(false);
  },

  'a failed event is tried again, and those behind it wait': async (world) => {
    const made = world.bus({ retry: { ...SOON, attempts: 4 } });
    const { bus } = made;
    const handled: string[] = [];
    const attempts: [number, boolean][] = [];
    await bus.subscribe(
      world.type(),
      handler(async ({ eventId }, { attempt, isLastAttempt }) => {
        if (eventId === '1') attempts.push([attempt, isLastAttempt]);
        if (eventId === '1' && attempt < 4) throw new Error(`attempt ${attempt}`);
        handled.push(eventId);
      }),
    );
    await bus.connect();
    await bus.publishMany(world.events(4));
    await eventually(() => bus.metrics().consume.handled === 4, 'all events');
    expect(handled).toEqual(names(0, 4));
    expect(attempts).toEqual([
      [1, false],
      [2, false],
      [3, false],
      [4, true],
    ]);
    expect(bus.metrics()).toMatchObject({
      consume: { received: 4, handled: 4, failed: 3, retries: 3, deadLettered: 0, skipped: 0 },
      errors: { EVBUS_HANDLER: 3 },
    });
    const told = made.errors.map(([{ cause }, { attempt, willRetry }]) => [
      (cause as Error).message,
      attempt,
      willRetry,
    ]);
    expect(told).toEqual([1, 2, 3].map((attempt) => [`attempt ${attempt}`, attempt, true]));
    expect(logged(made, 'handler_failed').map(({ level }) => level)).toEqual(Array(3).fill('warn'));
  },

  'of several handlers only the failed one is called again': async (world) => {
    const { bus } = world.bus({ retry: SOON });
    const [good, alsoGood] = [collector(), collector()];
    const calls: string[] = [];
    const bad = handler(async ({ eventId }, { attempt }) => {
      calls.push(`${eventId}/${attempt}`);
      if (attempt < 3) throw new Error('not yet');
    });
    for (const each of [good, bad, alsoGood]) await bus.subscribe(world.type(), each);
    await bus.connect();
    await bus.publishMany(world.events(2));
    await eventually(() => bus.metrics().consume.handled === 2, 'both events');
    expect(calls).toEqual(['0/1', '0/2', '0/3', '1/1', '1/2', '1/3']);
    for (const { seen } of [good, alsoGood]) expect(ids(seen)).toEqual(['0', '1']);
  },

  'with ordering key only the failing aggregate waits': async (world) => {
    const { bus } = world.bus({ retry: { ...SOON, multiplier: 1, attempts: 10_000 } });
    const handled: string[] = [];
    await bus.subscribe(
      world.type(),
      handler(async ({ eventId, aggregateId }) => {
        // It fails until everything else has been handled.
        if (aggregateId === 'order-0' && handled.length < 90) throw new Error('not yet');
        handled.push(eventId);
      }),
      { ordering: 'key' },
    );
    await bus.connect();
    await bus.publishMany(
      names(0, 100).map((id) => world.event(id, { aggregateId: `order-${Number(id) % 10}` })),
    );
    await eventually(() => handled.length === 100, 'all events');
    expect(handled.slice(90)).toEqual(Array.from({ length: 10 }, (_, n) => String(10 * n)));
    expect(new Set(handled).size).toBe(100);
  },

  'an event whose attempts are used up is a dead letter that says why': async (world) => {
    const made = world.bus({ retry: { ...SOON, attempts: 3 } });
    const { bus } = made;
    const seen: HandlerContext[] = [];
    await bus.subscribe(
      world.type(),
      handler(async function shipOrder({ eventId }, context) {
        seen.push(context);
        if (eventId === '0') throw Object.assign(new Error('no stock'), { code: 'NO_STOCK' });
      }),
    );
    await bus.connect();
    await bus.publishMany(world.events(2));
    await eventually(() => bus.metrics().consume.deadLettered === 1, 'the dead letter');
    await eventually(() => bus.metrics().consume.handled === 1, 'the event behind it');
    expect(seen.map(({ attempt, isLastAttempt }) => [attempt, isLastAttempt])).toEqual([
      [1, false],
      [2, false],
      [3, true],
      [1, false],
    ]);
    expect(bus.metrics().consume).toMatchObject({ failed: 3, retries: 2, skipped: 0 });
    await bus.disconnect();
    const [letter] = await readDeadLetters(world, 1);
    const [first] = seen as [HandlerContext];
    expect(letter?.event).toEqual(world.event('0'));
    expect(letter?.context.key).toBe(first.key);
    expect(letter?.context.timestamp).toEqual(first.timestamp);
    expect(letter?.context.headers.get('eventId')).toBe('0');
    expect(letter?.why).toMatchObject({
      topic: world.type(),
      partition: String(first.partition),
      offset: String(first.offset),
      timestamp: String(first.timestamp?.getTime()),
      group: world.group,
      reason: 'exhausted',
      handler: 'shipOrder',
      attempts: '3',
      'error-code': 'NO_STOCK',
      'error-message': 'no stock',
    });
    for (const name of ['first-failed-at', 'last-failed-at']) {
      expect(Date.parse(letter?.why[name] ?? '')).not.toBeNaN();
    }
    // It is finished, so it does not come again.
    const again = await consumer(world);
    await again.bus.publish(world.event('2'));
    await eventually(() => again.seen.length === 1, 'the later event');
    expect(ids(again.seen)).toEqual(['2']);
  },

  'an error that says so ends the retries at once; a classifier may say so too': async (world) => {
    const made = world.bus({
      retry: { ...SOON, attempts: 50 },
      isRetryable: (error) => !(error instanceof RangeError),
    });
    const { bus } = made;
    const calls: string[] = [];
    await bus.subscribe(
      world.type(),
      handler(async ({ eventId }, { attempt }) => {
        calls.push(`${eventId}/${attempt}`);
        if (eventId === '0') throw new FatalHandlerError('never');
        if (eventId === '1') throw new RangeError('out of range');
        if (eventId === '2' && attempt === 1) throw new Error('once');
      }),
    );
    await bus.connect();
    await bus.publishMany(world.events(3));
    await eventually(() => bus.metrics().consume.deadLettered === 2, 'the dead letters');
    await eventually(() => bus.metrics().consume.handled === 1, 'the event behind them');
    expect(calls).toEqual(['0/1', '1/1', '2/1', '2/2']);
    await bus.disconnect();
    const letters = await readDeadLetters(world, 2);
    expect(letters.map(({ why }) => [why['reason'], why['attempts'], why['error-code']])).toEqual([
      ['fatal', '1', 'FatalHandlerError'],
      ['fatal', '1', 'RangeError'],
    ]);
  },

  'an event may be passed over when its attempts are used up': async (world) => {
    const made = world.bus();
    const { bus } = made;
    const good: string[] = [];
    await bus.subscribe(
      world.type(),
      handler(async ({ eventId }) => {
        if (eventId === '1') throw new Error('boom');
        good.push(eventId);
      }),
      { onExhausted: 'skip', retry: { ...SOON, attempts: 2 } },
    );
    await bus.connect();
    await bus.publishMany(world.events(3));
    await eventually(() => bus.metrics().consume.handled === 2, 'the others');
    expect(good).toEqual(['0', '2']);
    expect(bus.metrics().consume).toMatchObject({ failed: 2, skipped: 1, deadLettered: 0 });
    await eventually(() => logged(made, 'event_skipped').length === 1, 'the log of it');
    const lines = logged(made, 'event_skipped');
    expect(lines[0]).toMatchObject({
      level: 'error',
      fields: { reason: 'exhausted', attempts: 2 },
    });
  },

  'a partition may halt at an event instead, which comes again after a restart': async (world) => {
    const made = world.bus();
    const { bus } = made;
    const started: string[] = [];
    await bus.subscribe(
      world.type(),
      handler(async ({ eventId }) => {
        started.push(eventId);
        if (eventId === '1') throw new Error('boom');
      }),
      { onExhausted: 'halt', retry: { attempts: 1 } },
    );
    await bus.connect();
    await bus.publishMany(world.events(4));
    await eventually(() => bus.metrics().consume.haltedPartitions === 1, 'the halt');
    await eventually(() => logged(made, 'partition_halted').length === 1, 'the log of the halt');
    const { live, ready, connected, reasons, haltedPartitions } = bus.health();
    expect({ live, ready, connected, codes: reasons.map(({ code }) => code) }).toEqual({
      live: false,
      ready: false,
      connected: true,
      codes: ['partition_halted'],
    });
    expect(haltedPartitions).toMatchObject([
      { topic: world.type(), reason: expect.stringContaining('boom') },
    ]);
    await bus.publish(world.event('4'));
    expect(await bus.disconnect()).toMatchObject({ lost: 0 });
    expect(started).toEqual(['0', '1']);
    const again = await consumer(world);
    await eventually(() => again.seen.length >= 4, 'the others');
    expect(ids(again.seen)).toEqual(names(1, 5));
  },

  'later events of a key may follow one that became a dead letter': async (world) => {
    const { bus } = world.bus();
    const handled: string[] = [];
    await bus.subscribe(
      world.type(),
      handler(async ({ eventId }) => {
        if (eventId === '0') throw new FatalHandlerError('never');
        handled.push(eventId);
      }),
      { parkKey: true },
    );
    await bus.connect();
    await bus.publishMany([
      ...world.events(3),
      world.event('other', { aggregateId: 'order-other' }),
    ]);
    await eventually(() => bus.metrics().consume.deadLettered === 3, 'the dead letters');
    await eventually(() => handled.length === 1, 'the other aggregate');
    expect(handled).toEqual(['other']);
    await bus.disconnect();
    const letters = await readDeadLetters(world, 3);
    expect(letters.map(({ event, why }) => [event.eventId, why['reason']])).toEqual([
      ['0', 'fatal'],
      ['1', 'parked'],
      ['2', 'parked'],
    ]);
  },

  'a handler that takes too long fails, and its signal aborts': async (world) => {
    const made = world.bus({ retry: { ...SOON, attempts: 2 } });
    const { bus } = made;
    const reasons: unknown[] = [];
    const never = gate();
    await bus.subscribe(
      world.type(),
      handler(async (_, { attempt, signal }) => {
        if (attempt === 2) return;
        signal.addEventListener('abort', () => reasons.push(signal.reason));
        await never.opened;
      }),
      { handlerTimeoutMs: 50 },
    );
    await bus.connect();
    await bus.publish(world.event('1'));
    await eventually(() => bus.metrics().consume.handled === 1, 'the second attempt');
    expect(reasons).toMatchObject([{ code: 'EVBUS_TIMEOUT' }]);
    expect(made.errors.map(([{ cause }]) => cause)).toEqual(reasons);
    expect(bus.metrics().consume).toMatchObject({ failed: 1, retries: 1, handledAfterTimeout: 0 });
    never.open();
    await eventually(() => bus.metrics().consume.handledAfterTimeout === 1, 'the late result');
  },

  'the signal aborts when the bus ends before the handler': async (world) => {
    const { bus } = world.bus();
    const started = gate();
    const reasons: unknown[] = [];
    await bus.subscribe(
      world.type(),
      handler((_, { signal }) => {
        started.open();
        return new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reasons.push(signal.reason);
            reject(signal.reason);
          });
        });
      }),
    );
    await bus.connect();
    await bus.publish(world.event('1'));
    await started.opened;
    expect(await bus.disconnect({ timeoutMs: 800 })).toMatchObject({ handled: 0, abandoned: 1 });
    expect(reasons).toMatchObject([{ code: 'EVBUS_CLOSED' }]);
    const again = await consumer(world);
    await eventually(() => again.seen.length === 1, 'the event again');
  },

  'a record that is no event may become a dead letter': async (world) => {
    await world.write(['not json', JSON.stringify(world.event('good'))]);
    const made = await consumer(world, { onInvalid: 'dead-letter' });
    await eventually(() => made.seen.length === 1, 'the event behind it');
    await eventually(() => made.bus.metrics().consume.deadLettered === 1, 'the dead letter');
    expect(made.bus.metrics().consume).toMatchObject({ invalid: 1, failed: 0 });
    await eventually(() => logged(made, 'invalid_message').length === 1, 'the log of it');
  },

  'options of the type hold for every handler of it': async (world) => {
    const { bus } = world.bus();
    const calls: string[] = [];
    const failing = (name: string) =>
      handler(async (_, { attempt }) => {
        calls.push(`${name}${attempt}`);
        throw new Error('boom');
      });
    await bus.subscribe(world.type(), failing('a'), {
      retry: { ...SOON, attempts: 2 },
      onExhausted: 'skip',
    });
    await bus.subscribe(world.type(), failing('b'));
    await bus.connect();
    await bus.publish(world.event('1'));
    await eventually(() => bus.metrics().consume.skipped === 1, 'the skipped event');
    expect(calls).toEqual(['a1', 'b1', 'a2', 'b2']);
  },
};
