// Publishes events to a real Kafka of three nodes and handles them in three processes, while consumers and brokers are
// killed, frozen and restarted; then holds what was delivered against what was published.
//
//   node dev/integrity.mjs               30 000 events
//   node dev/integrity.mjs --short       6 000 events, in less than a minute, without the rolling restart
//   node dev/integrity.mjs --seed 8123   the same choice of troubles again
//   node dev/integrity.mjs --runs 10     that many runs, with seeds that follow each other
//   node dev/integrity.mjs --seeds 1..10 a run for each of these seeds, the last one too
//
// Every acknowledged event is handled or in the dead-letter topic; the first deliveries of an aggregate are in order;
// no two calls of one aggregate overlap within a process. Everything that one process logs stays in a temporary
// directory when a run fails.

import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Failure, main, root } from './lib/exec.mjs';
import { Members } from './lib/integrity/members.mjs';
import { judge } from './lib/integrity/verdict.mjs';
import { javaAvailable, startKafka } from './lib/kafka/cluster.mjs';

const MEMBERS = 3;
const KEYS = 500;
const PARTITIONS = 6;
/** How many milliseconds there are for an event, on an average, so that the troubles have their time. */
const PACE_MS = 4;
const TYPE = 'order.counted';
/** How long the last events may take after the last trouble. */
const SETTLE_MS = 90_000;
const CONFIG = {
  ordering: 'key',
  concurrency: 64,
  retry: { attempts: 3, initialDelayMs: 20, maxDelayMs: 100 },
  sessionTimeoutMs: 3_000,
  heartbeatIntervalMs: 500,
};

function parse(args) {
  const options = { events: 30_000, short: false, seed: Date.now() % 1_000_000, runs: 1 };
  // pnpm hands the -- on.
  const rest = args.filter((arg) => arg !== '--');
  while (rest.length > 0) {
    const flag = rest.shift();
    if (flag === '--short') Object.assign(options, { events: 6_000, short: true });
    else if (flag === '--seed' && /^\d+$/.test(rest[0])) options.seed = Number(rest.shift());
    else if (flag === '--runs' && /^[1-9]\d*$/.test(rest[0])) options.runs = Number(rest.shift());
    else if (flag === '--seeds' && /^\d+\.\.\d+$/.test(rest[0])) {
      const [first, last] = rest.shift().split('..').map(Number);
      if (last < first) throw new Failure(`there is no seed from ${first} to ${last}`);
      Object.assign(options, { seed: first, runs: last - first + 1 });
    } else
      throw new Failure(
        'usage: node dev/integrity.mjs [--short] [--seed N] [--runs N] [--seeds A..B]',
      );
  }
  return options;
}

/** Numbers from 0 to below 1, the same for the same seed. */
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Publishes the events of a key one after the other, and remembers how each ended. */
class Publisher {
  acknowledged = new Set();
  unknown = new Set();
  #next = 0;

  constructor(bus, events, random) {
    this.bus = bus;
    this.events = events;
    this.random = random;
  }

  async #publish(key) {
    while (this.#next < this.events) {
      const seq = this.#next++;
      const chance = this.random();
      // One in a hundred fails, one in ten of these for good.
      const failures = chance < 0.001 ? 1_000 : chance < 0.01 ? 1 : 0;
      const now = new Date();
      try {
        await this.bus.publish({
          eventId: `event-${seq}`,
          eventType: TYPE,
          occurredOn: now,
          aggregateId: key,
          version: 1,
          payload: { eventType: TYPE, timestamp: now, seq, failures },
        });
        this.acknowledged.add(seq);
      } catch (error) {
        if (error.outcome !== 'not_sent') this.unknown.add(seq);
      }
      await pause(KEYS * PACE_MS);
    }
  }

  /** Keys that wait for a broker do not hold up the others. */
  async run() {
    const keys = Array.from({ length: KEYS }, (_, index) => `order-${index}`);
    await Promise.all(keys.map((key) => this.#publish(key)));
  }
}

/** What goes wrong, one thing after the other, until the events are published. */
async function troubles({ cluster, members, random, short, going, told }) {
  const someone = () => 1 + Math.floor(random() * MEMBERS);
  const kinds = [
    async () => {
      const place = someone() - 1;
      told(`kill -9 of consumer ${place}`);
      await members.end(place, 'SIGKILL');
      members.start(place);
    },
    async () => {
      const node = someone();
      told(`kill -9 of broker ${node}`);
      await cluster.kill(node);
      await cluster.start(node);
      await cluster.inSync();
    },
    async () => {
      const node = someone();
      told(`SIGSTOP of broker ${node}`);
      await cluster.pause(node);
      await pause(2_000 + random() * 3_000);
      await cluster.cont(node);
      await cluster.inSync();
    },
  ];
  let round = 0;
  while (going()) {
    await pause(500 + random() * 1_500);
    const any = short ? 0 : Math.floor(random() * kinds.length);
    await kinds[round < kinds.length ? round : any]();
    if (round++ === kinds.length && !short && going()) {
      told('rolling restart');
      for (const node of [1, 2, 3]) {
        await cluster.restart(node);
        await cluster.inSync();
      }
    }
  }
  return round;
}

async function run(cluster, { events, short, seed }) {
  const folder = mkdtempSync(join(tmpdir(), 'evbus-integrity-'));
  const require = createRequire(import.meta.url);
  const { KafkaEventBus } = require(join(root, 'dist/index.js'));
  const brokers = cluster.bootstrap.split(',');
  const random = randomFrom(seed);
  const quiet = () => {};
  const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };
  const bus = new KafkaEventBus({ clientId: 'integrity', brokers, groupId: 'none', logger });
  const group = { brokers, groupId: `integrity-${seed}`, eventType: TYPE, config: CONFIG };
  const members = new Members(folder, group);
  const began = Date.now();
  const told = (what) => console.log(`  ${((Date.now() - began) / 1000).toFixed(1)} s: ${what}`);
  try {
    await bus.connect();
    for (let place = 0; place < MEMBERS; place++) members.start(place);
    const publisher = new Publisher(bus, events, randomFrom(seed + 1));
    let publishing = true;
    const published = publisher.run().finally(() => (publishing = false));
    const context = { cluster, members, random, short, going: () => publishing, told };
    const [, count] = await Promise.all([published, troubles(context)]);
    told(`${publisher.acknowledged.size} acknowledged, ${publisher.unknown.size} unknown`);
    const deadline = Date.now() + SETTLE_MS;
    let verdict;
    do {
      await pause(1_000);
      const letters = await bus.deadLetters(TYPE).list({ limit: 10_000 });
      const deadLettered = new Set(letters.map(({ eventId }) => Number(eventId.slice(6))));
      const { acknowledged, unknown } = publisher;
      verdict = judge({ acknowledged, unknown, deadLettered }, members.lines());
      verdict.deadLettered = deadLettered.size;
    } while (verdict.missing.length > 0 && Date.now() < deadline);
    await members.stop();
    const wrong = ['missing', 'strangers', 'disorder', 'overlaps'].filter(
      (name) => verdict[name].length > 0,
    );
    const { deliveries, handled, deadLettered } = verdict;
    told(
      `${deliveries} deliveries, ${handled} handled, ${deadLettered} dead letters, ${count} troubles`,
    );
    if (wrong.length === 0) {
      rmSync(folder, { recursive: true });
      return;
    }
    const examples = wrong.map(
      (name) => `${verdict[name].length} ${name}: ${JSON.stringify(verdict[name].slice(0, 3))}`,
    );
    throw new Failure(
      `seed ${seed}: ${examples.join('; ')}; what the members wrote is in ${folder}`,
    );
  } finally {
    members.abandon();
    await bus.disconnect();
  }
}

await main(async () => {
  const options = parse(process.argv.slice(2));
  const java = javaAvailable();
  if (!java.ok) throw new Failure(`this needs a real Kafka: ${java.reason}`);
  for (let at = 0; at < options.runs; at++) {
    const seed = options.seed + at;
    console.log(`integrity: seed ${seed}, ${options.events} events`);
    const cluster = await startKafka({
      nodes: 3,
      set: { 'group.min.session.timeout.ms': 1_000 },
      log: console.log,
    });
    try {
      await cluster.createTopic(TYPE, { partitions: PARTITIONS });
      await run(cluster, { ...options, seed });
    } finally {
      await cluster.down();
    }
  }
});
