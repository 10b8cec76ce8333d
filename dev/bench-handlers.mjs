// npm run bench:handlers: what slow, failing and backlogged handlers cost, on one real Kafka.
//
//   node dev/bench-handlers.mjs [--rounds N] [--only slow,poison,backlog] [--dev]
//
// slow     4 partitions, 1 000 keys, a handler of 5 ms: ordering by key against kafkajs, in turn
// poison   100 000 events of which 1 % cannot be handled, against the same topic without failures
// backlog  1 000 000 events of 1 KiB and a handler of 1 ms: memory beyond that of the connected bus
//
// Exits with 1 when a goal is missed.

import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { Failure, main, root, run, say } from './lib/exec.mjs';
import { javaAvailable, startKafka } from './lib/kafka/cluster.mjs';
import { median, medianRatio } from './lib/samples.mjs';

const MIB = 1 << 20;
const PARTITIONS = 4;
/** The default of maxInFlightBytes, and what may come on top of it. */
const MAX_RSS = (64 + 64) * MIB;

class Bench {
  #missed = [];

  constructor(kafka, rounds) {
    this.kafka = kafka;
    this.rounds = rounds;
  }

  async program(name, ...args) {
    const argv = [`bindings-node/bench/${name}`, this.kafka.bootstrap, ...args.map(String)];
    return run(process.execPath, argv, { capture: true, cwd: root });
  }

  async measure(name, topic, events, options) {
    return JSON.parse(await this.program(name, topic, events, JSON.stringify(options)));
  }

  async fill(topic, events, keys, bytes) {
    await this.kafka.createTopic(topic, { partitions: PARTITIONS });
    await this.program('fill.mjs', topic, events, keys, bytes);
  }

  goal(what, reached) {
    console.log(`${reached ? 'reached' : 'MISSED '}  ${what}`);
    if (!reached) this.#missed.push(what);
  }

  async slow() {
    const [ours, theirs] = [60_000, 4_000];
    await this.fill('slow', ours, 1_000, 300);
    await this.fill('slow-few', theirs, 1_000, 300);
    const rates = { package: [], kafkajs: [] };
    for (let round = 0; round < this.rounds; round += 1) {
      const one = await this.measure('handlers.mjs', 'slow', ours, {
        delayMs: 5,
        concurrency: 200,
      });
      rates.package.push(one.eventsPerSecond);
      const options = { delayMs: 5, partitions: PARTITIONS };
      const other = await this.measure('kafkajs.mjs', 'slow-few', theirs, options);
      rates.kafkajs.push(other.eventsPerSecond);
    }
    const [own, peer] = [median(rates.package), median(rates.kafkajs)];
    const ratio = medianRatio(rates.package, rates.kafkajs);
    const what = `handlers of 5 ms: ${own.toFixed(0)}/s, kafkajs ${peer.toFixed(0)}/s, ratio ${ratio.toFixed(1)}, goal >= 20`;
    this.goal(what, ratio >= 20);
  }

  async poison() {
    const events = 100_000;
    await this.fill('poison', events, 1_000, 300);
    const rates = { clean: [], poison: [] };
    let right = true;
    for (let round = 0; round < this.rounds; round += 1) {
      for (const kind of round % 2 ? ['clean', 'poison'] : ['poison', 'clean']) {
        const poison = kind === 'poison' ? 0.01 : 0;
        const options = { delayMs: 5, concurrency: 64, poison };
        const one = await this.measure('handlers.mjs', 'poison', events, options);
        // Of the rest: events that were handled, by the time they took.
        rates[kind].push((one.eventsPerSecond * one.handled) / events);
        const { handled, refused, deadLettered, letters, wrongLetters, disorder, clean } = one;
        const isWhole = refused === events * poison && handled + refused === events;
        const isTold = deadLettered === refused && letters === refused && wrongLetters === 0;
        right &&= isWhole && isTold && disorder === 0 && clean;
        if (!right) console.log(JSON.stringify(one));
      }
    }
    this.goal(
      'every poison event is one dead letter with its provenance, all others in order',
      right,
    );
    const [clean, poison] = [median(rates.clean), median(rates.poison)];
    const fall = (1 - medianRatio(rates.poison, rates.clean)) * 100;
    const what = `1 % poison: ${poison.toFixed(0)}/s of the rest, without ${clean.toFixed(0)}/s, fall ${fall.toFixed(1)} %, goal < 5 %`;
    this.goal(what, fall < 5);
  }

  async backlog() {
    const events = 1_000_000;
    await this.fill('backlog', events, 10_000, 1_024);
    const options = { delayMs: 1, concurrency: 64 };
    const { rssBytes, eventsPerSecond } = await this.measure(
      'handlers.mjs',
      'backlog',
      events,
      options,
    );
    const mib = (rssBytes / MIB).toFixed(0);
    const what = `backlog of 1 M x 1 KiB: ${mib} MiB beyond the start at ${eventsPerSecond.toFixed(0)}/s, goal <= ${MAX_RSS / MIB} MiB`;
    this.goal(what, rssBytes <= MAX_RSS);
  }

  close() {
    if (this.#missed.length > 0) throw new Failure(`missed ${this.#missed.length} of the goals`);
  }
}

main(async () => {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', default: 'slow,poison,backlog' },
      dev: { type: 'boolean', default: false },
    },
  });
  const java = javaAvailable();
  if (!java.ok) throw new Failure(`the benchmark needs a real Kafka: ${java.reason}`);
  await build({ release: !values.dev });
  say('starting Kafka');
  const kafka = await startKafka({ jvm: 'throughput' });
  try {
    const bench = new Bench(kafka, Number(values.rounds));
    for (const name of values.only.split(',')) {
      if (!['slow', 'poison', 'backlog'].includes(name))
        throw new Failure(`there is no case ${name}`);
      say(name);
      await bench[name]();
    }
    bench.close();
  } finally {
    await kafka.down();
  }
});
