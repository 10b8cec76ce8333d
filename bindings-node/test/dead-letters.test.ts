import { describe, expect, it, vi } from 'vitest';
import {
  DEAD_LETTER_HEADERS,
  DeadLetters,
  type ListOptions,
  type ReplayOptions,
} from '../ts/dead-letters';
import { ArgumentError, ClosedError } from '../ts/error';
import { FatalHandlerError } from '../ts/failure';
import { addon } from '../ts/native';
import { keptBroker, makeBus } from './support/bus';
import { withId } from './support/events';

const eventually = (holds: () => unknown) => vi.waitFor(holds, { timeout: 20_000, interval: 20 });

/** What the core was asked. */
function asked(answer: unknown = []): { letters: DeadLetters; requests: object[] } {
  const requests: object[] = [];
  const letters = new DeadLetters('order.placed', undefined, async (json) => {
    requests.push(JSON.parse(json) as object);
    return answer;
  });
  return { letters, requests };
}

describe('what the core is asked', () => {
  it('has only what is given, bytes as digits and times as milliseconds', async () => {
    const { letters, requests } = asked();
    await letters.list();
    await letters.list({
      reason: 'fatal',
      since: new Date(5),
      until: 6,
      partition: 0,
      offset: 7,
      key: 'k',
      limit: 1,
    });
    await letters.replay({ reason: ['fatal', 'invalid'], key: Buffer.from([0, 255]) });
    await letters.replay({ limit: 0, ratePerSecond: 0.5, dryRun: true, maxReplays: 9 });
    const to = { eventType: 'order.placed' };
    expect(requests).toEqual([
      { ...to, call: 'list', limit: 100 },
      {
        ...to,
        call: 'list',
        reasons: ['fatal'],
        since: 5,
        until: 6,
        partition: 0,
        offset: 7,
        key: '6b',
        limit: 1,
      },
      { ...to, call: 'replay', reasons: ['fatal', 'invalid'], key: '00ff' },
      { ...to, call: 'replay', limit: 0, ratePerSecond: 0.5, dryRun: true, maxReplays: 9 },
    ]);
  });

  it.each([
    { limit: -1 },
    { limit: 1.5 },
    { partition: '1' },
    { offset: Number.NaN },
    { since: new Date(Number.NaN) },
    { until: '2026' },
    { key: 5 },
  ] as object[])('refuses %j', async (options) => {
    const { letters, requests } = asked();
    await expect(letters.list(options as ListOptions)).rejects.toThrow(ArgumentError);
    expect(requests).toEqual([]);
  });

  it.each([
    { ratePerSecond: 0 },
    { dryRun: 'yes' },
    { maxReplays: -1 },
    { limit: '5' },
  ] as object[])('refuses to replay with %j', async (options) => {
    const { letters, requests } = asked();
    await expect(letters.replay(options as ReplayOptions)).rejects.toThrow(ArgumentError);
    await expect(letters.list(null as unknown as ListOptions)).rejects.toThrow(ArgumentError);
    expect(requests).toEqual([]);
  });
});

it('the headers are those of the core', () => {
  const table = JSON.parse(addon().deadLetterHeaders()) as Record<string, string>;
  expect(Object.values(DEAD_LETTER_HEADERS).sort()).toEqual(Object.keys(table).sort());
});

it('needs a connected bus and a legal event type', async () => {
  const { bus } = makeBus();
  expect(() => bus.deadLetters('a b')).toThrow(ArgumentError);
  await expect(bus.deadLetters('order.placed').list()).rejects.toThrow(ClosedError);
});

describe('a failing handler', () => {
  it('makes dead letters that are listed, shown and replayed', async () => {
    const brokers = [await keptBroker()];
    const { bus } = makeBus({ brokers });
    const seen: { id: string; replay: string | null | undefined }[] = [];
    let broken = true;
    await bus.subscribe('order.placed', {
      handle: async ({ eventId }, { headers }) => {
        if (broken) throw new FatalHandlerError(`cannot handle ${eventId}`);
        seen.push({ id: eventId, replay: headers.get(DEAD_LETTER_HEADERS.replayId) });
      },
    });
    await bus.connect();
    const letters = bus.deadLetters('order.placed');
    await expect(letters.list()).rejects.toMatchObject({ code: 'EVBUS_UNKNOWN_TOPIC' });
    for (const id of ['1', '2', '3']) await bus.publish(withId(id));
    await eventually(async () => expect(await letters.list()).toHaveLength(3));
    const listed = await letters.list();
    expect(listed.map(({ eventId }) => eventId).sort()).toEqual(['1', '2', '3']);
    const [first] = listed;
    expect(first).toMatchObject({
      sourceTopic: 'order.placed',
      reason: 'fatal',
      group: 'test',
      attempts: 1,
      errorMessage: expect.stringContaining('cannot handle'),
      replays: 0,
      reduced: null,
    });
    expect(first?.lastFailedAt).toBeInstanceOf(Date);
    const { partition = 0, offset = 0, eventId } = first ?? {};
    const shown = await letters.show({ partition, offset });
    expect(JSON.parse(String(shown.value))).toMatchObject({ eventId });
    expect(shown.headers.get('eventId')).toBe(eventId);
    expect([...shown.headers].some(([name]) => name.startsWith('dead-letter.'))).toBe(false);
    expect(shown.key).toEqual(first?.key);
    await expect(letters.show({ partition: 0, offset: 999 })).rejects.toThrow(ArgumentError);

    expect(await letters.replay({ dryRun: true })).toMatchObject({ replayed: 3, dryRun: true });
    broken = false;
    const { replayed, skipped, complete } = await letters.replay({ reason: 'fatal' });
    expect({ replayed, skipped, complete }).toEqual({ replayed: 3, skipped: 0, complete: true });
    await eventually(() => expect(seen).toHaveLength(3));
    expect(seen.map(({ id }) => id).sort()).toEqual(['1', '2', '3']);
    const ids = seen.map(({ replay }) => replay);
    expect(new Set(ids).size).toBe(3);
    expect(ids).toContain(`order.placed.dead-letter/${partition}/${offset}`);
    expect(await letters.replay({ reason: 'fatal' })).toMatchObject({ replayed: 0 });
  });

  it('makes dead letters in a topic of another name', async () => {
    const brokers = [await keptBroker()];
    const { bus } = makeBus({ brokers, deadLetterTopic: 'failures', retry: { attempts: 1 } });
    const handle = async () => {
      throw new Error('no');
    };
    await bus.subscribe('order.placed', { handle });
    await bus.connect();
    await bus.publish(withId('1'));
    const letters = bus.deadLetters('order.placed');
    await eventually(async () => expect(await letters.list()).toHaveLength(1));
    const elsewhere = makeBus({ brokers }).bus;
    await elsewhere.connect();
    const [letter] = await elsewhere.deadLetters('order.placed', { topic: 'failures' }).list();
    expect(letter).toMatchObject({ reason: 'exhausted', eventId: '1' });
    expect(await elsewhere.deadLetters('order.shipped', { topic: 'failures' }).list()).toEqual([]);
  });
});
