/** The harness itself, in every version: a pair stands quickly, follows, falls behind when paused, fails over, survives kills. */
import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { POSTGRES_VERSIONS, PostgresCluster, waitUntil, type PostgresInstance } from './cluster.ts';

let cluster: PostgresCluster;
beforeEach(() => {
  cluster = new PostgresCluster();
});
afterEach(() => cluster.stopAll());

const bytesBehind = async (primary: PostgresInstance, applicationName: string): Promise<number> => {
  const [row] = await cluster.sql<{ behind: string }>(
    primary,
    'SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::text AS behind FROM pg_stat_replication WHERE application_name = $1',
    [applicationName],
  );
  return Number(row?.behind);
};

const count = async (instance: PostgresInstance): Promise<number> => {
  const [row] = await cluster.sql<{ count: number }>(instance, 'SELECT count(*)::int AS count FROM written');
  return row?.count ?? 0;
};

describe.each(POSTGRES_VERSIONS)('PostgreSQL %i', (version) => {
  test('a pair follows, and falls behind while replay is paused', async () => {
    const primary = await cluster.startPrimary({ version, name: 'a', settings: { wal_keep_size: '64MB' } });
    const standby = await cluster.addStandby(primary, { name: 'b', slot: 'slot_b' });
    const [shown] = await cluster.sql<{ major: number; recovering: boolean }>(
      standby,
      "SELECT current_setting('server_version_num')::int / 10000 AS major, pg_is_in_recovery() AS recovering",
    );
    expect(shown).toEqual({ major: version, recovering: true });

    await cluster.sql(primary, 'CREATE TABLE written AS SELECT generate_series(1, 100) AS n');
    await waitUntil(async () => (await count(standby)) === 100, { what: 'the rows on the standby' });
    await waitUntil(async () => (await bytesBehind(primary, 'b')) === 0, { what: 'the standby to have replayed all' });

    await cluster.pauseReplay(standby);
    await cluster.sql(primary, 'INSERT INTO written SELECT generate_series(1, 20000)');
    const behind = await waitUntil(
      async () => {
        const bytes = await bytesBehind(primary, 'b');
        return bytes > 1_000_000 && bytes;
      },
      { what: 'bytes behind to grow' },
    );
    expect(behind).toBeGreaterThan(1_000_000);
    expect(await count(standby)).toBe(100);

    await cluster.resumeReplay(standby);
    await waitUntil(async () => (await bytesBehind(primary, 'b')) === 0, { what: 'the standby to catch up' });
    expect(await count(standby)).toBe(20_100);
  });

  test('a cascade, a crash, a failover', async () => {
    const primary = await cluster.startPrimary({ version, name: 'a' });
    await cluster.sql(primary, 'CREATE TABLE written AS SELECT 1 AS n');
    const middle = await cluster.addStandby(primary, { name: 'b', applicationName: 'middle' });
    const last = await cluster.addStandby(primary, { name: 'c', from: middle });
    await cluster.sql(primary, 'INSERT INTO written VALUES (2)');
    await waitUntil(async () => (await count(last)) === 2, { what: 'the row at the end of the cascade' });

    await cluster.kill(primary);
    expect(primary.pid).toBeUndefined();
    await cluster.start(primary);
    await cluster.untilStreaming(primary, 'middle');
    expect(await count(primary)).toBe(2);

    await cluster.stop(primary);
    await cluster.promote(middle);
    await cluster.sql(middle, 'INSERT INTO written VALUES (3)');
    await waitUntil(async () => (await count(last)) === 3, { what: 'the row of the new timeline' });
    await cluster.demote(primary, middle);
    await cluster.start(primary);
    await cluster.untilStreaming(middle, 'a');
    await waitUntil(async () => (await count(primary)) === 3, { what: 'the old primary to follow' });
    await cluster.restart(middle, { mode: 'immediate' });
    expect(await count(middle)).toBe(3);
  });
});

test('settings change with a reload, and a server that cannot start says why', async () => {
  const primary = await cluster.startPrimary({ version: 18, name: 'a' });
  await cluster.configure(primary, { synchronous_standby_names: 'FIRST 1 (b, "it\'s")' });
  await waitUntil(async () => {
    const [row] = await cluster.sql<{ synchronous_standby_names: string }>(primary, 'SHOW synchronous_standby_names');
    return row?.synchronous_standby_names === 'FIRST 1 (b, "it\'s")';
  });
  await cluster.stop(primary);
  await expect(cluster.startPrimary({ version: 18, name: 'broken', settings: { shared_buffers: 'none' } })).rejects.toThrow(
    /invalid value for parameter "shared_buffers"/,
  );
});

test('nothing of a cluster is left, whatever state its servers were in', async () => {
  const primary = await cluster.startPrimary({ version: 18, name: 'a' });
  const standby = await cluster.addStandby(primary, { name: 'b' });
  await cluster.pauseReplay(standby);
  const pids = [primary.pid, standby.pid];
  await cluster.stopAll();
  expect(pids.map((pid) => existsSync(`/proc/${pid}`))).toEqual([false, false]);
  expect(existsSync(cluster.directory)).toBe(false);
});
