/** A cluster made by hand for the tests of changes: servers that report every few seconds, what topology and figures would say of them, and looks at it. */
import { formatLsn, type PostgresReplication } from '@tidemark/protocol';
import { changesOf } from './changes.ts';
import { settings } from './figures-testing.ts';
import type {
  ChangeMemory,
  ClusterFigures,
  ClusterTopology,
  InstanceId,
  Member,
  PrimaryVerdict,
  ReplicationChange,
  Sighting,
  SlotFigures,
  SplitBrain,
} from './model.ts';

export const START = Date.UTC(2026, 5, 1, 12);
export const INTERVAL_MS = 5_000;
export const SYSTEM = '7300000000000000001';
/** How long a report takes to arrive. */
const TRAVEL_MS = 200;
const SEGMENT = 0x0300_0000n;

export type Slot = PostgresReplication['slots'][number];

/** One server, as a test sets it. */
export interface Server {
  name: string;
  role: 'primary' | 'replica';
  up: boolean;
  silent: boolean;
  /** No agent: known from its upstream alone. */
  watched: boolean;
  intervalMs: number;
  timeline: number;
  lsn: bigint;
  recoveryEnd: bigint | undefined;
  upstream: string | undefined;
  connected: boolean;
  lastMessageAgoMs: number;
  diverged: Member['diverged'];
  slots: Slot[];
  archiver: NonNullable<PostgresReplication['archiver']> | null;
  reason: string | null;
  detail: string | null;
  /** Of the newest report, of the newest one while it was up. */
  reportedAt: number;
  upAt: number | undefined;
  /** Of this run of the server. */
  startedAt: number;
  address: string;
  document: PostgresReplication | undefined;
}

export const slot = (name: string, more: Partial<Slot> = {}): Slot => ({
  name,
  type: 'physical',
  active: true,
  restartLsn: '0/3000000',
  confirmedFlushLsn: null,
  walStatus: 'reserved',
  ...more,
});

export const idOf = (name: string): InstanceId => `1/${name}`;

export class World {
  now = START;
  memory: ChangeMemory | undefined;
  /** Everything that was ever said, in order. */
  readonly said: ReplicationChange[] = [];
  readonly servers = new Map<string, Server>();
  readonly clones = new Set<string>();
  /** Where it is not the name. */
  readonly applicationNames = new Map<string, string>();
  splitBrain: SplitBrain | undefined;
  synchronous: ClusterFigures['synchronous'];
  /** synchronous_standby_names of everyone, as their agents read it; undefined: not read. */
  standbyNames: string | undefined;
  rpoBytes: number | undefined = 0;
  slotFigures: SlotFigures[] = [];
  /** What is kept of the memory between two looks: as a database would. */
  keep: (memory: ChangeMemory) => ChangeMemory = (memory) => JSON.parse(JSON.stringify(memory)) as ChangeMemory;

  /** Adds one that is up; a replica streams from `upstream`. */
  add(name: string, more: Partial<Server> = {}): Server {
    const server: Server = {
      name,
      role: more.upstream === undefined ? 'primary' : 'replica',
      up: true,
      silent: false,
      watched: true,
      intervalMs: INTERVAL_MS,
      timeline: 1,
      lsn: SEGMENT,
      recoveryEnd: undefined,
      upstream: undefined,
      connected: more.upstream !== undefined,
      lastMessageAgoMs: 100,
      diverged: undefined,
      slots: [],
      archiver: null,
      reason: null,
      detail: null,
      reportedAt: this.now,
      upAt: undefined,
      startedAt: this.now - 86_400_000,
      address: `10.0.0.${this.servers.size + 1}`,
      document: undefined,
      ...more,
    };
    this.servers.set(name, server);
    return server;
  }

  server(name: string): Server {
    return this.servers.get(name)!;
  }

  /** Changes a server; what its agent says of it follows with its next report. */
  set(name: string, more: Partial<Server>): void {
    Object.assign(this.server(name), more);
  }

  /** It ends, and whoever streamed from it loses it. */
  stop(name: string, how: { reason?: string; detail?: string } = {}): void {
    this.set(name, { up: false, reason: how.reason ?? 'refused', detail: how.detail ?? null, connected: false });
    for (const other of this.servers.values()) if (other.upstream === name) other.connected = false;
  }

  /** It starts again, as what it was or as told. */
  start(name: string, more: Partial<Server> = {}): void {
    this.set(name, { up: true, reason: null, detail: null, startedAt: this.now, recoveryEnd: undefined, ...more });
  }

  promote(name: string, timeline = this.server(name).timeline + 1): void {
    const server = this.server(name);
    this.set(name, { role: 'primary', timeline, recoveryEnd: server.lsn, upstream: undefined, connected: false, lsn: server.lsn + 100n });
  }

  follow(name: string, upstream: string, more: Partial<Server> = {}): void {
    const { timeline, lsn } = this.server(upstream);
    this.start(name, {
      role: 'replica',
      upstream,
      connected: true,
      timeline,
      lsn,
      ...more,
    });
  }

  /** Time passes, everyone reports, and the cluster is looked at. Returns what was said. */
  step(ms = INTERVAL_MS): ReplicationChange[] {
    this.now += ms;
    for (const server of this.servers.values()) if (!server.silent && server.watched) this.report(server);
    return this.look();
  }

  /** Several steps. */
  steps(count: number, ms = INTERVAL_MS): ReplicationChange[] {
    return Array.from({ length: count }, () => this.step(ms)).flat();
  }

  report(server: Server): void {
    server.reportedAt = this.now - TRAVEL_MS;
    if (!server.up) return;
    server.upAt = server.reportedAt;
    server.document = this.#document(server);
  }

  look(): ReplicationChange[] {
    const figures: ClusterFigures = {
      members: new Map(),
      slots: this.slotFigures,
      rpoBytes: this.rpoBytes,
      synchronous: this.synchronous,
    };
    const { memory, changes } = changesOf(this.memory, this.topology(), figures, this.now);
    this.memory = this.keep(memory);
    this.said.push(...changes);
    return [...changes];
  }

  topology(): ClusterTopology {
    const members = [...this.servers.values()].filter((server) => server.watched || server.connected).map((server) => this.#member(server));
    return {
      systemIdentifier: SYSTEM,
      name: 'shop',
      members: members.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      primary: this.#verdict(members),
      splitBrain: this.splitBrain,
      clones: [...this.clones].map(idOf),
      primaryEvidenceAt: this.#evidenceAt(),
    };
  }

  #applicationName(name: string): string {
    return this.applicationNames.get(name) ?? name;
  }

  #verdict(members: readonly Member[]): PrimaryVerdict {
    const primaries = members.filter(({ id, role }) => role === 'primary' && ![...this.clones].map(idOf).includes(id));
    const current = primaries.filter(({ roleIsCurrent }) => roleIsCurrent);
    if (current.length > 1) return { id: undefined, certainty: 'disputed', why: '' };
    const id = current[0]?.id ?? primaries[0]?.id;
    return { id, certainty: current.length === 1 ? 'sure' : id === undefined ? 'unknown' : 'likely', why: '' };
  }

  #evidenceAt(): number | undefined {
    const times = [...this.servers.values()].flatMap((server) => {
      if (this.clones.has(server.name) || server.document === undefined) return [];
      const heard = server.document.receiver?.status === 'streaming' && this.servers.get(server.upstream ?? '')?.role === 'primary';
      if (server.document.role === 'primary') return server.upAt!;
      return heard ? server.upAt! - server.document.receiver!.lastMessageAgoMs! : [];
    });
    return times.length === 0 ? undefined : Math.max(...times);
  }

  #member(server: Server): Member {
    const upstream = this.servers.get(server.upstream ?? '');
    const seen =
      upstream?.document?.replicas.findIndex(({ applicationName }) => applicationName === this.#applicationName(server.name)) ?? -1;
    const isCurrent = server.watched ? server.up && !server.silent : true;
    const role = server.watched ? (server.document?.role ?? 'unknown') : server.role;
    return {
      id: idOf(server.name),
      name: server.name,
      sighting: server.watched ? this.sightingOf(server) : undefined,
      seenBy: seen === -1 || upstream === undefined || !upstream.up ? undefined : { upstream: idOf(upstream.name), replica: seen },
      role,
      roleIsCurrent: isCurrent,
      timeline: server.document?.timeline ?? undefined,
      upstream:
        server.upstream === undefined || role === 'primary'
          ? undefined
          : { id: idOf(server.upstream), by: 'slot', address: undefined, connected: server.connected && (!server.watched || server.up) },
      root: undefined,
      slotUsers: new Map(),
      diverged: server.diverged,
    };
  }

  sightingOf(server: Server): Sighting {
    const down: PostgresReplication = { ...this.#document(server), up: false, reason: server.reason, detail: server.detail, role: null };
    const { document, upAt, reportedAt, silent, intervalMs, name } = server;
    const newest = document !== undefined && upAt === reportedAt ? document : down;
    return {
      id: idOf(name),
      nodeId: Number(server.address.split('.')[3]),
      nodeName: name,
      site: 'here',
      instance: name,
      reportedAt,
      intervalMs,
      silent,
      newest,
      document,
      upAt,
      settings: this.standbyNames === undefined ? undefined : settings([`synchronous_standby_names=${this.standbyNames}`]),
    };
  }

  #document(server: Server): PostgresReplication {
    const isPrimary = server.role === 'primary';
    const at = formatLsn(server.lsn);
    const upstream = this.servers.get(server.upstream ?? '');
    return {
      up: true,
      reason: null,
      detail: null,
      role: server.role,
      version: '18.0',
      versionNumber: 180_000,
      systemIdentifier: SYSTEM,
      timeline: server.timeline,
      serverTime: new Date(this.now).toISOString(),
      startedAt: new Date(server.startedAt).toISOString(),
      currentLsn: isPrimary ? at : null,
      flushLsn: isPrimary ? at : null,
      recoveryEndLsn: server.recoveryEnd === undefined ? null : formatLsn(server.recoveryEnd),
      insufficientPrivilege: false,
      replicas: [...this.servers.values()]
        .filter(({ upstream: of, connected }) => of === server.name && connected)
        .map((replica) => replicaRow(replica, this.#applicationName(replica.name))),
      receiver: isPrimary
        ? null
        : {
            receiveLsn: at,
            replayLsn: at,
            lastReplayedTransactionAt: null,
            pauseState: 'not paused',
            status: server.connected ? 'streaming' : null,
            senderHost: upstream?.address ?? null,
            senderPort: 5432,
            slotName: null,
            receivedTimeline: server.timeline,
            latestEndLsn: server.connected && upstream !== undefined ? formatLsn(upstream.lsn) : null,
            latestEndTime: null,
            lastMessageAgoMs: server.connected ? server.lastMessageAgoMs : null,
          },
      machine: { hostname: server.name, addresses: [server.address], port: 5432 },
      slots: [...server.slots],
      archiver: server.archiver,
    };
  }
}

const replicaRow = ({ address, startedAt }: Server, applicationName: string): PostgresReplication['replicas'][number] => ({
  pid: 1,
  applicationName,
  clientAddr: address,
  state: 'streaming',
  syncState: 'async',
  sentLsn: null,
  writeLsn: null,
  flushLsn: null,
  replayLsn: null,
  bytesBehind: '0',
  slotName: null,
  backendStart: new Date(startedAt).toISOString(),
});

/** A→B→C and D off A, seen for long enough that nothing is new any more. */
export function usualWorld(): World {
  const world = new World();
  world.add('a', { lsn: SEGMENT + 0x1000n });
  world.add('b', { upstream: 'a', lsn: SEGMENT + 0x1000n });
  world.add('c', { upstream: 'b', lsn: SEGMENT + 0x1000n });
  world.add('d', { upstream: 'a', lsn: SEGMENT + 0x1000n });
  world.steps(20);
  return world;
}

/** What was said, by kind. */
export const kinds = (changes: readonly ReplicationChange[]): string[] => changes.map(({ kind }) => kind);

/** The one of its kind that was said. */
export function only(changes: readonly ReplicationChange[], kind: string): ReplicationChange {
  const found = changes.filter((change) => change.kind === kind);
  if (found.length !== 1) throw new Error(`${kind} was said ${found.length} times among ${kinds(changes).join(', ')}`);
  return found[0]!;
}
