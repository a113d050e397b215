/**
 * The agent's look at a PostgreSQL server every so often between two reports, against real servers: the track it brings, what
 * it calls urgent, what it says of a promotion, and what it makes of what stands in its way.
 */
import { spawn } from 'node:child_process';
import { accessSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createPostgresProbes, ProbeRunner, type PostgresConfig } from '@tidemark/agent';
import { parseLsn, PostgresReplication, PostgresTrack } from '@tidemark/protocol';
import { createLog, systemClock } from '@tidemark/service';
import { Client } from 'pg';
import { Value } from 'typebox/value';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PostgresCluster, waitUntil, type PostgresInstance } from './postgres/cluster.ts';

const VERSIONS = [15, 18] as const;
const HOT_EVERY_MS = 50;
const PGBOUNCER = '/usr/sbin/pgbouncer';
let cluster: PostgresCluster;
let stops: (() => Promise<unknown> | void)[];
beforeEach(() => {
  cluster = new PostgresCluster();
  stops = [];
});
afterEach(async () => {
  for (const stop of stops.toReversed()) await stop();
  await cluster.stopAll();
});

interface Seen {
  takenMs: number;
  of(instance: string): PostgresReplication;
  trackOf(instance: string): PostgresTrack | undefined;
  /** The values that a label has among the series of a name. */
  labels(series: string, label: string): (string | undefined)[];
}

interface Watching {
  collect(): Promise<Seen>;
  collectUntil(condition: (seen: Seen) => boolean, what: string): Promise<Seen>;
  /** How often something could not wait. */
  urgent(): number;
}

function watch(configs: readonly PostgresConfig[], hotEveryMs = HOT_EVERY_MS, deadlineMs?: number): Watching {
  let urgent = 0;
  const passFile = join(cluster.directory, 'no-pgpass');
  const probes = createPostgresProbes(configs, { passFile, hotEveryMs, deadlineMs, hostname: 'here', onChange: () => void urgent++ });
  const runner = new ProbeRunner(probes, systemClock, createLog('test', 'silent'));
  stops.push(() => runner.close());
  const collect = async (): Promise<Seen> => {
    const takenMs = systemClock.monotonicMs();
    const { observations, blocks } = await runner.collect(takenMs);
    expect(runner.states()).toMatchObject([{ name: 'postgres', success: true }]);
    const documentOf = (kind: string, instance: string): unknown =>
      observations.find((observation) => observation.kind === kind && observation.instance === instance)?.document;
    return {
      takenMs,
      of(instance) {
        const document = documentOf('postgres.replication', instance);
        expect([...Value.Errors(PostgresReplication, document)]).toEqual([]);
        return document as PostgresReplication;
      },
      trackOf(instance) {
        const document = documentOf('postgres.track', instance);
        if (document !== undefined) expect([...Value.Errors(PostgresTrack, document)]).toEqual([]);
        return document as PostgresTrack | undefined;
      },
      labels: (name, label) =>
        blocks
          .flatMap(({ layout }) => layout.series)
          .filter((series) => series.name === name)
          .map(({ labels }) => labels.find(([key]) => key === label)?.[1]),
    };
  };
  return {
    collect,
    collectUntil: (condition, what) =>
      waitUntil(
        async () => {
          const seen = await collect();
          return condition(seen) && seen;
        },
        { what },
      ),
    urgent: () => urgent,
  };
}

/** Puts lines before those of pg_hba.conf and has them read. */
async function letIn(instance: PostgresInstance, lines: string): Promise<void> {
  const path = join(instance.dataDirectory, 'pg_hba.conf');
  writeFileSync(path, `${lines}\n${readFileSync(path, 'utf8')}`);
  await cluster.sql(instance, 'SELECT pg_reload_conf()');
}

const present = (path: string): boolean => {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
};

/** Samples of a track as moments on the clock of the test. */
function placed(track: PostgresTrack | undefined, takenMs: number): { atMs: number; head: bigint; run: number }[] {
  return (track?.runs ?? []).flatMap(({ samples }, run) =>
    samples.map(([agoMs, head]) => ({ atMs: takenMs - agoMs, head: parseLsn(head)!, run })),
  );
}

describe.each(VERSIONS)('PostgreSQL %i', (version) => {
  test('the tracks of a chain, a receiver that dies, a promotion', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    const b = await cluster.addStandby(a, { name: 'b', slot: 'slot_b' });
    const c = await cluster.addStandby(a, { name: 'c', from: b });
    const watching = watch([a, b, c].map(({ url, name }) => ({ url, name })));
    await watching.collect();

    // Positions that were read directly lie between those of the track around the same moment.
    const read: { fromMs: number; toMs: number; lsn: bigint }[] = [];
    await cluster.sql(a, 'CREATE TABLE written (n int)');
    for (let i = 0; i < 5; i++) {
      await cluster.sql(a, 'INSERT INTO written SELECT generate_series(1, 1000)');
      const fromMs = systemClock.monotonicMs();
      const [row] = await cluster.sql<{ lsn: string }>(a, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
      read.push({ fromMs, toMs: systemClock.monotonicMs(), lsn: parseLsn(row!.lsn)! });
    }
    const after = await watching.collectUntil(
      (seen) => seen.of('c').receiver?.replayLsn === seen.of('a').flushLsn && seen.of('a').flushLsn !== null,
      'the last of the chain to have replayed all',
    );
    const track = after.trackOf('a')!;
    expect(track).toMatchObject({ systemIdentifier: after.of('a').systemIdentifier, runs: [{ role: 'primary', timeline: 1 }] });
    expect(track.errorMs).toBeLessThan(2_000);
    const [newest] = placed(track, after.takenMs).slice(-1);
    expect(newest!.atMs).toBeGreaterThan(after.takenMs - HOT_EVERY_MS - track.errorMs);
    expect(read.every(({ lsn }) => lsn <= newest!.head)).toBe(true);
    const [, , , sender, senderAgoMs] = after.trackOf('c')!.runs[0]!.samples.at(-1)!;
    expect(parseLsn(sender)).toBeLessThanOrEqual(newest!.head);
    expect(senderAgoMs).toBeGreaterThanOrEqual(after.trackOf('c')!.runs[0]!.samples.at(-1)![0]);
    expect(after.of('b').receiver).toMatchObject({ status: 'streaming', pid: expect.any(Number), lastMessageAgoMs: expect.any(Number) });
    expect(after.of('b').replicas).toMatchObject([{ applicationName: 'c', state: 'streaming', slotType: null }]);
    expect(after.of('a').replicas).toMatchObject([{ applicationName: 'b', slotType: 'physical', syncPriority: 0 }]);
    expect(after.of('a')).toMatchObject({
      clusterName: 'a',
      reachedAt: { host: '127.0.0.1', port: a.port },
      machine: { hostname: 'here', port: a.port },
      recoveryEndLsn: null,
      checkpointTimeline: 1,
      waitingForSync: 0,
      missingRights: [],
    });

    // The next track begins where this one ended.
    const next = await watching.collect();
    expect(placed(next.trackOf('a'), next.takenMs)[0]!.head).toBe(newest!.head);
    expect(Math.abs(placed(next.trackOf('a'), next.takenMs)[0]!.atMs - newest!.atMs)).toBeLessThanOrEqual(1);

    expect(watching.urgent()).toBe(0);
    const cutAtMs = systemClock.monotonicMs();
    await cluster.configure(c, { primary_conninfo: 'host=127.0.0.1 port=1' });
    await waitUntil(() => watching.urgent() === 1, { what: 'the dead receiver to be told' });
    expect(systemClock.monotonicMs() - cutAtMs).toBeLessThan(5_000);
    const cut = await watching.collect();
    expect(cut.of('c').receiver).toMatchObject({ status: null, pid: null, lastMessageAgoMs: null });
    expect(cut.of('c').timeline).toBe(1);
    expect(cut.trackOf('c')!.runs.at(-1)!.samples.at(-1)![3]).toBeNull();

    await cluster.promote(b);
    const promoted = await watching.collectUntil((seen) => seen.of('b').role === 'primary', 'the promotion to be seen');
    expect(promoted.of('b')).toMatchObject({ timeline: 2, receiver: null, recoveryEndLsn: expect.stringMatching(/^0\//) });
    const history = await cluster.sql<{ text: string }>(b, "SELECT pg_read_file('pg_wal/00000002.history') AS text");
    expect(history[0]!.text).toContain(promoted.of('b').recoveryEndLsn!);
    const runs = promoted.trackOf('b')!.runs;
    const last = await watching.collect();
    expect([...runs, ...last.trackOf('b')!.runs].at(-1)).toMatchObject({ role: 'primary', timeline: 2 });
    await waitUntil(() => watching.urgent() === 2, { what: 'the promotion to be told' });
    expect(promoted.of('b').replicas.length).toBe(0);

    // An agent that comes later finds the end of the recovery all the same; after a restart nobody knows it, and a crash is none.
    expect((await watch([{ url: b.url, name: 'b' }]).collect()).of('b').recoveryEndLsn).toBe(promoted.of('b').recoveryEndLsn);
    await cluster.kill(b);
    await cluster.start(b);
    expect((await watch([{ url: b.url, name: 'b' }]).collect()).of('b')).toMatchObject({
      role: 'primary',
      timeline: 2,
      recoveryEndLsn: null,
    });
  });

  test('one connection, whatever happens, and what is down or up again does not wait for a report', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    const watching = watch([{ url: a.url, name: 'a' }], 20);
    const backends = async (): Promise<number> =>
      (await cluster.sql(a, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tidemark-agent'")).length;
    for (let i = 0; i < 20; i++) {
      await Promise.all([watching.collect(), watching.collect()]);
      expect(await backends()).toBe(1);
    }
    await cluster.stop(a);
    await waitUntil(() => watching.urgent() === 1, { what: 'the server to be told as down' });
    expect((await watching.collect()).of('a')).toMatchObject({ up: false, reason: 'refused' });
    await cluster.start(a);
    await waitUntil(() => watching.urgent() === 2, { what: 'the server to be told as up' });
    expect(await backends()).toBe(1);
    const again = await watching.collect();
    expect(again.of('a').up).toBe(true);
    // The same positions, and yet another run of the server.
    expect(again.trackOf('a')!.runs.length).toBeGreaterThanOrEqual(1);
  });

  test('a server process that hangs between two reports: given up after the deadline, told, and replaced', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    const watching = watch([{ url: a.url, name: 'a' }], 50, 500);
    await watching.collect();
    const own = async (): Promise<number | undefined> =>
      (await cluster.sql<{ pid: number }>(a, "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidemark-agent'"))[0]?.pid;
    const pid = (await own())!;
    process.kill(pid, 'SIGSTOP');
    try {
      await waitUntil(() => watching.urgent() === 1, { what: 'the hanging server to be told' });
      await waitUntil(async () => (await watching.collect()).of('a').up, { what: 'a new connection' });
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await waitUntil(async () => (await own()) !== undefined && (await own()) !== pid, { what: 'the old connection to be gone' });
  });

  test('a lock in the catalog: what could not be read is said, nobody vanishes, and the track goes on', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    await cluster.addStandby(a, { name: 'b', slot: 'slot_b' });
    const watching = watch([{ url: a.url, name: 'a' }]);
    expect((await watching.collect()).of('a')).toMatchObject({ up: true, reason: null });
    const blocker = new Client({ connectionString: a.url });
    await blocker.connect();
    stops.push(() => blocker.end());
    await blocker.query('BEGIN');
    await blocker.query('LOCK TABLE pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE');
    const blocked = await watching.collect();
    expect(blocked.of('a')).toMatchObject({ up: true, role: 'primary', timeline: 1, reason: 'timeout' });
    expect(blocked.of('a').detail).toContain('lock timeout');
    expect(blocked.of('a').replicas).toMatchObject([{ applicationName: 'b', state: 'streaming' }]);
    expect(blocked.of('a').slots).toMatchObject([{ name: 'slot_b' }]);
    expect(blocked.trackOf('a')!.runs[0]!.samples.length).toBeGreaterThanOrEqual(1);
    await blocker.query('ROLLBACK');
    expect((await watching.collect()).of('a')).toMatchObject({ up: true, reason: null });
  });

  test('a replica whose role may not read the whole: what the narrow statement sees of its receiver is there', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    await cluster.sql(a, 'CREATE ROLE monitor LOGIN IN ROLE pg_monitor');
    await cluster.sql(a, 'REVOKE SELECT ON pg_stat_replication FROM PUBLIC');
    const b = await cluster.addStandby(a, { name: 'b' });
    const seen = await watch([{ url: b.url.replace('postgres@', 'monitor@'), name: 'b' }]).collect();
    expect(seen.of('b')).toMatchObject({ up: true, role: 'replica', reason: 'privilege', insufficientPrivilege: true, timeline: 1 });
    expect(seen.of('b').receiver).toMatchObject({ status: 'streaming', pauseState: 'not paused', receiveLsn: expect.any(String) });
    expect(seen.trackOf('b')!.runs[0]!.samples[0]![3]).toEqual(expect.any(String));
  });

  test('names in any encoding', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    const plain = "TEMPLATE template0 LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'";
    await cluster.sql(a, `CREATE DATABASE raw ${plain} ENCODING 'SQL_ASCII'`);
    await cluster.sql(a, `CREATE DATABASE eucjp ${plain} ENCODING 'EUC_JP'`);
    await cluster.sql(a, `CREATE DATABASE latin ${plain} ENCODING 'LATIN1'`);
    // Bytes that are neither UTF-8 nor EUC_JP, in a catalog that all databases share: any client with another encoding can do this.
    await cluster.sql(
      a,
      `UPDATE pg_database SET datname = convert_from('\\x636166e9ff'::bytea, 'SQL_ASCII')::name WHERE datname = 'latin'`,
      [],
      'raw',
    );
    const databases = ['postgres', 'raw', 'eucjp'];
    const seen = await Promise.all(
      databases.map((database) => watch([{ name: database, url: a.url.replace(/postgres$/, database) }]).collect()),
    );
    databases.forEach((database, i) => {
      expect(seen[i]!.of(database)).toMatchObject({ up: true, reason: null, role: 'primary', missingRights: [] });
      expect(seen[i]!.labels('pg_database_size_bytes', 'datname')).toEqual(
        expect.arrayContaining(['postgres', 'raw', 'eucjp', 'caf\uFFFD\uFFFD']),
      );
    });
  });

  test('the same server under two names is one server', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    const seen = await watch([
      { name: 'tcp', url: a.url },
      { name: 'socket', url: a.socketUrl },
    ]).collect();
    expect(seen.of('tcp')).toMatchObject({ up: true, reason: null, systemIdentifier: expect.any(String) });
    expect(seen.of('socket')).toMatchObject({ up: true, reason: 'duplicate', systemIdentifier: null });
    expect(seen.of('socket').detail).toBe('"socket" is the same server as "tcp": take one of them out of the agent\'s configuration.');
    expect(seen.trackOf('socket')?.systemIdentifier).toBeNull();
  });

  test('an expired password, TLS that is required, a role with too many connections: each has its fix', async () => {
    const a = await cluster.startPrimary({ version, name: 'a' });
    await cluster.sql(a, "CREATE ROLE expired LOGIN PASSWORD 'secret' VALID UNTIL '2020-01-01'");
    await cluster.sql(a, 'CREATE ROLE encrypted LOGIN');
    await cluster.sql(a, 'CREATE ROLE full_up LOGIN CONNECTION LIMIT 0');
    await letIn(a, 'host all expired 127.0.0.1/32 scram-sha-256\nhostssl all encrypted all trust\nhost all encrypted 127.0.0.1/32 reject');
    const at = (role: string): PostgresConfig => ({ name: role, url: `postgres://${role}:secret@127.0.0.1:${a.port}/postgres` });
    const seen = await watch([at('expired'), at('encrypted'), at('full_up'), { name: 'well', url: a.url }]).collect();
    expect(seen.of('expired')).toMatchObject({ up: false, reason: 'authentication', detail: expect.stringContaining('VALID UNTIL') });
    expect(seen.of('encrypted')).toMatchObject({ up: false, reason: 'authentication', detail: expect.stringContaining('sslmode=require') });
    expect(seen.of('full_up')).toMatchObject({ up: false, reason: 'too_many_connections' });
    expect(seen.of('full_up').detail).toContain('ALTER ROLE "full_up" CONNECTION LIMIT 3');
    expect(seen.of('well')).toMatchObject({ up: true });
    expect(JSON.stringify(['expired', 'encrypted', 'full_up'].map((name) => seen.of(name)))).not.toContain('secret');
  });
});

describe.skipIf(!present(PGBOUNCER))('PgBouncer in between', () => {
  interface Bouncer {
    url: string;
  }

  /** A pool of one or two connections in front of a server. */
  async function bounce(a: PostgresInstance, mode: string, extra: readonly string[] = []): Promise<Bouncer> {
    const port = await freePort();
    const path = join(cluster.directory, `pgbouncer-${mode}-${port}.ini`);
    const lines = [
      '[databases]',
      `postgres = host=127.0.0.1 port=${a.port} user=postgres`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = any',
      `pool_mode = ${mode}`,
      'default_pool_size = 2',
      ...extra,
    ];
    writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o644 });
    // It will not run as root.
    const user = process.getuid?.() === 0 ? ['-u', 'postgres'] : [];
    const child = spawn(PGBOUNCER, [...user, path], { stdio: ['ignore', 'ignore', 'pipe'] });
    let log = '';
    child.stderr.on('data', (chunk) => (log += String(chunk)));
    const exited = new Promise((resolve) => child.once('exit', resolve));
    stops.push(() => {
      child.kill('SIGTERM');
      child.kill('SIGKILL');
      return exited;
    });
    await waitUntil(() => log.includes('process up'), { what: `PgBouncer to be up: ${log}` });
    return { url: `postgres://postgres@127.0.0.1:${port}/postgres` };
  }

  test('is named, whether it refuses what is asked for, keeps it from the server, or changes the server', async () => {
    const a = await cluster.startPrimary({ version: 18, name: 'a' });
    const refusing = await bounce(a, 'transaction');
    const ignoring = await bounce(a, 'transaction', ['ignore_startup_parameters = options']);
    const seen = await watch([
      { name: 'refusing', url: refusing.url },
      { name: 'ignoring', url: ignoring.url },
      { name: 'well', url: a.url },
    ]).collect();
    for (const name of ['refusing', 'ignoring']) {
      expect(seen.of(name)).toMatchObject({ up: false, reason: 'pooler', detail: expect.stringMatching(/PostgreSQL itself/) });
    }
    expect(seen.of('well')).toMatchObject({ up: true, reason: null });
    // Nothing of ours is left behind on the connections of others.
    const client = new Client({ connectionString: ignoring.url });
    await client.connect();
    stops.push(() => client.end());
    expect((await client.query('SHOW default_transaction_read_only')).rows).toEqual([{ default_transaction_read_only: 'off' }]);
  });

  test('is named when the server itself has our settings: by its processes that change, or by their number', async () => {
    const a = await cluster.startPrimary({ version: 15, name: 'a' });
    await cluster.sql(a, "ALTER ROLE postgres SET statement_timeout = '3s'");
    await cluster.sql(a, "ALTER ROLE postgres SET default_transaction_read_only = 'on'");
    for (const mode of ['session', 'transaction']) {
      const { url } = await bounce(a, mode, ['ignore_startup_parameters = options']);
      const seen = await watch([{ name: mode, url }]).collect();
      expect(seen.of(mode)).toMatchObject({ reason: 'pooler', detail: expect.stringContaining('port 5432') });
    }
  });
});

if (!present(PGBOUNCER)) process.stderr.write(`${PGBOUNCER} is not here: what the agent says of a pooler is not tested.\n`);

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
