import type { EventBusError } from './error';

/** How much a log record matters. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What a log record is about: topic, partition, offset, eventId, …. */
export type LogFields = Readonly<Record<string, unknown>>;

/** A structured logger, as pino and bunyan are: first the fields, then the text. */
export type StructuredLogger = {
  readonly [level in LogLevel]: (fields: LogFields, message: string) => unknown;
};

/** A logger of texts, as the console is: it is told by its method `log`. */
export type TextLogger = {
  readonly [level in LogLevel]: (message: string) => unknown;
} & { log(message: string): unknown };

/**
 * Where a bus writes its log.
 *
 * An object with a method `log` (the console, winston) gets one line of text per record. Any other
 * gets `(fields, message)`, where `fields.event` is a stable name to filter by, such as
 * `connection_lost`, and `fields.err` the error behind the record, if there is one.
 */
export type Logger = StructuredLogger | TextLogger;

type Write = (
  level: LogLevel,
  event: string,
  message: string,
  fields: LogFields,
  error?: Error,
) => void;

/**
 * Writes to the logger of the configuration; nothing that the logger does can harm the bus.
 *
 * @internal
 */
export class Log {
  readonly #write: Write;

  /** @param logger - `undefined`: the console, without `debug`; `false`: nowhere */
  constructor(logger: Logger | false | undefined) {
    if (logger === false) this.#write = () => {};
    else if (logger === undefined) this.#write = textWriter(console, 'info');
    else if (typeof (logger as Partial<TextLogger>).log === 'function')
      this.#write = textWriter(logger as TextLogger);
    else this.#write = structuredWriter(logger as StructuredLogger);
  }

  write(
    level: LogLevel,
    event: string,
    message: string,
    fields: LogFields = {},
    error?: Error,
  ): void {
    try {
      this.#write(level, event, message, fields, error);
    } catch {
      // A logger that throws has nowhere to say so.
    }
  }
}

function textWriter(logger: TextLogger, from: LogLevel = 'debug'): Write {
  return (level, event, message, fields) => {
    if (level === 'debug' && from !== 'debug') return;
    const about = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(
        ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
      );
    const line = [`[event-bus] ${event}: ${message}`, ...about].join(' ');
    const written: unknown = logger[level](line.replace(/\s*[\r\n]+\s*/g, ' '));
    ignoreRejection(written);
  };
}

function structuredWriter(logger: StructuredLogger): Write {
  return (level, event, message, fields, error) => {
    const all = error === undefined ? { event, ...fields } : { event, ...fields, err: error };
    ignoreRejection(logger[level](all, message));
  };
}

/** What a failure that no caller hears of was about. */
export interface ErrorContext {
  /** What happened: `handler_failed`, `invalid_message`, `consumer_failed`, `internal_error`. */
  readonly event: string;
  readonly eventId?: string;
  readonly eventType?: string;
  readonly aggregateId?: string;
  readonly topic?: string;
  readonly partition?: number;
  readonly offset?: number;
  /** The name of the handler's class or function, or its number among those of its type. */
  readonly handler?: string;
  /** The number of the attempt, from 1. */
  readonly attempt?: number;
  /** Of a failed attempt: whether another one follows, unless `retry.maxElapsedMs` is over by then. */
  readonly willRetry?: boolean;
}

/** Called for each failure that no caller hears of. What it throws is logged and goes no further. */
export type OnError = (error: EventBusError, context: ErrorContext) => unknown;

/**
 * Tells the log and `onError` of failures.
 *
 * @internal
 */
export class Reporter {
  readonly log: Log;
  readonly #onError: OnError | undefined;

  constructor(log: Log, onError: OnError | undefined) {
    this.log = log;
    this.#onError = onError;
  }

  /** A failure that needs someone: logged and handed to `onError`. */
  report(
    level: LogLevel,
    error: EventBusError,
    context: ErrorContext,
    message: string,
    fields?: LogFields,
  ): void {
    const { event, ...about } = context;
    this.log.write(level, event, message, fields ?? about, error);
    this.tell(error, context);
  }

  /** Hands a failure that is logged already to `onError`. */
  tell(error: EventBusError, context: ErrorContext): void {
    if (this.#onError === undefined) return;
    try {
      ignoreRejection(this.#onError(error, context), this.#onErrorFailed);
    } catch (thrown) {
      this.#onErrorFailed(thrown);
    }
  }

  readonly #onErrorFailed = (thrown: unknown): void => {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    this.log.write('error', 'on_error_failed', `onError failed: ${error.message}`, {}, error);
  };
}

/** A callback may be async although nobody waits for it; its failure must not end the process. */
function ignoreRejection(returned: unknown, failed: (reason: unknown) => void = () => {}): void {
  if (typeof (returned as PromiseLike<unknown> | undefined)?.then !== 'function') return;
  (returned as PromiseLike<unknown>).then(undefined, failed);
}
