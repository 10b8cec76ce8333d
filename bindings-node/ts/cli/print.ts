import type { DeadLetter, DeadLetterRecord, ReplayReport } from '../dead-letters';

/** Bytes as a text where they are one in UTF-8, and else with their encoding. */
export function readable(bytes: Uint8Array | null): string | null | { readonly base64: string } {
  if (bytes === null) return null;
  const buffer = Buffer.from(bytes);
  const text = buffer.toString('utf8');
  return Buffer.from(text).equals(buffer) ? text : { base64: buffer.toString('base64') };
}

/** On one line, whatever it holds: control characters could take over the terminal. */
function line(value: string | number | null | { readonly base64: string }): string {
  if (value === null) return '–';
  if (typeof value === 'object') return `base64:${value.base64}`;
  const escaped = (character: string): string => `\\u{${character.codePointAt(0)?.toString(16)}}`;
  return String(value).replace(/\p{C}/gu, escaped);
}

const iso = (date: Date | null): string => date?.toISOString() ?? '–';

/** For `JSON.stringify`. */
export function letterJson(letter: DeadLetter | DeadLetterRecord): object {
  const json = { ...letter, key: readable(letter.key) };
  if (!('headers' in letter)) return json;
  const headers = [...letter.headers].map(([name, value]) => [name, readable(value)]);
  return { ...json, value: readable(letter.value), headers };
}

const COLUMNS: readonly (readonly [title: string, cell: (letter: DeadLetter) => string])[] = [
  ['PLACE', ({ partition, offset }) => `${partition}@${offset}`],
  ['FAILED', ({ lastFailedAt }) => iso(lastFailedAt)],
  ['REASON', ({ reason, reduced }) => line(reduced === null ? reason : `reduced (${reduced})`)],
  ['ATTEMPTS', ({ attempts }) => line(attempts)],
  ['REPLAYS', ({ replays }) => line(replays)],
  ['KEY', ({ key }) => line(readable(key))],
  ['EVENT', ({ eventId }) => line(eventId)],
  ['HANDLER', ({ handler }) => line(handler)],
  ['ERROR', ({ errorCode, errorMessage }) => `${line(errorCode)}: ${line(errorMessage)}`],
];

const WIDEST = 40;

export function table(letters: readonly DeadLetter[]): string {
  if (letters.length === 0) return 'no dead letters\n';
  const rows = [
    COLUMNS.map(([title]) => title),
    ...letters.map((letter) => COLUMNS.map(([, cell]) => cell(letter))),
  ];
  const last = COLUMNS.length - 1;
  const cut = (cell: string, column: number): string =>
    column < last && cell.length > WIDEST ? `${cell.slice(0, WIDEST - 1)}…` : cell;
  const cells = rows.map((row) => row.map(cut));
  const widths = COLUMNS.map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  );
  const padded = (row: string[]): string =>
    row.map((cell, column) => (column < last ? cell.padEnd(widths[column] ?? 0) : cell)).join('  ');
  return `${cells.map(padded).join('\n')}\n`;
}

export function record(letter: DeadLetterRecord): string {
  const rows: [string, string][] = [
    ['place', `${letter.partition}@${letter.offset}`],
    ['from', `${line(letter.sourceTopic)}[${letter.sourcePartition}]@${letter.sourceOffset}`],
    ['reason', line(letter.reason)],
    ['group', line(letter.group)],
    ['handler', line(letter.handler)],
    ['attempts', line(letter.attempts)],
    ['error', `${line(letter.errorCode)}: ${line(letter.errorMessage)}`],
    ['first failed', iso(letter.firstFailedAt)],
    ['last failed', iso(letter.lastFailedAt)],
    ['replays', line(letter.replays)],
    ['reduced', line(letter.reduced)],
    ['event', line(letter.eventId)],
    ['timestamp', iso(letter.timestamp)],
    ['key', line(readable(letter.key))],
    ...[...letter.headers].map(([name, value]): [string, string] => [
      `header ${line(name)}`,
      line(readable(value)),
    ]),
    ['value', line(readable(letter.value))],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

export function report(done: ReplayReport): string {
  const { replayed, skipped, skippedLetters, dryRun, complete } = done;
  const verb = dryRun ? 'would be replayed' : 'replayed';
  const rest = complete ? '' : '; the limit was reached, others may be left';
  const lines = skippedLetters.map(({ partition, offset, why, message }) =>
    line(`skipped ${partition}@${offset}: ${why}${message === undefined ? '' : `: ${message}`}`),
  );
  const more = skipped - skippedLetters.length;
  if (more > 0) lines.push(`and ${more} others`);
  return [`${replayed} ${verb}, ${skipped} skipped${rest}`, ...lines, ''].join('\n');
}
