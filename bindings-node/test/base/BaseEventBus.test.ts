import { describe, expect, it, vi } from 'vitest';
import { BaseEventBus } from '../../ts/base/BaseEventBus';
import { ArgumentError, ClosedError } from '../../ts/error';
import type { IDomainEvent, IEventHandler } from '../../ts/event';
import { type OrderPlaced, orderPlaced } from '../support/events';

/** Makes public what a subclass may make public. */
class OpenBus extends BaseEventBus<OrderPlaced> {
  override get isConnected(): boolean {
    return super.isConnected;
  }

  override set isConnected(connected: boolean) {
    super.isConnected = connected;
  }

  override get handlers(): Map<string, Set<IEventHandler<OrderPlaced>>> {
    return super.handlers;
  }

  override getHandlers(eventType: string) {
    return super.getHandlers(eventType);
  }

  override notifyHandlers(event: IDomainEvent<OrderPlaced>) {
    return super.notifyHandlers(event);
  }

  async connect() {
    this.isConnected = true;
  }

  async disconnect() {
    this.isConnected = false;
  }

  async publish(event: IDomainEvent<OrderPlaced>) {
    this.assertConnected();
    await this.notifyHandlers(event);
  }
}

const handler = (handle: IEventHandler<OrderPlaced>['handle'] = async () => {}) => ({
  handle: vi.fn(handle),
});
const failing = (error: unknown) =>
  handler(async () => {
    throw error;
  });

describe('BaseEventBus', () => {
  it('is not connected at first and refuses to publish with the message callers know', async () => {
    const bus = new OpenBus();
    expect(bus.isConnected).toBe(false);
    const rejection = bus.publish(orderPlaced());
    await expect(rejection).rejects.toThrow(/^Event bus is not connected$/);
    await expect(rejection).rejects.toBeInstanceOf(ClosedError);
    await expect(rejection).rejects.toMatchObject({ code: 'EVBUS_CLOSED', outcome: 'not_sent' });
  });

  it('disconnects at the end of its scope', async () => {
    const bus = new OpenBus();
    await bus.connect();
    await bus[Symbol.asyncDispose]();
    expect(bus.isConnected).toBe(false);
  });

  it('keeps each handler once per type, and no type without handlers', async () => {
    const bus = new OpenBus();
    const [first, second] = [handler(), handler()];
    await bus.subscribe('order.placed', first);
    await bus.subscribe('order.placed', first);
    await bus.subscribe('order.placed', second);
    expect(bus.handlers).toEqual(new Map([['order.placed', new Set([first, second])]]));
    expect(bus.getHandlers('order.placed')).toEqual([first, second]);
    expect(bus.getHandlers('unknown')).toEqual([]);
    await bus.unsubscribe('order.placed', first);
    await bus.unsubscribe('order.placed', handler());
    await bus.unsubscribe('unknown', first);
    expect(bus.getHandlers('order.placed')).toEqual([second]);
    await bus.unsubscribe('order.placed', second);
    expect(bus.handlers.size).toBe(0);
  });

  it.each([undefined, '', 'a b', '.', 7])('refuses %j as an event type', async (eventType) => {
    const rejection = new OpenBus().subscribe(eventType as string, handler());
    await expect(rejection).rejects.toBeInstanceOf(ArgumentError);
    await expect(rejection).rejects.toThrow('cannot subscribe to event type');
  });

  it.each([undefined, null, {}, { handle: 'text' }])('refuses the handler %j', async (value) => {
    const rejection = new OpenBus().subscribe('order.placed', value as never);
    await expect(rejection).rejects.toBeInstanceOf(ArgumentError);
    await expect(rejection).rejects.toThrow('handler for event type "order.placed" has no method');
  });
});

describe('notifyHandlers', () => {
  it('calls all handlers of the type at once, with the event itself', () => {
    const bus = new OpenBus();
    const [first, second, other] = [handler(), handler(), handler()];
    void bus.subscribe('order.placed', first);
    void bus.subscribe('order.placed', second);
    void bus.subscribe('order.paid', other);
    const event = orderPlaced();
    void bus.notifyHandlers(event);
    expect(first.handle.mock.calls[0]?.[0]).toBe(event);
    expect(second.handle.mock.calls[0]?.[0]).toBe(event);
    expect(other.handle).not.toHaveBeenCalled();
  });

  it('waits for all and throws the very error of the one that failed', async () => {
    const bus = new OpenBus();
    const error = new RangeError('no stock');
    let finished = false;
    await bus.subscribe('order.placed', failing(error));
    await bus.subscribe(
      'order.placed',
      handler(async () => {
        await new Promise(setImmediate);
        finished = true;
      }),
    );
    await expect(bus.notifyHandlers(orderPlaced())).rejects.toBe(error);
    expect(finished).toBe(true);
  });

  it('hides no failure when several fail', async () => {
    const bus = new OpenBus();
    const errors = [new Error('no stock'), 'no reason', new Error('no money')];
    for (const error of errors) await bus.subscribe('order.placed', failing(error));
    const rejection = bus.notifyHandlers(orderPlaced());
    await expect(rejection).rejects.toBeInstanceOf(AggregateError);
    await expect(rejection).rejects.toMatchObject({ errors });
    await expect(rejection).rejects.toThrow('no stock (and 2 more handlers failed)');
  });

  it('treats a handler that throws at once as one that rejects', async () => {
    const bus = new OpenBus();
    const late = handler();
    const error = new Error('at once');
    await bus.subscribe(
      'order.placed',
      handler(() => {
        throw error;
      }),
    );
    await bus.subscribe('order.placed', late);
    await expect(bus.notifyHandlers(orderPlaced())).rejects.toBe(error);
    expect(late.handle).toHaveBeenCalledTimes(1);
  });

  it('is not confused by handlers that come and go meanwhile', async () => {
    const bus = new OpenBus();
    const late = handler();
    const once = handler(async () => {
      await bus.unsubscribe('order.placed', once);
      await bus.subscribe('order.placed', late);
    });
    await bus.subscribe('order.placed', once);
    await bus.notifyHandlers(orderPlaced());
    expect(late.handle).not.toHaveBeenCalled();
    await bus.notifyHandlers(orderPlaced());
    expect(once.handle).toHaveBeenCalledTimes(1);
    expect(late.handle).toHaveBeenCalledTimes(1);
  });
});
