import { describe, expect, it } from 'vitest';
import type { IEventHandler } from '../ts/event';
import { type Registration, Registry } from '../ts/registry';

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
