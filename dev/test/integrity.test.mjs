// Run with: node --test dev/test/
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { longestGaps, percentile } from '../lib/integrity/pauses.mjs';
import { judge, readLines } from '../lib/integrity/verdict.mjs';

const published = (acknowledged) => ({
  acknowledged: new Set(acknowledged),
  unknown: new Set([9]),
  deadLettered: new Set([3]),
});

const member = (...lines) => readLines(`${lines.join('\n')}\n`);

test('what is handled or a dead letter, in order and one at a time, is in order', () => {
  const killed = readLines('S 1 a 0 10\nE 1 a 0 11\nS 2 a 1 12\nE 2 a');
  const other = member(
    'S 2 a 1 20',
    'E 2 a 1 21',
    'S 3 a 2 22',
    'F 3 a 2 23',
    'S 9 b 0 24',
    'E 9 b 0 25',
  );
  const verdict = judge(published([1, 2, 3]), [killed, other]);
  assert.deepEqual(verdict, {
    deliveries: 5,
    handled: 3,
    missing: [],
    strangers: [],
    disorder: [],
    overlaps: [],
  });
});

test('what is lost, unheard of, out of order or overlaps is found', () => {
  const lines = member(
    'S 2 a 1 10',
    'S 1 a 0 11',
    'E 1 a 0 12',
    'E 2 a 1 13',
    'S 7 b 0 14',
    'E 7 b 0 15',
  );
  const verdict = judge(published([1, 2, 3, 4]), [lines]);
  assert.deepEqual(verdict.missing, [4]);
  assert.deepEqual(verdict.strangers, [7]);
  assert.deepEqual(verdict.disorder, [{ key: 'a', before: 2, after: 1 }]);
  assert.deepEqual(verdict.overlaps, [{ key: 'a', first: 2, second: 1 }]);
});

test('a call that was told to give up may overlap with the next owner of its key', () => {
  const lines = member('S 1 a 0 10', 'S 1 a 0 11', 'A 1 a 0 12', 'E 1 a 0 13');
  assert.deepEqual(judge(published([1]), [lines]).overlaps, []);
});

test('a pause is the longest time without a handled event of a partition, whoever has it', () => {
  const ms = (time) => time * 1_000_000;
  const one = member(
    `E 1 a 0 ${ms(100)} 0`,
    `S 2 a 1 ${ms(300)} 0`,
    `F 2 a 1 ${ms(400)} 0`,
    `E 3 b 0 ${ms(100)} 1`,
    `E 4 b 1 ${ms(900)} 1`,
  );
  const other = member(`E 2 a 1 ${ms(700)} 0`, `E 5 a 2 ${ms(750)} 0`);
  const during = (from, to) => ({ from: BigInt(ms(from)), to: BigInt(ms(to)) });
  assert.deepEqual(longestGaps([one, other], during(200, 300)), [600, 800]);
  assert.deepEqual(longestGaps([one, other], during(720, 740)), [50, 800]);
  assert.deepEqual(longestGaps([one, other], during(1_000, 2_000)), [0, 0]);
});

test('a percentile is one of the values', () => {
  const values = Array.from({ length: 200 }, (_, at) => 200 - at);
  assert.deepEqual(
    [percentile(values, 50), percentile(values, 99), percentile(values, 100)],
    [100, 198, 200],
  );
  assert.equal(percentile([7], 99), 7);
});
