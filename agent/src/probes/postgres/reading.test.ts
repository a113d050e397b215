/** Rows as PostgreSQL sends them (text, JSON, NULL) to documents: exact where numbers have 64 bits, null where nothing was said. */
import { PostgresReplication } from '@tidemark/protocol';
import { Value } from 'typebox/value';
import { expect, test } from 'vitest';
import { controlFrom, downDocument, identityFrom, isoTime, readingFrom, UNKNOWN_CONTROL } from './reading.ts';
import type { Row } from './queries.ts';

const IDENTITY = identityFrom({
  version: 'PostgreSQL 17.10 (Debian 17.10-1) on x86_64',
  short_version: '17.10 (Debian 17.10-1)',
  version_number: '170010',
  max_connections: '100',
  superuser_reserved_connections: '3',
  reserved_connections: null,
  max_wal_senders: '10',
  max_replication_slots: '10',
});
const CONTROL = controlFrom({
  system_identifier: '18446744073709551615',
  timeline: '3',
  checkpoint_timeline: '3',
  previous_timeline: '2',
  min_recovery_end_timeline: '0',
});

const nulls = (count: number): null[] => Array.from({ length: count }, () => null);
const SLOT = {
  slot_type: 'physical',
  active: true,
  active_pid: null,
  restart_lsn: '16/B374D000',
  confirmed_flush_lsn: null,
  wal_status: 'reserved',
  temporary: false,
  database: null,
  plugin: null,
  two_phase: false,
};
/** Columns that PostgreSQL 15 does not have. */
const LATER = {
  conflicting: false,
  inactive_since: '2026-11-21T05:00:00.25+00:00',
  invalidation_reason: null,
  failover: true,
  synced: false,
};

const PRIMARY: Row = {
  in_recovery: 'f',
  sees_all: 't',
  replicas: JSON.stringify([
    [
      4711,
      'a "quoted"\nname 😀',
      '10.0.0.2',
      'streaming',
      'async',
      '16/B374D848',
      '16/B374D848',
      '16/B374D848',
      '16/B374D000',
      '2120',
      'standby_1',
      '2026-11-21T06:00:00.123456+00:00',
      'physical',
      'standby1.example',
      0,
      0.123,
      0.5,
      12.25,
      77,
    ],
    [4712, 'pg_basebackup', null, 'backup', 'async', '0/0', null, null, null, null, null, '2026-11-21T06:00:01+00:00', ...nulls(7)],
  ]),
  slots: JSON.stringify([
    [{ ...SLOT, slot_name: 'pg_basebackup_1', restart_lsn: '16/B0000000', temporary: true }, null, null, null],
    [{ ...SLOT, slot_name: 'standby_1', active_pid: 4711 }, '67108864', 12, null],
    [{ ...SLOT, ...LATER, slot_name: 'sub_1', slot_type: 'logical', active: false, database: 'app', plugin: 'pgoutput' }, null, null, 9],
  ]),
  replay_lsn: null,
  receive_lsn: null,
  pause_state: null,
  last_replayed_at: null,
  receiver: null,
  current_lsn: 'FFFFFFFF/FFFFFFFF',
  timeline_hex: '0000000A',
  flush_lsn: 'FFFFFFFF/FFFFFFFE',
  insert_lsn: 'FFFFFFFF/FFFFFFFF',
  connections: '[["active", 1, 1], ["idle", 41, 0], [null, 7, 0], ["unknown", 1, 0]]',
  started_at: '2026-11-20 05:00:00+00',
  server_time: '2026-11-21 06:00:02.000001+00',
};

const REPLICA: Row = {
  ...PRIMARY,
  in_recovery: 't',
  replicas: null,
  slots: null,
  replay_lsn: '16/B374D000',
  receive_lsn: '16/B374D848',
  pause_state: 'paused',
  last_replayed_at: '2026-11-21 05:59:00.5+00',
  receiver: JSON.stringify([
    'streaming',
    '10.0.0.1',
    5432,
    null,
    12,
    '16/B374D848',
    '2026-11-21T05:59:59.999999+00:00',
    99,
    '16/B374D849',
    '16/B374D848',
    -1,
    '2026-11-21T05:00:00.25+00:00',
  ]),
  current_lsn: null,
  timeline_hex: null,
  flush_lsn: null,
  insert_lsn: null,
};

test('a primary with its replicas and slots', () => {
  const { document, connections, temporarySlots } = readingFrom(PRIMARY, IDENTITY, CONTROL);
  expect(Value.Check(PostgresReplication, document)).toBe(true);
  expect(document).toMatchObject({
    up: true,
    reason: null,
    role: 'primary',
    version: '17.10',
    versionNumber: 170010,
    systemIdentifier: '18446744073709551615',
    timeline: 10,
    serverTime: '2026-11-21T06:00:02.000001Z',
    startedAt: '2026-11-20T05:00:00Z',
    currentLsn: 'FFFFFFFF/FFFFFFFF',
    insufficientPrivilege: false,
    receiver: null,
  });
  expect(document.replicas).toHaveLength(2);
  expect(document.replicas[0]).toEqual({
    pid: 4711,
    applicationName: 'a "quoted"\nname 😀',
    clientAddr: '10.0.0.2',
    state: 'streaming',
    syncState: 'async',
    sentLsn: '16/B374D848',
    writeLsn: '16/B374D848',
    flushLsn: '16/B374D848',
    replayLsn: '16/B374D000',
    bytesBehind: '2120',
    slotName: 'standby_1',
    backendStart: '2026-11-21T06:00:00.123456Z',
    slotType: 'physical',
    clientHostname: 'standby1.example',
    syncPriority: 0,
    writeLagMs: 0.123,
    flushLagMs: 0.5,
    replayLagMs: 12.25,
    xminAge: 77,
  });
  expect(document.replicas[1]).toMatchObject({ state: 'backup', replayLsn: null, bytesBehind: null });
  expect(document).toMatchObject({ flushLsn: 'FFFFFFFF/FFFFFFFE', insertLsn: 'FFFFFFFF/FFFFFFFF', recoveryEndLsn: null });
  expect(document).toMatchObject({ checkpointTimeline: 3, previousTimeline: 2, waitingForSync: 1 });
  expect(document.slots.map(({ name }) => name)).toEqual(['pg_basebackup_1', 'standby_1', 'sub_1']);
  expect(document.slots[1]).toEqual({
    name: 'standby_1',
    type: 'physical',
    active: true,
    restartLsn: '16/B374D000',
    confirmedFlushLsn: null,
    walStatus: 'reserved',
    temporary: false,
    database: null,
    plugin: null,
    activePid: 4711,
    safeWalBytes: '67108864',
    xminAge: 12,
    catalogXminAge: null,
  });
  expect(document.slots[2]).toMatchObject({
    database: 'app',
    plugin: 'pgoutput',
    catalogXminAge: 9,
    conflicting: false,
    inactiveSince: '2026-11-21T05:00:00.25Z',
    invalidationReason: null,
    failover: true,
    synced: false,
  });
  expect(temporarySlots).toEqual(new Set(['pg_basebackup_1']));
  expect(connections).toEqual(
    new Map([
      ['active', 1],
      ['idle', 41],
      ['unknown', 1],
    ]),
  );
});

test('a replica: its own view, on the furthest timeline it is known to have reached', () => {
  const { document } = readingFrom(REPLICA, IDENTITY, CONTROL);
  expect(Value.Check(PostgresReplication, document)).toBe(true);
  expect(document).toMatchObject({ role: 'replica', timeline: 12, currentLsn: null, replicas: [], slots: [] });
  expect(document.receiver).toEqual({
    receiveLsn: '16/B374D848',
    replayLsn: '16/B374D000',
    lastReplayedTransactionAt: '2026-11-21T05:59:00.500Z'.replace('.500', '.5'),
    pauseState: 'paused',
    status: 'streaming',
    senderHost: '10.0.0.1',
    senderPort: 5432,
    slotName: null,
    receivedTimeline: 12,
    latestEndLsn: '16/B374D848',
    latestEndTime: '2026-11-21T05:59:59.999999Z',
    pid: 99,
    startedAt: '2026-11-21T05:00:00.25Z',
    writtenLsn: '16/B374D849',
    flushedLsn: '16/B374D848',
    lastMessageAgoMs: 0,
    minRecoveryEndTimeline: 0,
  });
  expect(readingFrom({ ...REPLICA, receiver: null }, IDENTITY, CONTROL).document).toMatchObject({
    timeline: 3,
    receiver: { status: null, receiveLsn: '16/B374D848' },
  });
  expect(readingFrom({ ...REPLICA, receiver: null }, IDENTITY, UNKNOWN_CONTROL).document.timeline).toBeNull();
});

test('without pg_monitor what is missing is unknown, not absent', () => {
  const row = {
    ...PRIMARY,
    sees_all: 'f',
    replicas: JSON.stringify([[4711, ...nulls(18)]]),
    connections: '[["idle", 1, 0]]',
  };
  const { document, connections } = readingFrom(row, IDENTITY, CONTROL);
  expect(Value.Check(PostgresReplication, document)).toBe(true);
  expect(document).toMatchObject({ up: true, insufficientPrivilege: true, role: 'primary' });
  expect(document.replicas).toEqual([expect.objectContaining({ pid: 4711, state: null, bytesBehind: null })]);
  expect(connections).toBeNull();
  expect(document.waitingForSync).toBeNull();
});

test('where the recovery of a promoted primary ended; a crash is no promotion', () => {
  const endOf = (row: Partial<Row>, around = {}): unknown =>
    readingFrom({ ...PRIMARY, replay_lsn: '0/5000', ...row }, IDENTITY, CONTROL, around).document.recoveryEndLsn;
  expect(endOf({ receive_lsn: '0/5000' })).toBe('0/5000');
  expect(endOf({ last_replayed_at: '2026-11-21 05:59:00.5+00' })).toBe('0/5000');
  expect(endOf({})).toBeNull();
  expect(endOf({}, { promoted: true })).toBe('0/5000');
  expect(readingFrom({ ...REPLICA, replay_lsn: '0/5000' }, IDENTITY, CONTROL).document.recoveryEndLsn).toBeNull();
});

test("a replica's timeline does not go back when its receiver has gone", () => {
  const { document } = readingFrom({ ...REPLICA, receiver: null }, IDENTITY, CONTROL, { timelineFloor: 12 });
  expect(document.timeline).toBe(12);
});

test('a server that knew only the minimal statement is up, with its reason', () => {
  const row = { in_recovery: 't', started_at: '2026-11-20 05:00:00+00', server_time: '2026-11-21 06:00:02+00' };
  const hindrance = { reason: 'unsupported_version', detail: 'PostgreSQL 9.6 is older' } as const;
  const { document, connections } = readingFrom(row, IDENTITY, UNKNOWN_CONTROL, { hindrance });
  expect(Value.Check(PostgresReplication, document)).toBe(true);
  expect(document).toMatchObject({ up: true, role: 'replica', insufficientPrivilege: false, ...hindrance });
  expect(connections).toBeNull();
});

test('a server that is down has a reason and nothing else', () => {
  const document = downDocument({ reason: 'refused', detail: 'nobody listens' });
  expect(Value.Check(PostgresReplication, document)).toBe(true);
  expect(document).toMatchObject({ up: false, reason: 'refused', role: null, replicas: [] });
});

test('times keep their microseconds and are in UTC or nothing', () => {
  expect(isoTime('2026-11-21 06:00:00.123456+00')).toBe('2026-11-21T06:00:00.123456Z');
  expect(isoTime('2026-11-21T06:00:00+00:00')).toBe('2026-11-21T06:00:00Z');
  for (const wrong of [null, undefined, 'infinity', '2026-11-21 06:00:00+02']) expect(isoTime(wrong)).toBeNull();
});
