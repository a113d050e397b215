/**
 * Brings the database to this program's schema: hand-written SQL files, each in a transaction of its
 * own, under an advisory lock so that two collectors starting together do it once. A database that is
 * newer than the program, or whose applied files differ from ours, is refused.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '@tidemark/service';
import { EXIT, OperationalFailure, codeOf, sentenceOf } from '@tidemark/service';
import type { PoolClient, QueryConfig } from 'pg';
import type { Database } from './pool.ts';

/** Any constant that no other program is likely to take: "tide" in ASCII. */
const LOCK_KEY = 0x74696465;

export interface Migration {
  number: number;
  name: string;
  sql: string;
  checksum: string;
}

/** Reads `NNNN-name.sql` files in order. */
export function readMigrations(directory: string): Migration[] {
  return readdirSync(directory)
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => {
      const sql = readFileSync(join(directory, file), 'utf8');
      return { number: Number(file.slice(0, 4)), name: file.slice(5, -4), sql, checksum: createHash('sha256').update(sql).digest('hex') };
    });
}

/** Applies what is missing. Resolves with the names of what it applied. */
export async function migrate(database: Database, migrations: readonly Migration[], log: Log): Promise<string[]> {
  return database.attempt(async () => {
    const client = await database.pool.connect();
    let broken: Error | undefined;
    const onError = (error: Error): void => void (broken = error);
    // Without a listener a connection that breaks in between would end the process.
    client.on('error', onError);
    try {
      // A migration of a large table, or of another collector that is waited for, may take its time.
      await client.query('SET statement_timeout = 0');
      await client.query(patient('SELECT pg_advisory_lock($1)', [LOCK_KEY]));
      return await applyMissing(client, migrations, log);
    } finally {
      client.off('error', onError);
      // The lock and the setting end with the connection.
      client.release(broken ?? true);
    }
  });
}

const PATIENCE_MS = 6 * 3_600_000;

/** A statement whose answer is waited for longer than the pool's other ones. */
const patient = (text: string, values?: unknown[]): QueryConfig & { query_timeout: number } => ({
  text,
  ...(values === undefined ? {} : { values }),
  query_timeout: PATIENCE_MS,
});

async function applyMissing(client: PoolClient, migrations: readonly Migration[], log: Log): Promise<string[]> {
  await client.query(`CREATE TABLE IF NOT EXISTS migrations (
    number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`);
  const { rows } = await client.query<{ number: number; name: string; checksum: string }>(
    'SELECT number, name, checksum FROM migrations ORDER BY number',
  );
  const newest = migrations.at(-1)?.number ?? 0;
  const beyond = rows.find((row) => row.number > newest);
  if (beyond) {
    throw new OperationalFailure(
      `The database was made by a newer Tidemark (migration ${beyond.number}, "${beyond.name}"; this program knows ${newest}). Run that version, or restore a backup from before its upgrade.`,
      EXIT.databaseNewer,
    );
  }
  const applied = new Map(rows.map((row) => [row.number, row]));
  const names: string[] = [];
  for (const migration of migrations) {
    const row = applied.get(migration.number);
    if (row !== undefined) {
      if (row.checksum !== migration.checksum) {
        throw new OperationalFailure(
          `Migration ${migration.number} ("${migration.name}") was applied to this database in another form than this program has. Run the version that made the database.`,
          EXIT.databaseNewer,
        );
      }
      continue;
    }
    await client.query('BEGIN');
    try {
      await client.query(patient(migration.sql));
      await client.query('INSERT INTO migrations (number, name, checksum) VALUES ($1, $2, $3)', [
        migration.number,
        migration.name,
        migration.checksum,
      ]);
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK').catch(() => {});
      throw failureOf(migration, error);
    }
    log.info({ migration: migration.name }, 'migration applied');
    names.push(migration.name);
  }
  return names;
}

/** Classes of errors that are the server's state, not the migration's content: whoever asks for a migration tells these apart. */
const OF_THE_SERVER = /^(08|28|3[DF]|42501|53|57|58)/;

/** One sentence for a migration that this database does not take; other errors as they are. */
function failureOf(migration: Migration, error: unknown): unknown {
  const code = codeOf(error);
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || OF_THE_SERVER.test(code)) return error;
  return new OperationalFailure(
    `Migration ${migration.number} ("${migration.name}") failed and was undone: ${sentenceOf(error)}. The version before still works with a backup from before the upgrade.`,
    EXIT.software,
    { cause: error },
  );
}
