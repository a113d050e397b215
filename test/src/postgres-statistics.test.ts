/**
 * What the agent measures of a PostgreSQL server besides replication, against real servers: every statement is understood by
 * every version in every role, and each trouble shows in the figure that is there for it.
 */
import { createPostgresProbes, ProbeRunner } from '@tidemark/agent';
import { POSTGRES_LOCKS, POSTGRES_STATEMENTS, type PostgresSettings, type PostgresStatements } from '@tidemark/protocol';
import { createLog, systemClock } from '@tidemark/service';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { POSTGRES_VERSIONS, PostgresCluster, waitUntil, type PostgresInstance } from './postgres/cluster.ts';
import { locksIn, readStatistics, SECRET, statementsIn, type Reader } from './postgres/statistics-reader.ts';

let cluster: PostgresCluster;
let clients: Client[];
beforeEach(() => {
  cluster = new PostgresCluster();
  clients = [];
});
afterEach(async () => {
  await Promise.all(clients.map((client) => client.end().catch(() => undefined)));
  await cluster.stopAll();
});

async function connect(instance: PostgresInstance, user = 'postgres'): Promise<Client> {
  const client = new Client({ host: '127.0.0.1', port: instance.port, user, database: 'postgres', application_name: 'the application' });
  client.on('error', () => undefined);
  await client.connect();
  clients.push(client);
  return client;
}

async function readerOf(instance: PostgresInstance, user = 'monitor'): Promise<Reader> {
  return readStatistics(await connect(instance, user));
}

/** A session that waits for a table that another one has locked. */
async function waitForLock(instance: PostgresInstance): Promise<{ holderPid: number; waiterPid: number; end: () => Promise<void> }> {
  const [holder, waiter] = await Promise.all([connect(instance), connect(instance)]);
  const pidOf = async (client: Client): Promise<number> =>
    (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]!.pid;
  const [holderPid, waiterPid] = await Promise.all([pidOf(holder), pidOf(waiter)]);
  await holder.query('CREATE TABLE IF NOT EXISTS locked (n int)');
  await holder.query('BEGIN; LOCK TABLE locked');
  const waited = waiter.query(`SELECT count(*) FROM locked WHERE '${SECRET}' <> ''`);
  // Whatever becomes of it when the test fails before.
  waited.catch(() => undefined);
  await waitUntil(
    async () => (await cluster.sql(instance, 'SELECT 1 FROM pg_locks WHERE pid = $1 AND NOT granted', [waiterPid])).length > 0,
    { what: 'a session to wait for a lock' },
  );
  return {
    holderPid,
    waiterPid,
    async end() {
      await holder.query('COMMIT');
      await waited;
    },
  };
}

const PRELOADED = { shared_preload_libraries: 'pg_stat_statements', wal_level: 'logical', max_prepared_transactions: '5' };

async function prepareRoles(instance: PostgresInstance): Promise<void> {
  await cluster.sql(instance, 'CREATE ROLE monitor LOGIN IN ROLE pg_monitor');
  await cluster.sql(instance, 'CREATE ROLE plain LOGIN');
}

test.each(POSTGRES_VERSIONS)(
  'PostgreSQL %i understands every statement, on a primary and on a replica, with every right and with none',
  async (version) => {
    const a = await cluster.startPrimary({ version, name: 'a', settings: PRELOADED });
    await prepareRoles(a);
    await cluster.sql(a, 'CREATE SCHEMA "Some ""where"""');
    await cluster.sql(a, 'CREATE EXTENSION pg_stat_statements SCHEMA "Some ""where"""');
    await cluster.sql(a, 'CREATE PUBLICATION p FOR ALL TABLES');
    await cluster.sql(
      a,
      `CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1 password=${SECRET}' PUBLICATION p WITH (connect = false)`,
    );
    await cluster.sql(a, "SELECT pg_create_logical_replication_slot('decoded', 'pgoutput')");
    const b = await cluster.addStandby(a, { name: 'b' });
    const blocked = await waitForLock(a);

    expect((await (await readerOf(a)).read()).missingRights).toEqual(['USAGE ON SCHEMA "Some ""where"""']);
    await cluster.sql(a, 'GRANT USAGE ON SCHEMA "Some ""where""" TO monitor');
    const ofPrimary = await readerOf(a);
    const primary = await ofPrimary.read();
    expect(primary.asked).toEqual([
      'sessions',
      'locks',
      'counters',
      'files',
      'wraparound',
      'subscriptions',
      'statements_extension',
      'statements',
      'statement_texts',
    ]);
    expect(primary.missingRights).toEqual([]);
    expect(locksIn(primary)?.waiting).toHaveLength(1);
    await blocked.end();
    const again = await ofPrimary.read();
    const oftenThere = [
      'pg_stat_database_xact_commit{datname=postgres}',
      'pg_stat_checkpointer_num_timed_total',
      'pg_stat_checkpointer_buffers_written_total',
      'pg_stat_bgwriter_buffers_alloc_total',
      'tidemark_postgres_wal_records_total',
      'tidemark_postgres_wal_writes_total',
      'tidemark_postgres_wal_write_seconds_total',
      'pg_wal_segments',
      'pg_database_wraparound_age_datfrozenxid_seconds{datname=template0}',
      'tidemark_postgres_wraparound_used_ratio',
      'pg_stat_activity_max_tx_duration{state=idle in transaction}',
      'tidemark_postgres_oldest_xmin_age{holder=session}',
    ];
    for (const name of [
      ...oftenThere,
      'tidemark_postgres_prepared_transactions',
      'tidemark_postgres_slot_spilled_bytes_total{slot_name=decoded}',
      'tidemark_postgres_subscription_enabled{datname=postgres,subname=s}',
    ])
      expect(again.values.get(name), name).toEqual(expect.any(Number));
    const has = (name: string): boolean => again.values.has(name);
    expect(has('pg_stat_bgwriter_buffers_backend_total')).toBe(version < 17);
    expect(has('pg_stat_checkpointer_restartpoints_done_total')).toBe(version >= 17);
    expect(has('tidemark_postgres_checkpoints_done_total')).toBe(version >= 18);
    expect(has('tidemark_postgres_io_operations_total{backend_type=client backend,operation=extend}')).toBe(version >= 16);
    expect(has('tidemark_postgres_subscription_conflicts_total{datname=postgres,subname=s,conflict=update_missing}')).toBe(version >= 18);
    expect(again.values.get('tidemark_postgres_wraparound_used_ratio')).toBeLessThan(0.001);
    expect([...again.values.values()]).not.toContain(undefined);
    const unmeasured = [...again.values].filter(([, value]) => value === null).map(([name]) => name);
    expect(unmeasured.filter((name) => !/checksum_failures|cache_hit_ratio/.test(name))).toEqual([]);
    expect(again.document.wal).toMatchObject({
      segments: expect.any(Number),
      segmentBytes: 16 * 1024 * 1024,
      diskFreeBytes: expect.any(Number),
    });
    expect(again.document.archiver).toBeNull();
    expect(again.document.subscriptions).toMatchObject([
      { name: 's', database: 'postgres', enabled: false, slotName: 's', workerPid: null, publisherHost: null },
    ]);
    const ofSuperuser = await readerOf(a, 'postgres');
    expect((await ofSuperuser.read()).asked).toContain('publishers');
    expect((await ofSuperuser.read()).document.subscriptions).toMatchObject([{ publisherHost: '127.0.0.1', publisherPort: '1' }]);

    const ofReplica = await readerOf(b);
    await ofReplica.read();
    const replica = await ofReplica.read();
    for (const name of [
      ...oftenThere,
      'pg_stat_database_conflicts_confl_snapshot{datname=postgres}',
      'tidemark_postgres_recovery_prefetch_blocks_total{outcome=hit}',
    ])
      expect(replica.values.get(name), name).toEqual(expect.any(Number));
    expect(replica.values.has('pg_stat_database_conflicts_confl_active_logicalslot{datname=postgres}')).toBe(version >= 16);
    expect(replica.values.has('tidemark_postgres_sync_standbys_required')).toBe(false);
    expect(replica.document).not.toHaveProperty('subscriptions');

    for (const instance of [a, b]) {
      const plain = await (await readerOf(instance, 'plain')).read();
      expect(plain.missingRights).toEqual(['pg_monitor']);
      expect([...plain.values.keys()].filter((name) => /activity|waiting|pg_wal|statements/.test(name))).toEqual([]);
      expect(plain.values.get('pg_stat_database_xact_commit{datname=postgres}')).toEqual(expect.any(Number));
      expect(plain.document.wal).toMatchObject({ segments: null, directoryBytes: null });
    }
  },
);

describe.each([15, 18] as const)('PostgreSQL %i', (version) => {
  test('the probe has all of it in one report', async () => {
    const archiving = { archive_mode: 'on', archive_command: `curl -u me:${SECRET} https://localhost` };
    const a = await cluster.startPrimary({ version, name: 'a', settings: { ...PRELOADED, ...archiving } });
    await prepareRoles(a);
    await cluster.sql(a, 'CREATE EXTENSION pg_stat_statements');
    const blocked = await waitForLock(a);
    const runner = new ProbeRunner(
      createPostgresProbes([{ name: 'main', url: `postgresql://monitor@127.0.0.1:${a.port}/postgres` }]),
      systemClock,
      createLog('test', 'silent'),
    );
    try {
      const { blocks, observations } = await runner.collect();
      expect(runner.states()).toMatchObject([{ name: 'postgres', success: true }]);
      expect(JSON.stringify([blocks, observations])).not.toContain(SECRET);
      const names = new Set(blocks.flatMap(({ layout }) => layout.series.map(({ name }) => name)));
      for (const name of [
        'tidemark_postgres_lock_waiters',
        'tidemark_postgres_lock_wait_seconds',
        'pg_stat_database_deadlocks',
        'pg_stat_archiver_failed_count',
        'pg_wal_size_bytes',
        'tidemark_postgres_wraparound_used_ratio',
        'pg_stat_statements_calls_total',
      ])
        expect(names, name).toContain(name);
      const documentOf = (kind: string): unknown => observations.find((seen) => seen.kind === kind && seen.instance === 'main')?.document;
      expect(documentOf('postgres.replication')).toMatchObject({ missingRights: [], archiver: { waitingFiles: 0 }, subscriptions: [] });
      expect(documentOf(POSTGRES_LOCKS)).toMatchObject({ waiting: [{ pid: blocked.waiterPid }], blockers: [{ pid: blocked.holderPid }] });
      expect((documentOf(POSTGRES_STATEMENTS) as PostgresStatements).statements.length).toBeGreaterThan(0);
      const { settings } = documentOf('postgres.settings') as PostgresSettings;
      const valueOf = (setting: string): string | null | undefined => settings.find(({ name }) => name === setting)?.value;
      expect(valueOf('archive_command')).toBe('set');
      expect(valueOf('restore_command')).toBe('');
      expect(valueOf('port')).toBe(String(a.port));
    } finally {
      await runner.close();
    }
    await blocked.end();
  });

  test('sessions and locks: who waits, who is idle in a transaction, what is held back', async () => {
    const a = await cluster.startPrimary({ version, name: 'a', settings: PRELOADED });
    await prepareRoles(a);
    const reader = await readerOf(a);
    const calm = await reader.read();
    expect(calm.asked).not.toContain('locks');
    expect(calm.values.get('tidemark_postgres_lock_waiters')).toBe(0);
    expect(calm.values.get('tidemark_postgres_idle_in_transaction_seconds')).toBe(0);

    const blocked = await waitForLock(a);
    const waiting = await reader.until((seen) => locksIn(seen)?.waiting[0]?.waitSeconds !== null, 'a waiter');
    expect(waiting.values.get('tidemark_postgres_lock_waiters')).toBe(1);
    expect(waiting.values.get('tidemark_postgres_sessions_waiting{wait_event_type=Lock}')).toBe(1);
    expect(locksIn(waiting)).toMatchObject({
      waiting: [
        {
          pid: blocked.waiterPid,
          user: 'postgres',
          database: 'postgres',
          applicationName: 'the application',
          lock: 'relation',
          blockedBy: [blocked.holderPid],
        },
      ],
      blockers: [{ pid: blocked.holderPid, user: 'postgres', state: 'idle in transaction', transactionSeconds: expect.any(Number) }],
    });
    expect(waiting.values.get('tidemark_postgres_lock_wait_seconds')).toBe(locksIn(waiting)!.waiting[0]!.waitSeconds);
    const idle = await reader.until(
      (seen) => Number(seen.values.get('tidemark_postgres_idle_in_transaction_seconds')) > 0.2,
      'an idle transaction',
    );
    const idleSeconds = Number(idle.values.get('tidemark_postgres_idle_in_transaction_seconds'));
    expect(idle.values.get('pg_stat_activity_max_tx_duration{state=idle in transaction}')).toBeGreaterThanOrEqual(idleSeconds);
    expect(idle.values.get('pg_long_running_transactions')).toBe(2);
    expect(idle.values.get('pg_long_running_transactions_oldest_timestamp_seconds')).toBeGreaterThanOrEqual(idleSeconds);
    await blocked.end();
    const ended = await reader.read();
    expect(locksIn(ended)).toEqual({ waiting: [], blockers: [] });
    expect(ended.asked).not.toContain('locks');
    expect(ended.values.get('tidemark_postgres_lock_wait_seconds')).toBe(0);
    expect(locksIn(await reader.read())).toBeUndefined();

    const holding = await connect(a);
    await holding.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await holding.query('SELECT 1');
    for (let i = 0; i < 5; i++) await cluster.sql(a, 'SELECT txid_current()');
    expect((await reader.read()).values.get('tidemark_postgres_oldest_xmin_age{holder=session}')).toBeGreaterThanOrEqual(5);
    await holding.query('COMMIT');

    await cluster.sql(a, "BEGIN; CREATE TABLE later (n int); PREPARE TRANSACTION 'forgotten'");
    const prepared = await reader.read();
    expect(prepared.values.get('tidemark_postgres_prepared_transactions')).toBe(1);
    expect(prepared.values.get('tidemark_postgres_prepared_transaction_seconds')).toBeGreaterThan(0);
  });

  test('databases: a deadlock, a temporary file, the cache, and counters that are reset', async () => {
    const a = await cluster.startPrimary({ version, name: 'a', settings: { deadlock_timeout: '20ms' } });
    await prepareRoles(a);
    const reader = await readerOf(a);
    const before = await reader.read();
    const of = (column: string): string => `pg_stat_database_${column}{datname=postgres}`;
    expect(before.values.get(of('deadlocks'))).toBe(0);
    expect(before.values.get('tidemark_postgres_cache_hit_ratio')).toBeNull();

    await cluster.sql(a, 'CREATE TABLE one (n int); CREATE TABLE two (n int)');
    const [first, second] = await Promise.all([connect(a), connect(a)]);
    await first.query('BEGIN; LOCK TABLE one');
    await second.query('BEGIN; LOCK TABLE two');
    const outcomes = await Promise.allSettled([first.query('LOCK TABLE two'), second.query('LOCK TABLE one')]);
    expect(outcomes.filter(({ status }) => status === 'rejected')).toMatchObject([{ reason: { code: '40P01' } }]);
    await Promise.all([first.end(), second.end()]);

    const sorting = await connect(a);
    await sorting.query("SET work_mem TO '64kB'");
    await sorting.query('SELECT n FROM generate_series(1, 50000) AS n ORDER BY -n LIMIT 1 OFFSET 40000');
    await sorting.end();
    const after = await reader.until(
      ({ values }) => Number(values.get(of('deadlocks'))) === 1 && Number(values.get(of('temp_files'))) > 0,
      'the deadlock and the temporary file to be counted',
    );
    expect(after.values.get(of('temp_bytes'))).toBeGreaterThan(64 * 1024);
    expect(after.values.get(of('xact_commit'))).toBeGreaterThan(Number(before.values.get(of('xact_commit'))));
    const ratio = await reader.until(({ values }) => values.get('tidemark_postgres_cache_hit_ratio') !== null, 'blocks to be needed');
    expect(ratio.values.get('tidemark_postgres_cache_hit_ratio')).toBeGreaterThan(0);
    expect(ratio.values.get('tidemark_postgres_cache_hit_ratio')).toBeLessThanOrEqual(1);

    await cluster.sql(a, 'SELECT pg_stat_reset()');
    const reset = await reader.read();
    expect(reset.values.get(of('deadlocks'))).toBe(0);
    expect(reset.values.get('tidemark_postgres_cache_hit_ratio')).toBeNull();
  });

  test('the archiver fails and recovers; pg_wal is as large as it is', async () => {
    const a = await cluster.startPrimary({ version, name: 'a', settings: { archive_mode: 'on', archive_command: 'false' } });
    await prepareRoles(a);
    const reader = await readerOf(a);
    expect((await reader.read()).values.get('tidemark_postgres_archiver_failing')).toBe(0);
    await cluster.sql(a, 'CREATE TABLE t (n int); SELECT pg_switch_wal()');
    const failing = await reader.until(({ values }) => values.get('tidemark_postgres_archiver_failing') === 1, 'the archiver to fail');
    expect(failing.values.get('tidemark_postgres_archiver_waiting_files')).toBe(1);
    expect(failing.values.get('pg_stat_archiver_failed_count')).toBeGreaterThanOrEqual(1);
    expect(failing.values.get('pg_stat_archiver_archived_count')).toBe(0);
    expect(failing.document.archiver).toMatchObject({
      archivedCount: 0,
      lastArchivedAt: null,
      lastFailedAt: expect.stringMatching(/Z$/),
      lastFailedWal: '000000010000000000000001',
      waitingFiles: 1,
    });
    const [inside] = await cluster.sql<{ segments: string; bytes: string }>(
      a,
      "SELECT count(*) AS segments, sum(size)::text AS bytes FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'",
    );
    expect(failing.values.get('pg_wal_segments')).toBe(Number(inside!.segments));
    expect(failing.values.get('pg_wal_size_bytes')).toBe(Number(inside!.bytes));

    await cluster.configure(a, { archive_command: 'true' });
    const well = await reader.until(({ values }) => Number(values.get('pg_stat_archiver_archived_count')) > 0, 'the archiver to recover');
    expect(well.values.get('tidemark_postgres_archiver_failing')).toBe(0);
    expect(well.values.get('tidemark_postgres_archiver_last_archived_timestamp_seconds')).toBeGreaterThan(1.7e9);
    expect(well.document.archiver).toMatchObject({ lastArchivedAt: expect.stringMatching(/Z$/) });
  });

  test('standbys: a commit that waits, a query that is cancelled', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    await prepareRoles(a);
    await cluster.sql(a, 'CREATE TABLE t AS SELECT generate_series(1, 100) AS n');
    const b = await cluster.addStandby(a, { name: 'b', settings: { max_standby_streaming_delay: '10ms', hot_standby_feedback: 'off' } });
    await cluster.configure(a, { synchronous_standby_names: 'FIRST 2 (b, "c d")' });
    const ofPrimary = await readerOf(a);
    const missing = await ofPrimary.until(
      ({ values }) => values.get('tidemark_postgres_sync_standbys_present') === 1,
      'b to be synchronous',
    );
    expect(missing.values.get('tidemark_postgres_sync_standbys_required')).toBe(2);
    expect(missing.values.get('tidemark_postgres_waiting_for_sync')).toBe(0);
    const waiting = cluster.sql(a, 'INSERT INTO t VALUES (0)');
    await ofPrimary.until(({ values }) => values.get('tidemark_postgres_waiting_for_sync') === 1, 'a commit to wait');
    await cluster.configure(a, { synchronous_standby_names: '' });
    await waiting;
    expect((await ofPrimary.read()).values.get('tidemark_postgres_sync_standbys_required')).toBe(0);

    const ofReplica = await readerOf(b);
    const snapshot = 'pg_stat_database_conflicts_confl_snapshot{datname=postgres}';
    expect((await ofReplica.read()).values.get(snapshot)).toBe(0);
    const reading = await connect(b);
    await waitUntil(async () => (await reading.query('SELECT 1 FROM pg_tables WHERE tablename = $1', ['t'])).rowCount === 1, {
      what: 'the table',
    });
    await reading.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await reading.query('SELECT count(*) FROM t');
    await cluster.sql(a, 'DELETE FROM t');
    await cluster.sql(a, 'VACUUM t');
    await ofReplica.until(({ values }) => values.get(snapshot) === 1, 'the conflict to be counted');
  });

  test('a publisher and a subscriber', async () => {
    const publisher = await cluster.startPrimary({
      version,
      name: 'publisher',
      settings: { wal_level: 'logical', logical_decoding_work_mem: '64kB' },
    });
    const subscriber = await cluster.startPrimary({ version, name: 'subscriber' });
    await Promise.all([prepareRoles(publisher), prepareRoles(subscriber)]);
    for (const instance of [publisher, subscriber]) await cluster.sql(instance, 'CREATE TABLE t (n int PRIMARY KEY)');
    await cluster.sql(publisher, 'CREATE PUBLICATION p FOR TABLE t');
    const conninfo = `host=127.0.0.1 port=${publisher.port} user=postgres password=${SECRET} dbname=postgres`;
    await cluster.sql(subscriber, `CREATE SUBSCRIPTION s CONNECTION '${conninfo}' PUBLICATION p WITH (streaming = off)`);
    const [ofPublisher, ofSubscriber] = await Promise.all([readerOf(publisher), readerOf(subscriber)]);
    const of = (name: string): string => `tidemark_postgres_subscription_${name}{datname=postgres,subname=s}`;
    const well = await ofSubscriber.until(({ values }) => values.get(of('tables_not_ready')) === 0, 'the initial copy');
    expect(well.values.get(of('worker_up'))).toBe(1);
    expect(well.values.get(of('last_message_seconds'))).toBeLessThan(60);
    expect(well.document.subscriptions).toMatchObject([
      {
        name: 's',
        database: 'postgres',
        enabled: true,
        slotName: 's',
        workerPid: expect.any(Number),
        latestEndLsn: expect.stringContaining('/'),
      },
    ]);

    await cluster.sql(publisher, 'INSERT INTO t SELECT generate_series(1, 20000)');
    await ofPublisher.until(
      ({ values }) => Number(values.get('tidemark_postgres_slot_spilled_bytes_total{slot_name=s}')) > 64 * 1024,
      'the transaction to be spilled',
    );
    // How long the worker stays down between two attempts.
    await cluster.configure(subscriber, { wal_retrieve_retry_interval: '2s' });
    await cluster.sql(subscriber, 'UPDATE t SET n = -n WHERE n = 1; INSERT INTO t VALUES (30000)');
    await cluster.sql(publisher, 'INSERT INTO t VALUES (30000)');
    const broken = await ofSubscriber.until(({ values }) => Number(values.get(of('apply_errors_total'))) > 0, 'the worker to fail');
    expect(broken.document.subscriptions).toMatchObject([{ applyErrors: expect.any(Number) }]);
    await ofSubscriber.until(({ values }) => values.get(of('worker_up')) === 0, 'the worker to be down between two attempts');
    await cluster.sql(subscriber, 'ALTER SUBSCRIPTION s DISABLE');
    const disabled = await ofSubscriber.read();
    expect(disabled.values.get(of('enabled'))).toBe(0);
    expect(disabled.values.has(of('worker_up'))).toBe(false);
  });

  test('statements: what took time, its text, and no secret in it', async () => {
    const a = await cluster.startPrimary({ version, name: 'a', settings: PRELOADED });
    await prepareRoles(a);
    await cluster.sql(a, 'CREATE EXTENSION pg_stat_statements');
    const reader = await readerOf(a);
    await reader.read();
    await cluster.sql(a, `ALTER ROLE plain PASSWORD '${SECRET}'`);
    await cluster.sql(a, 'SELECT pg_sleep(0.3)');
    for (let i = 0; i < 3; i++) await cluster.sql(a, `SELECT pg_sleep(0.1), '${SECRET}' AS said`);
    const seen = await reader.read();
    const document = statementsIn(seen)!;
    const slept = document.statements.find(({ text }) => text === 'SELECT pg_sleep($1), $2 AS said');
    expect(slept).toMatchObject({ user: 'postgres', database: 'postgres' });
    const labels = `{user=postgres,datname=postgres,queryid=${slept!.queryId}}`;
    expect(seen.values.get(`pg_stat_statements_calls_total${labels}`)).toBe(3);
    expect(seen.values.get(`pg_stat_statements_rows_total${labels}`)).toBe(3);
    expect(seen.values.get(`pg_stat_statements_seconds_total${labels}`)).toBeGreaterThanOrEqual(0.3);
    expect(document.statements.some(({ text }) => text === 'ALTER ROLE …')).toBe(true);
    expect(document.statements.length).toBeLessThanOrEqual(20);
    const next = await reader.read();
    expect([...next.values.keys()].filter((name) => name.startsWith('pg_stat_statements'))).toEqual(
      [...seen.values.keys()].filter((name) => name.startsWith('pg_stat_statements')),
    );
    expect(next.asked).not.toContain('statement_texts');
  });
});
