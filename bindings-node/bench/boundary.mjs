// What the JavaScript side of publishing and of handling costs in processor time per event: on a stand-in for the
// addon that acknowledges at once and delivers from memory. Needs dist/: npm run build.
//
//   node bindings-node/bench/boundary.mjs

import { createRequire } from 'node:module';
import { makeOrder } from './order.mjs';

const require = createRequire(import.meta.url);
const { Publisher } = require('../../dist/publish.js');
const { Registry } = require('../../dist/registry.js');
const { Dispatcher } = require('../../dist/subscribe.js');
const { Topics } = require('../../dist/topics.js');
const { Log, Reporter } = require('../../dist/logger.js');

const IN_FLIGHT = 4_000;
const PER_ROUND = 200_000;
const ROUNDS = 7;

const LIMITS = {
  maxInFlight: 8192,
  publishMaxInFlightBytes: 64 << 20,
  maxQueuedBytes: 32 << 20,
  messageMaxBytes: 1_048_588,
  publishTimeoutMs: 30_000,
};

const makeEvent = (i) => makeOrder(i, 'order.created');

/** Acknowledges every frame in the next turn. */
function acknowledgingPort() {
  const rows = new Int32Array(LIMITS.maxInFlight * 5);
  const port = {
    publisher: undefined,
    count: 0,
    topicId: () => 0,
    failure: () => '{}',
    publish(bytes, length) {
      const words = new Int32Array(bytes.buffer, 0, length >> 2);
      if (port.count === 0) setImmediate(acknowledge);
      for (let at = 0; at < words.length; at += words[at] >> 2) {
        rows[port.count * 5] = words[at + 1];
        port.count += 1;
      }
      return true;
    },
  };
  function acknowledge() {
    const count = port.count;
    port.count = 0;
    port.publisher.complete(rows.slice(0, count * 5), count);
  }
  return port;
}

const port = acknowledgingPort();
const publisher = new Publisher(port, new Topics(port), LIMITS, { hold() {}, release() {} });
port.publisher = publisher;

async function publishEach() {
  let next = 0;
  const one = async () => {
    while (next < PER_ROUND) await publisher.publish(makeEvent(next++), undefined);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, one));
}

async function publishHundreds() {
  let next = 0;
  const one = async () => {
    while (next < PER_ROUND) {
      const events = Array.from({ length: 100 }, () => makeEvent(next++));
      await publisher.publishMany(events, undefined);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT / 100 }, one));
}

/** A batch of 500 deliveries of one lane, as the addon packs it. */
function packBatch() {
  const values = Array.from({ length: 500 }, (_, i) => Buffer.from(JSON.stringify(makeEvent(i))));
  const index = new Int32Array(values.length * 18);
  let position = 0;
  values.forEach((value, row) => {
    const at = row * 18;
    index[at + 7] = row;
    index[at + 12] = position;
    index[at + 13] = value.length;
    index[at + 14] = 1;
    position += value.length;
  });
  return { data: Buffer.concat(values), index, isAscii: true };
}

const batch = packBatch();

async function handle(makeHandler) {
  let handled = 0;
  const registry = new Registry();
  const topics = new Topics({ topicId: () => 0 });
  topics.id('order.created');
  registry.add(
    'order.created',
    makeHandler(() => (handled += 1)),
  );
  let answered = 0;
  const native = { finish: (_, count) => (answered += count) };
  const dispatcher = new Dispatcher(native, topics, registry, new Reporter(new Log(false)));
  while (handled < PER_ROUND) {
    dispatcher.take(batch);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (answered === 0) throw new Error('nothing was answered');
}

const parseOnly = async () => {
  for (let i = 0; i < PER_ROUND; i += 1) {
    const at = (i % 500) * 18;
    const start = batch.index[at + 12];
    JSON.parse(batch.data.toString('utf8', start, start + batch.index[at + 13]));
  }
};

const cases = {
  'make an event': async () => {
    for (let i = 0; i < PER_ROUND; i += 1) makeEvent(i);
  },
  'publish, a promise each': publishEach,
  'publishMany, 100 a call': publishHundreds,
  'JSON.parse alone': parseOnly,
  'handle, returning nothing': () => handle((count) => ({ handle: () => void count() })),
  'handle, async': () => handle((count) => ({ handle: async () => void count() })),
};

const best = {};
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [name, run] of Object.entries(cases)) {
    const before = process.cpuUsage();
    await run();
    const { user, system } = process.cpuUsage(before);
    const nanoseconds = ((user + system) * 1000) / PER_ROUND;
    best[name] = Math.min(best[name] ?? Number.POSITIVE_INFINITY, nanoseconds);
  }
}
for (const [name, nanoseconds] of Object.entries(best)) {
  console.log(`${name.padEnd(28)} ${nanoseconds.toFixed(0).padStart(6)} ns`);
}
