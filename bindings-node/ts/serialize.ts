import { CodecError } from './error';
import { type BaseEventPayload, type IDomainEvent, isPlainObject, nameValue } from './event';
import { isOrdinaryDate, isoOf } from './iso';
import { type MemberTexts, memberTexts } from './members';

/**
 * What the core gets of the record value. The other members of an event it has anyway, and putting them together in
 * JavaScript takes as long as all the rest; the number is the flag of the frame.
 *
 * @internal
 */
export const RECORD = 0;
/**
 * The JSON of the event's payload.
 *
 * @internal
 */
export const PAYLOAD = 2;
/**
 * Names and values of the payload's members, of which the core makes JSON.
 *
 * @internal
 */
export const MEMBERS = 4;
/** @internal */
export type ValueForm = typeof RECORD | typeof PAYLOAD | typeof MEMBERS;

/**
 * An event as it goes on the wire, format `compat`.
 *
 * @internal
 */
export interface SerializedEvent {
  /** The record key: the aggregate's id. */
  readonly key: string;
  /** What `form` says. */
  readonly value: string;
  readonly form: ValueForm;
  /** Of a value of that form; until the next event is serialized. */
  readonly members: MemberTexts | undefined;
  /** Header `eventId`. */
  readonly eventId: string;
  /** Header `version`, decimal. */
  readonly version: string;
  /** Header `timestamp`: `occurredOn` in ISO 8601. */
  readonly timestamp: string;
}

// Dates that JSON.stringify would write in the built-in way are replaced beforehand, in copies of the event and of its
// payload. Everything else is left to JSON.stringify itself, so the bytes are its bytes.

const { getTime } = Date.prototype;

type Members = Record<string, unknown>;

const FIELDS = ['eventId', 'eventType', 'occurredOn', 'aggregateId', 'version', 'payload'] as const;

function replaceDates(copy: Members, from: Members): void {
  for (const name in from) {
    const member = from[name];
    if (typeof member === 'object' && member !== null && isOrdinaryDate(member)) {
      if (Object.hasOwn(copy, name)) copy[name] = isoOf(member);
    }
  }
}

function hasDate(members: Members): boolean {
  for (const name in members) {
    const member = members[name];
    if (typeof member === 'object' && member !== null && isOrdinaryDate(member)) return true;
  }
  return false;
}

/** A payload with its dates replaced; the payload itself where it has none or is no ordinary object. */
function payloadToWrite(payload: unknown): unknown {
  if (typeof payload !== 'object' || payload === null) return payload;
  // An object without prototype may be a JSON.rawJSON, whose copy would not be one.
  if (Object.getPrototypeOf(payload) !== Object.prototype) return payload;
  if (typeof (payload as { toJSON?: unknown }).toJSON === 'function') return payload;
  if (!hasDate(payload as Members)) return payload;
  const copy: Members = { ...payload };
  replaceDates(copy, copy);
  return copy;
}

function hasFieldsInOrder(event: IDomainEvent): boolean {
  let count = 0;
  for (const name in event) {
    if (name !== FIELDS[count]) return false;
    count += 1;
  }
  return count === FIELDS.length;
}

/** Whether the event's JSON is certain to be its six fields in their order around the payload's. */
function isItsFields(event: IDomainEvent): boolean {
  if (typeof (event as { toJSON?: unknown }).toJSON === 'function') return false;
  if (isPlainObject(event) && !hasFieldsInOrder(event)) return false;
  if (!isOrdinaryDate(event.occurredOn)) return false;
  // Its toJSON is told the name of the member, which nobody tells it here.
  return typeof (event.payload as { toJSON?: unknown } | null | undefined)?.toJSON !== 'function';
}

function stringify(event: IDomainEvent): string {
  // JSON.stringify calls toJSON with the event itself, so it must not get a copy.
  if (typeof (event as { toJSON?: unknown }).toJSON === 'function') return JSON.stringify(event);
  let copy: Members;
  if (isPlainObject(event)) {
    copy = { ...event };
  } else {
    // A class keeps its fields behind getters and carries services: only the event is written.
    const { eventId, eventType, occurredOn, aggregateId, version, payload } = event;
    copy = { eventId, eventType, occurredOn, aggregateId, version, payload };
  }
  replaceDates(copy, copy);
  if (Object.hasOwn(copy, 'payload')) copy['payload'] = payloadToWrite(copy['payload']);
  return JSON.stringify(copy);
}

/**
 * Writes an event that `validateEvent` accepted.
 *
 * A plain object is written whole, with the bytes of `JSON.stringify(event)`. Of a class instance the
 * six fields of {@link IDomainEvent} are written, in the order in which they are declared there,
 * unless it has a `toJSON`, which then decides.
 *
 * @throws {@link CodecError} when JSON cannot hold it: a BigInt, a cycle, a getter or `toJSON` that throws
 * @internal
 */
export function serializeEvent(event: IDomainEvent): SerializedEvent {
  const { aggregateId, eventId, occurredOn, version } = event;
  let form: ValueForm = RECORD;
  let members: MemberTexts | undefined;
  let value: string | undefined;
  try {
    if (isItsFields(event)) {
      const { payload } = event;
      members = memberTexts(payload);
      form = members === undefined ? PAYLOAD : MEMBERS;
      value = members === undefined ? JSON.stringify(payloadToWrite(payload)) : members.texts;
    }
    if (value === undefined) {
      form = RECORD;
      value = stringify(event);
    }
  } catch (cause) {
    throw unwritable(event, cause instanceof Error ? cause.message : nameValue(cause), cause);
  }
  if (value === undefined)
    throw unwritable(event, 'its toJSON() returned nothing that JSON can hold');
  return {
    key: aggregateId,
    value,
    form,
    members,
    eventId,
    version: String(version),
    timestamp: isoOf(occurredOn) as string,
  };
}

/**
 * The value of the event's record, as the core writes it.
 *
 * @internal
 */
export function recordValue(event: SerializedEvent, eventType: string): string {
  const { key, value, form, members, eventId, version, timestamp } = event;
  if (form === RECORD) return value;
  const payload = members?.toJson() ?? value;
  const [id, type, aggregateId] = [eventId, eventType, key].map((text) => JSON.stringify(text));
  return `{"eventId":${id},"eventType":${type},"occurredOn":"${timestamp}","aggregateId":${aggregateId},"version":${version},"payload":${payload}}`;
}

const NAMES_AND_MARKS =
  '{"eventId":"","eventType":"","occurredOn":"","aggregateId":"","version":,"payload":}';

/**
 * How many code units the value of the event's record has at least: without escapes.
 *
 * @internal
 */
export function recordLength(event: SerializedEvent, eventType: string): number {
  const { key, value, form, members, eventId, version, timestamp } = event;
  if (form === RECORD) return value.length;
  const texts = key.length + eventId.length + eventType.length + version.length + timestamp.length;
  return NAMES_AND_MARKS.length + texts + value.length + (members?.marks ?? 0);
}

function unwritable(
  { eventId, eventType }: IDomainEvent,
  reason: string,
  cause?: unknown,
): CodecError {
  // The engine's text draws the whole path of a cycle; its first line says what it is.
  const [why] = reason.split('\n');
  return new CodecError(`event ${nameValue(eventId)} cannot be written as JSON: ${why}`, {
    topic: eventType,
    outcome: 'not_sent',
    context: { eventId, eventType },
    hint: 'keep the payload to what JSON holds: no BigInt (use a string), no reference back to itself',
    cause,
  });
}

const ISO_DATE = /^[+-]?\d{4,6}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/;

function dateOf(value: unknown): Date | undefined {
  if (typeof value !== 'string' || !ISO_DATE.test(value)) return undefined;
  const date = new Date(value);
  return Number.isNaN(getTime.call(date)) ? undefined : date;
}

/** The form that `JSON.stringify` gave to instances of the `DomainEvent` class, whose fields it did not see. */
interface InstanceShape {
  readonly _props: Members;
  readonly cryptoService?: unknown;
}

function isInstanceShape(value: Members): value is Members & InstanceShape {
  const { _props: props } = value;
  if (typeof props !== 'object' || props === null) return false;
  // A plain event may well have a field of that name beside its own fields.
  return FIELDS.some((field) => value[field] === undefined);
}

function fromInstanceShape({ _props, cryptoService, ...own }: Members & InstanceShape): Members {
  const event: Members = {};
  for (const field of FIELDS) event[field] = own[field] ?? _props[field];
  return { ...own, ...event };
}

/**
 * Makes an event of parsed JSON: `occurredOn` and `payload.timestamp` become dates, nothing else is
 * changed. Fields beyond those of {@link IDomainEvent} are kept. Instances of the `DomainEvent` class
 * as `JSON.stringify` wrote them, with their fields below `_props`, are read as well; `_props` and
 * `cryptoService` are not handed on.
 *
 * The parsed object itself is completed and returned where its form allows it.
 *
 * @param parsed - what `JSON.parse` returned
 * @param occurredOnMs - `occurredOn` in milliseconds, where it has been parsed already, or what stands in for it
 * @throws {@link CodecError} when it is not an event
 * @internal
 */
export function reviveEvent<T extends BaseEventPayload = BaseEventPayload>(
  parsed: unknown,
  occurredOnMs?: number,
): IDomainEvent<T> {
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw unreadable(`it is ${nameValue(parsed)}`);
  }
  let event = parsed as Members;
  if (isInstanceShape(event)) event = fromInstanceShape(event);
  // Named one by one: a loop over names would read every field in the slow way.
  const { eventId, eventType, aggregateId, version } = event;
  if (typeof eventId !== 'string') throw notText('eventId', eventId);
  if (typeof eventType !== 'string') throw notText('eventType', eventType);
  if (typeof aggregateId !== 'string') throw notText('aggregateId', aggregateId);
  if (!Number.isSafeInteger(version)) event['version'] = lenientVersion(version);
  const { occurredOn: text, payload } = event;
  const occurredOn = occurredOnMs === undefined ? dateOf(text) : new Date(occurredOnMs);
  if (occurredOn === undefined) {
    throw unreadable(`occurredOn is ${nameValue(text)} instead of an ISO 8601 date`);
  }
  event['occurredOn'] = occurredOn;
  if (typeof payload === 'object' && payload !== null) {
    const members = payload as Members;
    const { timestamp } = members;
    // Most events carry one time twice, and parsing it is the dear part of reviving.
    const same = typeof timestamp === 'string' && timestamp === text;
    const date = same ? new Date(getTime.call(occurredOn)) : dateOf(timestamp);
    if (date !== undefined) members['timestamp'] = date;
  }
  return event as unknown as IDomainEvent<T>;
}

/** A version as the core reads it: 1 where it is missing, an integer in a text. */
function lenientVersion(version: unknown): number {
  if (version === undefined) return 1;
  if (typeof version === 'string' && /^[+-]?\d+$/.test(version)) return Number(version);
  if (Number.isInteger(version)) return version as number;
  throw unreadable(`version is ${nameValue(version)} instead of an integer`);
}

function notText(field: string, value: unknown): CodecError {
  return unreadable(`${field} is ${nameValue(value)} instead of a string`);
}

function unreadable(reason: string): CodecError {
  return new CodecError(`the record holds no event: ${reason}`, {
    hint: 'find out who writes to this topic; an event is a JSON object with eventId, eventType, occurredOn, aggregateId, version and payload',
  });
}
