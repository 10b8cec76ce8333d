import { afterEach, describe, expect, it, vi } from 'vitest';
import { TimeoutError } from '../../ts/error';
import { PublishManyError } from '../../ts/refusal';
import { collector, makeBus } from '../support/bus';
import { withId } from '../support/events';
import { until } from '../support/native';
import { rejection } from '../support/promises';

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

describe('publishMany', () => {
  it('stores all, keeps their order per aggregate, and names those that failed', async () => {
    const { bus } = makeBus();
    const handler = collector();
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    const list = Array.from({ length: 50 }, (_, n) => withId(`${n}`));
    await bus.publishMany(list);
    const error = await rejection<PublishManyError>(
      bus.publishMany([withId('50'), withId(''), withId('51')]),
    );
    expect(error).toBeInstanceOf(PublishManyError);
    expect(error.failures.map(({ index }) => index)).toEqual([1]);
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
      bus.publish(withId(`${n}`, { aggregateId: `order-${n % 7}` })),
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
    await bus.publish(withId('1'));
    vi.useRealTimers();
    await until(() => handler.seen.length === 1, 'the event');
    vi.useFakeTimers();
    expect(await bus.disconnect()).toMatchObject({ clean: true });
  });
});

describe('giving up a publish', () => {
  it('by timeout or signal rejects at once', async () => {
    const { bus } = makeBus({ maxInFlight: 1 });
    await bus.connect();
    const { signal } = new AbortController();
    await bus.publish(withId('1'), { signal, timeoutMs: 10_000 });
    const aborted = AbortSignal.abort();
    expect(await rejection(bus.publish(withId('2'), { signal: aborted }))).toMatchObject({
      name: 'AbortError',
      outcome: 'not_sent',
    });
    const controller = new AbortController();
    const given = rejection(bus.publish(withId('3'), { signal: controller.signal }));
    controller.abort();
    expect(await given).toMatchObject({ name: 'AbortError' });
    expect(TimeoutError.prototype.name).toBe('TimeoutError');
  });
});
