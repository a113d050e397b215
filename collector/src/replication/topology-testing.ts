/**
 * A small world of PostgreSQL servers for tests of topology: they stream, are promoted, stop and come back by the rules of
 * PostgreSQL, and their agents report documents as the real ones do. What is true of it is known, so that what topology
 * says can be held against it.
 */
import { formatLsn, type PostgresReplication, type PostgresSettings, type ReplicaView } from '@tidemark/protocol';
import type { ClusterTopology, InstanceId, MemberMemory, Sighting } from './model.ts';
import { clusterTopology } from './topology.ts';

export const SYSTEM_IDENTIFIER = '7500000000000000001';
export const START = Date.parse('2026-11-21T00:00:00Z');

export interface ServerOptions {
  /** Name of its machine; its own unless told. */
  readonly host?: string;
  readonly addresses?: readonly string[];
  readonly port?: number;
  readonly clusterName?: string;
  readonly intervalMs?: number;
  /** Default: the cluster's name, or walreceiver. */
  readonly applicationName?: string;
  readonly site?: string;
  readonly node?: { readonly id: number; readonly name: string };
  readonly instance?: string;
  /** Its own clock is ahead by so much. */
  readonly clockMs?: number;
}

export interface FollowOptions {
  readonly slot?: string;
  /** What it connects to; the upstream's first address and its port unless told. */
  readonly via?: string;
  readonly viaPort?: number;
  /** What the upstream sees it come from; its own first address unless told; null: a socket. */
  readonly seenAs?: string | null;
}

/** A server; tests may set anything of it. */
export class Server {
  readonly name: string;
  readonly node: { readonly id: number; readonly name: string };
  options: ServerOptions;
  running = true;
  role: 'primary' | 'replica' = 'primary';
  timeline = 1;
  /** Where each timeline of its history ended, in truth. */
  history: { readonly timeline: number; readonly at: bigint; readonly by: string }[] = [];
  lsn = 0x3000000n;
  recoveryEnd: bigint | undefined;
  startedAt: number;
  /** As it says it: it stays the same as long as it runs, whatever its clock does. */
  upstream: Server | undefined;
  follows: FollowOptions = {};
  connected = false;
  connectedAt = 0;
  heardAt = 0;
  senderPid = 0;
  slots = new Set<string>();
  strangers: ReplicaView[] = [];
  subscriptions: PostgresReplication['subscriptions'];
  privileged = true;
  /** Documents lack what the first agents did not say. */
  isOld = false;
  /** Its agent says when its receiver began. */
  tellsReceiverStart = false;
  /** No agent, or one that is not heard. */
  agent = true;
  sighting: Sighting | undefined;

  constructor(name: string, node: number, startedAt: number, options: ServerOptions) {
    this.name = name;
    this.node = options.node ?? { id: node, name };
    this.startedAt = startedAt;
    this.options = options;
  }

  get id(): InstanceId {
    return `${this.node.id}/${this.instance}`;
  }
  get instance(): string {
    return this.options.instance ?? 'main';
  }
  get port(): number {
    return this.options.port ?? 5432;
  }
  get host(): string {
    return this.options.host ?? this.name;
  }
  get addresses(): readonly string[] {
    return this.options.addresses ?? [`10.0.0.${this.node.id}`];
  }
  get applicationName(): string {
    return this.options.applicationName ?? this.options.clusterName ?? 'walreceiver';
  }
}

export class World {
  now = START;
  memory: Readonly<Record<InstanceId, MemberMemory>> = {};
  readonly servers = new Map<string, Server>();
  #pids = 1000;

  add(name: string, options: ServerOptions = {}): Server {
    const server = new Server(name, this.servers.size + 1, this.now - 3_600_000, options);
    this.servers.set(name, server);
    return server;
  }

  /** A standby that streams, unless its history does not allow it. */
  standby(name: string, upstream: Server, follow: FollowOptions = {}, options: ServerOptions = {}): Server {
    const server = this.add(name, options);
    Object.assign(server, { role: 'replica', timeline: upstream.timeline, history: [...upstream.history], lsn: upstream.lsn });
    this.follow(server, upstream, follow);
    return server;
  }

  follow(server: Server, upstream: Server | undefined, follow: FollowOptions = {}): void {
    server.connected = false;
    server.upstream = upstream;
    server.follows = follow;
    if (upstream !== undefined && follow.slot !== undefined) upstream.slots.add(follow.slot);
    this.flow();
  }

  /** Writes as many bytes on a primary, and lets them flow. */
  write(server: Server, bytes = 1000): void {
    if (server.running && server.role === 'primary') server.lsn += BigInt(bytes);
    this.flow();
  }

  promote(server: Server): void {
    if (!server.running || server.role === 'primary') return;
    server.role = 'primary';
    server.connected = false;
    server.recoveryEnd = server.lsn;
    server.history = [...server.history, { timeline: server.timeline, at: server.lsn, by: server.name }];
    server.timeline += 1;
    server.lsn += 200n;
    this.flow();
  }

  stop(server: Server): void {
    server.running = false;
    server.connected = false;
    this.flow();
  }

  /** As what it was, or as a standby of somebody. */
  start(server: Server, as?: { readonly follow: Server } & FollowOptions): void {
    if (server.running) return;
    server.running = true;
    server.startedAt = this.now;
    server.recoveryEnd = undefined;
    if (as !== undefined) {
      server.role = 'replica';
      const { follow, ...rest } = as;
      this.follow(server, follow, rest);
    }
    this.flow();
  }

  /** pg_rewind of a stopped server: it has the other's history, up to where the two part. */
  rewind(server: Server, to: Server): void {
    let common = 0;
    while (sameEntry(server.history[common], to.history[common])) common += 1;
    const ends = [server.history[common]?.at, to.history[common]?.at].filter((lsn) => lsn !== undefined);
    if (ends.length > 0) server.lsn = [server.lsn, ...ends].reduce((a, b) => (a < b ? a : b));
    server.history = [...to.history];
    server.timeline = to.timeline;
  }

  /** Lets everything run to where it can get. */
  flow(): void {
    for (let round = 0; round < this.servers.size; round += 1) for (const server of this.servers.values()) this.#stream(server);
  }

  #stream(server: Server): void {
    const { upstream } = server;
    const can = upstream !== undefined && server.running && server.role === 'replica' && upstream.running && descends(server, upstream);
    if (!can) {
      server.connected = false;
      return;
    }
    if (!server.connected) {
      server.connected = true;
      server.connectedAt = this.now;
      this.#pids += 1;
      server.senderPid = this.#pids;
    }
    Object.assign(server, { lsn: upstream.lsn, timeline: upstream.timeline, history: [...upstream.history], heardAt: this.now });
  }

  /** Time passes; who has an upstream hears from it. */
  pass(ms: number): void {
    this.now += ms;
    for (const server of this.servers.values()) if (server.connected) server.heardAt = this.now;
  }

  /** Every agent reports; then one look. */
  round(ms = 10_000): ClusterTopology {
    this.pass(ms);
    for (const server of this.servers.values()) this.report(server);
    return this.look();
  }

  report(server: Server): void {
    if (!server.agent) return;
    server.sighting = this.sightingOf(server);
  }

  sightingOf(server: Server): Sighting {
    const newest = this.document(server);
    const before = server.sighting;
    const local = server.follows;
    const settings: PostgresSettings = {
      insufficientPrivilege: false,
      settings: [{ name: 'primary_slot_name', value: local.slot ?? '', unit: null, source: null, pendingRestart: false }],
      primary:
        server.upstream === undefined && local.via === undefined
          ? null
          : { host: local.via ?? server.upstream!.addresses[0]!, port: String(local.viaPort ?? server.upstream?.port ?? 5432) },
    };
    return {
      id: server.id,
      nodeId: server.node.id,
      nodeName: server.node.name,
      site: server.options.site ?? 'berlin',
      instance: server.instance,
      reportedAt: this.now,
      intervalMs: server.options.intervalMs ?? 10_000,
      silent: false,
      newest,
      document: newest.up ? newest : before?.document,
      upAt: newest.up ? this.now : before?.upAt,
      settings: newest.up && !server.isOld ? settings : before?.settings,
    };
  }

  look(): ClusterTopology {
    const sightings = [...this.servers.values()].flatMap(({ sighting }) =>
      sighting === undefined ? [] : [{ ...sighting, silent: this.now - sighting.reportedAt > 3 * sighting.intervalMs }],
    );
    const { cluster, memory } = clusterTopology({ systemIdentifier: SYSTEM_IDENTIFIER, sightings, memory: this.memory, now: this.now });
    this.memory = JSON.parse(JSON.stringify(memory)) as typeof memory;
    return cluster;
  }

  document(server: Server): PostgresReplication {
    const place = {
      reachedAt: { host: '/run/postgresql', port: server.port },
      machine: { hostname: server.host, addresses: [...server.addresses], port: server.port },
    };
    if (!server.running) return { ...DOWN, ...(server.isOld ? {} : place) };
    const isPrimary = server.role === 'primary';
    const time = (at: number): string => new Date(at + (server.options.clockMs ?? 0)).toISOString();
    const lsn = formatLsn(server.lsn);
    const document: PostgresReplication = {
      ...DOWN,
      up: true,
      reason: null,
      detail: null,
      role: server.role,
      version: '18.1',
      versionNumber: 180_001,
      systemIdentifier: SYSTEM_IDENTIFIER,
      timeline: server.timeline,
      serverTime: time(this.now),
      startedAt: time(server.startedAt),
      currentLsn: isPrimary ? lsn : null,
      insufficientPrivilege: !server.privileged,
      replicas: this.#rows(server, time),
      receiver: isPrimary ? null : this.#receiver(server, time),
      slots: this.#slots(server),
    };
    if (server.isOld) return document;
    return {
      ...document,
      ...place,
      clusterName: server.options.clusterName ?? '',
      flushLsn: isPrimary ? lsn : null,
      recoveryEndLsn: isPrimary && server.recoveryEnd !== undefined ? formatLsn(server.recoveryEnd) : null,
      ...(server.subscriptions !== undefined && { subscriptions: server.subscriptions }),
    };
  }

  #rows(server: Server, time: (at: number) => string): ReplicaView[] {
    const rows = [...this.servers.values()]
      .filter((one) => one.connected && one.upstream === server)
      .map((one): ReplicaView => {
        const lsn = formatLsn(one.lsn);
        return {
          ...row(one.applicationName, one.follows.seenAs === undefined ? one.addresses[0]! : one.follows.seenAs, lsn),
          pid: one.senderPid,
          slotName: one.follows.slot ?? null,
          backendStart: time(one.connectedAt + 20),
          ...(one.follows.slot !== undefined && !server.isOld && { slotType: 'physical' }),
        };
      });
    const all = [...rows, ...server.strangers];
    return server.privileged ? all : all.map((one) => ({ ...row(null, null, null), pid: one.pid, state: null }));
  }

  #receiver(server: Server, time: (at: number) => string): PostgresReplication['receiver'] {
    const lsn = formatLsn(server.lsn);
    const live = server.connected && server.privileged;
    return {
      receiveLsn: lsn,
      replayLsn: lsn,
      lastReplayedTransactionAt: null,
      pauseState: 'not paused',
      status: live ? 'streaming' : null,
      senderHost: live ? (server.follows.via ?? server.upstream!.addresses[0]!) : null,
      senderPort: live ? (server.follows.viaPort ?? server.upstream!.port) : null,
      slotName: live ? (server.follows.slot ?? null) : null,
      receivedTimeline: live ? server.timeline : null,
      latestEndLsn: live ? lsn : null,
      latestEndTime: live ? time(this.now) : null,
      ...(!server.isOld && {
        pid: live ? 4711 : null,
        flushedLsn: live ? lsn : null,
        lastMessageAgoMs: live ? this.now - server.heardAt : null,
        ...(server.tellsReceiverStart && { startedAt: live ? time(server.connectedAt) : null }),
      }),
    };
  }

  #slots(server: Server): PostgresReplication['slots'] {
    return [...server.slots].map((name) => {
      const user = [...this.servers.values()].find((one) => one.connected && one.upstream === server && one.follows.slot === name);
      return {
        name,
        type: 'physical',
        active: user !== undefined,
        restartLsn: formatLsn(server.lsn),
        confirmedFlushLsn: null,
        walStatus: 'reserved',
        ...(!server.isOld && { activePid: user?.senderPid ?? null }),
      };
    });
  }
}

/** A row of pg_stat_replication. */
export function row(applicationName: string | null, clientAddr: string | null, lsn: string | null): ReplicaView {
  return {
    pid: 1,
    applicationName,
    clientAddr,
    state: 'streaming',
    syncState: 'async',
    sentLsn: lsn,
    writeLsn: lsn,
    flushLsn: lsn,
    replayLsn: lsn,
    bytesBehind: '0',
    slotName: null,
    backendStart: null,
  };
}

function sameEntry(one: Server['history'][number] | undefined, other: Server['history'][number] | undefined): boolean {
  return one !== undefined && other !== undefined && one.timeline === other.timeline && one.at === other.at && one.by === other.by;
}

/** Whether PostgreSQL would let it stream: all that it has is part of the upstream's history. */
export function descends(server: Server, upstream: Server): boolean {
  for (const [i, entry] of server.history.entries()) if (!sameEntry(entry, upstream.history[i])) return false;
  const left = upstream.history[server.history.length];
  return left === undefined ? server.lsn <= upstream.lsn : server.lsn <= left.at;
}

const DOWN: PostgresReplication = {
  up: false,
  reason: 'refused',
  detail: null,
  role: null,
  version: null,
  versionNumber: null,
  systemIdentifier: null,
  timeline: null,
  serverTime: null,
  startedAt: null,
  currentLsn: null,
  insufficientPrivilege: false,
  replicas: [],
  receiver: null,
  slots: [],
};
