import type { TestProject } from 'vitest/node';
import { javaReason, startKafka } from './support/cluster';

declare module 'vitest' {
  interface ProvidedContext {
    /** The brokers of the Kafka that most files share; empty if there is none. */
    brokers: string[];
    /** Why no Kafka can be started here; empty if one can. */
    noKafka: string;
  }
}

/** Starts the Kafka that most files share, or says loudly that there is none. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | void> {
  const given = process.env['EVBUS_TEST_BROKERS']?.split(',').filter(Boolean) ?? [];
  const reason = javaReason();
  project.provide('noKafka', reason ?? '');
  if (reason !== undefined) {
    const line = '='.repeat(78);
    const what = given.length > 0 ? 'TESTS THAT START A KAFKA' : 'ALL TESTS ON A REAL KAFKA';
    process.stderr.write(`\n${line}\nSKIPPED: ${what}. Reason: ${reason}\n${line}\n\n`);
    if (process.env['EVBUS_REQUIRE_KAFKA'] === '1') {
      throw new Error(`EVBUS_REQUIRE_KAFKA=1 demands a real Kafka, but ${reason}`);
    }
  }
  if (given.length > 0 || reason !== undefined) {
    project.provide('brokers', given);
    return;
  }
  const kafka = await startKafka({
    // A killed member is to be missed after two seconds, not after Kafka's least of six.
    set: { 'group.min.session.timeout.ms': 1_000 },
  });
  project.provide('brokers', kafka.bootstrap.split(','));
  return () => kafka.down();
}
