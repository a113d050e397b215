/** The embedded PostgreSQL on bad days: kills, orphans, stale files, halves, doubles and machines it cannot run on. */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { EXIT, createLog } from '@tidemark/service';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { thisMachine } from './account.ts';
import { embeddedBinaries, type PackagedBinaries } from './binaries.ts';
import { identifyProcess } from './process-identity.ts';
import type { PostgresExit } from './postgres-process.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres, type EmbeddedPostgresOptions } from './server.ts';
import { bundleHold, spawnHold, type CollectorProcess } from './testing/collector-process.ts';

const log = createLog('test', 'silent');
let root: string;
let dataDir: string;
let hold: string;
let packaged: PackagedBinaries;
const running: EmbeddedPostgres[] = [];
const processes: CollectorProcess[] = [];

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'tidemark-embedded-'));
  chmodSync(root, 0o755);
  packaged = embeddedBinaries(thisMachine());
  hold = await bundleHold(root);
});
beforeEach(() => {
  dataDir = mkdtempSync(join(root, 'data-'));
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.stop()));
  for (const { child, exited } of processes.splice(0)) {
    child.kill('SIGTERM');
    await exited;
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const options = (): Omit<EmbeddedPostgresOptions, 'log'> => ({
  dataDir,
  binaries: packaged,
  sharedCopies: [join(root, 'shared', 'postgres')],
});

async function start(more: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ ...options(), log, ...more });
  running.push(server);
  return server;
}

function startProcess(): CollectorProcess {
  const collector = spawnHold(hold, options());
  processes.push(collector);
  return collector;
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

describe('killed', () => {
  test('a server that dies by itself is started anew, and what it held is there', async () => {
    const server = await start({ random: () => 0 });
    await query(server.connection, 'CREATE TABLE kept AS SELECT 1 AS n');
    const died = new Promise<PostgresExit>((resolve) => server.onExit(resolve));
    const former = server.pid!;
    process.kill(former, 'SIGKILL');
    expect(await died).toMatchObject({ signal: 'SIGKILL' });
    const rows = await untilAnswered(() => query(server.connection, 'SELECT n FROM kept'));
    expect(rows).toEqual([{ n: 1 }]);
    expect(server.pid).not.toBe(former);
    const current = server.pid!;
    await server.stop();
    expect(identifyProcess(current)).toBeUndefined();
  });

  test('a stop while it is being started anew leaves nothing', async () => {
    const server = await start({ random: () => 0.99 });
    const died = new Promise<PostgresExit>((resolve) => server.onExit(resolve));
    process.kill(server.pid!, 'SIGKILL');
    await died;
    await server.stop();
    expect(server.pid).toBeUndefined();
    expect(existsSync(join(dataDir, 'collector.lock'))).toBe(false);
    const next = await start();
    expect(await query(next.connection, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('the orphan of a killed collector is found, stopped and followed', async () => {
    const collector = startProcess();
    const held = await collector.said;
    const orphan = identifyProcess(held.pid!)!;
    await query(held.connection!, 'CREATE TABLE kept AS SELECT 1 AS n');
    collector.child.kill('SIGKILL');
    expect(await collector.exited).toBe('SIGKILL');
    expect(identifyProcess(orphan.pid)).toEqual(orphan);

    const server = await start();
    expect(identifyProcess(orphan.pid)).toBeUndefined();
    expect(server.pid).not.toBe(orphan.pid);
    expect(await query(server.connection, 'SELECT n FROM kept')).toEqual([{ n: 1 }]);
  });

  test('a making that was cut off is made anew', async () => {
    const collector = startProcess();
    await new Promise<void>((resolve) => {
      const watcher = watch(dataDir, (_event, name) => {
        if (!name?.startsWith('postgres.new-')) return;
        watcher.close();
        resolve();
      });
    });
    collector.child.kill('SIGKILL');
    await collector.exited;
    const halves = readdirSync(dataDir).filter((name) => name.startsWith('postgres.new-'));
    expect(halves).toHaveLength(1);
    expect(existsSync(join(dataDir, 'postgres'))).toBe(false);

    const server = await start();
    expect(await query(server.connection, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(readdirSync(dataDir).filter((name) => name.startsWith('postgres.new-'))).toEqual([]);
  });
});

describe('stale', () => {
  test('a pid file that names another program is removed, the program is left alone', async () => {
    const first = await start();
    await first.stop();
    const owner = statSync(first.dataDirectory);
    // As the server's own user: PostgreSQL itself would believe this pid.
    const other = spawn('sleep', ['300'], { uid: owner.uid, gid: owner.gid, stdio: 'ignore' });
    try {
      writeFileSync(
        join(first.dataDirectory, 'postmaster.pid'),
        `${other.pid}\n/proc/self/cwd\n1700000000\n5432\n${first.connection.host}\n\n`,
      );
      const second = await start();
      expect(await query(second.connection, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
      expect(other.exitCode).toBeNull();
      expect(identifyProcess(other.pid!)).toBeDefined();
    } finally {
      other.kill('SIGKILL');
    }
  });

  test('a lock of a process that is gone, or of a namesake from another life, is taken over', async () => {
    for (const content of [
      JSON.stringify({ pid: 4_000_000, startedAt: 'x' }),
      JSON.stringify({ pid: process.pid, startedAt: 'another boot/1' }),
      'half a l',
    ]) {
      writeFileSync(join(dataDir, 'collector.lock'), content);
      const server = await start();
      expect(JSON.parse(readFileSync(join(dataDir, 'collector.lock'), 'utf8'))).toMatchObject({ pid: process.pid });
      await server.stop();
    }
  });
});

describe('refused in one sentence', () => {
  test('a second collector on the same data', async () => {
    const collector = startProcess();
    await collector.said;
    await expect(start()).rejects.toMatchObject({
      exitCode: EXIT.alreadyRunning,
      message: `A collector (process ${collector.child.pid}) already runs on ${dataDir}. Stop it first, or give this one another directory with --data-dir.`,
    });
  });

  test('two that start at once: one runs', async () => {
    const both = [startProcess(), startProcess()];
    const said = await Promise.all(both.map((collector) => collector.said));
    expect(said.filter((answer) => answer.pid !== undefined)).toHaveLength(1);
    expect(said.filter((answer) => answer.failure?.includes('already runs on'))).toHaveLength(1);
  });

  test('data of another major version, and files that are not PostgreSQL', async () => {
    mkdirSync(join(dataDir, 'postgres'));
    if (process.getuid?.() === 0) chmodSync(join(dataDir, 'postgres'), 0o755);
    writeFileSync(join(dataDir, 'postgres', 'PG_VERSION'), '17\n');
    await expect(start()).rejects.toMatchObject({
      exitCode: EXIT.databaseNewer,
      message: expect.stringMatching(/was made by PostgreSQL 17 .* brings PostgreSQL 18/),
    });
    rmSync(join(dataDir, 'postgres', 'PG_VERSION'));
    writeFileSync(join(dataDir, 'postgres', 'holiday.jpg'), '');
    await expect(start()).rejects.toMatchObject({ exitCode: EXIT.dataDirectory, message: expect.stringContaining('is in the way') });
    expect(readdirSync(join(dataDir, 'postgres'))).toEqual(['holiday.jpg']);
    expect(existsSync(join(dataDir, 'collector.lock'))).toBe(false);
  });

  test('no binaries for this platform', async () => {
    const machine = { ...thisMachine(), platform: 'freebsd', arch: 'riscv64' } as const;
    const { binaries: _, ...rest } = options();
    await expect(startEmbeddedPostgres({ ...rest, log, machine })).rejects.toMatchObject({
      exitCode: EXIT.configuration,
      message: expect.stringMatching(/no embedded PostgreSQL for freebsd-riscv64 .* TIDEMARK_DATABASE_URL\.$/),
    });
  });

  test('binaries that the machine cannot run: the first line of what they say', async () => {
    const nativeDir = join(dataDir, 'broken', 'native');
    mkdirSync(join(nativeDir, 'bin'), { recursive: true });
    writeFileSync(
      join(nativeDir, 'bin', 'postgres'),
      '#!/bin/sh\necho "postgres: libfoo.so.1: cannot open shared object file" >&2\necho more >&2\nexit 127\n',
      { mode: 0o755 },
    );
    await expect(
      start({ binaries: { ...packaged, nativeDir }, sharedCopies: [join(root, 'broken-copy', 'postgres')] }),
    ).rejects.toMatchObject({
      message: expect.stringMatching(
        /: postgres: libfoo\.so\.1: cannot open shared object file\. Give Tidemark .* TIDEMARK_DATABASE_URL\.$/,
      ),
    });
  });

  test('a server that does not start says why, and nothing is left running', async () => {
    await (await start()).stop();
    await expect(start({ settings: { shared_buffers: 'plenty' } })).rejects.toMatchObject({
      exitCode: EXIT.databaseAway,
      message: expect.stringContaining('invalid value for parameter "shared_buffers": "plenty"'),
    });
    expect(existsSync(join(dataDir, 'postgres', 'postmaster.pid'))).toBe(false);
  });
});

/** The server says nothing to us when it is back: ask it. */
async function untilAnswered<T>(ask: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await pause(20);
    }
  }
}
