export { AbortError, type AbortSignalLike } from './abort';
export { BaseEventBus } from './base/BaseEventBus';
export type { KafkaConfig, Pem, SaslConfig, SslConfig } from './config';
export type { EventHeaders, HandlerContext } from './context';
export {
  DEAD_LETTER_HEADERS,
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterReason,
  type DeadLetterRecord,
  DeadLetters,
  type ListOptions,
  type ReplayOptions,
  type ReplayReport,
  type SkippedLetter,
} from './dead-letters';
export { createInMemoryEventBus, createKafkaEventBus } from './EventBusFactory';
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
export type {
  BaseEventPayload,
  IDomainEvent,
  IEventBus,
  IEventHandler,
  KafkaEventHandler,
} from './event';
export {
  type FailureOptions,
  FatalHandlerError,
  type IsRetryable,
  RetryableError,
} from './failure';
export type {
  BusHealth,
  HaltedPartition,
  HealthCode,
  HealthReason,
  StalledPartition,
} from './health';
export { InMemoryEventBus } from './in-memory/InMemoryEventBus';
export { type ConnectOptions, type DisconnectOptions, KafkaEventBus } from './kafka/KafkaEventBus';
export type {
  ErrorContext,
  LogFields,
  Logger,
  LogLevel,
  OnError,
  StructuredLogger,
  TextLogger,
} from './logger';
export type {
  BusMetrics,
  ConsumeMetrics,
  DisconnectReport,
  Histogram,
  PartitionLag,
  PublishMetrics,
} from './metrics';
export type { DeliveryPolicy, RetryOptions, StartFrom, SubscribeOptions } from './policy';
export type { PublishOptions } from './publish';
export { type PublishFailure, PublishManyError } from './refusal';
export type { SeekTo } from './seek';
export {
  type EventSchema,
  type EventValidationError,
  ZodEventValidator,
} from './validation/ZodEventValidator';
