/**
 * The words of the replication feature, shared by its pure parts: what is known of an instance, how a track of positions
 * answers, what topology, lag and events are made of. Nothing here reads a clock or does I/O; every time is milliseconds on
 * the collector's clock, every position a bigint.
 *
 * reports → tracks (positions over time) + sightings (newest documents) → topology (who follows whom) → figures (lag, state,
 * ETA of each) → changes (events, once each) → the page, the series that rules judge, the metrics.
 */
import type { LagSource, PostgresReplication, PostgresSettings, ReplicationEventKind, ReplicationState } from '@tidemark/protocol';

/** `nodeId/instance` of a watched instance; `upstreamId>application@address` of one that only its upstream knows. */
export type InstanceId = string;

/** What the agents' newest reports say of one watched instance. */
export interface Sighting {
  readonly id: InstanceId;
  readonly nodeId: number;
  readonly nodeName: string;
  readonly site: string;
  /** As its agent calls it. */
  readonly instance: string;
  /** When the newest report about it was taken. */
  readonly reportedAt: number;
  /** Between two of its agent's reports. */
  readonly intervalMs: number;
  /** Its node has not been heard for longer than its grace: everything here is as of `reportedAt`. */
  readonly silent: boolean;
  /** The newest document, whatever it says: up or down. */
  readonly newest: PostgresReplication;
  /** The newest document of when it was up; undefined when it has not been up since anyone remembers. `upAt` is its time. */
  readonly document: PostgresReplication | undefined;
  readonly upAt: number | undefined;
  readonly settings: PostgresSettings | undefined;
}

// ——— topology ———

export type EdgeBasis = 'slot' | 'process' | 'address' | 'application_name' | 'conninfo' | 'subscription';

/** Who somebody receives from. */
export interface Upstream {
  /** Undefined: it connects to somebody nobody watches. */
  readonly id: InstanceId | undefined;
  readonly by: EdgeBasis;
  /** host:port as its receiver or its primary_conninfo has it; undefined when it cannot be seen. */
  readonly address: string | undefined;
  /** True when WAL flows now; false for what is only configured or was so when last seen. */
  readonly connected: boolean;
}

export interface Member {
  readonly id: InstanceId;
  /** For people: the node's name; with the instance's where a node has several; of an unwatched one its application name or address. */
  readonly name: string;
  /** Undefined for one that only its upstream knows. */
  readonly sighting: Sighting | undefined;
  /** As the upstream's pg_stat_replication has it, where it is connected. Index into that document's `replicas`. */
  readonly seenBy: { readonly upstream: InstanceId; readonly replica: number } | undefined;
  readonly role: 'primary' | 'replica' | 'subscriber' | 'unknown';
  /** The role is what its agent says now; false: what it was when last seen. */
  readonly roleIsCurrent: boolean;
  readonly timeline: number | undefined;
  readonly upstream: Upstream | undefined;
  /** The primary at the top of its chain; itself for a primary; undefined when the chain ends in the unknown. */
  readonly root: InstanceId | undefined;
  /** Slots that other members stream from, by slot name. */
  readonly slotUsers: ReadonlyMap<string, InstanceId>;
  /** Of one that nobody watches: when its sender, which can tell, last listed it. Absent while it does. */
  readonly goneSince?: number | undefined;
  /** Of a logical subscriber that is watched as a member of another cluster: which one it is there. */
  readonly sameAs?: InstanceId | undefined;
  /** Why its history is held to have parted from the primary's; undefined while it has not, or nobody knows. */
  readonly diverged: { readonly forkLsn: bigint | undefined; readonly why: string } | undefined;
  /** The promotions that its history is made of, oldest first, as far as they were seen. */
  readonly branches?: readonly Branch[] | undefined;
}

export interface PrimaryVerdict {
  readonly id: InstanceId | undefined;
  readonly certainty: 'sure' | 'likely' | 'disputed' | 'unknown';
  /** One sentence. */
  readonly why: string;
}

/** Two or more that write the same history apart. Links are remembered: a copy that never followed anyone is a clone. */
export interface SplitBrain {
  /** The first is the one that should not be: promoted last. */
  readonly primaries: readonly InstanceId[];
  readonly forkLsn: bigint | undefined;
  readonly why: string;
}

export interface ClusterTopology {
  readonly systemIdentifier: string;
  readonly name: string;
  /** Sorted by name. */
  readonly members: readonly Member[];
  readonly primary: PrimaryVerdict;
  readonly splitBrain: SplitBrain | undefined;
  /** Members that have the cluster's identifier and no link to it: copies of its files. */
  readonly clones: readonly InstanceId[];
  /** The newest moment at which anything showed that there is a primary (it reported as one, or a replica heard from it); undefined: never. */
  readonly primaryEvidenceAt: number | undefined;
}

/** What topology has to remember of a member between two looks; plain data, so that it can be kept over a restart. */
export interface MemberMemory {
  readonly name: string;
  /** It was seen to stream from, or to be streamed from by, another member, or descends from one that was. */
  readonly linked: boolean;
  readonly lastUpstream: InstanceId | undefined;
  readonly lastRole: 'primary' | 'replica' | 'subscriber' | 'unknown';
  readonly lastSeenAt: number;
  /** Of a primary that was seen as a replica before: where its own branch begins. LSN as text. */
  readonly promotedAt: number | undefined;
  readonly forkLsn: string | undefined;
  readonly timeline: number | undefined;
  /** Furthest position it was seen to have written itself or received. */
  readonly lastLsn: string | undefined;
  // What follows is topology's own business, and absent from what an older collector kept.
  /** Everybody that was ever linked to each other has the same word here. */
  readonly lineage?: string | undefined;
  /** Where it streams from, when that fits nobody: two that stream from the same stranger are linked. */
  readonly stranger?: string | undefined;
  readonly lastUpstreamBy?: EdgeBasis | undefined;
  readonly upstreamSince?: number | undefined;
  readonly firstSeenAt?: number | undefined;
  /** The start of its present run, by its own clock, as it says it. */
  readonly startedAt?: string | undefined;
  /** It was seen as a primary at this moment, and all the time since: one that stops being one has to restart. */
  readonly primarySince?: number | undefined;
  /** The same, and watched all the while: who comes back after a silence comes last. */
  readonly writingSince?: number | undefined;
  /** Of a replica: how far it had replayed. */
  readonly replayedLsn?: string | undefined;
  /** When `lastLsn` last rose. */
  readonly movedAt?: number | undefined;
  /** The promotions that its history is made of, oldest first, as far as they were seen. */
  readonly branches?: readonly Branch[];
  /** The cluster is called by it. */
  readonly namesCluster?: boolean;
  /** By id, those that only this one knows: they are in its pg_stat_replication, or were a short while ago. */
  readonly unwatched?: Readonly<Record<InstanceId, UnwatchedMemory>>;
}

/** What is remembered of a replica that no agent watches. */
export interface UnwatchedMemory {
  readonly name: string;
  readonly kind: 'physical' | 'logical';
  readonly application: string;
  /** Null: over a socket. */
  readonly address: string | null;
  readonly slot: string | null;
  readonly backendStart: string | null;
  readonly sameAs?: InstanceId;
  readonly firstSeenAt: number;
  readonly lastSeenAt: number;
}

/** A promotion. Two that are promoted apart take the same timeline number: only all three together name a branch. */
export interface Branch {
  readonly timeline: number;
  readonly forkLsn: string | undefined;
  readonly by: InstanceId;
}

// ——— positions and lag ———

export interface Position {
  readonly at: number;
  readonly lsn: bigint;
}

/** The age of the oldest WAL beyond a position at a moment, in milliseconds; design: T(R) = inf{t : P(t) > R}. */
export interface LagBounds {
  /** The likeliest. lower ≤ value ≤ upper. */
  readonly value: number;
  readonly lower: number;
  /** Infinity when nobody knows. */
  readonly upper: number;
}

export interface Lag extends LagBounds {
  /** The moment that it is about. */
  readonly at: number;
  readonly bytes: number | undefined;
  readonly source: LagSource;
  /** The newest position of what it is measured against, when that is too old to say more than "at least". */
  readonly unknownSince: number | undefined;
}

/** What there is to say of one member at one moment. */
export interface MemberFigures {
  readonly id: InstanceId;
  readonly state: ReplicationState;
  /** One sentence: what is seen that makes the state. */
  readonly why: string;
  readonly lag: Lag | undefined;
  readonly edgeLag: Lag | undefined;
  /** The lag less the delay that is configured (recovery_min_apply_delay): what alarms are judged on. */
  readonly excess: LagBounds | undefined;
  readonly transportBytes: number | undefined;
  readonly replayBytes: number | undefined;
  readonly catchup: 'caught_up' | 'converging' | 'never' | 'unknown';
  readonly catchupMs: number | undefined;
  /** While it does not catch up: until the slot that it streams from is lost. */
  readonly slotLostInMs: number | undefined;
  /** While it does not catch up: until WAL that is kept for it, or by it, fills a disk. */
  readonly diskFullInMs: number | undefined;
  readonly delayMs: number | undefined;
  readonly walBytesPerSecond: number | undefined;
}

export interface SlotFigures {
  readonly instanceId: InstanceId;
  readonly name: string;
  readonly usedBy: InstanceId | undefined;
  readonly retainedBytes: number | undefined;
  /** The age of the oldest WAL it keeps. */
  readonly held: LagBounds | undefined;
  /** Of a slot with a confirmed position (logical): the age of the oldest WAL that is not confirmed. */
  readonly lag: Lag | undefined;
  readonly lostInMs: number | undefined;
  readonly diskFullInMs: number | undefined;
}

// ——— events ———

/** Something that happened, as it is kept and told. */
export interface ReplicationChange {
  readonly kind: ReplicationEventKind;
  readonly at: number;
  readonly systemIdentifier: string;
  readonly instanceId: InstanceId | undefined;
  /** What that is called for people. */
  readonly instanceName: string | undefined;
  readonly severity: 'info' | 'warning' | 'critical';
  readonly text: string;
  readonly details: Readonly<Record<string, string | number | boolean | null>>;
  /** The same happening has the same key, whoever sees it and however often: what is kept once is kept by it. */
  readonly key: string;
}

// ——— the parts, and how they are called ———

/**
 * Positions of one server over time, P: never falling. What lies between two samples is not known and is never guessed:
 * every answer is a pair of bounds that holds whatever happened there.
 */
export interface Track {
  readonly oldest: Position | undefined;
  readonly newest: Position | undefined;
  /**
   * Bounds of T(lsn) = inf{t : P(t) > lsn}, when it went beyond a position. `notBefore` −Infinity: before anything is known
   * here. `notAfter` Infinity: it has not been seen beyond it. `likely` interpolates between two samples.
   */
  passed(lsn: bigint): { readonly notBefore: number; readonly notAfter: number; readonly likely: number };
  /** Bounds of P(at); undefined where nothing is known on that side. */
  positionAt(at: number): { readonly low: bigint | undefined; readonly high: bigint | undefined };
}

/** What an upstream said of where it stood: floors. Positions that were on their way are not among them. */
export interface MessageTrack extends Track {
  /** When it last said that it stood no further than that; −Infinity: never, as far as is known. */
  heardWithin(lsn: bigint): number;
}

/** Everybody's tracks. Implemented by tracks.ts; read by the figures. */
export interface TrackReader {
  /** What it could send on: flushed by a primary, the furthest of received and replayed by a replica. */
  head(id: InstanceId): Track | undefined;
  /**
   * The history that a primary leads: its own head, and what was written before its promotions by those who were primary then.
   * `branches`: its promotions; `others`: who else there is. Where nobody knows who wrote something, it is not known either
   * since when at the earliest.
   */
  line(primary: InstanceId, branches: readonly Branch[], others: readonly InstanceId[]): Track | undefined;
  /** Of a replica, by its own agent. */
  replayed(id: InstanceId): Track | undefined;
  /** What a replica was told by its upstream of where that stood. */
  sender(id: InstanceId): MessageTrack | undefined;
  /** What a replica has replayed, by its upstream's view of it: a floor, up to wal_receiver_status_interval old. */
  reported(id: InstanceId): Track | undefined;
}

/** topology.ts: `clusterTopology(input)`. Pure; the memory it returns is given back at the next look. */
export interface TopologyInput {
  readonly systemIdentifier: string;
  readonly sightings: readonly Sighting[];
  readonly memory: Readonly<Record<InstanceId, MemberMemory>>;
  readonly now: number;
  /** Members of other clusters that have subscriptions: one of them may be a subscriber here. */
  readonly subscribers?: readonly Sighting[];
}
export interface TopologyResult {
  readonly cluster: ClusterTopology;
  readonly memory: Readonly<Record<InstanceId, MemberMemory>>;
}

/** figures.ts: `figuresOf(cluster, tracks, now)`. Pure. */
export interface ClusterFigures {
  readonly members: ReadonlyMap<InstanceId, MemberFigures>;
  readonly slots: readonly SlotFigures[];
  /** What would be lost if the primary were lost now. */
  readonly rpoBytes: number | undefined;
  /** Of synchronous_standby_names on the primary; undefined where commits wait for nobody. */
  readonly synchronous: { readonly required: number; readonly present: number; readonly waiting: number } | undefined;
}

/** changes.ts: `changesOf(before, cluster, figures, now)`. Pure; the memory is plain data and comes back at the next look. */
export interface ChangesResult {
  readonly memory: ChangeMemory;
  /** Those with a key that was given before correct its text and details. */
  readonly changes: readonly ReplicationChange[];
}
/** Opaque to everybody but changes.ts; survives JSON. */
export type ChangeMemory = Readonly<Record<string, unknown>>;
