import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AbortError } from '../ts/abort';
import { ArgumentError, ClosedError, PublishError, TimeoutError } from '../ts/error';
import type { IDomainEvent } from '../ts/event';
import { Publisher, type PublishLimits } from '../ts/publish';
import { PublishManyError } from '../ts/refusal';
import { recordValue, serializeEvent } from '../ts/serialize';
import { Topics } from '../ts/topics';
import { type OrderPlaced, orderPlaced } from './support/events';
import { FakePublishPort, nativeError, until } from './support/native';

const LIMITS: PublishLimits = {
  maxInFlight: 100,
  publishMaxInFlightBytes: 1 << 20,
  maxQueuedBytes: 1 << 20,
  messageMaxBytes: 1 << 20,
  publishTimeoutMs: 60_000,
};

/** A publisher on a fake addon, with what it was told. */
function setUp(limits: Partial<PublishLimits> = {}, arenaBytes?: number) {
  const port = new FakePublishPort();
  const holder = { held: 0, hold: () => (holder.held += 1), release: () => (holder.held -= 1) };
  const publisher = new Publisher(
    port,
    new Topics(port),
    { ...LIMITS, ...limits },
    holder,
    arenaBytes,
  );
  const complete = (slot: number, kind = 0, partition = 3): void =>
    publisher.complete(Int32Array.of(slot, kind, partition, 7, 0), 1);
  const fail = (slot: number, error: object): void => {
    port.failures.set(slot, error);
    complete(slot, 10);
  };
  const slotOf = (eventId: string): number => {
    const frame = port.frames.find((one) => one.eventId === eventId);
    if (frame === undefined) throw new Error(`${eventId} was not handed over`);
    return frame.slot;
  };
  return { port, holder, publisher, complete, fail, slotOf };
}

const event = (eventId: string, more: Partial<IDomainEvent<OrderPlaced>> = {}) =>
  orderPlaced({ eventId, ...more });

/** What an id may be. */
const isText = (text: string) => text !== '' && !/\p{Surrogate}/u.test(text);

/** How a promise stands when everything that is due has run: its value, its error or 'pending'. */
async function stateOf(promise: Promise<unknown>): Promise<unknown> {
  let state: unknown = 'pending';
  promise.then(
    (value) => {
      state = value;
    },
    (error) => {
      state = error;
    },
  );
  await new Promise((resolve) => setImmediate(resolve));
  return state;
}

afterEach(() => {
  vi.useRealTimers();
});

describe('frames', () => {
  it('carry key, headers and value of the wire format', async () => {
    const { publisher, port } = setUp();
    const plain = event('1');
    void publisher.publish(plain, undefined);
    await Promise.resolve();
    const serialized = serializeEvent(plain);
    const { key, version, timestamp } = serialized;
    const value = recordValue(serialized, plain.eventType);
    expect(port.frames).toEqual([
      { slot: 0, topicId: 0, partition: -1, eventId: '1', key, value, version, timestamp },
    ]);
  });

  it.each([
    ['ä', '1'],
    ['a', '€'],
    ['日本語', '😀'],
    ['k', '1'],
  ])('measure in bytes: aggregate %s, event id %s', async (aggregateId, eventId) => {
    const { publisher, port } = setUp();
    const payload = { ...orderPlaced().payload, orderId: 'Bücher für 5 €' };
    const whole = event(eventId, { aggregateId, payload });
    void publisher.publish(whole, undefined);
    await Promise.resolve();
    expect(port.frames[0]).toMatchObject({ key: aggregateId, eventId });
    expect(port.frames[0]?.value).toBe(JSON.stringify(whole));
  });

  it('have the bytes of JSON.stringify, whatever the payload holds', async () => {
    const { publisher, port } = setUp();
    const text = fc.string({ unit: 'binary' });
    const member = fc.oneof(
      text,
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.date(),
      fc.object(),
    );
    const payloads = fc.dictionary(fc.oneof(text, fc.constantFrom('ü', '7', '\ud800')), member);
    await fc.assert(
      fc.asyncProperty(payloads, text.filter(isText), async (payload, aggregateId) => {
        const made = { ...event('1', { aggregateId }), payload } as unknown as IDomainEvent;
        void publisher.publish(made, undefined);
        await Promise.resolve();
        const frame = port.frames.pop();
        publisher.complete(Int32Array.of(frame?.slot ?? -1, 0, 0, 0, 0), 1);
        expect(frame?.value).toBe(JSON.stringify(made));
      }),
      { numRuns: 500 },
    );
  });

  it('keep apart what a getter of a payload publishes', async () => {
    const { publisher, port } = setUp();
    const inner = event('inner', {
      payload: { ...orderPlaced().payload, orderId: 'another, longer one' },
    });
    const payload = {
      ...orderPlaced().payload,
      get note() {
        void publisher.publish(inner, undefined);
        return 'x';
      },
    };
    void publisher.publish(event('outer', { payload }), undefined);
    await Promise.resolve();
    expect(port.frames.map(({ value }) => value)).toEqual([
      JSON.stringify(inner),
      JSON.stringify(
        event('outer', { payload: { ...orderPlaced().payload, note: 'x' } as OrderPlaced }),
      ),
    ]);
  });

  it('of one tick go to the addon in one call, in order', async () => {
    const { publisher, port } = setUp();
    for (const id of ['a', 'b', 'c']) void publisher.publish(event(id), undefined);
    expect(port.calls).toEqual([]);
    await Promise.resolve();
    expect(port.calls).toEqual([3]);
    expect(port.frames.map(({ eventId }) => eventId)).toEqual(['a', 'b', 'c']);
  });

  it('go at once when the arena is full, and alone when larger than it', async () => {
    const { publisher, port } = setUp({}, 4096);
    const large = event('large', {
      payload: { ...orderPlaced().payload, orderId: 'x'.repeat(5000) },
    });
    for (const one of [event('1'), event('2'), large, event('3')]) {
      void publisher.publish(one, undefined);
    }
    expect(port.frames.map(({ eventId }) => eventId)).toEqual(['1', '2', 'large']);
    await Promise.resolve();
    expect(port.frames.map(({ eventId }) => eventId)).toEqual(['1', '2', 'large', '3']);
    expect(port.frames[2]?.value).toBe(JSON.stringify(large));
  });

  it('hold the event as it was at the call', async () => {
    const { publisher, port } = setUp({ maxInFlight: 1 });
    const changing = event('1');
    const before = JSON.stringify(changing);
    void publisher.publish(changing, undefined);
    const waiting = publisher.publish(changing, undefined);
    changing.payload.amount = 0;
    await Promise.resolve();
    publisher.complete(Int32Array.of(0, 0, 0, 0, 0), 1);
    await Promise.resolve();
    expect(port.frames.map(({ value }) => value)).toEqual([before, before]);
    publisher.close();
    await expect(waiting).rejects.toThrow(ClosedError);
  });

  it('are flushed although timers are faked', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'setImmediate', 'setInterval', 'queueMicrotask'] });
    const { publisher, port, complete } = setUp();
    const published = publisher.publish(event('1'), undefined);
    await Promise.resolve();
    expect(port.frames).toHaveLength(1);
    complete(0);
    await published;
  });
});

describe('completions', () => {
  it('settle the promise of their slot, in any order, and slots are used again', async () => {
    const { publisher, complete, slotOf, port } = setUp();
    const a = publisher.publish(event('a'), undefined);
    const b = publisher.publish(event('b'), undefined);
    await Promise.resolve();
    complete(slotOf('b'));
    expect(await stateOf(b)).toBeUndefined();
    expect(await stateOf(a)).toBe('pending');
    const c = publisher.publish(event('c'), undefined);
    await Promise.resolve();
    expect(slotOf('c')).toBe(slotOf('b'));
    complete(slotOf('a'));
    complete(port.frames[2]?.slot as number);
    await Promise.all([a, c]);
  });

  it('reject with the error of the core, with topic and partition', async () => {
    const { publisher, fail, slotOf } = setUp();
    const published = publisher.publish(event('a'), undefined);
    await Promise.resolve();
    fail(
      slotOf('a'),
      nativeError('Rejected', { outcome: 'not_sent', kafkaCode: 29, hint: 'grant WRITE' }),
    );
    const error = await stateOf(published);
    expect(error).toBeInstanceOf(PublishError);
    expect(error).toMatchObject({
      message: 'the core says Rejected',
      code: 'EVBUS_REJECTED',
      outcome: 'not_sent',
      topic: 'order.placed',
      partition: 3,
      kafkaCode: 29,
      hint: 'grant WRITE',
    });
  });

  it('keep the process alive until the last one', async () => {
    const { publisher, complete, holder } = setUp({ maxInFlight: 1 });
    expect(holder.held).toBe(0);
    const all = ['a', 'b'].map((id) => publisher.publish(event(id), undefined));
    await Promise.resolve();
    expect(holder.held).toBe(1);
    complete(0);
    expect(holder.held).toBe(1);
    await Promise.resolve();
    complete(0);
    await Promise.all(all);
    expect(holder.held).toBe(0);
  });
});

describe('the caps', () => {
  it('let further publishes wait in order, and admit them as places come free', async () => {
    const { publisher, port, complete, slotOf } = setUp({ maxInFlight: 2 });
    const all = ['a', 'b', 'c', 'd'].map((id) => publisher.publish(event(id), undefined));
    await Promise.resolve();
    expect(port.frames.map(({ eventId }) => eventId)).toEqual(['a', 'b']);
    expect(publisher.counts).toMatchObject({ waiting: 2 });
    complete(slotOf('b'));
    const e = publisher.publish(event('e'), undefined);
    await Promise.resolve();
    expect(port.frames.map(({ eventId }) => eventId)).toEqual(['a', 'b', 'c']);
    complete(slotOf('a'));
    complete(slotOf('c'));
    await Promise.resolve();
    complete(slotOf('d'));
    complete(slotOf('e'));
    await Promise.all([...all, e]);
    expect(publisher.counts).toMatchObject({ waiting: 0, waitingBytes: 0 });
  });

  it('bound bytes too, but let one event through alone, however large', async () => {
    const { publisher, port, complete, slotOf } = setUp({ publishMaxInFlightBytes: 500 });
    const large = event('large', {
      payload: { ...orderPlaced().payload, orderId: 'x'.repeat(5000) },
    });
    const all = [event('a'), large, event('b')].map((one) => publisher.publish(one, undefined));
    await Promise.resolve();
    expect(port.frames.map(({ eventId }) => eventId)).toEqual(['a']);
    complete(slotOf('a'));
    await Promise.resolve();
    expect(port.frames.map(({ eventId }) => eventId)).toEqual(['a', 'large']);
    complete(slotOf('large'));
    await Promise.resolve();
    complete(slotOf('b'));
    await Promise.all(all);
  });

  it('refuse at once what exceeds the bytes that may wait', async () => {
    const { publisher, complete } = setUp({ maxInFlight: 1, maxQueuedBytes: 1000 });
    const first = publisher.publish(event('a'), undefined);
    const waiting = publisher.publish(event('b'), undefined);
    const refused = [1, 2, 3].map((n) => publisher.publish(event(`c${n}`), undefined));
    for (const promise of refused) void promise.catch(() => {});
    const error = await stateOf(refused[2] as Promise<void>);
    expect(error).toBeInstanceOf(PublishError);
    expect(error).toMatchObject({
      code: 'EVBUS_QUEUE_FULL',
      outcome: 'not_sent',
      retryable: true,
      topic: 'order.placed',
    });
    expect(publisher.counts.errors.get('EVBUS_QUEUE_FULL')).toBeGreaterThan(0);
    complete(0);
    await first;
    publisher.close();
    await expect(waiting).rejects.toThrow(ClosedError);
  });

  it('end a wait at its deadline with not_sent, and the others go on', async () => {
    const { publisher, port, complete } = setUp({ maxInFlight: 1 });
    const first = publisher.publish(event('a'), undefined);
    const short = publisher.publish(event('b'), { timeoutMs: 20 });
    const long = publisher.publish(event('c'), undefined);
    const error = await short.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error).toMatchObject({ outcome: 'not_sent', topic: 'order.placed', retryable: true });
    expect(publisher.counts.errors.get('EVBUS_TIMEOUT')).toBe(1);
    complete(0);
    await first;
    await Promise.resolve();
    expect(port.frames.map(({ eventId }) => eventId)).toEqual(['a', 'c']);
    complete(0);
    await long;
  });

  it('end a wait at publishTimeoutMs of the configuration', async () => {
    const { publisher } = setUp({ maxInFlight: 1, publishTimeoutMs: 20 });
    const first = publisher.publish(event('a'), undefined);
    const error = await publisher.publish(event('b'), undefined).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'EVBUS_TIMEOUT', outcome: 'not_sent' });
    publisher.close();
    await expect(first).rejects.toMatchObject({ outcome: 'unknown' });
  });
});

describe('giving up', () => {
  it('with a signal that is aborted already sends nothing', async () => {
    const { publisher, port } = setUp();
    const signal = AbortSignal.abort(new Error('changed my mind'));
    const error = await publisher.publish(event('a'), { signal }).catch((reason) => reason);
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', outcome: 'not_sent' });
    expect(error.cause.message).toBe('changed my mind');
    await Promise.resolve();
    expect(port.frames).toEqual([]);
  });

  it('while waiting is not_sent and frees the queue', async () => {
    const { publisher, port, complete } = setUp({ maxInFlight: 1 });
    const first = publisher.publish(event('a'), undefined);
    const controller = new AbortController();
    const waiting = publisher.publish(event('b'), { signal: controller.signal });
    controller.abort();
    expect(await stateOf(waiting)).toMatchObject({ name: 'AbortError', outcome: 'not_sent' });
    expect(publisher.counts).toMatchObject({ waiting: 0, waitingBytes: 0, aborted: 1 });
    complete(0);
    await first;
    expect(await stateOf(Promise.resolve(port.frames.length))).toBe(1);
  });

  it('after the hand-over is unknown at once, and the slot stays taken until its completion', async () => {
    const { publisher, port, complete, slotOf } = setUp();
    const controller = new AbortController();
    const given = publisher.publish(event('a'), { signal: controller.signal });
    await Promise.resolve();
    controller.abort();
    expect(await stateOf(given)).toMatchObject({ name: 'AbortError', outcome: 'unknown' });
    const next = publisher.publish(event('b'), undefined);
    await Promise.resolve();
    expect(slotOf('b')).not.toBe(slotOf('a'));
    complete(slotOf('a'));
    expect(await stateOf(next)).toBe('pending');
    complete(slotOf('b'));
    await next;
    const again = publisher.publish(event('c'), undefined);
    await Promise.resolve();
    expect(port.frames[2]?.slot).toBe(slotOf('b'));
    complete(slotOf('c'));
    await again;
  });

  it('by timeoutMs after the hand-over is unknown', async () => {
    const { publisher } = setUp();
    const error = await publisher.publish(event('a'), { timeoutMs: 20 }).catch((reason) => reason);
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error).toMatchObject({ outcome: 'unknown', topic: 'order.placed' });
  });

  it('leaves one listener on a signal that many publishes share, and none afterwards', async () => {
    const { publisher, complete, port } = setUp();
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, 'addEventListener');
    const removed = vi.spyOn(signal, 'removeEventListener');
    const all = Array.from({ length: 50 }, (_, n) => publisher.publish(event(`${n}`), { signal }));
    await Promise.resolve();
    expect(added).toHaveBeenCalledTimes(1);
    for (const { slot } of port.frames) complete(slot);
    await Promise.all(all);
    expect(removed).toHaveBeenCalledTimes(1);
  });
});

describe('publishMany', () => {
  it('resolves when all are stored', async () => {
    const { publisher, port, complete } = setUp({ maxInFlight: 2 });
    const all = publisher.publishMany([event('a'), event('b'), event('c')], undefined);
    await Promise.resolve();
    expect(port.frames).toHaveLength(2);
    complete(0);
    complete(1);
    expect(await stateOf(all)).toBe('pending');
    complete(port.frames[2]?.slot as number);
    await all;
  });

  it('resolves for nothing, and takes any iterable', async () => {
    const { publisher, complete } = setUp();
    await publisher.publishMany([], undefined);
    const all = publisher.publishMany(new Set([event('a')]), undefined);
    complete(0);
    await all;
  });

  it('rejects when each has settled, with the index and error of each failure', async () => {
    const { publisher, complete, fail, slotOf } = setUp();
    const list = [event('a'), event('b'), event('', {}), event('d'), event('e')];
    const all = publisher.publishMany(list, undefined);
    await Promise.resolve();
    fail(slotOf('e'), nativeError('Timeout', { outcome: 'unknown', retryable: true }));
    fail(slotOf('b'), nativeError('Rejected', { outcome: 'not_sent' }));
    complete(slotOf('a'));
    expect(await stateOf(all)).toBe('pending');
    complete(slotOf('d'));
    const error = await all.catch((reason) => reason);
    expect(error).toBeInstanceOf(PublishManyError);
    expect(error.message).toBe(
      '3 of 5 events were not published; the first, at index 1: the core says Rejected',
    );
    expect(error).toMatchObject({ code: 'EVBUS_REJECTED', outcome: 'unknown', retryable: false });
    expect(error.failures.map((failure: { index: number }) => failure.index)).toEqual([1, 2, 4]);
    expect(error.failures[1].error).toBeInstanceOf(ArgumentError);
    expect(error.failures[2].error).toMatchObject({ code: 'EVBUS_TIMEOUT', outcome: 'unknown' });
  });

  it('ends with its signal', async () => {
    const { publisher } = setUp({ maxInFlight: 1 });
    const controller = new AbortController();
    const options = { signal: controller.signal };
    const all = publisher.publishMany([event('a'), event('b')], options);
    await Promise.resolve();
    controller.abort();
    const error = (await stateOf(all)) as PublishManyError;
    expect(error.failures.map(({ error: { outcome } }) => outcome)).toEqual([
      'unknown',
      'not_sent',
    ]);
    expect(error.outcome).toBe('unknown');
  });

  it('refuses what is no list', async () => {
    const { publisher } = setUp();
    await expect(publisher.publishMany(event('a') as never, undefined)).rejects.toThrow(
      'publishMany takes an array of events, got an object',
    );
  });
});

describe('bad input', () => {
  it.each([
    ['no event', undefined, /an event must be an object/],
    ['no eventId', { eventId: undefined }, /eventId .* must be a non-empty string, got undefined/],
    ['an empty eventId', { eventId: '' }, /eventId .* got ""/],
    ['no eventType', { eventType: undefined }, /eventType .* got undefined/],
    ['an illegal eventType', { eventType: 'order placed' }, /legal Kafka topic name/],
    ['no aggregateId', { aggregateId: undefined }, /aggregateId .* got undefined/],
    ['an empty aggregateId', { aggregateId: '' }, /aggregateId .* got ""/],
    ['no occurredOn', { occurredOn: undefined }, /occurredOn .* must be a valid Date/],
    ['occurredOn as text', { occurredOn: '2026-01-01' }, /occurredOn .* must be a valid Date/],
    ['an invalid date', { occurredOn: new Date(Number.NaN) }, /got an invalid Date/],
    ['a version that is no integer', { version: 1.5 }, /version .* must be an integer, got 1.5/],
    ['a BigInt in the payload', { payload: { total: 1n } }, /cannot be written as JSON/],
    ['an eventId too long', { eventId: 'x'.repeat(70_000) }, /eventId is longer than 65535 bytes/],
  ])('%s: nothing is sent', async (_, override, message) => {
    const { publisher, port } = setUp();
    const bad = override === undefined ? undefined : { ...orderPlaced(), ...override };
    const error = await publisher.publish(bad as never, undefined).catch((reason) => reason);
    expect(error.message).toMatch(message);
    expect(error.code).toMatch(/^EVBUS_(ARGUMENT|CODEC)$/);
    await Promise.resolve();
    expect(port.frames).toEqual([]);
    expect(publisher.counts.refused).toBe(1);
    expect(publisher.counts.errors.get(error.code)).toBe(1);
  });

  it('a cycle in the payload: nothing is sent', async () => {
    const { publisher, port } = setUp();
    const payload = { ...orderPlaced().payload, self: {} };
    payload.self = payload;
    const error = await publisher.publish(event('a', { payload }), undefined).catch((e) => e);
    expect(error).toMatchObject({ code: 'EVBUS_CODEC', outcome: 'not_sent' });
    await Promise.resolve();
    expect(port.frames).toEqual([]);
  });

  it.each([
    ['ASCII', 'x'.repeat(1000)],
    ['three bytes a character', '€'.repeat(350)],
  ])('a value above messageMaxBytes, %s', async (_, orderId) => {
    const { publisher, port } = setUp({ messageMaxBytes: 1000 });
    const payload = { ...orderPlaced().payload, orderId };
    const error = await publisher.publish(event('a', { payload }), undefined).catch((e) => e);
    expect(error).toBeInstanceOf(PublishError);
    expect(error).toMatchObject({ code: 'EVBUS_TOO_LARGE', outcome: 'not_sent' });
    expect(error.message).toMatch(/takes 1\d\d\d bytes as JSON, more than the 1000/);
    await Promise.resolve();
    expect(port.frames).toEqual([]);
  });

  it.each([
    [{ timeoutMs: 0 }, /timeoutMs must be a number of milliseconds above 0, got 0/],
    [{ timeoutMs: '5' }, /got "5"/],
    [{ signal: {} }, /signal must be an AbortSignal, got an object/],
  ])('options %j', async (options, message) => {
    const { publisher } = setUp();
    await expect(publisher.publish(event('a'), options as never)).rejects.toThrow(message);
  });
});

describe('the end', () => {
  it('refuses what the addon does not take any more', async () => {
    const { publisher, port, holder } = setUp();
    port.closed = true;
    const published = publisher.publish(event('a'), undefined);
    const error = await published.catch((reason) => reason);
    expect(error).toBeInstanceOf(ClosedError);
    expect(error).toMatchObject({ outcome: 'not_sent' });
    expect(holder.held).toBe(0);
  });

  it('hands over what waits, beyond the caps', async () => {
    const { publisher, port } = setUp({ maxInFlight: 1 });
    const all = ['a', 'b', 'c'].map((id) => publisher.publish(event(id), undefined));
    publisher.handOver();
    expect(port.frames.map(({ eventId }) => eventId)).toEqual(['a', 'b', 'c']);
    for (const { slot } of port.frames) publisher.complete(Int32Array.of(slot, 0, 0, 0, 0), 1);
    await Promise.all(all);
  });

  it('rejects what has no answer: unknown when handed over, not_sent when waiting', async () => {
    const { publisher, holder } = setUp({ maxInFlight: 1 });
    const all = ['a', 'b'].map((id) => publisher.publish(event(id), undefined));
    await Promise.resolve();
    publisher.close();
    const errors = await Promise.all(all.map((promise) => promise.catch((reason) => reason)));
    expect(errors.map(({ code, outcome }) => [code, outcome])).toEqual([
      ['EVBUS_CLOSED', 'unknown'],
      ['EVBUS_CLOSED', 'not_sent'],
    ]);
    await until(() => holder.held === 0, 'it lets the process end');
  });
});
