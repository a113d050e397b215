/**
 * The fleet at a glance, out of the live view alone. What is not known is null, and nothing of a silent
 * node is shown as if it were now; its PostgreSQL servers stay listed with the role they last had.
 */
import {
  HEADLINE,
  POSTGRES_DISCOVERED,
  POSTGRES_REPLICATION,
  type Overview,
  type OverviewNode,
  type PostgresReplication,
} from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { NodeRecord } from '../fleet/node.ts';
import type { BlockLayout } from '../stream/stream.ts';
import type { LiveBlock, LiveNode, LiveView } from './live-view.ts';
import type { Fleet } from './metrics-page.ts';

type OverviewMount = OverviewNode['disk']['mounts'][number];
type OverviewPostgres = OverviewNode['postgres'][number];

/** How long a written overview serves everyone who asks. */
const FRESH_MS = 1_000;
/** File systems that live on another machine: how full they are is that machine's headline. */
const REMOTE_FILESYSTEM = /^(nfs4?|cifs|smb3|smbfs|afs|ceph|9p|glusterfs|lustre|gpfs|beegfs|ocfs2|gfs2|fuse\..*)$/;

interface MountPositions {
  readonly mountpoint: string;
  readonly remote: boolean;
  usageRatio?: number;
  sizeBytes?: number;
  availableBytes?: number;
  readOnly?: number;
  deviceError?: number;
}

/** Where the headline figures lie in a block. */
interface Headline {
  cpuUsageRatio?: number;
  memoryUsageRatio?: number;
  memoryTotalBytes?: number;
  uptimeSeconds?: number;
  postgresUp?: number;
  readonly mounts: MountPositions[];
}

const MOUNT_METRICS: ReadonlyMap<string, Exclude<keyof MountPositions, 'mountpoint' | 'remote'>> = new Map([
  [HEADLINE.filesystemUsageRatio, 'usageRatio'],
  [HEADLINE.filesystemSizeBytes, 'sizeBytes'],
  [HEADLINE.filesystemAvailableBytes, 'availableBytes'],
  [HEADLINE.filesystemReadOnly, 'readOnly'],
  [HEADLINE.filesystemDeviceError, 'deviceError'],
]);
const FIGURES: ReadonlyMap<string, Exclude<keyof Headline, 'mounts'>> = new Map([
  [HEADLINE.cpuUsageRatio, 'cpuUsageRatio'],
  [HEADLINE.memoryUsageRatio, 'memoryUsageRatio'],
  [HEADLINE.memoryTotalBytes, 'memoryTotalBytes'],
  [HEADLINE.uptimeSeconds, 'uptimeSeconds'],
  [HEADLINE.postgresUp, 'postgresUp'],
]);

export class FleetOverview {
  readonly #view: LiveView;
  readonly #fleet: Fleet;
  readonly #clock: Clock;
  readonly #headlines = new WeakMap<BlockLayout, Headline>();
  #written: { json: string; atMs: number } | undefined;

  constructor(view: LiveView, fleet: Fleet, clock: Clock) {
    this.#view = view;
    this.#fleet = fleet;
    this.#clock = clock;
  }

  /** The overview as JSON, at most a second old. */
  json(): string {
    const now = this.#clock.monotonicMs();
    if (this.#written === undefined || now - this.#written.atMs >= FRESH_MS) {
      this.#written = { json: JSON.stringify(this.now()), atMs: now };
    }
    return this.#written.json;
  }

  now(): Overview {
    const nodes: OverviewNode[] = [];
    for (const record of this.#fleet.all()) if (record.state !== 'retired') nodes.push(this.row(record));
    nodes.sort((a, b) => (a.name < b.name ? -1 : 1));
    return { at: new Date(this.#clock.wallMs()).toISOString(), nodes };
  }

  isUp(record: NodeRecord): boolean {
    return isUp(this.#view, record);
  }

  /** One node's line of the overview. */
  row(record: NodeRecord): OverviewNode {
    const live = this.#view.node(record.id);
    const isCurrent = live !== undefined && this.#view.isCurrent(live);
    const figures = this.#figures(isCurrent ? live.blocks : []);
    const postgresFound = isCurrent ? foundCount(live) : 0;
    return {
      name: record.name,
      site: record.site,
      tags: record.tags,
      state: record.state,
      up: this.isUp(record),
      lastSeenAt: isoTime(live?.lastSeenAt),
      clockOffsetSeconds: live?.agentAheadMs === undefined ? null : live.agentAheadMs / 1_000,
      cpu: { usageRatio: figures.cpuUsageRatio ?? null },
      memory: { usageRatio: figures.memoryUsageRatio ?? null, totalBytes: figures.memoryTotalBytes ?? null },
      disk: { usageRatio: figures.diskUsageRatio, mounts: figures.mounts },
      uptimeSeconds: figures.uptimeSeconds ?? null,
      postgres: live === undefined ? [] : this.#postgres(live, isCurrent),
      ...(postgresFound > 0 ? { postgresFound } : {}),
      ...(record.claim ? { claim: record.claim } : {}),
    };
  }

  #figures(blocks: readonly LiveBlock[]): Partial<Record<Exclude<keyof Headline, 'mounts'>, number | null>> & {
    diskUsageRatio: number | null;
    mounts: OverviewMount[];
  } {
    const figures: Partial<Record<Exclude<keyof Headline, 'mounts'>, number | null>> = {};
    const mounts: OverviewMount[] = [];
    let diskUsageRatio: number | null = null;
    for (const block of blocks) {
      const headline = this.#headline(block.layout);
      for (const key of FIGURES.values()) if (headline[key] !== undefined) figures[key] ??= valueAt(block, headline[key]);
      for (const mount of headline.mounts) {
        const usageRatio = valueAt(block, mount.usageRatio);
        const readOnly = flagAt(block, mount.readOnly);
        mounts.push({
          mountpoint: mount.mountpoint,
          usageRatio,
          sizeBytes: valueAt(block, mount.sizeBytes),
          availableBytes: valueAt(block, mount.availableBytes),
          readOnly,
          deviceError: flagAt(block, mount.deviceError),
        });
        // A read-only file system (an ISO image, a snap) is always full and cannot get fuller.
        if (usageRatio !== null && !mount.remote && readOnly !== true) diskUsageRatio = Math.max(diskUsageRatio ?? 0, usageRatio);
      }
    }
    return { ...figures, diskUsageRatio, mounts };
  }

  #postgres(live: LiveNode, isCurrent: boolean): OverviewPostgres[] {
    const upBlocks = new Map<string, LiveBlock>();
    for (const block of live.blocks) if (this.#headline(block.layout).postgresUp !== undefined) upBlocks.set(block.layout.instance, block);
    const servers: OverviewPostgres[] = [];
    for (const seen of live.observations) {
      const { kind, instance, document } = seen.observation;
      if (kind !== POSTGRES_REPLICATION) continue;
      const upBlock = upBlocks.get(instance);
      // Known from the store alone, it may be of a server that nobody watches any more.
      if (seen.restored && upBlock === undefined) continue;
      upBlocks.delete(instance);
      const server = postgresFrom(instance, document);
      if (!isCurrent) servers.push({ ...server, up: null, replicas: [] });
      else if (upBlock !== undefined && upBlock.at > seen.at) servers.push(withUp(server, this.#postgresUp(upBlock)));
      else servers.push(server);
    }
    for (const [instance, block] of upBlocks) {
      servers.push({ instance, role: null, up: isCurrent ? this.#postgresUp(block) : null, replicas: [] });
    }
    return servers.toSorted((a, b) => (a.instance < b.instance ? -1 : 1));
  }

  #postgresUp(block: LiveBlock): boolean | null {
    return flagAt(block, this.#headline(block.layout).postgresUp);
  }

  #headline(layout: BlockLayout): Headline {
    let headline = this.#headlines.get(layout);
    if (headline === undefined) this.#headlines.set(layout, (headline = findHeadline(layout)));
    return headline;
  }
}

/** Whether to call it up: while nobody knows yet, the benefit of the doubt for those that were ever heard. */
export function isUp(view: LiveView, record: NodeRecord): boolean {
  const liveness = view.liveness(record);
  return liveness === 'up' || (liveness === 'unknown' && view.node(record.id)?.lastSeenAt !== undefined);
}

export function isoTime(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}

function findHeadline(layout: BlockLayout): Headline {
  const headline: Headline = { mounts: [] };
  const mounts = new Map<string, MountPositions>();
  layout.series.forEach(({ metric, labels }, position) => {
    const figure = FIGURES.get(metric);
    if (figure !== undefined) headline[figure] ??= position;
    const mountMetric = MOUNT_METRICS.get(metric);
    if (mountMetric === undefined) return;
    const label = (name: string): string => labels.find(([known]) => known === name)?.[1] ?? '';
    const mountpoint = label('mountpoint');
    let mount = mounts.get(mountpoint);
    if (mount === undefined) mounts.set(mountpoint, (mount = { mountpoint, remote: REMOTE_FILESYSTEM.test(label('fstype')) }));
    mount[mountMetric] ??= position;
  });
  headline.mounts.push(...mounts.values());
  return headline;
}

/** JSON has no number for NaN and the infinities; as a headline they say no more than "not known". */
function valueAt(block: LiveBlock, position: number | undefined): number | null {
  const value = position === undefined ? null : block.values[position];
  return value === null || value === undefined || !Number.isFinite(value) ? null : value;
}

function flagAt(block: LiveBlock, position: number | undefined): boolean | null {
  const value = valueAt(block, position);
  return value === null ? null : value !== 0;
}

/** A server that does not answer has no replicas that anybody can see. */
function withUp(server: OverviewPostgres, up: boolean | null): OverviewPostgres {
  return up === server.up ? server : { ...server, up, replicas: up === true ? server.replicas : [] };
}

/** How many servers were found that nobody watches; 0 also of a document that has not the known form. */
function foundCount({ observations }: LiveNode): number {
  const document = observations.find(({ observation }) => observation.kind === POSTGRES_DISCOVERED)?.observation.document;
  if (typeof document !== 'object' || document === null || !('servers' in document) || !Array.isArray(document.servers)) return 0;
  return document.servers.filter((server: { watched?: unknown } | null) => server?.watched === false).length;
}

/** Reads a document that any version of an agent may have written: what has not the known form is not known. */
function postgresFrom(instance: string, document: unknown): OverviewPostgres {
  const seen = (typeof document === 'object' && document !== null ? document : {}) as Partial<PostgresReplication>;
  const replicas = Array.isArray(seen.replicas) ? seen.replicas.filter((replica) => typeof replica === 'object' && replica !== null) : [];
  return {
    instance,
    role: seen.role === 'primary' || seen.role === 'replica' ? seen.role : null,
    up: typeof seen.up === 'boolean' ? seen.up : null,
    replicas: replicas.map((replica) => ({
      name: text(replica.applicationName) ?? text(replica.clientAddr) ?? text(replica.slotName) ?? `process ${replica.pid ?? 'unknown'}`,
      state: text(replica.state) ?? 'unknown',
      bytesBehind: bytesFrom(replica.bytesBehind),
    })),
  };
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function bytesFrom(value: unknown): number | null {
  const bytes = typeof value === 'string' && value !== '' ? Number(value) : value;
  return typeof bytes === 'number' && Number.isFinite(bytes) ? bytes : null;
}
