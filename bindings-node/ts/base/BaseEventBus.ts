import { ArgumentError, ClosedError } from '../error';
import {
  type BaseEventPayload,
  type IDomainEvent,
  type IEventBus,
  type IEventHandler,
  isTopicName,
  nameValue,
} from '../event';

declare global {
  // Node has it since 18.18. Declared here as lib.esnext.disposable declares it, so that programs
  // compile without that library, and with it.
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
}

/**
 * What every event bus shares: the connected state and the handlers by event type.
 *
 * @typeParam T - the payload, or the union of all payloads, that the bus carries
 */
export abstract class BaseEventBus<T extends BaseEventPayload = BaseEventPayload>
  implements IEventBus<T>
{
  #isConnected = false;
  #handlers = new Map<string, Set<IEventHandler<T>>>();

  // Accessors, so that a subclass may make them public or derive them.

  /** Whether `connect()` has completed and `disconnect()` has not begun. */
  protected get isConnected(): boolean {
    return this.#isConnected;
  }

  protected set isConnected(connected: boolean) {
    this.#isConnected = connected;
  }

  /** The handlers by event type; a type without handlers has no entry. */
  protected get handlers(): Map<string, Set<IEventHandler<T>>> {
    return this.#handlers;
  }

  /** Makes the bus ready to publish. Does nothing when it is connected already. */
  abstract connect(): Promise<void>;

  /** Ends it. Does nothing when it is not connected. */
  abstract disconnect(): Promise<unknown>;

  /** Disconnects at the end of the scope of `await using bus = …`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }

  abstract publish(event: IDomainEvent<T>): Promise<void>;

  /**
   * Adds a handler for an event type, before or after `connect()`. Adding it twice is the same as once.
   *
   * @throws {@link ArgumentError} when the type is no legal topic name or the handler has no `handle`
   */
  async subscribe(eventType: string, handler: IEventHandler<T>): Promise<void> {
    this.addHandler(eventType, handler);
  }

  /** Removes a handler. Does nothing when it is not subscribed. */
  async unsubscribe(eventType: string, handler: IEventHandler<T>): Promise<void> {
    this.removeHandler(eventType, handler);
  }

  /** The handlers of an event type, as they are now: later changes do not show. */
  protected getHandlers(eventType: string): IEventHandler<T>[] {
    return [...(this.handlers.get(eventType) ?? [])];
  }

  /**
   * Calls every handler of the event's type, all of them in this very call, and waits for all. One
   * that fails does not keep the event from the others.
   *
   * @throws what the handler threw, when one failed; when several did, an `AggregateError` whose
   * `errors` are theirs in the order of subscription and whose message begins with the first one's
   */
  protected async notifyHandlers(event: IDomainEvent<T>): Promise<void> {
    const calls = this.getHandlers(event.eventType).map(async (handler) => handler.handle(event));
    const failures = (await Promise.allSettled(calls))
      .filter(isRejected)
      .map(({ reason }) => reason);
    if (failures.length === 0) return;
    const [first] = failures;
    if (failures.length === 1) throw first;
    const text = first instanceof Error ? first.message : String(first);
    throw new AggregateError(failures, `${text} (and ${failures.length - 1} more handlers failed)`);
  }

  /**
   * @returns whether the handler is new for that type
   * @throws {@link ArgumentError} as {@link subscribe} does
   */
  protected addHandler(eventType: string, handler: IEventHandler<T>): boolean {
    if (typeof eventType !== 'string' || !isTopicName(eventType)) {
      throw new ArgumentError(`cannot subscribe to event type ${nameValue(eventType)}`, {
        hint: 'an event type is a Kafka topic name: 1 to 249 of A-Z a-z 0-9 . _ - and not "." or ".."',
      });
    }
    if (typeof (handler as IEventHandler<T> | undefined)?.handle !== 'function') {
      throw new ArgumentError(
        `the handler for event type ${nameValue(eventType)} has no method handle, got ${nameValue(handler)}`,
        { hint: 'pass an object with a method handle(event) that returns a promise' },
      );
    }
    const present = this.handlers.get(eventType);
    if (present?.has(handler)) return false;
    if (present) present.add(handler);
    else this.handlers.set(eventType, new Set([handler]));
    return true;
  }

  /** @returns whether it was there */
  protected removeHandler(eventType: string, handler: IEventHandler<T>): boolean {
    const present = this.handlers.get(eventType);
    const removed = present?.delete(handler) ?? false;
    if (present?.size === 0) this.handlers.delete(eventType);
    return removed;
  }

  /** @throws {@link ClosedError} `Event bus is not connected` */
  protected assertConnected(): void {
    if (!this.isConnected) throw notConnected();
  }
}

/** @internal */
export function notConnected(): ClosedError {
  return new ClosedError('Event bus is not connected', {
    outcome: 'not_sent',
    hint: 'await connect() before the first publish, and publish nothing after disconnect()',
  });
}

const isRejected = (result: PromiseSettledResult<void>): result is PromiseRejectedResult =>
  result.status === 'rejected';
