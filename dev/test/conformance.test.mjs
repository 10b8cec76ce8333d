// That the comparison of what languages do and store sees what differs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { difference, scenarios } from '../lib/c/conformance.mjs';

test('every scenario says what is expected, and no two share a topic', () => {
  const all = scenarios();
  assert.ok(all.length >= 8);
  assert.equal(new Set(all.map(({ topic }) => topic)).size, all.length);
  for (const { file, expect } of all) {
    const { calls, events, letters, records, deadLetters } = expect;
    assert.ok(Object.keys(calls).length > 0 && Object.keys(events).length > 0, file);
    assert.ok(records.length > 0, file);
    assert.equal(letters.length, deadLetters.length, file);
  }
});

test('a byte, a call, an order, a record more or less is told', () => {
  const [{ expect }] = scenarios();
  const changed = (change) => {
    const copy = structuredClone(expect);
    change(copy);
    return difference(copy, expect);
  };
  assert.equal(
    changed(() => {}),
    undefined,
  );
  const aggregate = Object.keys(expect.calls)[0];
  for (const change of [
    (copy) => {
      copy.records[0].value += ' ';
    },
    (copy) => copy.records[0].headers.reverse(),
    (copy) => copy.records[0].headers.push(['h', null]),
    (copy) => copy.records.pop(),
    (copy) => copy.records.push(copy.records[0]),
    (copy) => copy.calls[aggregate].push('1/2'),
    (copy) => {
      copy.records[0].key = null;
    },
    (copy) => copy.letters.push('1 fatal 1 -'),
    (copy) => {
      copy.calls = {};
    },
  ])
    assert.match(changed(change), / is .* instead of /);
});
