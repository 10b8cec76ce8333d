import vm from 'node:vm';
import { describe, expect, it } from 'vitest';
import { ArgumentError } from '../ts/error';
import { isPlainObject, isTopicName, nameValue, validateEvent } from '../ts/event';
import { DomainEvent, orderPlaced, thrownBy } from './support/events';

const withField = (field: string, value: unknown) => ({ ...orderPlaced(), [field]: value });
const without = (field: string) => {
  const event: Record<string, unknown> = { ...orderPlaced() };
  delete event[field];
  return event;
};

function refusal(event: unknown): ArgumentError {
  const error = thrownBy(() => validateEvent(event as never));
  expect(error).toBeInstanceOf(ArgumentError);
  return error as ArgumentError;
}

describe('validateEvent', () => {
  it('accepts a plain event, a class instance, and a date of another realm', () => {
    validateEvent(orderPlaced());
    validateEvent(new DomainEvent({}, orderPlaced()));
    validateEvent(withField('occurredOn', vm.runInNewContext('new Date(0)')) as never);
    validateEvent(orderPlaced({ eventType: 'a'.repeat(249), aggregateId: 'ключ-🔑', version: -3 }));
  });

  it.each([undefined, null, 'text', 7])('refuses %s in place of an event', (value) => {
    expect(refusal(value).message).toBe(`an event must be an object, got ${nameValue(value)}`);
  });

  const text = ['eventId', 'eventType', 'aggregateId'] as const;
  it.each(text)('refuses an event without %s', (field) => {
    const error = refusal(without(field));
    expect(error.message).toContain(`${field} of `);
    expect(error.message).toContain('must be a non-empty string, got undefined');
    expect(error.context).toMatchObject({ field });
    expect(error.hint).toBeTruthy();
    expect(error.outcome).toBe('not_sent');
    expect(refusal(withField(field, '')).message).toContain('got ""');
    expect(refusal(withField(field, 42)).message).toContain('got 42');
    expect(refusal(withField(field, 'a\ud800b')).message).toMatch(/well-formed text|legal/);
  });

  it.each([
    'order placed',
    'order/placed',
    'bestellung.ausgelöst',
    '.',
    '..',
    'a'.repeat(250),
    'order.placed\n',
  ])('refuses %j as an event type', (eventType) => {
    const error = refusal(withField('eventType', eventType));
    expect(error.message).toContain('must be a legal Kafka topic name');
    expect(error.context).toEqual({ field: 'eventType', eventId: orderPlaced().eventId });
  });

  it.each([
    [undefined, 'undefined'],
    [null, 'null'],
    ['2026-01-01T00:00:00.000Z', '"2026-01-01T00:00:00.000Z"'],
    [1_700_000_000_000, '1700000000000'],
    [new Date(Number.NaN), 'an invalid Date'],
    [Object.create(Date.prototype), 'an instance of Date'],
  ])('refuses occurredOn: case %#', (occurredOn, got) => {
    expect(refusal(withField('occurredOn', occurredOn)).message).toBe(
      `occurredOn of event "${orderPlaced().eventId}" must be a valid Date, got ${got}`,
    );
  });

  it.each([undefined, '1', 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1n])(
    'refuses %s as version',
    (version) => {
      expect(refusal(withField('version', version)).message).toContain('must be an integer, got ');
    },
  );

  it('never shows the content of an object', () => {
    const error = refusal(withField('aggregateId', { password: 'hunter2' }));
    expect(JSON.stringify({ ...error, message: error.message })).not.toContain('hunter2');
    expect(error.message).toContain('got an object');
  });
});

describe('isPlainObject', () => {
  it('asks how an object was made, not in which realm', () => {
    expect(isPlainObject({})).toBe(true);
    expect(isPlainObject(Object.create(null))).toBe(true);
    expect(isPlainObject(vm.runInNewContext('({})'))).toBe(true);
    expect(isPlainObject(structuredClone({ a: 1 }))).toBe(true);
    expect(isPlainObject(new DomainEvent({}, orderPlaced()))).toBe(false);
    expect(isPlainObject([])).toBe(false);
    expect(isPlainObject(new Date())).toBe(false);
    expect(isPlainObject(Object.create({ eventId: 'inherited' }))).toBe(false);
  });
});

describe('nameValue', () => {
  it('shows enough to recognise a value', () => {
    expect(nameValue('a'.repeat(61))).toBe(`"${'a'.repeat(60)}…"`);
    expect(nameValue(5n)).toBe('5n');
    expect(nameValue(() => 0)).toBe('a function');
    expect(nameValue([1])).toBe('an array');
    expect(nameValue(new Map())).toBe('an instance of Map');
    expect(nameValue(Object.create(null))).toBe('an object');
    expect(nameValue(Symbol('s'))).toBe('Symbol(s)');
  });
});

describe('isTopicName', () => {
  it('is what Kafka accepts', () => {
    expect(['a', 'A-z_0.9', '...', 'a'.repeat(249)].every(isTopicName)).toBe(true);
    expect(['', '.', '..', 'a b', 'ä', 'a'.repeat(250)].some(isTopicName)).toBe(false);
  });
});
