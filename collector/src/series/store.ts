/**
 * Time series out of the store: which series match, where their values lie in the reports' arrays, and
 * one pass over the reports of the time asked for. Questions take turns, so that charts never take the
 * connections that reports need.
 */
import type { Observation } from '@tidemark/protocol';
import { ProblemError } from '@tidemark/protocol';
import { codeOf } from '@tidemark/service';
import type { PoolClient } from 'pg';
import type { Database } from '../db/pool.ts';
import { SERIES_LIMITS, coarseEnough, invalid } from './question.ts';

/** Questions that are worked on at one time, and that may wait for their turn. */
const AT_ONCE = 2;
const WAITING_MAX = 100;
const STATEMENT_TIMEOUT_MS = 15_000;
/** PostgreSQL's code for "canceled", which here is the statement timeout. */
const CANCELED = '57014';

export interface SeriesSelection {
  nodeIds: readonly number[];
  metric: string;
  labels: Record<string, string>;
  fromMs: number;
  toMs: number;
  stepMs: number | undefined;
}

export interface StoredSeries {
  id: number;
  nodeId: number;
  metric: string;
  labels: Record<string, string>;
  unit: string;
  type: string;
  /** Milliseconds since 1970 and value, in order of time. Binned ones carry the beginning of their bin. */
  points: [ms: number, value: number | null][];
}

export interface SeriesFound {
  series: StoredSeries[];
  truncated: boolean;
}

interface PointRow {
  series: number;
  ms: number;
  value: number | null;
}

const SELECT_SERIES = `
SELECT id, node_id AS "nodeId", metric, labels, unit, type FROM series
WHERE node_id = ANY ($1::int[]) AND metric = $2 AND labels @> $3::jsonb
ORDER BY node_id, labels::text COLLATE "C", id LIMIT $4`;

/** Where each series lies in the concatenated values of each combination of blocks. */
const LOCATE = `
SELECT set_id, first + position AS position, series_id
FROM (
  SELECT s.id AS set_id, l.series_ids,
    coalesce(sum(cardinality(l.series_ids)) OVER (PARTITION BY s.id ORDER BY b.place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::int AS first
  FROM layout_sets s, unnest(s.layout_ids) WITH ORDINALITY AS b (layout_id, place), layouts l
  WHERE s.node_id = ANY ($1::int[]) AND l.id = b.layout_id
) blocks, unnest(blocks.series_ids) WITH ORDINALITY AS p (series_id, position)
WHERE blocks.series_ids && $2::int[] AND p.series_id = ANY ($2::int[])
ORDER BY set_id, position`;

const SAMPLES = `
FROM reports r JOIN unnest($4::int[], $5::int[], $6::int[]) AS m (set_id, position, series) ON m.set_id = r.layout_set_id
WHERE r.node_id = ANY ($1::int[]) AND r.at >= to_timestamp($2::float8 / 1000) AND r.at <= to_timestamp($3::float8 / 1000)`;
const epochMs = (time: string): string => `round(extract(epoch FROM ${time})::float8 * 1000)`;

const RAW = `SELECT m.series, ${epochMs('r.at')} AS ms, r.values[m.position] AS value ${SAMPLES} ORDER BY m.series, r.at LIMIT $7`;

const binned = (value: string): string => `
SELECT series, ${epochMs('bin')} AS ms, ${value} AS value
FROM (SELECT m.series, r.at, r.values[m.position] AS value, date_bin(make_interval(secs => $7::float8), r.at, to_timestamp(0)) AS bin ${SAMPLES}) samples
GROUP BY series, bin ORDER BY series, bin LIMIT $8`;
const MEANS = binned('avg(value)');
const LASTS = binned('(array_agg(value ORDER BY at DESC) FILTER (WHERE value IS NOT NULL))[1]');

export class SeriesStore {
  readonly #database: Database;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(database: Database) {
    this.#database = database;
  }

  /** Series with at least one sample in the time asked for. Throws ProblemError `query_invalid` when the answer would be too large. */
  async find(selection: SeriesSelection): Promise<SeriesFound> {
    if (selection.nodeIds.length === 0) return { series: [], truncated: false };
    await this.#takeTurn();
    try {
      return await this.#database.transaction(async (client) => {
        await client.query(`SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = ${STATEMENT_TIMEOUT_MS}`);
        return findSeries(client, selection);
      });
    } catch (error) {
      if (codeOf(error) !== CANCELED) throw error;
      throw invalid(
        `this reads too much to be answered within ${STATEMENT_TIMEOUT_MS / 1_000} seconds; ask for a shorter time, or for one node`,
      );
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  /** The newest observations that the store has of a node. */
  async observations(nodeId: number): Promise<{ observation: Observation; at: number; since: number }[]> {
    const rows = await this.#database.query<Observation & { at: number; since: number }>(
      `SELECT kind, instance, version, document, ${epochMs('at')} AS at, ${epochMs('since')} AS since
       FROM observations_latest WHERE node_id = $1 ORDER BY kind, instance`,
      [nodeId],
    );
    return rows.map(({ at, since, ...observation }) => ({ observation, at, since }));
  }

  async #takeTurn(): Promise<void> {
    while (this.#running >= AT_ONCE) {
      if (this.#waiting.length >= WAITING_MAX) {
        throw new ProblemError('overloaded', 'Too many questions for time series are waiting for their turn.', { retryAfterSeconds: 5 });
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running++;
  }
}

async function findSeries(client: PoolClient, selection: SeriesSelection): Promise<SeriesFound> {
  const { rows: matching } = await client.query<Omit<StoredSeries, 'points'>>(SELECT_SERIES, [
    selection.nodeIds,
    selection.metric,
    JSON.stringify(selection.labels),
    SERIES_LIMITS.seriesPerAnswer + 1,
  ]);
  const truncated = matching.length > SERIES_LIMITS.seriesPerAnswer;
  const series = matching.slice(0, SERIES_LIMITS.seriesPerAnswer).map((row): StoredSeries => ({ ...row, points: [] }));
  const [counters, others] = [series.filter(isCounter), series.filter((one) => !isCounter(one))];
  const groups =
    selection.stepMs === undefined
      ? [{ sql: RAW, members: series }]
      : [
          { sql: LASTS, members: counters },
          { sql: MEANS, members: others },
        ];
  let points = 0;
  for (const { sql, members } of groups) {
    if (members.length > 0) points += await addPoints(client, sql, members, selection, SERIES_LIMITS.pointsPerAnswer - points);
  }
  const { stepMs } = selection;
  if (stepMs !== undefined) for (const one of series) one.points = withGaps(one.points, stepMs);
  return { series: series.filter((one) => one.points.length > 0), truncated };
}

const isCounter = (series: { type: string }): boolean => series.type === 'counter';

/** Reads the points of some series. Resolves with their number. */
async function addPoints(
  client: PoolClient,
  sql: string,
  members: readonly StoredSeries[],
  selection: SeriesSelection,
  pointsMax: number,
): Promise<number> {
  const nodeIds = [...new Set(members.map(({ nodeId }) => nodeId))];
  const byId = new Map(members.map((one) => [one.id, one]));
  const located = await client.query<{ set_id: number; position: number; series_id: number }>(LOCATE, [nodeIds, [...byId.keys()]]);
  // A block may have a series twice, and so may two blocks; the first place counts.
  const places = new Map(located.rows.toReversed().map((row) => [`${row.set_id}:${row.series_id}`, row]));
  if (places.size === 0) return 0;
  const columns = [...places.values()];
  const { rows } = await client.query<PointRow>(sql, [
    nodeIds,
    selection.fromMs,
    selection.toMs,
    columns.map((place) => place.set_id),
    columns.map((place) => place.position),
    columns.map((place) => place.series_id),
    ...(selection.stepMs === undefined ? [] : [selection.stepMs / 1_000]),
    pointsMax + 1,
  ]);
  const advice = `ask for a step of ${coarseEnough(selection.toMs - selection.fromMs)} seconds or more, a shorter time or fewer series`;
  if (rows.length > pointsMax) throw invalid(`the answer would have more than ${SERIES_LIMITS.pointsPerAnswer} points; ${advice}`);
  for (const { series, ms, value } of rows) byId.get(series)!.points.push([ms, value]);
  if (members.some((one) => one.points.length > SERIES_LIMITS.pointsPerSeries)) {
    throw invalid(`a series has more than ${SERIES_LIMITS.pointsPerSeries} points in this time; ${advice}`);
  }
  return rows.length;
}

/** Puts null where a bin between two samples has none, so that a gap is drawn as a gap. */
function withGaps(points: readonly [number, number | null][], stepMs: number): [number, number | null][] {
  const filled: [number, number | null][] = [];
  let next = points[0]?.[0] ?? 0;
  for (const [ms, value] of points) {
    for (; next < ms - stepMs / 2; next += stepMs) filled.push([next, null]);
    filled.push([ms, value]);
    next = ms + stepMs;
  }
  return filled;
}
