/**
 * Rebuilds what is known of replication from the store: first what each server last said, so that nothing starts from an
 * empty page, then, an hour at a time and the newest first, where everyone stood over the last day.
 */
import { LIMITS, POSTGRES_REPLICATION, POSTGRES_SETTINGS, type Observation, type PostgresTrack } from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { Database } from '../db/pool.ts';
import type { NodeRecord } from '../fleet/node.ts';
import { idOf, type ReplicationView } from './view.ts';
import type { Tracks } from './tracks.ts';

const HOUR_MS = 3_600_000;
export const HISTORY_MS = 24 * HOUR_MS;
const ROWS_AT_ONCE = 2_000;

const LATEST = `
SELECT node_id, kind, version, instance, document, (extract(epoch FROM at) * 1000)::float8 AS at
FROM observations_latest WHERE kind = ANY ($1::text[]) ORDER BY node_id, instance, kind DESC`;

/** Of a server that is down: what it last said while it was up. */
const LAST_UP = `
SELECT DISTINCT ON (o.node_id, o.instance) o.node_id, o.kind, o.version, o.instance, o.document, (extract(epoch FROM o.at) * 1000)::float8 AS at
FROM observations o
WHERE o.kind = $1 AND o.document -> 'up' = 'true'
  AND (o.node_id, o.instance) IN (SELECT node_id, instance FROM observations_latest WHERE kind = $1 AND document -> 'up' = 'false')
ORDER BY o.node_id, o.instance, o.at DESC`;

const TRACKS = `
SELECT node_id, instance, document, (extract(epoch FROM at) * 1000)::float8 AS at
FROM tracks WHERE at >= to_timestamp($1::float8 / 1000) AND at < to_timestamp($2::float8 / 1000) ORDER BY at DESC LIMIT $3`;

type ObservationRow = Observation & { node_id: number; at: number };

/** What each server last said. Throws ProblemError `database_away`. */
export async function restoreReplication(
  view: ReplicationView,
  database: Database,
  nodeOf: (id: number) => NodeRecord | undefined,
): Promise<void> {
  const latest = await database.query<ObservationRow>(LATEST, [[POSTGRES_REPLICATION, POSTGRES_SETTINGS]]);
  const lastUp = await database.query<ObservationRow>(LAST_UP, [POSTGRES_REPLICATION]);
  for (const { node_id, at, ...observation } of [...lastUp, ...latest]) {
    const node = nodeOf(node_id);
    if (node?.state === 'approved') view.restore(node, observation, at);
  }
}

/**
 * Where everyone stood over the last day. The times are the agents' as they were stored, so each may be off by what a
 * clock may be off without being corrected. Resolves with the number of reports; stops early when `aborted` says so.
 */
export async function restoreHistory(tracks: Tracks, database: Database, clock: Clock, aborted: () => boolean): Promise<number> {
  const now = clock.wallMs();
  let count = 0;
  for (let end = now; end > now - HISTORY_MS && !aborted();) {
    const start = end - HOUR_MS;
    const rows = await database.query<{ node_id: number; instance: string; document: PostgresTrack; at: number }>(TRACKS, [
      start,
      end,
      ROWS_AT_ONCE,
    ]);
    for (const { node_id, instance, document, at } of rows)
      tracks.acceptStored(idOf(node_id, instance), at, document, LIMITS.clockOffsetMs);
    count += rows.length;
    // A full slice ends where its oldest row is; what shares that moment is lost: history is allowed to be coarser.
    end = rows.length === ROWS_AT_ONCE ? Math.min(rows.at(-1)!.at, end - 1) : start;
  }
  return count;
}
