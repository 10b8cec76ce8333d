// A process that publishes an event every now and then and handles what it publishes, while its parent takes Kafka away.
//
//   fork('service.mjs', [JSON])    {brokers, eventType, everyMs}
//
// It tells its parent: {log: {event, level, message, brokers}}, {acknowledged: id}, {failed: id, code, outcome},
// {handled: id}; asked for 'usage', {usage}, its CPU time in microseconds so far.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { KafkaEventBus } = require('../../../dist/index.js');

const { brokers, eventType, everyMs } = JSON.parse(process.argv[2]);
const tell = (message) => process.send?.(message);

const at = (level) => (fields, message) =>
  tell({ log: { level, message, event: fields.event, brokers: fields.brokers } });
const logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };

const bus = new KafkaEventBus({ clientId: 'outage', brokers, groupId: eventType, logger });
await bus.subscribe(eventType, { handle: async ({ eventId }) => tell({ handled: eventId }) });
await bus.connect();

let last = 0;
function publish() {
  const eventId = `event-${last++}`;
  const now = new Date();
  const payload = { eventType, timestamp: now };
  const aggregateId = `order-${last % 10}`;
  bus.publish({ eventId, eventType, occurredOn: now, aggregateId, version: 1, payload }).then(
    () => tell({ acknowledged: eventId }),
    ({ code, outcome }) => tell({ failed: eventId, code, outcome }),
  );
}
const publishing = setInterval(publish, everyMs);

process.on('message', (question) => {
  if (question === 'usage') tell({ usage: process.cpuUsage() });
});
process.once('SIGTERM', async () => {
  clearInterval(publishing);
  await bus.disconnect();
  process.disconnect();
});
// Nobody listens when the parent has ended, however it did.
process.once('disconnect', () => process.exit());
