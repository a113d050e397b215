/** What the collector and its embedded PostgreSQL cost under a fleet of 1,000 nodes that report 60 values each 5 seconds. */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startCollector, type RunningCollector } from '../programs.ts';
import { VALUES_PER_REPORT, type LoadPlan, type LoadResult } from './load.ts';
import { cpuMs, childrenOf, median, memoryOf, treeCpuMs } from './processes.ts';

export interface CollectorFigures {
  cpuSecondsPerMillionSamples: number;
  nodeCpuSecondsPerMillionSamples: number;
  postgresCpuSecondsPerMillionSamples: number;
  memoryMB: number;
  bytesPerSample: number;
  ackP50Ms: number;
  ackP99Ms: number;
  metricsMs: number;
  overviewMs: number;
}

export interface CollectorBenchOptions {
  nodes: number;
  intervalSeconds: number;
  rounds: number;
  seed: number;
  progress: (text: string) => void;
}

const FLOOR_PROGRAM = fileURLToPath(new URL('./floor-main.js', import.meta.url));
const LOAD_PROGRAM = fileURLToPath(new URL('./load-main.js', import.meta.url));

export async function benchCollector(options: CollectorBenchOptions): Promise<CollectorFigures> {
  const dataDir = mkdtempSync(join(tmpdir(), 'tidemark-bench-'));
  const collector = await startCollector({ dataDir });
  try {
    options.progress(`adding ${options.nodes} nodes`);
    const tokens = await addNodes(collector, options.nodes);
    options.progress(
      `${WARM_UP_ROUNDS} quick rounds to warm up, then ${options.rounds} measured ones of ${options.nodes} reports each ${options.intervalSeconds} s`,
    );
    const plan: LoadPlan = {
      url: collector.url,
      tokens,
      intervalSeconds: options.intervalSeconds,
      rounds: WARM_UP_ROUNDS + options.rounds,
      warmUpRounds: WARM_UP_ROUNDS,
      warmUpIntervalSeconds: WARM_UP_INTERVAL_SECONDS,
      seed: options.seed,
    };
    const postgresPid = postgresOf(dataDir);
    const { before, after, load } = await measureLoad(plan, () => ({ node: cpuMs(collector.pid), postgres: treeCpuMs(postgresPid) }));
    const measured = { nodeMs: after.node - before.node, postgresMs: after.postgres - before.postgres, load };
    options.progress(
      `asking for /metrics and the overview (collector ${Math.round(measured.nodeMs)} ms, PostgreSQL ${Math.round(measured.postgresMs)} ms CPU so far)`,
    );
    const metricsMs = await timedGet(collector, '/metrics', 15);
    const overviewMs = await timedGet(collector, '/api/telemetry/overview', 15);
    const memoryMB =
      memoryOf(collector.pid).pssMB + [postgresPid, ...childrenOf(postgresPid)].reduce((sum, pid) => sum + memoryOf(pid).pssMB, 0);
    const bytesPerSample = await storedBytesPerSample(collector, tokens.length * VALUES_PER_REPORT * (WARM_UP_ROUNDS + options.rounds));
    const perMillion = 1_000 / (options.nodes * VALUES_PER_REPORT * options.rounds);
    return {
      cpuSecondsPerMillionSamples: (measured.nodeMs + measured.postgresMs) * perMillion,
      nodeCpuSecondsPerMillionSamples: measured.nodeMs * perMillion,
      postgresCpuSecondsPerMillionSamples: measured.postgresMs * perMillion,
      memoryMB,
      bytesPerSample,
      ackP50Ms: measured.load.ackP50Ms,
      ackP99Ms: measured.load.ackP99Ms,
      metricsMs,
      overviewMs,
    };
  } finally {
    await collector.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

function postgresOf(dataDir: string): number {
  return Number(readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]);
}

async function addNodes(collector: RunningCollector, count: number): Promise<string[]> {
  const tokens: string[] = [];
  for (let i = 0; i < count; i++) {
    const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', {
      name: `node-${String(i).padStart(4, '0')}`,
      site: `site-${i % 4}`,
    });
    tokens.push(token);
  }
  return tokens;
}

/** Before the measured rounds: layouts, first partitions, code that the engine has not optimised yet. */
const WARM_UP_ROUNDS = 15;
const WARM_UP_INTERVAL_SECONDS = 1;
const FLOOR_WARM_UP_ROUNDS = 8;
const FLOOR_ROUNDS = 4;

/** CPU of the measured rounds alone, as `read` sees it before and after. */
async function measureLoad<T>(plan: LoadPlan, read: () => T): Promise<{ before: T; after: T; load: LoadResult }> {
  const child = spawn(process.execPath, [LOAD_PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(plan));
  let output = '';
  const warm = new Promise<void>((resolve) =>
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      if (output.startsWith('warm\n')) resolve();
    }),
  );
  const ended = new Promise<void>((resolve, reject) =>
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`the load ended with ${code}`)))),
  );
  await Promise.race([warm, ended]);
  const before = read();
  await ended;
  const after = read();
  const load = JSON.parse(output.slice('warm\n'.length)) as LoadResult;
  if (load.failed > 0) throw new Error(`${load.failed} reports were not committed`);
  return { before, after, load };
}

/** CPU seconds per million samples of a server that only parses and answers, under the same load: what this machine takes for the travelling alone. */
export async function benchFloor(options: CollectorBenchOptions): Promise<number> {
  const server = spawn(process.execPath, [FLOOR_PROGRAM], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise((resolve) => server.once('exit', resolve));
  try {
    const [port] = (await once(server.stdout.setEncoding('utf8'), 'data')) as [string];
    options.progress('the same load on a server that only parses and answers');
    const plan: LoadPlan = {
      url: `http://127.0.0.1:${port.trim()}`,
      tokens: Array.from({ length: options.nodes }, (_, i) => `node-${i}`),
      intervalSeconds: options.intervalSeconds,
      rounds: FLOOR_WARM_UP_ROUNDS + FLOOR_ROUNDS,
      warmUpRounds: FLOOR_WARM_UP_ROUNDS,
      warmUpIntervalSeconds: WARM_UP_INTERVAL_SECONDS,
      seed: options.seed,
    };
    const { before, after } = await measureLoad(plan, () => cpuMs(server.pid!));
    return ((after - before) * 1_000) / (options.nodes * VALUES_PER_REPORT * FLOOR_ROUNDS);
  } finally {
    server.kill();
    await exited;
  }
}

async function timedGet(collector: RunningCollector, path: string, times: number): Promise<number> {
  const durations: number[] = [];
  for (let i = 0; i < times; i++) {
    const started = performance.now();
    const text = await collector.text(path);
    durations.push(performance.now() - started);
    if (text.length < 1_000) throw new Error(`${path} answered next to nothing`);
    // Answers may be kept for a second: ask for fresh ones.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
  }
  return median(durations);
}

async function storedBytesPerSample(collector: RunningCollector, samples: number): Promise<number> {
  const [row] = await collector.sql<{ bytes: string }>(
    "SELECT sum(pg_total_relation_size(inhrelid)) AS bytes FROM pg_inherits WHERE inhparent = 'reports'::regclass",
  );
  return Number(row!.bytes) / samples;
}
