import { describe, expect, it } from 'vitest';
import { ArgumentError } from '../ts/error';
import type { IEventHandler } from '../ts/event';
import { type Registration, Registry } from '../ts/registry';
import { thrownBy } from './support/events';

const handler = (): IEventHandler => ({ handle: async () => {} });

function setUp() {
  const registry = new Registry();
  const one = handler();
  registry.add('a', one);
  const registration = registry.of('a')?.[0] as Registration;
  const call = { registration } as never;
  return { registry, one, registration, call };
}

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.then(() => {
    settled = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

describe('options of an event type', () => {
  const defaults = { handlerTimeoutMs: 0, retry: { attempts: 5 }, ordering: 'partition' };
  const policy = { ...defaults, handlerTimeoutMs: 50 };

  it('hold for all handlers of the type, until the last one is gone', () => {
    const registry = new Registry(defaults);
    const [one, two] = [handler(), handler()];
    registry.check('a', { policy });
    registry.add('a', one, { policy });
    registry.add('a', two);
    registry.add('b', two);
    expect(registry.of('a')?.map(({ handlerTimeoutMs }) => handlerTimeoutMs)).toEqual([50, 50]);
    expect(registry.of('b')?.[0]?.handlerTimeoutMs).toBe(0);
    expect(registry.topics()).toEqual([{ topic: 'a', policy }, { topic: 'b' }]);
    registry.remove('a', one);
    expect(registry.topics()[0]).toEqual({ topic: 'a', policy });
    registry.remove('a', two);
    registry.add('a', one);
    expect(registry.topics()[0]).toEqual({ topic: 'a' });
    expect(registry.of('a')?.[0]?.handlerTimeoutMs).toBe(0);
  });

  it('are refused when they differ from those that hold, naming which', () => {
    const registry = new Registry(defaults);
    registry.add('a', handler(), { policy });
    registry.check('a', {});
    registry.check('a', { policy: structuredClone(policy) });
    registry.check('b', { policy: defaults });
    const other = { ...defaults, retry: { attempts: 6 } };
    const error = thrownBy(() => registry.check('a', { policy: other })) as ArgumentError;
    expect(error).toBeInstanceOf(ArgumentError);
    expect(error.message).toBe(
      '"a" is subscribed to with other options already: handlerTimeoutMs, retry',
    );
    expect(error.hint).toBeTruthy();
    registry.add('b', handler());
    registry.check('b', { policy: defaults });
    expect(() => registry.check('b', { policy })).toThrow(/handlerTimeoutMs/);
  });

  it('leave the classifier to each handler, and that of the bus to the others', () => {
    const [ofBus, own] = [() => true, () => false];
    const registry = new Registry(defaults, ofBus);
    registry.add('a', handler());
    registry.add('a', handler(), { isRetryable: own });
    expect(registry.of('a')?.map(({ isRetryable }) => isRetryable)).toEqual([ofBus, own]);
  });
});

describe('the name of a handler', () => {
  class Ship {
    async handle(): Promise<void> {}
  }
  it.each([
    ['its class', new Ship(), 'Ship'],
    ['its function', { handle: async function bill() {} }, 'bill'],
    ['its number', { handle: async () => {} }, 'handler 2'],
    [
      'its number without a prototype',
      Object.assign(Object.create(null), new Ship(), { handle: async () => {} }),
      'handler 2',
    ],
  ])('is that of %s', (_, named, name) => {
    const registry = new Registry();
    registry.add('a', handler());
    registry.add('a', named);
    expect(registry.of('a')?.[1]?.name).toBe(name);
  });
});

describe('a registry', () => {
  it('knows the types that have handlers, sorted', () => {
    const { registry, one } = setUp();
    registry.add('c', one);
    registry.add('b', one);
    expect(registry.types()).toEqual(['a', 'b', 'c']);
    registry.remove('a', one);
    expect(registry.types()).toEqual(['b', 'c']);
    expect(registry.of('a')).toBeUndefined();
  });

  it('does not disturb a walk over the handlers of a type', () => {
    const { registry, one } = setUp();
    const walked = registry.of('a');
    registry.add('a', handler());
    registry.remove('a', one);
    expect(walked).toHaveLength(1);
    expect(registry.of('a')).toHaveLength(1);
  });

  it('waits for the running calls of a removed handler only', async () => {
    const { registry, one, registration } = setUp();
    registration.begin();
    registration.begin();
    registry.remove('a', one);
    const idle = registry.idle('a', one, undefined);
    expect(await isSettled(registry.idle('b', one, undefined))).toBe(true);
    expect(await isSettled(registry.idle('a', handler(), undefined))).toBe(true);
    registration.end();
    expect(await isSettled(idle)).toBe(false);
    registration.end();
    await idle;
  });

  it('waits for them also when asked a second time', async () => {
    const { registry, one, registration } = setUp();
    registration.begin();
    registry.remove('a', one);
    registry.remove('a', one);
    const idle = registry.idle('a', one, undefined);
    expect(await isSettled(idle)).toBe(false);
    registration.end();
    await idle;
  });

  it('does not wait for the call that asks', async () => {
    const { registry, one, registration, call } = setUp();
    registration.begin();
    registry.remove('a', one);
    expect(await isSettled(registry.idle('a', one, call))).toBe(true);
  });

  it('does not let two calls of a handler that both ask wait for each other', async () => {
    const { registry, one, registration, call } = setUp();
    registration.begin();
    registration.begin();
    registry.remove('a', one);
    const first = registry.idle('a', one, call);
    const outside = registry.idle('a', one, undefined);
    expect(await isSettled(first)).toBe(false);
    const second = registry.idle('a', one, { registration } as never);
    await Promise.all([first, second]);
    expect(await isSettled(outside)).toBe(false);
    registration.end();
    registration.end();
    await outside;
  });
});
