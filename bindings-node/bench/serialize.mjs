// What writing one event costs in processor time, beside JSON.stringify in the same run. Needs dist/: npm run build.
//
//   node bindings-node/bench/serialize.mjs

import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { recordValue, serializeEvent, reviveEvent } = require('../../dist/serialize.js');
const { validateEvent } = require('../../dist/event.js');

const PER_MILLISECOND = 64; // events that share one occurredOn, as at 64 000 events a second
const ROUNDS = 15;
const PER_ROUND = 20_000;

const ids = Array.from(
  { length: 64 },
  (_, i) => `5f2c1c2e-8a3b-4c7e-9d51-0b1c2d3e4f${(16 + i).toString(16)}`,
);
const start = Date.parse('2026-01-02T03:04:05.678Z');
const timeOf = (i) => start + Math.floor(i / PER_MILLISECOND);

const content = {
  orderId: 'ord-000012345',
  amount: 129.95,
  currency: 'EUR',
  items: 3,
  channel: 'web',
  region: 'eu-west-1',
};

function bare(i) {
  return {
    eventId: ids[i % 64],
    eventType: 'order.created',
    occurredOn: new Date(timeOf(i)),
    aggregateId: `cust-${1_000_000 + (i % 1000)}`,
    version: 1,
    payload: { ...content },
  };
}

function timestamped(i) {
  const event = bare(i);
  event.payload = { eventType: 'order.created', timestamp: event.occurredOn, ...content };
  return event;
}

class OrderCreated {
  #props;
  constructor(props) {
    this.eventId = props.eventId;
    this.occurredOn = props.occurredOn;
    this.#props = props;
  }
  get eventType() {
    return this.#props.eventType;
  }
  get aggregateId() {
    return this.#props.aggregateId;
  }
  get version() {
    return this.#props.version;
  }
  get payload() {
    return this.#props.payload;
  }
}

const arena = Buffer.allocUnsafeSlow(64 * 1024);
let sink = 0;
// A string made of parts is only joined when it is read, so every way also pays for its bytes.
const store = (text) => {
  sink += arena.write(text, 0, 'utf8');
};
const writeNatively = (event) => store(JSON.stringify(event));
const write = (event) => store(serializeEvent(event).value);
const checkAndWrite = (event) => {
  validateEvent(event);
  write(event);
};

/** The best round, in nanoseconds of processor time a call: other processes only ever add. */
function measure(call) {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.cpuUsage();
    for (let i = 0; i < PER_ROUND; i++) call(i);
    const { user, system } = process.cpuUsage(begin);
    best = Math.min(best, ((user + system) * 1_000) / PER_ROUND);
  }
  return best;
}

function report(name, make, ways) {
  const making = measure((i) => {
    sink += make(i).version;
  });
  console.log(name);
  for (const [way, call] of Object.entries(ways)) {
    const cost = measure((i) => call(make(i))) - making;
    console.log(`  ${way.padEnd(36)} ${cost.toFixed(0).padStart(6)} ns`);
  }
}

console.log(`Node ${process.version}: processor nanoseconds an event, without making it`);
for (const [name, make] of Object.entries({
  'plain event': bare,
  'plain event with payload.timestamp': timestamped,
})) {
  const bytes = JSON.stringify(make(1));
  const serialized = serializeEvent(make(1));
  if (recordValue(serialized, make(1).eventType) !== bytes) throw new Error(`${name}: other bytes`);
  report(`${name}, ${bytes.length} bytes`, make, {
    'JSON.stringify': writeNatively,
    serializeEvent: write,
    'validateEvent + serializeEvent': checkAndWrite,
  });
}
report('class instance with payload.timestamp', (i) => new OrderCreated(timestamped(i)), {
  'validateEvent + serializeEvent': checkAndWrite,
});
const texts = ids.map((_, i) => JSON.stringify(timestamped(i)));
report('parsed event', (i) => JSON.parse(texts[i % 64]), {
  reviveEvent: (event) => {
    sink += reviveEvent(event).version;
  },
  'reviveEvent with occurredOnMs': (event) => {
    sink += reviveEvent(event, start).version;
  },
});
if (sink === 0) throw new Error('nothing was measured');
