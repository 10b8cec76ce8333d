/** For how long the partitions of a topic stood still, by what the members of a group wrote. */

const NS_PER_MS = 1_000_000n;

/**
 * The longest time, in milliseconds, between two handled events of each partition that had any around the window. An
 * event before it begins a pause, and one behind it ends one.
 *
 * @param {ReturnType<typeof import('./verdict.mjs').readLines>[]} members a list per process
 * @param {{from: bigint, to: bigint}} window
 * @returns {number[]} one per partition
 */
export function longestGaps(members, { from, to }) {
  const times = new Map();
  for (const { letter, partition, at } of members.flat()) {
    if (letter !== 'E') continue;
    if (!times.has(partition)) times.set(partition, []);
    times.get(partition).push(at);
  }
  return [...times.values()].map((all) => {
    all.sort((a, b) => (a < b ? -1 : 1));
    let longest = 0n;
    for (let at = 1; at < all.length; at++) {
      const gap = all[at] - all[at - 1];
      if (all[at] >= from && all[at - 1] <= to && gap > longest) longest = gap;
    }
    return Number(longest / NS_PER_MS);
  });
}

/** The smallest of the values that so many of a hundred do not exceed. */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((sorted.length * share) / 100) - 1)];
}
