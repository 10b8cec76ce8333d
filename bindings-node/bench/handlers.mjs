// What handlers get of a topic that is full already, by the npm package; the peer is kafkajs.mjs.
//
//   node bindings-node/bench/handlers.mjs BOOTSTRAP TOPIC EVENTS '{"delayMs": 5, "poison": 0, "concurrency": 200}'
//
// Prints one JSON line: the rate from the first event to the last, the peak of resident memory beyond that of the
// connected bus, and, where `poison` is the share of events that no attempt can handle, what became of these. Needs
// dist/: npm run build.

import { FatalHandlerError, KafkaEventBus } from '@repo-packages/i_event-bus';

const [bootstrap, topic, count, json] = process.argv.slice(2);
const events = Number(count);
const { delayMs, poison = 0, concurrency } = JSON.parse(json);
const isPoison = poison > 0 ? (seq) => seq % Math.round(1 / poison) === 0 : () => false;

const bus = new KafkaEventBus({
  clientId: 'bench-handlers',
  brokers: bootstrap.split(','),
  groupId: `handlers-${process.pid}-${Date.now()}`,
  ordering: 'key',
  concurrency,
  logger: false,
});

/** The last number of each aggregate, which only grows. */
const last = new Map();
let disorder = 0;
let handled = 0;
let refused = 0;
let started;

function done() {
  return new Promise((resolve, reject) => {
    const handle = async (event) => {
      started ??= process.hrtime.bigint();
      const { seq } = event.payload;
      if (seq <= (last.get(event.aggregateId) ?? -1)) disorder += 1;
      last.set(event.aggregateId, seq);
      await new Promise((wake) => setTimeout(wake, delayMs));
      if (isPoison(seq)) {
        refused += 1;
        if (refused + handled === events) resolve();
        throw new FatalHandlerError('nobody can handle this');
      }
      handled += 1;
      if (refused + handled === events) resolve();
    };
    bus.subscribe(topic, { handle }).catch(reject);
  });
}

await bus.connect();
globalThis.gc?.();
const before = process.memoryUsage.rss();
let peak = 0;
const watch = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss());
}, 20);
await done();
const seconds = Number(process.hrtime.bigint() - started) / 1e9;
clearInterval(watch);
// A failure that comes while the bus drains is left to the next member.
const deadline = Date.now() + 30_000;
while (bus.metrics().consume.deadLettered < refused && Date.now() < deadline)
  await new Promise((wake) => setTimeout(wake, 10));

const { clean } = await bus.disconnect({ timeoutMs: 30_000 });
const { consume } = bus.metrics();
const result = {
  eventsPerSecond: events / seconds,
  rssBytes: peak - before,
  handled,
  refused,
  deadLettered: consume.deadLettered,
  disorder,
  clean,
};
console.log(JSON.stringify(result));
