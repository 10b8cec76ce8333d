// One member of a consumer group as a process of its own, to be killed at any time.
//
//   node member.mjs JSON    {brokers, groupId, eventType, file, seed, config}
//
// It writes what happens into the file, a line each, past every buffer of its own:
//   A topic/p …    partitions came       R topic/p …    partitions went
//   S seq agg ns   a handler started     E seq agg ns   it ended
import { openSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { KafkaEventBus } = require('../../../../dist/index.js');

const { brokers, groupId, eventType, file, seed, config } = JSON.parse(process.argv[2]);
const output = openSync(file, 'a');
const write = (...words) => writeSync(output, `${words.join(' ')}\n`);
// One clock for all processes of the machine.
const now = () => process.hrtime.bigint();

const LETTERS = { partitions_assigned: 'A', partitions_revoked: 'R', partitions_lost: 'R' };
const note = (fields) => {
  const letter = LETTERS[fields.event];
  if (letter) write(letter, ...fields.partitions);
};
const logger = { debug: note, info: note, warn: note, error: note };

/** 0, 1 or 2 ms, the same for the same seed. */
let state = seed;
function delayMs() {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
  return (state >>> 16) % 3;
}

const bus = new KafkaEventBus({ clientId: 'member', brokers, groupId, logger, ...config });
await bus.subscribe(eventType, {
  async handle({ aggregateId, payload: { seq } }) {
    write('S', seq, aggregateId, now());
    const ms = delayMs();
    if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
    write('E', seq, aggregateId, now());
  },
});
await bus.connect();
process.once('SIGTERM', () => void bus.disconnect());
