import { expect, it, vi } from 'vitest';
import { run } from '../../ts/cli/run';
import { FatalHandlerError } from '../../ts/failure';
import { makeBus } from '../support/bus';
import { withId } from '../support/events';
import {
  brokers,
  kafkajsProducer,
  kafkajsReader,
  makeTopic,
  noBrokers,
  unique,
} from './support/kafka';

const eventually = (holds: () => unknown) => vi.waitFor(holds, { timeout: 30_000, interval: 50 });

async function dlq(...args: string[]) {
  let [stdout, stderr] = ['', ''];
  const status = await run(['dlq', ...args, '--json'], {
    environment: { KAFKA_BROKERS: brokers.join(',') },
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
  });
  return { status, stderr, json: stdout === '' ? undefined : JSON.parse(stdout) };
}

it.skipIf(noBrokers)(
  'what kafkajs wrote comes back from the dead-letter topic byte for byte, by the command line',
  async () => {
    const topic = unique('letters');
    await makeTopic(topic, 3);
    const producer = await kafkajsProducer();
    const bytes = Buffer.from([0, 255, 10]);
    const event = withId('1', { eventType: topic });
    const timestamp = '1700000000123';
    const message = {
      partition: 2,
      timestamp,
      key: 'order-1',
      value: JSON.stringify(event),
      headers: { one: bytes, several: ['a', bytes], empty: '' },
    };
    await producer.send({ topic, messages: [message, { ...message, value: 'no event' }] });

    const groupId = unique('group');
    const { bus } = makeBus({ brokers, groupId, onInvalid: 'dead-letter' });
    let broken = true;
    const handled: string[] = [];
    await bus.subscribe(topic, {
      handle: async ({ eventId }) => {
        if (broken) throw new FatalHandlerError('broken');
        handled.push(eventId);
      },
    });
    await bus.connect();
    await eventually(() => expect(bus.metrics().consume.deadLettered).toBe(2));

    const letters = await kafkajsReader(`${topic}.dead-letter`);
    await eventually(() => expect(letters).toHaveLength(2));
    for (const letter of letters) {
      const { one, several, empty } = letter.headers ?? {};
      expect({ one, several, empty }).toEqual({
        one: bytes,
        several: [Buffer.from('a'), bytes],
        empty: Buffer.alloc(0),
      });
      expect(letter).toMatchObject({ partition: 2, timestamp, key: Buffer.from('order-1') });
      expect(String(letter.headers?.['dead-letter.group'])).toBe(groupId);
    }
    expect(letters.map(({ value }) => String(value))).toEqual([message.value, 'no event']);

    const listed = await dlq('ls', '--topic', topic);
    expect(listed.status).toBe(0);
    // An invalid record fails when it is received, before the handler of the one in front has answered.
    expect(listed.json).toHaveLength(2);
    expect(listed.json).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ partition: 2, reason: 'fatal', eventId: '1', key: 'order-1' }),
        expect.objectContaining({ partition: 2, reason: 'invalid', eventId: null }),
      ]),
    );
    broken = false;
    const replay = ['replay', '--topic', topic, '--reason', 'fatal'];
    expect(await dlq(...replay)).toMatchObject({ status: 0, json: { replayed: 1 } });
    await eventually(() => expect(handled).toEqual(['1']));
    expect(await dlq(...replay)).toMatchObject({ status: 0, json: { replayed: 0 } });
    const missing = await dlq('show', '--topic', topic, '--partition', '2', '--offset', '99');
    expect(missing).toMatchObject({ status: 2, json: undefined });
  },
);
