import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type HandlerContext, unpackHeaders } from '../ts/context';
import { setUp } from './support/dispatcher';
import { packHeaders, until } from './support/native';

describe('the context of a handler', () => {
  it('says where the event comes from and which attempt it is', async () => {
    const { subscribe, take, outcomes } = setUp();
    const seen: HandlerContext[] = [];
    subscribe('order.placed', async (_, context) => {
      seen.push(context);
    });
    take(
      {
        partition: 7,
        offset: 2 ** 40 + 5,
        time: 1_717_243_200_123,
        key: 'order-ü',
        headers: [['eventId', 'e']],
        attempt: 3,
        last: true,
      },
      { offset: 1 },
    );
    await until(() => outcomes().length === 2, 'the answers');
    const [full, bare] = seen as [HandlerContext, HandlerContext];
    expect(full).toMatchObject({
      topic: 'order.placed',
      partition: 7,
      offset: 2 ** 40 + 5,
      attempt: 3,
      isLastAttempt: true,
    });
    expect(full.timestamp).toEqual(new Date(1_717_243_200_123));
    expect(full.key).toBe('order-ü');
    expect([...full.headers]).toEqual([['eventId', Buffer.from('e')]]);
    expect(bare).toMatchObject({ partition: 0, offset: 1, attempt: 1, isLastAttempt: false });
    expect([bare.timestamp, bare.key, bare.headers.size]).toEqual([undefined, null, 0]);
    expect(inspect(full)).toContain("topic: 'order.placed'");
    expect(inspect(full)).not.toContain('order-ü');
  });

  it('is given to every function that can see it, and a spy counts as one', async () => {
    const { registry, subscribe, take, outcomes } = setUp();
    const given: number[] = [];
    const count = (...args: unknown[]): void => {
      given.push(args.length);
    };
    const handler = subscribe('order.placed', (_event) => count(0));
    handler.handle = async (...args) => count(...args);
    take({ offset: 0 });
    await until(() => outcomes().length === 1, 'the first answer');
    handler.handle = async (event) => count(event);
    take({ offset: 1 });
    await until(() => outcomes().length === 2, 'the second answer');
    handler.handle = async (event, context) => count(event, context.topic);
    take({ offset: 2 });
    await until(() => outcomes().length === 3, 'the third answer');
    expect(given).toEqual([2, 1, 2]);
    expect(registry.of('order.placed')?.[0]?.wantsContext).toBe(true);
  });

  it('has a signal that is one and the same, and does not abort by itself', async () => {
    const { subscribe, take, outcomes } = setUp();
    const signals: AbortSignal[] = [];
    subscribe('order.placed', async (_, { signal, ...rest }) => {
      signals.push(signal);
      expect(rest).not.toHaveProperty('signal');
    });
    subscribe('order.placed', async (_, context) => {
      signals.push(context.signal);
      expect(context.signal).toBe(context.signal);
    });
    take({});
    await until(() => outcomes().length === 1, 'the answer');
    expect(outcomes()).toEqual(['0 done']);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false]);
    expect(signals[0]).not.toBe(signals[1]);
  });
});

describe('headers', () => {
  const all = [
    ['a', '1'],
    ['binary', '\u0000'],
    ['a', null],
    ['', ''],
    ['ключ', 'ü'],
    ['a', 'last'],
  ] as const;
  const headers = unpackHeaders(packHeaders(all));

  it('keep their order, duplicates, null and empty values', () => {
    expect(headers.size).toBe(6);
    expect([...headers].map(([name, value]) => [name, value?.toString() ?? null])).toEqual(all);
    expect(headers.getAll('a').map((value) => value?.toString() ?? null)).toEqual([
      '1',
      null,
      'last',
    ]);
  });

  it('are read as text by name, the last one first', () => {
    expect(headers.get('a')).toBe('last');
    expect(headers.get('ключ')).toBe('ü');
    expect(headers.get('')).toBe('');
    expect(headers.get('none')).toBeUndefined();
    expect(unpackHeaders(packHeaders([['n', null]])).get('n')).toBeNull();
  });

  it('do not share memory with what they came in', () => {
    const packed = packHeaders([['a', 'before']]);
    const read = unpackHeaders(packed);
    packed.fill(0);
    expect(read.get('a')).toBe('before');
  });
});
