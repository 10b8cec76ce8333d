// Restarts the five members of a consumer group in turn while events flow, as a rolling deploy does, on a real Kafka, and
// measures for how long each partition stands still.
//
//   node dev/rolling.mjs               every member once
//   node dev/rolling.mjs --rounds 5    every member that often
//   node dev/rolling.mjs --static      with a groupInstanceId each, so that no partition moves
//
// A pause is the longest time between two handled events of a partition during one restart; 99 of 100 are shorter than
// three seconds. No event is lost, none comes out of order, and none that was handled comes again.

import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Failure, main, root } from './lib/exec.mjs';
import { Members } from './lib/integrity/members.mjs';
import { longestGaps, percentile } from './lib/integrity/pauses.mjs';
import { judge } from './lib/integrity/verdict.mjs';
import { javaAvailable, startKafka } from './lib/kafka/cluster.mjs';
import { until as holds } from './lib/kafka/processes.mjs';

const MEMBERS = 5;
const PARTITIONS = 20;
const KEYS = 500;
/** Each partition gets some fifty events a second, so that a pause is known to some 20 ms. */
const BATCH = 20;
const BATCH_EVERY_MS = 20;
const TYPE = 'order.rolled';
const MOST_MS = 3_000;
/** How long a member may take to come, and the last events after the last restart. */
const SETTLE_MS = 60_000;

const now = () => process.hrtime.bigint();

async function until(what, condition) {
  if (!(await holds(condition, SETTLE_MS, 20)))
    throw new Failure(`not within ${SETTLE_MS} ms: ${what}`);
}

/** Publishes at a steady rate until it is stopped. */
class Load {
  acknowledged = new Set();
  #next = 0;
  #timer;
  #outstanding = new Set();
  #failure;

  constructor(bus) {
    this.bus = bus;
    this.#timer = setInterval(() => this.#publish(), BATCH_EVERY_MS);
  }

  #publish() {
    const at = new Date();
    const seqs = Array.from({ length: BATCH }, () => this.#next++);
    const events = seqs.map((seq) => ({
      eventId: `event-${seq}`,
      eventType: TYPE,
      occurredOn: at,
      aggregateId: `order-${seq % KEYS}`,
      version: 1,
      payload: { eventType: TYPE, timestamp: at, seq, failures: 0 },
    }));
    const published = this.bus.publishMany(events).then(
      () => {
        for (const seq of seqs) this.acknowledged.add(seq);
      },
      (error) => {
        this.#failure ??= error;
      },
    );
    this.#outstanding.add(published);
    published.finally(() => this.#outstanding.delete(published));
  }

  async stop() {
    clearInterval(this.#timer);
    await Promise.all(this.#outstanding);
    if (this.#failure) throw this.#failure;
  }
}

/** Restarts each member in turn; gives when each restart began and when the group was settled again. */
async function restarts(members, rounds) {
  const windows = [];
  for (let round = 0; round < rounds; round++) {
    for (let place = 0; place < MEMBERS; place++) {
      const from = now();
      await members.end(place, 'SIGTERM');
      const file = members.start(place);
      await until(
        `member ${place} handles events`,
        () => existsSync(file) && statSync(file).size > 0,
      );
      const back = now();
      // The pauses of what moved to it end with its first events, of which each partition has some by then.
      await until('every partition goes on', () => {
        const going = new Set();
        for (const { letter, partition, at } of members.lines().flat())
          if (letter === 'E' && at > back) going.add(partition);
        return going.size === PARTITIONS;
      });
      windows.push({ from, to: now() });
      console.log(`  member ${place} restarted in ${Number((back - from) / 1_000_000n)} ms`);
    }
  }
  return windows;
}

async function run(cluster, { rounds, isStatic }) {
  const folder = mkdtempSync(join(tmpdir(), 'evbus-rolling-'));
  const require = createRequire(import.meta.url);
  const { KafkaEventBus } = require(join(root, 'dist/index.js'));
  const brokers = cluster.bootstrap.split(',');
  const quiet = () => {};
  const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };
  const bus = new KafkaEventBus({ clientId: 'rolling', brokers, logger });
  const group = { brokers, groupId: 'rolling', eventType: TYPE, config: {} };
  const members = new Members(folder, group, isStatic);
  try {
    await bus.connect();
    const load = new Load(bus);
    const files = Array.from({ length: MEMBERS }, (_, place) => members.start(place));
    await until('every member handles events', () =>
      files.every((file) => existsSync(file) && statSync(file).size > 0),
    );
    const windows = await restarts(members, rounds);
    await load.stop();
    const published = {
      acknowledged: load.acknowledged,
      unknown: new Set(),
      deadLettered: new Set(),
    };
    let verdict;
    await until('every event is handled', () => {
      verdict = judge(published, members.lines());
      return verdict.missing.length === 0;
    });
    const lines = members.lines();
    await members.stop();
    report({ windows, lines, verdict });
    rmSync(folder, { recursive: true });
  } finally {
    members.abandon();
    await bus.disconnect();
  }
}

function report({ windows, lines, verdict }) {
  const { deliveries, handled, disorder, overlaps } = verdict;
  const pauses = windows.flatMap((window) => longestGaps(lines, window));
  const [median, p99, most] = [50, 99, 100].map((share) => percentile(pauses, share));
  console.log(`${handled} events handled, ${deliveries - handled} of them more than once`);
  console.log(
    `pauses of ${pauses.length} partitions: median ${median} ms, p99 ${p99} ms, longest ${most} ms`,
  );
  if (pauses.length !== windows.length * PARTITIONS)
    throw new Failure(`${pauses.length} pauses were measured`);
  if (disorder.length + overlaps.length > 0)
    throw new Failure(`out of order or overlapping: ${JSON.stringify({ disorder, overlaps })}`);
  if (deliveries !== handled)
    throw new Failure('events came again although every member left in order');
  if (p99 > MOST_MS) throw new Failure(`the p99 of the pauses is ${p99} ms, over ${MOST_MS} ms`);
}

await main(async () => {
  const { values } = parseArgs({
    // pnpm hands the -- on.
    args: process.argv.slice(2).filter((arg) => arg !== '--'),
    options: {
      rounds: { type: 'string', default: '1' },
      static: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Failure('--rounds is a number from 1');
  const java = javaAvailable();
  if (!java.ok) throw new Failure(`this needs a real Kafka: ${java.reason}`);
  const cluster = await startKafka({ log: console.log });
  try {
    await cluster.createTopic(TYPE, { partitions: PARTITIONS });
    await run(cluster, { rounds, isStatic: values.static });
  } finally {
    await cluster.down();
  }
});
