/** The agent's PostgreSQL probe against real servers of every version: what it says while they are well, fall behind, fail over, refuse and hang. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPostgresProbes, ProbeRunner, type Collection, type PostgresConfig } from '@tidemark/agent';
import { PostgresReplication, PostgresSettings, type WireValue } from '@tidemark/protocol';
import { createLog, systemClock } from '@tidemark/service';
import { Client } from 'pg';
import { Value } from 'typebox/value';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { POSTGRES_VERSIONS, PostgresCluster, waitUntil, type PostgresInstance } from './postgres/cluster.ts';

const PASSWORD = 'hunter2';
let cluster: PostgresCluster;
let runners: ProbeRunner[];
beforeEach(() => {
  cluster = new PostgresCluster();
  runners = [];
});
afterEach(async () => {
  await Promise.all(runners.map((runner) => runner.close()));
  await cluster.stopAll();
});

function watch(configs: readonly PostgresConfig[], deadlineMs?: number): ProbeRunner {
  const probes = createPostgresProbes(configs, { passFile: join(cluster.directory, 'no-pgpass'), deadlineMs });
  const runner = new ProbeRunner(probes, systemClock, createLog('test', 'silent'));
  runners.push(runner);
  return runner;
}

/** One collection: what was seen of each server, and its values under their names without the label of the server. */
interface Seen {
  collection: Collection;
  of(instance: string): PostgresReplication;
  settingsOf(instance: string): PostgresSettings | undefined;
  values(instance: string): Map<string, WireValue>;
}

async function collect(runner: ProbeRunner): Promise<Seen> {
  const collection = await runner.collect();
  expect(runner.states()).toMatchObject([{ name: 'postgres', success: true }]);
  expect(JSON.stringify(collection)).not.toContain(PASSWORD);
  const documentOf = (kind: string, instance: string): unknown =>
    collection.observations.find((seen) => seen.kind === kind && seen.instance === instance)?.document;
  return {
    collection,
    of(instance) {
      const document = documentOf('postgres.replication', instance);
      expect([...Value.Errors(PostgresReplication, document)]).toEqual([]);
      return document as PostgresReplication;
    },
    settingsOf: (instance) => documentOf('postgres.settings', instance) as PostgresSettings | undefined,
    values(instance) {
      const block = collection.blocks.find(({ layout }) => layout.probe === 'postgres' && layout.instance === instance);
      const named = new Map<string, WireValue>();
      block?.layout.series.forEach(({ name, labels }, i) => {
        expect(labels[0]).toEqual(['server', instance]);
        const rest = labels.slice(1).filter(([label, value]) => value !== '' && label !== 'client_addr' && !label.endsWith('version'));
        named.set(rest.length === 0 ? name : `${name}{${rest.map((pair) => pair.join('=')).join(',')}}`, block.values[i]!);
      });
      expect(named.size).toBe(block?.layout.series.length ?? 0);
      return named;
    },
  };
}

/** Collects until the condition holds; what it says is true of the last collection. */
function collectUntil(runner: ProbeRunner, condition: (seen: Seen) => boolean, what: string): Promise<Seen> {
  return waitUntil(
    async () => {
      const seen = await collect(runner);
      return condition(seen) && seen;
    },
    { what },
  );
}

async function openConnections(instance: PostgresInstance): Promise<{ clients: Client[]; refusedWith: string }> {
  const clients: Client[] = [];
  for (;;) {
    const client = new Client({ connectionString: instance.url });
    client.on('error', () => undefined);
    try {
      await client.connect();
      clients.push(client);
    } catch (error) {
      return { clients, refusedWith: (error as { code?: string }).code ?? String(error) };
    }
  }
}

/** Puts lines before those of pg_hba.conf and has them read. */
async function letIn(instance: PostgresInstance, lines: string): Promise<void> {
  const path = join(instance.dataDirectory, 'pg_hba.conf');
  writeFileSync(path, `${lines}\n${readFileSync(path, 'utf8')}`);
  await cluster.sql(instance, 'SELECT pg_reload_conf()');
}

describe.each(POSTGRES_VERSIONS)('PostgreSQL %i', (version) => {
  test('a pair: well, paused, apart, promoted', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    const b = await cluster.addStandby(a, { name: 'b', slot: 'slot_b', applicationName: 'b"}{' });
    const runner = watch([
      { url: a.url, name: 'a' },
      { url: b.socketUrl, name: 'b "the other"\n😀' },
    ]);
    const nameOfB = 'b "the other"\n😀';
    const replica = 'application_name=b"}{,slot_name=slot_b';

    await cluster.sql(a, 'CREATE TABLE written AS SELECT generate_series(1, 100) AS n');
    const caughtUp = (seen: Seen): boolean =>
      seen.of('a').replicas[0]?.bytesBehind === '0' &&
      seen.of('a').replicas[0]?.replayLsn === seen.of('a').currentLsn &&
      seen.of(nameOfB).receiver?.replayLsn === seen.of('a').currentLsn;
    const first = await collect(runner);
    const well = await collectUntil(runner, caughtUp, 'the standby to have replayed all');
    const [identity] = await cluster.sql<{ id: string }>(a, 'SELECT system_identifier::text AS id FROM pg_control_system()');
    expect(well.of('a')).toMatchObject({
      up: true,
      reason: null,
      role: 'primary',
      timeline: 1,
      systemIdentifier: identity?.id,
      receiver: null,
    });
    expect(Math.floor(well.of('a').versionNumber! / 10_000)).toBe(version);
    expect(well.of('a').replicas).toMatchObject([
      { applicationName: 'b"}{', clientAddr: '127.0.0.1', state: 'streaming', syncState: 'async', slotName: 'slot_b' },
    ]);
    expect(well.of('a').slots).toMatchObject([{ name: 'slot_b', type: 'physical', active: true, walStatus: 'reserved' }]);
    expect(well.of(nameOfB)).toMatchObject({
      up: true,
      role: 'replica',
      timeline: 1,
      systemIdentifier: identity?.id,
      currentLsn: null,
      receiver: {
        status: 'streaming',
        pauseState: 'not paused',
        senderHost: '127.0.0.1',
        senderPort: a.port,
        slotName: 'slot_b',
        receivedTimeline: 1,
      },
    });
    expect(first.settingsOf('a')?.settings).toContainEqual(expect.objectContaining({ name: 'wal_level', value: 'replica' }));
    expect(first.settingsOf(nameOfB)?.primary).toEqual({ host: '127.0.0.1', port: String(a.port) });
    expect(well.settingsOf('a')).toBeUndefined();
    const figures = well.values('a');
    expect(figures.get('pg_up')).toBe(1);
    expect(figures.get('pg_settings_max_connections')).toBe(30);
    expect(figures.get('pg_stat_activity_count{state=active}')).toBeGreaterThanOrEqual(1);
    expect(figures.get('tidemark_postgres_connections_used_ratio')).toBeGreaterThanOrEqual(1 / 30);
    expect(figures.get(`tidemark_postgres_replica_streaming{${replica}}`)).toBe(1);
    expect(figures.get('pg_database_size_bytes{datname=postgres}')).toBeGreaterThan(1_000_000);
    expect(well.values(nameOfB).get('tidemark_postgres_receiver_up')).toBe(1);

    await cluster.pauseReplay(b);
    await cluster.sql(a, 'INSERT INTO written SELECT generate_series(1, 20000)');
    const paused = await collectUntil(
      runner,
      (seen) => {
        const [behind] = seen.of('a').replicas;
        return behind?.flushLsn === seen.of('a').currentLsn && Number(behind?.bytesBehind) > 1_000_000;
      },
      'bytes behind to grow',
    );
    const [asked] = await cluster.sql<{ behind: string }>(
      a,
      'SELECT pg_wal_lsn_diff(sent_lsn, replay_lsn)::text AS behind FROM pg_stat_replication',
    );
    expect(paused.of('a').replicas[0]?.bytesBehind).toBe(asked?.behind);
    expect(paused.values('a').get(`tidemark_postgres_replica_bytes_behind{${replica}}`)).toBe(Number(asked?.behind));
    expect(paused.values('a').get(`pg_stat_replication_pg_wal_lsn_diff{${replica}}`)).toBe(Number(asked?.behind));
    expect(paused.of(nameOfB).receiver).toMatchObject({ pauseState: 'paused', receiveLsn: paused.of('a').currentLsn });
    expect(paused.values(nameOfB).get('tidemark_postgres_replay_paused')).toBe(1);
    expect(paused.values(nameOfB).get('tidemark_postgres_replay_backlog_bytes')).toBe(Number(asked?.behind));
    await cluster.resumeReplay(b);
    await collectUntil(runner, caughtUp, 'the standby to catch up');

    await cluster.stop(b);
    const apart = await collectUntil(runner, (seen) => seen.of('a').replicas.length === 0, 'the replica to be gone');
    expect(apart.of(nameOfB)).toMatchObject({ up: false, reason: 'refused' });
    expect(apart.values('a').get('tidemark_postgres_replicas')).toBe(0);
    expect(apart.values('a').get('pg_replication_slot_slot_is_active{slot_name=slot_b,slot_type=physical}')).toBe(0);
    expect([...apart.values(nameOfB)]).toEqual([['pg_up', 0]]);

    await cluster.start(b);
    await collectUntil(runner, (seen) => seen.of(nameOfB).up && seen.of('a').replicas[0]?.state === 'streaming', 'the standby to be back');
    await cluster.promote(b);
    const promoted = await collect(runner);
    expect(promoted.of(nameOfB)).toMatchObject({ up: true, role: 'primary', timeline: 2, receiver: null });
    expect(promoted.values(nameOfB).get('pg_replication_is_replica')).toBe(0);
    expect(promoted.settingsOf(nameOfB)).toBeDefined();
  });

  test('two replicas of one name, from one address, without slots: two series, neither taken for the other', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    const b = await cluster.addStandby(a, { name: 'b', applicationName: 'walreceiver' });
    await cluster.addStandby(a, { name: 'c', applicationName: 'walreceiver' });
    const runner = watch([{ url: a.url, name: 'a' }]);
    await collectUntil(runner, (seen) => seen.of('a').replicas.filter(({ state }) => state === 'streaming').length === 2, 'both to stream');
    await cluster.pauseReplay(b);
    await cluster.sql(a, 'CREATE TABLE written AS SELECT generate_series(1, 20000) AS n');
    const one = 'tidemark_postgres_replica_bytes_behind{application_name=walreceiver}';
    const two = 'tidemark_postgres_replica_bytes_behind{application_name=walreceiver,duplicate=2}';
    await collectUntil(
      runner,
      (seen) => Number(seen.values('a').get(one)) > 1_000_000 && seen.values('a').get(two) === 0,
      'the first to fall behind and the second to follow',
    );
    await cluster.stop(b);
    const left = await collectUntil(runner, (seen) => seen.of('a').replicas.length === 1, 'the first to be gone');
    expect(left.values('a').has(one)).toBe(false);
    expect(left.values('a').get(two)).toBe(0);
  });

  test('refusals, each with its reason; and a role without pg_monitor is told so', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    await cluster.sql(a, `CREATE DATABASE "say ""hi""\n😀"`);
    await cluster.sql(a, `CREATE ROLE plain LOGIN PASSWORD '${PASSWORD}'`);
    await cluster.sql(a, `CREATE ROLE monitor LOGIN PASSWORD '${PASSWORD}' IN ROLE pg_monitor`);
    await letIn(a, 'host all nobody 127.0.0.1/32 reject\nhost all plain,monitor 127.0.0.1/32 scram-sha-256');
    const url = (login: string, database = 'postgres', suffix = ''): string =>
      `postgres://${login}@127.0.0.1:${a.port}/${database}${suffix}`;
    const passwordFile = join(cluster.directory, 'password');
    writeFileSync(passwordFile, `${PASSWORD}\n`, { mode: 0o600 });

    const seen = await collect(
      watch([
        { name: 'wrong password', url: url('monitor:wrong') },
        { name: 'no password', url: url('monitor') },
        { name: 'pg_hba', url: url('nobody') },
        { name: 'no database', url: url(`monitor:${PASSWORD}`, 'missing') },
        { name: 'no TLS', url: url(`monitor:${PASSWORD}`, 'postgres', '?sslmode=verify-full') },
        { name: 'plain', url: url(`plain:${PASSWORD}`) },
        { name: 'monitor', url: url('monitor'), passwordFile },
      ]),
    );
    const reasonOf = (name: string): string | null => seen.of(name).reason;
    expect(reasonOf('wrong password')).toBe('authentication');
    expect(reasonOf('no password')).toBe('authentication');
    expect(reasonOf('pg_hba')).toBe('authentication');
    expect(seen.of('pg_hba').detail).toContain('pg_hba.conf');
    expect(reasonOf('no database')).toBe('database_missing');
    expect(reasonOf('no TLS')).toBe('tls');
    expect(seen.values('pg_hba').get('pg_up')).toBe(0);

    expect(seen.of('monitor')).toMatchObject({ up: true, insufficientPrivilege: false });
    expect(seen.settingsOf('monitor')).toMatchObject({ insufficientPrivilege: false });
    expect(seen.values('monitor').get('pg_database_size_bytes{datname=say "hi"\n😀}')).toBeGreaterThan(1_000_000);

    await cluster.addStandby(a, { name: 'b' });
    const hidden = await collect(watch([{ name: 'plain', url: url(`plain:${PASSWORD}`) }]));
    expect(hidden.of('plain')).toMatchObject({ up: true, role: 'primary', insufficientPrivilege: true });
    expect(hidden.of('plain').replicas).toMatchObject([{ pid: expect.any(Number), state: null, bytesBehind: null }]);
    expect(hidden.values('plain').get('tidemark_postgres_insufficient_privilege')).toBe(1);
    expect([...hidden.values('plain').keys()].filter((name) => /activity|bytes_behind|connections_used/.test(name))).toEqual([]);

    await cluster.sql(a, 'REVOKE EXECUTE ON FUNCTION pg_last_wal_receive_lsn() FROM PUBLIC');
    const revoked = await collect(watch([{ name: 'plain', url: url(`plain:${PASSWORD}`) }]));
    expect(revoked.of('plain')).toMatchObject({ up: true, reason: 'privilege', role: 'primary', insufficientPrivilege: true });
    expect(revoked.values('plain').get('pg_up')).toBe(1);
  });

  test('full, restarted, cut off, hung: the connection that is there serves, a lost one comes back, a hung one harms nobody', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    const b = await cluster.startPrimary({ version, name: 'other' });
    await cluster.sql(a, 'CREATE ROLE monitor LOGIN IN ROLE pg_monitor');
    const both = [
      { name: 'a', url: `postgres://monitor@127.0.0.1:${a.port}/postgres` },
      { name: 'b', url: b.url },
    ];
    const runner = watch(both, 1_000);
    expect((await collect(runner)).of('a').up).toBe(true);

    const { clients, refusedWith } = await openConnections(a);
    expect(refusedWith).toBe('53300');
    const full = await collect(runner);
    expect(full.of('a').up).toBe(true);
    expect(full.values('a').get('tidemark_postgres_connections_used_ratio')).toBe(1);
    expect((await collect(watch(both))).of('a')).toMatchObject({ up: false, reason: 'too_many_connections' });
    await Promise.all(clients.map((client) => client.end()));

    await cluster.restart(a);
    expect((await collect(runner)).of('a').up).toBe(true);
    await cluster.sql(a, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidemark-agent'");
    expect((await collect(runner)).of('a').up).toBe(true);

    const { pid } = a;
    process.kill(pid!, 'SIGSTOP');
    try {
      expect((await collect(runner)).of('a').up).toBe(true);
      const anew = await collect(watch(both, 1_000));
      expect(anew.of('a')).toMatchObject({ up: false, reason: 'timeout' });
      expect(anew.of('b').up).toBe(true);
    } finally {
      process.kill(pid!, 'SIGCONT');
    }
    const [own] = await cluster.sql<{ pid: number }>(
      a,
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidemark-agent' AND query LIKE '%in_recovery%' ORDER BY backend_start LIMIT 1",
    );
    process.kill(own!.pid, 'SIGSTOP');
    try {
      const hung = await collect(runner);
      expect(hung.of('a')).toMatchObject({ up: false, reason: 'timeout' });
      expect(hung.of('b').up).toBe(true);
      // The server itself is well: a connection of its own sees it, whatever became of the stuck one.
      await collectUntil(runner, (seen) => seen.of('a').up, 'a new connection');
    } finally {
      process.kill(own!.pid, 'SIGCONT');
    }
  });
});
