export { BaseEventBus } from './base/BaseEventBus';
export { createInMemoryEventBus } from './EventBusFactory';
export {
  ArgumentError,
  ClosedError,
  CodecError,
  ConfigError,
  ERROR_TABLE,
  type ErrorCode,
  type ErrorDetails,
  type ErrorKind,
  EventBusError,
  FatalError,
  HandlerError,
  type KindedDetails,
  PublishError,
  type PublishOutcome,
  TimeoutError,
} from './error';
export type { BaseEventPayload, IDomainEvent, IEventBus, IEventHandler } from './event';
export { InMemoryEventBus } from './in-memory/InMemoryEventBus';
export {
  type EventSchema,
  type EventValidationError,
  ZodEventValidator,
} from './validation/ZodEventValidator';
