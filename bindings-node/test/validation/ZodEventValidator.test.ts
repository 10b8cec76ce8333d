import { beforeEach, describe, expect, it } from 'vitest';
import * as zod4 from 'zod';
import * as zodMini from 'zod/mini';
import * as zod3 from 'zod3';
import type { EventSchema } from '../../ts/validation/ZodEventValidator';
import { ZodEventValidator } from '../../ts/validation/ZodEventValidator';
import { DomainEvent, type OrderPlaced, orderPlaced, thrownBy } from '../support/events';

const schemas: Record<string, { schema: EventSchema; ZodError: unknown }> = {
  'zod 3': {
    schema: zod3.z.object({
      eventType: zod3.z.literal('order.placed'),
      timestamp: zod3.z.date(),
      orderId: zod3.z.string().min(5),
      amount: zod3.z.number().positive(),
    }),
    ZodError: zod3.ZodError,
  },
  'zod 4': {
    schema: zod4.z.object({
      eventType: zod4.z.literal('order.placed'),
      timestamp: zod4.z.date(),
      orderId: zod4.z.string().min(5),
      amount: zod4.z.number().positive(),
    }),
    ZodError: zod4.ZodError,
  },
  'zod 4 mini': {
    schema: zodMini.z.object({
      eventType: zodMini.z.literal('order.placed'),
      timestamp: zodMini.z.date(),
      orderId: zodMini.z.string().check(zodMini.z.minLength(5)),
      amount: zodMini.z.number().check(zodMini.z.positive()),
    }),
    ZodError: zod4.core.$ZodError,
  },
};

const invalid = () =>
  orderPlaced({ payload: { ...orderPlaced().payload, orderId: 'o', amount: -1 } });

describe.each(Object.entries(schemas))(
  'ZodEventValidator with %s',
  (_name, { schema, ZodError }) => {
    let validator: ZodEventValidator<OrderPlaced>;

    beforeEach(() => {
      validator = new ZodEventValidator<OrderPlaced>();
      validator.registerSchema('order.placed', schema);
    });

    it('accepts a payload that satisfies the schema, of a class instance too', () => {
      expect(validator.validate(orderPlaced())).toBeNull();
      expect(validator.validate(new DomainEvent({}, orderPlaced()))).toBeNull();
      expect(() => validator.validateOrThrow(orderPlaced())).not.toThrow();
    });

    it('reports which event is wrong and the error of zod', () => {
      const failure = validator.validate(invalid());
      expect(failure).toMatchObject({ eventId: invalid().eventId, eventType: 'order.placed' });
      expect(failure?.errors).toBeInstanceOf(ZodError);
      expect(failure?.errors.issues.map(({ path }) => path)).toEqual([['orderId'], ['amount']]);
    });

    it('throws a message that names the event and every issue', () => {
      const error = thrownBy(() => validator.validateOrThrow(invalid())) as Error;
      expect(error).toBeInstanceOf(Error);
      expect(error.message).toMatch(
        /^Event validation failed for order\.placed \(5f2c1c2e-8a3b-4c7e-9d51-0b1c2d3e4f50\): orderId: .+; amount: ./,
      );
      expect(error.cause).toBeInstanceOf(ZodError);
    });

    it('names no path for an issue of the payload as a whole', () => {
      const event = orderPlaced({ payload: null as never });
      const error = thrownBy(() => validator.validateOrThrow(event)) as Error;
      expect(error.message).toMatch(
        /\): (Invalid input: expected|Expected) object, received null$/,
      );
    });

    it('accepts every event whose type has no schema', () => {
      expect(validator.validate({ ...invalid(), eventType: 'order.paid' })).toBeNull();
    });

    it('keeps, replaces and forgets schemas', () => {
      expect(validator.hasSchema('order.placed')).toBe(true);
      expect(validator.getSchema('order.placed')).toBe(schema);
      const lenient = { safeParse: () => ({ success: true }) };
      validator.registerSchema('order.placed', lenient);
      expect(validator.validate(invalid())).toBeNull();
      validator.registerSchema('order.paid', schema);
      validator.unregisterSchema('order.placed');
      expect(validator.hasSchema('order.placed')).toBe(false);
      expect(validator.getSchema('order.placed')).toBeUndefined();
      expect(validator.hasSchema('order.paid')).toBe(true);
      validator.clearSchemas();
      expect(validator.hasSchema('order.paid')).toBe(false);
    });
  },
);
