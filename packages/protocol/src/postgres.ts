/**
 * The observations "postgres.replication" and "postgres.settings" (version 1): what an agent saw of one PostgreSQL server.
 * Every LSN and the system identifier are strings: they have 64 bits and a float would lie about them.
 */
import { Type, type Static } from 'typebox';

const MaybeString = Type.Union([Type.String(), Type.Null()]);
const MaybeNumber = Type.Union([Type.Number(), Type.Null()]);
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
    }),
  ),
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
