import { it } from 'vitest';
import type { KafkaConfig } from '../../ts/config';
import { order } from './order';
import { retries } from './retries';
import { scenarios } from './scenarios';
import { starts } from './starts';
import { World } from './world';

/**
 * Declares every scenario as a test on those brokers. They do not share a name, so they run at once.
 *
 * @param overrides - what these brokers need of every bus
 * @param without - scenarios that these brokers cannot serve
 */
export function conformance(
  brokers: () => readonly string[],
  overrides: Partial<KafkaConfig> = {},
  without: readonly string[] = [],
): void {
  for (const [name, scenario] of Object.entries({
    ...scenarios,
    ...order,
    ...retries,
    ...starts,
  })) {
    it.skipIf(without.includes(name)).concurrent(name, async () => {
      const world = new World(brokers(), overrides);
      try {
        await scenario(world);
      } finally {
        await world.end();
      }
    });
  }
}
