// Runs the conformance scenarios in Node, on the built package: runner.mjs BROKERS SCRIPT. dev/conformance.mjs writes
// the script, runs the same in every language, and compares what they print.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { FatalHandlerError, KafkaEventBus, RetryableError } from '../../../dist/index.mjs';

const PATIENCE_MS = 30_000;

async function until(what, holds) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${PATIENCE_MS} ms`);
    await sleep(5);
  }
}

/** A value of an option, as its type. */
const typed = (value) => (/^(\d+|true|false)$/.test(value) ? JSON.parse(value) : value);

class Scenario {
  #outcomes = new Map();
  #called = new Map();
  #calls = [];
  #bus;

  constructor(brokers, name, topic) {
    this.name = name;
    this.topic = topic;
    this.config = {
      clientId: 'conformance',
      brokers: brokers.split(','),
      groupId: `conformance-${name}`,
      logger: false,
    };
  }

  async #connected() {
    if (!this.#bus) {
      this.#bus = new KafkaEventBus(this.config);
      await this.#bus.connect();
    }
    return this.#bus;
  }

  async #close() {
    await this.#bus?.disconnect();
    this.#bus = undefined;
  }

  #handle(event, { attempt }) {
    const { eventId, eventType, aggregateId, version, occurredOn, payload } = event;
    const fields = [aggregateId, eventId, attempt, eventType, version, occurredOn.getTime()];
    this.#calls.push([...fields, JSON.stringify(payload)].join('\t'));
    const number = this.#called.get(eventId) ?? 0;
    this.#called.set(eventId, number + 1);
    const outcome = this.#outcomes.get(eventId)?.[number];
    if (outcome === 'retry') throw new RetryableError(`${eventId} fails`);
    if (outcome === 'fatal') throw new FatalHandlerError(`${eventId} is hopeless`);
  }

  async #letters() {
    const bus = await this.#connected();
    return bus
      .deadLetters(this.topic)
      .list()
      .catch((error) => {
        if (error.code === 'EVBUS_UNKNOWN_TOPIC') return [];
        throw error;
      });
  }

  #option(key, value) {
    const [first, ...rest] = key.split('.');
    if (rest.length === 0) this.config[first] = typed(value);
    else
      this.config[first] = {
        ...this.config[first],
        [rest.join('.')]: first === 'kafka' ? value : typed(value),
      };
  }

  async step([what, ...words]) {
    if (what === 'option') this.#option(...words);
    else if (what === 'outcome') this.#outcomes.set(words[0], words.slice(1));
    else if (what === 'event') {
      const [eventId, aggregateId, version, occurredOn, payload] = words;
      await (await this.#connected()).publish({
        eventId,
        eventType: this.topic,
        occurredOn: new Date(Number(occurredOn)),
        aggregateId,
        version: Number(version),
        payload: JSON.parse(payload),
      });
    } else if (what === 'subscribe') {
      const handle = async (event, context) => this.#handle(event, context);
      await (await this.#connected()).subscribe(this.topic, { handle });
    } else if (what === 'calls') {
      await until(`${words[0]} calls`, () => this.#calls.length >= Number(words[0]));
    } else if (what === 'letters') {
      await until(
        `${words[0]} letters`,
        async () => (await this.#letters()).length >= Number(words[0]),
      );
    } else if (what === 'replay') {
      await (await this.#connected()).deadLetters(this.topic).replay();
    } else if (what === 'restart') await this.#close();
    else throw new Error(`no such step: ${what}`);
  }

  async end() {
    const letters = await this.#letters();
    await this.#close();
    for (const call of this.#calls) console.log(`call\t${this.name}\t${call}`);
    for (const { eventId, reason, attempts, errorMessage } of letters) {
      const fields = [eventId ?? '-', reason ?? '-', attempts ?? 0, errorMessage ?? '-'];
      console.log(['letter', this.name, ...fields].join('\t'));
    }
    console.log(`done\t${this.name}`);
  }
}

const [brokers, script] = process.argv.slice(2);
let scenario;
for (const line of readFileSync(script, 'utf8').trimEnd().split('\n')) {
  const words = line.split('\t');
  if (words[0] === 'scenario') scenario = new Scenario(brokers, words[1], words[2]);
  else if (words[0] === 'end') await scenario.end();
  else await scenario.step(words);
}
