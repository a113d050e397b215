/**
 * What only a look into pg_wal tells: how much WAL there is, how many segments wait to be archived, and how much room is
 * left on its file system. Reading the directory costs a stat for each file, so it is looked at once a minute.
 */
import type { PostgresReplication } from '@tidemark/protocol';
import { metric } from '../../recorder.ts';
import type { StatfsGate } from '../../statfs-gate.ts';
import { isoTime } from '../reading.ts';
import type { Statistics, StatisticsGroup } from './group.ts';
import { json } from './together.ts';

const SERVER = ['server'];
const archived = metric('pg_stat_archiver_archived_count', 'counter', '', 'Segments that were archived.', SERVER);
const failed = metric('pg_stat_archiver_failed_count', 'counter', '', 'Attempts to archive that failed.', SERVER);
const failing = metric(
  'tidemark_postgres_archiver_failing',
  'gauge',
  '',
  '1 when the last attempt to archive failed: WAL piles up until the disk is full, and backups have a gap. Absent when nothing is to be archived.',
  SERVER,
);
const waitingFiles = metric('tidemark_postgres_archiver_waiting_files', 'gauge', '', 'Files that wait to be archived.', SERVER);
const lastArchived = metric(
  'tidemark_postgres_archiver_last_archived_timestamp_seconds',
  'gauge',
  'seconds',
  "When a segment was last archived, by the server's clock.",
  SERVER,
);
const segments = metric('pg_wal_segments', 'gauge', '', 'Number of WAL segments.', SERVER);
const walSize = metric('pg_wal_size_bytes', 'gauge', 'bytes', 'Total size of WAL segments.', SERVER);
const diskFree = metric(
  'tidemark_postgres_wal_disk_free_bytes',
  'gauge',
  'bytes',
  'Room for more WAL on the file system of pg_wal, where the agent can see it.',
  SERVER,
);
const diskSize = metric(
  'tidemark_postgres_wal_disk_size_bytes',
  'gauge',
  'bytes',
  'Size of the file system of pg_wal, where the agent can see it.',
  SERVER,
);

const ARCHIVER = `current_setting('archive_mode'),
  (SELECT json_build_array(archived_count, failed_count, last_archived_time, last_failed_time, last_failed_wal,
    last_failed_time > coalesce(last_archived_time, '-infinity')) FROM pg_stat_archiver)`;
const DIRECTORIES = `pg_size_bytes(current_setting('wal_segment_size')),
  (SELECT json_build_array(count(*) FILTER (WHERE name ~ '^[0-9A-F]{24}$'), sum(size) FILTER (WHERE name ~ '^[0-9A-F]{24}$'), sum(size)::text)
    FROM pg_ls_waldir()),
  (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
  CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END`;

type ArchiverRow = [
  archived: number,
  failed: number,
  lastArchivedAt: string | null,
  lastFailedAt: string | null,
  lastFailedWal: string | null,
  failing: boolean | null,
];

export function files(gate: StatfsGate): StatisticsGroup {
  return {
    name: 'files',
    everyMs: 60_000,
    right: 'pg_monitor',
    statement: ({ seesAll }) => `SELECT ${seesAll ? `${ARCHIVER},\n  ${DIRECTORIES}` : ARCHIVER}`,
    async read([row = []], facts): Promise<Statistics> {
      const [mode, archiverText, segmentBytes, directoryText, ready, dataDirectory] = row;
      const waiting = ready === undefined || ready === null ? null : Number(ready);
      // On a replica there is an archiver only when archive_mode is "always".
      const archives = mode === 'always' || (mode === 'on' && facts.role === 'primary');
      const archiver = archives ? (json(archiverText) as ArchiverRow | null) : null;
      const [count, segmentsBytes, directoryBytes] = (json(directoryText) ?? []) as [number?, (number | null)?, (string | null)?];
      const disk = facts.local ? await roomAt(dataDirectory ?? null, gate) : undefined;
      return {
        record(block) {
          const { server } = facts;
          if (archiver !== null) recordArchiver(archiver);
          if (archiver !== null && waiting !== null) block.add(waitingFiles, waiting, server);
          if (count !== undefined) {
            block.add(segments, count, server);
            block.add(walSize, segmentsBytes ?? 0, server);
          }
          if (disk !== undefined) {
            block.add(diskFree, disk.freeBytes, server);
            block.add(diskSize, disk.totalBytes, server);
          }

          function recordArchiver([archivedCount, failedCount, lastArchivedAt, , , isFailing]: ArchiverRow): void {
            block.add(archived, archivedCount, server);
            block.add(failed, failedCount, server);
            block.add(failing, isFailing === true ? 1 : 0, server);
            if (lastArchivedAt !== null) block.add(lastArchived, Date.parse(lastArchivedAt) / 1000, server);
          }
        },
        document: {
          archiver: archiver === null ? null : archiverDocument(archiver, waiting),
          wal: {
            directoryBytes: directoryBytes ?? null,
            segments: count ?? null,
            segmentBytes: segmentBytes === undefined || segmentBytes === null ? null : Number(segmentBytes),
            diskFreeBytes: disk?.freeBytes ?? null,
            diskTotalBytes: disk?.totalBytes ?? null,
          },
        },
        missingRights: facts.seesAll ? [] : ['pg_monitor'],
      };
    },
  };
}

function archiverDocument(
  [archivedCount, failedCount, lastArchivedAt, lastFailedAt, lastFailedWal]: ArchiverRow,
  waiting: number | null,
): NonNullable<PostgresReplication['archiver']> {
  return {
    archivedCount,
    failedCount,
    lastArchivedAt: isoTime(lastArchivedAt),
    lastFailedAt: isoTime(lastFailedAt),
    lastFailedWal,
    waitingFiles: waiting,
  };
}

/**
 * Room on the file system of pg_wal. The data directory is usually closed to everybody else: then its own file system is
 * taken, which is the same one unless pg_wal is a link to another. A path that is not there belongs to another machine
 * or to a container, and one below /proc means something else to this process than to the server: nothing is known of these.
 */
export async function roomAt(
  dataDirectory: string | null,
  gate: StatfsGate,
): Promise<{ readonly freeBytes: number; readonly totalBytes: number } | undefined> {
  if (dataDirectory === null || dataDirectory === '' || dataDirectory.startsWith('/proc/')) return undefined;
  const walDirectory = `${dataDirectory}/pg_wal`;
  const answers = await gate.ask([walDirectory, dataDirectory]);
  const inside = answers.get(walDirectory);
  const stats = inside === 'error' ? answers.get(dataDirectory) : inside;
  if (stats === undefined || typeof stats === 'string') return undefined;
  const blockBytes = stats.frsize || stats.bsize;
  return { freeBytes: stats.bavail * blockBytes, totalBytes: stats.blocks * blockBytes };
}
