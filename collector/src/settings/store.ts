/** How much the database holds and how fast that grows, asked of its own catalogue. */
import type { Database } from '../db/pool.ts';

/** Whole days that count towards the rate: enough to level out a weekend, few enough to notice a new fleet. */
const RATE_DAYS = 7;

export interface Storage {
  usedBytes: number;
  /** Bytes of one day's partitions, of the last whole days that have any; null when there is none yet. */
  bytesPerDay: number | null;
}

export class SettingsStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** `day` is the current one as YYYYMMDD: it is still growing and does not count. */
  async storage(day: string): Promise<Storage> {
    // Both tables are partitioned by day: NAME_YYYYMMDD (src/db/partitions.ts).
    const [row] = await this.#database.query<{ used: string; per_day: string | null }>(
      `SELECT pg_database_size(current_database())::text AS used,
              (SELECT avg(bytes)::bigint::text
                 FROM (SELECT right(c.relname, 8) AS day, sum(pg_total_relation_size(c.oid)) AS bytes
                         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                        WHERE i.inhparent IN ('reports'::regclass, 'observations'::regclass) AND right(c.relname, 8) < $1
                        GROUP BY 1
                       HAVING sum(pg_relation_size(c.oid)) > 0
                        ORDER BY 1 DESC
                        LIMIT ${RATE_DAYS}) days) AS per_day`,
      [day],
    );
    return { usedBytes: Number(row!.used), bytesPerDay: row!.per_day === null ? null : Number(row!.per_day) };
  }
}
