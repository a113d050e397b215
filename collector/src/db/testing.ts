/** Databases for tests: one throw-away PostgreSQL per test file, a fresh migrated database per call, all of it stopped and removed at the end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock, type Clock } from '@tidemark/service';
import { pino } from 'pino';
import { afterAll } from 'vitest';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded/server.ts';
import { migrate, readMigrations } from './migrate.ts';
import { Database, type DatabaseAddress } from './pool.ts';

const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url));
const log = pino({ level: 'silent' });
let server: Promise<EmbeddedPostgres> | undefined;
let directory: string | undefined;
let count = 0;

async function sharedServer(): Promise<EmbeddedPostgres> {
  directory ??= mkdtempSync(join(tmpdir(), 'tidemark-db-test-'));
  server ??= startEmbeddedPostgres({ dataDir: directory, log });
  return server;
}

export interface TestDatabase {
  database: Database;
  address: DatabaseAddress;
  /** Takes the database away, and brings it back as it was. */
  stopServer: () => Promise<void>;
  startServer: () => Promise<void>;
}

/** A migrated database of its own. Everything is closed after the tests of the file. */
export async function createTestDatabase(clock: Clock = systemClock): Promise<TestDatabase> {
  const postgres = await sharedServer();
  const name = `test_${process.pid}_${++count}`;
  const owner = new Database({ address: postgres.connection, clock, log });
  await owner.query(`CREATE DATABASE ${name}`);
  await owner.close();
  const address = { ...postgres.connection, database: name };
  const database = new Database({ address, connectionsMax: 4, clock, log });
  await migrate(database, readMigrations(MIGRATIONS), log);
  opened.push(database);
  return {
    database,
    address,
    stopServer: async () => (await sharedServer()).stop(),
    startServer: async () => {
      server = undefined;
      await sharedServer();
    },
  };
}

const opened: Database[] = [];

afterAll(async () => {
  for (const database of opened.splice(0)) if (!database.pool.ending) await database.close();
  await (await server)?.stop();
  server = undefined;
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  directory = undefined;
});
