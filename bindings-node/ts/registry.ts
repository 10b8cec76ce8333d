import type { BaseEventPayload, IEventHandler } from './event';

/** @internal */
export interface RunningCall {
  readonly registration: Registration<never>;
}

/**
 * A handler of one event type, from its `subscribe` to its `unsubscribe`, with its running calls.
 *
 * @internal
 */
export class Registration<T extends BaseEventPayload = BaseEventPayload> {
  readonly eventType: string;
  readonly handler: IEventHandler<T>;
  #running = 0;
  /** Running calls that wait for the others to end; they do not wait for each other. */
  readonly #inside = new Set<RunningCall>();
  #waiting: { readonly isInside: boolean; readonly resolve: () => void }[] = [];

  constructor(eventType: string, handler: IEventHandler<T>) {
    this.eventType = eventType;
    this.handler = handler;
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
  /** Removed ones that still run. */
  readonly #leaving = new Set<Registration<T>>();

  add(eventType: string, handler: IEventHandler<T>): void {
    const registration = new Registration(eventType, handler);
    // A new array each time: whoever walks the old one is not disturbed.
    this.#byType.set(eventType, [...(this.#byType.get(eventType) ?? []), registration]);
  }

  /** No call of the handler starts any more. */
  remove(eventType: string, handler: IEventHandler<T>): void {
    const present = this.#byType.get(eventType) ?? [];
    const rest = present.filter((registration) => registration.handler !== handler);
    if (rest.length > 0) this.#byType.set(eventType, rest);
    else this.#byType.delete(eventType);
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
}
