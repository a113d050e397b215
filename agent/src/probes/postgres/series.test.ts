/** What becomes of a reading as series: names, labels that last, and no number where nothing is known. */
import type { ReplicaView } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { BlockRecorder } from '../recorder.ts';
import { identityFrom, readingFrom, UNKNOWN_CONTROL } from './reading.ts';
import { recordUp, ReplicaNames } from './series.ts';
import type { Row } from './queries.ts';

const IDENTITY = identityFrom({
  version: 'PostgreSQL 15.18 on x86_64',
  short_version: '15.18',
  version_number: '150018',
  max_connections: '100',
});
const slot = (name: string, restartLsn: string | null, status: string): Record<string, unknown> => ({
  slot_name: name,
  slot_type: 'physical',
  active: false,
  restart_lsn: restartLsn,
  wal_status: status,
  temporary: false,
});
const PRIMARY: Row = {
  in_recovery: 'f',
  sees_all: 't',
  replicas: JSON.stringify([
    [1, 'stand', '10.0.0.2', 'streaming', 'quorum', '0/3000', '0/3000', '0/3000', '0/2000', '4096', null, '2026-11-21T06:00:00+00:00'],
  ]),
  slots: JSON.stringify([
    [slot('ghost', '0/1000', 'reserved'), null, null, null],
    [slot('lost', null, 'lost'), null, null, null],
    [{ ...slot('passing', '0/1000', 'reserved'), active: true, temporary: true }, null, null, null],
  ]),
  current_lsn: '0/4000',
  timeline_hex: '00000001',
  connections: '[["active", 2, 0], ["idle", 7, 0], ["unknown", 1, 0], [null, 9, 0]]',
  started_at: '2026-11-20 05:00:00+00',
  server_time: '2026-11-21 06:00:02.000001+00',
};

function seriesOf(row: Row, databaseSizes = new Map<string, number>()): Map<string, unknown> {
  const block = new BlockRecorder('postgres', 'main');
  const reading = readingFrom(row, IDENTITY, UNKNOWN_CONTROL);
  recordUp(block, { server: 'main', reading, identity: IDENTITY, replicaNames: new ReplicaNames(), databaseSizes });
  const { layout, values } = block.take()!;
  const named = layout.series.map(({ name, labels }, i): [string, unknown] => {
    expect(labels[0]).toEqual(['server', 'main']);
    const rest = labels.slice(1).filter(([, value]) => value !== '');
    return [`${name}${rest.length > 0 ? `{${rest.map(([label, value]) => `${label}=${value}`).join(',')}}` : ''}`, values[i]];
  });
  expect(new Set(named.map(([name]) => name)).size).toBe(named.length);
  return new Map(named);
}

test('a primary', () => {
  const series = seriesOf(PRIMARY, new Map([['app "1"', 7_000_000]]));
  const replica = 'application_name=stand,client_addr=10.0.0.2';
  expect(Object.fromEntries(series)).toMatchObject({
    pg_up: 1,
    'pg_static{version=PostgreSQL 15.18 on x86_64,short_version=15.18}': 1,
    pg_replication_is_replica: 0,
    pg_postmaster_start_time_seconds: Date.UTC(2026, 10, 20, 5) / 1000,
    pg_settings_max_connections: 100,
    'pg_stat_activity_count{state=active}': 2,
    'pg_stat_activity_count{state=idle in transaction}': 0,
    tidemark_postgres_connections_used_ratio: 0.1,
    'tidemark_postgres_wal_bytes_total{position=current}': 0x4000,
    tidemark_postgres_replicas: 1,
    [`tidemark_postgres_replica_streaming{${replica}}`]: 1,
    [`tidemark_postgres_replica_synchronous{${replica}}`]: 1,
    [`tidemark_postgres_replica_bytes_behind{${replica}}`]: 4096,
    [`pg_stat_replication_pg_wal_lsn_diff{${replica}}`]: 0x2000,
    'pg_replication_slot_slot_is_active{slot_name=ghost,slot_type=physical}': 0,
    'tidemark_postgres_slot_retained_bytes{slot_name=ghost,slot_type=physical}': 0x3000,
    'tidemark_postgres_slot_retained_bytes{slot_name=lost,slot_type=physical}': null,
    'pg_database_size_bytes{datname=app "1"}': 7_000_000,
  });
  expect([...series.keys()].some((name) => name.includes('passing'))).toBe(false);
  expect(series.has('tidemark_postgres_receiver_up')).toBe(false);
});

test('a replica whose receiver is away is seen by its own figures', () => {
  const series = seriesOf({
    ...PRIMARY,
    in_recovery: 't',
    replicas: null,
    slots: null,
    current_lsn: null,
    receive_lsn: '0/5000',
    replay_lsn: '0/4000',
    pause_state: 'pause requested',
    receiver: null,
  });
  expect(Object.fromEntries(series)).toMatchObject({
    pg_replication_is_replica: 1,
    tidemark_postgres_receiver_up: 0,
    tidemark_postgres_replay_paused: 1,
    tidemark_postgres_replay_backlog_bytes: 0x1000,
    'tidemark_postgres_wal_bytes_total{position=receive}': 0x5000,
    tidemark_postgres_last_replayed_transaction_timestamp_seconds: null,
  });
});

test('what is replayed was received, whatever a restarted receiver says', () => {
  const row = { ...PRIMARY, in_recovery: 't', replicas: null, current_lsn: null, replay_lsn: '0/4000' };
  for (const received of ['0/1000', null]) {
    expect(seriesOf({ ...row, receive_lsn: received }).get('tidemark_postgres_wal_bytes_total{position=receive}')).toBe(0x4000);
  }
});

test('without pg_monitor no figure pretends to be known', () => {
  const hidden = JSON.stringify([[1, ...Array.from({ length: 11 }, () => null)]]);
  const series = seriesOf({ ...PRIMARY, sees_all: 'f', replicas: hidden });
  expect(series.get('tidemark_postgres_insufficient_privilege')).toBe(1);
  expect(series.get('tidemark_postgres_replicas')).toBe(1);
  expect([...series.keys()].filter((name) => /activity|connections_used|replica_/.test(name) && !name.includes('is_replica'))).toEqual([]);
  const standby = seriesOf({
    ...PRIMARY,
    in_recovery: 't',
    sees_all: 'f',
    replicas: null,
    current_lsn: null,
    receiver: JSON.stringify(Array.from({ length: 7 }, () => null)),
  });
  expect(standby.get('tidemark_postgres_receiver_up')).toBeNull();
});

test('replicas alike in every name stay apart, each with its own number for as long as it is connected', () => {
  const names = new ReplicaNames();
  const replica = (pid: number, applicationName = 'walreceiver'): ReplicaView =>
    ({ pid, applicationName, clientAddr: '10.0.0.2', slotName: null, backendStart: `start of ${pid}` }) as ReplicaView;
  const numbers = (...views: ReplicaView[]): string[] => names.labels(views).map((labels) => labels[3]!);
  expect(numbers(replica(1), replica(2), replica(3, 'other'))).toEqual(['', '2', '']);
  expect(numbers(replica(2))).toEqual(['2']);
  expect(numbers(replica(2), replica(9))).toEqual(['2', '']);
  expect(numbers(replica(9), replica(2), replica(10))).toEqual(['', '2', '3']);
  expect(names.labels([replica(9)])[0]).toEqual(['walreceiver', '10.0.0.2', '', '']);
});
