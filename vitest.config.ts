import { configDefaults, defineConfig } from 'vitest/config';

/** The fault suite: `npm run test:faults` runs all of it, `npm test` a part, and where both run, `npm test` nothing. */
const FAULTS = process.env.FAULTS ?? 'part';
const without = {
  all: [],
  part: ['test/faults/endurance.test.ts', 'test/faults/start-styles.test.ts'],
  none: ['test/faults/**'],
};

export default defineConfig({
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, ...without[FAULTS as keyof typeof without]],
    pool: 'forks',
    maxWorkers: 2,
    maxConcurrency: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
    allowOnly: false,
    retry: 0,
  },
});
