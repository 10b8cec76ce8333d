// The examples in C, C++, Python and Go, built against an installed libevbus and run on a broker.

import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { stream } from '../child.mjs';
import { Failure, onPath, root } from '../exec.mjs';
import { withBroker } from './broker.mjs';
import { must } from './command.mjs';
import { environment } from './install.mjs';

const EVENTS = 12;
const STRICT = ['-Wall', '-Wextra', '-pedantic', '-Werror', '-pthread'];
const C = ['broker', 'publish', 'subscribe', 'pull'];

const words = (text) => text.trim().split(/\s+/);

export class Examples {
  /**
   * @param {string} folder a scratch folder
   * @param {string} prefix of the installed library
   */
  constructor(folder, prefix) {
    this.prefix = prefix;
    this.folder = join(folder, 'examples');
    this.env = environment(prefix);
    mkdirSync(this.folder);
  }

  #path(...parts) {
    return join(this.folder, ...parts);
  }

  /** As `cc $(pkg-config …)`. */
  async buildByPkgConfig() {
    const env = { ...process.env, ...this.env };
    const flags = words(
      execFileSync('pkg-config', ['--cflags', '--libs', 'evbus'], { env }).toString(),
    );
    const fixed = words(
      execFileSync('pkg-config', ['--cflags', '--libs', '--static', 'evbus'], { env }).toString(),
    );
    const library = join(this.env.LD_LIBRARY_PATH, 'libevbus.a');
    for (const name of C) {
      const source = `examples/c/${name}.c`;
      await must(['cc', '-std=c11', ...STRICT, source, ...flags, '-o', this.#path(name)]);
    }
    const whole = fixed.map((flag) => (flag === '-levbus' ? library : flag));
    await must([
      'cc',
      '-std=c11',
      ...STRICT,
      'examples/c/pull.c',
      ...whole,
      '-o',
      this.#path('pull-static'),
    ]);
    const cpp = ['c++', '-std=c++17', ...STRICT, 'examples/cpp/main.cpp'];
    await must([...cpp, ...flags, '-o', this.#path('cpp')]);
  }

  /** As `find_package(evbus)`. */
  async buildByCMake() {
    for (const language of ['c', 'cpp']) {
      const build = this.#path(`cmake-${language}`);
      await must(['cmake', '-S', `examples/${language}`, '-B', build], { env: this.env });
      await must(['cmake', '--build', build], { env: this.env });
    }
  }

  async buildGo() {
    // Go's cache knows a package by its own flags and not by what pkg-config says of them: without one that differs
    // from prefix to prefix it would link against the prefix of an earlier run.
    const CGO_CFLAGS = `-O2 -g -DPREFIX=${Buffer.from(this.prefix).toString('hex')}`;
    await must(['go', 'build', '-o', this.#path('go'), '.'], {
      cwd: join(root, 'examples/go'),
      env: { ...this.env, CGO_CFLAGS },
    });
  }

  /**
   * Runs an example and gives its lines of output.
   *
   * @param {readonly string[]} command
   * @param {Record<string, string>} env
   */
  async #lines(command, env, cwd) {
    const lines = [];
    const failure = await stream(['timeout', '60', ...command], {
      cwd,
      env: { ...this.env, ...env },
      quiet: true,
      onLine: (line) => lines.push(line),
    });
    if (failure) throw new Failure(`${command.join(' ')} ${failure}:\n${lines.join('\n')}`);
    return lines;
  }

  /**
   * Each example gets every event of its topic, as many as there are.
   *
   * @param {string} brokers
   */
  async run(brokers) {
    const unique = `${process.pid}-${Date.now()}`;
    const topic = (name) => `example-${name}-${unique}`;
    const env = (group) => ({ KAFKA_BROKERS: brokers, KAFKA_GROUP_ID: `${group}-${unique}` });
    const count = `${EVENTS}`;
    const expect = (name, lines) => {
      const numbers = lines.map((line) => Number(/number'?"?: ?(\d+)/.exec(line)?.[1]));
      const all = [...numbers].sort((a, b) => a - b);
      if (all.length === EVENTS && all.every((number, index) => number === index)) return;
      throw new Failure(`${name} did not get each of ${EVENTS} events once:\n${lines.join('\n')}`);
    };
    for (const publish of ['publish', 'cmake-c/publish-static']) {
      const stored = await this.#lines([this.#path(publish), topic('c'), count], env('c'));
      if (stored.at(-1) !== `${EVENTS} stored, 0 failed`) throw new Failure(stored.join('\n'));
      if (publish !== 'publish') break;
      for (const name of ['subscribe', 'pull', 'pull-static', 'cmake-c/subscribe']) {
        const group = name.replace('/', '-');
        expect(name, await this.#lines([this.#path(name), topic('c'), count], env(group)));
      }
    }
    for (const name of ['cpp', 'cmake-cpp/example']) {
      const group = name.replace('/', '-');
      expect(name, await this.#lines([this.#path(name), topic(group), count], env(group)));
    }
    if (onPath('python3')) {
      const command = ['python3', 'main.py', topic('python'), count];
      expect('Python', await this.#lines(command, env('python'), join(root, 'examples/python')));
    }
    if (onPath('go'))
      expect('Go', await this.#lines([this.#path('go'), topic('go'), count], env('go')));
  }

  /**
   * Runs a body while the embedded broker of the example runs.
   *
   * @param {(brokers: string) => Promise<void>} body
   */
  withBroker(body) {
    return withBroker([this.#path('broker')], this.env, body);
  }
}
