import { describe, expect, it } from 'vitest';
import { ClosedError } from '../../ts/error';
import { collector, makeBus } from '../support/bus';
import { withId } from '../support/events';
import { until } from '../support/native';
import { gate, rejection } from '../support/promises';

describe('handlers', () => {
  it('of several types, and several of one type, each get their events', async () => {
    const { bus } = makeBus();
    const [placed, alsoPlaced, paid] = [collector(), collector(), collector()];
    await bus.subscribe('order.placed', placed);
    await bus.subscribe('order.placed', alsoPlaced);
    await bus.connect();
    await bus.subscribe('order.paid', paid);
    await bus.publish(withId('1'));
    await bus.publish(withId('2', { eventType: 'order.paid' }));
    await bus.publish(withId('3', { eventType: 'order.cancelled' }));
    await until(() => placed.seen.length + alsoPlaced.seen.length === 2, 'order.placed');
    await until(() => paid.seen.length === 1, 'order.paid');
    expect(bus.metrics().consume.received).toBe(2);
  });

  it('that are added twice are called once', async () => {
    const { bus } = makeBus();
    const handler = collector();
    await bus.subscribe('order.placed', handler);
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    await bus.publishMany([withId('1'), withId('2')]);
    await until(() => handler.seen.length >= 2, 'both events');
    expect(handler.seen).toHaveLength(2);
  });

  it('that are added while connecting are called', async () => {
    const { bus } = makeBus();
    const [first, second] = [collector(), collector()];
    await bus.subscribe('order.placed', first);
    const connecting = bus.connect();
    await bus.subscribe('order.paid', second);
    await connecting;
    await bus.publish(withId('1', { eventType: 'order.paid' }));
    await until(() => second.seen.length === 1, 'the event');
  });

  it('that fail are told and called again, and the later events go on', async () => {
    const { bus, errors, lines } = makeBus({
      retry: { attempts: 2, initialDelayMs: 1 },
      onExhausted: 'skip',
    });
    const handler = collector();
    await bus.subscribe('order.placed', {
      handle: async ({ eventId }) => {
        if (eventId === '1') throw new Error('boom');
      },
    });
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    await bus.publishMany([withId('1'), withId('2')]);
    await until(() => handler.seen.length === 2, 'both events');
    await until(() => bus.metrics().consume.handled === 1, 'the metrics');
    const told = errors.map(([, { event, eventId, attempt, willRetry }]) => [
      event,
      eventId,
      attempt,
      willRetry,
    ]);
    expect(told).toEqual([
      ['handler_failed', '1', 1, true],
      ['handler_failed', '1', 2, false],
    ]);
    expect(lines.filter((line) => line.event === 'handler_failed')).toHaveLength(2);
    expect(bus.metrics()).toMatchObject({
      consume: { received: 2, handled: 1, failed: 2, retries: 1, skipped: 1 },
      errors: { EVBUS_HANDLER: 2 },
    });
    expect(bus.metrics().consume.processingTime.count).toBe(3);
  });

  it('may publish, also while the bus disconnects; others may not any more', async () => {
    const { bus } = makeBus();
    const [started, go] = [gate(), gate()];
    let published: Promise<void> = Promise.reject(new Error('not yet'));
    published.catch(() => {});
    await bus.subscribe('order.placed', {
      handle: async () => {
        started.open();
        await go.opened;
        published = bus.publish(withId('2', { eventType: 'order.paid' }));
        await published;
      },
    });
    await bus.connect();
    await bus.publish(withId('1'));
    await started.opened;
    const disconnecting = bus.disconnect();
    expect(await rejection(bus.publish(withId('3')))).toBeInstanceOf(ClosedError);
    go.open();
    const report = await disconnecting;
    await published;
    expect(report).toMatchObject({ abandoned: 0, lost: 0, clean: true });
    expect(bus.metrics()).toMatchObject({
      publish: { acknowledged: 2, failed: 0 },
      consume: { handled: 1 },
      errors: {},
    });
  });
});

describe('unsubscribe', () => {
  it('waits for the running call, and none starts afterwards', async () => {
    const { bus } = makeBus();
    const [started, go] = [gate(), gate()];
    let calls = 0;
    const handler = {
      handle: async () => {
        calls += 1;
        started.open();
        await go.opened;
      },
    };
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    await bus.publishMany([withId('1'), withId('2')]);
    await started.opened;
    let ended = false;
    const unsubscribed = bus.unsubscribe('order.placed', handler).then(() => {
      ended = true;
    });
    await until(() => bus.handlers.size === 0, 'the removal');
    expect(ended).toBe(false);
    go.open();
    await unsubscribed;
    await bus.publish(withId('3'));
    expect(calls).toBe(1);
  });

  it('inside the handler waits for all but its own call', async () => {
    const { bus } = makeBus();
    const ended = gate();
    const handler = {
      handle: async () => {
        await bus.unsubscribe('order.placed', handler);
        ended.open();
      },
    };
    await bus.subscribe('order.placed', handler);
    await bus.connect();
    await bus.publish(withId('1'));
    await ended.opened;
    expect(bus.handlers.size).toBe(0);
  });

  it('of one handler leaves the other, and its events are not lost to it', async () => {
    const { bus } = makeBus();
    const [stays, leaves] = [collector(), collector()];
    await bus.subscribe('order.placed', stays);
    await bus.subscribe('order.placed', leaves);
    await bus.connect();
    await bus.publish(withId('1'));
    await until(() => stays.seen.length === 1 && leaves.seen.length === 1, 'the first event');
    await bus.unsubscribe('order.placed', leaves);
    await bus.publish(withId('2'));
    await until(() => stays.seen.length === 2, 'the second event');
    expect(leaves.seen).toHaveLength(1);
  });

  it('of the last handler does not stop the bus; a later one goes on where it ended', async () => {
    const { bus } = makeBus();
    const [first, second] = [collector(), collector()];
    await bus.subscribe('order.placed', first);
    await bus.connect();
    await bus.publish(withId('1'));
    await until(() => bus.metrics().consume.handled === 1, 'the first event');
    await bus.unsubscribe('order.placed', first);
    await bus.publish(withId('2'));
    await bus.subscribe('order.placed', second);
    await until(() => second.seen.length === 1, 'the second event');
    expect(first.seen.map(({ eventId }) => eventId)).toEqual(['1']);
    expect(second.seen.map(({ eventId }) => eventId)).toEqual(['2']);
  });

  it('of what is not subscribed does nothing', async () => {
    const { bus } = makeBus();
    await bus.unsubscribe('order.placed', collector());
    await bus.connect();
    await bus.unsubscribe('order.placed', collector());
  });
});
