/**
 * Partitions by UTC day of the big tables: made ahead of time, made on the way in for late reports
 * within the accepted bounds, and dropped whole when their retention is over. Nothing is deleted by row.
 */
import type { Clock, Log } from '@tidemark/service';
import type { Database } from './pool.ts';

const DAY_MS = 86_400_000;
const DAYS_AHEAD = 2;

export interface PartitionedTable {
  name: 'reports' | 'observations' | 'tracks';
  keepDays: number;
}

const dayOf = (ms: number): number => Math.floor(ms / DAY_MS);
const suffix = (day: number): string => new Date(day * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '');

export class Partitions {
  readonly #database: Database;
  readonly #tables: readonly PartitionedTable[];
  readonly #clock: Clock;
  readonly #log: Log;
  /** Days for which all tables have their partition. */
  readonly #made = new Set<number>();

  constructor(database: Database, tables: readonly PartitionedTable[], clock: Clock, log: Log) {
    this.#database = database;
    this.#tables = tables;
    this.#clock = clock;
    this.#log = log;
  }

  /** Makes sure of the partitions for today and the days ahead, and drops those past retention. Run at start and every hour. */
  async maintain(): Promise<void> {
    const today = dayOf(this.#clock.wallMs());
    for (let day = today - 1; day <= today + DAYS_AHEAD; day++) await this.#make(day);
    for (const table of this.#tables) await this.#dropExpired(table, today);
  }

  /** True when every given time (milliseconds since 1970) falls into a partition that is known to exist. */
  covers(timeMs: number): boolean {
    return this.#made.has(dayOf(timeMs));
  }

  /** Makes the partitions for late reports. The caller has bounded the times. */
  async cover(timesMs: Iterable<number>): Promise<void> {
    const days = new Set<number>();
    for (const timeMs of timesMs) days.add(dayOf(timeMs));
    for (const day of days) if (!this.#made.has(day)) await this.#make(day);
  }

  /** Forgets what it knew: for a database that came back as another one. */
  forget(): void {
    this.#made.clear();
  }

  async #make(day: number): Promise<void> {
    if (this.#made.has(day)) return;
    const [from, to] = [day, day + 1].map((d) => new Date(d * DAY_MS).toISOString());
    for (const { name } of this.#tables) {
      const partition = `${name}_${suffix(day)}`;
      // Two collectors may do this at once: the lock makes IF NOT EXISTS true to its word.
      await this.#database.transaction(async (client) => {
        await client.query('SELECT pg_advisory_xact_lock(hashtext($1))', [partition]);
        await client.query(`CREATE TABLE IF NOT EXISTS ${partition} PARTITION OF ${name} FOR VALUES FROM ('${from!}') TO ('${to!}')`);
      });
    }
    this.#made.add(day);
  }

  async #dropExpired({ name, keepDays }: PartitionedTable, today: number): Promise<void> {
    const rows = await this.#database.query<{ partition: string }>(
      'SELECT c.relname AS partition FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::regclass',
      [name],
    );
    const oldest = `${name}_${suffix(today - keepDays)}`;
    for (const { partition } of rows) {
      if (!/^[a-z]+_\d{8}$/.test(partition) || partition >= oldest) continue;
      await this.#database.query(`DROP TABLE ${partition}`);
      this.#made.delete(dayOf(Date.parse(partition.slice(-8).replace(/(\d{4})(\d{2})(\d{2})/, '$1-$2-$3'))));
      this.#log.info({ partition }, 'retention is over; partition dropped');
    }
  }
}
