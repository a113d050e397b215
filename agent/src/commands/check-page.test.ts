/** The forms of `check replication`, byte for byte where others read them, and what it makes of what it sees. */
import type { PostgresReplication } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { exitCodeOf, judge, worstOf, type Limits } from './check-judge.ts';
import type { Looks } from './check-look.ts';
import { jsonForm, pluginLine, sizePretty, statusForm, statusTable, tableForm } from './check-page.ts';

type Replica = PostgresReplication['replicas'][number];
const LIMITS: Limits = { warningSeconds: 60, criticalSeconds: 300, warningBytes: 104_857_600, criticalBytes: undefined, replicas: 1 };

function replicaRow(more: Partial<Replica> = {}): Replica {
  const lsn = '0/3000000';
  return {
    pid: 1,
    applicationName: 'b',
    clientAddr: '192.168.1.100',
    state: 'streaming',
    syncState: 'async',
    sentLsn: lsn,
    writeLsn: lsn,
    flushLsn: lsn,
    replayLsn: lsn,
    bytesBehind: '0',
    slotName: null,
    backendStart: null,
    ...more,
  };
}

function primary(more: Partial<PostgresReplication> = {}): PostgresReplication {
  return {
    up: true,
    reason: null,
    detail: null,
    role: 'primary',
    version: '18.1',
    versionNumber: 180_001,
    systemIdentifier: '7',
    timeline: 1,
    serverTime: '2026-11-21T06:00:00Z',
    startedAt: '2026-11-20T06:00:00Z',
    currentLsn: '0/3000000',
    flushLsn: '0/3000000',
    insufficientPrivilege: false,
    replicas: [replicaRow()],
    receiver: null,
    slots: [],
    ...more,
  };
}

type Receiver = NonNullable<PostgresReplication['receiver']>;
function replica(receiver: Partial<Receiver> = {}, more: Partial<PostgresReplication> = {}): PostgresReplication {
  const lsn = '0/3000000';
  return primary({
    role: 'replica',
    currentLsn: null,
    flushLsn: null,
    replicas: [],
    receiver: {
      receiveLsn: lsn,
      replayLsn: lsn,
      lastReplayedTransactionAt: '2026-11-21T05:00:00Z',
      pauseState: 'not paused',
      status: 'streaming',
      senderHost: '10.0.0.1',
      senderPort: 5432,
      slotName: null,
      receivedTimeline: 1,
      latestEndLsn: lsn,
      latestEndTime: '2026-11-21T05:30:00Z',
      pid: 9,
      lastMessageAgoMs: 45,
      ...receiver,
    },
    ...more,
  });
}

function seen(
  documents: PostgresReplication[],
  settings: Record<string, string> = {},
  conninfo: { host: string; port: string } | null = null,
): Looks {
  return {
    name: 'main',
    address: '10.0.0.2:5432',
    looks: documents.map((document, i) => ({ atMs: 1_000 * i, document })),
    settings: {
      insufficientPrivilege: false,
      settings: Object.entries(settings).map(([name, value]) => ({ name, value, unit: null, source: null, pendingRestart: false })),
      primary: conninfo,
    },
    failure: undefined,
  };
}
const levelOf = (looks: Looks, limits = LIMITS): [string, string] => {
  const { level, troubles } = judge(looks, limits);
  return [level, troubles.map(({ text }) => text).join('; ')];
};

test("the guide's own table, to the letter", () => {
  expect(statusTable([replicaRow()])).toBe(
    [
      'client_addr    | state     | sync_state | sent_lsn  | write_lsn | flush_lsn | replay_lsn',
      '---------------+-----------+------------+-----------+-----------+-----------+------------',
      '192.168.1.100  | streaming | async      | 0/3000000 | 0/3000000 | 0/3000000 | 0/3000000',
      '',
    ].join('\n'),
  );
});

test('columns grow with what is in them, and an absent value is empty, as with psql', () => {
  const rows = [
    replicaRow({ clientAddr: null, state: 'catchup', replayLsn: 'FFFFFFFF/FFFFFFFF' }),
    replicaRow({ syncState: 'quorum', writeLsn: null }),
  ];
  expect(statusTable(rows)).toBe(
    [
      'client_addr    | state     | sync_state | sent_lsn  | write_lsn | flush_lsn | replay_lsn',
      '---------------+-----------+------------+-----------+-----------+-----------+-------------------',
      '               | catchup   | async      | 0/3000000 | 0/3000000 | 0/3000000 | FFFFFFFF/FFFFFFFF',
      '192.168.1.100  | streaming | quorum     | 0/3000000 |           | 0/3000000 | 0/3000000',
      '',
    ].join('\n'),
  );
  expect(statusTable([]).split('\n')).toEqual([
    'client_addr  | state | sync_state | sent_lsn | write_lsn | flush_lsn | replay_lsn',
    '-------------+-------+------------+----------+-----------+-----------+------------',
    '',
  ]);
});

test("the guide's lines of a replica, and of a master taken for one", () => {
  const late = judge(seen([replica({ replayLsn: '0/2FFFF00', lastReplayedTransactionAt: '2026-11-21T05:59:59.955Z' })]), LIMITS);
  expect(statusForm(late, 'replica')).toBe('is_replica: YES - This is a replica\nlag_seconds: 0.045\n');
  expect(statusForm(judge(seen([replica()]), LIMITS), undefined)).toBe('is_replica: YES - This is a replica\nlag_seconds: 0.000\n');
  const dead = judge(seen([replica({ status: null, pid: null, latestEndLsn: null, latestEndTime: null, lastMessageAgoMs: null })]), LIMITS);
  expect(statusForm(dead, undefined)).toBe('is_replica: YES - This is a replica\nlag_seconds: unknown\n');
  const master = judge(seen([primary()]), LIMITS, 'replica');
  expect(statusForm(master, 'replica')).toBe('is_replica: NO - This is a master!\n');
  expect(master.level).toBe('CRITICAL');
  expect(judge(seen([replica()]), LIMITS, 'primary').level).toBe('CRITICAL');
});

test.each([
  [0, '0 bytes'],
  [10_239, '10239 bytes'],
  [10_240, '10 kB'],
  [10_751, '10 kB'],
  [10_752, '11 kB'],
  [10_485_247, '10239 kB'],
  [10_485_248, '10 MB'],
  [104_857_600, '100 MB'],
  [10_736_893_952, '10 GB'],
  [2 ** 50, '1024 TB'],
])('%i bytes are %s', (size, text) => expect(sizePretty(size)).toBe(text));

test('exit codes are those of monitoring plugins, and the worst of several counts', () => {
  expect((['OK', 'WARNING', 'CRITICAL', 'UNKNOWN'] as const).map(exitCodeOf)).toEqual([0, 1, 2, 3]);
  expect(worstOf(['OK', 'UNKNOWN'])).toBe('UNKNOWN');
  expect(worstOf(['UNKNOWN', 'WARNING', 'OK'])).toBe('WARNING');
  expect(worstOf(['WARNING', 'CRITICAL', 'UNKNOWN'])).toBe('CRITICAL');
});

test('a primary: replicas that are missing, behind or not there yet, and slots', () => {
  expect(levelOf(seen([primary()]))).toEqual(['OK', '']);
  expect(levelOf(seen([primary({ replicas: [] })]))[0]).toBe('WARNING');
  expect(levelOf(seen([primary({ replicas: [] })]), { ...LIMITS, replicas: 0 })[0]).toBe('OK');
  expect(levelOf(seen([primary({ replicas: [replicaRow({ state: 'backup' })] })]))[1]).toContain('no replica is connected');
  expect(levelOf(seen([primary({ replicas: [replicaRow({ state: 'catchup' })] })]))).toEqual(['WARNING', 'b does not stream yet: catchup']);
  // What the sender has not even sent counts.
  const stuck = primary({ flushLsn: '0/A000000', replicas: [replicaRow()] });
  expect(levelOf(seen([stuck]))).toEqual(['WARNING', 'b is 112 MiB behind']);
  expect(levelOf(seen([stuck]), { ...LIMITS, criticalBytes: 110_000_000 })[0]).toBe('CRITICAL');
  const slot = { name: 's', type: 'physical', active: false, restartLsn: '0/1', confirmedFlushLsn: null, walStatus: 'reserved' };
  const withSlot = (more: object): Looks => seen([primary({ slots: [{ ...slot, ...more }] })]);
  expect(levelOf(withSlot({}))[0]).toBe('WARNING');
  expect(levelOf(withSlot({ active: true }))[0]).toBe('OK');
  expect(levelOf(withSlot({ temporary: true }))[0]).toBe('OK');
  expect(levelOf(withSlot({ synced: true }))[0]).toBe('OK');
  expect(levelOf(withSlot({ walStatus: 'unreserved', active: true }))[0]).toBe('CRITICAL');
  expect(levelOf(withSlot({ walStatus: 'lost', invalidationReason: 'wal_removed' }))).toEqual([
    'CRITICAL',
    'slot s is lost (wal_removed): what follows by it must be built anew',
  ]);
  const sync = { synchronous_standby_names: 'b' };
  expect(levelOf(seen([primary({ waitingForSync: 4 })], sync))).toEqual([
    'CRITICAL',
    'no synchronous standby is connected: commits wait, 4 at this moment',
  ]);
  expect(levelOf(seen([primary({ replicas: [replicaRow({ syncState: 'sync' })] })], sync))[0]).toBe('OK');
  expect(levelOf(seen([primary({ insufficientPrivilege: true, replicas: [] })]))[0]).toBe('UNKNOWN');
});

test('a replica: silence, pauses, delays and archives', () => {
  expect(levelOf(seen([replica()]))).toEqual(['OK', '']);
  // An idle primary is heard of every half of wal_receiver_timeout.
  expect(levelOf(seen([replica({ lastMessageAgoMs: 31_000 })]))[0]).toBe('OK');
  expect(levelOf(seen([replica({ lastMessageAgoMs: 40_000 })]))[0]).toBe('WARNING');
  expect(levelOf(seen([replica({ lastMessageAgoMs: 70_000 })]))[0]).toBe('CRITICAL');
  expect(levelOf(seen([replica({ lastMessageAgoMs: 70_000 })], { wal_receiver_timeout: '300000' }))[0]).toBe('OK');
  expect(judge(seen([replica({ lastMessageAgoMs: 70_000 })]), LIMITS).replica!.lag.seconds).toBeNull();
  expect(levelOf(seen([replica({ pauseState: 'paused' })]))).toEqual([
    'WARNING',
    'replay is paused: SELECT pg_wal_replay_resume() lets it go on',
  ]);
  const none = { status: null, pid: null, latestEndLsn: null, latestEndTime: null, lastMessageAgoMs: null };
  const archive = seen([replica(none)], { restore_command: 'set' });
  expect(levelOf(archive)[0]).toBe('UNKNOWN');
  expect(levelOf({ ...archive, looks: seen([replica(none), replica({ ...none, replayLsn: '0/3000100' })]).looks })[0]).toBe('OK');
  expect(levelOf(seen([replica(none)], { restore_command: 'set' }, { host: 'a', port: '5432' }))[0]).toBe('CRITICAL');
  expect(levelOf(seen([replica(none)]))[0]).toBe('CRITICAL');
  expect(levelOf(seen([replica({ ...none, pid: 7 }, { insufficientPrivilege: true })]))[0]).toBe('UNKNOWN');
  // Behind for 10 minutes at least, by the silence of the sender that told of more.
  const late = replica({ replayLsn: '0/2000000', lastMessageAgoMs: 4_000 });
  const looks = seen([late]).looks;
  const tenMinutes = { ...seen([late]), looks: [looks[0]!, { atMs: 596_000, document: late }] };
  expect(levelOf(tenMinutes)).toEqual(['CRITICAL', 'at least 10 min behind (critical from 5 min)']);
  const delayed = { ...tenMinutes, settings: seen([], { recovery_min_apply_delay: '580000' }).settings };
  expect(levelOf(delayed)).toEqual(['OK', '']);
  // Standing still over three looks with work to do is worth a word where it may have lasted.
  expect(levelOf(seen([late, late, late]))[1]).toContain('replay stands still with 16.0 MiB');
});

test('the first line is a plugin’s, whatever servers are called', () => {
  const fine = judge(seen([replica()]), LIMITS);
  expect(pluginLine([fine], LIMITS)).toBe(
    "REPLICATION OK - main: replica of 10.0.0.1:5432, lag 0 | 'lag_seconds'=0.000s;60;300;0 'bytes_behind'=0B;104857600;;0",
  );
  const named = { ...judge(seen([primary({ replicas: [] })]), LIMITS), name: "a|b='\n" };
  const line = pluginLine([fine, named], LIMITS);
  expect(line.split('\n')).toHaveLength(1);
  expect(line.split('|')).toHaveLength(2);
  expect(line).toContain('REPLICATION WARNING - 1 of 2 servers in trouble');
  const down = judge({ ...seen([]), failure: { reason: 'refused', detail: 'Nobody listens.' } }, LIMITS);
  expect(pluginLine([down], LIMITS)).toBe('REPLICATION CRITICAL - main: Nobody listens.');
  expect(judge({ ...seen([]), failure: { reason: 'authentication', detail: 'No.' } }, LIMITS).level).toBe('UNKNOWN');
});

test('the page and the JSON of a primary and of a cascading replica', () => {
  const cascade = judge(
    seen([replica({ slotName: 'b' }, { replicas: [replicaRow({ replayLsn: '0/2FFFC18', clientAddr: null })] })]),
    LIMITS,
  );
  const page = tableForm(
    [
      judge(
        seen([
          primary({
            slots: [{ name: 's', type: 'physical', active: true, restartLsn: '0/1', confirmedFlushLsn: null, walStatus: 'reserved' }],
          }),
        ]),
        LIMITS,
      ),
      cascade,
    ],
    LIMITS,
  );
  expect(page).toMatchInlineSnapshot(`
    "REPLICATION OK - 2 servers: main primary, 1 replica connected, the furthest 0 B behind; main replica of 10.0.0.1:5432, lag 0 | 'main replicas'=1;1:;;0 'main bytes_behind'=0B;104857600;;0 'main lag_seconds'=0.000s;60;300;0 'main bytes_behind'=0B;104857600;;0

    main (10.0.0.2:5432)   primary, PostgreSQL 18.1, timeline 1, at 0/3000000
      client_addr    application_name  state      sync_state  sent_lsn   write_lsn  flush_lsn  replay_lsn  bytes_behind
      192.168.1.100  b                 streaming  async       0/3000000  0/3000000  0/3000000  0/3000000              0  (0 bytes)
      slot  type              wal_status  restart_lsn
      s     physical  active  reserved    0/1

    main (10.0.0.2:5432)   replica, PostgreSQL 18.1, timeline 1
      is_replica    yes
      upstream      10.0.0.1:5432
      receiver      streaming, by slot b
      replay        not paused
      sender_lsn    0/3000000, heard from 45 ms ago
      receive_lsn   0/3000000
      replay_lsn    0/3000000
      bytes_behind  0 (0 bytes)
      lag           0 – this replica alone: it has replayed everything up to where its sender said that it stood, with its last message
      client_addr  application_name  state      sync_state  sent_lsn   write_lsn  flush_lsn  replay_lsn  bytes_behind
      socket       b                 streaming  async       0/3000000  0/3000000  0/3000000  0/2FFFC18           1000  (1000 bytes)
    "
  `);
  const json = JSON.parse(jsonForm([cascade])) as { servers: { replicas: unknown[]; upstream: unknown; lag: unknown }[] };
  expect(json).toMatchObject({ status: 'OK', exitCode: 0 });
  expect(json.servers[0]).toMatchObject({
    isReplica: true,
    upstream: { host: '10.0.0.1', port: 5432 },
    lag: { seconds: 0, lowerSeconds: 0, upperSeconds: 0.045, bytes: 0 },
    replicas: [{ bytesBehind: 1_000, bytesBehindPretty: '1000 bytes' }],
  });
});
