/**
 * pg_stat_io (since 16), summed up on the server from some hundred rows: what each kind of process reads from and writes to
 * data files. A session that writes or synchronises much itself does the work of the background processes.
 */
import { metric } from '../../recorder.ts';
import type { Part } from './together.ts';

const operations = metric(
  'tidemark_postgres_io_operations_total',
  'counter',
  '',
  'Operations on data files: read, write, extend, fsync. "other" is every process that is none of the named ones. Since 16.',
  ['server', 'backend_type', 'operation'],
);

const BACKEND_TYPES = ['client backend', 'autovacuum worker', 'background writer', 'checkpointer', 'io worker', 'startup', 'walwriter'];
const OPERATIONS = ['read', 'write', 'extend', 'fsync'];
const SINCE = 160_000;

export function io(): Part {
  return {
    sql: ({ versionNumber }) =>
      versionNumber >= SINCE
        ? `(SELECT json_agg(json_build_array(i.kind, i.reads, i.writes, i.extends, i.fsyncs) ORDER BY i.kind)
  FROM (SELECT CASE WHEN backend_type IN (${BACKEND_TYPES.map((type) => `'${type}'`).join(', ')}) THEN backend_type ELSE 'other' END AS kind,
      sum(reads) AS reads, sum(writes) AS writes, sum(extends) AS extends, sum(fsyncs) AS fsyncs
    FROM pg_stat_io WHERE object <> 'wal' GROUP BY 1) i)`
        : undefined,
    read(value, { server }) {
      const rows = (value ?? []) as [kind: string, ...counts: (number | null)[]][];
      return {
        record(block) {
          for (const [kind, ...counts] of rows) {
            // What a kind of process never does has no count.
            OPERATIONS.forEach((operation, i) => {
              if (counts[i] !== null) block.add(operations, counts[i], server, kind, operation);
            });
          }
        },
      };
    },
  };
}
