import { expect, it } from 'vitest';
import { Fifo } from '../ts/fifo';

it('gives back in order, whatever the interleaving', () => {
  const fifo = new Fifo<number>();
  const model: number[] = [];
  let next = 1;
  for (let step = 0; step < 5000; step += 1) {
    // A fixed, uneven pattern that both grows and empties the queue.
    if ((step * 7919) % 13 < 7 && step % 1000 < 700) {
      fifo.push(next);
      model.push(next);
      next += 1;
    } else {
      expect(fifo.peek()).toBe(model[0]);
      expect(fifo.shift()).toBe(model.shift());
    }
  }
  expect(next).toBeGreaterThan(1000);
  fifo.clear();
  expect(fifo.shift()).toBeUndefined();
  expect(fifo.peek()).toBeUndefined();
});
