/**
 * Checkpoints and the background writer, under the same names in every version: PostgreSQL 17 moved the checkpointer's
 * figures from pg_stat_bgwriter to a view of their own, and their names here are those of that view (as postgres_exporter has them).
 */
import { metric, type Metric } from '../../recorder.ts';
import type { Part } from './together.ts';

type Counters = Readonly<Record<string, number | null>>;

const counter = (name: string, help: string, unit = ''): Metric => metric(name, 'counter', unit, help, ['server']);

/** By column: in pg_stat_checkpointer, and what pg_stat_bgwriter calls it up to 16. */
const CHECKPOINTER: readonly [column: string, formerly: string | undefined, of: Metric][] = [
  [
    'num_timed',
    'checkpoints_timed',
    counter('pg_stat_checkpointer_num_timed_total', 'Checkpoints because of checkpoint_timeout (up to 16: on a replica restartpoints).'),
  ],
  [
    'num_requested',
    'checkpoints_req',
    counter(
      'pg_stat_checkpointer_num_requested_total',
      'Checkpoints asked for, by a command or because max_wal_size was reached (up to 16: on a replica restartpoints).',
    ),
  ],
  [
    'num_done',
    undefined,
    counter('tidemark_postgres_checkpoints_done_total', 'Checkpoints that were carried out; the others had nothing to do. Since 18.'),
  ],
  [
    'restartpoints_timed',
    undefined,
    counter('pg_stat_checkpointer_restartpoints_timed_total', 'Restartpoints because of checkpoint_timeout. Since 17.'),
  ],
  ['restartpoints_req', undefined, counter('pg_stat_checkpointer_restartpoints_req_total', 'Restartpoints asked for. Since 17.')],
  [
    'restartpoints_done',
    undefined,
    counter('pg_stat_checkpointer_restartpoints_done_total', 'Restartpoints that were carried out. Since 17.'),
  ],
  [
    'write_time',
    'checkpoint_write_time',
    counter('pg_stat_checkpointer_write_time_total', 'Time that checkpoints spent writing, in milliseconds.', 'milliseconds'),
  ],
  [
    'sync_time',
    'checkpoint_sync_time',
    counter('pg_stat_checkpointer_sync_time_total', 'Time that checkpoints spent synchronising files, in milliseconds.', 'milliseconds'),
  ],
  ['buffers_written', 'buffers_checkpoint', counter('pg_stat_checkpointer_buffers_written_total', 'Buffers that checkpoints wrote.')],
];
const BACKGROUND_WRITER: readonly [column: string, of: Metric][] = [
  ['buffers_clean', counter('pg_stat_bgwriter_buffers_clean_total', 'Buffers that the background writer wrote.')],
  [
    'maxwritten_clean',
    counter('pg_stat_bgwriter_maxwritten_clean_total', 'Times the background writer stopped because it had written too many buffers.'),
  ],
  ['buffers_alloc', counter('pg_stat_bgwriter_buffers_alloc_total', 'Buffers allocated.')],
  [
    'buffers_backend',
    counter(
      'pg_stat_bgwriter_buffers_backend_total',
      'Buffers that sessions had to write themselves. Up to 16; later see tidemark_postgres_io_operations_total.',
    ),
  ],
  [
    'buffers_backend_fsync',
    counter('pg_stat_bgwriter_buffers_backend_fsync_total', 'Times a session had to synchronise a file itself. Up to 16.'),
  ],
];

const CHECKPOINTER_SINCE = 170_000;

export function checkpoints(): Part {
  return {
    sql: ({ versionNumber }) =>
      versionNumber >= CHECKPOINTER_SINCE
        ? '(SELECT json_build_array(to_json(w), to_json(c)) FROM pg_stat_bgwriter w, pg_stat_checkpointer c)'
        : '(SELECT json_build_array(to_json(w)) FROM pg_stat_bgwriter w)',
    read(value, { server }) {
      const [writer = {}, checkpointer] = (value ?? []) as Counters[];
      return {
        record(block) {
          for (const [column, formerly, of] of CHECKPOINTER) {
            const count = checkpointer === undefined ? (formerly === undefined ? undefined : writer[formerly]) : checkpointer[column];
            if (count !== undefined) block.add(of, count, server);
          }
          for (const [column, of] of BACKGROUND_WRITER) if (writer[column] !== undefined) block.add(of, writer[column], server);
        },
      };
    },
  };
}
