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
/** A rate over more than this many steps would be drawn where nobody measured. */
const RATE_OVER_STEPS_MAX = 2.5;
/** PostgreSQL's code for "canceled", which here is the statement timeout. */
const CANCELED = '57014';

export interface SeriesSelection {
  nodeIds: readonly number[];
  metrics: readonly string[];
  labels: Record<string, string>;
  fromMs: number;
  toMs: number;
  stepMs: number | undefined;
  rate: boolean;
  by: readonly string[] | undefined;
  extremes: boolean;
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
  /** The least and greatest sample of each point, where they were asked for. */
  extremes?: [number | null, number | null][];
}

export interface SeriesFound {
  series: StoredSeries[];
  truncated: boolean;
}

interface PointRow {
  series: number;
  ms: number;
  value: number | null;
  least?: number | null;
  greatest?: number | null;
}

const SELECT_SERIES = `
SELECT id, node_id AS "nodeId", metric, labels, unit, type FROM series
WHERE node_id = ANY ($1::int[]) AND metric = ANY ($2::text[]) AND labels @> $3::jsonb
ORDER BY array_position($2::text[], metric), node_id, labels::text COLLATE "C", id LIMIT $4`;

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

const epochMs = (time: string): string => `round(extract(epoch FROM ${time})::float8 * 1000)`;
const PLACES = 'unnest($4::int[], $5::int[], $6::int[], $7::int[]) AS m (set_id, position, series, sum)';
const REPORTS =
  'reports r WHERE r.node_id = ANY ($1::int[]) AND r.at >= to_timestamp($2::float8 / 1000) AND r.at <= to_timestamp($3::float8 / 1000)';
/** The values of a report are compressed: unpacked once here, not once for every series that is read out of them. */
const UNPACKED = "values || '{}'::float8[] AS values";
const SAMPLES = `(SELECT r.layout_set_id, r.at, r.${UNPACKED} FROM ${REPORTS} OFFSET 0) r JOIN ${PLACES} ON m.set_id = r.layout_set_id`;
const bin = (time: string): string => `date_bin(make_interval(secs => $9::float8), ${time}, to_timestamp(0))`;

const RAW = `SELECT m.sum AS series, ${epochMs('r.at')} AS ms, r.values[m.position] AS value FROM ${SAMPLES} ORDER BY m.sum, r.at LIMIT $8`;

/** Each series by itself first, so that one with more samples in a bin does not count for more. */
const binned = (value: string): string => `
SELECT sum AS series, ${epochMs('bin')} AS ms, sum(value) AS value, min(least) AS least, max(greatest) AS greatest
FROM (
  SELECT sum, series, bin, ${value} AS value, min(value) AS least, max(value) AS greatest
  FROM (SELECT m.sum, m.series, r.at, r.values[m.position] AS value, ${bin('r.at')} AS bin FROM ${SAMPLES}) samples
  GROUP BY sum, series, bin
) each
GROUP BY 1, bin ORDER BY 1, bin LIMIT $8`;
const MEANS = binned('avg(value)');
const LASTS = binned('(array_agg(value ORDER BY at DESC) FILTER (WHERE value IS NOT NULL))[1]');

/**
 * Only the last report of a bin is opened, and the rise is from the last one of the bin before: nothing is counted
 * twice or left out. A value a little below the one before is jitter of the kernel's, one far below a counter that began anew.
 */
const RATES = `
WITH chosen AS (
  SELECT layout_set_id, at, bin, ${UNPACKED}
  FROM (
    SELECT DISTINCT ON (r.node_id, r.layout_set_id, ${bin('r.at')}) r.layout_set_id, r.at, r.values, ${bin('r.at')} AS bin
    FROM ${REPORTS}
    ORDER BY r.node_id, r.layout_set_id, ${bin('r.at')}, r.at DESC
  ) last
  OFFSET 0
), lasts AS (
  SELECT DISTINCT ON (m.series, c.bin) m.sum, m.series, c.bin, c.at, c.values[m.position] AS value
  FROM chosen c JOIN ${PLACES} ON m.set_id = c.layout_set_id
  WHERE c.values[m.position] IS NOT NULL
  ORDER BY m.series, c.bin, c.at DESC
), rises AS (
  SELECT sum, bin, extract(epoch FROM at - lag(at) OVER before)::float8 AS seconds,
    CASE WHEN value >= lag(value) OVER before THEN value - lag(value) OVER before
         WHEN value > 0.99 * lag(value) OVER before THEN 0 ELSE value END AS rise
  FROM lasts WINDOW before AS (PARTITION BY series ORDER BY bin)
)
SELECT sum AS series, ${epochMs('bin')} AS ms, sum(rise / seconds) AS value
FROM rises WHERE seconds > 0 AND seconds <= ${RATE_OVER_STEPS_MAX} * $9::float8
GROUP BY 1, bin ORDER BY 1, bin LIMIT $8`;

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
  const { by, stepMs } = selection;
  const most = by === undefined ? SERIES_LIMITS.seriesPerAnswer : SERIES_LIMITS.seriesAddedUp;
  const { rows: matching } = await client.query<Omit<StoredSeries, 'points'>>(SELECT_SERIES, [
    selection.nodeIds,
    selection.metrics,
    JSON.stringify(selection.labels),
    most + 1,
  ]);
  const members = matching.slice(0, most);
  if (by !== undefined && !selection.rate && members.some(isCounter))
    throw invalid('counters can only be added up as rates; add rate=true');
  const all = by === undefined ? members.map((row) => ({ shown: { ...row, points: [] }, of: [row.id] })) : addedUp(members, by);
  const sums = all.slice(0, SERIES_LIMITS.seriesPerAnswer);
  const truncated = matching.length > most || all.length > sums.length;
  let points = 0;
  for (const [sql, chosen] of groupsOf(sums, selection)) {
    if (chosen.length > 0) points += await addPoints(client, sql, chosen, selection, SERIES_LIMITS.pointsPerAnswer - points);
  }
  const series = sums.map(({ shown }) => shown).filter((one) => one.points.length > 0);
  if (stepMs !== undefined) for (const one of series) fillGaps(one, stepMs);
  return { series, truncated };
}

/** A series as it is given, and the stored ones it is made of. */
interface Sum {
  shown: StoredSeries;
  of: number[];
}

function groupsOf(sums: readonly Sum[], { stepMs, rate, extremes }: SeriesSelection): [sql: string, sums: Sum[]][] {
  if (stepMs === undefined) return [[RAW, [...sums]]];
  const counters = sums.filter(({ shown }) => isCounter(shown));
  const others = sums.filter(({ shown }) => !isCounter(shown));
  if (rate) for (const { shown } of counters) Object.assign(shown, { type: 'gauge', unit: RATE_UNITS[shown.unit] ?? `${shown.unit}/s` });
  if (extremes) for (const { shown } of others) shown.extremes = [];
  return [
    [rate ? RATES : LASTS, counters],
    [MEANS, others],
  ];
}

/** Seconds a second are a share. */
const RATE_UNITS: Record<string, string> = { '': '1/s', seconds: 'ratio' };

function addedUp(members: readonly Omit<StoredSeries, 'points'>[], by: readonly string[]): Sum[] {
  const sums = new Map<string, Sum>();
  for (const member of members) {
    const labels = Object.fromEntries(by.flatMap((name) => (member.labels[name] === undefined ? [] : [[name, member.labels[name]]])));
    const key = JSON.stringify([member.nodeId, member.metric, member.type, labels]);
    const sum = sums.get(key);
    if (sum === undefined) sums.set(key, { shown: { ...member, labels, points: [] }, of: [member.id] });
    else sum.of.push(member.id);
  }
  return [...sums.values()];
}

const isCounter = (series: { type: string }): boolean => series.type === 'counter';

/** Reads the points of some series. Resolves with their number. */
async function addPoints(
  client: PoolClient,
  sql: string,
  sums: readonly Sum[],
  selection: SeriesSelection,
  pointsMax: number,
): Promise<number> {
  const nodeIds = [...new Set(sums.map(({ shown }) => shown.nodeId))];
  const sumOf = new Map(sums.flatMap(({ of }, place) => of.map((id) => [id, place] as const)));
  const located = await client.query<{ set_id: number; position: number; series_id: number }>(LOCATE, [nodeIds, [...sumOf.keys()]]);
  // A block may have a series twice, and so may two blocks; the first place counts.
  const places = new Map(located.rows.toReversed().map((row) => [`${row.set_id}:${row.series_id}`, row]));
  if (places.size === 0) return 0;
  const columns = [...places.values()];
  const { fromMs, toMs, stepMs } = selection;
  // The bin before tells from what the first one rises.
  const beginMs = sql === RATES && stepMs !== undefined ? Math.floor(fromMs / stepMs - 1) * stepMs : fromMs;
  const { rows } = await client.query<PointRow>(sql, [
    nodeIds,
    beginMs,
    toMs,
    columns.map((place) => place.set_id),
    columns.map((place) => place.position),
    columns.map((place) => place.series_id),
    columns.map((place) => sumOf.get(place.series_id)!),
    pointsMax + 1,
    ...(stepMs === undefined ? [] : [stepMs / 1_000]),
  ]);
  const advice = `ask for a step of ${coarseEnough(toMs - fromMs)} seconds or more, a shorter time or fewer series`;
  if (rows.length > pointsMax) throw invalid(`the answer would have more than ${SERIES_LIMITS.pointsPerAnswer} points; ${advice}`);
  for (const { series: place, ms, value, least = null, greatest = null } of rows) {
    if (stepMs !== undefined && ms + stepMs <= fromMs) continue;
    const { shown } = sums[place]!;
    shown.points.push([ms, value]);
    shown.extremes?.push([least, greatest]);
  }
  if (sums.some(({ shown }) => shown.points.length > SERIES_LIMITS.pointsPerSeries)) {
    throw invalid(`a series has more than ${SERIES_LIMITS.pointsPerSeries} points in this time; ${advice}`);
  }
  return rows.length;
}

/** Puts null where a bin between two samples has none, so that a gap is drawn as a gap. */
function fillGaps(series: StoredSeries, stepMs: number): void {
  const points: StoredSeries['points'] = [];
  const extremes: [number | null, number | null][] = [];
  let next = series.points[0]?.[0] ?? 0;
  series.points.forEach(([ms, value], place) => {
    for (; next < ms - stepMs / 2; next += stepMs) {
      points.push([next, null]);
      extremes.push([null, null]);
    }
    points.push([ms, value]);
    extremes.push(series.extremes?.[place] ?? [null, null]);
    next = ms + stepMs;
  });
  series.points = points;
  if (series.extremes !== undefined) series.extremes = extremes;
}
