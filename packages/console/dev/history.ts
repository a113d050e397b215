/**
 * A past for every fake node: each series is a pure function of time, so that any range can be asked for at any
 * step and always shows the same. It has what real ones have: days and nights, a backup, gaps, a disk that fills.
 */
import type { NodeDetail, OverviewNode, SeriesResponse } from '@tidemark/protocol';

const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 86_400_000;
const GIB = 2 ** 30;
const MIB = 2 ** 20;

type Labels = [string, string][];

export interface FakeSeries {
  metric: string;
  labels: Labels;
  unit: string;
  type: 'gauge' | 'counter';
  /** A gauge's value; a counter's rise a second. */
  at: (ms: number) => number;
}

/** 0–1, the same for the same moment and salt. */
function noise(ms: number, salt: number): number {
  let t = (Math.floor(ms / 15_000) * 2_654_435_761 + salt * 40_503) >>> 0;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
}

/** Noise without its edges: wanders over some minutes. */
function drift(ms: number, salt: number, periodMs: number): number {
  const place = ms / periodMs;
  const first = Math.floor(place);
  const share = place - first;
  const smooth = share * share * (3 - 2 * share);
  return noise(first * 15_000, salt) * (1 - smooth) + noise((first + 1) * 15_000, salt) * smooth;
}

const office = (ms: number): number => Math.max(0, Math.sin(((ms % DAY) / DAY - 0.28) * Math.PI * 2)) ** 0.8;
const backup = (ms: number): number => ((ms % DAY) / HOUR > 2 && (ms % DAY) / HOUR < 2.7 ? 1 : 0);
const clamp = (value: number): number => Math.min(1, Math.max(0, value));

function saltOf(name: string): number {
  let salt = 7;
  for (const sign of name) salt = (Math.imul(salt, 31) + (sign.codePointAt(0) ?? 0)) >>> 0;
  return salt % 9_973;
}

const gauge = (metric: string, unit: string, at: FakeSeries['at'], labels: Labels = []): FakeSeries => ({
  metric,
  labels,
  unit,
  type: 'gauge',
  at,
});
const counter = (metric: string, unit: string, at: FakeSeries['at'], labels: Labels = []): FakeSeries => ({
  metric,
  labels,
  unit,
  type: 'counter',
  at,
});

function cpuSeries(node: OverviewNode, salt: number): FakeSeries[] {
  const base = node.cpu.usageRatio ?? 0.1;
  const busy = (ms: number): number =>
    clamp(
      base * 0.45 +
        base * 0.5 * office(ms) +
        0.16 * drift(ms, salt, 9 * MINUTE) * (0.4 + base) +
        0.05 * noise(ms, salt) +
        0.12 * backup(ms),
    );
  const wait = (ms: number): number =>
    clamp(0.006 + 0.03 * drift(ms, salt + 3, 4 * MINUTE) ** 3 + 0.14 * backup(ms) * (0.6 + 0.4 * noise(ms, salt)));
  const shares: [string, (ms: number) => number][] = [
    ['user', (ms) => busy(ms) * 0.68],
    ['system', (ms) => busy(ms) * 0.22],
    ['nice', (ms) => 0.09 * backup(ms)],
    ['iowait', wait],
    ['irq', () => 0],
    ['softirq', (ms) => busy(ms) * 0.05],
    ['steal', (ms) => 0.012 * drift(ms, salt + 9, 20 * MINUTE) ** 4],
  ];
  const idle = (ms: number): number => Math.max(0, 1 - shares.reduce((sum, [, share]) => sum + share(ms), 0));
  const series: FakeSeries[] = [];
  for (let cpu = 0; cpu < 8; cpu += 1) {
    for (const [mode, share] of [...shares, ['idle', idle] as const]) {
      series.push(
        counter('node_cpu_seconds_total', 'seconds', share, [
          ['cpu', String(cpu)],
          ['mode', mode],
        ]),
      );
    }
  }
  series.push(
    gauge('tidemark_cpu_usage_ratio', 'ratio', busy),
    gauge('node_load1', '', (ms) => 8 * (busy(ms) + wait(ms)) * (0.85 + 0.3 * noise(ms, salt + 1))),
    gauge('node_load5', '', (ms) => 8 * (busy(ms - MINUTE) + wait(ms - MINUTE)) * (0.93 + 0.14 * drift(ms, salt, 5 * MINUTE))),
    gauge(
      'node_load15',
      '',
      (ms) => 8 * (base * 0.45 + base * 0.5 * office(ms - 6 * MINUTE) + 0.1 * drift(ms, salt, 30 * MINUTE) + 0.1 * backup(ms)),
    ),
    counter('node_pressure_cpu_waiting_seconds_total', 'seconds', (ms) => 0.5 * busy(ms) ** 2 * (0.5 + noise(ms, salt + 4))),
    counter('node_pressure_io_waiting_seconds_total', 'seconds', (ms) => wait(ms) * (1.2 + noise(ms, salt + 5))),
    counter('node_pressure_io_stalled_seconds_total', 'seconds', (ms) => wait(ms) * (0.7 + 0.5 * noise(ms, salt + 5))),
    counter('node_pressure_memory_waiting_seconds_total', 'seconds', (ms) => 0.004 * drift(ms, salt + 6, HOUR) ** 3),
    counter('node_pressure_memory_stalled_seconds_total', 'seconds', (ms) => 0.002 * drift(ms, salt + 6, HOUR) ** 3),
  );
  return series;
}

function memorySeries(node: OverviewNode, salt: number): FakeSeries[] {
  const total = node.memory.totalBytes ?? 16 * GIB;
  const base = node.memory.usageRatio ?? 0.4;
  const used = (ms: number): number =>
    clamp(base - 0.05 + 0.05 * office(ms) + 0.06 * drift(ms, salt + 20, 50 * MINUTE) + 0.01 * noise(ms, salt + 20));
  const cached = (ms: number): number => (1 - used(ms)) * (0.62 + 0.2 * drift(ms, salt + 21, 3 * HOUR));
  return [
    gauge('tidemark_memory_usage_ratio', 'ratio', used),
    gauge('tidemark_swap_usage_ratio', 'ratio', (ms) => 0.02 + 0.05 * drift(ms, salt + 22, 5 * HOUR)),
    gauge('node_memory_MemTotal_bytes', 'bytes', () => total),
    gauge('node_memory_MemAvailable_bytes', 'bytes', (ms) => total * (1 - used(ms))),
    gauge('node_memory_MemFree_bytes', 'bytes', (ms) => total * Math.max(0.01, 1 - used(ms) - cached(ms) - 0.03)),
    gauge('node_memory_Buffers_bytes', 'bytes', () => total * 0.01),
    gauge('node_memory_Cached_bytes', 'bytes', (ms) => total * cached(ms)),
    gauge('node_memory_SReclaimable_bytes', 'bytes', () => total * 0.02),
  ];
}

function diskSeries(node: OverviewNode, salt: number, nowMs: number): FakeSeries[] {
  const series: FakeSeries[] = [];
  node.disk.mounts.forEach((mount, place) => {
    if (mount.sizeBytes === null || mount.usageRatio === null) return;
    const { sizeBytes } = mount;
    // The data disks fill steadily, the others saw their logs off each night.
    const perDay = mount.mountpoint === '/' ? 0 : 0.006 + (salt % 7) * 0.008;
    const ratio = (ms: number): number =>
      clamp(
        (mount.usageRatio ?? 0) -
          (perDay * (nowMs - ms)) / DAY +
          (mount.mountpoint === '/' ? 0.02 * ((ms % DAY) / DAY) : 0.001 * noise(ms, salt + place)),
      );
    const labels: Labels = [
      ['device', place === 0 ? '/dev/vda1' : '/dev/vdb'],
      ['fstype', 'ext4'],
      ['mountpoint', mount.mountpoint],
    ];
    series.push(
      gauge('tidemark_filesystem_usage_ratio', 'ratio', ratio, labels),
      gauge('node_filesystem_avail_bytes', 'bytes', (ms) => sizeBytes * (1 - ratio(ms)), labels),
      gauge('node_filesystem_size_bytes', 'bytes', () => sizeBytes, labels),
      gauge('node_filesystem_readonly', '', () => (mount.readOnly === true ? 1 : 0), labels),
    );
  });
  ['vda', 'vdb'].slice(0, node.disk.mounts.length).forEach((device, place) => {
    const load = (ms: number): number =>
      0.15 + 0.6 * office(ms) * drift(ms, salt + 30 + place, 6 * MINUTE) + 0.3 * noise(ms, salt + 30 + place) ** 4 + 3 * backup(ms);
    const labels: Labels = [['device', device]];
    const scale = place === 0 ? 0.25 : 1;
    series.push(
      counter('node_disk_read_bytes_total', 'bytes', (ms) => 22 * MIB * scale * load(ms), labels),
      counter('node_disk_written_bytes_total', 'bytes', (ms) => 13 * MIB * scale * load(ms + 4 * MINUTE), labels),
      counter('node_disk_reads_completed_total', '', (ms) => 320 * scale * load(ms), labels),
      counter('node_disk_writes_completed_total', '', (ms) => 480 * scale * load(ms), labels),
      counter(
        'node_disk_read_time_seconds_total',
        'seconds',
        (ms) => 320 * scale * load(ms) * (0.0006 + 0.002 * backup(ms) + 0.0005 * noise(ms, salt)),
        labels,
      ),
      counter('node_disk_write_time_seconds_total', 'seconds', (ms) => 480 * scale * load(ms) * (0.0011 + 0.004 * backup(ms)), labels),
      counter('node_disk_io_time_seconds_total', 'seconds', (ms) => clamp(0.22 * scale * load(ms)), labels),
    );
  });
  return series;
}

function networkSeries(salt: number): FakeSeries[] {
  return ['eth0', 'eth1'].flatMap((device, place) => {
    const labels: Labels = [['device', device]];
    const scale = place === 0 ? 1 : 0.18;
    const flow = (ms: number, more: number): number =>
      0.08 + office(ms) * (0.4 + 0.6 * drift(ms, salt + more, 7 * MINUTE)) + 0.15 * noise(ms, salt + more);
    return [
      counter('node_network_receive_bytes_total', 'bytes', (ms) => 9 * MIB * scale * flow(ms, 40 + place), labels),
      counter('node_network_transmit_bytes_total', 'bytes', (ms) => 16 * MIB * scale * (flow(ms, 50 + place) + 1.2 * backup(ms)), labels),
      counter('node_network_receive_errs_total', '', () => 0, labels),
      counter('node_network_receive_drop_total', '', () => 0, labels),
    ];
  });
}

function postgresSeries(node: OverviewNode, salt: number): FakeSeries[] {
  return node.postgres.flatMap((server) => {
    const labels: Labels = [['server', server.instance]];
    const states: [string, (ms: number) => number][] = [
      ['active', (ms) => Math.round(3 + 14 * office(ms) * drift(ms, salt + 60, 8 * MINUTE))],
      ['idle', (ms) => Math.round(24 + 30 * office(ms))],
      ['idle in transaction', (ms) => Math.round(4 * drift(ms, salt + 61, 5 * MINUTE) ** 3)],
    ];
    // Behind at the backup; known to a second or two.
    const lag = (ms: number): number => 0.3 + 1.8 * noise(ms, salt + 64) ** 3 + 96 * backup(ms) * drift(ms, salt + 65, 6 * MINUTE);
    const isBehind = server.up === true && server.role === 'replica';
    return [
      ...(isBehind
        ? [
            gauge('tidemark_replication_lag_seconds', 'seconds', lag, labels),
            gauge('tidemark_replication_lag_seconds_lower', 'seconds', (ms) => Math.max(0, lag(ms) * 0.94 - 0.7), labels),
            gauge('tidemark_replication_lag_seconds_upper', 'seconds', (ms) => lag(ms) * 1.06 + 1.1, labels),
          ]
        : []),
      gauge('pg_up', '', () => (server.up === true ? 1 : 0), labels),
      ...(server.up === true ? states : []).map(([state, at]) => gauge('pg_stat_activity_count', '', at, [...labels, ['state', state]])),
      gauge('pg_settings_max_connections', '', () => 200, labels),
      gauge('tidemark_postgres_connections_used_ratio', 'ratio', (ms) => states.reduce((sum, [, at]) => sum + at(ms), 0) / 200, labels),
      gauge('pg_database_size_bytes', 'bytes', (ms) => 300 * GIB + ((ms % (30 * DAY)) / DAY) * GIB, [...labels, ['datname', 'shop']]),
      gauge('pg_database_size_bytes', 'bytes', (ms) => 41 * GIB + ((ms % (30 * DAY)) / DAY) * 80 * MIB, [...labels, ['datname', 'ledger']]),
      counter(
        'tidemark_postgres_wal_bytes_total',
        'bytes',
        (ms) => 2.4 * MIB * (0.2 + office(ms) * (0.5 + drift(ms, salt + 62, 6 * MINUTE))),
        [...labels, ['position', server.role === 'replica' ? 'replayed' : 'current']],
      ),
      ...server.replicas.map((replica, place) =>
        gauge(
          'tidemark_postgres_replica_bytes_behind',
          'bytes',
          (ms) =>
            (replica.bytesBehind ?? 0) * (0.3 + drift(ms, salt + 70 + place, 3 * MINUTE)) +
            150 * MIB * backup(ms) * drift(ms, salt, 4 * MINUTE),
          [
            ...labels,
            ['application_name', `walreceiver_${place}`],
            ['client_addr', replica.name],
            ['slot_name', `slot_${place}`],
            ['duplicate', ''],
          ],
        ),
      ),
    ];
  });
}

function httpSeries(node: OverviewNode, salt: number): FakeSeries[] {
  if (node.tags['role'] !== 'web' && node.tags['role'] !== 'db') return [];
  const labels: Labels = [['endpoint', 'shop']];
  const total = (ms: number): number =>
    0.09 +
    0.12 * office(ms) * drift(ms, salt + 80, 6 * MINUTE) +
    0.05 * noise(ms, salt + 80) +
    2.2 * backup(ms) * drift(ms, salt + 81, 3 * MINUTE);
  const phases: [string, number][] = [
    ['resolve', 0.04],
    ['connect', 0.11],
    ['tls', 0.2],
    ['processing', 0.55],
    ['transfer', 0.1],
  ];
  return [
    gauge('tidemark_http_up', '', () => 1, labels),
    gauge('tidemark_http_status_code', '', () => 200, labels),
    gauge('tidemark_http_response_seconds', 'seconds', total, labels),
    ...phases.map(([phase, share]) =>
      gauge('tidemark_http_phase_seconds', 'seconds', (ms) => total(ms) * share, [...labels, ['phase', phase]]),
    ),
    gauge('tidemark_http_error_ratio', 'ratio', (ms) => 0.03 * backup(ms) + 0.004 * drift(ms, salt + 82, 9 * MINUTE) ** 6, labels),
    gauge('tidemark_http_certificate_expires_seconds', 'seconds', () => (41 * DAY) / 1_000, labels),
  ];
}

function probeSeries(node: OverviewNode): FakeSeries[] {
  const probes = [
    'cpu',
    'memory',
    'filesystem',
    'disk',
    'network',
    'pressure',
    'inventory',
    'agent',
    ...(node.postgres.length > 0 ? ['postgres'] : []),
  ];
  return probes.flatMap((probe, place) => [
    gauge('tidemark_probe_success', '', () => (probe === 'postgres' && node.postgres.some((server) => server.up === false) ? 0 : 1), [
      ['probe', probe],
    ]),
    gauge('tidemark_probe_duration_seconds', 'seconds', () => 0.0004 * (place + 1), [['probe', probe]]),
  ]);
}

/** All series of a node; `nowMs` is the moment at which they have the overview's figures. */
export function seriesOf(node: OverviewNode, nowMs: number): FakeSeries[] {
  if (node.lastSeenAt === null) return [];
  const salt = saltOf(node.name);
  return [
    ...cpuSeries(node, salt),
    ...memorySeries(node, salt),
    ...diskSeries(node, salt, nowMs),
    ...networkSeries(salt),
    ...postgresSeries(node, salt),
    ...httpSeries(node, salt),
    ...probeSeries(node),
    gauge('tidemark_uptime_seconds', 'seconds', () => node.uptimeSeconds ?? 0),
  ];
}

/** Once a day every node says nothing for a while, so that gaps are seen. */
const inGap = (ms: number): boolean => (ms % DAY) / HOUR >= 5.4 && (ms % DAY) / HOUR < 6.1;

interface Question {
  query: URLSearchParams;
  node: OverviewNode;
  nowMs: number;
}

/** Answers as `GET /api/telemetry/series` does, for one node. */
export function seriesAnswer({ query, node, nowMs }: Question): SeriesResponse {
  const metrics = (query.get('metric') ?? '').split(',');
  const [fromMs, toMs, stepMs] = [Number(query.get('from')), Number(query.get('to')), Number(query.get('step')) * 1_000];
  const lastMs = Math.min(toMs, Date.parse(node.lastSeenAt ?? ''));
  const [rate, by, extremes] = [query.get('rate') === 'true', query.get('by')?.split(','), query.get('extremes') === 'true'];
  const wanted = [...query].flatMap(([key, value]) => (key.startsWith('label.') ? [[key.slice(6), value] as const] : []));
  const groups = new Map<string, { first: FakeSeries; labels: Labels; members: FakeSeries[] }>();
  for (const series of seriesOf(node, nowMs)) {
    if (!metrics.includes(series.metric)) continue;
    if (!wanted.every(([name, value]) => series.labels.some(([key, own]) => key === name && own === value))) continue;
    const labels = by === undefined ? series.labels : series.labels.filter(([name]) => by.includes(name));
    const key = JSON.stringify([series.metric, labels]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { first: series, labels, members: [series] });
    else group.members.push(series);
  }
  const bins: number[] = [];
  for (let ms = Math.floor(fromMs / stepMs) * stepMs; ms <= lastMs; ms += stepMs) bins.push(ms);
  const mean = (members: readonly FakeSeries[], ms: number): number => members.reduce((sum, one) => sum + one.at(ms), 0);
  return {
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs).toISOString(),
    stepSeconds: stepMs / 1_000,
    truncated: false,
    series: [...groups.values()]
      .toSorted((a, b) => metrics.indexOf(a.first.metric) - metrics.indexOf(b.first.metric))
      .map(({ first, labels, members }) => ({
        metric: first.metric,
        labels: Object.fromEntries([['node', node.name], ['site', node.site], ...labels]),
        unit: rate && first.type === 'counter' ? `${first.unit}/s` : first.unit,
        type: rate ? 'gauge' : first.type,
        points: bins.map((ms) => [ms, inGap(ms) ? null : mean(members, ms)]),
        ...(extremes
          ? {
              extremes: bins.map((ms) =>
                inGap(ms) ? [null, null] : [mean(members, ms) * 0.9, mean(members, ms) * (1.04 + 0.3 * noise(ms, 5) ** 6)],
              ),
            }
          : {}),
      })) as SeriesResponse['series'],
  };
}

/** The newest value of every series, as a node's page lists them. */
export function latestOf(node: OverviewNode, atMs: number): NodeDetail['latest'] {
  return seriesOf(node, atMs).map(({ metric, labels, unit, type, at }) => ({
    metric,
    labels,
    unit,
    type,
    value: type === 'counter' ? Math.round(at(atMs) * 400_000) : at(atMs),
  }));
}
