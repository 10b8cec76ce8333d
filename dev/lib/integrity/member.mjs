// One member of a consumer group as a process of its own, to be killed at any time.
//
//   node member.mjs JSON    {brokers, groupId, eventType, file, config}
//
// It writes what happens into the file, a line each, past every buffer of its own:
//   S seq agg offset ns partition    a handler started
//   E …                              it succeeded
//   F …                              it failed
//   A …                              it was told to give up, and ended
import { openSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { KafkaEventBus } = require('../../../dist/index.js');

const { brokers, groupId, eventType, file, config } = JSON.parse(process.argv[2]);
const output = openSync(file, 'a');
const write = (...words) => writeSync(output, `${words.join(' ')}\n`);
// One clock for all processes of the machine.
const now = () => process.hrtime.bigint();

const quiet = () => {};
const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };

const bus = new KafkaEventBus({ clientId: 'integrity', brokers, groupId, logger, ...config });
await bus.subscribe(eventType, {
  async handle(
    { aggregateId, payload: { seq, failures } },
    { partition, offset, attempt, signal },
  ) {
    write('S', seq, aggregateId, offset, now(), partition);
    await new Promise((resolve) => setTimeout(resolve, seq % 3));
    const letter = signal.aborted ? 'A' : attempt <= failures ? 'F' : 'E';
    write(letter, seq, aggregateId, offset, now(), partition);
    if (letter === 'F') throw new Error(`attempt ${attempt} of ${failures} that fail`);
  },
});
await bus.connect();
process.once('SIGTERM', async () => {
  await bus.disconnect();
  process.exit();
});
// Nobody is left to judge when the run has ended, however it did.
process.stdin.once('close', () => process.exit()).resume();
