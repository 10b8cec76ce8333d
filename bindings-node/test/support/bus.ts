import { afterEach } from 'vitest';
import type { KafkaConfig } from '../../ts/config';
import type { EventBusError } from '../../ts/error';
import type { IDomainEvent, IEventHandler } from '../../ts/event';
import { KafkaEventBus } from '../../ts/kafka/KafkaEventBus';
import type { ErrorContext, LogFields, Logger } from '../../ts/logger';
import type { OrderPlaced } from './events';

export interface LogLine {
  readonly level: string;
  readonly event: unknown;
  readonly message: string;
  readonly fields: LogFields;
}

/** A logger that keeps what is written to it. */
export function keepLog(): { readonly logger: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const write =
    (level: string) =>
    (fields: LogFields, message: string): void => {
      lines.push({ level, event: fields['event'], message, fields });
    };
  const logger = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
  return { logger, lines };
}

let names = 0;

/** The address of a broker in memory that no other test uses. */
export function memoryBroker(): string {
  names += 1;
  return `memory:${process.pid}-${names}`;
}

const open: KafkaEventBus<OrderPlaced>[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((bus) => bus.disconnect({ timeoutMs: 5_000 })));
});

/** A bus on a broker in memory, with its log and errors; it is disconnected behind the test. */
export function makeBus(config: Partial<KafkaConfig> = {}) {
  const { logger, lines } = keepLog();
  const errors: [error: EventBusError, context: ErrorContext][] = [];
  const bus = new KafkaEventBus<OrderPlaced>({
    clientId: 'test',
    brokers: [memoryBroker()],
    groupId: 'test',
    logger,
    onError: (error, context) => errors.push([error, context]),
    ...config,
  });
  open.push(bus);
  return { bus, lines, errors };
}

/** A handler that keeps the events it gets. */
export function collector(): IEventHandler<OrderPlaced> & { seen: IDomainEvent<OrderPlaced>[] } {
  const seen: IDomainEvent<OrderPlaced>[] = [];
  return {
    seen,
    async handle(event) {
      seen.push(event);
    },
  };
}

/** A broker in memory that lives as long as the test: one goes with its last bus. */
export async function keptBroker(): Promise<string> {
  const broker = memoryBroker();
  await makeBus({ brokers: [broker] }).bus.connect();
  return broker;
}
