import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { IDomainEvent } from '../../ts/event';
import { collector, makeBus } from '../support/bus';
import { DomainEvent, type OrderPlaced, orderPlaced } from '../support/events';
import { until } from '../support/native';
import {
  brokers,
  kafkajsProducer,
  kafkajsReader,
  makeTopic,
  noBrokers,
  unique,
} from './support/kafka';

interface PartitionVectors {
  readonly partitionCounts: readonly number[];
  readonly vectors: readonly { readonly key: string; readonly partitions: readonly number[] }[];
}

const PARTITIONS = 6;

/** Keys that the Java client was asked about, and its answers for six partitions. */
function javaPartitions(): Map<string, number> {
  const path = join(__dirname, '../../../core/tests/vectors/partitions.json');
  const { partitionCounts, vectors } = JSON.parse(readFileSync(path, 'utf8')) as PartitionVectors;
  const column = partitionCounts.indexOf(PARTITIONS);
  const all = vectors.filter(({ key }) => key !== '');
  return new Map(all.map(({ key, partitions }) => [key, partitions[column] ?? -1]));
}

const text = (bytes: unknown): string => (bytes as Buffer).toString('utf8');

describe.skipIf(noBrokers)('the wire format, against kafkajs', () => {
  it('has the bytes of the contract', async () => {
    const topic = unique('wire');
    await makeTopic(topic);
    const { bus } = makeBus({ brokers });
    await bus.connect();
    const at = new Date('2026-02-03T04:05:06.007Z');
    const plain = { ...orderPlaced({ eventId: 'plain ü', eventType: topic, version: 42 }), at };
    const six = orderPlaced({ eventId: 'class', eventType: topic, aggregateId: 'order "2" 漢😀' });
    await bus.publish(plain);
    await bus.publish(new DomainEvent({ key: 'of a service' }, six));
    const messages = await kafkajsReader(topic);
    await until(() => messages.length === 2, 'both records', 30_000);
    for (const [n, event] of [plain, six].entries()) {
      const message = messages[n];
      expect(text(message?.key)).toBe(event.aggregateId);
      expect(text(message?.value)).toBe(
        JSON.stringify(
          event === plain
            ? plain
            : {
                eventId: six.eventId,
                eventType: six.eventType,
                occurredOn: six.occurredOn,
                aggregateId: six.aggregateId,
                version: six.version,
                payload: six.payload,
              },
        ),
      );
      const headers = Object.entries(message?.headers ?? {});
      expect(headers.map(([name, value]) => [name, text(value)])).toEqual([
        ['eventId', event.eventId],
        ['version', String(event.version)],
        ['timestamp', event.occurredOn.toISOString()],
      ]);
    }
  });

  it('reads what the original wrote with kafkajs', async () => {
    const topic = unique('wire');
    await makeTopic(topic);
    const producer = await kafkajsProducer();
    const plain = { ...orderPlaced({ eventId: 'plain', eventType: topic }), tenant: 'acme' };
    const instance = new DomainEvent({}, orderPlaced({ eventId: 'class', eventType: topic }));
    expect(JSON.parse(JSON.stringify(instance))).not.toHaveProperty('payload');
    for (const event of [plain, instance]) {
      const { eventId, version, occurredOn } = event;
      await producer.send({
        topic,
        messages: [
          {
            key: event.aggregateId,
            value: JSON.stringify(event),
            headers: { eventId, version: String(version), timestamp: occurredOn.toISOString() },
          },
        ],
      });
    }
    const { bus, errors } = makeBus({ brokers, groupId: unique('wire') });
    const handler = collector();
    await bus.subscribe(topic, handler);
    await bus.connect();
    await until(() => handler.seen.length + errors.length === 2, 'both events', 30_000);
    expect(errors).toEqual([]);
    expect(handler.seen[0]).toEqual(plain);
    const read = handler.seen[1] as IDomainEvent<OrderPlaced>;
    const { eventId, eventType, occurredOn, aggregateId, version, payload } = instance;
    const wanted = { eventId, eventType, occurredOn, aggregateId, version, payload };
    expect(read).toMatchObject(wanted);
    for (const date of [read.occurredOn, read.payload.timestamp]) expect(date).toBeInstanceOf(Date);
  });

  it('chooses the partitions of kafkajs and of the Java client', async () => {
    const [ours, theirs] = [unique('wire-ours'), unique('wire-theirs')];
    await makeTopic(ours, PARTITIONS);
    await makeTopic(theirs, PARTITIONS);
    const java = javaPartitions();
    const random = Array.from(
      { length: 200 },
      (_, n) => `${n % 2 ? 'order' : 'Größe 漢 '}-${n * n}`,
    );
    const keys = [...new Set([...random, ...java.keys()])];
    const producer = await kafkajsProducer();
    await producer.send({ topic: theirs, messages: keys.map((key) => ({ key, value: '{}' })) });
    const { bus } = makeBus({ brokers });
    await bus.connect();
    await bus.publishMany(
      keys.map((key) => orderPlaced({ eventId: key, eventType: ours, aggregateId: key })),
    );
    const [oursRead, theirsRead] = [await kafkajsReader(ours), await kafkajsReader(theirs)];
    await until(
      () => oursRead.length === keys.length && theirsRead.length === keys.length,
      'all records of both',
      30_000,
    );
    const chosen = (messages: typeof oursRead) =>
      Object.fromEntries(messages.map(({ key, partition }) => [text(key), partition]));
    const ourChoice = chosen(oursRead);
    expect(ourChoice).toEqual(chosen(theirsRead));
    expect(new Set(Object.values(ourChoice)).size).toBe(PARTITIONS);
    for (const [key, partition] of java) expect([key, ourChoice[key]]).toEqual([key, partition]);
  });
});
