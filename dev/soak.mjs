// The long runs, which look for what short tests do not meet.
//
//   node dev/soak.mjs                    all parts
//   node dev/soak.mjs --only simulation  one part: simulation of the engine, threads that meet (by loom)
//   node dev/soak.mjs --seeds 100000     as many simulated runs, 20 000 otherwise
//   node dev/soak.mjs --seed 8123        one simulated run, with its trace

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { AS_JSON, artifacts, WORKSPACE } from './lib/cargo.mjs';
import { stream } from './lib/child.mjs';
import { Failure, main, root } from './lib/exec.mjs';
import { checkPrerequisites } from './lib/prerequisites.mjs';
import { must, Steps } from './lib/steps.mjs';

const PARTS = ['simulation', 'threads'];
const SEEDS = 20_000;
const SIMULATION = 'subscribe::engine::sim::tests::no_seed_breaks_a_rule';

function parse(args) {
  const options = { only: PARTS, seeds: SEEDS, seed: undefined };
  // pnpm hands the -- on.
  const rest = args.filter((arg) => arg !== '--');
  while (rest.length > 0) {
    const flag = rest.shift();
    const value = rest.shift();
    if (flag === '--only' && value) options.only = value.split(',');
    else if (flag === '--seeds' && /^[1-9]\d*$/.test(value)) options.seeds = Number(value);
    else if (flag === '--seed' && /^\d+$/.test(value)) options.seed = value;
    else throw new Failure('usage: node dev/soak.mjs [--only PART,…] [--seeds N | --seed N]');
  }
  const unknown = options.only.find((name) => !PARTS.includes(name));
  if (unknown) throw new Failure(`there is no part ${unknown}; there are ${PARTS.join(', ')}`);
  return options;
}

/** The unit tests of the core, built. */
async function unitTests() {
  const lines = [];
  const command = ['cargo', 'test', '--no-run', ...WORKSPACE, AS_JSON];
  const failure = await stream(command, { quiet: true, onLine: (line) => lines.push(line) });
  if (failure) throw new Failure(`cargo test --no-run ${failure}`);
  const tests = artifacts(lines).find(
    ({ target, executable, package_id: id }) =>
      executable && target.kind.includes('lib') && id.includes('i-event-bus@'),
  );
  if (!tests) throw new Failure('cargo built no unit tests of i-event-bus');
  return tests.executable;
}

/** Each core takes a share of the seeds. */
async function simulate(tests, seeds, tally) {
  const shares = Math.min(availableParallelism(), seeds);
  const bounds = Array.from({ length: shares + 1 }, (_, at) => Math.floor((at * seeds) / shares));
  const runs = bounds.slice(1).map((to, at) =>
    must([tests, '--exact', SIMULATION, '--nocapture'], {
      tally,
      cwd: join(root, 'core'),
      env: { EVBUS_SIM_SEEDS: `${bounds[at]}..${to}`, EVBUS_SIM_SEED: undefined },
    }),
  );
  const failed = (await Promise.allSettled(runs)).find(({ status }) => status === 'rejected');
  if (failed) throw failed.reason;
}

/** Its own target directory: its crate is no member of the workspace. */
function meetings(tally) {
  const target = join(root, 'target/loom');
  const command = ['cargo', 'test', '--manifest-path', 'dev/loom/Cargo.toml'];
  return must([...command, '--target-dir', target], { tally });
}

await main(async () => {
  const { only, seeds, seed } = parse(process.argv.slice(2));
  checkPrerequisites();
  if (seed !== undefined) {
    const failure = await stream([await unitTests(), '--exact', SIMULATION], {
      env: { EVBUS_SIM_SEED: seed },
    });
    if (failure) throw new Failure(`seed ${seed} broke a rule: the run ${failure}`);
    return;
  }
  const steps = new Steps();
  try {
    if (only.includes('simulation')) {
      await steps.step(`simulation of the engine, ${seeds} seeds`, async (tally) =>
        simulate(await unitTests(), seeds, tally),
      );
    }
    if (only.includes('threads')) await steps.step('threads that meet, by loom', meetings);
  } finally {
    steps.close();
  }
  if (steps.failed) process.exitCode = 1;
});
