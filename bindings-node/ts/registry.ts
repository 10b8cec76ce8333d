import { ArgumentError } from './error';
import { type BaseEventPayload, type IEventHandler, nameValue } from './event';
import type { IsRetryable } from './failure';

/** @internal */
export interface RunningCall {
  readonly registration: Registration<never>;
}

/**
 * What a subscription wants, as the core understood it: the names of the options with the values in force.
 *
 * @internal
 */
export interface EffectivePolicy {
  readonly handlerTimeoutMs: number;
  readonly [option: string]: unknown;
}

/** @internal */
export interface HandlerSettings {
  /** Of the whole event type; none where the configuration of the bus holds. */
  readonly policy?: EffectivePolicy | undefined;
  readonly isRetryable?: IsRetryable | undefined;
}

/**
 * A handler of one event type, from its `subscribe` to its `unsubscribe`, with its running calls.
 *
 * @internal
 */
export class Registration<T extends BaseEventPayload = BaseEventPayload> {
  readonly eventType: string;
  readonly handler: IEventHandler<T>;
  /** What logs and dead letters call it. */
  readonly name: string;
  /** 0 is for ever. */
  readonly handlerTimeoutMs: number;
  readonly isRetryable: IsRetryable | undefined;
  #running = 0;
  /** Running calls that wait for the others to end; they do not wait for each other. */
  readonly #inside = new Set<RunningCall>();
  #waiting: { readonly isInside: boolean; readonly resolve: () => void }[] = [];

  constructor(
    eventType: string,
    handler: IEventHandler<T>,
    number: number,
    handlerTimeoutMs: number,
    isRetryable: IsRetryable | undefined,
  ) {
    this.eventType = eventType;
    this.handler = handler;
    this.name = nameOf(handler, number);
    this.handlerTimeoutMs = handlerTimeoutMs;
    this.isRetryable = isRetryable;
  }

  /**
   * Whether calls get a context. A function of one parameter cannot see it, and it is not free. Asked anew each
   * time, since a handler's method may be replaced, by a spy for instance.
   */
  get wantsContext(): boolean {
    return this.handler.handle.length !== 1;
  }

  get isRunning(): boolean {
    return this.#running > 0;
  }

  begin(): void {
    this.#running += 1;
  }

  end(): void {
    this.#running -= 1;
    if (this.#waiting.length > 0) this.#check();
  }

  /**
   * Resolves when no call runs.
   *
   * @param asking - the running call that asks, if one does; it does not wait for itself
   */
  async idle(asking: RunningCall | undefined): Promise<void> {
    const inside = asking?.registration === this ? asking : undefined;
    const isInside = inside !== undefined;
    if (isInside) this.#inside.add(inside);
    try {
      await new Promise<void>((resolve) => {
        this.#waiting.push({ isInside, resolve });
        // A call that begins to wait may be the last one that others waited for.
        this.#check();
      });
    } finally {
      if (isInside) this.#inside.delete(inside);
    }
  }

  #check(): void {
    const isIdle = this.#running === 0;
    const onlyInside = this.#running <= this.#inside.size;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const waiter of waiting) {
      if (isIdle || (waiter.isInside && onlyInside)) waiter.resolve();
      else this.#waiting.push(waiter);
    }
  }
}

/**
 * The registrations of a bus, which outlive its connections.
 *
 * @internal
 */
export class Registry<T extends BaseEventPayload = BaseEventPayload> {
  readonly #byType = new Map<string, Registration<T>[]>();
  /** Of types whose handlers gave options. */
  readonly #policies = new Map<string, EffectivePolicy>();
  readonly #defaults: EffectivePolicy;
  readonly #isRetryable: IsRetryable | undefined;
  /** Removed ones that still run. */
  readonly #leaving = new Set<Registration<T>>();

  /** @param defaults - what holds for handlers that give no options */
  constructor(defaults: EffectivePolicy = { handlerTimeoutMs: 0 }, isRetryable?: IsRetryable) {
    this.#defaults = defaults;
    this.#isRetryable = isRetryable;
  }

  /**
   * Whether a handler with these settings goes with those that are there.
   *
   * @throws {@link ArgumentError} naming the options that differ
   */
  check(eventType: string, { policy }: HandlerSettings): void {
    if (policy === undefined || !this.#byType.has(eventType)) return;
    const present = this.#policies.get(eventType) ?? this.#defaults;
    const differing = Object.keys(policy).filter(
      (option) => JSON.stringify(policy[option]) !== JSON.stringify(present[option]),
    );
    if (differing.length === 0) return;
    throw new ArgumentError(
      `${nameValue(eventType)} is subscribed to with other options already: ${differing.join(', ')}`,
      {
        context: { eventType, options: differing.join(',') },
        hint: 'options belong to the event type: give all its handlers the same ones, or give them with the first one only',
      },
    );
  }

  /** The settings must have passed {@link check}. */
  add(eventType: string, handler: IEventHandler<T>, settings: HandlerSettings = {}): void {
    const present = this.#byType.get(eventType) ?? [];
    if (present.length === 0 && settings.policy) this.#policies.set(eventType, settings.policy);
    const { handlerTimeoutMs } = this.#policies.get(eventType) ?? this.#defaults;
    const registration = new Registration(
      eventType,
      handler,
      present.length + 1,
      handlerTimeoutMs,
      settings.isRetryable ?? this.#isRetryable,
    );
    // A new array each time: whoever walks the old one is not disturbed.
    this.#byType.set(eventType, [...present, registration]);
  }

  /** No call of the handler starts any more. */
  remove(eventType: string, handler: IEventHandler<T>): void {
    const present = this.#byType.get(eventType) ?? [];
    const rest = present.filter((registration) => registration.handler !== handler);
    if (rest.length > 0) this.#byType.set(eventType, rest);
    else {
      this.#byType.delete(eventType);
      this.#policies.delete(eventType);
    }
    for (const registration of this.#leaving) {
      if (!registration.isRunning) this.#leaving.delete(registration);
    }
    for (const registration of present) {
      if (registration.handler === handler && registration.isRunning)
        this.#leaving.add(registration);
    }
  }

  /** Resolves when no call of a removed handler runs, but the one that asks. */
  async idle(
    eventType: string,
    handler: IEventHandler<T>,
    inside: RunningCall | undefined,
  ): Promise<void> {
    const leaving = [...this.#leaving].filter(
      (registration) => registration.eventType === eventType && registration.handler === handler,
    );
    await Promise.all(leaving.map((registration) => registration.idle(inside)));
  }

  of(eventType: string): readonly Registration<T>[] | undefined {
    return this.#byType.get(eventType);
  }

  /** The event types that have handlers, sorted. */
  types(): string[] {
    return [...this.#byType.keys()].sort();
  }

  /** The same with their options, as the core reads them. */
  topics(): { readonly topic: string; readonly policy?: EffectivePolicy | undefined }[] {
    return this.types().map((topic) => ({ topic, policy: this.#policies.get(topic) }));
  }
}

/** The name of a handler's class or function, or else its number among those of its type. */
function nameOf(handler: object, number: number): string {
  const { constructor: maker, handle } = handler as { constructor?: unknown; handle?: unknown };
  const names = [maker, handle].map((one) => (typeof one === 'function' ? one.name : ''));
  const name = names.find((one) => one !== '' && one !== 'Object' && one !== 'handle');
  return name ?? `handler ${number}`;
}
