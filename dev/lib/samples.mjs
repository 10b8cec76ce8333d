// What the benchmarks print of their rounds.

/** The middle of the values; of an even number, the mean of the two in the middle. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * How the two sides of alternating rounds compare: the median of the rounds' ratios. The machine's speed drifts from
 * round to round, and within one it is nearly the same for both.
 */
export function medianRatio(ours, theirs) {
  return median(ours.map((value, round) => value / theirs[round]));
}

/** Median, least and greatest, without decimals. */
export function spread(values) {
  const [middle, least, greatest] = [median(values), Math.min(...values), Math.max(...values)];
  return `${middle.toFixed(0)} (${least.toFixed(0)}–${greatest.toFixed(0)})`;
}
