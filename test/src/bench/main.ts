/** `npm run bench`: measures agent and collector, prints a table, and writes the figures with `--json FILE`. Under five minutes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startCollector } from '../programs.ts';
import { memoryOf, openWindow, reapedChildFaults, startBenchedAgent } from './agent.ts';
import { benchCollector, benchFloor, type CollectorFigures } from './collector.ts';
import { benchEvaluator } from './evaluator.ts';
import { benchIdleInstance } from './idle-instance.ts';
import { benchReplicationHistory } from './replication-history.ts';
import { benchReplication } from './replication.ts';
import { benchTelling } from './telling.ts';
import { backendCpuMs } from './postgres-backend.ts';

interface AgentFigures {
  cpuMsPerCollection: number;
  withPostgresCpuMsPerCollection: number;
  rssMB: number;
  anonMB: number;
  childProcessesPerCollection: number;
}

interface Row {
  label: string;
  value: number;
  unit: string;
  reach?: number;
}

const { values: options } = parseArgs({
  options: {
    json: { type: 'string' },
    nodes: { type: 'string', default: '1000' },
    interval: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '9' },
    seed: { type: 'string', default: '7' },
    help: { type: 'boolean', short: 'h' },
  },
});

if (options.help) {
  process.stdout.write(`Measures what agent and collector cost on this machine.

  npm run bench
  npm run bench -- --json figures.json
  npm run bench -- --nodes 200 --rounds 5      a quick look

  --json FILE     write the figures as JSON
  --nodes N       simulated nodes of the collector's part (default 1000)
  --interval S    seconds between a node's reports (default 5)
  --rounds N      measured reports of each node, after a warm-up (default 9)
  --seed N        seed of the simulated values (default 7)
`);
  process.exit(0);
}

const progress = (text: string): void => void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
/** Seconds between an agent's collections here; 15 as shipped would need ten minutes for as many. */
const AGENT_INTERVAL_SECONDS = 2;
const WARM_UP_COLLECTIONS = 20;
/** As shipped, and as many crossings as give a median. */
const TOLD_INTERVAL_SECONDS = 15;
const TOLD_NODES = 40;
const MEASURED_COLLECTIONS = 45;
const JUDGED_NODES = 10_000;
/** Long enough for eight reports as shipped. */
const IDLE_WARM_UP_SECONDS = 45;
const IDLE_SECONDS = 120;
const HISTORY_CLUSTERS = 100;

const until = async (what: () => boolean): Promise<void> => {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 200));
};

/** Two agents side by side: one with the system probes, one that also watches a PostgreSQL. */
async function benchAgents(whileTheyRun: () => Promise<CollectorFigures>): Promise<{ agent: AgentFigures; collector: CollectorFigures }> {
  const dataDir = mkdtempSync(join(tmpdir(), 'tidemark-bench-watched-'));
  const watched = await startCollector({ dataDir });
  const postgres = { ...watched.ready.agentPostgres!, name: 'watched' };
  const plain = await startBenchedAgent({ intervalSeconds: AGENT_INTERVAL_SECONDS });
  const full = await startBenchedAgent({ intervalSeconds: AGENT_INTERVAL_SECONDS, postgres });
  try {
    progress(`agents: warming up, then ${MEASURED_COLLECTIONS} collections each ${AGENT_INTERVAL_SECONDS} s`);
    await until(() => plain.reports() >= WARM_UP_COLLECTIONS && full.reports() >= WARM_UP_COLLECTIONS);
    const [closePlain, closeFull] = [openWindow(plain), openWindow(full)];
    const backendBefore = backendCpuMs(dataDir);
    const until45 = full.reports() + MEASURED_COLLECTIONS;
    await until(() => full.reports() >= until45);
    const backendMs = backendCpuMs(dataDir) - backendBefore;
    const [plainWindow, fullWindow] = [closePlain(), closeFull()];
    const collector = await whileTheyRun();
    const memory = memoryOf(full.pid);
    return {
      agent: {
        cpuMsPerCollection: plainWindow.cpuMsPerCollection,
        withPostgresCpuMsPerCollection: fullWindow.cpuMsPerCollection + backendMs / fullWindow.collections,
        rssMB: memory.rssMB,
        anonMB: memory.anonMB,
        childProcessesPerCollection: reapedChildFaults(full.pid) === 0 ? 0 : 1,
      },
      collector,
    };
  } finally {
    await Promise.all([plain.stop(), full.stop()]);
    await watched.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

const startedAt = Date.now();
const plan = {
  nodes: Number(options.nodes),
  intervalSeconds: Number(options.interval),
  rounds: Number(options.rounds),
  seed: Number(options.seed),
  progress,
};
let floor = Number.NaN;
const figures = await benchAgents(async () => {
  const collector = await benchCollector(plan);
  floor = await benchFloor(plan);
  return collector;
});
const { agent, collector } = figures;
const told = await benchTelling({ nodes: TOLD_NODES, intervalSeconds: TOLD_INTERVAL_SECONDS, seed: Number(options.seed), progress });
const idle = await benchIdleInstance({ version: 18, warmUpSeconds: IDLE_WARM_UP_SECONDS, seconds: IDLE_SECONDS, progress });
progress(`evaluator: ${JUDGED_NODES} nodes by themselves`);
const judging = await benchEvaluator({ nodes: JUDGED_NODES, intervalSeconds: 15, rounds: 30, seed: plan.seed });
progress('replication: 200 clusters of 5 by themselves');
const replication = await benchReplication({ clusters: 200, instancesPerCluster: 5, intervalSeconds: 15, rounds: 15, seed: plan.seed });
progress(`replication: a day of ${HISTORY_CLUSTERS} clusters`);
const history = await benchReplicationHistory({ clusters: HISTORY_CLUSTERS, hours: 24, intervalSeconds: 15, seed: plan.seed });
const rows: Row[] = [
  { label: 'agent, CPU per collection (whole process)', value: agent.cpuMsPerCollection, unit: 'ms', reach: 2 },
  { label: 'agent with one PostgreSQL, own + backend', value: agent.withPostgresCpuMsPerCollection, unit: 'ms', reach: 8 },
  { label: 'one idle PostgreSQL, agent + its backend, a minute', value: idle.totalMsPerMinute, unit: 'ms', reach: 41 },
  { label: '  of it the backend', value: idle.backendMsPerMinute, unit: 'ms' },
  { label: 'agent, resident memory, all on', value: agent.rssMB, unit: 'MB', reach: 60 },
  { label: 'agent, of it anonymous', value: agent.anonMB, unit: 'MB' },
  { label: 'agent, child processes per collection', value: agent.childProcessesPerCollection, unit: '', reach: 0 },
  { label: 'collector + PostgreSQL, CPU per million samples', value: collector.cpuSecondsPerMillionSamples, unit: 's', reach: 1.5 },
  { label: '  of it the collector', value: collector.nodeCpuSecondsPerMillionSamples, unit: 's' },
  { label: '  of it PostgreSQL', value: collector.postgresCpuSecondsPerMillionSamples, unit: 's' },
  { label: '  for scale: a server that only parses and answers', value: floor, unit: 's' },
  { label: 'collector + PostgreSQL, memory (PSS)', value: collector.memoryMB, unit: 'MB', reach: 260 },
  { label: 'on disk, with index', value: collector.bytesPerSample, unit: 'B/sample' },
  { label: 'acknowledgement, median', value: collector.ackP50Ms, unit: 'ms' },
  { label: 'acknowledgement, 99th percentile', value: collector.ackP99Ms, unit: 'ms' },
  { label: `/metrics, ${Number(options.nodes) * 60} series`, value: collector.metricsMs, unit: 'ms', reach: 200 },
  { label: `overview, ${options.nodes} nodes`, value: collector.overviewMs, unit: 'ms' },
  {
    label: `judging alone, ${JUDGED_NODES} nodes × ${judging.rulesPerNode} rules each 15 s`,
    value: judging.corePercent,
    unit: '% of core',
    reach: 15,
  },
  { label: '  of it one report', value: judging.microsecondsPerReport, unit: 'µs' },
  { label: '  memory of a calm node', value: judging.bytesPerCalmNode, unit: 'B' },
  { label: 'replication alone, 1000 servers in 200 clusters', value: replication.corePercent, unit: '% of core', reach: 5 },
  { label: '  of it one report', value: replication.microsecondsPerReport, unit: 'µs' },
  { label: `replication, positions of 24 h, ${HISTORY_CLUSTERS} primaries`, value: history.primariesMB, unit: 'MB', reach: 50 },
  { label: '  of a replica of each', value: history.replicasMB, unit: 'MB' },
  { label: '  to take in a report of one server', value: history.microsecondsPerReport, unit: 'µs' },
  { label: 'crossing to webhook, median', value: told.toFiringMedianSeconds, unit: 's', reach: TOLD_INTERVAL_SECONDS + 1 },
  { label: 'crossing to webhook, longest', value: told.toFiringMaxSeconds, unit: 's' },
  { label: 'back to resolve, median', value: told.toResolvedMedianSeconds, unit: 's' },
];
const shown = (value: number): string => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
process.stdout.write('\n');
for (const { label, value, unit, reach } of rows) {
  const verdict = reach === undefined ? '' : `  ${value <= reach ? 'reached' : 'NOT REACHED'} (≤ ${reach})`;
  process.stdout.write(`${label.padEnd(50)} ${shown(value).padStart(8)} ${unit.padEnd(9)}${verdict}\n`);
}
process.stdout.write(
  `\n${Math.round((Date.now() - startedAt) / 1000)} s, Node.js ${process.version}, ${process.platform} ${process.arch}\n`,
);
if (options.json !== undefined)
  writeFileSync(
    options.json,
    `${JSON.stringify({ ...figures, idle, judging, replication, told, floor: { cpuSecondsPerMillionSamples: floor } }, undefined, 2)}\n`,
  );
process.exit(0);
