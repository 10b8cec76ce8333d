import { describe, expect, it } from 'vitest';
import type { HandlerContext } from '../ts/context';
import { FatalHandlerError, RetryableError } from '../ts/failure';
import { setUp } from './support/dispatcher';
import { until } from './support/native';

const fails = (thrown: unknown) => () => Promise.reject(thrown);

describe('a failure', () => {
  it.each([
    ['an error', new Error('boom'), undefined],
    ['one that is worth another attempt', new RetryableError('boom'), true],
    ['one that is not', new FatalHandlerError('boom'), false],
    ['one of another library', Object.assign(new Error('boom'), { retryable: false }), false],
  ])('goes to the core with what it is: %s', async (_, thrown, retryable) => {
    const { subscribe, take, answers } = setUp();
    subscribe('order.placed', fails(thrown));
    take({});
    await until(() => answers.length === 1, 'the answer');
    const said = { handler: 'handler 1', code: thrown.name, message: 'boom' };
    expect(answers[0]?.outcome).toBe('failed');
    expect(answers[0]?.failure).toEqual(retryable === undefined ? said : { ...said, retryable });
  });

  it('of a class names the class, of a named function the function', async () => {
    const { subscribe, take, answers } = setUp();
    subscribe('order.placed', function shipOrder() {
      throw new Error('boom');
    });
    take({});
    await until(() => answers.length === 1, 'the answer');
    expect(answers[0]?.failure).toMatchObject({ handler: 'shipOrder' });
  });

  it('is cut and made well-formed, so that the core can read every answer', async () => {
    const { subscribe, take, answers } = setUp();
    const text = `lone \ud800 ${'x'.repeat(5_000)}`;
    subscribe('order.placed', fails(Object.assign(new Error(text), { code: '\udc00' })));
    take({});
    await until(() => answers.length === 1, 'the answer');
    const { message = '', code } = answers[0]?.failure ?? {};
    expect(message).toMatch(/^lone \ufffd x+$/);
    expect(message.length).toBeLessThanOrEqual(1024);
    expect(code).toBe('\ufffd');
  });

  it.each([
    [1, false, undefined, 'warn', true],
    [2, true, undefined, 'error', false],
    [1, false, false, 'error', false],
  ])(
    'of attempt %i, the last one: %s, retryable: %s, is logged as %s',
    async (attempt, last, retryable, level, willRetry) => {
      const { subscribe, take, answers, logged, errors } = setUp();
      subscribe('order.placed', fails(Object.assign(new Error('boom'), { retryable })));
      take({ attempt, last });
      await until(() => answers.length === 1, 'the answer');
      expect(logged).toHaveLength(1);
      expect(logged[0]?.[0]).toBe(level);
      expect(logged[0]?.[1]).toMatchObject({ event: 'handler_failed', attempt, willRetry });
      expect(errors).toHaveLength(1);
      expect(errors[0]?.[0]).toMatchObject({ attempt, context: { handler: 'handler 1' } });
      expect(errors[0]?.[1]).toMatchObject({ attempt, willRetry, handler: 'handler 1' });
    },
  );
});

describe('isRetryable', () => {
  it('decides of errors that do not say so themselves, and gets the context', async () => {
    const { subscribe, take, answers } = setUp();
    const asked: [unknown, HandlerContext][] = [];
    const thrown: unknown[] = [new Error('a'), new TypeError('b'), new RetryableError('c')];
    subscribe('order.placed', async (_event) => Promise.reject(thrown[asked.length]), {
      isRetryable: (error, context) => {
        asked.push([error, context]);
        return !(error instanceof TypeError);
      },
    });
    for (const offset of [0, 1, 2]) {
      take({ offset, partition: 4 });
      await until(() => answers.length === offset + 1, 'the answer');
    }
    expect(answers.map(({ failure }) => failure)).toMatchObject([
      { retryable: true },
      { retryable: false },
      { retryable: true },
    ]);
    expect(asked.map(([error]) => error)).toEqual(thrown.slice(0, 2));
    expect(asked[1]?.[1]).toMatchObject({ partition: 4, offset: 1, attempt: 1 });
  });

  it('counts as true when it fails or forgets to answer, and says so', async () => {
    const { subscribe, take, answers, logged } = setUp();
    let calls = 0;
    subscribe('order.placed', fails(new Error('boom')), {
      isRetryable: () => {
        calls += 1;
        if (calls === 1) throw new Error('of isRetryable');
        return undefined as never;
      },
    });
    take({ offset: 0 });
    await until(() => answers.length === 1, 'the first answer');
    take({ offset: 1 });
    await until(() => answers.length === 2, 'the second answer');
    expect(answers.map(({ outcome }) => outcome)).toEqual(['failed', 'failed']);
    expect(answers.map(({ failure }) => failure?.retryable)).toEqual([undefined, true]);
    expect(logged.map(([, { event }]) => event)).toEqual([
      'is_retryable_failed',
      'handler_failed',
      'handler_failed',
    ]);
  });
});

describe('with several handlers', () => {
  /** Three handlers; of each the calls by attempt, and what the second and third throw. */
  function three(second: () => unknown, third: () => unknown) {
    const made = setUp();
    const calls: string[] = [];
    for (const [name, act] of [
      ['a', () => undefined],
      ['b', second],
      ['c', third],
    ] as const) {
      made.subscribe('order.placed', async (_, { attempt }) => {
        calls.push(`${name}${attempt}`);
        await act();
      });
    }
    const attempt = async (number: number, last = false): Promise<void> => {
      made.take({ attempt: number, last });
      await until(() => made.answers.length === number, `answer ${number}`);
    };
    return { ...made, calls, attempt };
  }

  it('only those that failed are called again', async () => {
    let failing = 2;
    const { calls, attempt, answers, outcomes } = three(
      () => {
        failing -= 1;
        if (failing >= 0) throw new Error('b fails');
      },
      () => {
        if (failing === 1) throw new Error('c fails');
      },
    );
    await attempt(1);
    await attempt(2);
    await attempt(3);
    expect(calls).toEqual(['a1', 'b1', 'c1', 'b2', 'c2', 'b3']);
    expect(outcomes()).toEqual(['0 failed', '0 failed', '0 done']);
    expect(answers[0]?.failure).toEqual({
      handler: 'handler 2, handler 3',
      code: 'Error',
      message: 'b fails (and 1 more handlers failed)',
    });
    expect(answers[1]?.failure).toEqual({
      handler: 'handler 2',
      code: 'Error',
      message: 'b fails',
    });
  });

  it('one that cannot succeed waits for the others, and the event fails for good then', async () => {
    let failing = 1;
    const { calls, attempt, answers } = three(
      () => {
        throw new FatalHandlerError('b never');
      },
      () => {
        failing -= 1;
        if (failing >= 0) throw new Error('c fails');
      },
    );
    await attempt(1);
    await attempt(2);
    expect(calls).toEqual(['a1', 'b1', 'c1', 'c2']);
    expect(answers.map(({ outcome, failure }) => [outcome, failure])).toEqual([
      ['failed', { handler: 'handler 3', code: 'Error', message: 'c fails' }],
      [
        'failed',
        {
          handler: 'handler 2',
          code: 'FatalHandlerError',
          message: 'b never',
          retryable: false,
        },
      ],
    ]);
  });

  it('the last attempt names all that failed, and nothing is remembered behind it', async () => {
    const fail = () => {
      throw new Error('fails');
    };
    const { calls, attempt, answers, take } = three(() => {
      throw new FatalHandlerError('b never');
    }, fail);
    await attempt(1);
    await attempt(2, true);
    expect(answers[1]?.failure).toMatchObject({ handler: 'handler 3, handler 2' });
    expect(answers[1]?.failure).not.toHaveProperty('retryable');
    take({ attempt: 1 });
    await until(() => answers.length === 3, 'the event from anew');
    expect(calls).toEqual(['a1', 'b1', 'c1', 'c2', 'a1', 'b1', 'c1']);
  });

  it('another epoch starts from anew, and so does a partition that was stopped', async () => {
    const { calls, take, answers, dispatcher } = three(
      () => undefined,
      () => {
        throw new Error('c fails');
      },
    );
    take({ attempt: 1, epoch: 1 });
    await until(() => answers.length === 1, 'epoch 1');
    take({ attempt: 2, epoch: 2 });
    await until(() => answers.length === 2, 'epoch 2');
    dispatcher.stop(0, 2);
    take({ attempt: 3, epoch: 3 });
    await until(() => answers.length === 3, 'epoch 3');
    expect(calls.join(' ')).toBe('a1 b1 c1 a2 b2 c2 a3 b3 c3');
  });

  it('what is left when the failing one is gone is done', async () => {
    const { registry, subscribe, take, outcomes } = setUp();
    let calls = 0;
    subscribe('order.placed', () => {
      calls += 1;
    });
    const failing = subscribe('order.placed', fails(new Error('boom')));
    take({ attempt: 1 });
    await until(() => outcomes().length === 1, 'the failure');
    registry.remove('order.placed', failing);
    take({ attempt: 2 });
    await until(() => outcomes().length === 2, 'the end');
    expect(outcomes()).toEqual(['0 failed', '0 done']);
    expect(calls).toBe(1);
  });
});
