import { parseArgs } from 'node:util';

/** Events per second, where the options do not say. Slow enough for topics with one partition. */
const PACE = 1500;
const SECONDS = 8;
/** The event types that an order goes through. */
const EVENTS_PER_ORDER = 3;

export const USAGE = `An order domain on the event bus: orders are placed, paid and shipped.

  npm start -- [options]

  --events N     how many events (default: ${PACE * SECONDS}, or ${PACE} for each of --seconds)
  --seconds S    spread over so many seconds (default: ${SECONDS}, or what --events takes at ${PACE} a second);
                 0: as fast as it goes
  --patience S   give up on missing events after so many seconds without any (default: 15)
  --lose N       let the shipping service forget every N-th payment, to see that the loss is noticed
  --help

  KAFKA_BROKERS=host:port,…   run on that Kafka instead of the embedded broker

The exit status is 0 when every event arrived, 1 when one is missing, 2 for wrong options.`;

/** An option that is not understood. */
export class UsageError extends Error {}

/**
 * @param {string[]} args
 * @returns the options, or `undefined` where help is asked for
 */
export function parseOptions(args) {
  const values = parse(args);
  if (values.help) return undefined;
  const seconds = number('seconds', values.seconds, 0);
  const events = number('events', values.events, 1);
  const orders = Math.ceil((events ?? Math.max(1, PACE * (seconds || SECONDS))) / EVENTS_PER_ORDER);
  return {
    /** How many orders are placed. */
    orders,
    /** Over how many seconds. */
    seconds: seconds ?? (events === undefined ? SECONDS : (orders * EVENTS_PER_ORDER) / PACE),
    patienceMs: (number('patience', values.patience, 0.1) ?? 15) * 1000,
    lose: number('lose', values.lose, 1) ?? 0,
    /** Empty: the embedded broker. */
    brokers: (process.env.KAFKA_BROKERS ?? '').split(',').filter((broker) => broker.trim() !== ''),
  };
}

/** @param {string[]} args */
function parse(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        events: { type: 'string' },
        seconds: { type: 'string' },
        patience: { type: 'string' },
        lose: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    return values;
  } catch (error) {
    throw new UsageError(/** @type {Error} */ (error).message);
  }
}

/**
 * @param {string} name
 * @param {string | undefined} text
 * @param {number} least
 */
function number(name, text, least) {
  if (text === undefined) return undefined;
  const value = Number(text);
  const isWhole = name === 'seconds' || name === 'patience' || Number.isInteger(value);
  if (text.trim() === '' || !Number.isFinite(value) || value < least || !isWhole) {
    throw new UsageError(`--${name} must be a number of at least ${least}, got "${text}"`);
  }
  return value;
}

/** @typedef {NonNullable<ReturnType<typeof parseOptions>>} Options */
