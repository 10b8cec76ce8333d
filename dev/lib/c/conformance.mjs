// The conformance scenarios of core/tests/conformance in every language: the same script, each on a broker of its own,
// embedded or a real Kafka, and what each did and stored held against the scenario's file.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stream } from '../child.mjs';
import { Failure, onPath, root } from '../exec.mjs';
import { startKafka } from '../kafka/cluster.mjs';
import { withBroker } from './broker.mjs';
import { must } from './command.mjs';
import { environment } from './install.mjs';

const FOLDER = join(root, 'core/tests/conformance');
const SOURCES = 'bindings-c/tests/conformance';
const STRICT = ['-O1', '-g', '-Wall', '-Wextra', '-pedantic', '-Werror', '-pthread'];

/** Of every bus: the embedded broker holds back what is asked for too early. */
const OPTIONS = { 'kafka.fetch.wait.max.ms': '10' };

/** Headers of dead letters that are the same in every language. */
const PROVENANCE = ['topic', 'partition', 'offset', 'reason', 'attempts', 'error-message'].map(
  (name) => `dead-letter.${name}`,
);

/** Of every topic; the tool that is the embedded broker makes as many. */
const PARTITIONS = 4;

const deadLetterTopic = (topic) => `${topic}.dead-letter`;

/** @returns {{ file: string, name: string, topic: string, expect?: object }[]} */
export const scenarios = () =>
  readdirSync(FOLDER)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => ({ file, ...JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) }));

/** A scenario as lines of words between tabs, which every program reads. */
function script({ topic, options = {}, outcomes = {}, steps }) {
  const lines = [['scenario', topic, topic]];
  for (const option of Object.entries({ ...OPTIONS, ...options }))
    lines.push(['option', ...option]);
  for (const [id, all] of Object.entries(outcomes)) lines.push(['outcome', id, ...all]);
  for (const step of steps) {
    const [[what, argument]] = Object.entries(step);
    if (what === 'publish')
      for (const { id, aggregate, version, occurredOn, payload } of argument)
        lines.push(['event', id, aggregate, version, occurredOn, JSON.stringify(payload)]);
    else lines.push(argument === true ? [what] : [what, argument]);
  }
  lines.push(['end']);
  return lines.map((words) => `${words.join('\t')}\n`).join('');
}

const hex = (text) => (text === null ? '-' : Buffer.from(text).toString('hex'));

/** Bytes as a reader of a scenario's file likes them: text where they are text. */
function shown(digits) {
  if (digits === '-') return null;
  const bytes = Buffer.from(digits, 'hex');
  const text = bytes.toString();
  return Buffer.from(text).equals(bytes) ? text : { hex: digits };
}

/** What programs and the reader printed, by scenario. */
class Results {
  #byTopic = new Map();

  of(topic) {
    if (!this.#byTopic.has(topic))
      this.#byTopic.set(topic, { done: false, calls: {}, events: {}, letters: [], records: [] });
    return this.#byTopic.get(topic);
  }

  /** Takes a line of a program. */
  line(text) {
    const [what, topic, ...words] = text.split('\t');
    if (what === 'done') this.of(topic).done = true;
    if (what === 'call') {
      const [aggregate, id, attempt, ...event] = words;
      const result = this.of(topic);
      result.calls[aggregate] = [...(result.calls[aggregate] ?? []), `${id}/${attempt}`];
      result.events[id] = event.join(' ');
    }
    if (what === 'letter') this.of(topic).letters.push(words.join(' '));
  }

  /** Takes a record of a topic. */
  record(topic, text) {
    const [partition, , key, value, ...headers] = text.split('\t');
    const pairs = headers.map((header) => header.split('='));
    const same = ([name]) =>
      !name.startsWith('dead-letter.') ||
      name.startsWith('dead-letter.replay-') ||
      PROVENANCE.includes(name);
    this.of(topic).records.push({
      partition: Number(partition),
      key: shown(key),
      value: shown(value),
      headers: pairs.filter(same).map(([name, bytes]) => [name, shown(bytes)]),
    });
  }

  /** What a scenario's file says in `expect`. */
  summary({ topic }) {
    const { calls, events, letters, records } = this.of(topic);
    // Partitions come in any order, but each in its own.
    const inOrder = (all) => [...all].sort((a, b) => a.partition - b.partition);
    return {
      calls: Object.fromEntries(Object.entries(calls).sort()),
      events,
      letters: [...letters].sort(),
      records: inOrder(records),
      deadLetters: inOrder(this.of(deadLetterTopic(topic)).records),
    };
  }
}

/** The first place where two values differ, for a person. */
export function difference(found, wanted, path = '') {
  const plain = (value) => typeof value !== 'object' || value === null;
  if (plain(found) || plain(wanted)) {
    if (found === wanted) return undefined;
    return `${path.slice(1)} is ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`;
  }
  for (const key of new Set([...Object.keys(wanted), ...Object.keys(found)])) {
    const inside = difference(found[key], wanted[key], `${path}.${key}`);
    if (inside) return inside;
  }
  return undefined;
}

export class Conformance {
  /**
   * @param {string} folder a scratch folder
   * @param {string} prefix of the installed library
   * @param {string} rust the program in Rust
   */
  constructor(folder, prefix, rust) {
    this.folder = join(folder, 'conformance');
    this.prefix = prefix;
    this.env = environment(prefix);
    this.rust = rust;
    this.script = join(this.folder, 'script');
    this.scenarios = scenarios();
    mkdirSync(this.folder);
    writeFileSync(this.script, this.scenarios.map(script).join(''));
  }

  #path(name) {
    return join(this.folder, name);
  }

  async build() {
    const library = join(this.prefix, 'lib');
    const place = ['-I', join(this.prefix, 'include'), '-L', library, '-levbus'];
    const make = (compiler, standard, source, name) =>
      must([
        compiler,
        standard,
        ...STRICT,
        `${SOURCES}/${source}`,
        ...place,
        '-o',
        this.#path(name),
      ]);
    await make('cc', '-std=c99', 'tool.c', 'tool');
    await make('cc', '-std=c99', 'runner.c', 'c');
    await make('c++', '-std=c++17', 'runner.cpp', 'cpp');
  }

  /** Languages and their programs; those that this machine lacks have none. */
  programs() {
    const python = onPath('python3') ? ['python3', `${SOURCES}/runner.py`] : undefined;
    return {
      Rust: [this.rust],
      Node: [process.execPath, 'bindings-node/test/conformance/runner.mjs'],
      C: [this.#path('c')],
      'C++': [this.#path('cpp')],
      Python: python,
    };
  }

  async #read(brokers, topic, results) {
    const failure = await stream(['timeout', '120', this.#path('tool'), 'read', brokers, topic], {
      env: this.env,
      quiet: true,
      onLine: (line) => {
        if (/^\d+\t/.test(line)) results.record(topic, line);
      },
    });
    if (failure) throw new Failure(`the records of ${topic} were not read: the tool ${failure}`);
  }

  /**
   * Runs a body while a new broker with all topics runs.
   *
   * @param {string | undefined} version of Kafka; without it the broker is the embedded one
   * @param {(brokers: string) => Promise<void>} body
   */
  async #withTopics(version, body) {
    const topics = this.scenarios.flatMap(({ topic }) => [topic, deadLetterTopic(topic)]);
    if (!version) return withBroker([this.#path('tool'), 'broker', ...topics], this.env, body);
    // A scenario asks for a shorter session than Kafka allows by itself.
    const kafka = await startKafka({ version, set: { 'group.min.session.timeout.ms': 1_000 } });
    try {
      for (const topic of topics) await kafka.createTopic(topic, { partitions: PARTITIONS });
      await body(kafka.bootstrap);
    } finally {
      await kafka.down();
    }
  }

  /** Runs all scenarios in one language, on a new broker. */
  async run(language, command, version) {
    const results = new Results();
    const tool = this.#path('tool');
    await this.#withTopics(version, async (brokers) => {
      for (const { topic, records = [] } of this.scenarios.filter(({ records }) => records)) {
        const line = ({ key, value, headers }) =>
          [hex(key), hex(value), ...headers.map(([name, bytes]) => `${name}=${hex(bytes)}`)].join(
            '\t',
          );
        const input = records.map((record) => `${line(record)}\n`).join('');
        const env = { ...process.env, ...this.env };
        execFileSync(tool, ['write', brokers, topic], { input, env, timeout: 60_000 });
      }
      const env = { ...this.env, PYTHONPATH: 'examples/python' };
      const onLine = (line) => results.line(line);
      const failure = await stream(['timeout', '240', ...command, brokers, this.script], {
        env,
        quiet: true,
        onLine,
      });
      if (failure) console.log(`the program in ${language} ${failure}`);
      // Where no letters are expected, the programs would list those that there are.
      const read = this.scenarios.flatMap(({ topic, expect }) =>
        expect?.letters.length === 0 ? [topic] : [topic, deadLetterTopic(topic)],
      );
      await Promise.all(read.map((topic) => this.#read(brokers, topic, results)));
    });
    return results;
  }

  /**
   * Runs everything.
   *
   * @param {import('../tally.mjs').Tally} tally counts each scenario of each language
   * @param {{ version?: string, update?: boolean }} [options] `version` of a real Kafka; `update` writes what Rust does
   * into the scenarios' files
   * @returns {Promise<string>} the matrix
   */
  async all(tally, { version, update = false } = {}) {
    const cells = new Map(this.scenarios.map(({ name }) => [name, []]));
    const programs = Object.entries(this.programs());
    const done = await this.#allLanguages(programs, version);
    for (const [index, [language]] of programs.entries()) {
      const results = done[index];
      for (const scenario of this.scenarios) {
        const { name, topic, expect = {} } = scenario;
        if (!results) {
          tally.skipped += 1;
          cells.get(name).push('–');
          continue;
        }
        const summary = results.summary(scenario);
        // What the first language did is proposed, for a person to judge.
        if (update && language === 'Rust') this.#propose(scenario, summary);
        const wrong = results.of(topic).done
          ? difference(summary, update ? scenario.expect : expect)
          : 'it did not come to its end';
        tally[wrong ? 'failed' : 'passed'] += 1;
        if (wrong) {
          tally.named.push(`${language}: ${name}: ${wrong}`);
          console.log(`✖ ${language}: ${name}: ${wrong}`);
        }
        cells.get(name).push(wrong ? 'FAILED' : 'ok');
      }
    }
    const width = Math.max(...[...cells.keys()].map((name) => name.length));
    const row = (name, columns) =>
      `${name.padEnd(width)}  ${columns.map((column) => column.padEnd(7)).join('')}`.trimEnd();
    const head = row(
      version ? `the same on Kafka ${version}` : 'the same scenarios, the same bytes',
      programs.map(([language]) => language),
    );
    return [head, ...[...cells].map(([name, columns]) => row(name, columns))].join('\n');
  }

  async #allLanguages(programs, version) {
    const run = ([language, command]) => command && this.run(language, command, version);
    // They wait most of the time, so all languages run at once; a Kafka each would be too much for the machine.
    if (!version) return Promise.all(programs.map(run));
    const done = [];
    for (const program of programs) done.push(await run(program));
    return done;
  }

  #propose(scenario, expect) {
    scenario.expect = expect;
    const { file, ...content } = scenario;
    writeFileSync(join(FOLDER, file), `${JSON.stringify(content, null, 2)}\n`);
  }
}
