// The only file that touches the addon.

import { clearInterval, setInterval } from './clock';
import {
  type ArgumentError,
  type EventBusError,
  errorFromNative,
  FatalError,
  type NativeError,
} from './error';
import { loadAddon } from './platform';
import type { EffectivePolicy } from './registry';

/** The addon's classes and functions, as bindings-node/src exports them. */
export interface Addon {
  readonly NativeBus: new (wake: () => void) => NativeBus;
  readonly NativeTestBroker: new (optionsJson: string) => NativeTestBroker;
  /**
   * Checks a configuration and fills in defaults and the environment.
   * Returns the effective settings as JSON (`EffectiveConfig`); throws a native error (see `errorFromThrown`).
   */
  validateConfig(configJson: string): string;
  /**
   * What a subscription with these options wants: the options in force as JSON (`EffectivePolicy`); throws a native
   * error.
   */
  validateSubscription(configJson: string, optionsJson: string): string;
  /** Whether these topics, as `setTopics` takes them, go together; throws a native error. */
  validateTopics(configJson: string, topicsJson: string): void;
  /** The table of error kinds as JSON: `[{kind, number, code, class, retryable, fatal}]`. */
  errorTable(): string;
  /** The headers of dead letters as JSON: `{name: meaning}`. */
  deadLetterHeaders(): string;
  version(): string;
}

/**
 * One bus: at most one connection in its life.
 *
 * Everything that another thread has to say arrives by `wake`, at most once until the next `pump`.
 * Calls with an `op` number answer later, through `takeNotices`, with `{type: 'result', op, …}`.
 */
export interface NativeBus {
  /** Connects; answers `{}`. */
  connect(op: number, configJson: string): void;
  /** The number that stands for a topic in frames. Throws for an illegal name. */
  topicId(topic: string): number;
  /** Copies `count` frames out of the arena's first `length` bytes. False: the bus is closed, nothing was taken. */
  publish(arena: Uint8Array, length: number, count: number): boolean;
  /**
   * Clears the wake flag, then writes up to `out.length / 5` completions (slot, kind, partition, offsetLo, offsetHi)
   * and returns how many. `status[0]` = 1 when deliveries wait, `status[1]` = 1 when notices wait.
   */
  pump(out: Int32Array, status: Int32Array): number;
  /** The error of a completion whose kind is not 0, as JSON; once. */
  failure(slot: number): string;
  /** Consumes exactly these topics, `[{topic, policy?}]` as JSON; answers `{}`. */
  setTopics(op: number, topicsJson: string): void;
  /** The next batch of deliveries: 18 numbers each in `index`, over `data`. Null when none waits. */
  takeDeliveries(): DeliveryBatch | null;
  /**
   * Answers deliveries: rows of (ticketLo, ticketHi, outcome, elapsedMicros); outcome 0 done, 1 failed, 2 released,
   * 3 invalid. `failuresJson`: `[{row, handler, code, message, retryable?}]` of rows that failed or are invalid.
   */
  finish(rows: Int32Array, count: number, failuresJson?: string): void;
  /** What happened, as a JSON array of `Notice`; null when nothing did. */
  takeNotices(): string | null;
  /**
   * Dead letters: `{call: 'list' | 'show' | 'replay', eventType, topic?, …}` as JSON; answers what dead-letters.ts
   * reads.
   */
  deadLetters(op: number, requestJson: string): void;
  /**
   * Goes on reading a partition elsewhere: `{topic, partition, to}` as JSON, where `to` is `"beginning"`, `"end"`,
   * `{offset}` or `{timestamp}`; answers `{}` when the client does so.
   */
  seek(op: number, requestJson: string): void;
  /** At most 3 s late. */
  isConnected(): boolean;
  /** JSON of `BusHealth`. */
  health(): string;
  /** JSON of `BusMetrics`. */
  metrics(): string;
  /** Ends the bus within that time; answers with the report. */
  shutdown(op: number, timeoutMs: number): void;
  /** Drops the native half, a `connect` under way too. Nothing wakes any more. */
  release(): void;
}

export interface DeliveryBatch {
  readonly data: Buffer;
  readonly index: Int32Array;
  /** Every byte of `data` is a character of its own. */
  readonly isAscii: boolean;
}

export interface NativeTestBroker {
  readonly bootstrap: string;
  createTopic(name: string, partitions: number): void;
  close(): void;
}

/** Settings as they are in force, of which the TypeScript half needs these. */
export interface EffectiveConfig {
  readonly clientId: string;
  readonly brokers: string[];
  readonly groupId: string | null;
  readonly maxInFlight: number;
  readonly publishMaxInFlightBytes: number;
  readonly maxQueuedBytes: number;
  readonly messageMaxBytes: number;
  readonly publishTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
  /** What subscriptions want that give no options. */
  readonly policy: EffectivePolicy;
}

/** What another thread has to say. */
export type Notice =
  | {
      readonly type: 'result';
      readonly op: number;
      readonly value?: unknown;
      readonly error?: NativeError;
    }
  | {
      readonly type: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly event: string;
      readonly message: string;
      readonly fields: Record<string, unknown>;
      readonly error?: NativeError;
    }
  /** Deliveries of this slot and epoch that have not started must not start; answer them `released`. */
  | { readonly type: 'stop'; readonly slot: number; readonly epoch: number }
  /** Nobody can use what running handlers of this slot and epoch still do. */
  | { readonly type: 'abort'; readonly slot: number; readonly epoch: number };

let loaded: Addon | undefined;

/**
 * The addon, loaded when it is first needed: a program that only uses the in-memory bus needs none.
 *
 * @throws {@link FatalError} when there is none for this platform
 */
export function addon(): Addon {
  loaded ??= loadAddon() as Addon;
  return loaded;
}

/** What the addon threw, as an error of the table. */
export function errorFromThrown(thrown: unknown): EventBusError | ArgumentError {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  try {
    return errorFromNative(message);
  } catch {
    return new FatalError(`the native addon failed: ${message}`, {
      kind: 'Internal',
      cause: thrown,
    });
  }
}

/** Longer intervals run at once. */
const LONGEST_INTERVAL_MS = 0x7fff_ffff;

/**
 * Keeps the process alive while something holds it. The addon's own handle never does, so that a
 * program that forgets `disconnect()` still ends.
 */
export class KeepAlive {
  readonly #handle = setInterval(() => {}, LONGEST_INTERVAL_MS);
  #holders = 0;

  constructor() {
    this.#handle.unref();
  }

  hold(): void {
    this.#holders += 1;
    if (this.#holders === 1) this.#handle.ref();
  }

  /** Undoes one {@link hold}. Whoever awaited its end may begin something new before the process could end. */
  release(): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.#handle.unref();
  }

  /** The end of it: it holds nothing any more. */
  close(): void {
    this.#holders = 0;
    clearInterval(this.#handle);
  }
}
