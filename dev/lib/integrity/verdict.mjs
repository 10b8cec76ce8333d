/** Reads what the members wrote, and holds it against what was published. */

/**
 * @param {string} text of one member's file; its last line may be cut by a kill
 * @returns {{letter: string, seq: number, key: string, offset: number, at: bigint, partition: number}[]}
 */
export function readLines(text) {
  const lines = text.split('\n');
  // What follows the last end of line was not written whole.
  lines.pop();
  return lines.map((line) => {
    const [letter, seq, key, offset, at, partition] = line.split(' ');
    const numbers = { seq: Number(seq), offset: Number(offset), partition: Number(partition) };
    return { letter, key, at: BigInt(at), ...numbers };
  });
}

/** Calls of one member that overlap on a key. Those that were told to give up are exempt, as their partition was gone. */
function overlaps(lines) {
  const open = new Map();
  const found = [];
  for (const { letter, seq, key } of lines) {
    if (letter === 'S') {
      if (open.has(key)) found.push({ key, first: open.get(key), second: seq });
      open.set(key, seq);
    } else if (open.get(key) === seq) open.delete(key);
  }
  const aborted = new Set(lines.filter(({ letter }) => letter === 'A').map(({ seq }) => seq));
  return found.filter(({ first }) => !aborted.has(first));
}

/** First deliveries of a key that came before one of an earlier event of it. */
function disorder(members) {
  const first = new Map();
  for (const { letter, seq, key, offset, at } of members.flat()) {
    if (letter !== 'S') continue;
    const known = first.get(seq);
    if (!known || at < known.at) first.set(seq, { seq, key, offset, at });
  }
  const byKey = group(first.values(), ({ key }) => key);
  const found = [];
  for (const events of byKey.values()) {
    events.sort((a, b) => (a.at < b.at ? -1 : 1));
    for (let at = 1; at < events.length; at++) {
      if (events[at].offset <= events[at - 1].offset)
        found.push({ key: events[at].key, before: events[at - 1].seq, after: events[at].seq });
    }
  }
  return found;
}

function group(values, keyOf) {
  const groups = new Map();
  for (const value of values) {
    const key = keyOf(value);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(value);
  }
  return groups;
}

/**
 * @param {{acknowledged: Set<number>, unknown: Set<number>, deadLettered: Set<number>}} published
 * @param {ReturnType<typeof readLines>[]} members a list per process
 */
export function judge({ acknowledged, unknown, deadLettered }, members) {
  const handled = new Set();
  let deliveries = 0;
  for (const { letter, seq } of members.flat()) {
    if (letter === 'S') deliveries++;
    if (letter === 'E') handled.add(seq);
  }
  return {
    deliveries,
    handled: handled.size,
    missing: [...acknowledged].filter((seq) => !handled.has(seq) && !deadLettered.has(seq)),
    strangers: [...handled, ...deadLettered].filter(
      (seq) => !acknowledged.has(seq) && !unknown.has(seq),
    ),
    disorder: disorder(members),
    overlaps: members.flatMap(overlaps),
  };
}
