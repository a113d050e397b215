/**
 * Replication as it is known now. Every report that says something of a PostgreSQL server brings one look at its cluster:
 * positions into the tracks, who follows whom, figures, what changed. All of that is worked out by pure parts; this file
 * only keeps what they are given and hands on what they return. The same report taken twice changes nothing.
 */
import {
  POSTGRES_REPLICATION,
  POSTGRES_SETTINGS,
  POSTGRES_TRACK,
  WITHOUT_PRIMARY,
  type Labels,
  type Observation,
  type PostgresReplication,
  type PostgresSettings,
  type PostgresTrack,
  type Replication,
  type ReplicationCluster,
  type ReplicationState,
} from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { NodeRecord } from '../fleet/node.ts';
import type { Liveness } from '../live/live-view.ts';
import type { ArrivedReport, DerivedBlock } from '../reports/intake.ts';
import { changesOf } from './changes.ts';
import { figuresOf } from './figures.ts';
import type {
  ChangeMemory,
  ClusterFigures,
  ClusterTopology,
  InstanceId,
  Member,
  MemberMemory,
  ReplicationChange,
  Sighting,
} from './model.ts';
import { clusterView, type ClusterLook } from './page.ts';
import { Losses } from './losses.ts';
import { EXPLAINED, SPLIT_BRAIN, SeriesWriter, type ClusterDuty } from './series.ts';
import { clusterTopology } from './topology.ts';
import type { Tracks } from './tracks.ts';

/** What is kept of clusters over a restart, and where their events go. */
export interface ReplicationKeeper {
  /** As it was last saved; empty when nothing was. */
  memoryOf(systemIdentifier: string): {
    readonly topology: Readonly<Record<InstanceId, MemberMemory>>;
    readonly changes: ChangeMemory | undefined;
  };
  save(systemIdentifier: string, topology: Readonly<Record<InstanceId, MemberMemory>>, changes: ChangeMemory): void;
  record(changes: readonly ReplicationChange[]): void;
  recent(systemIdentifier: string, limit: number): ReplicationCluster['events'];
  /** How often each kind of event happened; never falls. */
  counts(systemIdentifier: string): ReadonlyMap<string, number>;
  /** The cluster that an instance was last seen in. */
  clusterOf(id: InstanceId): string | undefined;
}

export interface ReplicationViewOptions {
  readonly clock: Clock;
  readonly tracks: Tracks;
  readonly keeper: ReplicationKeeper;
  readonly fleet: { byId(id: number): NodeRecord | undefined };
  readonly liveness: (record: NodeRecord) => Liveness;
}

/** A server stands alone until it is known which cluster it belongs to: it was never up, or its agent may not see. */
const UNKNOWN = 'unknown:';
const aloneOf = (id: InstanceId): string => UNKNOWN + id;
const isUnknown = (systemIdentifier: string): boolean => systemIdentifier.startsWith(UNKNOWN);
const INTERVAL_MS_DEFAULT = 15_000;
/** A cluster whose reports stay away is looked at this often all the same: silence has to be seen, too. */
const LOOK_EVERY_MS = 5_000;
/** A server that its agent no longer reports, while the agent does report. */
const FORGET_MS = 10 * 60_000;
const EVENTS_SHOWN = 50;
const INSTANCES_MAX = 10_000;

/** What an agent says of one server, as far as it has said it. */
interface Known {
  readonly id: InstanceId;
  readonly nodeId: number;
  readonly instance: string;
  reportedAt: number;
  /** On the collector's own clock. */
  arrivedMs: number;
  newest: PostgresReplication | undefined;
  newestAt: number;
  document: PostgresReplication | undefined;
  upAt: number | undefined;
  settings: PostgresSettings | undefined;
  cluster: string;
}

interface ClusterState {
  readonly systemIdentifier: string;
  readonly members: Set<InstanceId>;
  topologyMemory: Readonly<Record<InstanceId, MemberMemory>>;
  changeMemory: ChangeMemory | undefined;
  look: ClusterLook | undefined;
  readonly since: Map<InstanceId, { state: ReplicationState; since: number | undefined }>;
  primary: { id: InstanceId | undefined; since: number | undefined };
  /** Who tells of the split brain: it stays the one until it is over. */
  intruder: InstanceId | undefined;
  readonly losses: Losses;
  lookedAtMs: number;
}

/** Kinds of events that say that somebody else is primary now. */
const TOPOLOGY_CHANGES: ReadonlySet<string> = new Set(['promotion', 'switchover', 'failover', 'split_brain', 'split_brain_over']);

export class ReplicationView {
  readonly #options: ReplicationViewOptions;
  readonly #known = new Map<InstanceId, Known>();
  readonly #ofNode = new Map<number, Set<InstanceId>>();
  readonly #clusters = new Map<string, ClusterState>();
  readonly #series = new SeriesWriter();
  readonly #topologyChanges = new Map<InstanceId, number>();
  /** Keys of topology changes told already, the newest last. */
  readonly #told = new Set<string>();
  readonly #listeners: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ReplicationViewOptions) {
    this.#options = options;
  }

  /** Called after a look that may show something else than the one before. */
  onLook(listener: () => void): void {
    this.#listeners.push(listener);
  }

  start(): void {
    this.#timer = setInterval(() => this.tick(), LOOK_EVERY_MS / 2);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Takes a report that has arrived; returns what follows from it, for each server of its node. A late one fills in histories and says nothing. */
  accept(report: ArrivedReport): DerivedBlock[] {
    const touched = new Set<InstanceId>();
    for (const observation of report.observations) {
      if (!isAboutPostgres(observation)) continue;
      const known = this.#knownOf(report.node, observation.instance);
      if (known === undefined) continue;
      touched.add(known.id);
      this.#take(known, observation, report.steadyAt);
    }
    const ids = this.#ofNode.get(report.node.id);
    if (ids === undefined) return [];
    for (const { layout } of report.blocks) {
      const id = idOf(report.node.id, layout.instance);
      if (layout.probe === 'postgres' && ids.has(id)) touched.add(id);
    }
    this.#note(report, ids, touched);
    if (!report.live) return [];
    for (const systemIdentifier of new Set([...ids].map((id) => this.#known.get(id)!.cluster))) this.#look(systemIdentifier);
    this.#tell();
    return [...ids].flatMap((id) => this.#blockOf(id));
  }

  /** Takes what the store has: a server's newest documents, as of then. */
  restore(node: NodeRecord, observation: Observation, at: number): void {
    if (!isAboutPostgres(observation)) return;
    const known = this.#knownOf(node, observation.instance);
    if (known === undefined) return;
    this.#take(known, observation, at);
    known.reportedAt = Math.max(known.reportedAt, at);
  }

  /** Looks at the clusters of which nobody has reported for a while. */
  tick(): void {
    const now = this.#options.clock.monotonicMs();
    this.#forgetGone();
    for (const { systemIdentifier, lookedAtMs } of this.#clusters.values())
      if (now - lookedAtMs >= LOOK_EVERY_MS) this.#look(systemIdentifier);
    this.#tell();
  }

  page(): Replication {
    const now = this.#options.clock.wallMs();
    const clusters = [...this.#clusters.values()].flatMap((state) => this.#clusterView(state, now) ?? []);
    return {
      at: new Date(now).toISOString(),
      clusters: clusters.toSorted((a, b) =>
        a.name < b.name ? -1 : a.name > b.name ? 1 : a.systemIdentifier < b.systemIdentifier ? -1 : 1,
      ),
    };
  }

  /** A cluster by its system identifier, or by the name of it, of an instance, or of a node of it; several when a name is of several. */
  find(name: string): ReplicationCluster[] {
    const now = this.#options.clock.wallMs();
    const exact = this.#clusters.get(name);
    const states = exact === undefined ? [...this.#clusters.values()].filter(({ look }) => isCalled(look, name)) : [exact];
    return states.flatMap((state) => this.#clusterView(state, now) ?? []);
  }

  /** What makes a value of one of the series above, in a sentence; undefined for any other series. */
  explain(nodeId: number, metric: string, labels: Labels): string | undefined {
    if (!EXPLAINED.has(metric)) return undefined;
    const labelOf = (name: string): string | undefined => labels.find(([label]) => label === name)?.[1];
    const look = this.#clusters.get(labelOf('cluster') ?? '')?.look;
    if (look === undefined) return undefined;
    const { cluster, figures } = look;
    if (metric === SPLIT_BRAIN) return cluster.splitBrain?.why;
    if (metric === WITHOUT_PRIMARY) return cluster.primary.why;
    const replica = labelOf('replica');
    const id = replica === undefined ? idOf(nodeId, labelOf('server') ?? '') : cluster.members.find(({ name }) => name === replica)?.id;
    return id === undefined ? undefined : figures.members.get(id)?.why;
  }

  /** Servers that are known, and clusters. */
  get counts(): { instances: number; clusters: number } {
    return { instances: this.#known.size, clusters: this.#clusters.size };
  }

  #clusterView(state: ClusterState, now: number): ReplicationCluster | undefined {
    if (state.look === undefined) return undefined;
    const without = state.losses.current(now)?.ms;
    return clusterView(state.look, this.#options.keeper.recent(state.systemIdentifier, EVENTS_SHOWN), without);
  }

  #knownOf(node: NodeRecord, instance: string): Known | undefined {
    const id = idOf(node.id, instance);
    let known = this.#known.get(id);
    if (known !== undefined) return known;
    if (this.#known.size >= INSTANCES_MAX) return undefined;
    known = {
      id,
      nodeId: node.id,
      instance,
      reportedAt: Number.NEGATIVE_INFINITY,
      arrivedMs: this.#options.clock.monotonicMs(),
      newest: undefined,
      newestAt: Number.NEGATIVE_INFINITY,
      document: undefined,
      upAt: undefined,
      settings: undefined,
      cluster: this.#options.keeper.clusterOf(id) ?? aloneOf(id),
    };
    this.#known.set(id, known);
    const ofNode = this.#ofNode.get(node.id);
    if (ofNode === undefined) this.#ofNode.set(node.id, new Set([id]));
    else ofNode.add(id);
    this.#join(known, known.cluster);
    return known;
  }

  #take(known: Known, { kind, document }: Observation, at: number): void {
    if (kind === POSTGRES_TRACK) return this.#options.tracks.accept(known.id, at, document as PostgresTrack, 0);
    if (kind === POSTGRES_SETTINGS) {
      if (at >= known.reportedAt || known.settings === undefined) known.settings = document as PostgresSettings;
      return undefined;
    }
    const seen = document as PostgresReplication;
    if (seen.up && (known.upAt === undefined || at >= known.upAt)) {
      known.document = seen;
      known.upAt = at;
      if (seen.systemIdentifier !== null) this.#join(known, seen.systemIdentifier);
    }
    if (at >= known.newestAt) {
      known.newest = seen;
      known.newestAt = at;
    }
    return undefined;
  }

  /** When each server was last reported; what did not change is not said again. */
  #note(report: ArrivedReport, ids: ReadonlySet<InstanceId>, touched: ReadonlySet<InstanceId>): void {
    for (const id of ids) {
      const known = this.#known.get(id)!;
      if (!touched.has(id)) continue;
      if (report.steadyAt >= known.reportedAt) {
        known.reportedAt = report.steadyAt;
        if (known.newest?.up === true) known.upAt = report.steadyAt;
      }
      if (report.live) known.arrivedMs = this.#options.clock.monotonicMs();
      const { document } = known;
      if (document !== undefined && known.upAt === report.steadyAt) this.#takeSenderView(known, document, report.steadyAt);
    }
  }

  /** What a sender sees of the replicas that nobody else watches. */
  #takeSenderView(known: Known, document: PostgresReplication, at: number): void {
    const look = this.#clusters.get(known.cluster)?.look;
    if (look === undefined) return;
    for (const member of look.cluster.members) {
      if (member.seenBy?.upstream !== known.id) continue;
      // The index is of the document that the look was made of; the same row is found again by who it is.
      const before = look.cluster.members.find(({ id }) => id === known.id)?.sighting?.newest.replicas[member.seenBy.replica];
      const row = document.replicas.find(({ pid, backendStart }) => pid === before?.pid && backendStart === before?.backendStart);
      if (row !== undefined && row.replayLsn !== null) this.#options.tracks.acceptReported(member.id, at, row.replayLsn);
    }
  }

  #join(known: Known, systemIdentifier: string): void {
    const state = this.#clusterOf(systemIdentifier);
    if (known.cluster !== systemIdentifier) this.#leave(known);
    known.cluster = systemIdentifier;
    state.members.add(known.id);
  }

  #leave(known: Known): void {
    const before = this.#clusters.get(known.cluster);
    before?.members.delete(known.id);
    if (before?.members.size === 0) this.#clusters.delete(known.cluster);
  }

  #clusterOf(systemIdentifier: string): ClusterState {
    let state = this.#clusters.get(systemIdentifier);
    if (state === undefined) {
      const { topology, changes } = this.#options.keeper.memoryOf(systemIdentifier);
      state = {
        systemIdentifier,
        members: new Set(),
        topologyMemory: topology,
        changeMemory: changes,
        look: undefined,
        since: new Map(),
        primary: { id: undefined, since: undefined },
        intruder: undefined,
        losses: new Losses(),
        lookedAtMs: 0,
      };
      this.#clusters.set(systemIdentifier, state);
    }
    return state;
  }

  #look(systemIdentifier: string): void {
    const state = this.#clusters.get(systemIdentifier);
    if (state === undefined) return;
    const { clock, tracks, keeper } = this.#options;
    const now = clock.wallMs();
    state.lookedAtMs = clock.monotonicMs();
    const sightings = [...state.members].flatMap((id) => this.#sightingOf(id) ?? []);
    const { cluster, memory } = clusterTopology({ systemIdentifier, sightings, memory: state.topologyMemory, now });
    const figures = figuresOf(cluster, tracks, now);
    state.topologyMemory = memory;
    this.#noteStates(state, cluster, figures, now);
    if (!isUnknown(systemIdentifier)) {
      const { memory: changeMemory, changes } = changesOf(state.changeMemory, cluster, figures, now, (id) => tracks.head(id)?.newest);
      state.changeMemory = changeMemory;
      if (changes.length > 0) keeper.record(changes);
      this.#countTopologyChanges(cluster, changes);
      keeper.save(systemIdentifier, memory, changeMemory);
    }
  }

  #noteStates(state: ClusterState, cluster: ClusterTopology, figures: ClusterFigures, now: number): void {
    const isFirst = state.look === undefined;
    for (const { id } of cluster.members) {
      const current = figures.members.get(id)?.state ?? 'unknown';
      const before = state.since.get(id);
      if (before?.state !== current) state.since.set(id, { state: current, since: isFirst && before === undefined ? undefined : now });
    }
    for (const id of state.since.keys()) if (!cluster.members.some((member) => member.id === id)) state.since.delete(id);
    if (state.primary.id !== cluster.primary.id) state.primary = { id: cluster.primary.id, since: isFirst ? undefined : now };
    const sides = cluster.splitBrain?.primaries;
    if (sides === undefined) state.intruder = undefined;
    else if (state.intruder === undefined || !sides.includes(state.intruder)) state.intruder = sides[0];
    state.losses.note(cluster, now);
    state.look = {
      cluster,
      figures,
      since: new Map([...state.since].map(([id, { since }]) => [id, since])),
      primarySince: state.primary.since,
      at: now,
    };
  }

  /** One server at each site tells its people: the first by name of those that are heard. */
  #countTopologyChanges(cluster: ClusterTopology, changes: readonly ReplicationChange[]): void {
    for (const { kind, key } of changes) {
      const told = `${cluster.systemIdentifier} ${key}`;
      if (!TOPOLOGY_CHANGES.has(kind) || this.#told.has(told)) continue;
      this.#told.add(told);
      if (this.#told.size > 1_000) this.#told.delete(this.#told.values().next().value!);
      const sites = new Set<string>();
      for (const { sighting } of cluster.members) {
        if (sighting === undefined || sighting.silent || sites.has(sighting.site)) continue;
        sites.add(sighting.site);
        this.#topologyChanges.set(sighting.id, (this.#topologyChanges.get(sighting.id) ?? 0) + 1);
      }
    }
  }

  #sightingOf(id: InstanceId): Sighting | undefined {
    const known = this.#known.get(id)!;
    const record = this.#options.fleet.byId(known.nodeId);
    if (record?.state !== 'approved' || known.newest === undefined) return undefined;
    return {
      id,
      nodeId: known.nodeId,
      nodeName: record.name,
      site: record.site,
      instance: known.instance,
      reportedAt: known.reportedAt,
      intervalMs: record.intervalSeconds === null ? INTERVAL_MS_DEFAULT : record.intervalSeconds * 1_000,
      silent: this.#options.liveness(record) === 'silent',
      newest: known.newest,
      document: known.document,
      upAt: known.upAt,
      settings: known.settings,
    };
  }

  #blockOf(id: InstanceId): DerivedBlock[] {
    const state = this.#clusters.get(this.#known.get(id)!.cluster);
    const member = state?.look?.cluster.members.find((one) => one.id === id);
    if (state?.look === undefined || member?.sighting === undefined) return [];
    const { cluster, figures } = state.look;
    return [this.#series.blockOf(member, { cluster, figures, duty: this.#dutyOf(state, member) })];
  }

  #dutyOf(state: ClusterState, member: Member): ClusterDuty {
    const { cluster, figures } = state.look!;
    const isTeller = member.id === (cluster.primary.id ?? cluster.members.find(({ sighting }) => sighting !== undefined)?.id);
    return {
      isIntruder: state.intruder === member.id,
      losses: state.losses.toldBy(member.id, this.#options.clock.wallMs()),
      rpoBytes: isTeller ? figures.rpoBytes : undefined,
      topologyChanges: this.#topologyChanges.get(member.id) ?? 0,
      events: isTeller ? this.#options.keeper.counts(state.systemIdentifier) : undefined,
    };
  }

  #forgetGone(): void {
    const now = this.#options.clock.monotonicMs();
    for (const known of this.#known.values()) {
      const record = this.#options.fleet.byId(known.nodeId);
      const isWatched = record !== undefined && (record.state === 'approved' || record.state === 'pending');
      const isDropped = record?.state === 'approved' && now - known.arrivedMs > FORGET_MS && this.#options.liveness(record) === 'up';
      if (isWatched && !isDropped) continue;
      this.#leave(known);
      this.#known.delete(known.id);
      const ofNode = this.#ofNode.get(known.nodeId);
      ofNode?.delete(known.id);
      if (ofNode?.size === 0) this.#ofNode.delete(known.nodeId);
      this.#options.tracks.forget(known.id);
      this.#series.forget(known.id);
      this.#topologyChanges.delete(known.id);
    }
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

function isCalled(look: ClusterLook | undefined, name: string): boolean {
  return (
    look !== undefined && (look.cluster.name === name || look.cluster.members.some((m) => m.name === name || m.sighting?.nodeName === name))
  );
}

export const idOf = (nodeId: number, instance: string): InstanceId => `${nodeId}/${instance}`;

const KINDS: ReadonlySet<string> = new Set([POSTGRES_REPLICATION, POSTGRES_SETTINGS, POSTGRES_TRACK]);
const isAboutPostgres = ({ kind }: Observation): boolean => KINDS.has(kind);
