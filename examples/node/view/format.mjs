/** @param {number} value */
export const count = (value) => Math.round(value).toLocaleString('en-US');

/** @param {number | undefined} ms */
export function duration(ms) {
  if (ms === undefined) return '–';
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms.toFixed(ms >= 100 ? 0 : 1)} ms`;
}

/** So that a column does not move with every digit. */
const LEAST_WIDTH = 7;

/**
 * Aligns columns: the first to the left, all others to the right.
 *
 * @param {string[][]} rows
 */
export function table(rows) {
  const widths = rows[0].map((_, column) =>
    Math.max(LEAST_WIDTH, ...rows.map((row) => row[column].length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column] + 2),
      )
      .join(''),
  );
}

const GREEN = '\x1b[32m';
const RED = '\x1b[31m';
const DIM = '\x1b[2m';
const PLAIN = '\x1b[0m';

/**
 * Colours what is done, what is left, and how it ended.
 *
 * @param {string} line
 */
export function coloured(line) {
  if (line.startsWith('  ✔')) return `${GREEN}${line}${PLAIN}`;
  if (line.startsWith('  ✘')) return `${RED}${line}${PLAIN}`;
  return line.replace(/█+/, `${GREEN}$&${PLAIN}`).replace(/░+/, `${DIM}$&${PLAIN}`);
}
