/** pg_stat_database_conflicts: queries on a replica that were cancelled because replay could not wait for them, by reason. */
import { metric } from '../../recorder.ts';
import type { Part } from './together.ts';

const DATABASES_MAX = 50;

const REASONS: readonly [column: string, help: string, since?: number][] = [
  ['confl_tablespace', 'Queries in this database cancelled because a tablespace was dropped.'],
  ['confl_lock', 'Queries in this database cancelled because replay waited too long for a lock.'],
  ['confl_snapshot', 'Queries in this database cancelled because rows they might see were removed.'],
  ['confl_bufferpin', 'Queries in this database cancelled because they held a buffer that replay needed.'],
  ['confl_deadlock', 'Queries in this database cancelled because of a deadlock with replay.'],
  ['confl_active_logicalslot', 'Uses of logical slots in this database cancelled because wal_level or rows they need went.', 160_000],
];
const METRICS = new Map(
  REASONS.map(([column, help]) => [column, metric(`pg_stat_database_conflicts_${column}`, 'counter', '', help, ['server', 'datname'])]),
);

export function conflicts(): Part {
  const columnsOf = (versionNumber: number): string[] =>
    REASONS.filter(([, , since = 0]) => versionNumber >= since).map(([column]) => column);
  return {
    sql: ({ role, versionNumber }) =>
      role === 'replica'
        ? `(SELECT json_agg(json_build_array(c.datname, ${columnsOf(versionNumber)
            .map((column) => `c.${column}`)
            .join(', ')}) ORDER BY c.datname)
  FROM (SELECT * FROM pg_stat_database_conflicts ORDER BY datid LIMIT ${DATABASES_MAX}) c)`
        : undefined,
    read(value, { server, versionNumber }) {
      const rows = (value ?? []) as [datname: string, ...counts: number[]][];
      const metrics = columnsOf(versionNumber).map((column) => METRICS.get(column)!);
      return {
        record(block) {
          for (const [datname, ...counts] of rows) metrics.forEach((of, i) => block.add(of, counts[i], server, datname));
        },
      };
    },
  };
}
