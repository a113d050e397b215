/** Which charts a node has, by what is measured there. What is not measured is named, not drawn. */
import type { NodeDetail } from '@tidemark/protocol';
import type { ChartLine, ChartSpec, Placed } from '../chart/spec.ts';
import type { BoundsInForce } from '../fleet/bounds.ts';
import { all, busiest, cpuLines, first, latencyLines, linesBy, memoryLines, mirroredPairs, toneOf } from './lines.ts';

export interface ChartSection {
  id: string;
  title: string;
  /** The PostgreSQL server it is about. */
  server?: string;
  charts: ChartSpec[];
}

const DEVICES_MOST = 4;

export interface NodeCharts {
  sections: ChartSection[];
  /** Titles of what this node does not measure. */
  missing: string[];
}

const named = (label: string, series: Placed | undefined, tone: number, more: Partial<ChartLine> = {}): ChartLine[] =>
  series === undefined ? [] : [{ label, values: series.values, least: series.least, greatest: series.greatest, tone, ...more }];

function systemCharts(cpus: number | null, bounds: BoundsInForce): ChartSpec[] {
  return [
    {
      id: 'cpu',
      title: 'CPU by mode',
      hint: 'Share of all CPUs; what is left is idle. node_cpu_seconds_total',
      unit: 'ratio',
      question: { metrics: ['node_cpu_seconds_total', 'tidemark_cpu_usage_ratio'], rate: true, by: ['mode'] },
      lines: cpuLines,
      stacked: true,
      most: 1,
      bounds: bounds.cpu,
    },
    {
      id: 'load',
      title: 'Load',
      hint: 'Processes that run or wait to, averaged over 1, 5 and 15 minutes. node_load1, node_load5, node_load15',
      unit: 'count',
      question: { metrics: ['node_load1', 'node_load5', 'node_load15'], extremes: true },
      lines: (found) => [
        ...named('1 min', first(found, 'node_load1'), 1),
        ...named('5 min', first(found, 'node_load5'), 2, { least: undefined, greatest: undefined }),
        ...named('15 min', first(found, 'node_load15'), 0, { least: undefined, greatest: undefined }),
      ],
      ...(cpus === null ? {} : { bounds: { other: { value: cpus, label: `${cpus} CPUs` } } }),
    },
    {
      id: 'memory',
      title: 'Memory',
      hint: 'Used is what programs have; cache and buffers are given back when they are needed. node_memory_*_bytes',
      unit: 'bytes',
      question: {
        metrics: ['MemTotal', 'MemFree', 'Buffers', 'Cached', 'SReclaimable', 'MemAvailable'].map((field) => `node_memory_${field}_bytes`),
      },
      lines: memoryLines,
      stacked: true,
    },
    {
      id: 'memory-usage',
      title: 'Memory not available to programs',
      hint: 'tidemark_memory_usage_ratio, tidemark_swap_usage_ratio',
      unit: 'ratio',
      question: { metrics: ['tidemark_memory_usage_ratio', 'tidemark_swap_usage_ratio'], extremes: true },
      lines: (found) => [
        ...named('memory', first(found, 'tidemark_memory_usage_ratio'), 1),
        ...named('swap', first(found, 'tidemark_swap_usage_ratio'), 3, { least: undefined, greatest: undefined }),
      ],
      most: 1,
      bounds: bounds.memory,
    },
  ];
}

function diskCharts(): ChartSpec[] {
  return [
    {
      id: 'disk-throughput',
      title: 'Disk throughput',
      hint: 'Read above, written below. node_disk_read_bytes_total, node_disk_written_bytes_total',
      unit: 'bytes/s',
      question: { metrics: ['node_disk_read_bytes_total', 'node_disk_written_bytes_total'], rate: true },
      lines: (found) =>
        mirroredPairs(found, 'device', ['node_disk_read_bytes_total', 'read'], ['node_disk_written_bytes_total', 'written'], DEVICES_MOST),
    },
    {
      id: 'disk-utilisation',
      title: 'Disk utilisation',
      hint: 'Share of the time in which the disk had something to do. node_disk_io_time_seconds_total',
      unit: 'ratio',
      question: { metrics: ['node_disk_io_time_seconds_total'], rate: true },
      lines: (found) => {
        const devices = busiest(found, 'device', DEVICES_MOST);
        return devices.flatMap((device, place) =>
          named(
            device,
            found.find(({ labels }) => labels['device'] === device),
            toneOf(place),
          ),
        );
      },
      most: 1,
    },
    {
      id: 'disk-latency',
      title: 'Disk latency',
      hint: 'Mean time of an operation. node_disk_read_time_seconds_total / node_disk_reads_completed_total, and those of writes',
      unit: 'seconds',
      question: {
        metrics: ['read_time_seconds', 'reads_completed', 'write_time_seconds', 'writes_completed'].map(
          (name) => `node_disk_${name}_total`,
        ),
        rate: true,
      },
      lines: (found) => latencyLines(found, 3),
    },
  ];
}

/** What a machine says to itself is not its network. */
const outside = (found: readonly Placed[]): Placed[] => found.filter(({ labels }) => labels['device'] !== 'lo');

function networkCharts(): ChartSpec[] {
  return [
    {
      id: 'network',
      title: 'Network',
      hint: 'Received above, sent below. node_network_receive_bytes_total, node_network_transmit_bytes_total',
      unit: 'bytes/s',
      question: { metrics: ['node_network_receive_bytes_total', 'node_network_transmit_bytes_total'], rate: true },
      lines: (found) =>
        mirroredPairs(
          outside(found),
          'device',
          ['node_network_receive_bytes_total', 'in'],
          ['node_network_transmit_bytes_total', 'out'],
          DEVICES_MOST,
        ),
    },
  ];
}

function networkTroubleChart(): ChartSpec {
  const kinds: [string, string][] = [
    ['errs', 'errors'],
    ['drop', 'drops'],
  ];
  const names = kinds.flatMap(([kind]) => [`node_network_receive_${kind}_total`, `node_network_transmit_${kind}_total`]);
  return {
    id: 'network-trouble',
    title: 'Network errors and drops',
    hint: 'Packets, received above, sent below. node_network_{receive,transmit}_{errs,drop}_total',
    unit: '1/s',
    question: { metrics: names, rate: true },
    lines: (found) =>
      kinds.flatMap(([kind, word], place) =>
        mirroredPairs(
          found.filter(({ metric }) => metric.endsWith(`_${kind}_total`)),
          'device',
          [`node_network_receive_${kind}_total`, `${word} in`],
          [`node_network_transmit_${kind}_total`, `${word} out`],
          2,
        ).map((line) => ({ ...line, tone: line.tone + place * 2 })),
      ),
  };
}

function pressureChart(): ChartSpec {
  const lines: [string, string, number, boolean][] = [
    ['CPU', 'cpu_waiting', 1, false],
    ['I/O', 'io_waiting', 3, false],
    ['I/O, all stalled', 'io_stalled', 3, true],
    ['memory', 'memory_waiting', 2, false],
    ['memory, all stalled', 'memory_stalled', 2, true],
  ];
  const metricOf = (name: string): string => `node_pressure_${name}_seconds_total`;
  return {
    id: 'pressure',
    title: 'Pressure',
    hint: 'Share of the time in which something had to wait for want of it. node_pressure_*_seconds_total',
    unit: 'ratio',
    question: { metrics: lines.map(([, name]) => metricOf(name)), rate: true },
    lines: (found) => lines.flatMap(([label, name, tone, dashed]) => named(label, first(found, metricOf(name)), tone, { dashed })),
  };
}

/** States of connections that are shown at zero as well. */
const ALWAYS_SHOWN: ReadonlySet<string> = new Set(['active', 'idle']);
const STATE_TONES: Record<string, number> = { active: 1, idle: 0, 'idle in transaction': 3, 'idle in transaction (aborted)': 6 };

function postgresCharts(
  server: string,
  role: 'primary' | 'replica' | null,
  maxConnections: number | null,
  bounds: BoundsInForce,
): ChartSpec[] {
  const labels = { server };
  const charts: ChartSpec[] = [
    {
      id: `pg-${server}-connections`,
      title: 'Connections',
      hint: 'Client connections by state. pg_stat_activity_count',
      unit: 'count',
      question: { metrics: ['pg_stat_activity_count'], labels },
      lines: (found) =>
        linesBy(found, 'state')
          .filter(({ label, values }) => ALWAYS_SHOWN.has(label) || values.some((value) => typeof value === 'number' && value > 0))
          .map((line, place) => ({ ...line, tone: STATE_TONES[line.label] ?? toneOf(place + 3) }))
          .toSorted((a, b) => Number(a.tone === 0) - Number(b.tone === 0)),
      stacked: true,
      ...(maxConnections === null ? {} : { bounds: { other: { value: maxConnections, label: `${maxConnections} allowed` } } }),
    },
    {
      id: `pg-${server}-wal`,
      title: role === 'replica' ? 'WAL received and replayed' : 'WAL written',
      hint: 'tidemark_postgres_wal_bytes_total',
      unit: 'bytes/s',
      question: { metrics: ['tidemark_postgres_wal_bytes_total'], rate: true, labels },
      lines: (found) => linesBy(found, 'position').map((line) => (line.label === 'current' ? { ...line, label: 'written' } : line)),
    },
    {
      id: `pg-${server}-size`,
      title: 'Database sizes',
      hint: 'pg_database_size_bytes',
      unit: 'bytes',
      question: { metrics: ['pg_database_size_bytes'], labels },
      lines: (found) =>
        linesBy(
          found.filter(({ labels: own }) => busiest(found, 'datname', 6).includes(own['datname'] ?? '')),
          'datname',
        ),
    },
  ];
  if (role !== 'replica') {
    charts.splice(1, 0, {
      id: `pg-${server}-behind`,
      title: 'Replicas behind',
      hint: 'WAL sent and not replayed there. tidemark_postgres_replica_bytes_behind',
      unit: 'bytes',
      question: { metrics: ['tidemark_postgres_replica_bytes_behind'], extremes: true, labels },
      lines: (found) =>
        found.slice(0, 8).map(({ labels: own, values, least, greatest }, place) => ({
          label:
            own['application_name'] === '' ? (own['client_addr'] ?? '') : `${own['application_name']} ${own['client_addr'] ?? ''}`.trim(),
          values,
          least,
          greatest,
          tone: toneOf(place),
        })),
      bounds: bounds.behind,
    });
  } else {
    charts.splice(1, 0, {
      id: `pg-${server}-backlog`,
      title: 'Received and not replayed',
      hint: 'Says nothing of what has not been received. tidemark_postgres_replay_backlog_bytes',
      unit: 'bytes',
      question: { metrics: ['tidemark_postgres_replay_backlog_bytes'], extremes: true, labels },
      lines: (found) => found.map(({ values, least, greatest }) => ({ label: 'backlog', values, least, greatest, tone: 1 })),
    });
  }
  return charts;
}

const LAG = 'tidemark_replication_lag_seconds';

/** The lag of a replica, or of those that nobody watches on the node of their upstream, within what it may be. */
function lagChart(server: string, bounds: BoundsInForce): ChartSpec {
  const [lower, upper] = [`${LAG}_lower`, `${LAG}_upper`];
  return {
    id: `pg-${server}-lag`,
    title: 'Replication lag',
    hint: `The age of the oldest WAL not replayed; shaded: what it may be. ${LAG}`,
    unit: 'seconds',
    question: { metrics: [LAG, lower, upper], labels: { server } },
    lines: (found) =>
      all(found, LAG)
        .slice(0, DEVICES_MOST * 2)
        .map(({ labels, values }, place) => {
          const same = (metric: string) =>
            found.find((one) => one.metric === metric && one.labels['replica'] === labels['replica'])?.values;
          const [least, greatest] = [same(lower), same(upper)];
          const band = least === undefined || greatest === undefined ? {} : { least, greatest };
          return { label: labels['replica'] ?? 'behind the primary', values, ...band, tone: toneOf(place) };
        }),
    bounds: bounds.lag,
  };
}

const PHASES = ['resolve', 'connect', 'tls', 'processing', 'transfer'];

function httpCharts(endpoints: readonly string[], bounds: BoundsInForce): ChartSpec[] {
  const single = endpoints.length === 1;
  return [
    {
      id: 'http-response',
      title: single ? 'Response time by phase' : 'Response time',
      hint: 'tidemark_http_response_seconds, tidemark_http_phase_seconds',
      unit: 'seconds',
      question: single
        ? { metrics: ['tidemark_http_phase_seconds', 'tidemark_http_response_seconds'] }
        : { metrics: ['tidemark_http_response_seconds'], extremes: true },
      lines: (found) => {
        const phases = all(found, 'tidemark_http_phase_seconds');
        const total = all(found, 'tidemark_http_response_seconds');
        if (phases.length === 0) return linesBy(total, 'endpoint');
        const known = (phase: string | undefined): number => (PHASES.indexOf(phase ?? '') + 1 || PHASES.length + 1) - 1;
        return phases
          .toSorted((a, b) => known(a.labels['phase']) - known(b.labels['phase']))
          .map(({ labels, values }, place) => ({ label: labels['phase'] ?? '', values, tone: toneOf(place) }));
      },
      stacked: single,
      bounds: bounds.response,
    },
    {
      id: 'http-errors',
      title: 'HTTP errors',
      hint: 'Share of the requests that failed. tidemark_http_error_ratio',
      unit: 'ratio',
      question: { metrics: ['tidemark_http_error_ratio'], extremes: true },
      lines: (found) => linesBy(found, 'endpoint'),
      bounds: bounds.errors,
    },
  ];
}

/** The chart of file systems is made by the page: it also shows where they go on to. */
export interface ChartFacts {
  latest: NodeDetail['latest'];
  cpus: number | null;
  bounds: BoundsInForce;
  roles: ReadonlyMap<string, 'primary' | 'replica' | null>;
}

/** The charts of a node, by the series of its last report. */
export function chartsOf({ latest, cpus, bounds, roles }: ChartFacts): NodeCharts {
  const metrics = new Set(latest.map(({ metric }) => metric));
  const labelsOf = (metric: string, name: string): string[] => [
    ...new Set(latest.flatMap((one) => (one.metric === metric ? one.labels.flatMap(([key, value]) => (key === name ? [value] : [])) : []))),
  ];
  const sections: ChartSection[] = [];
  const missing: string[] = [];
  const add = (title: string, measured: boolean, section: () => ChartSection): void => {
    if (measured) sections.push(section());
    else missing.push(title);
  };
  add('CPU and memory', metrics.has('tidemark_cpu_usage_ratio') || metrics.has('node_cpu_seconds_total'), () => ({
    id: 'system',
    title: 'CPU and memory',
    charts: systemCharts(cpus, bounds).filter(({ question }) => question.metrics.some((metric) => metrics.has(metric))),
  }));
  const traffic = [
    ...(metrics.has('node_network_receive_bytes_total') ? networkCharts() : []),
    ...(metrics.has('node_network_receive_errs_total') ? [networkTroubleChart()] : []),
    ...(metrics.has('node_disk_read_bytes_total') ? diskCharts() : []),
    ...(metrics.has('node_pressure_cpu_waiting_seconds_total') ? [pressureChart()] : []),
  ];
  if (traffic.length > 0) sections.push({ id: 'traffic', title: 'Network, disks and pressure', charts: traffic });
  if (!metrics.has('node_network_receive_bytes_total')) missing.push('network');
  if (!metrics.has('node_disk_read_bytes_total')) missing.push('disk I/O');
  if (!metrics.has('node_pressure_cpu_waiting_seconds_total')) missing.push('pressure');
  const servers = labelsOf('pg_up', 'server');
  if (servers.length === 0) missing.push('PostgreSQL');
  for (const server of servers) {
    const most = latest.find(
      (one) => one.metric === 'pg_settings_max_connections' && one.labels.some(([, value]) => value === server),
    )?.value;
    sections.push({
      id: `pg-${server}`,
      server,
      title: servers.length === 1 && server === 'main' ? 'PostgreSQL' : `PostgreSQL ${server}`,
      charts: [
        ...(labelsOf(LAG, 'server').includes(server) ? [lagChart(server, bounds)] : []),
        ...postgresCharts(server, roles.get(server) ?? null, typeof most === 'number' ? most : null, bounds),
      ],
    });
  }
  add('HTTP endpoints', metrics.has('tidemark_http_up'), () => ({
    id: 'http',
    title: 'HTTP endpoints',
    charts: httpCharts(labelsOf('tidemark_http_up', 'endpoint'), bounds),
  }));
  return { sections, missing };
}
