import { count, duration, table } from './format.mjs';

/** @import { Demo } from '../demo.mjs' */
/** @import { Account } from '../tracking/Ledger.mjs' */

const BAR_WIDTH = 40;

const PHASES = {
  connecting: 'connecting …',
  joining: 'the consumer groups get their partitions …',
  running: '',
  ended: '',
};

/**
 * The live view.
 *
 * @param {Demo} demo
 * @param {string} broker
 * @param {Map<string, number>} rates handled per second, by event type
 */
export function screen(demo, broker, rates) {
  const { ledger, orders, phase } = demo;
  const outage = phase === 'running' && !demo.isConnected ? ', connection lost' : '';
  const done = Math.floor((ledger.complete / orders) * BAR_WIDTH);
  const bar = '█'.repeat(done) + '░'.repeat(BAR_WIDTH - done);
  return [
    '',
    `  Order demo on ${broker}`,
    '',
    `  ${bar}  ${count(ledger.complete)} of ${count(orders)} orders shipped`,
    `  ${PHASES[phase] || `${demo.seconds.toFixed(1)} s`}${outage}`,
    '',
    ...indented(accounts(demo, rates)),
    '',
    `  ${footnote(demo)}`,
    '',
  ];
}

/**
 * The live view where lines cannot be drawn over: one line.
 *
 * @param {Demo} demo
 * @param {Map<string, number>} rates handled per second, by event type
 */
export function line(demo, rates) {
  if (PHASES[demo.phase] !== '') return PHASES[demo.phase];
  const all = [...demo.ledger.accounts];
  const sum = (/** @type {(account: Account) => number} */ part) =>
    count(all.reduce((total, [, account]) => total + part(account), 0));
  const rate = [...rates.values()].reduce((total, value) => total + value, 0);
  const worst = Math.max(...all.map(([, { latencies }]) => latencies.quantile(0.99) ?? 0));
  const median = Math.max(...all.map(([, { latencies }]) => latencies.quantile(0.5) ?? 0));
  return [
    `${demo.seconds.toFixed(1).padStart(5)} s`,
    `published ${sum(({ published }) => published)}`,
    `handled ${sum(({ handled }) => handled)}`,
    `in flight ${sum(({ inFlight }) => inFlight)}`,
    `${count(rate)} events/s`,
    `p50 ${duration(median)}`,
    `p99 ${duration(worst)}`,
  ].join(' · ');
}

/** How many missing orders the summary names. */
const NAMED = 5;

/**
 * What became of it all.
 *
 * @param {Demo} demo
 * @param {boolean} interrupted
 */
export function summary(demo, interrupted) {
  const { ledger, seconds } = demo;
  const handled = [...ledger.accounts.values()].reduce((sum, account) => sum + account.handled, 0);
  const pace = seconds > 0 ? handled / seconds : 0;
  const missing = ledger.missing();
  const rates = new Map(
    Array.from(ledger.accounts, ([type, account]) => [
      type,
      seconds > 0 ? account.handled / seconds : 0,
    ]),
  );
  const lines = ['', ...indented(accounts(demo, rates)), '', `  ${footnote(demo)}`, ''];
  if (interrupted) {
    lines.push(
      `  Stopped: ${count(ledger.complete)} of ${count(demo.orders)} orders were shipped.`,
    );
  } else if (demo.succeeded) {
    lines.push(
      `  ✔ All ${count(handled)} events of ${count(ledger.complete)} orders arrived, in ${seconds.toFixed(1)} s (${count(pace)} events/s).`,
    );
  } else {
    const incomplete = demo.orders - ledger.complete;
    lines.push(
      `  ✘ FAILED: ${count(incomplete)} of ${count(demo.orders)} orders are not complete.`,
    );
    for (const text of missing.slice(0, NAMED)) lines.push(`    ${text}`);
    if (missing.length > NAMED) lines.push(`    and ${count(missing.length - NAMED)} more`);
  }
  return [...lines, ''];
}

/**
 * @param {Demo} demo
 * @param {Map<string, number>} rates handled per second, by event type
 */
function accounts(demo, rates) {
  const rows = [['event', 'published', 'handled', 'in flight', 'rate/s', 'p50', 'p99']];
  for (const [type, account] of demo.ledger.accounts) {
    const { published, handled, inFlight, latencies } = account;
    rows.push([
      type,
      count(published),
      count(handled),
      count(inFlight),
      count(rates.get(type) ?? 0),
      duration(latencies.quantile(0.5)),
      duration(latencies.quantile(0.99)),
    ]);
  }
  return table(rows);
}

/** @param {Demo} demo */
function footnote({ ledger, failures, lost }) {
  const all = [...ledger.accounts.values()];
  const duplicates = all.reduce((sum, account) => sum + account.duplicates, 0);
  const parts = [`delivered twice ${count(duplicates)}`, `failed ${count(failures)}`];
  if (ledger.contradictions > 0) parts.push(`contradictions ${count(ledger.contradictions)}`);
  if (lost > 0) parts.push(`given up at the end ${count(lost)}`);
  if (ledger.skipped > 0) parts.push(`events of earlier runs ${count(ledger.skipped)}`);
  return `${parts.join(' · ')} · times are from publish to handled`;
}

/** @param {string[]} lines */
const indented = (lines) => lines.map((text) => `  ${text}`);
