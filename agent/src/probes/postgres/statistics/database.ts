/**
 * pg_stat_database: what the databases did since their counters were reset. Of many databases the busiest are followed,
 * and one that is followed stays so for as long as it exists: series must not come and go with the traffic.
 */
import { metric, type Metric } from '../../recorder.ts';
import type { ServerFacts, Statistics } from './group.ts';
import type { Part } from './together.ts';

/** Databases that have series, and those that are read to choose from. */
const FOLLOWED_MAX = 50;
const READ_MAX = 200;

const DATABASE = ['server', 'datname'];
const counter = (column: string, help: string, unit = ''): [string, Metric] => [
  column,
  metric(`pg_stat_database_${column}`, 'counter', unit, help, DATABASE),
];

/** Columns in the order of the statement. Names and meanings are of postgres_exporter; its milliseconds are milliseconds. */
const COLUMNS: readonly [string, Metric][] = [
  ['numbackends', metric('pg_stat_database_numbackends', 'gauge', '', 'Sessions connected to this database.', DATABASE)],
  counter('xact_commit', 'Transactions committed in this database.'),
  counter('xact_rollback', 'Transactions rolled back in this database.'),
  counter('blks_read', 'Blocks of this database read from outside of shared buffers.'),
  counter('blks_hit', 'Blocks of this database found in shared buffers.'),
  counter('tup_returned', 'Rows that scans read in this database.'),
  counter('tup_fetched', 'Rows that index scans fetched in this database.'),
  counter('tup_inserted', 'Rows inserted in this database.'),
  counter('tup_updated', 'Rows updated in this database.'),
  counter('tup_deleted', 'Rows deleted in this database.'),
  counter('conflicts', 'Queries cancelled on this replica because replay needed it.'),
  counter('deadlocks', 'Deadlocks found in this database.'),
  counter('temp_files', 'Temporary files that queries in this database made.'),
  counter('temp_bytes', 'Bytes written to temporary files by queries in this database.', 'bytes'),
  counter('blk_read_time', 'Time sessions spent reading data files, in milliseconds; 0 unless track_io_timing is on.', 'milliseconds'),
  counter('blk_write_time', 'Time sessions spent writing data files, in milliseconds; 0 unless track_io_timing is on.', 'milliseconds'),
  [
    'checksum_failures',
    metric(
      'tidemark_postgres_checksum_failures_total',
      'counter',
      '',
      'Pages of this database whose checksum was wrong: its disk or memory returned something else than was written. Without data checksums not measured.',
      DATABASE,
    ),
  ],
];
const BLKS_READ = COLUMNS.findIndex(([column]) => column === 'blks_read');
const BLKS_HIT = COLUMNS.findIndex(([column]) => column === 'blks_hit');

const hitRatio = metric(
  'tidemark_postgres_cache_hit_ratio',
  'gauge',
  'ratio',
  'Share of the blocks that all databases needed since the reading before and found in shared buffers; not measured when none was needed.',
  ['server'],
);

const SQL = `(SELECT json_agg(json_build_array(d.datid, d.datname, ${COLUMNS.map(([column]) => `d.${column}`).join(', ')}))
  FROM (SELECT * FROM pg_stat_database WHERE datname IS NOT NULL ORDER BY xact_commit + xact_rollback DESC LIMIT ${READ_MAX}) d)`;

type DatabaseRow = [datid: number, datname: string, ...values: (number | null)[]];

export function database(): Part {
  let followed = new Set<number>();
  let before: { readonly read: number; readonly hit: number } | undefined;

  function hitRatioSince(rows: readonly DatabaseRow[]): number | null {
    const total = (column: number): number => rows.reduce((sum, row) => sum + ((row[column + 2] as number | null) ?? 0), 0);
    const now = { read: total(BLKS_READ), hit: total(BLKS_HIT) };
    const earlier = before;
    before = now;
    if (earlier === undefined) return null;
    const read = now.read - earlier.read;
    const hit = now.hit - earlier.hit;
    // Less than before: the counters were reset, or a database was dropped.
    return read < 0 || hit < 0 || read + hit === 0 ? null : hit / (read + hit);
  }

  return {
    sql: () => SQL,
    read(value, { server }: ServerFacts): Statistics {
      const rows = (value ?? []) as DatabaseRow[];
      const ratio = hitRatioSince(rows);
      const known = rows.filter(([datid]) => followed.has(datid));
      const shown = [...known, ...rows.filter(([datid]) => !followed.has(datid))].slice(0, FOLLOWED_MAX);
      shown.sort(([, a], [, b]) => (a < b ? -1 : 1));
      followed = new Set(shown.map(([datid]) => datid));
      return {
        record(block) {
          for (const [, datname, ...values] of shown) COLUMNS.forEach(([, of], i) => block.add(of, values[i] ?? null, server, datname));
          block.add(hitRatio, ratio, server);
        },
      };
    },
  };
}
