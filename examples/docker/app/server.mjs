// A small service: it handles events, publishes one now and then, and answers the probes of its platform over HTTP.
//
//   KAFKA_BROKERS    addresses, separated by commas             required
//   KAFKA_CLIENT_ID  name of this service                       required
//   KAFKA_GROUP_ID   its consumer group                         required
//   KAFKA_SSL        "true": TLS; KAFKA_CA: path of a PEM file with the authorities to trust
//   KAFKA_USERNAME, KAFKA_PASSWORD, KAFKA_MECHANISM (plain, scram-sha-256, scram-sha-512)
//   PORT             of the probes                              8080
//   PUBLISH_EVERY_MS publishes an event at this interval        0: never
//   SHUTDOWN_MS      for the orderly end at SIGTERM             20000

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createKafkaEventBus } from '@repo-packages/i_event-bus';

const { env } = process;
const TYPE = 'order.placed';

function security() {
  const ca = env.KAFKA_CA ? { ca: readFileSync(env.KAFKA_CA) } : true;
  const ssl = env.KAFKA_SSL === 'true' || env.KAFKA_CA ? { ssl: ca } : {};
  if (!env.KAFKA_USERNAME) return ssl;
  const { KAFKA_USERNAME: username, KAFKA_PASSWORD: password, KAFKA_MECHANISM } = env;
  return { ...ssl, sasl: { mechanism: KAFKA_MECHANISM || 'scram-sha-512', username, password } };
}

/** One line of JSON per record, for whatever collects the output of containers. */
const line = (level) => (fields, message) => {
  const { err, ...about } = fields;
  const error = err && { code: err.code, message: err.message, hint: err.hint };
  console.log(JSON.stringify({ time: new Date(), level, message, ...about, error }));
};
const logger = Object.fromEntries(
  ['debug', 'info', 'warn', 'error'].map((level) => [level, line(level)]),
);

const bus = createKafkaEventBus({
  ...security(),
  logger: { ...logger, debug: () => {} },
});

await bus.subscribe(TYPE, {
  handle: async ({ eventId, aggregateId }) =>
    logger.info({ event: 'handled', eventId, aggregateId }, 'an order'),
});

let ending = false;

/** Alive: nothing stands still that a restart may bring back. An outage of Kafka heals by itself and is none of that. */
const live = () => {
  const { live: ok, reasons } = bus.health();
  return { ok, reasons };
};
/** Ready: events can be published and come in. */
const ready = () => {
  const { ready: ok, connected, reasons } = bus.health();
  return { ok: ok && !ending, connected, ending, reasons };
};

const server = createServer((request, response) => {
  const answer = {
    '/live': live,
    '/ready': ready,
    '/metrics': () => ({ ok: true, ...bus.metrics() }),
  }[request.url];
  const body = answer?.() ?? { ok: false, error: 'there are /live, /ready and /metrics' };
  response.writeHead(answer === undefined ? 404 : body.ok ? 200 : 503, {
    'content-type': 'application/json',
  });
  response.end(`${JSON.stringify(body)}\n`);
});
server.listen(Number(env.PORT ?? 8080), function listening() {
  logger.info({ event: 'listening', port: this.address().port }, 'the probes are served');
});

let publishing;
async function end(signal) {
  if (ending) return;
  ending = true;
  clearInterval(publishing);
  logger.info({ event: 'ending', signal }, 'finishing what has begun');
  const report = await bus.disconnect({ timeoutMs: Number(env.SHUTDOWN_MS ?? 20_000) });
  logger.info({ event: 'ended', ...report }, 'the bus is closed');
  server.close();
  server.closeAllConnections();
}
process.on('SIGTERM', end);
process.on('SIGINT', end);

// A Kafka that is not up yet is no reason to crash: the service is not ready until it is.
for (let connected = false; !connected && !ending; ) {
  try {
    await bus.connect();
    connected = true;
  } catch (error) {
    if (ending) break;
    if (!error.retryable) throw error;
    logger.warn({ event: 'not_connected', err: error }, 'Kafka is not there yet; trying again');
  }
}

const everyMs = Number(env.PUBLISH_EVERY_MS ?? 0);
if (everyMs > 0 && !ending) {
  publishing = setInterval(async () => {
    const now = new Date();
    const event = {
      eventId: randomUUID(),
      eventType: TYPE,
      aggregateId: `order-${Math.floor(Math.random() * 100)}`,
      occurredOn: now,
      version: 1,
      payload: { eventType: TYPE, timestamp: now, amount: 129.95 },
    };
    try {
      await bus.publish(event);
    } catch (error) {
      logger.warn(
        { event: 'not_published', err: error, outcome: error.outcome },
        'the order was not published',
      );
    }
  }, everyMs);
}
