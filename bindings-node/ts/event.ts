import { types } from 'node:util';
import type { HandlerContext } from './context';
import { ArgumentError } from './error';

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
   *
   * @param context - where the event comes from, which attempt this is, when to give up. A bus over Kafka always
   * gives it to functions that take it, see {@link KafkaEventHandler}
   */
  handle(event: IDomainEvent<T>, context?: HandlerContext): Promise<void>;
}

/** A handler as a bus over Kafka calls it. Every {@link IEventHandler} is one. */
export interface KafkaEventHandler<T extends BaseEventPayload = BaseEventPayload> {
  /**
   * As {@link IEventHandler.handle}.
   *
   * @param context - where the event comes from, which attempt this is, when to give up. Only functions that declare
   * exactly one parameter go without it
   */
  handle(event: IDomainEvent<T>, context: HandlerContext): Promise<void>;
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

const TOPIC_NAME = /^[A-Za-z0-9._-]{1,249}$/;
// With the u flag a pair is one character, so only a surrogate without its partner matches.
const LONE_SURROGATE = /\p{Surrogate}/u;
const { isWellFormed } = String.prototype as { isWellFormed?: (this: string) => boolean };
/**
 * Whether UTF-8 cannot hold the text. Node 20 and later have a method that looks at a flag of the string before it looks
 * at characters.
 *
 * @internal
 */
export const hasLoneSurrogate: (text: string) => boolean =
  isWellFormed === undefined
    ? (text) => LONE_SURROGATE.test(text)
    : (text) => !isWellFormed.call(text);

/**
 * Whether Kafka accepts it as a topic name: 1 to 249 of `A-Z a-z 0-9 . _ -`, but not `.` or `..`.
 *
 * @internal
 */
export function isTopicName(name: string): boolean {
  if (name === lastTopicName) return true;
  if (!TOPIC_NAME.test(name) || name === '.' || name === '..') return false;
  lastTopicName = name;
  return true;
}

/** Most events have the type of the one before. */
let lastTopicName = '';

/**
 * Whether an object was written as a literal (or parsed, or cloned), rather than made by a class.
 * Realms do not matter: an object of a `vm` context or of another test environment is plain too.
 *
 * @internal
 */
export function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return (
    prototype === Object.prototype ||
    prototype === null ||
    (Object.getPrototypeOf(prototype) === null && !Array.isArray(value))
  );
}

/**
 * Refuses what cannot be published, before anything is sent. The payload is judged when it is
 * written, by `serializeEvent`.
 *
 * @throws {@link ArgumentError} naming the field, what it holds and what it must hold
 * @internal
 */
export function validateEvent(event: IDomainEvent): void {
  if (typeof event !== 'object' || event === null) {
    throw new ArgumentError(`an event must be an object, got ${nameValue(event)}`);
  }
  const { eventId, eventType, aggregateId, occurredOn, version } = event;
  requireText(
    event,
    'eventId',
    eventId,
    'give every event an id of its own, e.g. crypto.randomUUID()',
  );
  requireText(
    event,
    'eventType',
    eventType,
    'name the event, e.g. "order.placed"; it is the Kafka topic',
  );
  requireText(
    event,
    'aggregateId',
    aggregateId,
    'it is the record key that keeps the order per aggregate',
  );
  if (!isTopicName(eventType)) {
    throw invalidField(
      event,
      'eventType',
      'a legal Kafka topic name',
      eventType,
      'use 1 to 249 of the characters A-Z a-z 0-9 . _ - and not "." or ".."',
    );
  }
  if (!types.isDate(occurredOn) || Number.isNaN(occurredOn.getTime())) {
    throw invalidField(
      event,
      'occurredOn',
      'a valid Date',
      occurredOn,
      'pass a Date, e.g. new Date()',
    );
  }
  if (!Number.isSafeInteger(version)) {
    throw invalidField(
      event,
      'version',
      'an integer',
      version,
      'pass the version of the aggregate, e.g. 1',
    );
  }
}

type Field = 'eventId' | 'eventType' | 'aggregateId' | 'occurredOn' | 'version';

function requireText(event: IDomainEvent, field: Field, value: unknown, hint: string): void {
  if (typeof value !== 'string' || value === '') {
    throw invalidField(event, field, 'a non-empty string', value, hint);
  }
  if (hasLoneSurrogate(value)) {
    const reason =
      'UTF-8 has no form for a surrogate without its partner; do not cut strings inside a character';
    throw invalidField(event, field, 'well-formed text', value, reason);
  }
}

function invalidField(
  event: IDomainEvent,
  field: Field,
  wanted: string,
  value: unknown,
  hint: string,
): ArgumentError {
  const context: Record<string, string> = { field };
  for (const name of ['eventId', 'eventType'] as const) {
    if (name !== field && typeof event[name] === 'string') context[name] = event[name];
  }
  const which = context['eventId'] ? ` of event ${nameValue(context['eventId'])}` : ' of the event';
  const message = `${field}${which} must be ${wanted}, got ${nameValue(value)}`;
  return new ArgumentError(message, { hint, context, outcome: 'not_sent' });
}

/**
 * A value as an error message shows it: enough to recognise it, never an object's content.
 *
 * @internal
 */
export function nameValue(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
    case 'bigint':
      return `${value}n`;
    case 'function':
      return 'a function';
    case 'object': {
      if (value === null) return 'null';
      if (types.isDate(value)) return 'an invalid Date';
      if (Array.isArray(value)) return 'an array';
      const maker: unknown = (value as { constructor?: unknown }).constructor;
      const name = typeof maker === 'function' ? maker.name : '';
      return name === '' || name === 'Object' ? 'an object' : `an instance of ${name}`;
    }
    default:
      return String(value);
  }
}
