import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readCommand, Usage } from '../ts/cli/options';
import { readable, record, report, table } from '../ts/cli/print';
import { run } from '../ts/cli/run';
import { unpackHeaders } from '../ts/context';
import type { DeadLetter, DeadLetterRecord } from '../ts/dead-letters';
import { FatalHandlerError } from '../ts/failure';
import { type EmbeddedBroker, startEmbeddedBroker } from '../ts/testing';
import { makeBus } from './support/bus';
import { thrownBy, withId } from './support/events';

const NOW = Date.parse('2026-06-01T00:00:00Z');
const TYPE = ['--topic', 'order.placed'];

const read = (args: string[], environment: NodeJS.ProcessEnv = {}) =>
  readCommand(['dlq', ...args], environment, '1.2.3', NOW);

const usage = (args: string[], environment: NodeJS.ProcessEnv = {}): Usage => {
  const error = thrownBy(() => read(args, environment));
  expect(error).toBeInstanceOf(Usage);
  return error as Usage;
};

describe('the command line', () => {
  it('is read with its filter, and times count from now', () => {
    const since = ['--since', '2h', '--until', '2026-05-31T23:30:00Z'];
    const filter = [
      '--reason',
      'fatal,invalid',
      '--reason',
      'parked',
      '--key',
      'order-1',
      ...since,
    ];
    const replay = ['--limit', '5', '--rate', '0.5', '--dry-run', '--max-replays', '7', '--json'];
    expect(read(['replay', ...TYPE, ...filter, ...replay])).toMatchObject({
      name: 'replay',
      eventType: 'order.placed',
      json: true,
      options: {
        reason: ['fatal', 'invalid', 'parked'],
        key: 'order-1',
        since: NOW - 7_200_000,
        until: NOW - 1_800_000,
        limit: 5,
        ratePerSecond: 0.5,
        dryRun: true,
        maxReplays: 7,
      },
    });
    expect(read(['ls', ...TYPE])).toMatchObject({ json: false, options: {} });
    expect(read(['ls', ...TYPE]).options).toEqual({});
  });

  it('names the cluster, and the environment does where it does not', () => {
    const folder = mkdtempSync(join(tmpdir(), 'evbus-cli-'));
    try {
      const ca = join(folder, 'ca.pem');
      writeFileSync(ca, 'PEM');
      const environment = {
        KAFKA_CLIENT_ID: 'tool',
        KAFKA_SASL_USERNAME: 'me',
        KAFKA_SASL_PASSWORD: 'secret',
        KAFKA_SASL_MECHANISM: 'SCRAM-SHA-256',
      };
      expect(read(['ls', ...TYPE, '--ssl-ca', ca], environment).config).toEqual({
        clientId: 'tool',
        ssl: { ca: 'PEM' },
        sasl: { username: 'me', password: 'secret', mechanism: 'scram-sha-256' },
      });
      const flags = ['--brokers', 'a:1,b:2', '--group', 'g', '--client-id', 'c', '--ssl'];
      expect(read(['ls', ...TYPE, ...flags]).config).toEqual({
        brokers: ['a:1', 'b:2'],
        groupId: 'g',
        clientId: 'c',
        ssl: true,
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it.each([
    [['show', ...TYPE], '--partition and --offset'],
    [['ls'], 'needs --topic'],
    [['ls', ...TYPE, '--rate', '5'], 'does not understand --rate'],
    [['show', ...TYPE, '--partition', '1', '--offset', '1', '--key', 'k'], '--key'],
    [['remove', ...TYPE], 'ls, show or replay'],
    [['ls', 'more', ...TYPE], '"more"'],
    [['ls', ...TYPE, '--limit', '-1'], '--limit'],
    [['ls', ...TYPE, '--limit', 'ten'], 'a whole number, got "ten"'],
    [['replay', ...TYPE, '--rate', '0'], 'a number above 0'],
    [['ls', ...TYPE, '--since', 'yesterday'], 'got "yesterday"'],
    [['ls', ...TYPE, '--unknown'], '--unknown'],
    [['ls', ...TYPE, '--ssl-ca', '/does/not/exist'], 'cannot be read'],
    [['ls', ...TYPE, '--sasl-username', 'me'], 'KAFKA_SASL_PASSWORD'],
  ])('refuses %j', (args, part) => {
    const { message, status } = usage(args);
    expect(message).toContain(part);
    expect(status).toBe(2);
  });

  it('explains itself', () => {
    expect(usage(['--help'])).toMatchObject({ status: 0 });
    expect(usage(['--version'])).toMatchObject({ status: 0, message: '1.2.3\n' });
    expect(thrownBy(() => readCommand([], {}, '1', NOW))).toMatchObject({ status: 2 });
    expect(thrownBy(() => readCommand(['x'], {}, '1', NOW))).toMatchObject({ status: 2 });
  });
});

const letter: DeadLetter = {
  partition: 1,
  offset: 42,
  sourceTopic: 'order.placed',
  sourcePartition: 2,
  sourceOffset: 7,
  timestamp: new Date(0),
  eventId: 'e-1',
  key: Buffer.from('order-1'),
  size: 10,
  group: 'billing',
  reason: 'exhausted',
  handler: 'Invoices',
  attempts: 5,
  errorCode: 'TypeError',
  errorMessage: 'no\u001b[31m total\nat all',
  firstFailedAt: new Date(0),
  lastFailedAt: new Date(1),
  reduced: null,
  replays: 0,
};

describe('what is printed', () => {
  it('is one line a letter, whatever the letter says', () => {
    const lines = table([letter, { ...letter, key: null, eventId: null, handler: 'x'.repeat(99) }]);
    expect(lines.split('\n')).toHaveLength(4);
    expect(lines).toContain('TypeError: no\\u{1b}[31m total\\u{a}at all');
    expect(lines).toContain('1@42');
    expect(lines).not.toContain('x'.repeat(41));
    expect(table([])).toBe('no dead letters\n');
  });

  it('shows bytes as text where they are one', () => {
    expect(readable(null)).toBeNull();
    expect(readable(Buffer.from('ü'))).toBe('ü');
    expect(readable(Buffer.from([255]))).toEqual({ base64: '/w==' });
    const headers = unpackHeaders(Buffer.from([1, 0, 97, 255, 255, 255, 255]));
    const whole: DeadLetterRecord = { ...letter, value: Buffer.from([0xff]), headers };
    const lines = record(whole);
    expect(lines).toMatch(/^header a +–$/m);
    expect(lines).toMatch(/^value +base64:\/w==$/m);
    expect(lines).toMatch(/^from +order\.placed\[2\]@7$/m);
  });

  it('sums a replay up', () => {
    const skipped = [{ partition: 0, offset: 3, replays: 3, why: 'max-replays' as const }];
    const done = { read: 9, replayed: 5, skipped: 2, skippedLetters: skipped, dryRun: true };
    expect(report({ ...done, complete: false }).split('\n')).toEqual([
      '5 would be replayed, 2 skipped; the limit was reached, others may be left',
      'skipped 0@3: max-replays',
      'and 1 others',
      '',
    ]);
  });
});

const MAIN = join(__dirname, '../../dist/cli/main.js');

describe('the program', () => {
  const LETTERS = 60;
  let broker: EmbeddedBroker;
  let environment: NodeJS.ProcessEnv;

  /** A broker with dead letters of one event type. */
  beforeAll(async () => {
    broker = await startEmbeddedBroker({ topics: ['order.placed'], partitions: 2 });
    environment = { KAFKA_BROKERS: broker.brokers.join(','), KAFKA_GROUP_ID: 'cli' };
    const { bus } = makeBus({ brokers: broker.brokers, groupId: 'cli' });
    const handle = async () => {
      throw new FatalHandlerError('no');
    };
    await bus.subscribe('order.placed', { handle });
    await bus.connect();
    const events = Array.from({ length: LETTERS }, (_, n) =>
      withId(String(n), { aggregateId: `order-${n}` }),
    );
    await bus.publishMany(events);
    await vi.waitFor(() => expect(bus.metrics().consume.deadLettered).toBe(LETTERS), {
      timeout: 30_000,
    });
    await bus.disconnect();
  }, 60_000);
  afterAll(() => broker.stop());

  async function call(...args: string[]) {
    let [stdout, stderr] = ['', ''];
    const status = await run(args, {
      environment,
      stdout: { write: (text) => (stdout += text) },
      stderr: { write: (text) => (stderr += text) },
    });
    return { status, stdout, stderr };
  }

  /** The built program, as npx starts it. */
  function start(...args: string[]) {
    if (!existsSync(MAIN)) throw new Error('dist/ is not built: run npm run build');
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    child.stdout.on('data', (data) => {
      stdout += data;
    });
    const ended = new Promise<{ status: number | null; stdout: string }>((resolve) => {
      child.on('close', (status) => resolve({ status, stdout }));
    });
    return { child, ended };
  }

  it('lists and shows', async () => {
    const listed = await call('dlq', 'ls', ...TYPE, '--json', '--limit', '3');
    expect(listed).toMatchObject({ status: 0, stderr: '' });
    const letters = JSON.parse(listed.stdout) as { partition: number; offset: number }[];
    expect(letters).toHaveLength(3);
    const [{ partition, offset } = { partition: 0, offset: 0 }] = letters;
    const place = ['--partition', String(partition), '--offset', String(offset)];
    const shown = await call('dlq', 'show', ...TYPE, ...place);
    expect(shown.status).toBe(0);
    expect(shown.stdout).toContain('order.placed');
    expect((await call('dlq', 'ls', ...TYPE)).stdout).toContain('fatal');
  });

  it('tells what failed, and by its exit code that', async () => {
    const missing = await call('dlq', 'ls', '--topic', 'nothing');
    expect(missing).toMatchObject({ status: 1, stdout: '' });
    expect(missing.stderr).toContain('EVBUS_UNKNOWN_TOPIC');
    expect(await call('dlq', 'ls')).toMatchObject({ status: 2 });
    const nonsense = await call('dlq', 'ls', ...TYPE, '--reason', 'bored');
    expect(nonsense).toMatchObject({ status: 2 });
    expect(nonsense.stderr).toContain('exhausted, fatal');
    const skipping = ['replay', ...TYPE, '--max-replays', '0', '--dry-run', '--limit', '1'];
    expect(await call('dlq', ...skipping)).toMatchObject({ status: 3 });
    const brokers = environment['KAFKA_BROKERS'];
    environment['KAFKA_BROKERS'] = '';
    expect(await call('dlq', 'ls', ...TYPE)).toMatchObject({ status: 2 });
    environment['KAFKA_BROKERS'] = brokers;
  });

  it('loses nothing when a replay is killed half-way and started again', async () => {
    const { child, ended } = start('dlq', 'replay', ...TYPE, '--rate', '20', '--json');
    const seen: string[] = [];
    const replayed = new Set<string>();
    const { bus } = makeBus({ brokers: broker.brokers, groupId: 'reader' });
    await bus.subscribe('order.placed', {
      handle: async ({ eventId }, { headers }) => {
        const id = headers.get('dead-letter.replay-id');
        if (id === undefined || id === null) return;
        seen.push(eventId);
        replayed.add(id);
      },
    });
    await bus.connect();
    await vi.waitFor(() => expect(seen.length).toBeGreaterThan(5), { timeout: 20_000 });
    child.kill('SIGKILL');
    expect((await ended).status).toBeNull();
    expect(seen.length).toBeLessThan(LETTERS);
    const again = await start('dlq', 'replay', ...TYPE, '--json').ended;
    expect(again.status).toBe(0);
    const report = JSON.parse(again.stdout) as { replayed: number; complete: boolean };
    expect(report.complete).toBe(true);
    await vi.waitFor(() => expect(new Set(seen).size).toBe(LETTERS), { timeout: 20_000 });
    expect(replayed.size).toBe(LETTERS);
    const last = await start('dlq', 'replay', ...TYPE, '--json').ended;
    expect(JSON.parse(last.stdout)).toMatchObject({ replayed: 0, complete: true });
  }, 60_000);
});
