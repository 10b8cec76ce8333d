// Everything that CI runs: builds, checks, and the tests of both languages, those on a real Kafka too.
//
//   node dev/test.mjs                      all of it
//   node dev/test.mjs --only rust,vitest   some of it: checks, rust, c, vitest, dev, kafka
//   node dev/test.mjs --kafka 2.8.2,4.1.0  the real-Kafka tests on these versions of Kafka
//   node dev/test.mjs --coverage           the tests only, with line coverage of TypeScript and Rust
//
// Without a JDK the real-Kafka tests are skipped, and the summary says so; with EVBUS_REQUIRE_KAFKA=1 that is a failure.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RustCoverage } from './coverage.mjs';
import { AS_JSON, artifacts, WORKSPACE } from './lib/cargo.mjs';
import { CHECKS } from './lib/checks.mjs';
import { stream } from './lib/child.mjs';
import { Failure, main, root } from './lib/exec.mjs';
import { javaAvailable, startKafka } from './lib/kafka/cluster.mjs';
import { DEFAULT_VERSION, traits } from './lib/kafka/options.mjs';
import { binCommand, checkNode } from './lib/node.mjs';
import { checkPrerequisites } from './lib/prerequisites.mjs';
import { must, Skip, Steps } from './lib/steps.mjs';
import { CTests } from './test-c.mjs';

const GROUPS = ['checks', 'rust', 'c', 'vitest', 'dev', 'kafka'];
const REAL_TESTS = 'bindings-node/test/real/vitest.config.ts';
/** They need a cluster with users, which the mock cluster has not. */
const SECURE_TESTS = 'kafka_security::';
/** They look at the sources and need no broker. */
const SOURCE_TESTS = ['--skip', 'architecture::', '--skip', 'docs::'];

function parse(args) {
  const options = { only: GROUPS, kafka: [DEFAULT_VERSION], coverage: false };
  // pnpm hands the -- on.
  const rest = args.filter((arg) => arg !== '--');
  while (rest.length > 0) {
    const flag = rest.shift();
    if (flag === '--coverage') options.coverage = true;
    else if (flag === '--only' && rest.length > 0) options.only = rest.shift().split(',');
    else if (flag === '--kafka' && rest.length > 0) options.kafka = rest.shift().split(',');
    else
      throw new Failure(
        'usage: node dev/test.mjs [--only STEP,…] [--kafka VERSION,…] [--coverage]',
      );
  }
  const unknown = options.only.find((name) => !GROUPS.includes(name));
  if (unknown) throw new Failure(`there is no step ${unknown}; there are ${GROUPS.join(', ')}`);
  try {
    options.kafka.forEach(traits);
  } catch (error) {
    throw new Failure(error.message);
  }
  return options;
}

class TestRun {
  steps = new Steps();

  constructor({ only, kafka, coverage }) {
    this.versions = kafka;
    this.coverage = coverage ? new RustCoverage() : undefined;
    const unmeasured = ['checks', 'c', 'dev'];
    this.groups = only.filter((name) => !coverage || !unmeasured.includes(name));
    this.env = this.coverage?.env ?? {};
  }

  wants(group) {
    return this.groups.includes(group);
  }

  build(name, env) {
    return this.steps.command(name, [process.execPath, 'dev/build.mjs'], { env });
  }

  async checks() {
    for (const { name, plan } of CHECKS) {
      await this.steps.step(name, async (tally) => {
        const { command, env, skip } = await plan();
        if (skip) throw new Skip(`NOT CHECKED: ${skip}`);
        await must(command, { tally, env });
      });
    }
  }

  rust() {
    const command = ['cargo', 'test', ...WORKSPACE, '--no-fail-fast'];
    return this.steps.command('cargo test', [...command, '--', '--skip', SECURE_TESTS], {
      env: this.env,
    });
  }

  async c() {
    this.ofC = new CTests(this.steps);
    if (!(await this.ofC.install())) return;
    await this.ofC.abi();
    await this.ofC.examples();
    await this.ofC.conformance();
  }

  /**
   * @param {string} name
   * @param {readonly string[]} args
   * @param {Record<string, string>} [env]
   */
  vitest(name, args, env) {
    return this.steps.step(
      name,
      (tally) =>
        must(binCommand('vitest', 'vitest', ['run', ...args]), {
          tally,
          env: { ...this.env, ...env },
        }),
      { needs: ['build'] },
    );
  }

  dev() {
    const tests = readdirSync(join(root, 'dev/test')).filter((file) => file.endsWith('.test.mjs'));
    const command = [process.execPath, '--test', '--test-reporter=spec'];
    return this.steps.command(
      'tests of dev/',
      [...command, ...tests.map((file) => `dev/test/${file}`)],
      {
        needs: ['build'],
      },
    );
  }

  /** What cargo makes by a command, which prints nothing but its progress. */
  async artifacts(...args) {
    const lines = [];
    const failure = await stream(['cargo', ...args, ...WORKSPACE, AS_JSON], {
      env: this.env,
      quiet: true,
      onLine: (line) => lines.push(line),
    });
    if (failure) throw new Failure(`cargo ${args.join(' ')} ${failure}`);
    return artifacts(lines);
  }

  /**
   * The tests that take a real Kafka, on one cluster that lives as long as they.
   *
   * @param {string} version of Kafka
   */
  async kafka(version) {
    const folder = mkdtempSync(join(tmpdir(), 'evbus-kafka-'));
    const facts = join(folder, 'cluster.json');
    let cluster;
    try {
      await this.steps.step(`Kafka ${version}`, async () => {
        const java = javaAvailable({ version });
        if (!java.ok && process.env.EVBUS_REQUIRE_KAFKA === '1')
          throw new Failure(`EVBUS_REQUIRE_KAFKA=1, but ${java.reason}`);
        if (!java.ok) throw new Skip(`NOTHING WAS TESTED ON A REAL KAFKA: ${java.reason}`);
        cluster = await startKafka({
          version,
          authorizer: true,
          set: {
            // A member that is gone is to be missed after two seconds, not after Kafka's least of six.
            'group.min.session.timeout.ms': 1_000,
            // Records with a timestamp of long ago vanish at once where a topic does not keep them, not now and then.
            'log.retention.check.interval.ms': 500,
            'log.initial.task.delay.ms': 500,
          },
          log: console.log,
        });
        writeFileSync(facts, JSON.stringify(cluster));
        console.log(`listens on ${cluster.bootstrap}`);
      });
      if (!cluster) return;
      const env = {
        EVBUS_TEST_BROKERS: cluster.bootstrap,
        EVBUS_TEST_SECURE_CLUSTER: facts,
        EVBUS_KAFKA_VERSION: version,
        EVBUS_REQUIRE_KAFKA: '1',
      };
      await this.steps.step(`integration tests of the core on Kafka ${version}`, async (tally) => {
        const tests = (await this.artifacts('test', '--no-run')).find(
          ({ target, executable, package_id: id }) =>
            executable && target.kind.includes('test') && id.includes('i-event-bus@'),
        );
        if (!tests) throw new Failure('cargo built no integration tests of i-event-bus');
        const command = [tests.executable, '--include-ignored', ...SOURCE_TESTS];
        // Where cargo would run them.
        await must(command, { tally, cwd: join(root, 'core'), env: { ...this.env, ...env } });
      });
      await this.ofC?.examplesOn(cluster.bootstrap, version);
      await this.ofC?.conformanceOn(version);
      await this.vitest(`vitest on Kafka ${version}`, ['--config', REAL_TESTS], env);
    } finally {
      await cluster?.down();
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** Consumers and brokers are killed and frozen, and nothing is lost. */
  integrity() {
    return this.steps.step(
      'integrity under kills, short',
      async (tally) => {
        const java = javaAvailable();
        if (!java.ok) throw new Skip(`NOTHING WAS KILLED: ${java.reason}`);
        await must([process.execPath, 'dev/integrity.mjs', '--short'], { tally });
      },
      { needs: ['build'] },
    );
  }

  /** Five members are restarted in turn, and partitions hardly stand still. */
  rolling() {
    return this.steps.step(
      'rolling deploy',
      async (tally) => {
        const java = javaAvailable();
        if (!java.ok) throw new Skip(`NOTHING WAS DEPLOYED: ${java.reason}`);
        await must([process.execPath, 'dev/rolling.mjs'], { tally });
      },
      { needs: ['build'] },
    );
  }

  async #groups() {
    const measured = this.coverage !== undefined;
    await this.build('build', this.env);
    if (this.wants('checks')) await this.checks();
    if (this.wants('rust')) await this.rust();
    if (this.wants('c')) await this.c();
    if (this.wants('vitest')) await this.vitest('vitest', measured ? ['--coverage'] : []);
    if (this.wants('dev')) await this.dev();
    if (this.wants('kafka')) {
      for (const version of this.versions) await this.kafka(version);
      await this.integrity();
      await this.rolling();
    }
    if (!measured) return;
    await this.steps.step('coverage of Rust', async () => {
      const programs = await this.artifacts('test', '--no-run');
      // The addon and the C library, which cargo does not count among what tests need.
      this.coverage.report([...programs, ...(await this.artifacts('build'))]);
    });
    await this.build('build without counters');
  }

  async all() {
    try {
      await this.#groups();
    } finally {
      this.coverage?.close();
      this.ofC?.close();
      this.steps.close();
    }
    if (this.steps.failed) process.exitCode = 1;
  }
}

await main(async () => {
  const options = parse(process.argv.slice(2));
  checkNode();
  checkPrerequisites();
  await new TestRun(options).all();
});
