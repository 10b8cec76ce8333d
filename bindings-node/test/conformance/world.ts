import { randomBytes } from 'node:crypto';
import type { KafkaConfig } from '../../ts/config';
import type { EventBusError } from '../../ts/error';
import type { IDomainEvent } from '../../ts/event';
import { KafkaEventBus } from '../../ts/kafka/KafkaEventBus';
import type { ErrorContext } from '../../ts/logger';
import { keepLog, type LogLine } from '../support/bus';
import { type OrderPlaced, orderPlaced } from '../support/events';
import { type RawRecord, writeRaw } from './raw';

export interface MadeBus {
  readonly bus: KafkaEventBus<OrderPlaced>;
  readonly lines: LogLine[];
  readonly errors: (readonly [error: EventBusError, context: ErrorContext])[];
}

/** Where a scenario takes place: brokers, and names that no other scenario uses. */
export class World {
  readonly #id = randomBytes(4).toString('hex');
  readonly #buses: KafkaEventBus<OrderPlaced>[] = [];
  readonly group = `group-${this.#id}`;

  /** @param overrides - what these brokers need of every bus */
  constructor(
    readonly brokers: readonly string[],
    readonly overrides: Partial<KafkaConfig> = {},
  ) {}

  /** An event type of this scenario. */
  type(name = 'order.placed'): string {
    return `${name}-${this.#id}`;
  }

  event(eventId: string, more: Partial<IDomainEvent<OrderPlaced>> = {}): IDomainEvent<OrderPlaced> {
    return orderPlaced({ eventId, eventType: this.type(), ...more });
  }

  /** Events whose ids are `from`, `from + 1`, …, of one aggregate. */
  events(count: number, from = 0): IDomainEvent<OrderPlaced>[] {
    return Array.from({ length: count }, (_, n) => this.event(String(from + n)));
  }

  /** A bus with its log and errors; it is disconnected behind the scenario. */
  bus(config: Partial<KafkaConfig> = {}): MadeBus {
    const { logger, lines } = keepLog();
    const errors: (readonly [EventBusError, ErrorContext])[] = [];
    const bus = new KafkaEventBus<OrderPlaced>({
      clientId: 'conformance',
      brokers: this.brokers,
      groupId: this.group,
      logger,
      onError: (error, context) => errors.push([error, context]),
      ...this.overrides,
      ...config,
    });
    this.#buses.push(bus);
    return { bus, lines, errors };
  }

  /** Stores records of one topic that need not be events. */
  write(values: readonly (string | null)[], topic = this.type()): Promise<void> {
    const records: RawRecord[] = values.map((value) => ({ topic, key: 'raw', value }));
    return writeRaw(this.brokers, records);
  }

  async end(): Promise<void> {
    await Promise.all(this.#buses.map((bus) => bus.disconnect({ timeoutMs: 5_000 })));
  }
}
