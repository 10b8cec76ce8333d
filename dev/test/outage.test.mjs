// Run with: node --test dev/test/
// All brokers are gone for a while: the process lives on, idles, says so once, and works again soon after their return.
//
// EVBUS_OUTAGE_MS  how long they are gone, 20 000 by default; from a minute on there are reminders
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { root } from '../lib/exec.mjs';
import { javaAvailable, startKafka } from '../lib/kafka/cluster.mjs';
import { until as holds } from '../lib/kafka/processes.mjs';

const OUTAGE_MS = Number(process.env.EVBUS_OUTAGE_MS ?? 20_000);
const NODES = [1, 2, 3];
const RECOVERY_MS = 10_000;
const REMINDER = 'connection_still_lost';
const REMINDER_MS = 60_000;
/** How much later than due one may be. */
const LATE_MS = 5_000;
/** The share of one core, over everything that the process does. */
const MOST_CPU = 0.02;

const java = javaAvailable();
const skip = !java.ok && `skipped: ${java.reason}`;

async function until(what, condition, ms = 30_000) {
  assert.ok(await holds(condition, ms), what);
}

/** What the process told so far, and what it is asked. */
class Service {
  logs = [];
  acknowledged = [];
  failed = [];
  handled = new Set();
  #child;

  constructor(t, options) {
    const program = join(root, 'dev/lib/outage/service.mjs');
    this.#child = fork(program, [JSON.stringify(options)]);
    this.#child.on('message', (told) => {
      if (told.log) this.logs.push(told.log);
      if (told.acknowledged) this.acknowledged.push(told.acknowledged);
      if (told.failed) this.failed.push(told);
      if (told.handled) this.handled.add(told.handled);
    });
    t.after(() => this.#child.kill('SIGKILL'));
  }

  get lives() {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  count(event) {
    return this.logs.filter((log) => log.event === event).length;
  }

  async cpuMs() {
    this.#child.send('usage');
    for (;;) {
      const [{ usage }] = await once(this.#child, 'message');
      if (usage) return (usage.user + usage.system) / 1_000;
    }
  }

  async end() {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    return (await ended)[0];
  }
}

test('a process outlives an outage of all brokers, and idles meanwhile', {
  skip,
  timeout: OUTAGE_MS + 180_000,
}, async (t) => {
  const kafka = await startKafka({ nodes: NODES.length });
  t.after(() => kafka.down());
  const eventType = 'order.outlived';
  await kafka.createTopic(eventType, { partitions: 6 });
  const brokers = kafka.bootstrap.split(',');
  const service = new Service(t, { brokers, eventType, everyMs: 500 });
  await until('events before the outage', () => service.handled.size >= 5);
  assert.equal(service.count('connection_established'), 1);

  await Promise.all(NODES.map((node) => kafka.kill(node)));
  await until('the loss is told', () => service.count('connection_lost') === 1, 5_000);
  const [before, began] = [await service.cpuMs(), performance.now()];
  await pause(OUTAGE_MS);
  const share = ((await service.cpuMs()) - before) / (performance.now() - began);
  t.diagnostic(`${(share * 100).toFixed(2)} % of a core while no broker was there`);
  assert.ok(share < MOST_CPU, `it took ${(share * 100).toFixed(2)} % of a core`);
  assert.ok(service.lives, 'the process lives');
  const reminders = Math.floor(OUTAGE_MS / REMINDER_MS);
  // The last one may just be due.
  await until('a reminder a minute', () => service.count(REMINDER) >= reminders, LATE_MS);
  const told = service.logs.filter(({ event }) => event === REMINDER);
  assert.equal(told.length, reminders, 'no more than a reminder a minute');
  for (const { message, ...reminder } of told) {
    assert.match(message, /^the connection has been lost for \d+ s: no broker can be reached/);
    assert.equal(reminder.brokers, kafka.bootstrap);
  }

  const { acknowledged } = service;
  const acknowledgedBefore = acknowledged.length;
  await kafka.start(NODES);
  const back = performance.now();
  await until('a publish is acknowledged', () => acknowledged.length > acknowledgedBefore);
  await until('an event from after the outage is handled', () =>
    acknowledged.slice(acknowledgedBefore).some((id) => service.handled.has(id)),
  );
  await until('the return is told', () => service.count('connection_established') === 2);
  const took = performance.now() - back;
  t.diagnostic(`working again ${(took / 1_000).toFixed(1)} s after the brokers were back`);
  assert.ok(took < RECOVERY_MS, `it took ${took} ms`);
  await until('every acknowledged event is handled', () =>
    acknowledged.every((id) => service.handled.has(id)),
  );
  for (const failed of service.failed) assert.equal(failed.code, 'EVBUS_TIMEOUT');
  assert.equal(service.count('connection_lost'), 1, 'the loss is told once');
  assert.equal(service.count('connection_established'), 2, 'the return is told once');
  // Those who look at the log hours later find the outage, and no flood of what follows from it.
  const loud = service.logs.filter(({ level }) => level === 'warn' || level === 'error');
  t.diagnostic(`warnings: ${loud.map(({ event }) => event).join(', ')}`);
  for (const { event } of loud) {
    const most = 2 + OUTAGE_MS / 10_000;
    assert.ok(loud.filter((other) => other.event === event).length <= most, `${event} is repeated`);
  }
  assert.deepEqual(
    loud.filter(({ event, message }) => event === 'subscription_error' && /refused/.test(message)),
    [],
    'connections are told of as such',
  );
  assert.equal(await service.end(), 0);
});
