/** A look at a machine for people: grouped, aligned, in units that people say. It shows what matters; `--json` has everything. */
import { INVENTORY, POSTGRES_DISCOVERED, POSTGRES_REPLICATION, type Observation, type PostgresDiscovered } from '@tidemark/protocol';
import type { Collected, CollectedSeries } from './collect.ts';
import { HTTP_HEALTH } from '../probes/http.ts';
import { alignRows, bytes, duration, percent, plural, printable } from './wording.ts';

const UNKNOWN = '–';
const NAME_CHARS = 40;

export function collectPage(collected: Collected): string {
  const series = new SeriesIndex(collected.series);
  const sections = [
    heading(collected, series),
    machine(series),
    table('File systems', ['', 'used', 'free', 'size', 'inodes', ''], fileSystems(series), [1, 2, 3, 4]),
    table('Disks', ['', 'read', 'written', 'busy'], disks(series), [1, 2, 3]),
    table('Network', ['', 'in', 'out', 'errors'], network(series), [1, 2, 3]),
    table('Endpoints', ['', 'state', 'time', 'certificate', ''], endpoints(collected.observations, series), [2, 3]),
    ...collected.observations
      .filter(({ kind }) => kind === POSTGRES_REPLICATION)
      .map((observation) => postgres(observation, series, collected.takenAt)),
    discovered(collected.observations),
    probes(collected),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

/** Finds series by metric and labels. */
class SeriesIndex {
  readonly #byMetric = new Map<string, CollectedSeries[]>();
  constructor(series: readonly CollectedSeries[]) {
    for (const one of series) {
      const known = this.#byMetric.get(one.metric);
      if (known === undefined) this.#byMetric.set(one.metric, [one]);
      else known.push(one);
    }
  }
  all(metric: string): readonly CollectedSeries[] {
    return this.#byMetric.get(metric) ?? [];
  }
  find(metric: string, labels: Readonly<Record<string, string>> = {}): CollectedSeries | undefined {
    return this.all(metric).find((one) => Object.entries(labels).every(([label, value]) => one.labels[label] === value));
  }
  value(metric: string, labels?: Readonly<Record<string, string>>): number | undefined {
    const value = this.find(metric, labels)?.value;
    return typeof value === 'number' ? value : undefined;
  }
  rate(metric: string, labels?: Readonly<Record<string, string>>): number | undefined {
    return this.find(metric, labels)?.ratePerSecond;
  }
}

const said = (value: number | undefined, form: (value: number) => string): string => (value === undefined ? UNKNOWN : form(value));
const perSecond = (value: number): string => `${bytes(value)}/s`;
const short = (text: string): string => {
  const clean = printable(text);
  return clean.length <= NAME_CHARS ? clean : `…${clean.slice(1 - NAME_CHARS)}`;
};

function table(title: string, header: readonly string[], rows: readonly (readonly string[])[], right: readonly number[]): string {
  return rows.length === 0
    ? ''
    : alignRows([[title, ...header.slice(1)], ...rows.map(([name = '', ...rest]) => [`  ${name}`, ...rest])], right);
}

function heading({ hostname, takenAt, observations }: Collected, series: SeriesIndex): string {
  const inventory = observations.find(({ kind }) => kind === INVENTORY)?.document as
    | { os?: { name?: string; kernel?: string; architecture?: string } }
    | undefined;
  const system = [inventory?.os?.name, inventory?.os?.kernel, inventory?.os?.architecture].filter((part) => part !== undefined).join(', ');
  const uptime = series.value('tidemark_uptime_seconds');
  const second = [`taken ${new Date(takenAt).toISOString().slice(0, 19)}Z`, uptime === undefined ? '' : `up ${duration(uptime * 1000)}`];
  return [`${printable(hostname)}${system === '' ? '' : `   ${printable(system)}`}`, second.filter((part) => part !== '').join(', ')].join(
    '\n',
  );
}

function machine(series: SeriesIndex): string {
  const rows: string[][] = [];
  const cpus = new Set(series.all('node_cpu_seconds_total').map(({ labels }) => labels['cpu'])).size;
  const loads = ['node_load1', 'node_load5', 'node_load15'].map((name) => series.value(name)).filter((load) => load !== undefined);
  const modes = ['user', 'system', 'iowait', 'steal'].flatMap((mode) => {
    const rates = series
      .all('node_cpu_seconds_total')
      .filter(({ labels, ratePerSecond }) => labels['mode'] === mode && ratePerSecond !== undefined);
    return rates.length === 0 ? [] : [`${mode} ${percent(rates.reduce((sum, one) => sum + one.ratePerSecond!, 0) / rates.length)}`];
  });
  rows.push([
    'CPU',
    said(series.value('tidemark_cpu_usage_ratio'), percent),
    [cpus === 0 ? '' : `of ${plural(cpus, 'CPU')}`, ...modes].filter(Boolean).join(', '),
  ]);
  if (loads.length > 0)
    rows.push([
      'Load',
      loads[0]!.toFixed(2),
      `over a minute; ${loads
        .slice(1)
        .map((load) => load.toFixed(2))
        .join(' and ')} over 5 and 15`,
    ]);
  const total = series.value('node_memory_MemTotal_bytes');
  const available = series.value('node_memory_MemAvailable_bytes');
  rows.push([
    'Memory',
    said(series.value('tidemark_memory_usage_ratio'), percent),
    [said(total, (count) => `of ${bytes(count)}`), said(available, (count) => `${bytes(count)} available`)].join(', '),
  ]);
  const swap = series.value('node_memory_SwapTotal_bytes');
  if (swap !== undefined && swap > 0) rows.push(['Swap', said(series.value('tidemark_swap_usage_ratio'), percent), `of ${bytes(swap)}`]);
  const waiting = ['cpu', 'memory', 'io'].flatMap((what) => {
    const rate = series.rate(`node_pressure_${what}_waiting_seconds_total`);
    return rate === undefined ? [] : [`${percent(rate)} for ${what === 'io' ? 'I/O' : what}`];
  });
  if (waiting.length > 0) rows.push(['Waiting', '', waiting.join(', ')]);
  return alignRows(rows, [1]);
}

function fileSystems(series: SeriesIndex): string[][] {
  return series.all('node_filesystem_device_error').map(({ labels, value }) => {
    const of = (metric: string): number | undefined => series.value(metric, labels);
    const files = of('node_filesystem_files');
    const filesFree = of('node_filesystem_files_free');
    const inodes = files === undefined || filesFree === undefined || files === 0 ? UNKNOWN : percent(1 - filesFree / files);
    const remark = value === 1 ? 'does not answer' : of('node_filesystem_readonly') === 1 ? 'read-only' : '';
    return [
      short(labels['mountpoint'] ?? ''),
      said(of('tidemark_filesystem_usage_ratio'), percent),
      said(of('node_filesystem_avail_bytes'), bytes),
      said(of('node_filesystem_size_bytes'), bytes),
      inodes,
      remark,
    ];
  });
}

/** Those that did anything since the start of the machine. */
function disks(series: SeriesIndex): string[][] {
  return series.all('node_disk_io_time_seconds_total').flatMap(({ labels, value, ratePerSecond }) => {
    if (value === 0) return [];
    const read = series.rate('node_disk_read_bytes_total', labels);
    const written = series.rate('node_disk_written_bytes_total', labels);
    return [
      [
        short(labels['device'] ?? ''),
        said(read, perSecond),
        said(written, perSecond),
        said(ratePerSecond, (ratio) => percent(Math.min(1, ratio))),
      ],
    ];
  });
}

function network(series: SeriesIndex): string[][] {
  return series.all('node_network_receive_bytes_total').flatMap(({ labels, value, ratePerSecond }) => {
    if (value === 0 && series.value('node_network_transmit_bytes_total', labels) === 0) return [];
    const errors = ['receive', 'transmit'].map((way) => series.value(`node_network_${way}_errs_total`, labels) ?? 0);
    const sent = series.rate('node_network_transmit_bytes_total', labels);
    return [[short(labels['device'] ?? ''), said(ratePerSecond, perSecond), said(sent, perSecond), String(errors[0]! + errors[1]!)]];
  });
}

/** What the HTTP probe says of each endpoint, with why it is down. */
function endpoints(observations: readonly Observation[], series: SeriesIndex): string[][] {
  return observations
    .filter(({ kind }) => kind === HTTP_HEALTH)
    .map(({ instance, document }) => {
      const { up, status, failing, detail } = document as { up: boolean; status: string | null; failing: string[]; detail: string | null };
      const labels = { endpoint: instance };
      const state = up ? (status ?? 'up') : 'down';
      const left = series.value('tidemark_http_certificate_expires_seconds', labels);
      return [
        short(instance),
        state,
        said(series.value('tidemark_http_response_seconds', labels), (seconds) => duration(seconds * 1_000)),
        left === undefined ? '' : left < 0 ? 'ended' : duration(left * 1_000),
        printable(detail ?? failing.join(', ')),
      ];
    });
}

/** Servers that nobody watches, with what to run to have them watched. */
function discovered(observations: readonly Observation[]): string {
  const servers = observations
    .filter(({ kind }) => kind === POSTGRES_DISCOVERED)
    .flatMap(({ document }) => (document as PostgresDiscovered).servers);
  const lines = servers.map(({ address, command }) => `  ${printable(address)}: ${printable(command)}`);
  return lines.length === 0 ? '' : ['PostgreSQL found and not watched', ...lines].join('\n');
}

interface ReplicaRow {
  applicationName: string | null;
  clientAddr: string | null;
  state: string | null;
  syncState: string | null;
  sentLsn: string | null;
  writeLsn: string | null;
  flushLsn: string | null;
  replayLsn: string | null;
  bytesBehind: string | null;
}
interface PostgresDocument {
  up: boolean;
  reason: string | null;
  detail: string | null;
  role: string | null;
  version: string | null;
  timeline: number | null;
  startedAt: string | null;
  currentLsn: string | null;
  insufficientPrivilege: boolean;
  replicas: ReplicaRow[];
  receiver: {
    receiveLsn: string | null;
    replayLsn: string | null;
    status: string | null;
    pauseState: string | null;
    senderHost: string | null;
  } | null;
  slots: { name: string; active: boolean | null; walStatus: string | null }[];
}

function postgres({ instance, document }: Observation, series: SeriesIndex, now: number): string {
  const seen = document as PostgresDocument;
  if (!seen.up) return `PostgreSQL ${printable(instance)}   down (${seen.reason ?? 'unknown'}): ${printable(seen.detail ?? '')}`;
  const server = { server: instance };
  const clients = series.all('pg_stat_activity_count').filter(({ labels }) => labels['server'] === instance);
  const used = clients.reduce((sum, { value }) => sum + (typeof value === 'number' ? value : 0), 0);
  const facts = [
    seen.role ?? 'role unknown',
    seen.version ?? '',
    seen.timeline === null ? '' : `timeline ${seen.timeline}`,
    seen.startedAt === null ? '' : `up ${duration(now - Date.parse(seen.startedAt))}`,
    clients.length === 0 ? '' : `${used} of ${said(series.value('pg_settings_max_connections', server), String)} connections`,
    seen.currentLsn === null ? '' : `at ${seen.currentLsn}`,
  ];
  const lines = [`PostgreSQL ${printable(instance)}   ${facts.filter((fact) => fact !== '').join(', ')}`];
  if (seen.insufficientPrivilege)
    lines.push('  The role lacks pg_monitor: what is missing here is unknown, not absent (GRANT pg_monitor TO …).');
  if (seen.replicas.length > 0) lines.push(replicaTable(seen.replicas));
  else if (seen.role === 'primary') lines.push('  no replica is connected');
  if (seen.receiver !== null) lines.push(receiverLine(seen.receiver));
  const idle = seen.slots.filter((slot) => slot.active === false).map((slot) => printable(slot.name));
  if (idle.length > 0) lines.push(`  slots that nobody uses: ${idle.join(', ')}`);
  return lines.join('\n');
}

function replicaTable(replicas: readonly ReplicaRow[]): string {
  const text = (value: string | null): string => (value === null ? UNKNOWN : printable(value));
  const rows = replicas.map((replica) => [
    `  ${short(replica.applicationName ?? UNKNOWN)}`,
    text(replica.clientAddr),
    text(replica.state),
    text(replica.syncState),
    text(replica.sentLsn),
    text(replica.writeLsn),
    text(replica.flushLsn),
    text(replica.replayLsn),
    replica.bytesBehind === null ? UNKNOWN : bytes(Number(replica.bytesBehind)),
  ]);
  return alignRows([['  replica', 'address', 'state', 'sync', 'sent', 'written', 'flushed', 'replayed', 'behind'], ...rows], [8]);
}

function receiverLine(receiver: NonNullable<PostgresDocument['receiver']>): string {
  const paused = receiver.pauseState !== null && receiver.pauseState !== 'not paused' ? `, replay ${receiver.pauseState}` : '';
  const from = receiver.senderHost === null ? '' : ` from ${printable(receiver.senderHost)}`;
  const link = receiver.status === null ? 'receives nothing' : `${receiver.status}${from}`;
  return `  ${link}, received ${receiver.receiveLsn ?? UNKNOWN}, replayed ${receiver.replayLsn ?? UNKNOWN}${paused}`;
}

function probes({ probes: states }: Collected): string {
  const failing = states.filter((state) => !state.success);
  if (failing.length === 0) return `All ${states.length} probes are well.`;
  return `Probes that fail:\n${failing.map(({ name, trouble }) => `  ${name}: ${printable(trouble ?? 'failed')}`).join('\n')}`;
}
