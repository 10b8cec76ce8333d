import { describe, expect, it } from 'vitest';
import type { HandlerContext } from '../ts/context';
import { TimeoutError } from '../ts/error';
import { setUp } from './support/dispatcher';
import { until } from './support/native';
import { gate } from './support/promises';

const never = new Promise<void>(() => {});

describe('handlerTimeoutMs', () => {
  it('fails the attempt, aborts the signal, and lets the lane go on', async () => {
    const { subscribe, take, answers, logged, errors } = setUp({ handlerTimeoutMs: 30 });
    const aborted: unknown[] = [];
    subscribe('order.placed', async ({ eventId }, { signal }) => {
      if (eventId !== 'event-0') return;
      signal.addEventListener('abort', () => aborted.push(signal.reason));
      await never;
    });
    const start = performance.now();
    take({ offset: 0 });
    take({ offset: 1 });
    await until(() => answers.length === 2, 'the answers');
    expect(performance.now() - start).toBeGreaterThanOrEqual(30);
    expect(answers.map(({ outcome }) => outcome)).toEqual(['failed', 'done']);
    expect(answers[0]?.failure).toEqual({
      handler: 'handler 1',
      code: 'EVBUS_TIMEOUT',
      message: 'it took longer than 30 ms',
      retryable: true,
    });
    expect(answers[0]?.micros).toBeGreaterThanOrEqual(30_000);
    expect(aborted).toHaveLength(1);
    expect(aborted[0]).toBeInstanceOf(TimeoutError);
    expect(errors[0]?.[0].cause).toBe(aborted[0]);
    expect(logged.map(([, { event }]) => event)).toEqual(['handler_failed']);
  });

  it.each([
    ['resolves', () => undefined],
    ['rejects', () => Promise.reject(new Error('late'))],
  ])('drops and counts the result of a handler that %s later', async (_, end) => {
    const { dispatcher, subscribe, take, outcomes, logged } = setUp({ handlerTimeoutMs: 20 });
    const late = gate();
    subscribe('order.placed', async () => {
      await late.opened;
      await end();
    });
    take({ partition: 2, offset: 7 });
    await until(() => outcomes().length === 1, 'the failure');
    expect(dispatcher.reports.late).toBe(0);
    late.open();
    await until(() => dispatcher.reports.late === 1, 'the late result');
    expect(outcomes()).toEqual(['7 failed']);
    expect(dispatcher.reports.failed).toBe(1);
    expect(logged.at(-1)?.[1]).toMatchObject({ event: 'handler_late', partition: 2, offset: 7 });
  });

  it('counts for each handler on its own, and the quick one is not called again', async () => {
    const { subscribe, take, answers } = setUp({ handlerTimeoutMs: 30 });
    let quick = 0;
    subscribe('order.placed', async () => {
      quick += 1;
    });
    subscribe('order.placed', (_, { attempt }) => (attempt === 1 ? never : undefined));
    take({ attempt: 1 });
    await until(() => answers.length === 1, 'the first attempt');
    take({ attempt: 2 });
    await until(() => answers.length === 2, 'the second attempt');
    expect(answers.map(({ outcome }) => outcome)).toEqual(['failed', 'done']);
    expect(answers[0]?.failure).toMatchObject({ handler: 'handler 2', code: 'EVBUS_TIMEOUT' });
    expect(quick).toBe(1);
  });

  it('does not make unsubscribing wait, nor a handler that is not slow', async () => {
    const { registry, subscribe, take, outcomes } = setUp({ handlerTimeoutMs: 20 });
    const handler = subscribe('order.placed', () => never);
    take({});
    registry.remove('order.placed', handler);
    await registry.idle('order.placed', handler, undefined);
    await until(() => outcomes().length === 1, 'the failure');
    expect(outcomes()).toEqual(['0 failed']);
  });

  it('holds for a thousand calls side by side, with few timers', async () => {
    const { subscribe, take, outcomes } = setUp({ handlerTimeoutMs: 50 });
    subscribe('order.placed', ({ eventId }) =>
      Number(eventId.slice(6)) % 2 === 0 ? Promise.resolve() : never,
    );
    take(...Array.from({ length: 1000 }, (_, offset) => ({ offset, lane: offset })));
    await until(() => outcomes().length === 1000, 'all answers');
    expect(outcomes().filter((outcome) => outcome.endsWith('failed'))).toHaveLength(500);
  });

  it('survives a listener of the signal that throws: the attempt has failed before', async () => {
    const { subscribe, take, outcomes } = setUp({ handlerTimeoutMs: 20 });
    const thrown: unknown[] = [];
    const previous = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => thrown.push(error));
    try {
      subscribe('order.placed', (_, { signal }) => {
        signal.addEventListener('abort', () => {
          throw new Error('of a listener');
        });
        return never;
      });
      take({});
      await until(() => outcomes().length === 1 && thrown.length === 1, 'both');
      expect(outcomes()).toEqual(['0 failed']);
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const listener of previous) process.on('uncaughtException', listener);
    }
  });
});

describe('the signal', () => {
  it('aborts when the partition is gone; giving up is no failure then', async () => {
    const { dispatcher, subscribe, take, outcomes, logged, errors } = setUp();
    const contexts: HandlerContext[] = [];
    subscribe('order.placed', (_, context) => {
      contexts.push(context);
      return new Promise((_resolve, reject) => {
        context.signal.addEventListener('abort', () => reject(context.signal.reason));
      });
    });
    take({ slot: 3, epoch: 9, lane: 1, offset: 0 }, { slot: 3, epoch: 9, lane: 1, offset: 1 });
    take({ slot: 4, epoch: 9, lane: 2, offset: 2 });
    dispatcher.stop(3, 9);
    dispatcher.abort(3, 8);
    expect(contexts[0]?.signal.aborted).toBe(false);
    dispatcher.abort(3, 9);
    await until(() => outcomes().length === 2, 'the answers');
    expect(outcomes().sort()).toEqual(['0 released', '1 released']);
    expect(contexts[0]?.signal.reason).toMatchObject({
      code: 'EVBUS_ILLEGAL_STATE',
      topic: 'order.placed',
      partition: 0,
    });
    expect(contexts[1]?.signal.aborted).toBe(false);
    expect(errors).toEqual([]);
    expect(logged.map(([level, { event }]) => [level, event])).toEqual([
      ['debug', 'handler_gave_up'],
    ]);
  });

  it('is aborted already when it is first asked for afterwards', async () => {
    const { dispatcher, subscribe, take, outcomes } = setUp();
    const lost = gate();
    const states: unknown[] = [];
    for (let n = 0; n < 2; n += 1) {
      subscribe('order.placed', async (_, context) => {
        await lost.opened;
        states.push(context.signal.aborted, context.signal.reason);
      });
    }
    take({ slot: 3, epoch: 9 });
    dispatcher.abort(3, 9);
    lost.open();
    await until(() => outcomes().length === 1, 'the answer');
    expect(states).toMatchObject([true, { topic: 'order.placed' }, true, {}]);
    expect(outcomes()).toEqual(['0 done']);
  });

  it('aborts at the end of a drain, and when the connection is let go', async () => {
    for (const end of ['abort', 'close'] as const) {
      const { dispatcher, subscribe, take } = setUp();
      const reasons: unknown[] = [];
      subscribe('order.placed', (_, { signal }) => {
        signal.addEventListener('abort', () => reasons.push(signal.reason));
        return never;
      });
      take({ slot: 3, epoch: 9 });
      dispatcher.drain();
      expect(reasons).toEqual([]);
      if (end === 'abort') dispatcher.abort(3, 9);
      dispatcher.close();
      expect(reasons).toMatchObject([{ code: 'EVBUS_CLOSED' }]);
    }
  });
});
