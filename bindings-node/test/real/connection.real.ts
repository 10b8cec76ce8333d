import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KafkaConfig } from '../../ts/config';
import { TimeoutError } from '../../ts/error';
import { collector, type LogLine, makeBus } from '../support/bus';
import { orderPlaced } from '../support/events';
import { until } from '../support/native';
import { gate, rejection } from '../support/promises';
import { type Cluster, startKafka } from './support/cluster';
import { noKafka, unique } from './support/kafka';

const NODE = 1;
/** Documented: at most so late. */
const NEWS_MS = 3_500;
/** Publishes that stall so long are no connection, whatever the socket says. */
const STALL_MS = 5_000;

/** What the log says of the connection. */
const transitions = (lines: readonly LogLine[]) =>
  lines
    .filter(({ event }) => String(event).startsWith('connection_'))
    .map(({ event, message }) => `${event}: ${message}`);

const LOST = expect.stringMatching(/^connection_lost: /);
const ESTABLISHED = expect.stringMatching(/^connection_established: /);

/** The share of one core that this process takes over that time. */
async function cpuShare(overMs: number): Promise<number> {
  const [before, start] = [process.cpuUsage(), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, overMs));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000 / (performance.now() - start);
}

async function took(promise: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await promise;
  return performance.now() - start;
}

describe.skipIf(noKafka)('a Kafka that is killed, frozen and started again', () => {
  let kafka: Cluster;
  beforeAll(async () => {
    kafka = await startKafka();
  });
  afterAll(() => kafka?.down());

  const make = (config: Partial<KafkaConfig> = {}) =>
    makeBus({ brokers: kafka.bootstrap.split(','), groupId: unique('connection'), ...config });

  it('killed: told within seconds and once; publishes wait for its return or their deadline', async () => {
    const eventType = unique('killed');
    const event = (eventId: string) => orderPlaced({ eventId, eventType });
    const { bus, lines } = make({ publishTimeoutMs: 60_000 });
    const hasty = make({ publishTimeoutMs: 2_000 });
    const handler = collector();
    await bus.subscribe(eventType, handler);
    await bus.connect();
    await hasty.bus.connect();
    await bus.publish(event('before'));
    await hasty.bus.publish(event('hasty-before'));
    await until(() => handler.seen.length === 2, 'the events before', 20_000);

    await kafka.kill(NODE);
    await until(() => !bus.isConnected, 'the bus tells that it is not connected', NEWS_MS);
    expect(bus.metrics()).toMatchObject({ connected: false, connectionsLost: 1 });

    // Nobody waits for its acknowledgement from the call on, but it stays in the client: it may be stored.
    const waiting = bus.publish(event('waits'));
    const impatient = rejection(bus.publish(event('impatient'), { timeoutMs: 1_000 }));
    const late = rejection(hasty.bus.publish(event('late')));
    expect(await took(impatient)).toBeLessThan(1_000 + 500);
    expect(await impatient).toBeInstanceOf(TimeoutError);
    expect(await impatient).toMatchObject({ retryable: true, outcome: 'unknown' });
    // The client gave it up itself and knows that it was never sent.
    expect(await took(late)).toBeLessThan(2_000 + 1_500);
    expect(await late).toBeInstanceOf(TimeoutError);
    expect(await late).toMatchObject({ outcome: 'not_sent', topic: eventType });

    const share = await cpuShare(5_000);
    console.log(`CPU while the broker is down: ${(share * 100).toFixed(1)} % of a core, two buses`);
    expect(share).toBeLessThan(0.1);
    expect(transitions(lines)).toEqual([ESTABLISHED, LOST]);

    await kafka.start(NODE);
    await waiting;
    await until(() => bus.isConnected, 'the bus tells that it is connected', 10_000);
    await until(
      () => handler.seen.some(({ eventId }) => eventId === 'waits'),
      'it arrives',
      20_000,
    );
    await bus.publish(event('after'));
    await until(() => handler.seen.some(({ eventId }) => eventId === 'after'), 'the last', 20_000);
    const order = handler.seen.map(({ eventId }) => eventId).filter((id) => id !== 'impatient');
    expect([...new Set(order)]).toEqual(['before', 'hasty-before', 'waits', 'after']);
    expect(transitions(lines)).toEqual([ESTABLISHED, LOST, ESTABLISHED]);
  });

  it('frozen: told when publishes stall, although its connection stays open', async () => {
    const eventType = unique('frozen');
    const { bus, lines } = make();
    await bus.connect();
    await bus.publish(orderPlaced({ eventType }));
    await kafka.pause(NODE);
    try {
      const start = performance.now();
      const publishing = bus.publish(orderPlaced({ eventType }));
      await until(() => !bus.isConnected, 'it tells that nothing moves', STALL_MS + NEWS_MS);
      // Earlier it could not know.
      expect(performance.now() - start).toBeGreaterThan(STALL_MS - 500);
      await kafka.cont(NODE);
      await publishing;
      await until(() => bus.isConnected, 'it tells that it is connected', 5_000);
    } finally {
      await kafka.cont(NODE);
    }
    await bus.publish(orderPlaced({ eventType }));
    expect(transitions(lines)).toEqual([ESTABLISHED, LOST, ESTABLISHED]);
    expect(bus.metrics().connectionsLost).toBe(1);
  });

  it('frozen: disconnect ends by its deadline and reports', async () => {
    const eventType = unique('frozen');
    const { bus } = make();
    const [started, go] = [gate(), gate()];
    await bus.subscribe(eventType, {
      handle: async () => {
        started.open();
        await go.opened;
      },
    });
    await bus.connect();
    await bus.publish(orderPlaced({ eventId: '1', eventType }));
    await started.opened;
    await kafka.pause(NODE);
    try {
      const lost = rejection(bus.publish(orderPlaced({ eventId: '2', eventType })));
      const start = performance.now();
      const report = await bus.disconnect({ timeoutMs: 1_500 });
      expect(performance.now() - start).toBeLessThan(2_000);
      expect(report).toEqual({ handled: 0, abandoned: 1, published: 0, lost: 1, clean: false });
      expect(await lost).toMatchObject({ outcome: 'unknown' });
      expect(bus.isConnected).toBe(false);
    } finally {
      go.open();
      await kafka.cont(NODE);
    }
  });

  it('away: connect fails in time and names the address; once it is back, connect succeeds', async () => {
    const eventType = unique('away');
    const { bus, lines } = make({ connectTimeoutMs: 1_500 });
    await kafka.kill(NODE);
    const connecting = rejection(bus.connect());
    expect(await took(connecting)).toBeLessThan(1_500 + 1_000);
    const error = await connecting;
    expect(error).toMatchObject({ code: 'EVBUS_UNAVAILABLE', retryable: true });
    const { message, context, hint } = error as Error & { context: object; hint: string };
    expect(`${message} ${JSON.stringify(context)}`).toContain(kafka.bootstrap);
    expect(JSON.stringify(context)).toMatch(/refused/i);
    expect(hint).toMatch(/check host and port/);
    expect(bus.isConnected).toBe(false);
    await kafka.start(NODE);
    await bus.connect();
    await bus.publish(orderPlaced({ eventType }));
    expect(bus.isConnected).toBe(true);
    expect(transitions(lines)).toEqual([ESTABLISHED]);
  });
});
