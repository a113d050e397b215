/**
 * What Tidemark says of replication, on real clusters: every scenario of the folder on the versions that it is for. They run
 * several at a time against one collector; each test waits for its own. At the end, how near all of it was to the truth.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PostgresCluster } from './postgres/cluster.ts';
import { planOf, runBatch, type Planned } from './scenarios/batch.ts';
import { readScenarios } from './scenarios/files.ts';
import type { ScenarioResult } from './scenarios/run.ts';
import { summarise } from './scenarios/truth/figures.ts';
import { SCALED_RULES, WatchedCollector } from './scenarios/world/collector.ts';

/** Most of the time they wait: for a server, a report, a timeout. */
const AT_ONCE = 6;
/** A test says whether it is so; how soon is measured by `npm run scenarios`. */
const PATIENCE = 2;
const ALL_MS = 20 * 60_000;
const SEED = 7;

/** What a test waits for, and the batch brings. */
class Outcome {
  readonly promise: Promise<ScenarioResult>;
  resolve!: (result: ScenarioResult) => void;
  constructor() {
    this.promise = new Promise((resolve) => {
      this.resolve = resolve;
    });
  }
}

const scenarios = readScenarios().filter(({ unscaled }) => !unscaled);
const planned = planOf(scenarios, PostgresCluster.versions());
const keyOf = ({ name, version }: { name: string; version: number }): string => `${name} on PostgreSQL ${version}`;
const outcomes = new Map(planned.map(({ scenario, version }) => [keyOf({ name: scenario.name, version }), new Outcome()]));
const lines: string[] = [];
let collector: WatchedCollector | undefined;
let batch: Promise<ScenarioResult[]>;

beforeAll(async () => {
  collector = await WatchedCollector.start(SCALED_RULES);
  batch = runBatch({
    planned: longestFirst(planned),
    collector,
    seed: SEED,
    atOnce: AT_ONCE,
    compare: false,
    patience: PATIENCE,
    progress: (line) => void lines.push(line),
    onResult: (result) => outcomes.get(keyOf({ name: result.name, version: result.postgres }))!.resolve(result),
  });
});

afterAll(async () => {
  await batch;
  await collector?.stop();
}, ALL_MS);

/** So that none is begun last that takes longest. */
function longestFirst(all: readonly Planned[]): Planned[] {
  return all.toSorted((a, b) => b.scenario.statements.length - a.scenario.statements.length);
}

test.for(planned.map(({ scenario: { name, title }, version }) => ({ name, title, version })))(
  '$name on PostgreSQL $version: $title',
  { timeout: ALL_MS },
  async ({ name, version }, { skip }) => {
    const { failure, skipped } = await outcomes.get(keyOf({ name, version }))!.promise;
    if (skipped !== undefined) skip(skipped);
    const story = lines.filter((line) => line.startsWith(`${name} (${version})`)).join('\n');
    expect(failure === undefined ? 'as expected' : `line ${failure.line}: ${failure.text}\n${failure.why}\n\n${story}`).toBe('as expected');
  },
);

test(
  'the truth lies within the published bounds, and they are narrow',
  async () => {
    const truths = (await batch).map(({ truth }) => truth);
    const summary = summarise(truths);
    expect(summary.truthSamples).toBeGreaterThan(500);
    expect({ share: summary.truthWithinBounds, outside: truths.flatMap(({ examples }) => examples) }).toSatisfy(
      ({ share }: { share: number }) => share >= 0.995,
    );
    expect(summary.idleWithinBounds).toBeGreaterThanOrEqual(0.995);
    expect(summary.boundsWidthSecondsMedian).toBeLessThanOrEqual(2.5);
  },
  ALL_MS,
);
