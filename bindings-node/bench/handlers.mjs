// What handlers get of a topic that is full already, by the npm package; the peer is kafkajs.mjs.
//
//   node bindings-node/bench/handlers.mjs BOOTSTRAP TOPIC EVENTS '{"delayMs": 5, "poison": 0, "concurrency": 200}'
//
// Prints one JSON line: the rate from the first event to the last, the peak of resident memory beyond that of the
// connected bus, and, where `poison` is the share of events that no attempt can handle, what became of these: `letters`
// of them are in the dead-letter topic once, with where they come from and why, `wrongLetters` otherwise. Needs dist/:
// npm run build.

import { FatalHandlerError, KafkaEventBus } from '@repo-packages/i_event-bus';

const [bootstrap, topic, count, json] = process.argv.slice(2);
const events = Number(count);
const { delayMs, poison = 0, concurrency } = JSON.parse(json);
const isPoison = poison > 0 ? (seq) => seq % Math.round(1 / poison) === 0 : () => false;

const REASON = 'nobody can handle this';
const groupId = `handlers-${process.pid}-${Date.now()}`;

const bus = new KafkaEventBus({
  clientId: 'bench-handlers',
  brokers: bootstrap.split(','),
  groupId,
  ordering: 'key',
  concurrency,
  logger: false,
});

/** The last number of each aggregate, which only grows. */
const last = new Map();
let disorder = 0;
let handled = 0;
let refused = 0;
/** Where each event lies that was refused, by its id. */
const places = new Map();
let started;

function done() {
  return new Promise((resolve, reject) => {
    const handle = async (event, context) => {
      started ??= process.hrtime.bigint();
      const { seq } = event.payload;
      if (seq <= (last.get(event.aggregateId) ?? -1)) disorder += 1;
      last.set(event.aggregateId, seq);
      await new Promise((wake) => setTimeout(wake, delayMs));
      if (isPoison(seq)) {
        refused += 1;
        places.set(event.eventId, `${topic}/${context.partition}/${context.offset}`);
        if (refused + handled === events) resolve();
        throw new FatalHandlerError(REASON);
      }
      handled += 1;
      if (refused + handled === events) resolve();
    };
    bus.subscribe(topic, { handle }).catch(reject);
  });
}

/** How many events have the one letter that they ought to have, and what else there is. */
async function countLetters() {
  const expected = new Map(places);
  let wrong = 0;
  for (const letter of await bus.deadLetters(topic).list({ limit: 10 * events })) {
    const { eventId, group, reason, errorMessage, attempts } = letter;
    // Other rounds had the same topic.
    if (group !== groupId) continue;
    const place = `${letter.sourceTopic}/${letter.sourcePartition}/${letter.sourceOffset}`;
    const isRight = reason === 'fatal' && errorMessage === REASON && attempts === 1;
    // A second one of an event finds nothing here.
    if (isRight && expected.get(eventId) === place) expected.delete(eventId);
    else wrong += 1;
  }
  return { letters: places.size - expected.size, wrongLetters: wrong };
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

const found = refused > 0 ? await countLetters() : { letters: 0, wrongLetters: 0 };
const { clean } = await bus.disconnect({ timeoutMs: 30_000 });
const { consume } = bus.metrics();
const result = {
  eventsPerSecond: events / seconds,
  rssBytes: peak - before,
  handled,
  refused,
  deadLettered: consume.deadLettered,
  ...found,
  disorder,
  clean,
};
console.log(JSON.stringify(result));
