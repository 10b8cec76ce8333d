/** Every kind of error with what follows from it. Numbers and codes are stable; new kinds are only added. */
export const ERROR_TABLE = [
  {
    kind: 'Config',
    number: 1,
    code: 'EVBUS_CONFIG',
    class: 'ConfigError',
    retryable: false,
    fatal: false,
  },
  {
    kind: 'Argument',
    number: 2,
    code: 'EVBUS_ARGUMENT',
    class: 'ArgumentError',
    retryable: false,
    fatal: false,
  },
  {
    kind: 'Closed',
    number: 3,
    code: 'EVBUS_CLOSED',
    class: 'ClosedError',
    retryable: false,
    fatal: false,
  },
  {
    kind: 'IllegalState',
    number: 4,
    code: 'EVBUS_ILLEGAL_STATE',
    class: 'EventBusError',
    retryable: false,
    fatal: false,
  },
  {
    kind: 'Timeout',
    number: 10,
    code: 'EVBUS_TIMEOUT',
    class: 'TimeoutError',
    retryable: true,
    fatal: false,
  },
  {
    kind: 'QueueFull',
    number: 11,
    code: 'EVBUS_QUEUE_FULL',
    class: 'PublishError',
    retryable: true,
    fatal: false,
  },
  {
    kind: 'Unavailable',
    number: 12,
    code: 'EVBUS_UNAVAILABLE',
    class: 'EventBusError',
    retryable: true,
    fatal: false,
  },
  {
    kind: 'Auth',
    number: 13,
    code: 'EVBUS_AUTH',
    class: 'EventBusError',
    retryable: false,
    fatal: false,
  },
  {
    kind: 'UnknownTopic',
    number: 14,
    code: 'EVBUS_UNKNOWN_TOPIC',
    class: 'PublishError',
    retryable: false,
    fatal: false,
  },
  {
    kind: 'TooLarge',
    number: 15,
    code: 'EVBUS_TOO_LARGE',
    class: 'PublishError',
    retryable: false,
    fatal: false,
  },
  {
    kind: 'Rejected',
    number: 16,
    code: 'EVBUS_REJECTED',
    class: 'PublishError',
    retryable: false,
    fatal: false,
  },
  {
    kind: 'Codec',
    number: 20,
    code: 'EVBUS_CODEC',
    class: 'CodecError',
    retryable: false,
    fatal: false,
  },
  {
    kind: 'Handler',
    number: 21,
    code: 'EVBUS_HANDLER',
    class: 'HandlerError',
    retryable: false,
    fatal: false,
  },
  {
    kind: 'Fenced',
    number: 30,
    code: 'EVBUS_FENCED',
    class: 'FatalError',
    retryable: false,
    fatal: true,
  },
  {
    kind: 'Internal',
    number: 99,
    code: 'EVBUS_INTERNAL',
    class: 'FatalError',
    retryable: false,
    fatal: true,
  },
] as const;

type ErrorRow = (typeof ERROR_TABLE)[number];

/** What went wrong, in terms of what a caller can do about it. */
export type ErrorKind = ErrorRow['kind'];

/** The stable code of an error, e.g. `'EVBUS_TIMEOUT'`: what a `switch` belongs on. */
export type ErrorCode = ErrorRow['code'];

/**
 * What is known about the event of a failed publish. `not_sent`: it was certainly not stored,
 * publishing it again cannot duplicate it. `unknown`: it may have been stored.
 */
export type PublishOutcome = 'not_sent' | 'unknown';

/** What an error can say beyond its message. */
export interface ErrorDetails {
  /** Known of a failed publish. */
  readonly outcome?: PublishOutcome | undefined;
  readonly topic?: string | undefined;
  readonly partition?: number | undefined;
  /** Kafka's own error number, when a broker or the client library gave one. */
  readonly kafkaCode?: number | undefined;
  /** What to do about it. */
  readonly hint?: string | undefined;
  /** On what it failed: option, broker, offset, …. */
  readonly context?: Readonly<Record<string, string>> | undefined;
  readonly cause?: unknown;
}

/** {@link ErrorDetails} of a class that stands for several kinds. */
export interface KindedDetails<K extends ErrorKind> extends ErrorDetails {
  readonly kind: K;
}

// The brand is found through the registry, not the class: an error made by another copy of this
// package (ESM beside CJS of two installs, a test runner's module registry) is the same error.
const BRAND = Symbol.for('@repo-packages/i_event-bus/error');

type Branded = { readonly [BRAND]?: readonly string[] };

/** Names under which instances of a prototype are known, e.g. `['ConfigError', 'EventBusError']`. */
export function brand(type: { prototype: object; name: string }, names: readonly string[]): void {
  Object.defineProperty(type.prototype, BRAND, { value: names });
  Object.defineProperty(type, Symbol.hasInstance, {
    value(this: unknown, value: unknown): boolean {
      // A caller's own subclass inherits this method and wants the ordinary answer.
      if (this !== type) return Function.prototype[Symbol.hasInstance].call(this, value);
      if (typeof value !== 'object' || value === null) return false;
      return (value as Branded)[BRAND]?.includes(names[0] as string) ?? false;
    },
  });
  // Enumerable properties of an error are printed; its name is in the stack already.
  Object.defineProperty(type.prototype, 'name', {
    value: names[0],
    configurable: true,
    writable: true,
  });
}

const DETAILS = ['outcome', 'topic', 'partition', 'kafkaCode', 'hint', 'context'] as const;

function describe(error: object, kind: ErrorKind, details: ErrorDetails): void {
  const row = ERROR_TABLE.find((candidate) => candidate.kind === kind);
  Object.assign(error, {
    code: row?.code,
    kind,
    retryable: row?.retryable ?? false,
    fatal: row?.fatal ?? false,
  });
  for (const name of DETAILS) {
    if (details[name] !== undefined) Object.assign(error, { [name]: details[name] });
  }
}

const causeOf = (details: ErrorDetails): ErrorOptions =>
  details.cause === undefined ? {} : { cause: details.cause };

/**
 * The base of every error of this package. Its `message` says what failed, on what and why; `hint`
 * what to do about it.
 *
 * `instanceof` also holds for errors of another copy of this package in the same process.
 *
 * @example
 * ```ts
 * try {
 *   await bus.publish(event);
 * } catch (error) {
 *   if (error instanceof EventBusError && error.retryable && error.outcome === 'not_sent') {
 *     await bus.publish(event);
 *   } else {
 *     throw error;
 *   }
 * }
 * ```
 */
export class EventBusError extends Error {
  /** Stable; what a `switch` belongs on. */
  declare readonly code: ErrorCode;
  declare readonly kind: ErrorKind;
  /** The same call can succeed later without a change of its input. */
  declare readonly retryable: boolean;
  /** The bus that raised it cannot be used any more. */
  declare readonly fatal: boolean;
  /** What is known about the event, when a publish failed. */
  declare readonly outcome?: PublishOutcome;
  declare readonly topic?: string;
  declare readonly partition?: number;
  /** Kafka's own error number, when there is one. */
  declare readonly kafkaCode?: number;
  /** What to do about it. */
  declare readonly hint?: string;
  /** On what it failed. */
  declare readonly context?: Readonly<Record<string, string>>;

  constructor(message: string, details: KindedDetails<ErrorKind>) {
    super(message, causeOf(details));
    describe(this, details.kind, details);
  }
}
brand(EventBusError, ['EventBusError']);

/** The configuration is invalid; the message names the option. */
export class ConfigError extends EventBusError {
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { ...details, kind: 'Config' });
  }
}
brand(ConfigError, ['ConfigError', 'EventBusError']);

/** The bus is not connected, closing or closed. */
export class ClosedError extends EventBusError {
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { ...details, kind: 'Closed' });
  }
}
brand(ClosedError, ['ClosedError', 'EventBusError']);

/** A deadline passed first. */
export class TimeoutError extends EventBusError {
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { ...details, kind: 'Timeout' });
  }
}
brand(TimeoutError, ['TimeoutError', 'EventBusError']);

/** An event was not accepted; `code` says why, `outcome` whether it may have been stored. */
export class PublishError extends EventBusError {
  constructor(
    message: string,
    details: KindedDetails<'QueueFull' | 'UnknownTopic' | 'TooLarge' | 'Rejected'>,
  ) {
    super(message, details);
  }
}
brand(PublishError, ['PublishError', 'EventBusError']);

/** An event cannot be written as a record, or a record cannot be read as an event. */
export class CodecError extends EventBusError {
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { ...details, kind: 'Codec' });
  }
}
brand(CodecError, ['CodecError', 'EventBusError']);

/** A handler failed; `cause` is what it threw. */
export class HandlerError extends EventBusError {
  /** Which attempt it was, from 1. */
  readonly attempt: number;

  constructor(message: string, details: ErrorDetails & { readonly attempt: number }) {
    super(message, { ...details, kind: 'Handler' });
    this.attempt = details.attempt;
  }
}
brand(HandlerError, ['HandlerError', 'EventBusError']);

/** The bus cannot go on: another client took over its identity, or a defect of this package. */
export class FatalError extends EventBusError {
  constructor(message: string, details: KindedDetails<'Fenced' | 'Internal'>) {
    super(message, details);
  }
}
brand(FatalError, ['FatalError', 'EventBusError']);

/**
 * A call got an argument that it cannot accept; nothing was sent. A `TypeError`, and an
 * {@link EventBusError} to `instanceof` as well.
 */
export class ArgumentError extends TypeError {
  declare readonly code: 'EVBUS_ARGUMENT';
  declare readonly kind: 'Argument';
  declare readonly retryable: false;
  declare readonly fatal: false;
  declare readonly outcome?: PublishOutcome;
  declare readonly topic?: string;
  declare readonly partition?: number;
  declare readonly kafkaCode?: number;
  declare readonly hint?: string;
  declare readonly context?: Readonly<Record<string, string>>;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, causeOf(details));
    describe(this, 'Argument', details);
  }
}
brand(ArgumentError, ['ArgumentError', 'EventBusError']);

/** An error as the core reports it, parsed from its JSON. */
export interface NativeError {
  readonly kind: string;
  readonly number: number;
  readonly code: string;
  readonly class: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly fatal: boolean;
  readonly hint?: string | null;
  readonly outcome?: string | null;
  readonly kafkaCode?: number | null;
  readonly topic?: string | null;
  readonly partition?: number | null;
  readonly context?: Readonly<Record<string, string>> | null;
  readonly attempt?: number | null;
  readonly cause?: NativeError | null;
}

type AnyErrorClass = new (message: string, details: never) => Error;

const CLASSES = new Map<string, AnyErrorClass>(
  [
    ConfigError,
    ArgumentError,
    ClosedError,
    TimeoutError,
    PublishError,
    CodecError,
    HandlerError,
    FatalError,
  ].map((type) => [type.name, type]),
);

/**
 * Turns an error of the core into the class that the core names; one that this copy does not know
 * becomes an {@link EventBusError}. Codes and flags are the core's, so a newer core is believed.
 *
 * @param native - the error, or its JSON
 */
export function errorFromNative(native: NativeError | string): EventBusError | ArgumentError {
  const from = typeof native === 'string' ? (JSON.parse(native) as NativeError) : native;
  const details: Record<string, unknown> = { kind: from.kind, attempt: from.attempt ?? 1 };
  for (const name of DETAILS) details[name] = from[name] ?? undefined;
  if (from.cause) details['cause'] = errorFromNative(from.cause);
  const Class = CLASSES.get(from.class) ?? (EventBusError as AnyErrorClass);
  const error = new Class(from.message, details as never);
  const { kind, code, retryable, fatal } = from;
  return Object.assign(error, { kind, code, retryable, fatal }) as EventBusError | ArgumentError;
}
