// The C library as its users get it: installed, moved, and used by the examples of all languages.
//
//   node dev/test-c.mjs                what npm test runs of it
//   node dev/test-c.mjs --sanitize     the C tests under AddressSanitizer with UBSan, ThreadSanitizer, and valgrind
//   node dev/test-c.mjs --fuzz 600     calls in any order, under libFuzzer and AddressSanitizer, for so many seconds
//   node dev/test-c.mjs --conformance  only the scenarios that all languages share; with --kafka VERSION on that
//                                      Kafka; with --update what Rust does is written into their files
//   node dev/test-c.mjs --update-abi   writes the description of the binary interface anew

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compareAbi } from './lib/c/abi.mjs';
import { must } from './lib/c/command.mjs';
import { Conformance } from './lib/c/conformance.mjs';
import { Examples } from './lib/c/examples.mjs';
import { environment, install } from './lib/c/install.mjs';
import { AS_JSON, artifacts, WORKSPACE } from './lib/cargo.mjs';
import { stream } from './lib/child.mjs';
import { Failure, main, onPath } from './lib/exec.mjs';
import { DEFAULT_VERSION } from './lib/kafka/options.mjs';
import { Skip, Steps } from './lib/steps.mjs';

const TESTS = 'bindings-c/tests/c';

const SCENARIOS = 'conformance of Rust, Node, C, C++ and Python';

/** A symbol that only a program has which was built with the sanitizer. */
const SANITIZED = { flags: '-fsanitize=address,undefined', symbol: '__asan_init' };
const RACES = { flags: '-fsanitize=thread', symbol: '__tsan_init' };

/** The library is not built with the sanitizer: only what the program itself does counts, its callbacks included. */
const TSAN_OPTIONS = 'ignore_noninstrumented_modules=1';
/** A race was found. */
const RACE = 66;
const UNFIT = {
  fork: 'ThreadSanitizer does not go on in the child of a process with threads',
  publish: 'the embedded broker starts threads by thrd_create, which ThreadSanitizer does not know',
};

export class CTests {
  #folder = mkdtempSync(join(tmpdir(), 'evbus-c-'));

  /**
   * @param {Steps} steps
   * @param {Record<string, string>} [env] for cargo
   */
  constructor(steps, env = {}) {
    this.steps = steps;
    this.env = env;
  }

  close() {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Installs the library; whether there is one afterwards. */
  async install() {
    await this.steps.step('libevbus, installed and moved', async () => {
      const missing = ['cmake', 'pkg-config', 'objcopy'].find((program) => !onPath(program));
      if (missing)
        throw new Skip(`THE C LIBRARY WAS NOT INSTALLED AND ITS EXAMPLES NOT RUN: no ${missing}`);
      this.prefix = await install(this.#folder, this.env);
    });
    return this.prefix !== undefined;
  }

  abi(update = false) {
    return this.steps.step('binary interface of libevbus', async () => {
      if (!onPath('abidiff')) throw new Skip('NOT COMPARED: no abidiff (abigail-tools)');
      await compareAbi(this.#folder, update);
    });
  }

  async examples() {
    this.built = new Examples(this.#folder, this.prefix);
    await this.steps.step('examples of libevbus, built', async () => {
      await this.built.buildByPkgConfig();
      await this.built.buildByCMake();
      if (onPath('go')) await this.built.buildGo();
    });
    await this.steps.step(
      'examples of libevbus on the embedded broker',
      () => this.built.withBroker((brokers) => this.built.run(brokers)),
      { needs: ['examples of libevbus, built'] },
    );
  }

  /**
   * The same examples on a real Kafka.
   *
   * @param {string} brokers
   * @param {string} version of Kafka
   */
  async examplesOn(brokers, version) {
    if (!this.built) return;
    await this.steps.step(
      `examples of libevbus on Kafka ${version}`,
      () => this.built.run(brokers),
      {
        needs: ['examples of libevbus, built'],
      },
    );
  }

  /** The scenarios that all languages share, and the matrix of what became of them. */
  async conformance(options) {
    await this.steps.step(SCENARIOS, async (tally) => {
      await must([process.execPath, 'dev/build.mjs']);
      const rust = await this.#rustProgram();
      this.shared = new Conformance(this.#folder, this.prefix, rust);
      await this.shared.build();
      this.steps.append(await this.shared.all(tally, options));
    });
  }

  /**
   * The same scenarios again, each language on a real Kafka of its own.
   *
   * @param {string} version of Kafka
   */
  async conformanceOn(version) {
    if (!this.shared) return;
    await this.steps.step(
      `${SCENARIOS} on Kafka ${version}`,
      async (tally) => this.steps.append(await this.shared.all(tally, { version })),
      { needs: [SCENARIOS] },
    );
  }

  async #rustProgram() {
    const lines = [];
    const command = ['cargo', 'build', ...WORKSPACE, '--example', 'conformance', AS_JSON];
    const failure = await stream(command, {
      env: this.env,
      quiet: true,
      onLine: (line) => lines.push(line),
    });
    const made = artifacts(lines).find(({ executable }) => executable);
    if (failure || !made) throw new Failure(`cargo built no conformance program ${failure ?? ''}`);
    return made.executable;
  }

  async #program(name, flags, source = join(TESTS, `${name}.c`)) {
    const program = join(this.#folder, `${name}${flags.replaceAll(/[^a-z]/g, '-')}`);
    const library = join(this.prefix, 'lib');
    const common = [
      '-std=c99',
      '-O1',
      '-g',
      '-Wall',
      '-Wextra',
      '-pedantic',
      '-Werror',
      '-pthread',
    ];
    const place = ['-I', join(this.prefix, 'include'), '-L', library, '-levbus'];
    await must([
      'clang',
      ...common,
      ...flags.split(' ').filter(Boolean),
      source,
      ...place,
      '-o',
      program,
    ]);
    return program;
  }

  fuzz(seconds) {
    return this.steps.step(`calls in any order, ${seconds} s`, async () => {
      const program = join(this.#folder, 'fuzz');
      const place = ['-I', join(this.prefix, 'include'), '-L', join(this.prefix, 'lib'), '-levbus'];
      const flags = [
        '-std=c99',
        '-O1',
        '-g',
        '-Wall',
        '-Werror',
        '-fsanitize=fuzzer,address,undefined',
        '-pthread',
      ];
      await must(['clang', ...flags, 'bindings-c/fuzz/calls.c', ...place, '-o', program]);
      const limits = [
        `-max_total_time=${seconds}`,
        '-timeout=60',
        '-max_len=200',
        '-rss_limit_mb=2048',
        // The program looks for leaks itself.
        '-detect_leaks=0',
      ];
      const prefix = `-artifact_prefix=${this.#folder}/`;
      await must([program, ...limits, prefix, '-print_final_stats=1'], {
        // Freed memory is not kept for long. What still grows, by some 400 bytes for each thread that ever was, is
        // what the sanitizer itself remembers.
        env: {
          ...environment(this.prefix),
          ASAN_OPTIONS: 'quarantine_size_mb=16:leak_check_at_exit=0',
        },
      });
    });
  }

  /** Programs under ThreadSanitizer, the first of which has a race that must be found. */
  async #races(names) {
    const env = { ...environment(this.prefix), TSAN_OPTIONS };
    await this.steps.step('a race of a handler is found by TSan', async () => {
      const source = 'bindings-c/tests/tsan/race.c';
      const program = await this.#program('race', RACES.flags, source);
      if (!execFileSync('nm', [program]).includes(RACES.symbol))
        throw new Failure(`${RACES.symbol} is not in it`);
      const lines = [];
      const onLine = (line) => lines.push(line);
      const failure = await stream(['timeout', '120', program], { env, quiet: true, onLine });
      const found = lines.some((line) => line.includes("global 'unguarded'"));
      if (!failure?.includes(`status ${RACE}`) || !found)
        throw new Failure(`it was not found; the program ${failure ?? 'ended well'}`);
    });
    for (const name of names) {
      await this.steps.step(`${name} under TSan`, async () => {
        if (UNFIT[name]) throw new Skip(`NOT RUN: ${UNFIT[name]}`);
        await must(['timeout', '120', await this.#program(name, RACES.flags)], { env });
      });
    }
  }

  async sanitize() {
    const names = readdirSync(TESTS)
      .filter((file) => file.endsWith('.c'))
      .map((file) => file.replace(/\.c$/, ''));
    const env = { ...environment(this.prefix), UBSAN_OPTIONS: 'halt_on_error=1' };
    for (const name of names) {
      await this.steps.step(`${name} under ASAN and UBSan`, async () => {
        const program = await this.#program(name, SANITIZED.flags);
        if (!execFileSync('nm', [program]).includes(SANITIZED.symbol))
          throw new Failure(`${SANITIZED.symbol} is not in it`);
        await must(['timeout', '120', program], { env });
      });
    }
    await this.#races(names);
    // In the child of a fork the stacks of all other threads are gone, and what they held counts as lost.
    for (const name of names.filter((name) => name !== 'fork')) {
      await this.steps.step(`${name} under valgrind`, async () => {
        if (!onPath('valgrind')) throw new Skip('NOT RUN: no valgrind');
        const program = await this.#program(name, '-gdwarf-4');
        const check = [
          '--leak-check=full',
          '--show-leak-kinds=definite',
          '--errors-for-leak-kinds=definite',
          '--error-exitcode=9',
          '--quiet',
        ];
        await must(['timeout', '400', 'valgrind', ...check, '--fair-sched=yes', program], { env });
      });
    }
  }
}

function scenarioOptions(args) {
  const kafka = args.indexOf('--kafka');
  const version = kafka >= 0 ? (args[kafka + 1] ?? DEFAULT_VERSION) : undefined;
  return { version, update: args.includes('--update') };
}

async function all(args) {
  const steps = new Steps();
  const tests = new CTests(steps);
  try {
    if (args.includes('--update-abi')) return await tests.abi(true);
    if (!(await tests.install())) return;
    const fuzz = args.indexOf('--fuzz');
    if (args.includes('--sanitize')) await tests.sanitize();
    else if (fuzz >= 0) await tests.fuzz(Number(args[fuzz + 1]));
    else if (args.includes('--conformance')) await tests.conformance(scenarioOptions(args));
    else {
      await tests.abi();
      await tests.examples();
      await tests.conformance();
    }
  } finally {
    tests.close();
    steps.close();
    if (steps.failed) process.exitCode = 1;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  await main(() => all(process.argv.slice(2)));
