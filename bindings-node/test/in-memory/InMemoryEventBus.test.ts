import { beforeEach, describe, expect, it, vi } from 'vitest';
import { createInMemoryEventBus } from '../../ts/EventBusFactory';
import { InMemoryEventBus } from '../../ts/in-memory/InMemoryEventBus';
import { type OrderPlaced, orderPlaced } from '../support/events';

describe('InMemoryEventBus', () => {
  let bus: InMemoryEventBus<OrderPlaced>;

  beforeEach(async () => {
    bus = createInMemoryEventBus<OrderPlaced>();
    await bus.connect();
  });

  it('is what the factory makes', () => {
    expect(bus).toBeInstanceOf(InMemoryEventBus);
  });

  it('refuses to publish before connect and after disconnect', async () => {
    const fresh = new InMemoryEventBus<OrderPlaced>();
    await expect(fresh.publish(orderPlaced())).rejects.toThrow('Event bus is not connected');
    await bus.disconnect();
    await expect(bus.publish(orderPlaced())).rejects.toThrow('Event bus is not connected');
    expect(fresh.getPublishedEvents()).toEqual([]);
  });

  it('connects and disconnects any number of times', async () => {
    await bus.connect();
    await bus.disconnect();
    await bus.disconnect();
    await bus.connect();
    await bus.publish(orderPlaced());
    expect(bus.getPublishedEvents()).toHaveLength(1);
  });

  it('is healthy while it is connected', async () => {
    expect(bus.health()).toMatchObject({ live: true, ready: true, connected: true, reasons: [] });
    await bus.disconnect();
    const { live, ready, reasons } = bus.health();
    expect({ live, ready, codes: reasons.map(({ code }) => code) }).toEqual({
      live: true,
      ready: false,
      codes: ['not_connected'],
    });
  });

  it('delivers the very same object inside publish', () => {
    const handle = vi.fn(async () => {});
    const event = orderPlaced();
    void bus.subscribe('order.placed', { handle });
    void bus.publish(event);
    expect(handle).toHaveBeenCalledTimes(1);
    expect((handle.mock.calls as unknown[][])[0]?.[0]).toBe(event);
    expect(bus.getPublishedEvents()[0]).toBe(event);
  });

  it('takes handlers before connect', async () => {
    const early = new InMemoryEventBus<OrderPlaced>();
    const handle = vi.fn(async () => {});
    await early.subscribe('order.placed', { handle });
    await early.connect();
    await early.publish(orderPlaced());
    expect(handle).toHaveBeenCalledTimes(1);
  });

  it('resolves when the handlers have', async () => {
    let finished = false;
    await bus.subscribe('order.placed', {
      handle: async () => {
        await new Promise(setImmediate);
        finished = true;
      },
    });
    await bus.publish(orderPlaced());
    expect(finished).toBe(true);
  });

  it('rejects with the error of a handler, and counts the event as published', async () => {
    const error = new Error('no stock');
    await bus.subscribe('order.placed', { handle: () => Promise.reject(error) });
    await expect(bus.publish(orderPlaced())).rejects.toBe(error);
    expect(bus.isEventPublished(orderPlaced().eventId)).toBe(true);
  });

  it('finds what was published', async () => {
    const events = [
      orderPlaced({ eventId: '1' }),
      orderPlaced({ eventId: '2', eventType: 'order.paid' }),
      orderPlaced({ eventId: '3', aggregateId: 'order-2' }),
    ] as const;
    for (const event of events) await bus.publish(event);
    expect(bus.getPublishedEvents()).toEqual(events);
    expect(bus.isEventPublished('2')).toBe(true);
    expect(bus.isEventPublished('4')).toBe(false);
    expect(bus.getEventsByType('order.placed')).toEqual([events[0], events[2]]);
    expect(bus.getEventsByType('order.lost')).toEqual([]);
    expect(bus.getEventsByAggregateId('order-1')).toEqual([events[0], events[1]]);
    expect(bus.getEventsByAggregateId('order-9')).toEqual([]);
  });

  it('hands out copies of its list', async () => {
    await bus.publish(orderPlaced());
    bus.getPublishedEvents().length = 0;
    expect(bus.getPublishedEvents()).toHaveLength(1);
  });

  it('forgets events on clearEvents, and handlers too on disconnect', async () => {
    const handle = vi.fn(async () => {});
    await bus.subscribe('order.placed', { handle });
    await bus.publish(orderPlaced());
    bus.clearEvents();
    expect(bus.getPublishedEvents()).toEqual([]);
    await bus.publish(orderPlaced());
    expect(handle).toHaveBeenCalledTimes(2);
    await bus.disconnect();
    await bus.connect();
    expect(bus.getPublishedEvents()).toEqual([]);
    await bus.publish(orderPlaced());
    expect(handle).toHaveBeenCalledTimes(2);
  });
});
