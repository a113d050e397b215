/**
 * What the collector knows of PostgreSQL replication: `GET /api/telemetry/replication`. Times are ISO 8601 in UTC, seconds
 * are seconds, LSNs and byte counts that may pass 2^53 are strings. Null is always "not known", never "none".
 */
import { Type, type Static, type TSchema } from 'typebox';

const Maybe = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Time = Type.String({ description: 'ISO 8601, UTC' });
const literals = <T extends string>(values: readonly T[]) => Type.Unsafe<T>(Type.Union(values.map((value) => Type.Literal(value))));

/** Of a replica, from well to unwell; `running` and `down` are a primary's too. */
export const REPLICATION_STATES = [
  'running',
  'streaming',
  'catching_up',
  'stalled',
  'paused',
  'delayed',
  'archive_recovery',
  'disconnected',
  'diverged',
  'starting',
  'down',
  'insufficient_privilege',
  'unknown',
] as const;
export const ReplicationState = literals(REPLICATION_STATES);
export type ReplicationState = (typeof REPLICATION_STATES)[number];

export const LAG_SOURCES = ['primary', 'sender', 'standby'] as const;
export type LagSource = (typeof LAG_SOURCES)[number];

/**
 * The age of the oldest WAL that the replica has not replayed, at the moment `at`; 0 when it has replayed all there was. The
 * truth lies between the bounds; alarms are judged on the lower one.
 */
export const ReplicationLag = Type.Object({
  seconds: Type.Number({ description: 'The likeliest value between the bounds.' }),
  lowerSeconds: Type.Number(),
  upperSeconds: Maybe(Type.Number({ description: 'Null: nobody knows how much more it may be.' })),
  bytes: Maybe(Type.Number({ description: 'WAL between the two positions at that moment.' })),
  source: Type.Unsafe<LagSource>(
    Type.Union(
      LAG_SOURCES.map((source) => Type.Literal(source)),
      {
        description:
          "Whose positions it is measured by: the primary's own, what a sender sees of the replica, or what the replica was told by its sender.",
      },
    ),
  ),
  at: Time,
  unknownSince: Maybe(
    Type.String({ description: 'The primary has not been seen since: it is at least the lower bound, and may be more.' }),
  ),
});
export type ReplicationLag = Static<typeof ReplicationLag>;

export const ReplicationInstance = Type.Object({
  id: Type.String({
    description: 'Stable: the node and the instance as its agent calls it; of an unwatched one, what its upstream calls it.',
  }),
  name: Type.String({ description: "The node's name, with the instance's where the node has several." }),
  node: Maybe(Type.String({ description: 'Null: no agent watches it; it is known from its upstream alone.' })),
  site: Type.String(),
  instance: Maybe(Type.String({ description: 'As the agent calls it.' })),
  watched: Type.Boolean(),
  role: Type.Union([Type.Literal('primary'), Type.Literal('replica'), Type.Literal('subscriber'), Type.Literal('unknown')]),
  state: ReplicationState,
  since: Maybe(Time),
  why: Type.String({ description: 'One sentence: what is seen that makes the state.' }),
  version: Maybe(Type.String()),
  timeline: Maybe(Type.Integer()),
  upstream: Maybe(Type.String({ description: 'The name of the instance it receives from.' })),
  upstreamId: Maybe(Type.String()),
  upstreamBy: Maybe(Type.String({ description: 'How that is known: slot, process, address, application_name, conninfo, subscription.' })),
  upstreamAddress: Maybe(Type.String({ description: 'Where it connects to, host:port, also when that is nobody known.' })),
  syncState: Maybe(Type.String({ description: 'As its upstream says: async, sync, quorum, potential.' })),
  lag: Maybe(ReplicationLag),
  edgeLag: Maybe(Type.Object({ ...ReplicationLag.properties }, { description: 'Behind its own upstream, in a cascade; else the same.' })),
  transportBytes: Maybe(Type.Number({ description: 'Written upstream and not received.' })),
  replayBytes: Maybe(Type.Number({ description: 'Received and not replayed.' })),
  catchupSeconds: Maybe(
    Type.Number({ description: 'Until it has caught up at the present rates; null when it need not, cannot, or nobody knows.' }),
  ),
  catchup: Type.Union([Type.Literal('caught_up'), Type.Literal('converging'), Type.Literal('never'), Type.Literal('unknown')]),
  slotLostInSeconds: Maybe(
    Type.Number({ description: 'Until the slot that it streams from is lost, at the present rates; null when that is in no danger.' }),
  ),
  diskFullInSeconds: Maybe(
    Type.Number({
      description:
        'Until WAL that a slot keeps for it fills the disk upstream, or WAL that it has not replayed its own; null when neither is in danger, or nobody knows.',
    }),
  ),
  delaySeconds: Maybe(Type.Number({ description: 'recovery_min_apply_delay, which is no lag.' })),
  walBytesPerSecond: Maybe(Type.Number({ description: 'Of a primary: written. Of a replica: replayed.' })),
  lsn: Maybe(Type.String({ description: 'Flushed by a primary, replayed by a replica.' })),
  seenAt: Maybe(Time),
});
export type ReplicationInstance = Static<typeof ReplicationInstance>;

export const ReplicationSlot = Type.Object({
  name: Type.String(),
  instance: Type.String({ description: 'The name of the instance that has it.' }),
  instanceId: Type.String(),
  type: Maybe(Type.String()),
  database: Maybe(Type.String()),
  active: Maybe(Type.Boolean()),
  usedBy: Maybe(Type.String({ description: 'The name of the instance that streams from it.' })),
  walStatus: Maybe(Type.String({ description: 'reserved, extended, unreserved or lost' })),
  invalidationReason: Maybe(Type.String()),
  inactiveSince: Maybe(Time),
  retainedBytes: Maybe(Type.Number()),
  heldSeconds: Maybe(Type.Number({ description: 'The age of the oldest WAL it keeps.' })),
  lag: Maybe(ReplicationLag),
  safeBytes: Maybe(Type.Number({ description: 'What may be written before it is lost; null: no limit.' })),
  lostInSeconds: Maybe(Type.Number({ description: 'At the present rate; null when it is in no danger.' })),
  diskFullInSeconds: Maybe(
    Type.Number({ description: 'When WAL it keeps fills the disk, at the present rate; null when it is in no danger or nobody knows.' }),
  ),
});
export type ReplicationSlot = Static<typeof ReplicationSlot>;

export const REPLICATION_EVENT_KINDS = [
  'primary_lost',
  'primary_back',
  'promotion',
  'switchover',
  'failover',
  'split_brain',
  'split_brain_over',
  'clone_suspected',
  'unexpected_primary',
  'diverged',
  'rejoined',
  'timeline_switch',
  'replica_added',
  'replica_gone',
  'slot_created',
  'slot_dropped',
  'slot_inactive',
  'slot_active',
  'slot_unreserved',
  'slot_lost',
  'sync_standby_missing',
  'sync_commits_waiting',
  'sync_standby_back',
  'archiver_failing',
  'archiver_recovered',
] as const;
export const ReplicationEventKind = literals(REPLICATION_EVENT_KINDS);
export type ReplicationEventKind = (typeof REPLICATION_EVENT_KINDS)[number];

export const ReplicationEvent = Type.Object({
  id: Type.String(),
  kind: ReplicationEventKind,
  at: Time,
  systemIdentifier: Type.String(),
  instance: Maybe(Type.String({ description: 'The name of the instance it is about.' })),
  instanceId: Maybe(Type.String()),
  severity: Type.Union([Type.Literal('info'), Type.Literal('warning'), Type.Literal('critical')]),
  text: Type.String({ description: 'One sentence for people: what happened, and why it is believed.' }),
  details: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]), {
    description: 'Figures of its kind: lostBytes, withoutPrimarySeconds, forkLsn, timeline, bytesWritten of each side …',
  }),
});
export type ReplicationEvent = Static<typeof ReplicationEvent>;

export const ReplicationPrimary = Type.Object({
  name: Maybe(Type.String({ description: 'Null: there is none, or nobody can tell.' })),
  id: Maybe(Type.String()),
  node: Maybe(Type.String()),
  instance: Maybe(Type.String()),
  certainty: Type.Union([Type.Literal('sure'), Type.Literal('likely'), Type.Literal('disputed'), Type.Literal('unknown')], {
    description:
      'sure: its agent reports it as one now, and nobody else is. likely: replicas stream from it, or it was one when last seen. disputed: split brain. unknown: none.',
  }),
  why: Type.String(),
  since: Maybe(Time),
  timeline: Maybe(Type.Integer()),
});
export type ReplicationPrimary = Static<typeof ReplicationPrimary>;

export const ReplicationCluster = Type.Object({
  systemIdentifier: Type.String(),
  name: Type.String({ description: 'For people: cluster_name where all agree, else the names of its instances.' }),
  primary: ReplicationPrimary,
  splitBrain: Type.Boolean(),
  withoutPrimarySeconds: Maybe(
    Type.Number({ description: 'For how long nothing has shown that there is a primary; null when there is one.' }),
  ),
  rpoBytes: Maybe(
    Type.Number({
      description:
        'What would be lost if the primary were lost now: its last known position less the furthest that any replica has flushed.',
    }),
  ),
  syncStandbysRequired: Maybe(Type.Integer()),
  syncStandbysPresent: Maybe(Type.Integer()),
  instances: Type.Array(ReplicationInstance),
  slots: Type.Array(ReplicationSlot),
  events: Type.Array(ReplicationEvent),
});
export type ReplicationCluster = Static<typeof ReplicationCluster>;

export const Replication = Type.Object({ at: Time, clusters: Type.Array(ReplicationCluster) });
export type Replication = Static<typeof Replication>;

/** The series by which one server of a cluster tells that another one, its primary, was lost; it has the label LOST_NODE. */
export const WITHOUT_PRIMARY = 'tidemark_replication_without_primary_seconds';
