import vm from 'node:vm';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { CodecError } from '../ts/error';
import type { IDomainEvent } from '../ts/event';
import { MEMBERS, recordLength, recordValue, reviveEvent, serializeEvent } from '../ts/serialize';
import { DomainEvent, type OrderPlaced, orderPlaced, thrownBy } from './support/events';

const asEvent = (value: unknown) => value as IDomainEvent;
const written = (value: unknown) =>
  recordValue(serializeEvent(asEvent(value)), asEvent(value).eventType);
const withPayload = (payload: unknown) => ({ ...orderPlaced(), payload });

describe('serializeEvent', () => {
  it('gives key, value and headers of the wire format', () => {
    const serialized = serializeEvent(orderPlaced({ version: 12 }));
    const payload =
      '{"eventType":"order.placed","timestamp":"2026-01-02T03:04:05.678Z",' +
      '"orderId":"order-1","amount":129.95}';
    const value =
      '{"eventId":"5f2c1c2e-8a3b-4c7e-9d51-0b1c2d3e4f50","eventType":"order.placed",' +
      `"occurredOn":"2026-01-02T03:04:05.678Z","aggregateId":"order-1","version":12,"payload":${payload}}`;
    expect(recordValue(serialized, 'order.placed')).toBe(value);
    expect(recordLength(serialized, 'order.placed')).toBe(value.length);
    expect(serialized).toEqual({
      key: 'order-1',
      value: 'eventTypeorder.placedtimestamp"2026-01-02T03:04:05.678Z"orderIdorder-1amount129.95',
      form: MEMBERS,
      members: expect.objectContaining({ count: 8 }),
      eventId: '5f2c1c2e-8a3b-4c7e-9d51-0b1c2d3e4f50',
      version: '12',
      timestamp: '2026-01-02T03:04:05.678Z',
    });
  });

  it('writes the six fields of a class instance in their order, and no service', () => {
    const event = orderPlaced();
    const instance = new DomainEvent({ secret: 'key' }, event);
    const { eventId, eventType, occurredOn, aggregateId, version, payload } = event;
    expect(written(instance)).toBe(
      JSON.stringify({ eventId, eventType, occurredOn, aggregateId, version, payload }),
    );
  });

  it('lets toJSON decide, and calls it on the event itself', () => {
    class Versioned extends DomainEvent<OrderPlaced> {
      toJSON() {
        return { schema: 2, id: this.eventId, own: this instanceof Versioned };
      }
    }
    const serialized = serializeEvent(new Versioned({}, orderPlaced()));
    expect(serialized.value).toBe(`{"schema":2,"id":"${orderPlaced().eventId}","own":true}`);
    expect(serialized.key).toBe('order-1');
    const plain = { ...orderPlaced(), toJSON: () => ({ a: 1 }) };
    expect(written(plain)).toBe(JSON.stringify(plain));
  });

  it('leaves the event untouched', () => {
    const event = orderPlaced();
    const { payload } = event;
    written(event);
    expect(event.occurredOn).toBeInstanceOf(Date);
    expect(event.payload).toBe(payload);
    expect(payload.timestamp).toBeInstanceOf(Date);
  });

  it('tells times apart that share a place in the cache', () => {
    const start = Date.parse('2026-01-02T03:04:05.000Z');
    for (const time of [0, 16, 32, 2 ** 32, 0, -16, -1, 8.64e15, -8.64e15].map((t) => start + t)) {
      const date = new Date(time > 8.64e15 || time < -8.64e15 ? time - start : time);
      expect(serializeEvent(orderPlaced({ occurredOn: date })).timestamp).toBe(date.toISOString());
    }
  });

  describe('with the bytes of JSON.stringify', () => {
    const someDate = () => new Date('2026-05-06T07:08:09.010Z');
    const cases: Record<string, () => object> = {
      'another order of fields': () => {
        const { payload, ...rest } = orderPlaced();
        return { payload, ...rest };
      },
      'extra fields': () => ({
        metadata: { a: [1] },
        ...orderPlaced(),
        tenant: 't',
        at: someDate(),
      }),
      'integer-like keys': () => ({ ...orderPlaced(), 7: 'seven', 1: 'one' }),
      'symbol keys': () => ({ ...orderPlaced(), [Symbol('s')]: someDate() }),
      'a key named __proto__': () => ({
        ...orderPlaced(),
        ...JSON.parse('{"__proto__":{"a":1},"payload":{"__proto__":1,"at":null}}'),
      }),
      getters: () => ({
        ...orderPlaced(),
        get derived() {
          return someDate();
        },
        get payload() {
          return { timestamp: someDate() };
        },
      }),
      'fields that are not enumerable': () =>
        Object.defineProperty(orderPlaced(), 'hidden', { value: someDate(), enumerable: false }),
      'no prototype': () => Object.assign(Object.create(null), orderPlaced()),
      'an array as payload': () => withPayload([someDate(), undefined, () => 0, Number.NaN]),
      'null as payload': () => withPayload(null),
      'undefined as payload': () => withPayload(undefined),
      'a function as payload': () => withPayload(() => 0),
      'a string as payload': () => withPayload('text'),
      'a date as payload': () => withPayload(someDate()),
      'a map as payload': () => withPayload(new Map([['a', 1]])),
      'an invalid date': () => withPayload({ at: new Date(Number.NaN) }),
      'dates below the payload': () => withPayload({ a: { b: [someDate(), { c: someDate() }] } }),
      'a payload without prototype': () =>
        withPayload(Object.assign(Object.create(null), { at: someDate() })),
      'a payload of a class': () =>
        withPayload(
          new (class {
            at = someDate();
            #secret = 1;
            get getter() {
              return this.#secret;
            }
          })(),
        ),
      'toJSON of the payload, with its key': () =>
        withPayload({ at: someDate(), toJSON: (key: string) => ({ key }) }),
      'toJSON of the payload, which reads its dates': () =>
        withPayload({
          at: someDate(),
          toJSON(this: { at: Date }) {
            return this.at.getTime();
          },
        }),
      'toJSON below, with its key': () => withPayload({ deep: { toJSON: (key: string) => key } }),
      'toJSON of a date': () =>
        withPayload({ at: Object.assign(someDate(), { toJSON: () => 'patched' }) }),
      'toISOString of a date': () =>
        withPayload({ at: Object.assign(someDate(), { toISOString: () => 'patched' }) }),
      'valueOf of a date': () =>
        withPayload({ at: Object.assign(someDate(), { valueOf: () => Number.NaN }) }),
      'a date class of its own': () =>
        withPayload({
          at: new (class extends Date {
            override toISOString() {
              return 'mine';
            }
          })(0),
        }),
      'a date of another realm': () => withPayload({ at: vm.runInNewContext('new Date(5)') }),
      'boxed values': () => withPayload({ s: new String('s'), n: new Number(1), b: Object(false) }),
      'an inherited payload field': () => withPayload(Object.create({ at: someDate() })),
    };

    it.each(Object.entries(cases))('%s', (_name, make) => {
      expect(written(make())).toBe(JSON.stringify(make()));
    });

    it('a date that every object inherits', () => {
      Object.defineProperty(Object.prototype, 'inherited', {
        value: someDate(),
        enumerable: true,
        configurable: true,
        writable: true,
      });
      try {
        expect(written(orderPlaced())).toBe(JSON.stringify(orderPlaced()));
      } finally {
        Reflect.deleteProperty(Object.prototype, 'inherited');
      }
    });

    it('JSON.rawJSON, where the engine has it', () => {
      const { rawJSON } = JSON as { rawJSON?: (text: string) => object };
      const payload = rawJSON?.('12345678901234567890') ?? 'not in this engine';
      expect(written(withPayload(payload))).toBe(JSON.stringify(withPayload(payload)));
    });

    it('any event', () => {
      const date = fc.date({ noInvalidDate: false });
      const text = fc.oneof(
        fc.string({ unit: 'binary' }),
        // Every UTF-16 code unit, lone surrogates included.
        fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
        fc.constantFrom('"', '\\', '\u2028', '\u007f', '\u0000', '\ud800', '\udc00\ud800', '🔑'),
      );
      const value = fc.oneof(
        text,
        date,
        fc.double(),
        fc.constantFrom(undefined, null, true, Number.NaN, -0, Number.POSITIVE_INFINITY, 1e21),
        fc.constantFrom(() => 0, Symbol('s')),
        fc.record({ toJSON: fc.constantFrom((key: string) => `<${key}>`, 'no function') }),
        fc.anything({ withDate: true, withNullPrototype: true, withBigInt: false, key: text }),
      );
      const payload = fc.oneof(fc.dictionary(text, value), value);
      const event = fc
        .tuple(
          fc.record({ eventId: text, eventType: text, aggregateId: text, version: fc.integer() }),
          date,
          payload,
          fc.dictionary(text, value),
          fc.boolean(),
        )
        .map(([fields, occurredOn, content, extra, front]) =>
          front
            ? { ...extra, payload: content, occurredOn, ...fields }
            : { ...fields, occurredOn, payload: content, ...extra },
        )
        .filter((made) => typeof (made as { toJSON?: unknown }).toJSON !== 'function');
      fc.assert(
        fc.property(event, (made) => {
          expect(written(made)).toBe(JSON.stringify(made));
        }),
        { numRuns: 500 },
      );
    });
  });

  describe('after Date.prototype has been patched', () => {
    afterEach(() => {
      vi.restoreAllMocks();
      vi.resetModules();
    });

    it('follows a patch made later', () => {
      const before = written(orderPlaced());
      vi.spyOn(Date.prototype, 'toJSON').mockReturnValue('patched');
      expect(written(orderPlaced())).toBe(JSON.stringify(orderPlaced()));
      expect(written(orderPlaced())).not.toBe(before);
    });

    it('follows a patch made before the import', async () => {
      vi.spyOn(Date.prototype, 'toJSON').mockReturnValue('patched');
      vi.resetModules();
      const copy = await import('../ts/serialize');
      expect(copy.serializeEvent(orderPlaced()).value).toContain('"occurredOn":"patched"');
    });
  });

  describe('refuses', () => {
    const cycle: Record<string, unknown> = { a: {} };
    cycle['a'] = { back: cycle };
    const self: Record<string, unknown> = { ...orderPlaced() };
    self['self'] = self;

    it.each([
      ['a BigInt', withPayload({ total: 1n }), /BigInt/],
      ['a BigInt as payload', withPayload(1n), /BigInt/],
      ['a cycle in the payload', withPayload(cycle), /circular/i],
      ['an event that holds itself', self, /circular/i],
      [
        'a getter that throws',
        withPayload({
          get bad() {
            throw new Error('no value');
          },
        }),
        /no value/,
      ],
      [
        'a toJSON that throws no error',
        {
          ...orderPlaced(),
          toJSON() {
            throw 'a string';
          },
        },
        /"a string"/,
      ],
      ['a toJSON that returns nothing', { ...orderPlaced(), toJSON: () => undefined }, /toJSON/],
    ])('%s', (_name, event, reason) => {
      const error = thrownBy(() => written(event)) as CodecError;
      expect(error).toBeInstanceOf(CodecError);
      expect(error.message).toMatch(reason);
      expect(error.message).toContain(orderPlaced().eventId);
      expect(error.message).not.toContain('\n');
      expect(error).toMatchObject({
        code: 'EVBUS_CODEC',
        outcome: 'not_sent',
        topic: 'order.placed',
      });
      expect(error.hint).toBeTruthy();
    });
  });
});

describe('reviveEvent', () => {
  const parse = (event: unknown): unknown => JSON.parse(JSON.stringify(event));

  it('makes dates of occurredOn and payload.timestamp, and of nothing else', () => {
    const event = { ...orderPlaced(), at: new Date(1) };
    expect(reviveEvent(parse(event))).toEqual({ ...event, at: '1970-01-01T00:00:00.001Z' });
    const deep = withPayload({ timestamp: 'not a date', at: new Date(1) });
    expect(reviveEvent(parse(deep)).payload).toEqual({
      timestamp: 'not a date',
      at: '1970-01-01T00:00:00.001Z',
    });
  });

  it('gives back every event that was written', () => {
    const event = fc
      .record({
        eventId: fc.string({ minLength: 1 }),
        occurredOn: fc.date({ noInvalidDate: true }),
        timestamp: fc.date({ noInvalidDate: true }),
        version: fc.maxSafeInteger(),
      })
      .map(({ timestamp, ...fields }) => ({
        ...orderPlaced(fields),
        payload: { ...orderPlaced().payload, timestamp },
      }));
    fc.assert(
      fc.property(event, (made) => {
        expect(reviveEvent(JSON.parse(written(made)))).toEqual(made);
        const instance = new DomainEvent({}, made);
        expect(reviveEvent(JSON.parse(written(instance)))).toEqual(made);
      }),
    );
  });

  it('makes two dates of one time', () => {
    const event = reviveEvent(parse(orderPlaced()));
    expect(event.payload.timestamp).toEqual(event.occurredOn);
    expect(event.payload.timestamp).not.toBe(event.occurredOn);
  });

  it('takes the time that the caller parsed', () => {
    const event = reviveEvent(parse(orderPlaced()), 1_234);
    expect(event.occurredOn).toEqual(new Date(1_234));
  });

  it('keeps extra fields, also one named like a private one', () => {
    const event = { ...orderPlaced(), tenant: 't', _props: { a: 1 }, cryptoService: {} };
    expect(reviveEvent(parse(event))).toEqual(event);
  });

  it('keeps a payload that is null or absent', () => {
    expect(reviveEvent(parse(withPayload(null))).payload).toBeNull();
    expect(reviveEvent(parse(withPayload(undefined))).payload).toBeUndefined();
  });

  describe('of a class instance as JSON.stringify wrote it', () => {
    it('reads the fields below _props', () => {
      const instance = new DomainEvent({ secret: 1 }, orderPlaced());
      const parsed = parse(instance) as Record<string, unknown>;
      expect(Object.keys(parsed).sort()).toEqual([
        '_props',
        'cryptoService',
        'eventId',
        'occurredOn',
      ]);
      const event = reviveEvent(parsed);
      expect(event).toEqual(orderPlaced());
      expect(Object.keys(event)).not.toContain('_props');
    });

    it('prefers own fields and keeps those of a subclass', () => {
      const parsed = {
        ...(parse(new DomainEvent({}, orderPlaced())) as object),
        eventId: 'own',
        tenant: 't',
      };
      expect(reviveEvent(parsed)).toEqual({ ...orderPlaced({ eventId: 'own' }), tenant: 't' });
    });

    it('does not let a key named __proto__ become a prototype', () => {
      const text = JSON.stringify(new DomainEvent({}, orderPlaced()));
      const event = reviveEvent(JSON.parse(text.replace('{', '{"__proto__":{"polluted":true},')));
      expect('polluted' in event).toBe(false);
      expect(event.eventId).toBe(orderPlaced().eventId);
    });
  });

  it.each([
    [null, 'it is null'],
    ['text', 'it is "text"'],
    [[], 'it is an array'],
    [{}, 'eventId is undefined instead of a string'],
    [{ ...orderPlaced(), aggregateId: 5 }, 'aggregateId is 5 instead of a string'],
    [{ ...orderPlaced(), version: '1.5' }, 'version is "1.5" instead of an integer'],
    [{ ...orderPlaced(), occurredOn: 'yesterday' }, 'occurredOn is "yesterday" instead of an ISO'],
    [{ ...orderPlaced(), occurredOn: '2026-13-01T00:00:00Z' }, 'instead of an ISO 8601 date'],
    [{ _props: null, eventId: 'e' }, 'eventType is undefined'],
  ])('refuses what is no event: case %#', (value, reason) => {
    const error = thrownBy(() => reviveEvent(JSON.parse(JSON.stringify(value)))) as CodecError;
    expect(error).toBeInstanceOf(CodecError);
    expect(error.message).toContain('the record holds no event: ');
    expect(error.message).toContain(reason);
  });
});
