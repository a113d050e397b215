/** What a run of scenarios is written as. */
import { summarise, type TruthSummary } from './truth/figures.ts';
import type { PeerSaid } from './peer/watch.ts';
import type { ScenarioResult } from './run.ts';

export interface ReportedScenario extends Omit<ScenarioResult, 'truth' | 'peer'> {
  truth: TruthSummary & { examples: readonly string[] };
  peer: PeerSaid | null;
}

export interface ScenarioReport extends TruthSummary {
  /** When it ended; ISO 8601, UTC. */
  at: string;
  seed: number;
  scenarios: ReportedScenario[];
}

export function reportOf(results: readonly ScenarioResult[], { seed }: { seed: number }): ScenarioReport {
  return {
    at: new Date().toISOString(),
    seed,
    ...summarise(results.map(({ truth }) => truth)),
    scenarios: results.map(({ truth, peer, ...result }) => ({
      ...result,
      truth: { ...summarise([truth]), examples: truth.examples },
      peer: peer ?? null,
    })),
  };
}
