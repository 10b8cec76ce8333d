import { expect, it } from 'vitest';
import type { Delivery } from '../ts/call';
import { Progress, type Settled } from '../ts/progress';

const ticket = (sequence: number, slot = 0, epoch = 1): Delivery => ({
  ticketLo: sequence,
  ticketHi: slot | (epoch << 16),
  answered: false,
});

const nothing: Settled = { handlers: new Set(), fatal: [] };

it('is known by ticket, of the latest epoch of a slot only', () => {
  const progress = new Progress();
  const [first, second]: Settled[] = [{ ...nothing }, { ...nothing }];
  progress.set(ticket(5, 3, 65_535), first as Settled);
  expect(progress.of(ticket(5, 3, 65_535))).toBe(first);
  for (const other of [ticket(6, 3, 65_535), ticket(5, 2, 65_535), ticket(5, 3, 1)]) {
    expect(progress.of(other)).toBeUndefined();
  }
  progress.set(ticket(5, 3, 0), second as Settled);
  expect(progress.of(ticket(5, 3, 65_535))).toBeUndefined();
  expect(progress.of(ticket(5, 3, 0))).toBe(second);
});

it('is gone with the answer, the partition and the connection', () => {
  const progress = new Progress();
  progress.set(ticket(1), nothing);
  progress.set(ticket(2), nothing);
  progress.set(ticket(1, 9), nothing);
  progress.delete(ticket(1, 0, 2));
  expect(progress.of(ticket(1))).toBe(nothing);
  progress.delete(ticket(1));
  expect(progress.of(ticket(1))).toBeUndefined();
  progress.forget(9);
  expect(progress.isEmpty).toBe(false);
  progress.delete(ticket(2));
  expect(progress.isEmpty).toBe(true);
  progress.set(ticket(1), nothing);
  progress.clear();
  expect(progress.isEmpty).toBe(true);
});

it('is bounded per partition: the oldest goes first', () => {
  const progress = new Progress();
  for (let sequence = 0; sequence <= 10_000; sequence += 1) progress.set(ticket(sequence), nothing);
  expect(progress.of(ticket(0))).toBeUndefined();
  expect(progress.of(ticket(1))).toBe(nothing);
  expect(progress.of(ticket(10_000))).toBe(nothing);
});
