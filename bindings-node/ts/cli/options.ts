import { readFileSync } from 'node:fs';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import type { KafkaConfig, SaslConfig } from '../config';
import type { DeadLetterReason, ReplayOptions } from '../dead-letters';

/** What the command line means. */
export interface Command {
  readonly name: 'ls' | 'show' | 'replay';
  readonly config: Partial<KafkaConfig>;
  readonly eventType: string;
  readonly deadLetterTopic: string | undefined;
  /** Filter and options; `show` has partition and offset. */
  readonly options: ReplayOptions;
  readonly json: boolean;
}

/** The command line is wrong, or asks for help. */
export class Usage extends Error {
  /** 0 for who asked for it. */
  readonly status: 0 | 2;

  constructor(message: string, status: 0 | 2) {
    super(message);
    this.status = status;
  }
}

export const USAGE = `Dead letters of an event bus: look at them, and send them back.

  i_event-bus dlq ls     --topic TYPE [FILTER] [--limit N]
  i_event-bus dlq show   --topic TYPE --partition P --offset O
  i_event-bus dlq replay --topic TYPE [FILTER] [--limit N] [--rate N] [--dry-run] [--max-replays N]

  --topic TYPE              the event type, which is also its topic
  --dead-letter-topic NAME  where its dead letters are; default TYPE.dead-letter
  --json                    machine-readable output

FILTER, all of which has to hold:
  --reason R                exhausted, fatal, invalid, parked or requested; may be given several times
  --since T, --until T      when the last attempt failed: ISO 8601, or as long ago as 90s, 30m, 2h or 7d
  --partition P --offset O  the place in the dead-letter topic
  --key KEY                 the record's key, which is the aggregate's id

  --limit N                 that many at most; for ls 100 by default, for replay no bound
  --rate N                  replay that many a second at most
  --dry-run                 only tell what would be replayed
  --max-replays N           skip what was replayed that often already; default 3

Replaying goes on where the last replay with the same filter ended. It may be killed at any time: started again it
leaves nothing out, and repeats at most the last 100 letters. A time as long ago as 2h is another filter each time.

  --brokers HOST:PORT,…     default KAFKA_BROKERS
  --group NAME              the group in whose name replays are remembered; default KAFKA_GROUP_ID, else none
  --client-id NAME          default KAFKA_CLIENT_ID, else i_event-bus-dlq
  --ssl                     TLS with the system's authorities
  --ssl-ca FILE             TLS with these authorities (PEM)
  --ssl-cert FILE, --ssl-key FILE  the client's certificate and key (PEM)
  --sasl-username NAME      default KAFKA_SASL_USERNAME; the password comes from KAFKA_SASL_PASSWORD alone
  --sasl-mechanism M        plain, scram-sha-256 or scram-sha-512; default KAFKA_SASL_MECHANISM, else plain

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 replayed, but some letters were skipped.
`;

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;

const OPTIONS = {
  topic: text,
  'dead-letter-topic': text,
  json: flag,
  reason: { type: 'string', multiple: true },
  since: text,
  until: text,
  partition: text,
  offset: text,
  key: text,
  limit: text,
  rate: text,
  'dry-run': flag,
  'max-replays': text,
  brokers: text,
  group: text,
  'client-id': text,
  ssl: flag,
  'ssl-ca': text,
  'ssl-cert': text,
  'ssl-key': text,
  'sasl-username': text,
  'sasl-mechanism': text,
  help: flag,
  version: flag,
} as const satisfies ParseArgsConfig['options'];

type Values = ReturnType<typeof parse>['values'];

const CONNECTION: readonly string[] = [
  ...['topic', 'dead-letter-topic', 'json', 'brokers', 'group', 'client-id'],
  ...['ssl', 'ssl-ca', 'ssl-cert', 'ssl-key', 'sasl-username', 'sasl-mechanism'],
];
const FILTER: readonly string[] = ['reason', 'since', 'until', 'partition', 'offset', 'key'];

/** What each command understands beside what all do. */
const UNDERSTANDS: Record<Command['name'], readonly string[]> = {
  ls: [...FILTER, 'limit'],
  show: ['partition', 'offset'],
  replay: [...FILTER, 'limit', 'rate', 'dry-run', 'max-replays'],
};

const wrong = (message: string): Usage => new Usage(`${message}\nTry: i_event-bus dlq --help`, 2);

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw wrong((error as Error).message);
  }
}

/**
 * Reads a command line.
 *
 * @param now - milliseconds since the Unix epoch, from which relative times count
 * @throws {@link Usage}
 */
export function readCommand(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  version: string,
  now: number,
): Command {
  const { values, positionals } = parse(args);
  if (values.help) throw new Usage(USAGE, 0);
  if (values.version) throw new Usage(`${version}\n`, 0);
  const [area, command, ...rest] = positionals;
  if (area === undefined) throw new Usage(USAGE, 2);
  if (area !== 'dlq') throw wrong(`there is no command ${JSON.stringify(area)}, only dlq`);
  if (command === undefined || !Object.hasOwn(UNDERSTANDS, command)) {
    throw wrong(`dlq needs ls, show or replay, got ${JSON.stringify(command ?? '')}`);
  }
  const name = command as Command['name'];
  if (rest.length > 0) throw wrong(`dlq ${name} does not understand ${JSON.stringify(rest[0])}`);
  const understood = [...CONNECTION, ...UNDERSTANDS[name]];
  const stranger = Object.keys(values).find((option) => !understood.includes(option));
  if (stranger !== undefined) throw wrong(`dlq ${name} does not understand --${stranger}`);
  if (!values.topic) throw wrong(`dlq ${name} needs --topic, the event type`);
  if (name === 'show' && (values.partition === undefined || values.offset === undefined)) {
    throw wrong('dlq show needs --partition and --offset');
  }
  return {
    name,
    config: configOf(values, environment),
    eventType: values.topic,
    deadLetterTopic: values['dead-letter-topic'],
    options: optionsOf(values, now),
    json: values.json ?? false,
  };
}

/** Without what is not given, so that defaults hold. */
function given<O extends object>(options: O): { [K in keyof O]: Exclude<O[K], undefined> } {
  const all = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(all) as { [K in keyof O]: Exclude<O[K], undefined> };
}

function optionsOf(values: Values, now: number): ReplayOptions {
  return given({
    reason: values.reason?.flatMap((names) => names.split(',')) as DeadLetterReason[] | undefined,
    since: time('since', values.since, now),
    until: time('until', values.until, now),
    partition: whole('partition', values.partition),
    offset: whole('offset', values.offset),
    key: values.key,
    limit: whole('limit', values.limit),
    ratePerSecond: rate(values.rate),
    dryRun: values['dry-run'],
    maxReplays: whole('max-replays', values['max-replays']),
  }) as ReplayOptions;
}

function configOf(values: Values, environment: NodeJS.ProcessEnv): Partial<KafkaConfig> {
  const clientId =
    values['client-id'] ?? (environment['KAFKA_CLIENT_ID']?.trim() || 'i_event-bus-dlq');
  const files = given({
    ca: pem('ssl-ca', values['ssl-ca']),
    cert: pem('ssl-cert', values['ssl-cert']),
    key: pem('ssl-key', values['ssl-key']),
  });
  const ssl = Object.keys(files).length > 0 ? files : values.ssl;
  return given({
    brokers: values.brokers?.split(','),
    groupId: values.group,
    clientId,
    ssl,
    sasl: saslOf(values, environment),
  }) as Partial<KafkaConfig>;
}

function saslOf(values: Values, environment: NodeJS.ProcessEnv): SaslConfig | undefined {
  const username = values['sasl-username'] ?? environment['KAFKA_SASL_USERNAME']?.trim();
  if (!username) return undefined;
  const password = environment['KAFKA_SASL_PASSWORD'];
  if (!password) throw wrong('the password for SASL is missing: set KAFKA_SASL_PASSWORD');
  const mechanism = (values['sasl-mechanism'] ??
    environment['KAFKA_SASL_MECHANISM']?.trim().toLowerCase()) as SaslConfig['mechanism'];
  return { username, password, ...(mechanism && { mechanism }) };
}

function pem(option: string, file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw wrong(`--${option} ${JSON.stringify(file)} cannot be read: ${(error as Error).message}`);
  }
}

function whole(option: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (/^\d+$/.test(value) && Number.isSafeInteger(number)) return number;
  throw wrong(`--${option} must be a whole number, got ${JSON.stringify(value)}`);
}

function rate(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (Number.isFinite(number) && number > 0) return number;
  throw wrong(`--rate must be a number above 0, got ${JSON.stringify(value)}`);
}

const UNITS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

function time(option: string, value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  const [, count, unit] = /^(\d+)([smhd])$/.exec(value) ?? [];
  if (count !== undefined && unit !== undefined) return now - Number(count) * (UNITS[unit] ?? 0);
  const at = /^\d{4}-\d{2}-\d{2}/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isFinite(at)) return at;
  throw wrong(
    `--${option} must be a time like 2026-01-31T12:00:00Z or 30m, got ${JSON.stringify(value)}`,
  );
}
