import { BaseEventBus } from '../base/BaseEventBus';
import type { BaseEventPayload, IDomainEvent } from '../event';
import { type BusHealth, unconnected, WELL } from '../health';

/**
 * An event bus without Kafka, for unit tests: it delivers inside `publish`, hands on the very same
 * object, and remembers what was published.
 *
 * Handlers have been called by the time `publish` returns its promise, which settles when they have.
 * It keeps every event until {@link clearEvents} or {@link disconnect}.
 *
 * @example
 * ```ts
 * const bus = new InMemoryEventBus<OrderPlaced>();
 * await bus.connect();
 * await bus.subscribe('order.placed', { handle: async (event) => console.log(event.payload) });
 * await bus.publish(event);
 * bus.isEventPublished(event.eventId); // true
 * ```
 */
export class InMemoryEventBus<
  T extends BaseEventPayload = BaseEventPayload,
> extends BaseEventBus<T> {
  #events: IDomainEvent<T>[] = [];

  async connect(): Promise<void> {
    this.isConnected = true;
  }

  /** Forgets all events and handlers. */
  async disconnect(): Promise<void> {
    this.isConnected = false;
    this.#events = [];
    this.handlers.clear();
  }

  /**
   * Remembers the event and calls the handlers of its type.
   *
   * @throws {@link ClosedError} `Event bus is not connected`
   * @throws what a handler threw; an `AggregateError` when several did. The event counts as published.
   */
  async publish(event: IDomainEvent<T>): Promise<void> {
    this.assertConnected();
    this.#events.push(event);
    await this.notifyHandlers(event);
  }

  /** Live always, and ready between `connect()` and {@link disconnect}. */
  health(): BusHealth {
    return this.isConnected ? WELL : unconnected('the bus is not connected: call connect()');
  }

  /** All events since `connect()` or {@link clearEvents}, oldest first; a copy. */
  getPublishedEvents(): IDomainEvent<T>[] {
    return [...this.#events];
  }

  /** Forgets the events; handlers stay. */
  clearEvents(): void {
    this.#events = [];
  }

  isEventPublished(eventId: string): boolean {
    return this.#events.some((event) => event.eventId === eventId);
  }

  getEventsByType(eventType: string): IDomainEvent<T>[] {
    return this.#events.filter((event) => event.eventType === eventType);
  }

  getEventsByAggregateId(aggregateId: string): IDomainEvent<T>[] {
    return this.#events.filter((event) => event.aggregateId === aggregateId);
  }
}
