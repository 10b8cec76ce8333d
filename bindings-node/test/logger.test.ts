import { afterEach, describe, expect, it, vi } from 'vitest';
import { HandlerError } from '../ts/error';
import { Log, type Logger, Reporter } from '../ts/logger';

afterEach(() => {
  vi.restoreAllMocks();
});

const METHODS = ['debug', 'info', 'warn', 'error'] as const;

/** A logger that keeps the arguments of each call; `more` may make it look like a console. */
function recording(more: object = {}) {
  const calls: unknown[][] = [];
  const methods = METHODS.map((level) => [
    level,
    (...args: unknown[]) => {
      calls.push([level, ...args]);
    },
  ]);
  const logger = { ...Object.fromEntries(methods), ...more } as Logger;
  return { logger, calls };
}

describe('a structured logger', () => {
  it('gets the fields first, with the event and the error', () => {
    const { logger, calls } = recording();
    const error = new Error('why');
    const log = new Log(logger);
    log.write('warn', 'connection_lost', 'no broker answers', { brokers: 0 }, error);
    log.write('debug', 'polled', 'nothing new');
    expect(calls).toEqual([
      ['warn', { event: 'connection_lost', brokers: 0, err: error }, 'no broker answers'],
      ['debug', { event: 'polled' }, 'nothing new'],
    ]);
  });
});

describe('a logger of texts', () => {
  it('gets one line', () => {
    const { logger, calls } = recording({ log() {} });
    const fields = { topic: 'a', partitions: ['a[0]'], offset: 5, key: undefined };
    new Log(logger).write('info', 'assigned', 'two\n lines', fields);
    expect(calls).toEqual([
      ['info', '[event-bus] assigned: two lines topic=a partitions=["a[0]"] offset=5'],
    ]);
  });

  it('keeps its this', () => {
    class Service {
      lines: string[] = [];
      log(line: string) {
        this.lines.push(line);
      }
      debug = this.log;
      info(line: string) {
        this.log(line);
      }
      warn(line: string) {
        this.log(line);
      }
      error(line: string) {
        this.log(line);
      }
    }
    const service = new Service();
    new Log(service).write('info', 'a', 'b');
    expect(service.lines).toEqual(['[event-bus] a: b']);
  });
});

it('the console is the default, without debug', () => {
  const info = vi.spyOn(console, 'info').mockImplementation(() => {});
  const debug = vi.spyOn(console, 'debug').mockImplementation(() => {});
  const log = new Log(undefined);
  log.write('info', 'connection_established', 'connected to localhost:9092');
  log.write('debug', 'polled', 'nothing new');
  expect(info.mock.calls).toEqual([
    ['[event-bus] connection_established: connected to localhost:9092'],
  ]);
  expect(debug).not.toHaveBeenCalled();
});

it('false is no log', () => {
  const spies = METHODS.map((level) => vi.spyOn(console, level).mockImplementation(() => {}));
  for (const level of METHODS) new Log(false).write(level, 'a', 'b');
  for (const spy of spies) expect(spy).not.toHaveBeenCalled();
});

describe('nothing breaks the bus:', () => {
  const error = new HandlerError('a handler failed', { attempt: 1 });
  const context = { event: 'handler_failed', topic: 'a' };

  it('a logger that throws or rejects', async () => {
    const throwing = () => {
      throw new Error('disk full');
    };
    const rejecting = () => Promise.reject(new Error('disk full'));
    for (const write of [throwing, rejecting]) {
      const logger = { debug: write, info: write, warn: write, error: write };
      new Reporter(new Log(logger), undefined).report('error', error, context, 'text');
    }
    // An unhandled rejection would fail the test run.
    await new Promise((resolve) => setImmediate(resolve));
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('oops');
      },
    ],
    ['rejects', () => Promise.reject(new Error('oops'))],
  ])('an onError that %s is logged', async (_, onError) => {
    const { logger, calls } = recording();
    new Reporter(new Log(logger), onError).report('error', error, context, 'text');
    await new Promise((resolve) => setImmediate(resolve));
    expect(calls.map(([level, fields, message]) => [level, fields, message])).toEqual([
      ['error', { ...context, err: error }, 'text'],
      ['error', { event: 'on_error_failed', err: expect.any(Error) }, 'onError failed: oops'],
    ]);
  });
});
