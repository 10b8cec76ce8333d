/** What every payload carries. */
export interface BaseEventPayload {
  eventType: string;
  timestamp: Date;
}

/**
 * A domain event. Structural on purpose: the `DomainEvent` class of a domain library and a plain
 * object satisfy it alike.
 *
 * @typeParam T - the payload
 */
export interface IDomainEvent<T extends BaseEventPayload = BaseEventPayload> {
  /** Unique for ever; what consumers recognise a second delivery by. Not empty. */
  readonly eventId: string;
  /** The name of the Kafka topic: 1 to 249 of `A-Z a-z 0-9 . _ -`. */
  readonly eventType: string;
  /** When it happened, to the millisecond. */
  readonly occurredOn: Date;
  /** The key: events of one aggregate and one type are delivered in order. Not empty. */
  readonly aggregateId: string;
  /** An integer. */
  readonly version: number;
  readonly payload: T;
}

/** Handles the events that it is subscribed to. */
export interface IEventHandler<T extends BaseEventPayload = BaseEventPayload> {
  /**
   * Called on the JavaScript thread of the bus. The event is finished when the promise resolves; a
   * rejection is a failed attempt.
   */
  handle(event: IDomainEvent<T>): Promise<void>;
}

/** Publishes events and hands them to subscribed handlers. */
export interface IEventBus<T extends BaseEventPayload = BaseEventPayload> {
  /** Resolves when the event is stored. */
  publish(event: IDomainEvent<T>): Promise<void>;
  /** Adds a handler for an event type; adding it twice is the same as once. */
  subscribe(eventType: string, handler: IEventHandler<T>): Promise<void>;
  /** Removes a handler; removing one that is not subscribed does nothing. */
  unsubscribe(eventType: string, handler: IEventHandler<T>): Promise<void>;
}
