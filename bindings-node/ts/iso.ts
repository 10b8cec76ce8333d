// Dates as JSON has them: JSON.stringify calls a Date's toJSON through the slow path, which costs more than the rest of a
// small event.

const {
  getTime,
  toISOString,
  toJSON,
  valueOf: toNumber,
  [Symbol.toPrimitive]: toPrimitive,
} = Date.prototype as Date & { [Symbol.toPrimitive]: unknown };

// Applications do replace Date.prototype.toJSON. Replaced later, it differs from the one above.
const builtIn = [toJSON, toISOString, toNumber, toPrimitive].every((method) =>
  Function.prototype.toString.call(method).includes('[native code]'),
);

/**
 * Whether JSON would write it in the built-in way.
 *
 * @internal
 */
export function isOrdinaryDate(value: object): value is Date {
  const date = value as Date & { [Symbol.toPrimitive]: unknown };
  return (
    date.toJSON === toJSON &&
    date.toISOString === toISOString &&
    date.valueOf === toNumber &&
    date[Symbol.toPrimitive] === toPrimitive &&
    builtIn
  );
}

const CACHE_MASK = 15;
const cachedTimes = new Float64Array(CACHE_MASK + 1).fill(Number.NaN);
const cachedTexts = new Array<string>(CACHE_MASK + 1).fill('');

/**
 * `date.toISOString()`; null for an invalid date, as JSON has it.
 *
 * @internal
 */
export function isoOf(date: Date): string | null {
  const time = getTime.call(date);
  const slot = time & CACHE_MASK;
  if (cachedTimes[slot] === time) return cachedTexts[slot] as string;
  if (Number.isNaN(time)) return null;
  const text = toISOString.call(date);
  cachedTimes[slot] = time;
  cachedTexts[slot] = text;
  return text;
}
