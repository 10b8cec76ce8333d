import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Batch } from '../ts/delivery';
import { orderPlaced } from './support/events';
import { packDeliveries } from './support/native';

interface Lenient {
  readonly tail: string;
  readonly occurredOn: number | null;
  readonly version: number;
  readonly payload: string;
}

const vectors = join(__dirname, '../../core/tests/vectors');
const lenient = JSON.parse(readFileSync(join(vectors, 'lenient.json'), 'utf8'))
  .vectors as Lenient[];

const at = (row: number) => row * 18;

describe('a batch', () => {
  it.each(lenient)('reads what the core hands out: $tail', (vector) => {
    const value = `{"eventId":"1","eventType":"t","aggregateId":"a"${vector.tail}}`;
    const { occurredOn } = vector;
    const delivery = { topicId: 0, offset: 0, time: 777, value };
    const known = occurredOn === null ? delivery : { ...delivery, occurredOn };
    const event = new Batch(packDeliveries([known])).event(0);
    expect(event).toMatchObject({ eventId: '1', eventType: 't', aggregateId: 'a' });
    expect(event.version).toBe(vector.version);
    expect(event.occurredOn).toEqual(new Date(occurredOn ?? 777));
    expect(event.payload ?? null).toEqual(JSON.parse(vector.payload));
  });

  it('reads values over the ends of its chunks, of one byte a character and of more', () => {
    for (const filler of ['x', 'ü']) {
      const events = Array.from({ length: 40 }, (_, n) =>
        orderPlaced({ eventId: `event-${n}-${filler.repeat(7_000)}` }),
      );
      const batch = new Batch(
        packDeliveries(
          events.map((event, offset) => ({
            topicId: 0,
            offset,
            value: JSON.stringify(event),
            occurredOn: event.occurredOn.getTime(),
          })),
        ),
      );
      for (const [row, event] of events.entries()) expect(batch.event(at(row))).toEqual(event);
    }
  });

  it('has an invalid date where neither event nor record say when', () => {
    const value = '{"eventId":"1","eventType":"t","aggregateId":"a"}';
    const event = new Batch(packDeliveries([{ topicId: 0, offset: 0, value }])).event(0);
    expect(event.occurredOn.getTime()).toBeNaN();
  });
});
