/**
 * How WAL is written (pg_stat_wal; since 18 its writes and syncs are in pg_stat_io), and how replay reads ahead on a
 * replica (pg_stat_recovery_prefetch). How much is written is in tidemark_postgres_wal_bytes_total.
 */
import { metric, type Metric } from '../../recorder.ts';
import type { Statistics } from './group.ts';
import type { Part } from './together.ts';

type Counters = Readonly<Record<string, number | null>>;

const counter = (name: string, unit: string, help: string): Metric =>
  metric(`tidemark_postgres_${name}`, 'counter', unit, help, ['server']);
const gauge = (name: string, unit: string, help: string): Metric => metric(`tidemark_postgres_${name}`, 'gauge', unit, help, ['server']);

const records = counter('wal_records_total', '', 'WAL records generated.');
const fullPages = counter(
  'wal_full_page_images_total',
  '',
  'Full page images in WAL: whole pages, written at their first change after a checkpoint.',
);
const buffersFull = counter('wal_buffers_full_total', '', 'Times WAL had to be written because wal_buffers were full.');
const writes = counter('wal_writes_total', '', 'Writes of WAL to disk.');
const syncs = counter('wal_syncs_total', '', 'Times WAL was synchronised to disk.');
const writeSeconds = counter('wal_write_seconds_total', 'seconds', 'Time spent writing WAL; 0 unless track_wal_io_timing is on.');
const syncSeconds = counter('wal_sync_seconds_total', 'seconds', 'Time spent synchronising WAL; 0 unless track_wal_io_timing is on.');

const prefetched = metric(
  'tidemark_postgres_recovery_prefetch_blocks_total',
  'counter',
  '',
  'Blocks that replay will need and looked at ahead: read ahead, found in shared buffers, or left alone.',
  ['server', 'outcome'],
);
const prefetchDistance = gauge(
  'recovery_prefetch_distance_bytes',
  'bytes',
  'How far ahead of replay WAL is looked at for blocks to read ahead.',
);

const IO_SINCE = 180_000;

export function wal(): Part {
  return {
    sql: ({ versionNumber }) =>
      versionNumber >= IO_SINCE
        ? `(SELECT json_build_object('wal_records', w.wal_records, 'wal_fpi', w.wal_fpi, 'wal_buffers_full', w.wal_buffers_full,
    'wal_write', i.writes, 'wal_sync', i.fsyncs, 'wal_write_time', i.write_time, 'wal_sync_time', i.fsync_time)
  FROM pg_stat_wal w, (SELECT sum(writes) AS writes, sum(fsyncs) AS fsyncs, sum(write_time) AS write_time, sum(fsync_time) AS fsync_time
    FROM pg_stat_io WHERE object = 'wal') i)`
        : '(SELECT to_json(w) FROM pg_stat_wal w)',
    read(value, { server }) {
      const counters = (value ?? {}) as Counters;
      return {
        record(block) {
          block.add(records, counters['wal_records'], server);
          block.add(fullPages, counters['wal_fpi'], server);
          block.add(buffersFull, counters['wal_buffers_full'], server);
          block.add(writes, counters['wal_write'], server);
          block.add(syncs, counters['wal_sync'], server);
          block.add(writeSeconds, seconds(counters['wal_write_time']), server);
          block.add(syncSeconds, seconds(counters['wal_sync_time']), server);
        },
      };
    },
  };
}

export function recoveryPrefetch(): Part {
  return {
    sql: ({ role }) => (role === 'replica' ? '(SELECT to_json(p) FROM pg_stat_recovery_prefetch p)' : undefined),
    read(value, { server }): Statistics {
      if (value === null) return {};
      const counters = value as Counters;
      const skipped = ['skip_init', 'skip_new', 'skip_fpw', 'skip_rep'].reduce((sum, column) => sum + (counters[column] ?? 0), 0);
      return {
        record(block) {
          block.add(prefetched, counters['prefetch'], server, 'prefetched');
          block.add(prefetched, counters['hit'], server, 'hit');
          block.add(prefetched, skipped, server, 'skipped');
          block.add(prefetchDistance, counters['wal_distance'], server);
        },
      };
    },
  };
}

function seconds(milliseconds: number | null | undefined): number | null {
  return milliseconds === null || milliseconds === undefined ? null : milliseconds / 1000;
}
