import { Partitioners } from 'kafkajs';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { BaseEventPayload, IDomainEvent } from '../../ts/event';
import { KafkaEventBus } from '../../ts/kafka/KafkaEventBus';
import { until } from '../support/native';
import { brokers, leastSessionMs, makeTopic, noBrokers, unique } from './support/kafka';
import { type Entry, type Member, Members } from './support/members';

const EVENTS = 20_000;
const AGGREGATES = 200;
const PARTITIONS = 6;
const MEMBERS = 3;
/** Kills are at least so far apart; the group needs some time to do any work between them. */
const KILL_INTERVAL_MS = 2_000;
const LEAST_KILLS = 4;
/** How far publishing may be ahead of handling. */
const AHEAD = 3_000;
const CHUNK = 250;

interface Counted extends BaseEventPayload {
  readonly seq: number;
}

const seed = Number(process.env['EVBUS_TEST_SEED'] ?? Date.now() % 1_000_000);

/** Numbers from 0 to below 1, the same for the same seed. */
function randomFrom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const partitionOf = (topic: string): ((key: string) => number) => {
  const choose = Partitioners.DefaultPartitioner();
  const partitionMetadata = Array.from({ length: PARTITIONS }, (_, partitionId) => ({
    partitionId,
    partitionErrorCode: 0,
    leader: 1,
    replicas: [1],
    isr: [1],
  }));
  return (key) => choose({ topic, partitionMetadata, message: { key, value: null } });
};

/** Holds what one member did against the rules of one assignment: one at a time per partition, in order per aggregate. */
function checkMember(entries: readonly Entry[], partition: (key: string) => number): void {
  /** Per partition what runs and the last number per aggregate, since it was assigned. */
  const owned = new Map<number, { running: number | undefined; last: Map<string, number> }>();
  for (const entry of entries) {
    if ('partitions' in entry) {
      for (const id of entry.partitions) {
        if (entry.kind === 'A') owned.set(id, { running: undefined, last: new Map() });
        else expect(owned.has(id)).toBe(true);
      }
    } else {
      const state = owned.get(partition(entry.key));
      if (state === undefined) throw new Error(`event ${entry.seq} of a partition it never owned`);
      if (entry.kind === 'E') {
        if (state.running === entry.seq) state.running = undefined;
        continue;
      }
      expect(state.running, `event ${entry.seq} starts while another runs`).toBeUndefined();
      state.running = entry.seq;
      const last = state.last.get(entry.key) ?? -1;
      expect(entry.seq, `the order of ${entry.key}`).toBeGreaterThan(last);
      state.last.set(entry.key, entry.seq);
    }
  }
}

/** Holds first deliveries, whoever made them, against the order of publishing. */
function checkFirstDeliveries(members: readonly Member[]): void {
  const starts = members
    .flatMap(({ entries }) => entries)
    .flatMap((entry) => ('seq' in entry && entry.kind === 'S' ? [entry] : []))
    .sort((one, other) => (one.at < other.at ? -1 : 1));
  const highest = new Map<string, number>();
  const delivered = new Set<number>();
  for (const { seq, key } of starts) {
    if (delivered.has(seq)) continue;
    delivered.add(seq);
    expect(seq, `the first delivery of an event of ${key}`).toBeGreaterThan(highest.get(key) ?? -1);
    highest.set(key, seq);
  }
}

describe.skipIf(noBrokers)('members of a group that are killed', () => {
  it(`lose none of ${EVENTS} events and keep the order per aggregate (seed ${seed})`, async () => {
    const eventType = unique('killed-members');
    await makeTopic(eventType, PARTITIONS);
    const random = randomFrom(seed);
    // Until its session has passed, the group waits for a killed member.
    const sessionTimeoutMs = Math.max(2_000, await leastSessionMs());
    const killIntervalMs = Math.max(KILL_INTERVAL_MS, sessionTimeoutMs);
    const members = new Members({
      brokers,
      groupId: unique('killed-members'),
      eventType,
      seed,
      config: { sessionTimeoutMs, heartbeatIntervalMs: 500, commitIntervalMs: 250 },
    });
    onTestFinished(() => members.end());
    const publisher = new KafkaEventBus<Counted>({ clientId: 'publisher', brokers, logger: false });
    onTestFinished(async () => void (await publisher.disconnect()));
    await publisher.connect();

    const acknowledged = new Set<number>();
    const handled = new Set<number>();
    const cursors = new Map<Member, number>();
    let deliveries = 0;
    const look = (): void => {
      members.read();
      for (const member of members.all) {
        for (const entry of member.entries.slice(cursors.get(member) ?? 0)) {
          if (entry.kind === 'S') deliveries += 1;
          if (entry.kind === 'E') handled.add(entry.seq);
        }
        cursors.set(member, member.entries.length);
      }
    };

    const running = Array.from({ length: MEMBERS }, () => members.start());
    let kills = 0;
    let killedAt = performance.now();
    const killOne = async (): Promise<void> => {
      killedAt = performance.now();
      const victim = Math.floor(random() * MEMBERS);
      await running[victim]?.end('SIGKILL');
      running[victim] = members.start();
      kills += 1;
    };
    const step = async (reached: () => boolean, what: string): Promise<void> => {
      for (;;) {
        let due = false;
        await until(
          () => {
            look();
            due = handled.size > 0 && performance.now() - killedAt > killIntervalMs;
            return due || reached();
          },
          `${what}: ${handled.size} handled, ${acknowledged.size} acknowledged, ${kills} kills`,
          40_000,
        );
        if (!due || handled.size === EVENTS) return;
        await killOne();
      }
    };

    const started = performance.now();
    for (let from = 0; from < EVENTS; from += CHUNK) {
      const chunk = Array.from({ length: CHUNK }, (_, n): IDomainEvent<Counted> => {
        const seq = from + n;
        const occurredOn = new Date();
        return {
          eventId: String(seq),
          eventType,
          occurredOn,
          aggregateId: `aggregate-${Math.floor(random() * AGGREGATES)}`,
          version: 1,
          payload: { eventType, timestamp: occurredOn, seq },
        };
      });
      await publisher.publishMany(chunk);
      for (const { payload } of chunk) acknowledged.add(payload.seq);
      await step(
        () => handled.size > acknowledged.size - AHEAD && kills >= (from / EVENTS) * LEAST_KILLS,
        'the members keep up, and kills are spread over all events',
      );
    }
    await step(() => handled.size === EVENTS, 'every event is handled');
    const seconds = (performance.now() - started) / 1_000;

    expect(acknowledged.size).toBe(EVENTS);
    expect([...acknowledged].filter((seq) => !handled.has(seq))).toEqual([]);
    const partition = partitionOf(eventType);
    for (const { entries } of members.all) checkMember(entries, partition);
    checkFirstDeliveries(members.all);
    console.log(
      `seed ${seed}: ${EVENTS} events, ${kills} kills, ${deliveries - EVENTS} deliveries again, ${seconds.toFixed(1)} s`,
    );
    expect(kills).toBeGreaterThanOrEqual(LEAST_KILLS);
  }, 120_000);
});
