/** `tidemark-agent collect`: one look at this machine, with no collector and no spool, for people or as JSON. */
import type { Observation, WireValue } from '@tidemark/protocol';
import { createLog, systemClock, type Clock, type Log } from '@tidemark/service';
import type { Probe } from '../probes/probe.ts';
import { ProbeRunner, type Collection, type ProbeState } from '../probes/runner.ts';
import { agentConfig, type AgentOptionValues, type Surroundings } from '../config.ts';
import { createProbes } from '../probes/index.ts';
import { createHttpProbes } from '../probes/http.ts';
import { createPostgresProbes } from '../probes/postgres.ts';
import { discoveryProbe } from '../probes/postgres/discovery-probe.ts';
import { collectPage } from './collect-page.ts';

/** Usage ratios and rates are of this time. */
const WINDOW_MS = 1_000;
/** A person waits for what a report would not: an endpoint that hangs is to be said so, with the default time-out. */
const HTTP_GRACE_MS = 10_500;

/** A value with its meaning. `ratePerSecond` is of a counter, over the window. */
export interface CollectedSeries {
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly unit: string;
  readonly type: string;
  readonly value: WireValue;
  readonly ratePerSecond?: number;
}

export interface Collected {
  readonly hostname: string;
  /** Wall time in milliseconds. */
  readonly takenAt: number;
  readonly series: CollectedSeries[];
  readonly observations: Observation[];
  readonly probes: readonly ProbeState[];
}

/** Takes the report and returns what to print, and an exit code: 1 when a probe failed. */
export async function collect(
  values: AgentOptionValues,
  surroundings: Surroundings,
  json: boolean,
  version: string,
): Promise<{ output: string; exitCode: number }> {
  const config = agentConfig(values, surroundings);
  const log = createLog('tidemark-agent', 'silent', 'json');
  const postgres = createPostgresProbes(config.postgres, { passFile: surroundings.environment['PGPASSFILE'] });
  const http = createHttpProbes(config.http, { version, graceMs: HTTP_GRACE_MS });
  const probes = createProbes({
    platform: surroundings.platform,
    clockOffset: () => undefined,
    reportsLost: () => 0,
    spoolBytes: () => 0,
    extra: [...postgres, discoveryProbe({ platform: surroundings.platform, watched: config.postgres }), ...http],
  });
  const collected = await collectOnce(config.hostname, probes, systemClock, log, WINDOW_MS);
  const output = json ? `${JSON.stringify(collected, undefined, 2)}\n` : collectPage(collected);
  return { output, exitCode: collected.probes.every((probe) => probe.success) ? 0 : 1 };
}

/** Looks twice, `windowMs` apart, so that what is a rate can be told as one; the second look is the report. */
export async function collectOnce(
  hostname: string,
  probes: readonly Probe[],
  clock: Clock,
  log: Log,
  windowMs: number,
): Promise<Collected> {
  const runner = new ProbeRunner(probes, clock, log);
  try {
    const first = await runner.collect();
    const firstMs = clock.monotonicMs();
    await new Promise((resolve) => setTimeout(resolve, windowMs));
    const takenAt = clock.wallMs();
    const elapsedSeconds = (clock.monotonicMs() - firstMs) / 1000;
    const second = await runner.collect();
    return {
      hostname,
      takenAt,
      series: seriesOf(first, second, elapsedSeconds),
      observations: newestObservations(first, second),
      probes: runner.states(),
    };
  } finally {
    await runner.close();
  }
}

/** Some probes run once a day: what only the first look has belongs to the report as well. */
function seriesOf(first: Collection, second: Collection, elapsedSeconds: number): CollectedSeries[] {
  const key = ({ layout }: Collection['blocks'][number]): string => `${layout.probe}\0${layout.instance}`;
  const before = new Map(first.blocks.map((block) => [key(block), block]));
  const newest = new Map([...before, ...second.blocks.map((block): [string, Collection['blocks'][number]] => [key(block), block])]);
  return [...newest].flatMap(([name, block]) => {
    const earlier = before.get(name);
    const comparable = earlier !== undefined && earlier !== block && earlier.layout.hash === block.layout.hash;
    return block.layout.series.map(({ name: metric, labels, unit, type }, i) => {
      const value = block.values[i] ?? null;
      const old = comparable ? earlier.values[i] : undefined;
      const isRate = type === 'counter' && typeof value === 'number' && typeof old === 'number' && elapsedSeconds > 0;
      const series = { metric, labels: Object.fromEntries(labels), unit, type, value };
      return isRate ? { ...series, ratePerSecond: Math.max(0, value - old) / elapsedSeconds } : series;
    });
  });
}

function newestObservations(first: Collection, second: Collection): Observation[] {
  const byKey = new Map([...first.observations, ...second.observations].map((seen) => [`${seen.kind}\0${seen.instance}`, seen]));
  return [...byKey.values()];
}
