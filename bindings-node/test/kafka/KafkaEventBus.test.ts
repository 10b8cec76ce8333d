import { describe, expect, it } from 'vitest';
import { AbortError } from '../../ts/abort';
import { BaseEventBus } from '../../ts/base/BaseEventBus';
import { ClosedError } from '../../ts/error';
import { collector, keptBroker, makeBus } from '../support/bus';
import { DomainEvent, withId } from '../support/events';
import { until } from '../support/native';
import { gate, rejection } from '../support/promises';

describe('dropped in', () => {
  it('handles what it publishes, with dates, plain objects with their extra fields', async () => {
    const { bus } = makeBus();
    const handler = collector();
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    const plain = { ...withId('1'), tenant: 'acme' };
    await bus.publish(plain);
    const made = new DomainEvent({ secret: 'x' }, withId('2'));
    await bus.publish(made);
    await until(() => handler.seen.length === 2, 'both events');
    expect(handler.seen).toContainEqual(plain);
    expect(handler.seen).toContainEqual(withId('2'));
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

  it('tells its health from before connect to after disconnect', async () => {
    const { bus } = makeBus();
    const told = () => {
      const { live, ready, connected, reasons } = bus.health();
      return [live, ready, connected, ...reasons.map(({ code }) => code)];
    };
    expect(told()).toEqual([true, false, false, 'not_connected']);
    const connecting = bus.connect();
    expect(told()).toEqual([true, false, false, 'not_connected']);
    await connecting;
    expect(bus.health()).toEqual({
      live: true,
      ready: true,
      connected: true,
      reasons: [],
      haltedPartitions: [],
      stalledPartitions: [],
      deadLettersPending: 0,
      lastError: null,
    });
    const disconnecting = bus.disconnect();
    expect(told()).toEqual([true, false, false, 'not_connected']);
    await disconnecting;
    expect(told()).toEqual([true, false, false, 'not_connected']);
  });

  it('publishes only between connect and disconnect', async () => {
    const { bus } = makeBus();
    const refused = async (): Promise<void> => {
      for (const error of [
        await rejection(bus.publish(withId('1'))),
        await rejection(bus.publishMany([withId('1')])),
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
    await bus.publish(withId('1'));
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
      await bus.publish(withId(id));
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
    await bus.publish(withId('1'));
  });

  it('ends with its scope', async () => {
    const { bus } = makeBus();
    await bus.connect();
    await bus[Symbol.asyncDispose]();
    expect(bus.isConnected).toBe(false);
    expect(await rejection(bus.publish(withId('1')))).toBeInstanceOf(ClosedError);
  });

  it('flushes what was published before disconnect', async () => {
    const { bus } = makeBus({ maxInFlight: 10 });
    await bus.connect();
    const all = Array.from({ length: 500 }, (_, n) => bus.publish(withId(`${n}`)));
    const report = await bus.disconnect();
    await Promise.all(all);
    expect(report).toMatchObject({ lost: 0, clean: true });
    expect(bus.metrics().publish.acknowledged).toBe(500);
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
    expect(await rejection(bus.publish(withId('1')))).toBeInstanceOf(ClosedError);
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
    expect(error.cause).toMatchObject({ message: 'enough' });
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
    await bus.publish(withId('1'));
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
    await bus.publishMany([withId('1'), withId('2')]);
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
    await bus.publishMany([withId('1'), withId('2')]);
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
    await bus.publish(withId('1'));
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

describe('metrics', () => {
  it('are zeros before the first connect and stay after disconnect', async () => {
    const { bus } = makeBus();
    expect(bus.metrics()).toMatchObject({ connected: false, publish: { acknowledged: 0 } });
    await bus.connect();
    await bus.publish(withId('1'));
    expect(bus.metrics()).toMatchObject({ connected: true, publish: { acknowledged: 1 } });
    await bus.disconnect();
    expect(bus.metrics()).toMatchObject({ connected: false, publish: { acknowledged: 1 } });
  });
});
