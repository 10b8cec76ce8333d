// Tests on a real Apache Kafka, apart from the others because they need a JDK and take a minute or two:
//
//   npx vitest run --config bindings-node/test/real/vitest.config.ts
//
// EVBUS_TEST_BROKERS  an existing Kafka to use where a test needs nothing but one, host:port,…
// EVBUS_KAFKA_VERSION the version to start, 4.1.0 by default
// EVBUS_REQUIRE_KAFKA=1  fails where it would otherwise skip because no Kafka can run here

import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: join(__dirname, '../../..'),
  test: {
    include: ['bindings-node/test/real/**/*.real.ts'],
    globalSetup: [join(__dirname, 'setup.ts')],
    environment: 'node',
    // They measure times and load the broker; at once they would measure each other.
    fileParallelism: false,
    maxConcurrency: 8,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    reporters: ['verbose'],
    coverage: {
      provider: 'v8',
      include: ['bindings-node/ts/**/*.ts'],
      reporter: ['text', 'json-summary'],
    },
  },
});
