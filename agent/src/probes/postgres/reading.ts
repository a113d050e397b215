/**
 * From the rows of the probe's statements to what was seen of a server. What PostgreSQL did not say stays
 * null, and no LSN or identifier ever becomes a float.
 */
import type { PostgresReplication, ReplicaView } from '@tidemark/protocol';
import type { Failure } from './failure.ts';
import type { Row } from './queries.ts';

/** What holds for as long as a connection does. */
export interface Identity {
  /** As `version()` says it. */
  readonly version: string | null;
  /** "15.18", without the packager's words. */
  readonly shortVersion: string | null;
  readonly versionNumber: number | null;
  readonly maxConnections: number | null;
  readonly superuserReservedConnections: number | null;
  readonly reservedConnections: number | null;
  readonly maxWalSenders: number | null;
  readonly maxReplicationSlots: number | null;
  readonly clusterName: string | null;
  /** The port it listens on; something in between may show another one to the world. */
  readonly port: number | null;
  readonly database: string | null;
  readonly backendPid: number | null;
  readonly startedAt: string | null;
}

/** By its control file. */
export interface Control {
  readonly systemIdentifier: string | null;
  /** The furthest that it is known to have reached. */
  readonly timeline: number | null;
  readonly checkpointTimeline: number | null;
  readonly previousTimeline: number | null;
  readonly minRecoveryEndTimeline: number | null;
}

/** What the watcher remembers or finds out beside the row itself. */
export interface Around {
  /** Why it could not be seen whole. */
  readonly hindrance?: Failure | undefined;
  /** It was a replica earlier in this run of the server. */
  readonly promoted?: boolean | undefined;
  /** A replica's timeline never goes back in one run of the server, even when less is seen of it. */
  readonly timelineFloor?: number | undefined;
  readonly reachedAt?: PostgresReplication['reachedAt'];
  readonly machine?: { readonly hostname: string; readonly addresses: string[] } | undefined;
}

export interface Reading {
  readonly document: PostgresReplication;
  /** Client connections by state; null when the role may not see them. */
  readonly connections: ReadonlyMap<string, number> | null;
  /** Slots that vanish with their session: no series are made of them. */
  readonly temporarySlots: ReadonlySet<string>;
}

/** The supported releases, as server_version_num has them. */
export const OLDEST_SUPPORTED = 150_000;
export const FIRST_UNKNOWN = 190_000;

type ReplicaRow = [
  pid: number,
  applicationName: string | null,
  clientAddr: string | null,
  state: string | null,
  syncState: string | null,
  sentLsn: string | null,
  writeLsn: string | null,
  flushLsn: string | null,
  replayLsn: string | null,
  bytesBehind: string | null,
  slotName: string | null,
  backendStart: string | null,
  slotType: string | null,
  clientHostname: string | null,
  syncPriority: number | null,
  writeLagMs: number | null,
  flushLagMs: number | null,
  replayLagMs: number | null,
  xminAge: number | null,
];
/** As pg_replication_slots has it, less what is given apart. Later versions have more columns: absent ones are undefined. */
interface SlotColumns {
  readonly slot_name: string;
  readonly slot_type: string | null;
  readonly active: boolean | null;
  readonly active_pid: number | null;
  readonly restart_lsn: string | null;
  readonly confirmed_flush_lsn: string | null;
  readonly wal_status: string | null;
  readonly temporary: boolean | null;
  readonly database: string | null;
  readonly plugin: string | null;
  readonly conflicting?: boolean | null;
  readonly inactive_since?: string | null;
  readonly invalidation_reason?: string | null;
  readonly failover?: boolean | null;
  readonly synced?: boolean | null;
}
type SlotRow = [columns: SlotColumns, safeWalBytes: string | null, xminAge: number | null, catalogXminAge: number | null];
type ReceiverRow = [
  status: string | null,
  senderHost: string | null,
  senderPort: number | null,
  slotName: string | null,
  receivedTimeline: number | null,
  latestEndLsn: string | null,
  latestEndTime: string | null,
  pid: number | null,
  writtenLsn: string | null,
  flushedLsn: string | null,
  lastMessageAgoMs: number | null,
  startedAt: string | null,
];
/** State null: not a client's. */
type ActivityRow = [state: string | null, connections: number, waitingForSync: number];

export function identityFrom(row: Row): Identity {
  return {
    version: row['version'] ?? null,
    shortVersion: row['short_version']?.split(' ', 1)[0] ?? null,
    versionNumber: wholeNumber(row['version_number']),
    maxConnections: wholeNumber(row['max_connections']),
    superuserReservedConnections: wholeNumber(row['superuser_reserved_connections']),
    reservedConnections: wholeNumber(row['reserved_connections']),
    maxWalSenders: wholeNumber(row['max_wal_senders']),
    maxReplicationSlots: wholeNumber(row['max_replication_slots']),
    clusterName: row['cluster_name'] ?? null,
    port: wholeNumber(row['port']),
    database: row['database'] ?? null,
    backendPid: wholeNumber(row['backend_pid']),
    startedAt: row['started_at'] ?? null,
  };
}

export function controlFrom(row: Row): Control {
  return {
    systemIdentifier: row['system_identifier'] ?? null,
    timeline: wholeNumber(row['timeline']),
    checkpointTimeline: wholeNumber(row['checkpoint_timeline']),
    previousTimeline: wholeNumber(row['previous_timeline']),
    minRecoveryEndTimeline: wholeNumber(row['min_recovery_end_timeline']),
  };
}

export const UNKNOWN_CONTROL: Control = controlFrom({});

/** What was seen of a server that answered. */
export function readingFrom(row: Row, identity: Identity, control: Control, around: Around = {}): Reading {
  const { hindrance } = around;
  const replicas = (json(row['replicas']) ?? []) as ReplicaRow[];
  const slots = (json(row['slots']) ?? []) as SlotRow[];
  const activity = (json(row['connections']) ?? []) as ActivityRow[];
  const inRecovery = row['in_recovery'] === 't';
  const seesAll = row['sees_all'] === 't';
  // Where not even its positions may be read, nothing is known of a receiver.
  const receiver = inRecovery && (hindrance?.reason !== 'privilege' || 'replay_lsn' in row) ? receiverFrom(row, control) : null;
  return {
    document: {
      up: true,
      reason: hindrance?.reason ?? null,
      detail: hindrance?.detail ?? null,
      role: inRecovery ? 'replica' : 'primary',
      version: identity.shortVersion,
      versionNumber: identity.versionNumber,
      systemIdentifier: control.systemIdentifier,
      timeline: timelineOf(row, receiver?.receivedTimeline ?? null, control.timeline, around.timelineFloor),
      serverTime: isoTime(row['server_time']),
      startedAt: isoTime(row['started_at']),
      currentLsn: row['current_lsn'] ?? null,
      insufficientPrivilege: row['sees_all'] === 'f' || hindrance?.reason === 'privilege',
      replicas: replicas.map(replicaFrom),
      receiver,
      slots: slots.map(slotFrom),
      clusterName: identity.clusterName,
      flushLsn: row['flush_lsn'] ?? null,
      insertLsn: row['insert_lsn'] ?? null,
      recoveryEndLsn: recoveryEndOf(row, around.promoted === true),
      checkpointTimeline: control.checkpointTimeline,
      previousTimeline: control.previousTimeline,
      ...(around.reachedAt !== undefined && { reachedAt: around.reachedAt }),
      ...(around.machine !== undefined && { machine: { ...around.machine, port: identity.port } }),
      waitingForSync: seesAll ? activity.reduce((sum, [, , waiting]) => sum + waiting, 0) : null,
    },
    connections: seesAll ? new Map(activity.flatMap(([state, count]) => (state === null ? [] : [[state, count]]))) : null,
    temporarySlots: new Set(slots.filter(([slot]) => slot.temporary === true).map(([slot]) => slot.slot_name)),
  };
}

/** What there is to say of a server that could not be asked. */
export function downDocument({ reason, detail }: Failure): PostgresReplication {
  return {
    up: false,
    reason,
    detail,
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
}

function replicaFrom(row: ReplicaRow): ReplicaView {
  const [pid, applicationName, clientAddr, state, syncState, sentLsn, writeLsn, flushLsn, replayLsn, bytesBehind, slotName, backendStart] =
    row;
  const [slotType, clientHostname, syncPriority, writeLagMs, flushLagMs, replayLagMs, xminAge] = row.slice(12) as LaterColumns<ReplicaRow>;
  return {
    pid,
    applicationName,
    clientAddr,
    state,
    syncState,
    sentLsn,
    writeLsn,
    flushLsn,
    replayLsn,
    bytesBehind,
    slotName,
    backendStart: isoTime(backendStart),
    slotType,
    clientHostname,
    syncPriority,
    writeLagMs,
    flushLagMs,
    replayLagMs,
    xminAge,
  };
}

type LaterColumns<Columns extends unknown[]> = Columns extends [...unknown[], infer A, infer B, infer C, infer D, infer E, infer F, infer G]
  ? [A, B, C, D, E, F, G]
  : never;

function slotFrom([slot, safeWalBytes, xminAge, catalogXminAge]: SlotRow): PostgresReplication['slots'][number] {
  return {
    name: slot.slot_name,
    type: slot.slot_type,
    active: slot.active,
    restartLsn: slot.restart_lsn,
    confirmedFlushLsn: slot.confirmed_flush_lsn,
    walStatus: slot.wal_status,
    temporary: slot.temporary,
    database: slot.database,
    plugin: slot.plugin,
    activePid: slot.active_pid,
    safeWalBytes,
    xminAge,
    catalogXminAge,
    // Of later versions. What a version does not have is absent here too, not unknown.
    ...(slot.inactive_since !== undefined && { inactiveSince: isoTime(slot.inactive_since) }),
    ...(slot.invalidation_reason !== undefined && { invalidationReason: slot.invalidation_reason }),
    ...(slot.conflicting !== undefined && { conflicting: slot.conflicting }),
    ...(slot.failover !== undefined && { failover: slot.failover }),
    ...(slot.synced !== undefined && { synced: slot.synced }),
  };
}

function receiverFrom(row: Row, control: Control): NonNullable<PostgresReplication['receiver']> {
  const [
    status,
    senderHost,
    senderPort,
    slotName,
    receivedTimeline,
    latestEndLsn,
    latestEndTime,
    pid,
    writtenLsn,
    flushedLsn,
    agoMs,
    startedAt,
  ] = (json(row['receiver']) ?? []) as Partial<ReceiverRow>;
  return {
    receiveLsn: row['receive_lsn'] ?? null,
    replayLsn: row['replay_lsn'] ?? null,
    lastReplayedTransactionAt: isoTime(row['last_replayed_at']),
    pauseState: row['pause_state'] ?? null,
    status: status ?? null,
    senderHost: senderHost ?? null,
    senderPort: senderPort ?? null,
    slotName: slotName ?? null,
    receivedTimeline: receivedTimeline ?? null,
    latestEndLsn: latestEndLsn ?? null,
    latestEndTime: isoTime(latestEndTime),
    pid: pid ?? null,
    startedAt: isoTime(startedAt),
    writtenLsn: writtenLsn ?? null,
    flushedLsn: flushedLsn ?? null,
    lastMessageAgoMs: agoMs === undefined || agoMs === null ? null : Math.max(0, agoMs),
    minRecoveryEndTimeline: control.minRecoveryEndTimeline,
  };
}

/** A primary's is that of the WAL it writes; a replica's is the furthest it is known to have reached. */
function timelineOf(row: Row, received: number | null, control: number | null, floor = 0): number | null {
  const written = row['timeline_hex'];
  if (typeof written === 'string') return Number.parseInt(written, 16);
  const furthest = Math.max(received ?? 0, control ?? 0, floor);
  return furthest === 0 ? null : furthest;
}

/**
 * Where the recovery of a promoted primary ended: its replay position stands still there until it starts anew. A primary
 * that only recovered from a crash has one too, but has never received WAL, nor noted when what it replayed was committed.
 */
function recoveryEndOf(row: Row, promoted: boolean): string | null {
  if (row['in_recovery'] !== 'f') return null;
  const received = typeof row['receive_lsn'] === 'string' || typeof row['last_replayed_at'] === 'string';
  return promoted || received ? (row['replay_lsn'] ?? null) : null;
}

/** "2026-11-21 06:00:00.123456+00" or with a T and "+00:00", as the same moment in ISO 8601 with a Z; microseconds stay. */
export function isoTime(time: string | null | undefined): string | null {
  if (time === null || time === undefined) return null;
  const match = /^(\d{4,}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?)\+00(?::00)?$/.exec(time);
  return match === null ? null : `${match[1]!}T${match[2]!}Z`;
}

/** What our own statements put together; null where they had nothing to put together. */
function json(text: string | null | undefined): unknown {
  return text === null || text === undefined ? null : JSON.parse(text);
}

function wholeNumber(text: string | null | undefined): number | null {
  return text === null || text === undefined || !/^-?\d+$/.test(text) ? null : Number(text);
}
