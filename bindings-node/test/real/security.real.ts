import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KafkaConfig, SaslConfig } from '../../ts/config';
import type { EventBusError } from '../../ts/error';
import { collector, type LogLine, makeBus } from '../support/bus';
import { orderPlaced } from '../support/events';
import { until } from '../support/native';
import { program, run } from '../support/program';
import { rejection } from '../support/promises';
import { type Cluster, type KafkaUser, startKafka } from './support/cluster';
import { noKafka, unique } from './support/kafka';

/** Connecting has ten seconds; what the brokers refuse must be told long before. */
const AT_ONCE_MS = 4_000;

/** How often a process ends by `process.exit()`; 200 by hand. */
const EXITS = Number(process.env['EVBUS_EXITS'] ?? 10);
const EXITS_AT_ONCE = 2;

/** The errors behind what was logged as a warning or worse. */
const errorsIn = (lines: readonly LogLine[]): EventBusError[] =>
  lines
    .filter(({ level }) => level === 'warn' || level === 'error')
    .flatMap(({ fields }) => (fields['err'] === undefined ? [] : [fields['err'] as EventBusError]));

const TOPIC_AUTHORIZATION_FAILED = 29;
const GROUP_AUTHORIZATION_FAILED = 30;

describe.skipIf(noKafka)('a Kafka with TLS, SASL, ACLs and without automatic topics', () => {
  let kafka: Cluster;
  beforeAll(async () => {
    kafka = await startKafka({ authorizer: true, autoCreate: false });
  });
  afterAll(() => kafka?.down());

  const at = (listener: string): string[] => kafka.listeners[listener]?.split(',') ?? [];
  const ca = (): string => readFileSync(kafka.ca, 'utf8');

  function secure(
    mechanism: SaslConfig['mechanism'] = 'plain',
    user: KafkaUser = kafka.users.admin,
  ): Partial<KafkaConfig> {
    const { username, password } = user;
    const sasl = { mechanism: mechanism ?? 'plain', username, password };
    return { brokers: at('sasl_ssl'), groupId: unique('allowed'), ssl: { ca: ca() }, sasl };
  }

  const plainText = () => ({ brokers: at('plaintext'), groupId: unique('allowed') });

  async function roundTrip(config: Partial<KafkaConfig>): Promise<void> {
    const eventType = unique('allowed');
    const { bus, errors } = makeBus(config);
    const handler = collector();
    await bus.connect();
    await bus.subscribe(eventType, handler);
    await bus.publish(orderPlaced({ eventType }));
    await until(() => handler.seen.length === 1, 'the event', 20_000);
    expect(handler.seen[0]).toEqual(orderPlaced({ eventType }));
    expect(errors).toEqual([]);
    expect(await bus.disconnect()).toMatchObject({ clean: true });
  }

  /** What connecting fails with, at once. */
  async function refusal(config: Partial<KafkaConfig>): Promise<EventBusError> {
    const { bus, lines } = makeBus(config);
    const start = performance.now();
    const error = (await rejection(bus.connect())) as EventBusError;
    expect(performance.now() - start).toBeLessThan(AT_ONCE_MS);
    expect(bus.isConnected).toBe(false);
    const told = inspect([error, lines], { depth: 10 });
    const { password } = config.sasl ?? {};
    if (password !== undefined) expect(told).not.toContain(password);
    return error;
  }

  it.each(['plain', 'scram-sha-256', 'scram-sha-512'] as const)('takes %s over TLS', (mechanism) =>
    roundTrip(secure(mechanism)),
  );

  it('takes scram without TLS', () =>
    roundTrip({ ...secure('scram-sha-512'), ssl: false, brokers: at('sasl_plaintext') }));

  it('takes TLS with a certificate authority as text, as bytes and in a list', async () => {
    const bytes = readFileSync(kafka.ca);
    const others = readFileSync(kafka.strangerCa, 'utf8');
    for (const given of [ca(), bytes, [others, ca()]]) {
      const { bus } = makeBus({ brokers: at('ssl'), ssl: { ca: given } });
      await bus.connect();
      expect(bus.isConnected).toBe(true);
    }
  });

  it('takes a client certificate', () =>
    roundTrip({
      brokers: at('mtls'),
      groupId: unique('allowed'),
      ssl: { ca: ca(), cert: readFileSync(kafka.clientCert), key: readFileSync(kafka.clientKey) },
    }));

  it.each(['plain', 'scram-sha-256', 'scram-sha-512'] as const)(
    'refuses a wrong password of %s at once, and the error does not tell it',
    async (mechanism) => {
      const { username } = kafka.users.admin;
      const error = await refusal(secure(mechanism, { username, password: 'hunter2-wrong' }));
      expect(error).toMatchObject({ code: 'EVBUS_AUTH', retryable: false });
      expect(error.hint).toMatch(/password/);
      expect(inspect(error, { depth: 5 })).toContain(at('sasl_ssl')[0]);
    },
  );

  it('is not trusted by a wrong certificate authority, nor by the public ones', async () => {
    for (const ssl of [{ ca: readFileSync(kafka.strangerCa, 'utf8') }, true]) {
      const error = await refusal({ ...secure(), ssl });
      expect(error).toMatchObject({ code: 'EVBUS_AUTH', retryable: false });
      expect(error.hint).toMatch(/certificate/);
      expect(inspect(error, { depth: 5 })).toContain(at('sasl_ssl')[0]);
    }
  });

  it('demands the client certificate at once', async () => {
    const error = await refusal({ brokers: at('mtls'), ssl: { ca: ca() } });
    expect(error).toMatchObject({ code: 'EVBUS_AUTH', retryable: false });
  });

  it('leaves alone a process that ends by process.exit() in a handler', async () => {
    const config = (groupId: string) => JSON.stringify({ ...secure(), groupId });
    const inHandler = (groupId: string) =>
      program(`
        const bus = makeBus(${config(groupId)});
        await bus.subscribe('order.placed', { handle: async () => {
          bus.publish(event('2')).catch(() => {});
          process.exit(7);
        } });
        await bus.connect();
        await bus.publish(event('1'));
      `);
    for (let round = 0; round < EXITS; round += EXITS_AT_ONCE) {
      const all = Array.from({ length: EXITS_AT_ONCE }, () =>
        run(inHandler(unique('allowed')), 60_000),
      );
      for (const ended of await Promise.all(all))
        expect(ended).toEqual({ status: 7, signal: null, stdout: '', stderr: '' });
    }
  }, 600_000);

  it('with TLS is recognised by a client without', async () => {
    const { bus } = makeBus({ brokers: at('ssl'), connectTimeoutMs: 1_500 });
    const error = (await rejection(bus.connect())) as EventBusError;
    expect(error.code).toBe('EVBUS_UNAVAILABLE');
    expect(inspect(error, { depth: 5 })).toMatch(/expects TLS/);
  });

  it('refuses to publish what is not allowed, with advice', async () => {
    const eventType = unique('forbidden');
    await kafka.createTopic(eventType);
    const { bus } = makeBus(secure('scram-sha-256', kafka.users.limited));
    await bus.connect();
    const error = (await rejection(bus.publish(orderPlaced({ eventType })))) as EventBusError;
    expect(error).toMatchObject({
      code: 'EVBUS_REJECTED',
      name: 'PublishError',
      kafkaCode: TOPIC_AUTHORIZATION_FAILED,
      outcome: 'not_sent',
      retryable: false,
      topic: eventType,
    });
    expect(error.hint).toContain('ACL');
    expect(bus.metrics().errors).toEqual({ EVBUS_REJECTED: 1 });
  });

  it('tells that a topic may not be read; the allowed ones flow', async () => {
    const [forbidden, allowed] = [unique('forbidden'), unique('allowed')];
    await kafka.createTopic(forbidden);
    await kafka.createTopic(allowed);
    const { bus, lines } = makeBus(secure('scram-sha-512', kafka.users.limited));
    const handler = collector();
    await bus.subscribe(forbidden, collector());
    await bus.subscribe(allowed, handler);
    await bus.connect();
    await bus.publish(orderPlaced({ eventType: allowed }));
    await until(() => handler.seen.length === 1, 'the allowed event', 20_000);
    const refused = () => errorsIn(lines).filter(({ message }) => message.includes(forbidden));
    await until(() => refused().length > 0, 'the refusal in the log', 20_000);
    const [error] = refused();
    expect(error).toMatchObject({ code: 'EVBUS_REJECTED', kafkaCode: TOPIC_AUTHORIZATION_FAILED });
    expect(error?.hint).toContain('ACL');
  });

  it('tells that a group may not be used', async () => {
    const allowed = unique('allowed');
    await kafka.createTopic(allowed);
    const config = secure('plain', kafka.users.limited);
    const { bus, lines } = makeBus({ ...config, groupId: unique('forbidden') });
    await bus.subscribe(allowed, collector());
    await bus.connect();
    const refused = () =>
      errorsIn(lines).filter(({ kafkaCode }) => kafkaCode === GROUP_AUTHORIZATION_FAILED);
    await until(() => refused().length > 0, 'the refusal in the log', 20_000);
    expect(refused()[0]?.code).toBe('EVBUS_REJECTED');
    expect(refused()[0]?.hint).toContain('ACL');
  });

  it('does not take an event of a topic that does not exist', async () => {
    const eventType = unique('allowed-missing');
    const { bus } = makeBus(plainText());
    await bus.connect();
    const start = performance.now();
    const error = (await rejection(bus.publish(orderPlaced({ eventType })))) as EventBusError;
    expect(performance.now() - start).toBeLessThan(8_000);
    expect(error).toMatchObject({
      code: 'EVBUS_UNKNOWN_TOPIC',
      name: 'PublishError',
      outcome: 'not_sent',
      retryable: false,
      topic: eventType,
    });
    expect(error.hint).toBeTruthy();
  });

  it('has topics made for it by subscribing, unless that is switched off', async () => {
    const eventType = unique('allowed-missing');
    const off = makeBus({ ...plainText(), autoCreateTopics: false });
    await off.bus.connect();
    const handler = collector();
    const outcome = await off.bus.subscribe(eventType, handler).then(
      () => 'resolved',
      (error: EventBusError) => error.code,
    );
    const told = [outcome, ...errorsIn(off.lines).map(({ code }) => code)];
    expect(told).toContain('EVBUS_UNKNOWN_TOPIC');
    const on = makeBus(plainText());
    await on.bus.connect();
    await on.bus.subscribe(eventType, handler);
    await on.bus.publish(orderPlaced({ eventType }));
    await until(() => handler.seen.length >= 1, 'the event', 20_000);
  });

  it('does not take an event that is larger than the topic allows', async () => {
    const eventType = unique('allowed-small');
    await kafka.createTopic(eventType, { config: { 'max.message.bytes': 10_000 } });
    const { bus } = makeBus(plainText());
    await bus.connect();
    const payload = { ...orderPlaced().payload, orderId: 'x'.repeat(50_000) };
    const error = (await rejection(
      bus.publish(orderPlaced({ eventType, payload })),
    )) as EventBusError;
    expect(error).toMatchObject({
      code: 'EVBUS_TOO_LARGE',
      name: 'PublishError',
      outcome: 'not_sent',
      retryable: false,
      topic: eventType,
    });
    expect(error.hint).toMatch(/message\.max\.bytes/);
    // Its place in the sequence of an idempotent producer must not be missing to those after it.
    const small = Array.from({ length: 20 }, (_, n) =>
      orderPlaced({ eventId: String(n), eventType }),
    );
    await bus.publishMany(small);
  });
});
