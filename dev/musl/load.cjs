// Loads the package in the folder that it is given and sends events through its addon: over Kafka's protocol to the
// embedded broker, and back to a handler. For dev/musl/build, which runs it in a Node for musl.

const assert = require('node:assert/strict');
const { join } = require('node:path');

const EVENTS = 200;

async function main(folder) {
  const { KafkaEventBus } = require(join(folder, 'index.js'));
  const { startEmbeddedBroker } = require(join(folder, 'testing.js'));
  const { platformName } = require(join(folder, 'platform.js'));
  assert.equal(platformName(), 'linux-x64-musl');

  const broker = await startEmbeddedBroker({ topics: ['order.placed'] });
  const bus = new KafkaEventBus({
    clientId: 'musl',
    groupId: 'musl',
    brokers: broker.brokers,
    logger: false,
  });
  const seen = new Set();
  const all = new Promise((resolve) => {
    const handle = async ({ eventId }) => {
      seen.add(eventId);
      if (seen.size === EVENTS) resolve();
    };
    bus.subscribe('order.placed', { handle });
  });
  await bus.connect();
  const occurredOn = new Date();
  const events = Array.from({ length: EVENTS }, (_, number) => ({
    eventId: String(number),
    eventType: 'order.placed',
    aggregateId: `order-${number % 10}`,
    occurredOn,
    version: 1,
    payload: { eventType: 'order.placed', timestamp: occurredOn },
  }));
  await bus.publishMany(events);
  const deadline = setTimeout(() => {
    console.error(`musl: only ${seen.size} of ${EVENTS} events came within 60 s`);
    process.exit(1);
  }, 60_000);
  await all;
  clearTimeout(deadline);
  const report = await bus.disconnect();
  assert.equal(report.clean, true, JSON.stringify(report));
  await broker.stop();
  console.error(
    `musl: tested: Node ${process.versions.node} for ${platformName()} published and handled ${EVENTS} events`,
  );
}

main(process.argv[2]);
