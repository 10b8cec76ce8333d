import { describe, expect, it } from 'vitest';
import { HandlerError } from '../ts/error';
import type { IDomainEvent } from '../ts/event';
import { setUp } from './support/dispatcher';
import { orderPlaced } from './support/events';
import { until } from './support/native';
import { gate } from './support/promises';

/** A promise of another library. */
function thenable(
  then: (done: () => void, failed: (why: Error) => void) => void,
): PromiseLike<void> {
  return { then } as PromiseLike<void>;
}

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('deliveries', () => {
  it('reach the handler as events with dates, and are answered with the time they took', async () => {
    const { subscribe, take, answers } = setUp();
    const seen: IDomainEvent[] = [];
    subscribe('order.placed', async (event) => {
      seen.push(event);
      const start = performance.now();
      await until(() => performance.now() - start > 5, 'five milliseconds');
    });
    const event = orderPlaced();
    take({ value: JSON.stringify(event), occurredOn: event.occurredOn.getTime(), epoch: 65_535 });
    await until(() => answers.length === 1, 'the answer');
    expect(seen).toEqual([event]);
    expect(answers[0]).toMatchObject({ sequence: 0, slot: 0, epoch: 65_535, outcome: 'done' });
    expect(answers[0]?.micros).toBeGreaterThan(4_000);
    expect(answers[0]?.micros).toBeLessThan(10_000_000);
  });

  it('of one lane run one after the other, those of two lanes side by side', async () => {
    const { subscribe, take, outcomes } = setUp();
    const trace: string[] = [];
    const gates = new Map([0, 1, 2].map((n) => [`event-${n}`, gate()]));
    subscribe('order.placed', async ({ eventId }) => {
      trace.push(`${eventId} begins`);
      await gates.get(eventId)?.opened;
      trace.push(`${eventId} ends`);
    });
    take({ offset: 0, lane: 7 }, { offset: 1, lane: 7 }, { offset: 2, lane: 8 });
    await tick();
    expect(trace).toEqual(['event-0 begins', 'event-2 begins']);
    gates.get('event-1')?.open();
    gates.get('event-2')?.open();
    await tick();
    expect(trace).toEqual(['event-0 begins', 'event-2 begins', 'event-2 ends']);
    gates.get('event-0')?.open();
    await until(() => outcomes().length === 3, 'the answers');
    expect(outcomes()).toEqual(['2 done', '0 done', '1 done']);
  });

  it('of a lane that come in a second batch wait for those of the first', async () => {
    const { subscribe, take, outcomes } = setUp();
    const first = gate();
    const trace: string[] = [];
    subscribe('order.placed', async ({ eventId }) => {
      trace.push(eventId);
      if (eventId === 'event-0') await first.opened;
    });
    take({ offset: 0 });
    take({ offset: 1 }, { offset: 2 });
    await tick();
    expect(trace).toEqual(['event-0']);
    first.open();
    await until(() => outcomes().length === 3, 'the answers');
    expect(trace).toEqual(['event-0', 'event-1', 'event-2']);
  });

  it('are answered in one call a turn, at the latest when 512 are there', async () => {
    const { subscribe, take, finishes } = setUp();
    subscribe('order.placed', () => undefined);
    take(...Array.from({ length: 1000 }, (_, offset) => ({ offset })));
    expect(finishes).toEqual([512]);
    await until(() => finishes.length === 2, 'the second call');
    expect(finishes).toEqual([512, 488]);
  });

  it.each([
    ['nothing', () => undefined],
    ['a value', () => 5],
    ['a thenable', () => thenable((done) => done())],
    ['a promise', async () => {}],
  ])('are done when the handler returns %s', async (_, handle) => {
    const { subscribe, take, outcomes } = setUp();
    subscribe('order.placed', handle);
    take({});
    await until(() => outcomes().length === 1, 'the answer');
    expect(outcomes()).toEqual(['0 done']);
  });

  it('carry offsets beyond 32 bits', async () => {
    const { subscribe, take, errors } = setUp();
    subscribe('order.placed', () => {
      throw new Error('boom');
    });
    take({ offset: 2 ** 40 + 5 });
    take({ offset: 2 ** 31 + 1 });
    await until(() => errors.length === 2, 'the errors');
    expect(errors.map(([, { offset }]) => offset)).toEqual([2 ** 40 + 5, 2 ** 31 + 1]);
  });
});

describe('failures', () => {
  it.each([
    ['rejects', () => Promise.reject(new Error('boom'))],
    [
      'throws',
      () => {
        throw new Error('boom');
      },
    ],
    ['is a thenable', () => thenable((_, failed) => failed(new Error('boom')))],
  ])(
    'of a handler that %s are logged and reported, and what follows in the run comes again',
    async (_, fail) => {
      const { subscribe, take, outcomes, logged, errors } = setUp();
      let calls = 0;
      subscribe('order.placed', () => {
        calls += 1;
        return fail();
      });
      take({ offset: 0, partition: 4 }, { offset: 1, partition: 4 });
      await until(() => outcomes().length === 2, 'the answers');
      expect(outcomes()).toEqual(['0 failed', '1 released']);
      expect(calls).toBe(1);
      const where = {
        event: 'handler_failed',
        eventId: 'event-0',
        eventType: 'order.placed',
        aggregateId: 'order-1',
        topic: 'order.placed',
        partition: 4,
        offset: 0,
        handler: 'handler 1',
        attempt: 1,
        willRetry: true,
      };
      const [error, context] = errors[0] as (typeof errors)[0];
      expect(context).toEqual(where);
      expect(error).toBeInstanceOf(HandlerError);
      expect(error).toMatchObject({ code: 'EVBUS_HANDLER', attempt: 1, topic: 'order.placed' });
      expect((error.cause as Error).message).toBe('boom');
      const message =
        'a handler of order.placed failed on event event-0 (partition 4, offset 0, attempt 1): boom';
      expect(error.message).toBe(message);
      expect(logged).toEqual([['warn', { ...where, err: error }, message]]);
    },
  );

  it('of one handler neither stop nor hide another, and each is reported', async () => {
    const { subscribe, take, outcomes, errors } = setUp();
    const slow = gate();
    let handled = 0;
    subscribe('order.placed', () => Promise.reject(new Error('first')));
    subscribe('order.placed', async () => {
      await slow.opened;
      handled += 1;
    });
    subscribe('order.placed', () => {
      throw new Error('third');
    });
    take({});
    await until(() => errors.length === 2, 'both errors');
    await tick();
    expect(outcomes()).toEqual([]);
    slow.open();
    await until(() => outcomes().length === 1, 'the answer');
    expect(outcomes()).toEqual(['0 failed']);
    expect(handled).toBe(1);
    expect(errors.map(([{ cause }]) => (cause as Error).message).sort()).toEqual([
      'first',
      'third',
    ]);
  });

  it.each([
    ['undefined', undefined],
    ['a text', 'boom'],
    ['null', null],
  ])('may be anything, e.g. %s', async (_, thrown) => {
    const { subscribe, take, outcomes, errors } = setUp();
    subscribe('order.placed', () => Promise.reject(thrown));
    take({});
    await until(() => outcomes().length === 1, 'the answer');
    expect(errors[0]?.[0].message).toContain(`attempt 1): ${thrown}`);
  });

  it('of a record that JavaScript cannot read are reported, and the next event goes on', async () => {
    const { subscribe, take, outcomes, errors, logged } = setUp();
    let handled = 0;
    subscribe('order.placed', () => {
      handled += 1;
    });
    take({ offset: 0, value: '{"eventId":' }, { offset: 1, value: '[1]' }, { offset: 2 });
    await until(() => outcomes().length === 3, 'the answers');
    expect(outcomes()).toEqual(['0 invalid', '1 invalid', '2 done']);
    expect(handled).toBe(1);
    expect(errors.map(([{ code }, { event, offset }]) => [code, event, offset])).toEqual([
      ['EVBUS_CODEC', 'invalid_message', 0],
      ['EVBUS_CODEC', 'invalid_message', 1],
    ]);
    expect(logged.map(([level]) => level)).toEqual(['warn', 'warn']);
  });
});

describe('what must not start', () => {
  it('is released: no handler any more', async () => {
    const { subscribe, registry, take, outcomes } = setUp();
    const first = gate();
    const handler = subscribe('order.placed', () => first.opened);
    take({ offset: 0 }, { offset: 1 });
    await tick();
    registry.remove('order.placed', handler);
    first.open();
    await until(() => outcomes().length === 2, 'the answers');
    expect(outcomes()).toEqual(['0 done', '1 released']);
  });

  it('is released at once: a stopped slot, but not its next epoch nor another slot', async () => {
    const { dispatcher, subscribe, take, outcomes } = setUp();
    const first = gate();
    const seen: string[] = [];
    subscribe('order.placed', async ({ eventId }) => {
      seen.push(eventId);
      await first.opened;
    });
    take({ offset: 0, slot: 3, epoch: 9, lane: 1 }, { offset: 1, slot: 3, epoch: 9, lane: 1 });
    take({ offset: 2, slot: 3, epoch: 9, lane: 1 });
    dispatcher.stop(3, 9);
    await until(() => outcomes().length === 2, 'those that wait');
    expect(outcomes()).toEqual(['1 released', '2 released']);
    take({ offset: 3, slot: 3, epoch: 9, lane: 1 });
    take({ offset: 4, slot: 3, epoch: 10, lane: 2 }, { offset: 5, slot: 4, epoch: 9, lane: 3 });
    first.open();
    await until(() => outcomes().length === 6, 'all answers');
    expect(outcomes().sort()).toEqual([
      '0 done',
      '1 released',
      '2 released',
      '3 released',
      '4 done',
      '5 done',
    ]);
    expect(seen).toEqual(['event-0', 'event-4', 'event-5']);
  });

  it('is released: anything once the bus drains; what runs is still answered', async () => {
    const { dispatcher, subscribe, take, outcomes } = setUp();
    const first = gate();
    subscribe('order.placed', () => first.opened);
    take({ offset: 0 }, { offset: 1 });
    dispatcher.drain();
    take({ offset: 2 });
    first.open();
    await until(() => outcomes().length === 3, 'the answers');
    expect(outcomes()).toEqual(['1 released', '2 released', '0 done']);
  });

  it('is anything after the end, and nothing is answered any more', async () => {
    const { dispatcher, subscribe, take, finishes } = setUp();
    const first = gate();
    let calls = 0;
    subscribe('order.placed', () => {
      calls += 1;
      return first.opened;
    });
    take({ offset: 0 }, { offset: 1 });
    dispatcher.close();
    first.open();
    take({ offset: 2 });
    await tick();
    await tick();
    expect(calls).toBe(1);
    expect(finishes).toEqual([1]);
  });
});

describe('a running handler', () => {
  it('is known across awaits, until it ends, to its own dispatcher', async () => {
    const { dispatcher, subscribe, take, outcomes } = setUp();
    const other = setUp().dispatcher;
    const states: boolean[] = [];
    let later: Promise<void> = Promise.resolve();
    const end = gate();
    subscribe('order.placed', async () => {
      states.push(dispatcher.current() !== undefined);
      await tick();
      states.push(dispatcher.current() !== undefined, other.current() !== undefined);
      later = end.opened.then(() => {
        states.push(dispatcher.current() !== undefined);
      });
    });
    expect(dispatcher.current()).toBeUndefined();
    take({});
    expect(dispatcher.current()).toBeUndefined();
    await until(() => outcomes().length === 1, 'the answer');
    end.open();
    await later;
    expect(states).toEqual([true, true, false, false]);
  });

  it('can let the core go on without its answer, which is then released, once', async () => {
    const { dispatcher, subscribe, take, outcomes } = setUp();
    const end = gate();
    subscribe('order.placed', async () => {
      dispatcher.releaseCurrent();
      await end.opened;
    });
    take({});
    await tick();
    expect(outcomes()).toEqual(['0 released']);
    end.open();
    await tick();
    await tick();
    expect(outcomes()).toEqual(['0 released']);
  });
});
