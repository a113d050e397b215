/** The evaluator's measurement as a program of its own: reads a plan from its argument and prints its figures. See evaluator.ts. */
import { randomBytes } from 'node:crypto';
import { IncidentBook, Evaluator, LayeredRules, LiveView, compileRules } from '@tidemark/collector';
import type { AcceptedReport, BlockLayout, NodeRecord, SeriesInfo } from '@tidemark/collector';
import { ManualClock, createLog } from '@tidemark/service';
import { seeded } from '../bad-days/raw-agent.ts';
import type { EvaluatorFigures, EvaluatorPlan } from './evaluator.ts';

const plan = JSON.parse(process.argv[2]!) as EvaluatorPlan;
const RULES = 20;
const SITES = 5;
/** Machines differ in their disks and endpoints: so many kinds of them. */
const KINDS_OF_MACHINE = 50;
/** Of a thousand values, those around a bound; and each so many nodes is one that is in trouble all the time. */
const BEYOND_PER_MILLE = 3;
const TROUBLED_EVERY = 100;
const WARM_UP_ROUNDS = 3;

/** The shipped ones, and more of the same sort until there are twenty at least. */
function rules(): LayeredRules {
  const names = ['node_load1', 'node_procs_blocked', 'tidemark_cpu_usage_ratio', 'tidemark_filesystem_usage_ratio', 'node_entropy'];
  const more = Array.from({ length: RULES }, (_, i) => ({
    name: `more-${i}`,
    kind: 'threshold' as const,
    metric: names[i % names.length]!,
    warning: { above: 0.96 + i / 1_000, for: '10m of 15m', clearAfter: '5m' },
    critical: { above: 0.99 + i / 10_000, for: '5m of 10m', clearAfter: '5m' },
  }));
  const overrides = Array.from({ length: SITES }, (_, i) => ({
    rule: 'cpu-usage',
    site: `site${i}`,
    warning: { above: 0.95 + i / 1_000, clear: 0.9, for: '10m of 15m' },
    critical: { above: 0.98, clear: 0.95, for: '10m of 15m' },
  }));
  const shipped = new LayeredRules(compileRules({ rules: [], overrides: [] }).declared, () => '').for({ name: '', site: '', tags: {} });
  const { declared, mistakes } = compileRules({ rules: more.slice(0, Math.max(0, RULES - shipped.length)), overrides });
  if (mistakes.length > 0) throw new Error(mistakes.map(({ text }) => text).join('\n'));
  return new LayeredRules(declared, () => '');
}

const series = (metric: string, labels: SeriesInfo['labels'] = []): SeriesInfo => ({ metric, labels, unit: '', type: 'gauge', help: '' });
const many = (metric: string, count: number): SeriesInfo[] => Array.from({ length: count }, (_, i) => series(metric, [['n', String(i)]]));

/** Sixty and more series in seven blocks, as an agent brings them. */
function layoutsOf(kind: number): BlockLayout[] {
  const mounts = Array.from({ length: 2 + (kind % 4) }, (_, i) => `/data${kind}-${i}`);
  const endpoints = kind % 3 === 0 ? ['shop', 'search'] : [];
  return [
    {
      probe: 'cpu',
      instance: '',
      series: [...many('node_cpu_seconds_total', 16), series('tidemark_cpu_usage_ratio'), series('node_load1')],
    },
    { probe: 'memory', instance: '', series: [...many('node_memory_bytes', 12), series('tidemark_memory_usage_ratio')] },
    {
      probe: 'filesystem',
      instance: '',
      series: mounts.flatMap((mountpoint) => [
        series('node_filesystem_size_bytes', [['mountpoint', mountpoint]]),
        series('tidemark_filesystem_usage_ratio', [
          ['fstype', 'ext4'],
          ['mountpoint', mountpoint],
        ]),
      ]),
    },
    { probe: 'network', instance: '', series: many('node_network_bytes_total', 12) },
    { probe: 'system', instance: '', series: [series('node_procs_blocked'), series('node_entropy'), ...many('node_other', 10)] },
    {
      probe: 'postgres',
      instance: 'main',
      series: [series('pg_up', [['server', 'main']]), series('tidemark_postgres_replica_bytes_behind', [['server', 'main']])],
    },
    ...endpoints.map((endpoint) => ({
      probe: 'http',
      instance: endpoint,
      series: [
        'tidemark_http_up',
        'tidemark_http_response_seconds',
        'tidemark_http_error_ratio',
        'tidemark_http_certificate_expires_seconds',
      ].map((metric) => series(metric, [['endpoint', endpoint]])),
    })),
  ];
}

const CALM: Readonly<Record<string, number>> = {
  pg_up: 1,
  tidemark_http_up: 1,
  tidemark_http_certificate_expires_seconds: 5e6,
  tidemark_http_error_ratio: 0,
};

interface Simulated {
  record: NodeRecord;
  layouts: BlockLayout[];
}

const machines = Array.from({ length: KINDS_OF_MACHINE }, (_, kind) => layoutsOf(kind));
const nodes: Simulated[] = Array.from({ length: plan.nodes }, (_, i) => ({
  record: {
    id: i + 1,
    name: `node${i}`,
    state: 'approved',
    site: `site${i % SITES}`,
    tags: {},
    createdAt: 0,
    agentVersion: '1',
    intervalSeconds: plan.intervalSeconds,
  },
  layouts: machines[i % KINDS_OF_MACHINE]!,
}));
const random = seeded(plan.seed);
const clock = new ManualClock();

/** Most of the time calm, and around a bound for `perMille` of all values. */
function reportOf({ record, layouts }: Simulated, sequence: number, perMille: number): AcceptedReport {
  const at = clock.wallMs();
  const often = perMille > 0 && record.id % TROUBLED_EVERY === 0 ? 999 : perMille;
  const valueOf = ({ metric }: SeriesInfo): number => CALM[metric] ?? (random() * 1_000 < often ? 0.9 + random() / 10 : random() / 2);
  return {
    node: record,
    bootId: 'a',
    sequence,
    at,
    receivedAt: at,
    live: true,
    partial: false,
    blocks: layouts.map((layout) => ({ layout, values: layout.series.map(valueOf) })),
    observations: [],
  };
}

function newEvaluator(): { evaluator: Evaluator; view: LiveView; recorded: () => number } {
  const ruleSet = rules();
  const view = new LiveView(clock);
  let recorded = 0;
  const evaluator = new Evaluator({
    rules: { current: ruleSet, onChange: () => {} },
    recorder: {
      book: new IncidentBook(),
      epoch: 1,
      onRecorded: () => {},
      record: (happenings) => {
        recorded += happenings.length;
        return Promise.resolve();
      },
    },
    view,
    fleet: { all: () => nodes.map(({ record }) => record), byId: (id) => nodes[id - 1]!.record },
    clock,
    random: randomBytes,
    log: createLog('bench', 'silent', 'json'),
    dataDir: undefined,
  });
  return { evaluator, view, recorded: () => recorded };
}

/** One report of every node, and the ticks of the seconds meanwhile. Microseconds of CPU. */
function round(
  { evaluator, view }: ReturnType<typeof newEvaluator>,
  sequence: number,
  perMille: number,
): { reports: number; ticks: number } {
  const reports = nodes.map((node) => reportOf(node, sequence, perMille));
  for (const { record } of nodes) view.heard(record, { lostReports: 0 }, 3);
  const spent = (work: () => void): number => {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    return user + system;
  };
  const ofReports = spent(() => reports.forEach((report) => evaluator.accept(report)));
  let ofTicks = 0;
  for (let second = 0; second < plan.intervalSeconds; second++) {
    clock.advance(1_000);
    ofTicks += spent(() => evaluator.tick());
  }
  return { reports: ofReports, ticks: ofTicks };
}

function heapBytes(): number {
  globalThis.gc!();
  globalThis.gc!();
  return process.memoryUsage().heapUsed;
}

/** What the evaluator keeps after it has judged a fleet on which nothing is going on; its code and its plans are warm. */
function bytesPerCalmNode(): number {
  const warm = newEvaluator();
  round(warm, 1, 0);
  const { evaluator, view } = newEvaluator();
  const reports = nodes.map((node) => reportOf(node, 2, 0));
  for (const { record } of nodes) view.heard(record, { lostReports: 0 }, 3);
  evaluator.accept(reports[0]!);
  const before = heapBytes();
  for (const report of reports) evaluator.accept(report);
  evaluator.tick();
  const after = heapBytes();
  // Still needed, so that neither measurement lacks what the other has.
  if (reports.length + warm.recorded() + evaluator.counts.remembered !== plan.nodes) throw new Error('a calm fleet is not calm');
  return (after - before) / plan.nodes;
}

const calmBytes = bytesPerCalmNode();
const bench = newEvaluator();
let [reports, ticks] = [0, 0];
for (let i = 1; i <= WARM_UP_ROUNDS + plan.rounds; i++) {
  const spent = round(bench, i, BEYOND_PER_MILLE);
  if (i <= WARM_UP_ROUNDS) continue;
  reports += spent.reports;
  ticks += spent.ticks;
}
const seconds = plan.rounds * plan.intervalSeconds;
const figures: EvaluatorFigures = {
  corePercent: ((reports + ticks) / 1e6 / seconds) * 100,
  microsecondsPerReport: reports / (plan.nodes * plan.rounds),
  bytesPerCalmNode: Math.max(0, calmBytes),
  rulesPerNode: rules().for(nodes[0]!.record).length,
  happenings: bench.recorded(),
  remembered: bench.evaluator.counts.remembered,
};
process.stdout.write(JSON.stringify(figures));
