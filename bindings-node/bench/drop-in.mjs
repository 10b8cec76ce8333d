// The drop-in benchmark on the npm package; the yardstick is core/benches/plain.rs.
//
//   node bindings-node/bench/drop-in.mjs BOOTSTRAP TOPIC publish EVENTS IN_FLIGHT | many EVENTS IN_FLIGHT | serial EVENTS | consume EVENTS
//
// Prints one JSON line. Needs dist/: npm run build.

import { KafkaEventBus } from '@repo-packages/i_event-bus';
import { makeOrder } from './order.mjs';

const [bootstrap, topic, what, ...rest] = process.argv.slice(2);
const [events = 200_000, inFlight = 4_000] = rest.map(Number);

const bus = new KafkaEventBus({
  clientId: 'bench',
  brokers: bootstrap.split(','),
  groupId: `bench-${process.pid}-${Date.now()}`,
  logger: false,
});

const makeEvent = (i) => makeOrder(i, topic);

/** A promise per event. */
async function publish(count, width) {
  let next = 0;
  const started = process.hrtime.bigint();
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (next < count) await bus.publish(makeEvent(next++));
    }),
  );
  return count / (Number(process.hrtime.bigint() - started) / 1e9);
}

/** A promise per hundred events. */
async function publishMany(count, width) {
  let next = 0;
  const started = process.hrtime.bigint();
  await Promise.all(
    Array.from({ length: width / 100 }, async () => {
      while (next < count) {
        const batch = Array.from({ length: 100 }, () => makeEvent(next++));
        await bus.publishMany(batch);
      }
    }),
  );
  return count / (Number(process.hrtime.bigint() - started) / 1e9);
}

async function serial(count) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const started = process.hrtime.bigint();
    await bus.publish(makeEvent(i));
    times.push(Number(process.hrtime.bigint() - started) / 1e3);
  }
  times.sort((a, b) => a - b);
  return { p50: times[times.length >> 1], p99: times[Math.floor(times.length * 0.99)] };
}

/** With JSON.parse, dates, a handler and commits. */
function consume(count) {
  return new Promise((resolve, reject) => {
    let started;
    let seen = 0;
    let items = 0;
    const handle = async (event) => {
      started ??= process.hrtime.bigint();
      items += event.payload.items;
      if (++seen === count)
        resolve(items && count / (Number(process.hrtime.bigint() - started) / 1e9));
    };
    bus.subscribe(topic, { handle }).catch(reject);
  });
}

/** Published before the clock starts: it takes that long until all code is compiled and batches have their size. */
const WARM_UP = Math.min(events, 200_000);

await bus.connect();
let result;
switch (what) {
  case 'publish':
    await publish(WARM_UP, inFlight);
    result = { eventsPerSecond: await publish(events, inFlight) };
    break;
  case 'many':
    await publishMany(WARM_UP, inFlight);
    result = { eventsPerSecond: await publishMany(events, inFlight) };
    break;
  case 'serial':
    await serial(200);
    result = await serial(events);
    break;
  case 'consume':
    result = { eventsPerSecond: await consume(events) };
    break;
  default:
    throw new Error(`${what} is no case`);
}
console.log(JSON.stringify(result));
await bus.disconnect();
