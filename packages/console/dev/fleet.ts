/**
 * A fleet that does not exist, for developing and testing the console: the same seed gives the same nodes, and
 * `at(ms)` gives their figures at a moment without keeping any state, so that two calls can be compared.
 */
import type {
  Inventory,
  NodeDetail,
  Overview,
  OverviewNode,
  PostgresDiscovered,
  PostgresReplication,
  SeriesResponse,
} from '@tidemark/protocol';
import { latestOf, seriesAnswer } from './history.ts';

const GIB = 2 ** 30;
const TIB = 2 ** 40;
const SITES = ['lisbon', 'porto', 'faro', 'madeira'] as const;
const KINDS = ['web', 'app', 'db', 'cache', 'batch', 'mail'] as const;

/** Names and tags that have broken pages before: each must be shown as text and bend nothing. */
export const AWKWARD_NAMES: readonly string[] = [
  '</script><script>alert("tidemark")</script>',
  `O'Brien "the second" <b>bold</b> & co`,
  '🐘 elephant-primary 👩🏽‍💻',
  `long-${'x'.repeat(244)}-end`,
];

/** Random numbers that a seed decides (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const clamp = (value: number): number => Math.min(1, Math.max(0, value));

interface Blueprint {
  name: string;
  site: string;
  tags: Record<string, string>;
  state: OverviewNode['state'];
  silentSinceMs: number | null;
  neverSeen: boolean;
  phase: number;
  cpu: number;
  memory: number;
  memoryBytes: number;
  mounts: { mountpoint: string; sizeBytes: number; ratio: number; readOnly: boolean; deviceError: boolean }[];
  bootedAgoSeconds: number;
  intervalSeconds: number;
  postgres: { instance: string; role: 'primary' | 'replica'; up: boolean; replicas: { name: string; state: string; behind: number }[] }[];
  found: PostgresDiscovered['servers'];
}

function postgresOf(random: () => number, index: number): Blueprint['postgres'] {
  const primary = index % 3 === 0;
  const replicas = primary
    ? Array.from({ length: 1 + Math.floor(random() * 2) }, (_, r) => ({
        name: `10.20.${index % 250}.${11 + r}`,
        state: random() < 0.95 ? 'streaming' : 'catchup',
        behind: random() < 0.9 ? random() * 300_000 : random() * 3e8,
      }))
    : [];
  return [{ instance: 'main', role: primary ? 'primary' : 'replica', up: random() > 0.03, replicas }];
}

function blueprint(random: () => number, index: number, awkward: boolean): Blueprint {
  const kind = KINDS[Math.floor(random() * KINDS.length)] ?? 'web';
  const site = SITES[Math.floor(random() ** 1.6 * SITES.length)] ?? 'lisbon';
  const fate = random();
  const hot = random();
  const mounts = [{ mountpoint: '/', sizeBytes: 64 * GIB, ratio: 0.2 + random() * 0.5, readOnly: false, deviceError: false }];
  if (kind === 'db') {
    const full = hot < 0.04 ? 0.88 + random() * 0.11 : 0.25 + random() * 0.48;
    mounts.push({ mountpoint: '/var/lib/postgresql', sizeBytes: 2 * TIB, ratio: full, readOnly: false, deviceError: false });
  }
  if (hot > 0.992) mounts.push({ mountpoint: '/mnt/share', sizeBytes: 8 * TIB, ratio: 0.4, readOnly: false, deviceError: true });
  const awkwardName = awkward ? AWKWARD_NAMES[index] : undefined;
  return {
    name: awkwardName ?? `${kind}-${site}-${String(index).padStart(4, '0')}`,
    site,
    tags: { env: random() < 0.8 ? 'production' : 'staging', role: kind },
    state: awkwardName !== undefined || fate > 0.006 ? 'approved' : fate > 0.003 ? 'pending' : 'retired',
    silentSinceMs: awkwardName === undefined && fate > 0.996 ? 60_000 + random() * 7_200_000 : null,
    neverSeen: awkwardName === undefined && fate > 0.994 && fate <= 0.996,
    phase: random() * Math.PI * 2,
    cpu: hot < 0.02 ? 0.9 : 0.04 + random() ** 2 * 0.6,
    memory: 0.25 + random() * 0.5,
    memoryBytes: (kind === 'db' ? 128 : 16) * GIB,
    mounts,
    bootedAgoSeconds: 3_600 + random() ** 3 * 200 * 86_400,
    intervalSeconds: 15,
    postgres: kind === 'db' || awkwardName !== undefined ? postgresOf(random, index) : [],
    found: [],
  };
}

const foundServer = (address: string, how: string, url: string): PostgresDiscovered['servers'][number] => ({
  address,
  how,
  watched: false,
  command: `tidemark-agent postgres setup --url '${url}'`,
});
/** By turns: one beside that which is watched, or two where none is. */
const FOUND = {
  beside: [
    foundServer('/var/run/postgresql/.s.PGSQL.5433', 'socket', 'postgresql://postgres@/postgres?host=/var/run/postgresql&port=5433'),
  ],
  alone: [
    foundServer('127.0.0.1:5432', 'port', 'postgresql://postgres@127.0.0.1:5432/postgres'),
    foundServer('127.0.0.1:15432', 'published port', 'postgresql://postgres@127.0.0.1:15432/postgres'),
  ],
};

/** Gives so many nodes that report servers that nobody watches. */
function plant(plans: readonly Blueprint[], nodes: number): void {
  const reporting = plans.filter(({ state, neverSeen, silentSinceMs }) => state === 'approved' && !neverSeen && silentSinceMs === null);
  const withServers = reporting.filter(({ postgres }) => postgres.length > 0);
  const without = reporting.filter(({ postgres }) => postgres.length === 0);
  for (let n = 0; n < nodes; n += 1) {
    const plan = (n % 2 === 0 ? withServers : without)[n >> 1];
    if (plan !== undefined) plan.found = n % 2 === 0 ? FOUND.beside : FOUND.alone;
  }
}

export interface FakeFleetOptions {
  nodes: number;
  seed: number;
  /** The first nodes bear `AWKWARD_NAMES`. */
  awkward?: boolean;
  /** So many nodes have PostgreSQL servers that nobody watches; none, without it. */
  unwatched?: number;
}

export interface FakeFleet {
  /** The fleet's figures at a moment, in milliseconds since 1970. */
  overview(atMs: number): Overview;
  /** One node with all its parts, or undefined when there is none of that name. */
  detail(name: string, atMs: number): NodeDetail | undefined;
  /** Time series of the node that the query names, or undefined when there is none of that name. */
  series(query: URLSearchParams, atMs: number): SeriesResponse | undefined;
}

function nodeAt(plan: Blueprint, atMs: number, startMs: number): OverviewNode {
  const seen = plan.state === 'approved' && !plan.neverSeen;
  const silent = plan.silentSinceMs !== null;
  const seenAtMs = silent ? startMs - (plan.silentSinceMs ?? 0) : atMs - ((atMs + plan.phase * 2_000) % (plan.intervalSeconds * 1_000));
  const turn = Math.sin(atMs / 20_000 + plan.phase);
  const measured = <T>(value: T): T | null => (seen ? value : null);
  const mounts = plan.mounts.map((mount) => ({
    mountpoint: mount.mountpoint,
    usageRatio: mount.deviceError ? null : mount.ratio,
    sizeBytes: mount.deviceError ? null : mount.sizeBytes,
    availableBytes: mount.deviceError ? null : Math.round(mount.sizeBytes * (1 - mount.ratio)),
    readOnly: mount.readOnly,
    deviceError: mount.deviceError,
  }));
  return {
    name: plan.name,
    site: plan.site,
    tags: plan.tags,
    state: plan.state,
    up: seen && !silent,
    lastSeenAt: measured(new Date(seenAtMs).toISOString()),
    clockOffsetSeconds: measured(0.004),
    cpu: { usageRatio: measured(clamp(plan.cpu * (1 + 0.25 * turn))) },
    memory: { usageRatio: measured(clamp(plan.memory + 0.01 * turn)), totalBytes: measured(plan.memoryBytes) },
    disk: {
      usageRatio: measured(Math.max(...mounts.map((mount) => mount.usageRatio ?? 0))),
      mounts: seen ? mounts : [],
    },
    uptimeSeconds: measured(plan.bootedAgoSeconds + (seenAtMs - startMs) / 1_000),
    postgres: seen
      ? plan.postgres.map((server) => ({
          instance: server.instance,
          role: server.up ? server.role : null,
          up: server.up,
          replicas: server.up
            ? server.replicas.map((replica) => ({
                name: replica.name,
                state: replica.state,
                bytesBehind: Math.round(replica.behind * (1 + 0.5 * turn)),
              }))
            : [],
        }))
      : [],
    ...(plan.found.length > 0 && !silent ? { postgresFound: plan.found.length } : {}),
  };
}

function replicationAt(server: OverviewNode['postgres'][number], atMs: number): PostgresReplication {
  const lsn = (back: number): string => `3A/${(0x5c000000 - back).toString(16).toUpperCase()}`;
  return {
    up: server.up === true,
    reason: server.up === true ? null : 'refused',
    detail: server.up === true ? null : 'connect ECONNREFUSED 127.0.0.1:5432',
    role: server.role,
    version: server.up === true ? '17.6' : null,
    versionNumber: server.up === true ? 170_006 : null,
    systemIdentifier: '7425101093324410123',
    timeline: 3,
    serverTime: new Date(atMs).toISOString(),
    startedAt: new Date(atMs - 86_400_000).toISOString(),
    currentLsn: lsn(0),
    insufficientPrivilege: false,
    replicas: server.replicas.map((replica, r) => ({
      pid: 4_000 + r,
      applicationName: `walreceiver_${r}`,
      clientAddr: replica.name,
      state: replica.state,
      syncState: r === 0 ? 'sync' : 'async',
      sentLsn: lsn(0),
      writeLsn: lsn(16),
      flushLsn: lsn(16),
      replayLsn: lsn(Math.min(0x5c000000, replica.bytesBehind ?? 0)),
      bytesBehind: String(replica.bytesBehind ?? 0),
      slotName: `slot_${r}`,
      backendStart: new Date(atMs - 3_600_000).toISOString(),
    })),
    receiver: null,
    slots: [],
  };
}

function inventoryOf(node: OverviewNode, index: number): Inventory {
  return {
    hostname: node.name,
    os: {
      platform: 'linux',
      name: 'Debian GNU/Linux 12 (bookworm)',
      id: 'debian',
      version: '12',
      kernel: '6.1.0-40-amd64',
      architecture: 'x86_64',
    },
    cpu: { model: 'AMD EPYC 7302P 16-Core Processor', cores: 8 },
    memoryTotalBytes: node.memory.totalBytes ?? 0,
    hardware: { vendor: 'QEMU', product: 'Standard PC (Q35 + ICH9, 2009)' },
    virtualisation: { kind: 'vm', technology: 'kvm' },
    addresses: [
      { interface: 'eth0', family: 'IPv4', address: `10.20.${index % 250}.10` },
      { interface: 'eth0', family: 'IPv6', address: `2001:db8:20::${(index + 16).toString(16)}` },
      { interface: 'eth1', family: 'IPv4', address: `10.30.${index % 250}.10` },
    ],
    runtime: { name: 'Node.js', version: '20.20.2' },
    timezone: 'Europe/Lisbon',
  };
}

function detailOf(node: OverviewNode, index: number, { intervalSeconds, found }: Blueprint, atMs: number): NodeDetail {
  return {
    id: index + 1,
    name: node.name,
    site: node.site,
    tags: node.tags,
    state: node.state,
    createdAt: new Date(atMs - 30 * 86_400_000).toISOString(),
    lastSeenAt: node.lastSeenAt,
    agentVersion: '0.1.0',
    intervalSeconds,
    up: node.up,
    lostReports: 0,
    clockOffsetSeconds: node.clockOffsetSeconds,
    latest: latestOf(node, atMs),
    observations:
      node.lastSeenAt === null
        ? []
        : [
            {
              kind: 'inventory',
              version: 1,
              instance: '',
              at: new Date(atMs).toISOString(),
              since: new Date(atMs - 12 * 86_400_000).toISOString(),
              document: inventoryOf(node, index),
            },
            ...node.postgres.map((server) => ({
              kind: 'postgres.replication',
              version: 1,
              instance: server.instance,
              at: new Date(atMs).toISOString(),
              since: new Date(atMs - 60_000).toISOString(),
              document: replicationAt(server, atMs),
            })),
            {
              kind: 'postgres.discovered',
              version: 1,
              instance: '',
              at: new Date(atMs - 200_000).toISOString(),
              since: new Date(atMs - 7_200_000).toISOString(),
              document: { servers: found },
            },
          ],
  };
}

/** Makes a fleet. `startMs` is the moment at which the silent nodes' silence is counted. */
export function fakeFleet(options: FakeFleetOptions, startMs: number): FakeFleet {
  const random = seeded(options.seed);
  const plans = Array.from({ length: options.nodes }, (_, index) => blueprint(random, index, options.awkward === true));
  plant(plans, options.unwatched ?? 0);
  return {
    overview: (atMs) => ({ at: new Date(atMs).toISOString(), nodes: plans.map((plan) => nodeAt(plan, atMs, startMs)) }),
    detail(name, atMs) {
      const index = plans.findIndex((plan) => plan.name === name);
      const plan = plans[index];
      return plan === undefined ? undefined : detailOf(nodeAt(plan, atMs, startMs), index, plan, atMs);
    },
    series(query, atMs) {
      const plan = plans.find(({ name }) => name === query.get('node'));
      return plan === undefined ? undefined : seriesAnswer({ query, node: nodeAt(plan, atMs, startMs), nowMs: startMs });
    },
  };
}
