/** Many scenarios against one collector, several at a time: most of the time each of them waits. */
import type { PostgresVersion } from '../postgres/cluster.ts';
import { runScenario, type AnyScenario, type ScenarioResult } from './run.ts';
import type { WatchedCollector } from './world/collector.ts';

export interface Planned {
  readonly scenario: AnyScenario;
  readonly version: PostgresVersion;
}

export interface BatchOptions {
  planned: readonly Planned[];
  collector: WatchedCollector;
  seed: number;
  /** How many run at the same time. */
  atOnce: number;
  compare: boolean;
  patience?: number;
  trace?: string | undefined;
  /** Begins no more, and gives up those that run. */
  signal?: AbortSignal | undefined;
  progress: (text: string) => void;
  /** Called as each of them ends. */
  onResult?: (result: ScenarioResult) => void;
}

/** Runs them all; the results are in the order of the plan. */
export async function runBatch({ planned, atOnce, progress, onResult, ...shared }: BatchOptions): Promise<ScenarioResult[]> {
  const results: ScenarioResult[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < planned.length && shared.signal?.aborted !== true) {
      const index = next++;
      const { scenario, version } = planned[index]!;
      const result = await runScenario({
        ...shared,
        scenario,
        version,
        progress: (text) => progress(`${scenario.name} (${version})  ${text}`),
      });
      results[index] = result;
      onResult?.(result);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(atOnce, planned.length)) }, work));
  // Those that were never begun have left holes.
  return results.filter((result) => result !== undefined);
}

/** Each scenario on each of the versions that it is for. */
export function planOf(scenarios: readonly AnyScenario[], versions: readonly PostgresVersion[]): Planned[] {
  return versions.flatMap((version) =>
    scenarios.filter((scenario) => scenario.versions.includes(version)).map((scenario) => ({ scenario, version })),
  );
}
