import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import * as errors from '../ts/error';
import {
  ArgumentError,
  ClosedError,
  CodecError,
  ConfigError,
  ERROR_TABLE,
  EventBusError,
  errorFromNative,
  FatalError,
  HandlerError,
  type NativeError,
  PublishError,
  TimeoutError,
} from '../ts/error';

const classes: Record<string, unknown> = { ...errors };

const native = (row: (typeof ERROR_TABLE)[number]): NativeError => ({
  ...row,
  message: `${row.kind} happened`,
});

describe('the table', () => {
  it('is the table of the core', () => {
    const source = readFileSync(join(__dirname, '../../core/src/error.rs'), 'utf8');
    const row =
      /^ {4}(\w+) = (\d+), "(\w+)", "(\w+)", retryable: (true|false), fatal: (true|false);/gm;
    const core = [...source.matchAll(row)].map(
      ([, kind, number, code, type, retryable, fatal]) => ({
        kind,
        number: Number(number),
        code: `EVBUS_${code}`,
        class: type,
        retryable: retryable === 'true',
        fatal: fatal === 'true',
      }),
    );
    expect(core.length).toBeGreaterThan(0);
    expect(ERROR_TABLE).toEqual(core);
  });

  it.each(ERROR_TABLE)('names an exported class for $kind', (row) => {
    expect(errors).toHaveProperty(row.class);
  });
});

describe('errorFromNative', () => {
  it.each(ERROR_TABLE)('makes a $class of $kind', (row) => {
    const error = errorFromNative(native(row));
    expect(error.name).toBe(row.class);
    expect(error.constructor).toBe(classes[row.class]);
    expect(error).toBeInstanceOf(EventBusError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      kind: row.kind,
      code: row.code,
      retryable: row.retryable,
      fatal: row.fatal,
      message: `${row.kind} happened`,
    });
  });

  it('carries every detail, from JSON too, and leaves out what is not known', () => {
    const error = errorFromNative(
      JSON.stringify({
        ...native(ERROR_TABLE[10]),
        topic: 'order.placed',
        partition: 3,
        kafkaCode: 29,
        outcome: 'not_sent',
        hint: 'grant WRITE on the topic',
        context: { broker: 'kafka:9092' },
        cause: native(ERROR_TABLE[7]),
      }),
    );
    expect(error).toBeInstanceOf(PublishError);
    expect(error).toMatchObject({
      code: 'EVBUS_REJECTED',
      topic: 'order.placed',
      partition: 3,
      kafkaCode: 29,
      outcome: 'not_sent',
      hint: 'grant WRITE on the topic',
      context: { broker: 'kafka:9092' },
    });
    expect(error.cause).toMatchObject({ code: 'EVBUS_AUTH' });
    const bare = errorFromNative({ ...native(ERROR_TABLE[10]), topic: null, hint: null });
    expect(Object.keys(bare).sort()).toEqual(['code', 'fatal', 'kind', 'retryable']);
    expect('cause' in bare).toBe(false);
  });

  it('carries the attempt of a handler', () => {
    const error = errorFromNative({ ...native(ERROR_TABLE[12]), attempt: 4 });
    expect((error as HandlerError).attempt).toBe(4);
  });

  it('believes a core that knows more', () => {
    const error = errorFromNative({
      kind: 'Novel',
      number: 40,
      code: 'EVBUS_NOVEL',
      class: 'NovelError',
      message: 'new',
      retryable: true,
      fatal: false,
    });
    expect(error.constructor).toBe(EventBusError);
    expect(error).toMatchObject({ code: 'EVBUS_NOVEL', kind: 'Novel', retryable: true });
  });
});

describe('the classes', () => {
  it('say what the table says', () => {
    const cause = new Error('below');
    expect(new ConfigError('x')).toMatchObject({ code: 'EVBUS_CONFIG', retryable: false });
    expect(new ClosedError('x')).toMatchObject({ code: 'EVBUS_CLOSED' });
    expect(new TimeoutError('x', { cause })).toMatchObject({
      code: 'EVBUS_TIMEOUT',
      retryable: true,
    });
    expect(new TimeoutError('x', { cause }).cause).toBe(cause);
    expect(new CodecError('x')).toMatchObject({ code: 'EVBUS_CODEC' });
    expect(new PublishError('x', { kind: 'QueueFull', outcome: 'not_sent' })).toMatchObject({
      code: 'EVBUS_QUEUE_FULL',
      retryable: true,
      outcome: 'not_sent',
    });
    expect(new HandlerError('x', { attempt: 2 })).toMatchObject({
      code: 'EVBUS_HANDLER',
      attempt: 2,
    });
    expect(new FatalError('x', { kind: 'Fenced' })).toMatchObject({ fatal: true });
  });

  it('make ArgumentError a TypeError and an EventBusError', () => {
    const error = new ArgumentError('x');
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toBeInstanceOf(EventBusError);
    expect(error).toBeInstanceOf(ArgumentError);
    expect(error).not.toBeInstanceOf(ConfigError);
    expect(error.code).toBe('EVBUS_ARGUMENT');
  });

  it('tell each other apart', () => {
    expect(new ConfigError('x')).not.toBeInstanceOf(ClosedError);
    expect(new EventBusError('x', { kind: 'Auth' })).not.toBeInstanceOf(ConfigError);
    expect(new Error('x')).not.toBeInstanceOf(EventBusError);
    const nothing: unknown = null;
    expect(nothing instanceof EventBusError).toBe(false);
  });

  it('give a subclass of a caller the ordinary instanceof', () => {
    class Mine extends ConfigError {}
    expect(new Mine('x')).toBeInstanceOf(Mine);
    expect(new Mine('x')).toBeInstanceOf(ConfigError);
    expect(new ConfigError('x')).not.toBeInstanceOf(Mine);
  });

  it('recognise errors of another copy of the module', async () => {
    vi.resetModules();
    const copy = await import('../ts/error');
    expect(copy.ConfigError).not.toBe(ConfigError);
    expect(new copy.ConfigError('x')).toBeInstanceOf(ConfigError);
    expect(new copy.ConfigError('x')).toBeInstanceOf(EventBusError);
    expect(new copy.ArgumentError('x')).toBeInstanceOf(EventBusError);
    expect(new copy.ConfigError('x')).not.toBeInstanceOf(ClosedError);
  });

  it('print their name, code and hint', () => {
    const text = inspect(new ConfigError('no brokers', { hint: 'set KAFKA_BROKERS' }));
    expect(text).toMatch(/^ConfigError: no brokers\n/);
    expect(text).toContain("code: 'EVBUS_CONFIG'");
    expect(text).toContain("hint: 'set KAFKA_BROKERS'");
  });
});
