import type { EventBusError } from '../../ts/error';
import type { KafkaEventHandler } from '../../ts/event';
import type { Failure } from '../../ts/failure';
import { type ErrorContext, Log, type LogFields, Reporter } from '../../ts/logger';
import { type EffectivePolicy, type HandlerSettings, Registry } from '../../ts/registry';
import { Dispatcher } from '../../ts/subscribe';
import { Topics } from '../../ts/topics';
import { orderPlaced } from './events';
import { type FakeDelivery, FakePublishPort, packDeliveries } from './native';

export interface Answer {
  readonly sequence: number;
  readonly slot: number;
  readonly epoch: number;
  readonly outcome: 'done' | 'failed' | 'released' | 'invalid';
  readonly failure: Failure | undefined;
  readonly micros: number;
}

/** A dispatcher on a fake addon, with what it answered, logged and reported. */
export function setUp(policy: EffectivePolicy = { handlerTimeoutMs: 0 }) {
  const port = new FakePublishPort();
  const topics = new Topics(port);
  const answers: Answer[] = [];
  const finishes: number[] = [];
  const native = {
    finish(rows: Int32Array, count: number, failuresJson = '[]'): void {
      finishes.push(count);
      const failures = new Map<number, Failure>();
      for (const { row, ...failure } of JSON.parse(failuresJson)) failures.set(row, failure);
      for (let at = 0; at < count * 4; at += 4) {
        const ticketHi = rows[at + 1] as number;
        answers.push({
          sequence: rows[at] as number,
          slot: ticketHi & 0xffff,
          epoch: ticketHi >>> 16,
          outcome: (['done', 'failed', 'released', 'invalid'] as const)[
            rows[at + 2] as 0 | 1 | 2 | 3
          ],
          failure: failures.get(at / 4),
          micros: rows[at + 3] as number,
        });
      }
    },
  };
  const logged: [level: string, fields: LogFields, message: string][] = [];
  const write =
    (level: string) =>
    (fields: LogFields, message: string): void => {
      logged.push([level, fields, message]);
    };
  const log = new Log({
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  });
  const errors: [error: EventBusError, context: ErrorContext][] = [];
  const onError = (error: EventBusError, context: ErrorContext): void => {
    errors.push([error, context]);
  };
  const registry = new Registry(policy);
  const dispatcher = new Dispatcher(native, topics, registry, new Reporter(log, onError));
  const subscribe = (
    type: string,
    handle: (...args: Parameters<KafkaEventHandler['handle']>) => unknown,
    settings: HandlerSettings = {},
  ): KafkaEventHandler => {
    const handler = { handle } as KafkaEventHandler;
    topics.id(type);
    registry.add(type, handler, settings);
    return handler;
  };
  const take = (...deliveries: Partial<FakeDelivery>[]): void =>
    dispatcher.take(
      packDeliveries(
        deliveries.map((delivery, row) => ({
          topicId: 0,
          offset: row,
          value: JSON.stringify(orderPlaced({ eventId: `event-${delivery.offset ?? row}` })),
          ...delivery,
        })),
      ),
    );
  const outcomes = (): string[] => answers.map(({ sequence, outcome }) => `${sequence} ${outcome}`);
  return { dispatcher, registry, subscribe, take, answers, finishes, outcomes, logged, errors };
}
