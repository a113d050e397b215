/** What a machine is, and what its agent looks at: which probes work, what they found, and what is not there. */
import type { Inventory, NodeDetail } from '@tidemark/protocol';
import type { ComponentChildren, JSX } from 'preact';
import { formatValue } from '../chart/units.ts';
import { NOTHING, countOf, formatBytes } from '../format/quantities.ts';
import { Clock } from '../look/moment.tsx';
import { WarningShape } from '../look/symbols.tsx';

type Latest = NodeDetail['latest'];

/** Documents are only checked for what is read here: a later agent may send more. */
function isInventory(document: unknown): document is Inventory {
  if (typeof document !== 'object' || document === null) return false;
  const parts = ['os', 'cpu', 'hardware', 'virtualisation', 'runtime', 'addresses'];
  return parts.every((part) => typeof document[part as keyof typeof document] === 'object');
}

/** The inventory of a node; null when its agent has not sent one. */
export function inventoryOf(observations: NodeDetail['observations']): { inventory: Inventory; since: string } | null {
  const seen = observations.find(({ kind }) => kind === 'inventory');
  return seen !== undefined && isInventory(seen.document) ? { inventory: seen.document, since: seen.since } : null;
}

function Line({ label, children }: { label: string; children: ComponentChildren }): JSX.Element {
  return (
    <div class="detail-line">
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

const VIRTUAL: Record<Inventory['virtualisation']['kind'], string> = {
  none: 'physical machine',
  vm: 'virtual machine',
  container: 'container',
  unknown: 'not known whether virtual',
};

export function Machine({ observations }: { observations: NodeDetail['observations'] }): JSX.Element {
  const found = inventoryOf(observations);
  if (found === null) return <p class="muted">The agent has not sent an inventory.</p>;
  const { os, cpu, hardware, virtualisation, addresses, runtime, timezone, hostname, memoryTotalBytes } = found.inventory;
  const make = [hardware.vendor, hardware.product].filter((part) => part !== null).join(' ');
  return (
    <dl class="details">
      <Line label="Host name">{hostname}</Line>
      <Line label="System">
        {os.name}{' '}
        <span class="muted">
          · kernel {os.kernel} · {os.architecture}
        </span>
      </Line>
      <Line label="CPU">
        {countOf(cpu.cores, 'core')} <span class="muted">{cpu.model === null ? '' : `· ${cpu.model}`}</span>
      </Line>
      <Line label="Memory">{formatBytes(memoryTotalBytes)}</Line>
      <Line label="Hardware">
        {make === '' ? NOTHING : make}{' '}
        <span class="muted">
          · {VIRTUAL[virtualisation.kind] ?? NOTHING}
          {virtualisation.technology === null ? '' : `, ${virtualisation.technology}`}
        </span>
      </Line>
      <Line label="Addresses">
        <ul class="addresses">
          {addresses.map((each) => (
            <li key={`${each.interface} ${each.address}`}>
              <span class="code">{each.address}</span> <span class="muted">{each.interface}</span>
            </li>
          ))}
          {addresses.length === 0 ? <li class="muted">none but local ones</li> : null}
        </ul>
      </Line>
      <Line label="Agent runs on">
        {runtime.name} {runtime.version} <span class="muted">· {timezone}</span>
      </Line>
      <Line label="Unchanged since">
        <Clock atMs={Date.parse(found.since)} />
      </Line>
    </dl>
  );
}

interface ProbeSeen {
  name: string;
  works: boolean | null;
  tookSeconds: number | null;
}

/** The probes of a last report: which ran well, and how long they took. */
export function probesOf(latest: Latest): ProbeSeen[] {
  const read = (metric: string): Map<string, number | null> =>
    new Map(
      latest
        .filter((series) => series.metric === metric)
        .map(({ labels, value }) => [labels.find(([key]) => key === 'probe')?.[1] ?? '', typeof value === 'number' ? value : null]),
    );
  const took = read('tidemark_probe_duration_seconds');
  return [...read('tidemark_probe_success')]
    .map(([name, value]) => ({ name, works: value === null ? null : value === 1, tookSeconds: took.get(name) ?? null }))
    .toSorted((a, b) => Number(a.works ?? false) - Number(b.works ?? false) || a.name.localeCompare(b.name));
}

const FOUND: readonly [metric: string, label: string, one: string, many: string][] = [
  ['node_filesystem_size_bytes', 'mountpoint', 'file system', 'file systems'],
  ['node_disk_read_bytes_total', 'device', 'disk', 'disks'],
  ['node_network_receive_bytes_total', 'device', 'network interface', 'network interfaces'],
  ['pg_up', 'server', 'PostgreSQL server', 'PostgreSQL servers'],
  ['tidemark_http_up', 'endpoint', 'HTTP endpoint', 'HTTP endpoints'],
];

/** What the agent found, by its names: "disks: vda, vdb". */
export function foundOf(latest: Latest): { title: string; names: string[] }[] {
  return FOUND.flatMap(([metric, label, one, many]) => {
    const names = [
      ...new Set(
        latest.flatMap((series) =>
          series.metric === metric ? series.labels.flatMap(([key, value]) => (key === label ? [value] : [])) : [],
        ),
      ),
    ];
    return names.length === 0 ? [] : [{ title: countOf(names.length, one, many), names }];
  });
}

export function Watched({ latest, missing }: { latest: Latest; missing: readonly string[] }): JSX.Element {
  const probes = probesOf(latest);
  const failing = probes.filter(({ works }) => works === false);
  return (
    <dl class="details">
      <Line label="Probes">
        {failing.length > 0 ? (
          <p class="bad">
            <WarningShape /> {failing.map(({ name }) => name).join(', ')} {failing.length === 1 ? 'fails' : 'fail'}: the agent's log says
            why.
          </p>
        ) : null}
        <ul class="probes">
          {probes.map(({ name, works, tookSeconds }) => (
            <li
              key={name}
              class={works === false ? 'bad' : undefined}
              title={works === false ? 'failed or hung at its last run' : 'ran well'}
            >
              {name} <span class="muted">{tookSeconds === null ? '' : formatValue(tookSeconds, 'seconds')}</span>
              <span class="unseen">{works === false ? ' failed' : works === null ? ' has not run' : ' ran well'}</span>
            </li>
          ))}
          {probes.length === 0 ? <li class="muted">The agent does not say.</li> : null}
        </ul>
      </Line>
      {foundOf(latest).map(({ title, names }) => (
        <Line key={title} label={title}>
          <span class="code found-names">{names.join('  ')}</span>
        </Line>
      ))}
      <Line label="Series">{countOf(latest.length, 'series', 'series')} in the last report</Line>
      {missing.length === 0 ? null : (
        <Line label="Not measured here">
          {missing.join(', ')}
          <span class="muted"> — not set up in the agent, or not told by this system.</span>
        </Line>
      )}
    </dl>
  );
}
