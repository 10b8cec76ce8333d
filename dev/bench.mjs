// npm run bench: the npm package against the same program in plain Rust, in turn, on one real Kafka.
//
//   node dev/bench.mjs [--rounds N] [--events N] [--only CASE,…] [--dev]
//
// --dev takes the development builds, which are there already; without it both sides are built with link-time
// optimisation (minutes the first time). Medians and the median of the rounds' ratios are printed; the machine is
// noisy, so a single number means little. Exits with 1 when a ratio misses its goal.

import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { Failure, main, root, run, say } from './lib/exec.mjs';
import { javaAvailable, startKafka } from './lib/kafka/cluster.mjs';
import { medianRatio, spread } from './lib/samples.mjs';

const PARTITIONS = 6;
const CONSUMED = 'bench-consumed';
/** Runs before the first one that counts: until then the broker's compiler takes a quarter of the machine. */
const WARM_UPS = 10;

/** `goal` is what package / Rust must reach; for times it must stay below. */
const CASES = [
  { name: 'publish', title: 'publish, a promise each, 4 000 in flight', unit: 'k/s', goal: 0.7 },
  { name: 'many', title: 'publishMany(100), 4 000 in flight', unit: 'k/s', against: 'publish' },
  // What the client library does when nobody awaits an event: the ceiling, not the same program.
  { name: 'raw', title: 'publish, against counted acknowledgements', unit: 'k/s', from: 'publish' },
  { name: 'serial', title: 'publish, one at a time, p50', unit: 'µs', goal: 1.35 },
  { name: 'consume', title: 'consume, parse, handle, commit', unit: 'k/s', goal: 0.4 },
];

main(async () => {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '7' },
      events: { type: 'string', default: '300000' },
      only: { type: 'string', default: CASES.map(({ name }) => name).join() },
      dev: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  const events = Number(values.events);
  const cases = CASES.filter(({ name }) => values.only.split(',').includes(name));
  const java = javaAvailable();
  if (!java.ok) throw new Failure(`the benchmark needs a real Kafka: ${java.reason}`);

  await build({ release: !values.dev });
  const plain = await buildPlain(values.dev);
  say('starting Kafka');
  const kafka = await startKafka({ jvm: 'throughput' });
  try {
    const measured = new Map();
    const note = (key, result) => {
      const value = result.p50 ?? result.eventsPerSecond / 1000;
      measured.set(key, [...(measured.get(key) ?? []), value]);
    };
    const measure = async (side, name, topic, count) => {
      const argv = [kafka.bootstrap, topic, name, String(count), '4000'];
      const node = ['--max-semi-space-size=64', 'bindings-node/bench/drop-in.mjs'];
      const command = side === 'rust' ? [plain, argv] : [process.execPath, [...node, ...argv]];
      return JSON.parse(await run(...command, { capture: true, cwd: root }));
    };
    say('warming the broker up');
    await kafka.createTopic(CONSUMED, { partitions: PARTITIONS });
    for (let run = 0; run < WARM_UPS; run++) await measure('rust', 'raw', CONSUMED, events);
    await measure('rust', 'consume', CONSUMED, events);
    for (let round = 1; round <= rounds; round++) {
      for (const { name, against, from } of cases) {
        // Enough that both run compiled code for nearly all of it.
        const count = name === 'serial' ? 20_000 : events;
        const order = round % 2 ? ['rust', 'node'] : ['node', 'rust'];
        for (const side of order) {
          if (side === 'rust' ? against : from) continue;
          const topic = name === 'consume' ? CONSUMED : `bench-${name}-${round}-${side}`;
          if (name !== 'consume') await kafka.createTopic(topic, { partitions: PARTITIONS });
          const result = await measure(side, name, topic, count);
          note(`${name}:${side}`, result);
        }
      }
      say(`round ${round} of ${rounds}`);
    }
    report(cases, measured);
  } finally {
    await kafka.down();
  }
});

/** The yardstick's executable. */
async function buildPlain(dev) {
  say('building the Rust program');
  const profile = dev ? ['--profile', 'dev'] : ['--profile', 'release'];
  const listing = await run(
    'cargo',
    [
      ...[
        'bench',
        '--workspace',
        '--features',
        'i-event-bus/embedded',
        '--bench',
        'plain',
        '--no-run',
      ],
      ...[...profile, '--message-format', 'json'],
    ],
    { capture: true, cwd: root },
  );
  const messages = listing
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  const artifact = messages.find(
    ({ reason, target, executable }) =>
      reason === 'compiler-artifact' && target.name === 'plain' && executable,
  );
  if (!artifact) throw new Failure('cargo did not name the executable of the bench "plain"');
  return artifact.executable;
}

function report(cases, measured) {
  const rows = [];
  const missed = [];
  for (const { name, title, unit, goal, against, from } of cases) {
    const node = measured.get(`${from ?? name}:node`);
    const rust = measured.get(`${against ?? name}:rust`);
    const ratio = medianRatio(node, rust);
    const reached = unit === 'µs' ? ratio <= goal : ratio >= goal;
    if (goal && !reached) missed.push(title);
    rows.push({
      case: title,
      unit,
      package: spread(node),
      'plain Rust': spread(rust),
      ratio: ratio.toFixed(2),
      goal: goal ? `${unit === 'µs' ? '<=' : '>='} ${goal}` : '',
    });
  }
  console.table(rows);
  if (missed.length > 0) throw new Failure(`missed: ${missed.join('; ')}`);
}
