/**
 * From the rows of the probe's statements to what was seen of a server. What PostgreSQL did not say stays
 * null, and no LSN or identifier ever becomes a float.
 */
import type { PostgresReplication, ReplicaView } from '@tidemark/protocol';
import type { Failure } from './failure.ts';
import type { Row } from './session.ts';

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
}

export interface Control {
  readonly systemIdentifier: string | null;
  readonly timeline: number | null;
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
];
type SlotRow = [
  name: string,
  type: string | null,
  active: boolean | null,
  restartLsn: string | null,
  confirmedFlushLsn: string | null,
  walStatus: string | null,
  temporary: boolean | null,
];
type ReceiverRow = [
  status: string | null,
  senderHost: string | null,
  senderPort: number | null,
  slotName: string | null,
  receivedTimeline: number | null,
  latestEndLsn: string | null,
  latestEndTime: string | null,
];

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
  };
}

export function controlFrom(row: Row): Control {
  return { systemIdentifier: row['system_identifier'] ?? null, timeline: wholeNumber(row['timeline']) };
}

export const UNKNOWN_CONTROL: Control = { systemIdentifier: null, timeline: null };

/** What was seen of a server that answered. `hindrance` is why it could not be seen whole. */
export function readingFrom(row: Row, identity: Identity, control: Control, hindrance: Failure | undefined): Reading {
  const replicas = (json(row['replicas']) ?? []) as ReplicaRow[];
  const slots = (json(row['slots']) ?? []) as SlotRow[];
  const connections = (json(row['connections']) ?? {}) as Record<string, number>;
  const inRecovery = row['in_recovery'] === 't';
  const seesAll = row['sees_all'] === 't';
  const receiver = inRecovery && hindrance?.reason !== 'privilege' ? receiverFrom(row) : null;
  return {
    document: {
      up: true,
      reason: hindrance?.reason ?? null,
      detail: hindrance?.detail ?? null,
      role: inRecovery ? 'replica' : 'primary',
      version: identity.shortVersion,
      versionNumber: identity.versionNumber,
      systemIdentifier: control.systemIdentifier,
      timeline: timelineOf(row, receiver?.receivedTimeline ?? null, control.timeline),
      serverTime: isoTime(row['server_time']),
      startedAt: isoTime(row['started_at']),
      currentLsn: row['current_lsn'] ?? null,
      insufficientPrivilege: row['sees_all'] === 'f' || hindrance?.reason === 'privilege',
      replicas: replicas.map(replicaFrom),
      receiver,
      slots: slots.map(([name, type, active, restartLsn, confirmedFlushLsn, walStatus]) => ({
        name,
        type,
        active,
        restartLsn,
        confirmedFlushLsn,
        walStatus,
      })),
    },
    connections: seesAll ? new Map(Object.entries(connections)) : null,
    temporarySlots: new Set(slots.filter((slot) => slot[6] === true).map(([name]) => name)),
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

/** A position in the WAL ("16/B374D848") in bytes since the beginning, exactly. */
export function lsnBytes(lsn: string | null): bigint | null {
  const match = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(lsn ?? '');
  return match === null ? null : (BigInt(`0x${match[1]!}`) << 32n) + BigInt(`0x${match[2]!}`);
}

function replicaFrom(row: ReplicaRow): ReplicaView {
  const [pid, applicationName, clientAddr, state, syncState, sentLsn, writeLsn, flushLsn, replayLsn, bytesBehind, slotName, backendStart] =
    row;
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
  };
}

function receiverFrom(row: Row): NonNullable<PostgresReplication['receiver']> {
  const [status, senderHost, senderPort, slotName, receivedTimeline, latestEndLsn, latestEndTime] = (json(row['receiver']) ??
    []) as Partial<ReceiverRow>;
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
  };
}

/** A primary's is that of the WAL it writes; a replica's is the furthest it is known to have reached. */
function timelineOf(row: Row, received: number | null, control: number | null): number | null {
  const written = row['timeline_hex'];
  if (typeof written === 'string') return Number.parseInt(written, 16);
  if (received === null) return control;
  return Math.max(received, control ?? 0);
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
