import type { HandlerContext } from '../../ts/context';
import type { IDomainEvent, KafkaEventHandler } from '../../ts/event';
import type { SubscribeOptions } from '../../ts/policy';
import { collector } from '../support/bus';
import type { OrderPlaced } from '../support/events';
import { until } from '../support/native';
import type { MadeBus, World } from './world';

export type Scenario = (world: World) => Promise<void>;

/** Long enough for a broker that makes topics and gathers a group while all scenarios run at once. */
export const PATIENCE_MS = 25_000;

export const eventually = (condition: () => boolean, what: string) =>
  until(condition, what, PATIENCE_MS);

export const ids = (seen: readonly IDomainEvent<OrderPlaced>[]) =>
  seen.map(({ eventId }) => eventId);

export const names = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, n) => String(from + n));

export const handler = (
  handle: KafkaEventHandler<OrderPlaced>['handle'],
): KafkaEventHandler<OrderPlaced> => ({ handle });

/** A connected bus of the scenario's group, and what it handles. */
export async function consumer(world: World, config = {}, options?: SubscribeOptions) {
  const made = world.bus(config);
  const seen = collector();
  await made.bus.subscribe(world.type(), seen, options);
  await made.bus.connect();
  return { ...made, seen: seen.seen };
}

export const logged = ({ lines }: Pick<MadeBus, 'lines'>, event: string) =>
  lines.filter((line) => line.event === event);

/** Retries that a test need not wait for. */
export const SOON = { initialDelayMs: 5, jitter: 'none' } as const;

/** An event of a dead-letter topic, with where it came from. */
export interface ReadLetter {
  readonly event: IDomainEvent<OrderPlaced>;
  readonly context: HandlerContext;
  /** The provenance, by the names behind `dead-letter.`. */
  readonly why: Readonly<Record<string, string>>;
}

/** Reads the dead letters of the scenario's type, of which there are so many. */
export async function readDeadLetters(world: World, count: number): Promise<ReadLetter[]> {
  const { bus } = world.bus({ groupId: `${world.group}-dead-letters` });
  const letters: ReadLetter[] = [];
  await bus.subscribe(
    `${world.type()}.dead-letter`,
    handler(async (event, context) => {
      const why: Record<string, string> = {};
      for (const [name, value] of context.headers) {
        if (name.startsWith('dead-letter.')) why[name.slice(12)] = value?.toString() ?? '';
      }
      letters.push({ event, context, why });
    }),
  );
  await bus.connect();
  await eventually(() => letters.length >= count, `${count} dead letters`);
  await bus.disconnect();
  return letters;
}
