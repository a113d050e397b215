/**
 * Rebuilds what is known of replication from the store: first what each server last said, so that nothing starts from an
 * empty page, then, an hour at a time and the newest first, where everyone stood over the last day.
 */
import { setImmediate } from 'node:timers/promises';
import { LIMITS, POSTGRES_REPLICATION, POSTGRES_SETTINGS, POSTGRES_TRACK, type Observation } from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { Database } from '../db/pool.ts';
import type { NodeRecord } from '../fleet/node.ts';
import { readPostgres } from './documents.ts';
import { idOf, type ReplicationView } from './view.ts';
import type { Tracks } from './tracks.ts';

const HOUR_MS = 3_600_000;
export const HISTORY_MS = 24 * HOUR_MS;
const ROWS_AT_ONCE = 250;
/** Whoever else wants the process has to wait for no longer than that. */
const SLICE_MS = 10;

const LATEST = `
SELECT node_id, kind, version, instance, document, (extract(epoch FROM at) * 1000)::float8 AS at
FROM observations_latest WHERE kind = ANY ($1::text[]) ORDER BY node_id, instance, kind DESC`;

/** Of a server that is down: what it last said while it was up. Looked for from when it became so, backwards. */
const LAST_UP = `
SELECT l.node_id, l.kind, o.version, l.instance, o.document, (extract(epoch FROM o.at) * 1000)::float8 AS at
FROM observations_latest l CROSS JOIN LATERAL (
  SELECT version, document, at FROM observations
  WHERE node_id = l.node_id AND kind = l.kind AND instance = l.instance AND at <= l.since AND document -> 'up' = 'true'
  ORDER BY at DESC LIMIT 1
) o
WHERE l.kind = $1 AND l.document -> 'up' = 'false'`;

const TRACKS = `
SELECT node_id, instance, document, (extract(epoch FROM at) * 1000)::float8 AS at
FROM tracks WHERE at >= to_timestamp($1::float8 / 1000) AND at <= to_timestamp($2::float8 / 1000) ORDER BY tracks.at DESC LIMIT $3`;

type ObservationRow = Observation & { node_id: number; at: number };
interface TrackRow {
  node_id: number;
  instance: string;
  document: unknown;
  at: number;
}

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
    const rows = await database.query<TrackRow>(TRACKS, [start, end, ROWS_AT_ONCE]);
    await takeRows(tracks, rows, clock);
    count += rows.length;
    if (rows.length < ROWS_AT_ONCE) end = start;
    else {
      // What shares the moment of the last one comes again, and changes nothing; so many of one moment are as good as any.
      const last = rows.at(-1)!.at;
      end = last < end ? last : end - 1;
    }
  }
  return count;
}

async function takeRows(tracks: Tracks, rows: readonly TrackRow[], clock: Clock): Promise<void> {
  let since = clock.monotonicMs();
  for (const { node_id, instance, document, at } of rows) {
    const said = readPostgres({ kind: POSTGRES_TRACK, version: 1, instance, document });
    if (said === undefined || said === 'misfit' || said.kind !== 'track') continue;
    tracks.acceptStored(idOf(node_id, instance), at, said.document, LIMITS.clockOffsetMs);
    if (clock.monotonicMs() - since < SLICE_MS) continue;
    await setImmediate();
    since = clock.monotonicMs();
  }
}
