// Run with: node --test dev/test/
// A bus ends in time, whatever the brokers do, and what it reports as handled is not delivered again.
//
// EVBUS_LOG=1  prints what the buses log
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { root } from '../lib/exec.mjs';
import { javaAvailable, startKafka } from '../lib/kafka/cluster.mjs';
import { until as holds } from '../lib/kafka/processes.mjs';

const require = createRequire(import.meta.url);
const java = javaAvailable();
const skip = !java.ok && `skipped: ${java.reason}`;
const TIMEOUT_MS = 3_000;
const EVENTS = 40;

async function until(what, condition) {
  assert.ok(await holds(condition, 30_000), what);
}

let kafka;
let brokers;
let last = 0;
before(async () => {
  if (skip) return;
  kafka = await startKafka({ set: { 'group.min.session.timeout.ms': 1_000 } });
  brokers = kafka.bootstrap.split(',');
});
after(() => kafka?.down());

const says = (level) => (fields, message) => {
  if (process.env.EVBUS_LOG) console.log(new Date().toISOString(), level, message, fields);
};
const logger = Object.fromEntries(
  ['debug', 'info', 'warn', 'error'].map((level) => [level, says(level)]),
);

function newBus(groupId, config = {}) {
  const { KafkaEventBus } = require(join(root, 'dist/index.js'));
  const limits = { sessionTimeoutMs: 3_000, heartbeatIntervalMs: 500, connectTimeoutMs: 30_000 };
  return new KafkaEventBus({
    clientId: 'shutdown',
    brokers,
    groupId,
    logger,
    ...limits,
    ...config,
  });
}

/** A topic with events, and a bus that handles them one after the other, 20 ms each. */
async function scene(t, handle = () => {}) {
  const eventType = `order.ended-${last++}`;
  const groupId = `group-${eventType}`;
  await kafka.createTopic(eventType, { partitions: 2 });
  const handled = new Set();
  const bus = newBus(groupId);
  t.after(() => bus.disconnect());
  await bus.subscribe(eventType, {
    async handle({ eventId }) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      handle(eventId);
      handled.add(eventId);
    },
  });
  await bus.connect();
  const now = new Date();
  const event = (_, index) => ({
    eventId: `event-${index}`,
    eventType,
    occurredOn: now,
    aggregateId: `order-${index % 8}`,
    version: 1,
    payload: { eventType, timestamp: now },
  });
  await bus.publishMany(Array.from({ length: EVENTS }, event));
  return { bus, eventType, groupId, handled };
}

/** Ends the bus in time, and gives its report. */
async function end(bus) {
  const began = performance.now();
  const report = await bus.disconnect({ timeoutMs: TIMEOUT_MS });
  const took = performance.now() - began;
  assert.ok(took < TIMEOUT_MS + 500, `it took ${took} ms`);
  return report;
}

/** What the group gets again. */
async function again(t, { eventType, groupId, handled }) {
  const seen = new Set();
  const bus = newBus(groupId);
  t.after(() => bus.disconnect());
  await bus.subscribe(eventType, { handle: async ({ eventId }) => void seen.add(eventId) });
  await bus.connect();
  await until('every event is handled', () => new Set([...seen, ...handled]).size === EVENTS);
  await until('the group is at the end', () => {
    const { lag } = bus.metrics().consume;
    return lag.length === 2 && lag.every((one) => one.lag === 0);
  });
  await bus.disconnect();
  return seen;
}

async function some(handled) {
  await until('some events are handled', () => handled.size >= 5);
}

test('with healthy brokers everything is in order', { skip, timeout: 120_000 }, async (t) => {
  const scenery = await scene(t);
  await some(scenery.handled);
  const report = await end(scenery.bus);
  assert.ok(report.clean && report.lost === 0, JSON.stringify(report));
  const before = new Set(scenery.handled);
  const seen = await again(t, scenery);
  assert.deepEqual(
    [...seen].filter((id) => before.has(id)),
    [],
  );
});

for (const [what, hurt, mend] of [
  ['a broker that is black-holed', () => kafka.pause(1), () => kafka.cont(1)],
  ['a coordinator that is gone', () => kafka.kill(1), () => kafka.start(1)],
]) {
  test(`with ${what}`, { skip, timeout: 120_000 }, async (t) => {
    const scenery = await scene(t);
    await some(scenery.handled);
    await hurt();
    let report;
    try {
      report = await end(scenery.bus);
    } finally {
      await mend();
      await until('the broker answers', async () => (await kafka.status())[0].answers);
    }
    const seen = await again(t, scenery);
    const kept = EVENTS - seen.size;
    assert.ok(report.handled <= kept, `reported ${report.handled}, kept ${kept}`);
  });
}

test('during a rebalance', { skip, timeout: 120_000 }, async (t) => {
  const scenery = await scene(t);
  await some(scenery.handled);
  const other = newBus(scenery.groupId);
  t.after(() => other.disconnect());
  const rebalances = scenery.bus.metrics().consume.rebalances;
  await other.subscribe(scenery.eventType, {
    handle: async ({ eventId }) => void scenery.handled.add(eventId),
  });
  await other.connect();
  await until('the rebalance', () => scenery.bus.metrics().consume.rebalances > rebalances);
  const report = await end(scenery.bus);
  assert.equal(report.lost, 0, JSON.stringify(report));
  await until('the other handles the rest', () => scenery.handled.size === EVENTS);
});

test('during retries', { skip, timeout: 120_000 }, async (t) => {
  let failures = 0;
  const scenery = await scene(t, () => {
    failures++;
    throw new Error('not yet');
  });
  await until('retries', () => failures > 3);
  const report = await end(scenery.bus);
  assert.equal(report.handled, 0, JSON.stringify(report));
  const seen = await again(t, scenery);
  assert.equal(seen.size, EVENTS, 'what was retried comes again');
});
