// The same handler as in handlers.mjs on kafkajs, at its best setting for slow handlers: every partition at once.
//
//   node bindings-node/bench/kafkajs.mjs BOOTSTRAP TOPIC EVENTS '{"delayMs": 5, "partitions": 4}'

import { Kafka, logLevel } from 'kafkajs';

const [bootstrap, topic, count, json] = process.argv.slice(2);
const events = Number(count);
const { delayMs, partitions } = JSON.parse(json);

const kafka = new Kafka({ brokers: bootstrap.split(','), logLevel: logLevel.NOTHING });
const consumer = kafka.consumer({ groupId: `kafkajs-${process.pid}-${Date.now()}` });
await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });

let handled = 0;
let started;
await new Promise((resolve, reject) => {
  consumer
    .run({
      partitionsConsumedConcurrently: partitions,
      eachMessage: async ({ message }) => {
        started ??= process.hrtime.bigint();
        JSON.parse(message.value.toString());
        await new Promise((wake) => setTimeout(wake, delayMs));
        handled += 1;
        if (handled === events) resolve();
      },
    })
    .catch(reject);
});
const seconds = Number(process.hrtime.bigint() - started) / 1e9;
await consumer.disconnect();
console.log(JSON.stringify({ eventsPerSecond: events / seconds }));
