// Fills a topic for the benchmarks of handlers.
//
//   node bindings-node/bench/fill.mjs BOOTSTRAP TOPIC EVENTS KEYS BYTES
//
// Events are numbered from 0; BYTES is about what the value of each has. Needs dist/: npm run build.

import { KafkaEventBus } from '@repo-packages/i_event-bus';

const [bootstrap, topic, ...numbers] = process.argv.slice(2);
const [events, keys, bytes] = numbers.map(Number);
const bus = new KafkaEventBus({
  clientId: 'bench-fill',
  brokers: bootstrap.split(','),
  logger: false,
});
await bus.connect();
const filling = 'x'.repeat(Math.max(0, bytes - 200));
for (let from = 0; from < events; from += 5_000) {
  const batch = [];
  for (let seq = from; seq < Math.min(events, from + 5_000); seq += 1) {
    batch.push({
      eventId: `event-${seq}`,
      eventType: topic,
      occurredOn: new Date(),
      aggregateId: `key-${seq % keys}`,
      version: 1,
      payload: { seq, filling },
    });
  }
  await bus.publishMany(batch);
}
await bus.disconnect();
