// The C library as its users get it: installed, moved, and used by the examples of all languages.
//
//   node dev/test-c.mjs                what npm test runs of it
//   node dev/test-c.mjs --sanitize     the C tests under AddressSanitizer with UBSan, and valgrind
//   node dev/test-c.mjs --fuzz 600     calls in any order, under libFuzzer and AddressSanitizer, for so many seconds
//   node dev/test-c.mjs --update-abi   writes the description of the binary interface anew

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compareAbi } from './lib/c/abi.mjs';
import { must } from './lib/c/command.mjs';
import { Examples } from './lib/c/examples.mjs';
import { environment, install } from './lib/c/install.mjs';
import { Failure, main, onPath } from './lib/exec.mjs';
import { Skip, Steps } from './lib/steps.mjs';

const TESTS = 'bindings-c/tests/c';

/** A symbol that only a program has which was built with the sanitizer. */
const SANITIZED = { flags: '-fsanitize=address,undefined', symbol: '__asan_init' };

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

  async #program(name, flags) {
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
      join(TESTS, `${name}.c`),
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
      const flags = ['-std=c99', '-O1', '-g', '-fsanitize=fuzzer,address,undefined', '-pthread'];
      await must(['clang', ...flags, 'bindings-c/fuzz/calls.c', ...place, '-o', program]);
      const limits = [
        `-max_total_time=${seconds}`,
        '-timeout=60',
        '-max_len=200',
        '-rss_limit_mb=2048',
      ];
      const prefix = `-artifact_prefix=${this.#folder}/`;
      await must([program, ...limits, prefix, '-print_final_stats=1'], {
        // Freed memory is not kept for long, so that what grows is what leaks.
        env: { ...environment(this.prefix), ASAN_OPTIONS: 'quarantine_size_mb=16' },
      });
    });
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

async function all(args) {
  const steps = new Steps();
  const tests = new CTests(steps);
  try {
    if (args.includes('--update-abi')) return await tests.abi(true);
    if (!(await tests.install())) return;
    const fuzz = args.indexOf('--fuzz');
    if (args.includes('--sanitize')) await tests.sanitize();
    else if (fuzz >= 0) await tests.fuzz(Number(args[fuzz + 1]));
    else {
      await tests.abi();
      await tests.examples();
    }
  } finally {
    tests.close();
    steps.close();
    if (steps.failed) process.exitCode = 1;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  await main(() => all(process.argv.slice(2)));
