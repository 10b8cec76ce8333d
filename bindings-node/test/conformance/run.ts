import { it } from 'vitest';
import type { KafkaConfig } from '../../ts/config';
import { order } from './order';
import { retries } from './retries';
import { scenarios } from './scenarios';
import { World } from './world';

/** Declares every scenario as a test on those brokers. They do not share a name, so they run at once. */
export function conformance(
  brokers: () => readonly string[],
  overrides: Partial<KafkaConfig> = {},
): void {
  for (const [name, scenario] of Object.entries({
    ...scenarios,
    ...order,
    ...retries,
  })) {
    it.concurrent(name, async () => {
      const world = new World(brokers(), overrides);
      try {
        await scenario(world);
      } finally {
        await world.end();
      }
    });
  }
}
