import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['bindings-node/test/**/*.test.ts'],
    environment: 'node',
    // Generous: a machine that also compiles is slow, and a test that hangs still ends.
    testTimeout: 30_000,
    coverage: {
      provider: 'v8',
      include: ['bindings-node/ts/**/*.ts'],
      reporter: ['text', 'json-summary'],
      thresholds: { lines: 90 },
    },
  },
});
