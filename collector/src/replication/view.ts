/**
 * Replication as it is known now. Every report that says something of a PostgreSQL server brings one look at its cluster:
 * positions into the tracks, who follows whom, figures, what changed. All of that is worked out by pure parts; this file
 * only keeps what they are given and hands on what they return. The same report taken twice changes nothing.
 */
import {
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
import { graceMs, type Liveness } from '../live/live-view.ts';
import type { ArrivedReport, DerivedBlock } from '../reports/intake.ts';
import { changesOf } from './changes.ts';
import { ongoingOf, type Ongoing } from './changes-memory.ts';
import { readPostgres, type PostgresSaid } from './documents.ts';
import { figuresOf } from './figures.ts';
import type { ChangeMemory, InstanceId, Member, MemberMemory, ReplicationChange, Sighting } from './model.ts';
import { lagThen } from './late.ts';
import { clusterView, type ClusterLook } from './page.ts';
import { Losses } from './losses.ts';
import { EXPLAINED, SPLIT_BRAIN, SeriesWriter, replicaLabels, type ClusterDuty } from './series.ts';
import { clusterTopology } from './topology.ts';
import { TopologyCounts } from './topology-counts.ts';
import { HEAD_KEEP_MS, type Tracks } from './tracks.ts';
import { Doubles } from './watched-twice.ts';

/** What is kept of clusters over a restart, and where their events go. */
export interface ReplicationKeeper {
  /** As it was last saved; empty when nothing was. */
  memoryOf(systemIdentifier: string): {
    readonly topology: Readonly<Record<InstanceId, MemberMemory>>;
    readonly changes: ChangeMemory | undefined;
  };
  save(systemIdentifier: string, topology: Readonly<Record<InstanceId, MemberMemory>>, changes: ChangeMemory): void;
  /** Returns the keys of those that were not known before. */
  record(changes: readonly ReplicationChange[]): ReadonlySet<string>;
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
  /** Told of what an agent says of a server and cannot be read: it is set aside. */
  readonly onMisfit?: (node: NodeRecord, observation: Observation) => void;
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
/** More than anyone runs on one machine; an agent that makes up names ends here. */
const INSTANCES_PER_NODE_MAX = 50;

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
  ongoing: Ongoing;
  readonly losses: Losses;
  readonly doubles: Doubles;
  lookedAtMs: number;
}

export class ReplicationView {
  readonly #options: ReplicationViewOptions;
  readonly #known = new Map<InstanceId, Known>();
  readonly #ofNode = new Map<number, Set<InstanceId>>();
  readonly #clusters = new Map<string, ClusterState>();
  readonly #series = new SeriesWriter();
  readonly #topologyCounts = new TopologyCounts();
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

  /** Takes a report that has arrived; returns what follows from it, for each server of its node. A late one fills in histories, and what the lag was. */
  accept(report: ArrivedReport): DerivedBlock[] {
    const touched = new Set<InstanceId>();
    const tracks = new Map<InstanceId, PostgresTrack>();
    for (const observation of report.observations) {
      const said = this.#read(report.node, observation);
      const known = said === undefined ? undefined : this.#knownOf(report.node, observation.instance);
      if (said === undefined || known === undefined) continue;
      touched.add(known.id);
      if (said.kind === 'track') tracks.set(known.id, said.document);
      this.#take(known, said, report.steadyAt);
    }
    const ids = this.#ofNode.get(report.node.id);
    if (ids === undefined) return [];
    for (const { layout } of report.blocks) {
      const id = idOf(report.node.id, layout.instance);
      if (layout.probe === 'postgres' && ids.has(id)) touched.add(id);
    }
    this.#note(report, ids, touched);
    if (!report.live) return [...tracks].flatMap(([id, track]) => this.#lateBlockOf(id, track, report.steadyAt));
    for (const systemIdentifier of new Set([...ids].map((id) => this.#known.get(id)!.cluster))) this.#look(systemIdentifier);
    this.#tell();
    return [...ids].flatMap((id) => this.#blockOf(id));
  }

  /** Takes what the store has: a server's newest documents, as of then. */
  restore(node: NodeRecord, observation: Observation, at: number): void {
    const said = this.#read(node, observation);
    const known = said === undefined ? undefined : this.#knownOf(node, observation.instance);
    if (said === undefined || known === undefined) return;
    this.#take(known, said, at);
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

  /** ISO 8601. */
  now(): string {
    return new Date(this.#options.clock.wallMs()).toISOString();
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
    const own = idOf(nodeId, labelOf('server') ?? '');
    const id = replica === undefined ? own : [...replicaLabels(cluster, own)].find(([, label]) => label === replica)?.[0];
    return id === undefined ? undefined : figures.members.get(id)?.why;
  }

  /** Servers that are known, and clusters. */
  get counts(): { instances: number; clusters: number } {
    return { instances: this.#known.size, clusters: this.#clusters.size };
  }

  #clusterView(state: ClusterState, now: number): ReplicationCluster | undefined {
    if (state.look === undefined) return undefined;
    const { loss } = state.ongoing;
    const without = loss === null ? undefined : Math.max(0, now - loss.at);
    return clusterView(state.look, this.#options.keeper.recent(state.systemIdentifier, EVENTS_SHOWN), without);
  }

  #knownOf(node: NodeRecord, instance: string): Known | undefined {
    const id = idOf(node.id, instance);
    let known = this.#known.get(id);
    if (known !== undefined) return known;
    const ofNode = this.#ofNode.get(node.id);
    if (this.#known.size >= INSTANCES_MAX || (ofNode?.size ?? 0) >= INSTANCES_PER_NODE_MAX) return undefined;
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
    if (ofNode === undefined) this.#ofNode.set(node.id, new Set([id]));
    else ofNode.add(id);
    this.#join(known, known.cluster);
    return known;
  }

  #read(node: NodeRecord, observation: Observation): PostgresSaid | undefined {
    const said = readPostgres(observation);
    if (said !== 'misfit') return said;
    this.#options.onMisfit?.(node, observation);
    return undefined;
  }

  #take(known: Known, said: PostgresSaid, at: number): void {
    if (said.kind === 'track') return this.#options.tracks.accept(known.id, at, said.document, 0);
    if (said.kind === 'settings') {
      if (at >= known.reportedAt || known.settings === undefined) known.settings = said.document;
      return undefined;
    }
    const seen = said.document;
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
        ongoing: ongoingOf(changes),
        losses: new Losses(),
        doubles: new Doubles(),
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
    const all = [...state.members].flatMap((id) => this.#sightingOf(id) ?? []);
    const { sightings, others } = state.doubles.oncePerServer(all, (id) => state.topologyMemory[id]?.firstSeenAt, now);
    const { cluster, memory } = clusterTopology({
      systemIdentifier,
      sightings,
      memory: state.topologyMemory,
      now,
      subscribers: this.#subscribersOutside(systemIdentifier),
    });
    const figures = figuresOf(cluster, tracks, now);
    state.topologyMemory = memory;
    if (!isUnknown(systemIdentifier)) {
      const { memory: changeMemory, changes } = changesOf(state.changeMemory, cluster, figures, now, (id) => tracks.wrote(id));
      state.changeMemory = changeMemory;
      state.ongoing = ongoingOf(changeMemory);
      if (changes.length > 0) {
        const added = keeper.record(changes);
        this.#topologyCounts.count(
          cluster,
          changes.filter(({ key }) => added.has(key)),
        );
      }
      keeper.save(systemIdentifier, memory, changeMemory);
    }
    this.#noteStates(state, { cluster, figures, others }, now);
  }

  #noteStates(state: ClusterState, { cluster, figures, others }: Pick<ClusterLook, 'cluster' | 'figures' | 'others'>, now: number): void {
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
    else if (state.intruder === undefined || !sides.includes(state.intruder)) {
      const told = state.ongoing.split?.first;
      state.intruder = told !== undefined && sides.includes(told) ? told : sides[0];
    }
    state.losses.note(cluster, state.ongoing.loss, now);
    state.look = {
      cluster,
      figures,
      others,
      since: new Map([...state.since].map(([id, { since }]) => [id, since])),
      primarySince: state.primary.since,
      at: now,
    };
  }

  /** Servers of other clusters that have subscriptions: one of them may be what a publisher here sees. */
  #subscribersOutside(systemIdentifier: string): Sighting[] {
    const found: Sighting[] = [];
    for (const { id, cluster, document } of this.#known.values()) {
      if (cluster === systemIdentifier || (document?.subscriptions ?? []).length === 0) continue;
      const sighting = this.#sightingOf(id);
      if (sighting !== undefined) found.push(sighting);
    }
    return found;
  }

  #sightingOf(id: InstanceId): Sighting | undefined {
    const known = this.#known.get(id)!;
    const record = this.#options.fleet.byId(known.nodeId);
    if (record?.state !== 'approved' || known.newest === undefined) return undefined;
    const liveness = this.#options.liveness(record);
    // A backlog is heard now and says what was: until what is now has come it is as good as silent.
    const isOld = liveness === 'up' && this.#options.clock.wallMs() - known.reportedAt > graceMs(record);
    return {
      id,
      nodeId: known.nodeId,
      nodeName: record.name,
      site: record.site,
      instance: known.instance,
      reportedAt: known.reportedAt,
      intervalMs: record.intervalSeconds === null ? INTERVAL_MS_DEFAULT : record.intervalSeconds * 1_000,
      silent: liveness === 'silent' || isOld,
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

  #lateBlockOf(id: InstanceId, track: PostgresTrack, at: number): DerivedBlock[] {
    const state = this.#clusters.get(this.#known.get(id)!.cluster);
    const { clock, tracks } = this.#options;
    if (state === undefined || clock.wallMs() - at > HEAD_KEEP_MS) return [];
    // After a start a backlog is often what comes first.
    if (state.look === undefined) this.#look(state.systemIdentifier);
    if (state.look === undefined) return [];
    const { cluster } = state.look;
    const figures = lagThen(id, track, at, { cluster, memory: state.topologyMemory, tracks });
    return figures?.lag === undefined
      ? []
      : [this.#series.lateBlockOf(id, this.#known.get(id)!.instance, cluster.systemIdentifier, figures)];
  }

  #dutyOf(state: ClusterState, member: Member): ClusterDuty {
    const { cluster, figures } = state.look!;
    const isTeller = member.id === (cluster.primary.id ?? cluster.members.find(({ sighting }) => sighting !== undefined)?.id);
    return {
      isIntruder: state.intruder === member.id,
      losses: state.losses.toldBy(member.id, this.#options.clock.wallMs()),
      rpoBytes: isTeller ? figures.rpoBytes : undefined,
      topologyChanges: this.#topologyCounts.tell(member.id),
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
      this.#topologyCounts.forget(known.id);
    }
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

function isCalled(look: ClusterLook | undefined, name: string): boolean {
  if (look === undefined) return false;
  const { cluster, others } = look;
  if (cluster.name === name || cluster.members.some((one) => one.name === name || one.id === name || one.sighting?.nodeName === name))
    return true;
  return [...others.values()].some((same) => same.some(({ nodeName }) => nodeName === name));
}

export const idOf = (nodeId: number, instance: string): InstanceId => `${nodeId}/${instance}`;
