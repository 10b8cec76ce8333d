export type { BaseEventPayload, IDomainEvent, IEventBus, IEventHandler } from './event';
