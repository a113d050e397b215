/** Tests run against the sources, never against a stale build. Unit tests sit beside the code; end-to-end tests are in test/. */
import { defineConfig } from 'vitest/config';

const conditions = ['source', 'module', 'node', 'development|production'];
const shared = { resolve: { conditions }, ssr: { resolve: { conditions, externalConditions: ['source', 'node'] } } };

const CONSOLE = 'test/src/console*.test.ts';
const SCENARIOS = 'test/src/scenarios.test.ts';
const MACHINES = 'test/src/installing/**/*.test.ts';
const endToEnd = { testTimeout: 180_000, hookTimeout: 240_000 };

export default defineConfig({
  test: {
    reporters: process.env['CI'] ? ['default', 'junit'] : ['default'],
    outputFile: { junit: 'test-results/junit.xml' },
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'agent/src/**/*.test.ts', 'collector/src/**/*.test.ts', 'installers/src/**/*.test.ts'],
          exclude: ['**/*.db.test.ts'],
          testTimeout: 20_000,
        },
      },
      {
        ...shared,
        test: {
          name: 'db',
          include: ['{agent,collector}/src/**/*.db.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        ...shared,
        // Real programs mostly wait for each other: two files at once take half the time on two cores.
        test: {
          ...endToEnd,
          name: 'e2e',
          include: ['test/src/**/*.test.ts'],
          exclude: [CONSOLE, SCENARIOS, MACHINES],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        ...shared,
        // Machines with networks of their own: each one that comes or goes makes browsers on this one give up what they ask.
        test: { ...endToEnd, name: 'machines', include: [MACHINES], maxWorkers: 2, sequence: { groupOrder: 2 } },
      },
      {
        ...shared,
        // Many at a time by itself, and what they find is a measurement.
        test: { ...endToEnd, name: 'scenarios', include: [SCENARIOS], maxWorkers: 1, sequence: { groupOrder: 3 } },
      },
      {
        ...shared,
        // What a page costs is measured, so nothing else runs meanwhile.
        test: { ...endToEnd, name: 'console', include: [CONSOLE], maxWorkers: 1, sequence: { groupOrder: 4 } },
      },
    ],
  },
});
