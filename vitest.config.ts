import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['bindings-node/test/**/*.test.ts'],
    environment: 'node',
    coverage: {
      provider: 'v8',
      include: ['bindings-node/ts/**/*.ts'],
      reporter: ['text', 'json-summary'],
      thresholds: { lines: 90 },
    },
  },
});
