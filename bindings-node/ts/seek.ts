import { ArgumentError } from './error';
import { isTopicName, nameValue } from './event';

/**
 * Where reading a partition goes on: at an offset, at the oldest record, behind the newest one, or at the first one of
 * that time (a `Date`, or milliseconds since the Unix epoch) or later.
 */
export type SeekTo =
  | 'beginning'
  | 'end'
  | { readonly offset: number }
  | { readonly timestamp: Date | number };

const isNumber = (value: unknown): value is number => Number.isSafeInteger(value);

/** What the core reads of a place; undefined for what is none. */
function place(to: SeekTo): object | string | undefined {
  if (to === 'beginning' || to === 'end') return to;
  if (typeof to !== 'object' || to === null || Object.keys(to).length !== 1) return undefined;
  if ('offset' in to) return isNumber(to.offset) && to.offset >= 0 ? to : undefined;
  const timestamp = 'timestamp' in to ? Number(to.timestamp) : undefined;
  return isNumber(timestamp) ? { timestamp } : undefined;
}

/**
 * A seek as the core reads it, in JSON.
 *
 * @throws {@link ArgumentError} that names what is wrong
 * @internal
 */
export function seekRequest(topic: string, partition: number, to: SeekTo): string {
  if (typeof topic !== 'string' || !isTopicName(topic)) {
    throw new ArgumentError(`there is nothing to seek in event type ${nameValue(topic)}`, {
      hint: 'an event type is a Kafka topic name: 1 to 249 of A-Z a-z 0-9 . _ - and not "." or ".."',
    });
  }
  if (!isNumber(partition) || partition < 0 || partition > 0x7fff_ffff) {
    throw new ArgumentError(`partition must be a number from 0, got ${nameValue(partition)}`);
  }
  const where = place(to);
  if (where === undefined) {
    throw new ArgumentError(`there is no place ${nameValue(to)} to seek to`, {
      hint: "use 'beginning', 'end', { offset } with a number from 0, or { timestamp } with a Date or milliseconds",
    });
  }
  return JSON.stringify({ topic, partition, to: where });
}
