/**
 * The observations "postgres.replication" and "postgres.settings" (version 1): what an agent saw of one PostgreSQL server.
 * Every LSN and the system identifier are strings: they have 64 bits and a float would lie about them.
 */
import { Type, type Static, type TSchema } from 'typebox';

const MaybeString = Type.Union([Type.String(), Type.Null()]);
const MaybeNumber = Type.Union([Type.Number(), Type.Null()]);
/** What the first agents did not say: absent means not asked, null means that the server does not know. */
const Later = <T extends TSchema>(schema: T) => Type.Optional(schema);
export const POSTGRES_REPLICATION = 'postgres.replication';

/** A row of pg_stat_replication, on the server that sends. */
export const ReplicaView = Type.Object({
  pid: MaybeNumber,
  applicationName: MaybeString,
  clientAddr: MaybeString,
  state: MaybeString,
  syncState: MaybeString,
  sentLsn: MaybeString,
  writeLsn: MaybeString,
  flushLsn: MaybeString,
  replayLsn: MaybeString,
  bytesBehind: Type.Union([Type.String(), Type.Null()], {
    description:
      'pg_wal_lsn_diff(sent_lsn, replay_lsn), as an exact decimal string; 0 where WAL is sent that the replica has replayed already.',
  }),
  slotName: MaybeString,
  backendStart: MaybeString,
  slotType: Later(MaybeString),
  /** An application name is not always one: "walreceiver" is everybody's. */
  clientHostname: Later(MaybeString),
  syncPriority: Later(MaybeNumber),
  /** PostgreSQL's own measures, in milliseconds; stale while nothing is replied. Shown, never judged. */
  writeLagMs: Later(MaybeNumber),
  flushLagMs: Later(MaybeNumber),
  replayLagMs: Later(MaybeNumber),
  /** How old the horizon is that its hot_standby_feedback holds back, in transactions. */
  xminAge: Later(MaybeNumber),
});
export type ReplicaView = Static<typeof ReplicaView>;

export const PostgresReplication = Type.Object({
  up: Type.Boolean(),
  reason: Type.Union([Type.String(), Type.Null()], {
    description:
      'Why it is not up: a stable word, for example "refused", "authentication", "starting", "timeout". While it is up, why it cannot be seen whole: "unsupported_version", "privilege".',
  }),
  detail: MaybeString,
  role: Type.Union([Type.Literal('primary'), Type.Literal('replica'), Type.Null()]),
  version: MaybeString,
  versionNumber: MaybeNumber,
  systemIdentifier: MaybeString,
  timeline: MaybeNumber,
  serverTime: MaybeString,
  startedAt: MaybeString,
  currentLsn: MaybeString,
  insufficientPrivilege: Type.Boolean({ description: 'The role lacks pg_monitor: what is missing below is unknown, not absent.' }),
  replicas: Type.Array(ReplicaView),
  receiver: Type.Union([
    Type.Null(),
    Type.Object({
      receiveLsn: MaybeString,
      replayLsn: MaybeString,
      lastReplayedTransactionAt: MaybeString,
      pauseState: MaybeString,
      status: Type.Union([Type.String(), Type.Null()], { description: 'pg_stat_wal_receiver.status; null when no receiver runs.' }),
      senderHost: MaybeString,
      senderPort: MaybeNumber,
      slotName: MaybeString,
      receivedTimeline: MaybeNumber,
      latestEndLsn: MaybeString,
      latestEndTime: MaybeString,
      pid: Later(MaybeNumber),
      /** When the receiver's process began (its backend_start): within moments of its sender's, whatever the addresses say. */
      startedAt: Later(MaybeString),
      writtenLsn: Later(MaybeString),
      flushedLsn: Later(MaybeString),
      lastMessageAgoMs: Later(
        Type.Union([Type.Number(), Type.Null()], {
          description: "Since anything came from the sender, on the server's own clock; null without a receiver.",
        }),
      ),
      minRecoveryEndTimeline: Later(MaybeNumber),
    }),
  ]),
  slots: Type.Array(
    Type.Object({
      name: Type.String(),
      type: MaybeString,
      active: Type.Union([Type.Boolean(), Type.Null()]),
      restartLsn: MaybeString,
      confirmedFlushLsn: MaybeString,
      walStatus: MaybeString,
      temporary: Later(Type.Union([Type.Boolean(), Type.Null()])),
      database: Later(MaybeString),
      plugin: Later(MaybeString),
      activePid: Later(MaybeNumber),
      safeWalBytes: Later(
        Type.Union([Type.String(), Type.Null()], { description: 'safe_wal_size: what may be written before it is lost.' }),
      ),
      inactiveSince: Later(MaybeString),
      invalidationReason: Later(MaybeString),
      conflicting: Later(Type.Union([Type.Boolean(), Type.Null()])),
      failover: Later(Type.Union([Type.Boolean(), Type.Null()])),
      synced: Later(Type.Union([Type.Boolean(), Type.Null()])),
      xminAge: Later(MaybeNumber),
      catalogXminAge: Later(MaybeNumber),
    }),
  ),
  clusterName: Later(MaybeString),
  /** Of a primary. What replicas can have been sent is what is flushed. */
  flushLsn: Later(MaybeString),
  insertLsn: Later(MaybeString),
  /** Of a primary that was promoted in this run of the server: where its recovery ended (pg_last_wal_replay_lsn stands still there). Null otherwise. */
  recoveryEndLsn: Later(MaybeString),
  /** By the control file; after a promotion they wait for the first checkpoint. */
  checkpointTimeline: Later(MaybeNumber),
  previousTimeline: Later(MaybeNumber),
  /** How this agent reaches it: a host and a port, or a socket's directory and a port. */
  reachedAt: Later(Type.Object({ host: Type.String(), port: Type.Number() })),
  /** Names and addresses of the machine of the agent (host name, every address but loopback), and the port the server listens on. */
  machine: Later(Type.Object({ hostname: Type.String(), addresses: Type.Array(Type.String(), { maxItems: 64 }), port: MaybeNumber })),
  /** Sessions that wait for a synchronous standby at this moment (wait event SyncRep). */
  waitingForSync: Later(MaybeNumber),
  archiver: Later(
    Type.Union([
      Type.Null(),
      Type.Object({
        archivedCount: MaybeNumber,
        failedCount: MaybeNumber,
        lastArchivedAt: MaybeString,
        lastFailedAt: MaybeString,
        lastFailedWal: MaybeString,
        waitingFiles: Type.Union([Type.Number(), Type.Null()], {
          description: 'Segments that wait to be archived; null when it may not be seen.',
        }),
      }),
    ]),
  ),
  /** WAL in pg_wal and the room on its file system, as far as they can be seen. */
  wal: Later(
    Type.Object({
      directoryBytes: Type.Union([Type.String(), Type.Null()]),
      segments: MaybeNumber,
      segmentBytes: MaybeNumber,
      diskFreeBytes: MaybeNumber,
      diskTotalBytes: MaybeNumber,
    }),
  ),
  /** Of a logical subscriber; those of every database. */
  subscriptions: Later(
    Type.Array(
      Type.Object({
        name: Type.String(),
        database: MaybeString,
        enabled: Type.Union([Type.Boolean(), Type.Null()]),
        slotName: MaybeString,
        workerPid: MaybeNumber,
        receivedLsn: MaybeString,
        latestEndLsn: MaybeString,
        lastMessageAgoMs: MaybeNumber,
        tablesNotReady: MaybeNumber,
        /** Host and port out of its connection string, where they can be seen. Never the rest of it. */
        publisherHost: MaybeString,
        publisherPort: MaybeString,
        applyErrors: MaybeNumber,
        syncErrors: MaybeNumber,
      }),
      { maxItems: 200 },
    ),
  ),
  /** What the role of the agent may not see, by what would have to be granted; empty when it sees all. */
  missingRights: Later(Type.Array(Type.String(), { maxItems: 20 })),
});
export type PostgresReplication = Static<typeof PostgresReplication>;

export const POSTGRES_SETTINGS = 'postgres.settings';

/** Settings that replication depends on, looked at every few minutes. */
export const PostgresSettings = Type.Object({
  insufficientPrivilege: Type.Boolean({ description: 'The role may not see every setting: what is missing below is unknown, not absent.' }),
  settings: Type.Array(
    Type.Object({
      name: Type.String(),
      value: Type.Union([Type.String(), Type.Null()], { description: 'As pg_settings has it, in its unit.' }),
      unit: MaybeString,
      source: MaybeString,
      pendingRestart: Type.Boolean(),
    }),
  ),
  primary: Type.Union(
    [
      Type.Null(),
      Type.Object({
        host: MaybeString,
        port: MaybeString,
      }),
    ],
    { description: 'Host and port out of primary_conninfo, as written there; several are separated by commas. Never the rest of it.' },
  ),
});
export type PostgresSettings = Static<typeof PostgresSettings>;

export const POSTGRES_TRACK = 'postgres.track';

/**
 * Where a server stood, every two seconds since the report before, whatever the report's interval. Times are milliseconds
 * before the report's own `takenAt`, on the agent's steady clock, so that nobody's setting of a clock moves them; a sample's
 * time is when its query was sent. Of stretches in which nothing changed only the first and the last sample are there.
 * The LSN clock of the collector is made of it: docs/explanation/replication-lag.md.
 */
export const PostgresTrack = Type.Object({
  systemIdentifier: MaybeString,
  errorMs: Type.Number({ description: 'The longest that one of its queries took: what it answered was so at some moment within it.' }),
  runs: Type.Array(
    Type.Object({
      role: Type.Union([Type.Literal('primary'), Type.Literal('replica')]),
      timeline: MaybeNumber,
      samples: Type.Array(
        Type.Tuple([Type.Number(), MaybeString, MaybeString, MaybeString, MaybeNumber], {
          description:
            '[agoMs, head, replayed, sender, senderAgoMs], oldest first. head: what it could send on, the flushed position of a primary or the furthest of received and replayed of a replica. ' +
            "replayed: a replica's. sender: latest_end_lsn, where its upstream said that it stood, senderAgoMs before the report's time (the last message's arrival).",
        }),
        { maxItems: 4_000 },
      ),
    }),
    { maxItems: 50, description: 'A new one whenever role, timeline or the start of the server changes. Oldest first.' },
  ),
});
export type PostgresTrack = Static<typeof PostgresTrack>;
