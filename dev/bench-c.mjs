// npm run bench:c: C through libevbus against a C program on plain librdkafka, in turn, on one real Kafka.
//
//   node dev/bench-c.mjs [--rounds N] [--events N] [--only publish|consume] [--dev]
//
// Both link the same build of librdkafka and give it the same settings, and both look at key, value and headers of what
// they consume, between the first record and the last: joining a group takes what the broker likes. --dev takes the
// development builds; without it libevbus is built with link-time optimisation. Medians and the median of the rounds'
// ratios are printed. Exits with 1 when a ratio misses its goal.

import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { must } from './lib/c/command.mjs';
import { WORKSPACE } from './lib/cargo.mjs';
import { Failure, main, root, run, say } from './lib/exec.mjs';
import { javaAvailable, startKafka } from './lib/kafka/cluster.mjs';
import { medianRatio, spread } from './lib/samples.mjs';

const PARTITIONS = 6;
const WARM = 'bench-warm-up';
/** Runs before the first one that counts: until then the broker's compiler takes a quarter of the machine. */
const WARM_UPS = 4;
const CASES = [
  { name: 'publish', goal: 0.9 },
  { name: 'consume', goal: 0.8 },
];

main(async () => {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '9' },
      events: { type: 'string', default: '1000000' },
      only: { type: 'string' },
      dev: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  const cases = CASES.filter(({ name }) => !values.only || name === values.only);
  if (cases.length === 0) throw new Failure(`no case is called ${values.only}: publish or consume`);
  const java = javaAvailable();
  if (!java.ok) throw new Failure(`the benchmark needs a real Kafka: ${java.reason}`);
  const folder = mkdtempSync(join(tmpdir(), 'evbus-bench-c-'));
  let kafka;
  try {
    const programs = await build(folder, values.dev);
    say('starting Kafka');
    kafka = await startKafka({ jvm: 'throughput' });
    const measure = async (side, name, topic) => {
      const argv = [kafka.bootstrap, topic, name, values.events];
      return JSON.parse(await run(programs[side], argv, { capture: true, cwd: root }));
    };
    say('warming the broker up');
    await kafka.createTopic(WARM, { partitions: PARTITIONS });
    for (let run = 0; run < WARM_UPS; run++) await measure('plain', 'publish', WARM);
    await measure('plain', 'consume', WARM);
    const consumed = 'bench-1-plain';
    if (!cases.some(({ name }) => name === 'publish')) {
      await kafka.createTopic(consumed, { partitions: PARTITIONS });
      await measure('plain', 'publish', consumed);
    }
    const measured = new Map();
    for (let round = 1; round <= rounds; round++) {
      for (const { name } of cases) {
        const sides = round % 2 ? ['plain', 'evbus'] : ['evbus', 'plain'];
        for (const side of sides) {
          // What one side published in the first round is what both consume.
          const topic = name === 'consume' ? consumed : `bench-${round}-${side}`;
          if (name === 'publish') await kafka.createTopic(topic, { partitions: PARTITIONS });
          const key = `${name}:${side}`;
          measured.set(key, [...(measured.get(key) ?? []), await measure(side, name, topic)]);
        }
      }
      say(`round ${round} of ${rounds}`);
    }
    report(cases, measured);
  } finally {
    await kafka?.down();
    rmSync(folder, { recursive: true, force: true });
  }
});

/** The newest folder of a package's build script. */
function outOf(profile, name) {
  const builds = join(root, 'target', profile, 'build');
  const found = readdirSync(builds)
    .filter((folder) => folder.startsWith(`${name}-`))
    .map((folder) => join(builds, folder, 'out'))
    .filter((folder) => statSync(folder, { throwIfNoEntry: false }))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (found.length === 0) throw new Failure(`cargo built no ${name} in ${builds}`);
  return found[0];
}

async function build(folder, dev) {
  const [profile, place] = dev ? ['dev', 'debug'] : ['release', 'release'];
  await must(['cargo', 'build', ...WORKSPACE, '--lib', '--profile', profile]);
  const cc = ['cc', '-O2', '-std=c99', '-Wall', '-Wextra', '-pthread'];
  const source = (name) => join('bindings-c/bench', `${name}.c`);
  const [evbus, plain] = [join(folder, 'evbus'), join(folder, 'plain')];
  const library = join(root, 'target', place, 'libevbus.so');
  // The program looks for the library by its versioned name.
  await must(['cp', library, join(folder, 'libevbus.so.1')]);
  const found = [join(folder, 'libevbus.so.1'), `-Wl,-rpath,${folder}`];
  await must([...cc, '-I', 'include', source('evbus'), ...found, '-o', evbus]);
  const client = outOf(place, 'rdkafka-sys');
  const openssl = join(outOf(place, 'openssl-sys'), 'openssl-build/install/lib');
  const archives = [
    join(client, 'src/librdkafka.a'),
    join(openssl, 'libssl.a'),
    join(openssl, 'libcrypto.a'),
    join(outOf(place, 'zstd-sys'), 'libzstd.a'),
    join(outOf(place, 'libz-sys'), 'lib/libz.a'),
  ];
  await must([
    ...cc,
    '-I',
    join(client, 'src'),
    source('plain'),
    ...archives,
    '-lm',
    '-ldl',
    '-o',
    plain,
  ]);
  return { evbus, plain };
}

function report(cases, measured) {
  const rows = [];
  const missed = [];
  for (const { name, goal } of cases) {
    const side = (which) => measured.get(`${name}:${which}`);
    const speed = (which) => side(which).map(({ eventsPerSecond }) => eventsPerSecond / 1000);
    const ratio = medianRatio(speed('evbus'), speed('plain'));
    if (ratio < goal) missed.push(name);
    const peak = (which) =>
      `${Math.max(...side(which).map(({ peakKiB }) => peakKiB / 1024)).toFixed(0)} MiB`;
    rows.push({
      case: name,
      'libevbus k/s': spread(speed('evbus')),
      'librdkafka k/s': spread(speed('plain')),
      ratio: ratio.toFixed(2),
      goal: `>= ${goal}`,
      'peak libevbus': peak('evbus'),
      'peak librdkafka': peak('plain'),
    });
  }
  console.table(rows);
  if (missed.length > 0) throw new Failure(`below their goal: ${missed.join(', ')}`);
}
