/** The embedded PostgreSQL on good days: first start, later starts, who may do what, and every place it may be started from. */
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { createLog } from '@tidemark/service';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { thisMachine } from './account.ts';
import { embeddedBinaries, type PackagedBinaries } from './binaries.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres, type EmbeddedPostgresOptions } from './server.ts';
import { bundleHold, spawnHold, type CollectorProcess } from './testing/collector-process.ts';

const isRoot = process.getuid?.() === 0;
const NOBODY = { uid: 65534, gid: 65534 };
const log = createLog('test', 'silent');
let root: string;
let packaged: PackagedBinaries;
const running: EmbeddedPostgres[] = [];
const processes: CollectorProcess[] = [];

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tidemark-embedded-'));
  chmodSync(root, 0o755);
  packaged = embeddedBinaries(thisMachine());
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.stop()));
  for (const { child, exited } of processes.splice(0)) {
    child.kill('SIGTERM');
    await exited;
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const optionsFor = (dataDir: string): Omit<EmbeddedPostgresOptions, 'log'> => ({
  dataDir,
  sharedCopies: [join(root, 'shared', 'postgres')],
});

async function start(dataDir: string, more: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ ...optionsFor(dataDir), log, ...more });
  running.push(server);
  return server;
}

async function query(connection: object, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ ...connection });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

/** How an agent enters: the password file's content put into the URL. */
function agentOf({ agentAccess }: EmbeddedPostgres): { connectionString: string } {
  const url = new URL(agentAccess.url);
  url.password = readFileSync(agentAccess.passwordFile, 'utf8').trim();
  return { connectionString: url.href };
}

/** The package as npm leaves it when install scripts were not run: without its library links. */
function packageWithoutLinks(directory: string): PackagedBinaries {
  cpSync(packaged.nativeDir, join(directory, 'native'), { recursive: true, filter: (path) => !lstatSync(path).isSymbolicLink() });
  return { ...packaged, nativeDir: join(directory, 'native') };
}

const inUse = (path: string): string => {
  mkdirSync(path, { recursive: true, mode: 0o755 });
  return path;
};

describe('as whoever runs this', () => {
  test('the first start makes it, the second keeps it, both are quick', async () => {
    const dataDir = join(root, 'plain');
    const begun = performance.now();
    const first = await start(dataDir);
    expect(performance.now() - begun).toBeLessThan(15_000);
    await query(first.connection, 'CREATE TABLE kept AS SELECT 42 AS answer');
    const pid = first.pid!;
    await first.stop();
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(existsSync(join(dataDir, 'collector.lock'))).toBe(false);

    const again = performance.now();
    const second = await start(dataDir);
    expect(performance.now() - again).toBeLessThan(5_000);
    expect(await query(second.connection, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
    expect(second.connection.password).toBe(first.connection.password);
  });

  test('it is durable, silent on the network, and speaks UTF-8 and UTC', async () => {
    const { connection } = await start(join(root, 'plain'), { settings: { work_mem: '5MB' } });
    const names = [
      'listen_addresses',
      'fsync',
      'synchronous_commit',
      'full_page_writes',
      'TimeZone',
      'server_encoding',
      'work_mem',
      'max_connections',
    ];
    const rows = await query(connection, `SELECT name, setting FROM pg_settings WHERE name = ANY('{${names.join(',')}}') ORDER BY name`);
    expect(Object.fromEntries(rows.map((row) => [row['name'], row['setting']]))).toEqual({
      listen_addresses: '',
      fsync: 'on',
      synchronous_commit: 'on',
      full_page_writes: 'on',
      TimeZone: 'UTC',
      server_encoding: 'UTF8',
      work_mem: '5120',
      max_connections: '20',
    });
    expect(await query(connection, "SELECT lower('ÄÖ') AS low, datlocale FROM pg_database WHERE datname = current_database()")).toEqual([
      { low: 'äö', datlocale: 'C.UTF-8' },
    ]);
  });

  test('passwords are asked for and lie in private files; the agent may look and not touch', async () => {
    const dataDir = join(root, 'plain');
    const server = await start(dataDir);
    for (const file of [join(dataDir, 'postgres-password'), server.agentAccess.passwordFile]) {
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(readFileSync(file, 'utf8').trim()).toMatch(/^[\w-]{32}$/);
    }
    expect(statSync(server.connection.host).mode & 0o777).toBe(0o700);
    await expect(query({ ...server.connection, password: 'wrong' }, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
    expect(new URL(server.agentAccess.url).password).toBe('');

    const agent = agentOf(server);
    await query(server.connection, 'CREATE TABLE IF NOT EXISTS secret AS SELECT 1 AS n');
    expect(
      await query(
        agent,
        "SELECT current_database() AS db, pg_has_role('pg_monitor', 'USAGE') AS monitors, rolconnlimit FROM pg_roles WHERE rolname = current_user",
      ),
    ).toEqual([{ db: 'tidemark', monitors: true, rolconnlimit: 3 }]);
    await expect(query(agent, 'SELECT * FROM secret')).rejects.toMatchObject({ code: '42501' });
    await expect(query(agent, 'CREATE TABLE mine (n int)')).rejects.toMatchObject({ code: '42501' });
  });

  test('lost or changed password files are made good', async () => {
    const dataDir = join(root, 'plain');
    await (await start(dataDir)).stop();
    rmSync(join(dataDir, 'postgres-password'));
    rmSync(join(dataDir, 'agent', 'postgres-password'));
    const renewed = await start(dataDir);
    expect(await query(renewed.connection, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(await query(agentOf(renewed), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await renewed.stop();

    writeFileSync(join(dataDir, 'postgres-password'), 'restored-from-an-older-backup\n');
    const restored = await start(dataDir);
    expect(restored.connection.password).toBe('restored-from-an-older-backup');
    expect(await query(restored.connection, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test("a path longer than a socket's address may be", async () => {
    const dataDir = join(root, 'l'.repeat(90), 'o'.repeat(90), 'ng');
    const server = await start(dataDir);
    expect(Buffer.byteLength(join(server.connection.host, '.s.PGSQL.5432'))).toBeLessThan(107);
    expect(server.dataDirectory).toBe(join(dataDir, 'postgres'));
    expect(await query(server.connection, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await server.stop();
    expect(existsSync(server.connection.host)).toBe(false);
  });
});

describe.runIf(isRoot)('as root', () => {
  test('below a home that only root enters, it runs as another user, from a copy that user can reach', async () => {
    const home = join(root, 'home');
    mkdirSync(home, { mode: 0o700 });
    const dataDir = join(home, 'checkout', 'data');
    const server = await start(dataDir, { binaries: packageWithoutLinks(inUse(join(home, 'node_modules'))) });
    expect(statSync(`/proc/${server.pid!}`).uid).not.toBe(0);
    expect(server.binariesDir).toBe(join(root, 'shared', 'postgres'));
    expect(statSync(server.binariesDir).uid).toBe(0);
    expect(readdirSync(join(root, 'shared'))).toEqual(['postgres']);
    expect(existsSync(join(dataDir, 'postgres', 'PG_VERSION'))).toBe(true);
    expect(statSync(join(dataDir, 'postgres')).uid).toBe(statSync(`/proc/${server.pid!}`).uid);
    expect(await query(server.connection, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('data that an ordinary user made is served as that user; data restored by root is given away', async () => {
    const dataDir = join(root, 'owned');
    await (await start(dataDir)).stop();
    const give = (path: string, uid: number): void => {
      chownSync(path, uid, uid);
      if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) give(join(path, name), uid);
    };
    give(join(dataDir, 'postgres'), NOBODY.uid);
    const asNobody = await start(dataDir);
    expect(statSync(`/proc/${asNobody.pid!}`).uid).toBe(NOBODY.uid);
    await asNobody.stop();
    give(join(dataDir, 'postgres'), 0);
    const restored = await start(dataDir);
    expect(statSync(`/proc/${restored.pid!}`).uid).not.toBe(0);
  });

  test('a copy that somebody else put there is not run', async () => {
    const shared = join(root, 'planted', 'postgres');
    mkdirSync(join(shared, 'bin'), { recursive: true });
    chownSync(shared, NOBODY.uid, NOBODY.gid);
    const server = await start(join(root, 'plain'), { sharedCopies: [shared] });
    expect(statSync(server.binariesDir).uid).toBe(0);
    expect(existsSync(join(shared, 'lib', 'libpq.so.5'))).toBe(true);
  });
});

describe('as an ordinary user', () => {
  const as = isRoot ? NOBODY : {};
  let hold: string;
  beforeAll(async () => {
    hold = await bundleHold(root);
  });
  const home = (name: string): string => {
    const path = join(root, name);
    mkdirSync(path, { mode: 0o700 });
    if (isRoot) chownSync(path, NOBODY.uid, NOBODY.gid);
    return path;
  };
  const hand = (path: string): void => {
    if (!isRoot) return;
    chownSync(path, NOBODY.uid, NOBODY.gid);
    if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) hand(join(path, name));
  };

  test('it runs from the package where it lies, whose links are made', async () => {
    const own = home('user');
    const binaries = packageWithoutLinks(inUse(join(own, 'node_modules')));
    hand(join(own, 'node_modules'));
    // A relative path, as the default is: the process stands in "/".
    const collector = spawnHold(hold, { dataDir: join(own, 'data').slice(1), binaries }, as);
    processes.push(collector);
    const server = await collector.said;
    expect(server.failure).toBeUndefined();
    expect(server.binariesDir).toBe(binaries.nativeDir);
    expect(server.host).toBe(join(own, 'data', 'run'));
    expect(lstatSync(join(binaries.nativeDir, 'lib', 'libpq.so.5')).isSymbolicLink()).toBe(true);
    collector.child.kill('SIGTERM');
    expect(await collector.exited).toBe(0);
    expect(existsSync(`/proc/${server.pid!}`)).toBe(false);
  });

  test.runIf(isRoot)('it runs from a copy where the package cannot be written to', async () => {
    const own = home('guest');
    const binaries = packageWithoutLinks(inUse(join(root, 'read-only')));
    const collector = spawnHold(hold, { dataDir: join(own, 'data'), binaries }, as);
    processes.push(collector);
    const server = await collector.said;
    expect(server.failure).toBeUndefined();
    expect(server.binariesDir).toBe(join(own, 'data', `postgres-binaries-${packaged.version}`));
  });

  test.runIf(isRoot)("somebody else's data is refused in one sentence", async () => {
    const own = home('stranger');
    mkdirSync(join(own, 'data', 'postgres'), { recursive: true });
    chownSync(join(own, 'data'), NOBODY.uid, NOBODY.gid);
    const collector = spawnHold(hold, { dataDir: join(own, 'data'), binaries: packaged }, as);
    processes.push(collector);
    expect((await collector.said).failure).toMatch(/^The database in .* belongs to root, .* choose another directory with --data-dir\.$/);
    expect(await collector.exited).toBe(73);
  });
});
