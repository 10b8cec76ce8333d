import { describe, expect, it } from 'vitest';
import { ArgumentError, ClosedError } from '../ts/error';
import { type SeekTo, seekRequest } from '../ts/seek';
import { makeBus } from './support/bus';
import { withId } from './support/events';
import { until } from './support/native';
import { rejection } from './support/promises';

describe('what the core is asked', () => {
  it.each<[SeekTo, unknown]>([
    ['beginning', 'beginning'],
    ['end', 'end'],
    [{ offset: 0 }, { offset: 0 }],
    [{ offset: 2 ** 40 }, { offset: 2 ** 40 }],
    [{ timestamp: 5 }, { timestamp: 5 }],
    [{ timestamp: new Date(5) }, { timestamp: 5 }],
  ])('names the place %j', (to, expected) => {
    const request = JSON.parse(seekRequest('order.placed', 3, to)) as unknown;
    expect(request).toEqual({ topic: 'order.placed', partition: 3, to: expected });
  });

  it.each([
    'earliest',
    '',
    null,
    undefined,
    7,
    {},
    { offset: -1 },
    { offset: 1.5 },
    { offset: '1' },
    { offset: 1, timestamp: 1 },
    { timestamp: new Date(Number.NaN) },
    { timestamp: 'now' },
  ])('is never asked for the place %j', (to) => {
    const seek = () => seekRequest('order.placed', 0, to as SeekTo);
    expect(seek).toThrow(ArgumentError);
    expect(seek).toThrow(/^there is no place /);
  });

  it.each([-1, 1.5, 2 ** 31, '0', undefined])(
    'is never asked for the partition %j',
    (partition) => {
      const seek = () => seekRequest('order.placed', partition as number, 'end');
      expect(seek).toThrow(/^partition must be a number from 0, got /);
    },
  );

  it.each(['', 'order/placed', undefined])('is never asked for the type %j', (type) => {
    const seek = () => seekRequest(type as string, 0, 'end');
    expect(seek).toThrow(/^there is nothing to seek in event type /);
  });
});

describe('a seek', () => {
  it('needs a connected bus, and partitions of its own', async () => {
    const { bus } = makeBus();
    expect(await rejection(bus.seek('order.placed', 0, 'end'))).toBeInstanceOf(ClosedError);
    await bus.connect();
    expect(await rejection(bus.seek('order.placed', 0, 'end'))).toMatchObject({
      code: 'EVBUS_ILLEGAL_STATE',
      message: expect.stringContaining('not assigned to this member'),
    });
    await bus.disconnect();
    expect(await rejection(bus.seek('order.placed', 0, 'end'))).toBeInstanceOf(ClosedError);
  });

  it('tells a running handler to give up, and drops what it returns', async () => {
    const { bus } = makeBus();
    const calls: { offset: number; partition: number; signal: AbortSignal }[] = [];
    await bus.subscribe('order.placed', {
      handle: async (_, { offset, partition, signal }) => {
        calls.push({ offset, partition, signal });
        if (calls.length > 1) return;
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    });
    await bus.connect();
    await bus.publish(withId('1'));
    await until(() => calls.length === 1, 'the call');
    const [first] = calls;
    if (first === undefined) throw new Error('there was a call');
    await bus.seek('order.placed', first.partition, { offset: first.offset });
    await until(() => bus.metrics().consume.handled === 1, 'the event is handled again');
    expect(calls.map(({ offset }) => offset)).toEqual([first.offset, first.offset]);
    await until(() => bus.metrics().consume.handledAfterRevoke === 1, 'the late answer');
    expect(bus.metrics().consume.handled).toBe(1);
  });
});
