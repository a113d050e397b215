/**
 * From what was seen of a PostgreSQL server to its series. A label never holds what changes by itself (a
 * state, a pid), so that a series lasts as long as what it is about; every series names its `server`,
 * because Prometheus's own `instance` is the node.
 */
import { bytesBetween, parseLsn, type PostgresReplication, type ReplicaView } from '@tidemark/protocol';
import { metric, type BlockRecorder, type Metric } from '../recorder.ts';
import type { Identity, Reading } from './reading.ts';

const REPLICA = ['server', 'application_name', 'client_addr', 'slot_name', 'duplicate'];

const up = metric('pg_up', 'gauge', '', 'Whether the PostgreSQL server takes connections and answers: 1, or 0 when it does not.', [
  'server',
]);
const info = metric('pg_static', 'gauge', '', 'Version string as reported by postgres.', ['server', 'version', 'short_version']);
const isReplica = metric('pg_replication_is_replica', 'gauge', '', 'Indicates if the server is a replica.', ['server']);
const startTime = metric('pg_postmaster_start_time_seconds', 'gauge', 'seconds', 'Time at which postmaster started.', ['server']);
const unprivileged = metric(
  'tidemark_postgres_insufficient_privilege',
  'gauge',
  '',
  '1 when the role of the agent lacks pg_monitor, so that part of the server is unknown.',
  ['server'],
);
const maxConnections = metric('pg_settings_max_connections', 'gauge', '', 'Server Parameter: max_connections', ['server']);
const superuserReserved = metric(
  'pg_settings_superuser_reserved_connections',
  'gauge',
  '',
  'Server Parameter: superuser_reserved_connections',
  ['server'],
);
const reserved = metric('pg_settings_reserved_connections', 'gauge', '', 'Server Parameter: reserved_connections', ['server']);
const maxWalSenders = metric('pg_settings_max_wal_senders', 'gauge', '', 'Server Parameter: max_wal_senders', ['server']);
const maxSlots = metric('pg_settings_max_replication_slots', 'gauge', '', 'Server Parameter: max_replication_slots', ['server']);
const activity = metric('pg_stat_activity_count', 'gauge', '', 'Number of client connections in this state.', ['server', 'state']);
const connectionsUsed = metric(
  'tidemark_postgres_connections_used_ratio',
  'gauge',
  'ratio',
  'Client connections as a share of max_connections; the last few of those are reserved for superusers.',
  ['server'],
);
const walPosition = metric(
  'tidemark_postgres_wal_bytes_total',
  'counter',
  'bytes',
  'WAL since the beginning of the cluster: written by a primary (current), received and replayed by a replica.',
  ['server', 'position'],
);
const replicas = metric('tidemark_postgres_replicas', 'gauge', '', 'Replicas connected to this server, in whatever state.', ['server']);
const replicaStreaming = metric(
  'tidemark_postgres_replica_streaming',
  'gauge',
  '',
  '1 when the replica streams; 0 when it starts, catches up or stops.',
  REPLICA,
);
const replicaSynchronous = metric(
  'tidemark_postgres_replica_synchronous',
  'gauge',
  '',
  '1 when commits may wait for this replica (sync or quorum).',
  REPLICA,
);
const replicaBehind = metric(
  'tidemark_postgres_replica_bytes_behind',
  'gauge',
  'bytes',
  'WAL that was sent to the replica and is not replayed there.',
  REPLICA,
);
const replicaDiff = metric(
  'pg_stat_replication_pg_wal_lsn_diff',
  'gauge',
  'bytes',
  'WAL between the position of this server and what the replica has replayed, sent or not.',
  REPLICA,
);
const receiverUp = metric('tidemark_postgres_receiver_up', 'gauge', '', '1 when the WAL receiver of this replica streams.', ['server']);
const replayPaused = metric('tidemark_postgres_replay_paused', 'gauge', '', '1 when replay is paused on this replica, or is about to be.', [
  'server',
]);
const unreplayed = metric(
  'tidemark_postgres_replay_backlog_bytes',
  'gauge',
  'bytes',
  'WAL that this replica has received and not replayed. Says nothing of what it has not received.',
  ['server'],
);
const lastReplayed = metric(
  'tidemark_postgres_last_replayed_transaction_timestamp_seconds',
  'gauge',
  'seconds',
  'When the last transaction replayed here was committed, on the clock of the primary. Stands still when nothing is written: no lag follows from it.',
  ['server'],
);
const slotActive = metric('pg_replication_slot_slot_is_active', 'gauge', '', 'Whether the replication slot is in use.', [
  'server',
  'slot_name',
  'slot_type',
]);
const slotRetained = metric('tidemark_postgres_slot_retained_bytes', 'gauge', 'bytes', 'WAL that the server keeps for this slot.', [
  'server',
  'slot_name',
  'slot_type',
]);
const slotXminAge = metric(
  'tidemark_postgres_slot_xmin_age',
  'gauge',
  '',
  'Transactions since the horizon that the slot holds back: rows that died since cannot be cleaned up. By hot_standby_feedback of its replica, or of the catalog for a logical slot.',
  ['server', 'slot_name', 'slot_type'],
);
const databaseSize = metric(
  'pg_database_size_bytes',
  'gauge',
  'bytes',
  'Disk space used by the database, looked at every quarter of an hour.',
  ['server', 'datname'],
);

/** As pg_stat_activity has them up to PostgreSQL 18; any other one counts as a connection and in no state. */
const STATES = ['active', 'idle', 'idle in transaction', 'idle in transaction (aborted)', 'fastpath function call', 'disabled'];

export function recordDown(block: BlockRecorder, server: string): void {
  block.add(up, 0, server);
}

export interface Seen {
  readonly server: string;
  readonly reading: Reading;
  readonly identity: Identity;
  readonly replicaNames: ReplicaNames;
  readonly databaseSizes: ReadonlyMap<string, number>;
}

export function recordUp(block: BlockRecorder, { server, reading, identity, replicaNames, databaseSizes }: Seen): void {
  const { document } = reading;
  const addKnown = (metricOf: Metric, value: number | null): void => {
    if (value !== null) block.add(metricOf, value, server);
  };
  block.add(up, 1, server);
  if (identity.version !== null && identity.shortVersion !== null) block.add(info, 1, server, identity.version, identity.shortVersion);
  block.add(isReplica, document.role === 'replica' ? 1 : 0, server);
  addKnown(startTime, epochSeconds(document.startedAt));
  block.add(unprivileged, document.insufficientPrivilege ? 1 : 0, server);
  addKnown(maxConnections, identity.maxConnections);
  addKnown(superuserReserved, identity.superuserReservedConnections);
  addKnown(reserved, identity.reservedConnections);
  addKnown(maxWalSenders, identity.maxWalSenders);
  addKnown(maxSlots, identity.maxReplicationSlots);
  if (reading.connections !== null) recordConnections(block, server, reading.connections, identity.maxConnections);
  recordReplication(block, server, reading, replicaNames);
  for (const [name, bytes] of databaseSizes) block.add(databaseSize, bytes, server, name);
}

function recordConnections(block: BlockRecorder, server: string, byState: ReadonlyMap<string, number>, maximum: number | null): void {
  let total = 0;
  for (const connections of byState.values()) total += connections;
  for (const state of STATES) block.add(activity, byState.get(state) ?? 0, server, state);
  block.add(connectionsUsed, maximum === null || maximum === 0 ? null : total / maximum, server);
}

function recordReplication(block: BlockRecorder, server: string, { document, temporarySlots }: Reading, names: ReplicaNames): void {
  const { receiver } = document;
  const position = positionOf(document);
  if (document.currentLsn !== null) block.add(walPosition, toNumber(parseLsn(document.currentLsn)), server, 'current');
  if (receiver !== null) {
    // Someone without the privilege sees that a receiver is there and not what it does.
    const knowsReceiver = !document.insufficientPrivilege;
    block.add(receiverUp, knowsReceiver ? (receiver.status === 'streaming' ? 1 : 0) : null, server);
    block.add(replayPaused, receiver.pauseState === null ? null : receiver.pauseState === 'not paused' ? 0 : 1, server);
    block.add(walPosition, toNumber(position), server, 'receive');
    block.add(walPosition, toNumber(parseLsn(receiver.replayLsn)), server, 'replay');
    block.add(unreplayed, distance(parseLsn(receiver.receiveLsn), parseLsn(receiver.replayLsn)), server);
    block.add(lastReplayed, epochSeconds(receiver.lastReplayedTransactionAt), server);
  }
  block.add(replicas, document.replicas.length, server);
  // Without the privilege only their pids are known, which make no labels.
  if (!document.insufficientPrivilege) {
    const labels = names.labels(document.replicas);
    document.replicas.forEach((replica, i) => recordReplica(block, server, replica, labels[i]!, position));
  }
  for (const { name, type, active, restartLsn, xminAge, catalogXminAge } of document.slots) {
    if (temporarySlots.has(name)) continue;
    block.add(slotActive, active === null ? null : active ? 1 : 0, server, name, type ?? '');
    block.add(slotRetained, distance(position, parseLsn(restartLsn)), server, name, type ?? '');
    if (xminAge !== undefined || catalogXminAge !== undefined)
      block.add(slotXminAge, older(xminAge, catalogXminAge), server, name, type ?? '');
  }
}

/** The older of two horizons; null where neither is held. */
function older(one: number | null | undefined, other: number | null | undefined): number | null {
  if (one === null || one === undefined) return other ?? null;
  return other === null || other === undefined ? one : Math.max(one, other);
}

function recordReplica(
  block: BlockRecorder,
  server: string,
  replica: ReplicaView,
  labels: readonly string[],
  position: bigint | undefined,
): void {
  block.add(replicaStreaming, replica.state === null ? null : replica.state === 'streaming' ? 1 : 0, server, ...labels);
  block.add(
    replicaSynchronous,
    replica.syncState === null ? null : replica.syncState === 'sync' || replica.syncState === 'quorum' ? 1 : 0,
    server,
    ...labels,
  );
  block.add(replicaBehind, replica.bytesBehind === null ? null : Number(replica.bytesBehind), server, ...labels);
  block.add(replicaDiff, distance(position, parseLsn(replica.replayLsn)), server, ...labels);
}

/**
 * Tells replicas with the same name, address and slot apart: the second gets "2" and keeps it for as long as it
 * is connected, whatever happens to the first; one that comes back takes the lowest number that is free.
 */
export class ReplicaNames {
  #known = new Map<string, { key: string; nth: number }>();

  /** Values for the labels application_name, client_addr, slot_name and duplicate, in the order of the replicas. */
  labels(views: readonly ReplicaView[]): string[][] {
    const known = new Map<string, { key: string; nth: number }>();
    const taken = new Set<string>();
    const keyed = views.map((view) => ({
      backend: `${view.pid} ${view.backendStart}`,
      names: [view.applicationName ?? '', view.clientAddr ?? '', view.slotName ?? ''],
    }));
    for (const { backend, names } of keyed) {
      const before = this.#known.get(backend);
      if (before?.key !== JSON.stringify(names)) continue;
      known.set(backend, before);
      taken.add(`${before.nth} ${before.key}`);
    }
    for (const { backend, names } of keyed) {
      if (known.has(backend)) continue;
      const key = JSON.stringify(names);
      let nth = 1;
      while (taken.has(`${nth} ${key}`)) nth++;
      taken.add(`${nth} ${key}`);
      known.set(backend, { key, nth });
    }
    this.#known = known;
    return keyed.map(({ backend, names }) => {
      const { nth } = known.get(backend)!;
      return [...names, nth === 1 ? '' : String(nth)];
    });
  }
}

/** Where this server's own WAL ends: what it wrote, or on a replica what it has. */
function positionOf({ currentLsn, receiver }: PostgresReplication): bigint | undefined {
  if (currentLsn !== null) return parseLsn(currentLsn);
  const received = parseLsn(receiver?.receiveLsn);
  const replayed = parseLsn(receiver?.replayLsn);
  // After a restart the receiver begins at its segment's start, behind what is long replayed.
  return received === undefined || (replayed !== undefined && replayed > received) ? replayed : received;
}

function distance(ahead: bigint | undefined, behind: bigint | undefined): number | null {
  return ahead === undefined || behind === undefined ? null : bytesBetween(behind, ahead);
}

function toNumber(bytes: bigint | undefined): number | null {
  return bytes === undefined ? null : Number(bytes);
}

function epochSeconds(iso: string | null): number | null {
  if (iso === null) return null;
  const ms = Date.parse(iso);
  return Number.isNaN(ms) ? null : ms / 1000;
}
