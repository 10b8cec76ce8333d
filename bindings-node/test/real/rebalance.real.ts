import { describe, expect, it } from 'vitest';
import type { HandlerContext } from '../../ts/context';
import { collector, type LogLine, makeBus } from '../support/bus';
import { orderPlaced } from '../support/events';
import { until } from '../support/native';
import { brokers, makeTopic, noBrokers, unique } from './support/kafka';

const PARTITIONS = 6;

const count = (lines: readonly LogLine[], event: string) =>
  lines.filter((line) => line.event === event).length;

/** The client may find a broker that has just started busy, which passes. */
const isTrouble = ({ level, event }: LogLine) =>
  (level === 'warn' || level === 'error') && event !== 'client_log';

/** How many partitions a member has, by what it logged. */
function ownedBy(lines: readonly LogLine[]): number {
  let owned = 0;
  for (const { event, fields } of lines) {
    const partitions = (fields['partitions'] as unknown[] | undefined)?.length ?? 0;
    if (event === 'partitions_assigned') owned += partitions;
    if (event === 'partitions_revoked' || event === 'partitions_lost') owned -= partitions;
  }
  return owned;
}

/** Publishes as long as it is not told to stop; gives the ids of what was acknowledged. */
function load(eventType: string) {
  const acknowledged: string[] = [];
  const { bus } = makeBus({ brokers });
  let stopped = false;
  const running = (async () => {
    await bus.connect();
    for (let next = 0; !stopped; next += 20) {
      const events = Array.from({ length: 20 }, (_, n) =>
        orderPlaced({
          eventId: String(next + n),
          eventType,
          aggregateId: `order-${(next + n) % 50}`,
        }),
      );
      await bus.publishMany(events);
      acknowledged.push(...events.map(({ eventId }) => eventId));
    }
  })();
  const stop = async (): Promise<string[]> => {
    stopped = true;
    await running;
    return acknowledged;
  };
  return { acknowledged, stop };
}

describe.skipIf(noBrokers)('a group whose members come and go', () => {
  it('hands partitions over under load without losing or repeating an event', async () => {
    const eventType = unique('rebalance');
    const groupId = unique('rebalance');
    await makeTopic(eventType, PARTITIONS);
    const [first, second] = [makeBus({ brokers, groupId }), makeBus({ brokers, groupId })];
    const [one, two] = [collector(), collector()];
    await first.bus.subscribe(eventType, one);
    await first.bus.connect();
    await until(() => ownedBy(first.lines) === PARTITIONS, 'the first has all partitions', 20_000);
    const { acknowledged, stop } = load(eventType);
    await until(() => one.seen.length > 500, 'the first handles', 20_000);

    await second.bus.subscribe(eventType, two);
    await second.bus.connect();
    await until(
      () => ownedBy(second.lines) === PARTITIONS / 2 && ownedBy(first.lines) === PARTITIONS / 2,
      'each has half of the partitions',
      20_000,
    );
    const joined = acknowledged.length;
    await until(() => two.seen.length > 500 && acknowledged.length > joined + 500, 'both', 20_000);

    expect(await second.bus.disconnect()).toMatchObject({ clean: true });
    await until(() => ownedBy(first.lines) === PARTITIONS, 'the first has them again', 20_000);
    const left = acknowledged.length;
    await until(() => acknowledged.length > left + 500, 'more events', 20_000);

    const published = await stop();
    const handled = (): string[] => [...one.seen, ...two.seen].map(({ eventId }) => eventId);
    await until(() => new Set(handled()).size >= published.length, 'every event', 20_000);
    const byNumber = (ids: Iterable<string>) => [...ids].sort((a, b) => Number(a) - Number(b));
    expect(byNumber(new Set(handled()))).toEqual(byNumber(published));
    // Both left in order, so each committed what it had handled before another member went on there.
    expect(handled()).toHaveLength(published.length);
    for (const { bus, errors, lines } of [first, second]) {
      expect(errors).toEqual([]);
      expect(bus.metrics().consume).toMatchObject({ handledAfterRevoke: 0, commitFailures: 0 });
      expect(lines.filter(isTrouble)).toEqual([]);
    }
  });

  it('does not rebalance for a second handler of a type, only for another type', async () => {
    const [eventType, other] = [unique('rebalance'), unique('rebalance')];
    await makeTopic(eventType, PARTITIONS);
    await makeTopic(other, PARTITIONS);
    const { bus, lines } = makeBus({ brokers, groupId: unique('rebalance') });
    const [one, two, three] = [collector(), collector(), collector()];
    await bus.subscribe(eventType, one);
    await bus.connect();
    await until(() => ownedBy(lines) === PARTITIONS, 'the partitions', 20_000);
    const { rebalances } = bus.metrics().consume;
    expect(count(lines, 'partitions_assigned')).toBe(1);
    await bus.subscribe(eventType, two);
    await bus.publish(orderPlaced({ eventType }));
    await until(() => two.seen.length === 1, 'the second handler', 20_000);
    await bus.unsubscribe(eventType, two);
    await bus.publish(orderPlaced({ eventType }));
    await until(() => one.seen.length === 2, 'the first handler', 20_000);
    // A rebalance for those changes would be over before the one that this change needs.
    await bus.subscribe(other, three);
    await until(() => ownedBy(lines) === 2 * PARTITIONS, 'the partitions of the other', 20_000);
    expect(count(lines, 'partitions_assigned')).toBe(2);
    expect(count(lines, 'partitions_revoked')).toBe(0);
    expect(bus.metrics().consume.rebalances).toBe(rebalances + 1);
  });

  it('moves no partition when a static member restarts', async () => {
    const [eventType, groupId] = [unique('static'), unique('static')];
    await makeTopic(eventType, PARTITIONS);
    const make = async (groupInstanceId: string) => {
      const made = makeBus({ brokers, groupId, groupInstanceId });
      const seen = new Set<string>();
      const partitions = new Set<number>();
      await made.bus.subscribe(eventType, {
        async handle({ eventId }, { partition }: HandlerContext) {
          seen.add(eventId);
          partitions.add(partition);
        },
      });
      await made.bus.connect();
      return { ...made, seen, partitions };
    };
    const changes = ({ lines }: { readonly lines: readonly LogLine[] }) =>
      lines.filter(({ event }) => /^partitions_/.test(String(event)));
    const [first, other] = [await make('first'), await make('other')];
    const half = PARTITIONS / 2;
    await until(
      () => ownedBy(first.lines) === half && ownedBy(other.lines) === half,
      'each has half of the partitions',
      20_000,
    );
    const owned = (made: typeof first) =>
      made.bus.metrics().consume.lag.map((one) => one.partition);
    await until(() => owned(first).length === half, 'the first knows its partitions', 20_000);
    const mine = owned(first).sort();
    const { rebalances } = other.bus.metrics().consume;
    const told = changes(other).length;
    const events = (from: number) =>
      Array.from({ length: 100 }, (_, n) =>
        orderPlaced({ eventId: String(from + n), eventType, aggregateId: `order-${n}` }),
      );

    expect(await first.bus.disconnect()).toMatchObject({ clean: true });
    await other.bus.publishMany(events(0));
    const again = await make('first');
    await other.bus.publishMany(events(100));
    await until(() => again.seen.size + other.seen.size === 200, 'every event', 20_000);
    expect([...again.partitions].sort()).toEqual(mine);
    expect([...again.seen].filter((id) => other.seen.has(id))).toEqual([]);
    expect(changes(again).map(({ event }) => event)).toEqual(['partitions_assigned']);
    expect(other.bus.metrics().consume.rebalances).toBe(rebalances);
    expect(changes(other)).toHaveLength(told);
    expect(again.lines.concat(other.lines).filter(isTrouble)).toEqual([]);
  });
});
