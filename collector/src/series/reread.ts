/**
 * Reads the past back out of the store in the form in which it once came in, so that whatever consumes
 * the stream can be fed from the store as well. Bounded whatever the range: a slice of time at a time,
 * as wide as its reports are few. The store does not keep which reports were partial: all are given as full.
 */
import type { Observation } from '@tidemark/protocol';
import type { Database } from '../db/pool.ts';
import type { NodeRecord } from '../fleet/node.ts';
import { describeBlock } from '../reports/layouts.ts';
import type { AcceptedReport, BlockLayout } from '../stream/stream.ts';

/** A slice with fewer reports makes the next one wider, one with this many is cut. */
const SLICE_REPORTS = 2_000;
const SLICE_REPORTS_MAX = 10_000;
const SLICE_MS_FIRST = 60_000;
const SLICE_MS_MAX = 6 * 3_600_000;
const NODES_AT_ONCE = 100;

/** By id, retired ones too where their past is wanted. */
export type NodeLookup = (nodeId: number) => NodeRecord | undefined;

interface ReportRow {
  node_id: number;
  boot_id: string;
  at: number;
  sequence: number;
  layout_set_id: number;
  values: (number | null)[];
}

export interface StoredLatest {
  nodeId: number;
  observation: Observation;
  at: number;
  since: number;
}

// Numeric until the end, so that what was stored as whole milliseconds comes back as such.
const EPOCH_MS = '(extract(epoch FROM r.at) * 1000)::float8 AS at';
const COLUMNS = `r.node_id, b.boot_id, ${EPOCH_MS}, r.sequence, r.layout_set_id, r.values`;

const SLICE = `
SELECT ${COLUMNS} FROM reports r JOIN boots b ON b.id = r.boot
WHERE r.node_id = ANY ($1::int[]) AND r.at >= to_timestamp($2::float8 / 1000) AND r.at < to_timestamp($3::float8 / 1000)
ORDER BY r.at, r.node_id, r.sequence LIMIT $4`;

/**
 * The last three reports of each node, and the first two of the run that they are of: at its start an
 * agent runs every probe, also those that run once a day, and the second report tells those apart.
 */
const NEWEST = `
SELECT DISTINCT ON (r.node_id, r.at, r.sequence) ${COLUMNS}
FROM unnest($1::int[]) AS n (id)
JOIN LATERAL (SELECT id, first_report_at FROM boots WHERE node_id = n.id ORDER BY last_report_at DESC LIMIT 1) run ON true
CROSS JOIN LATERAL (
  (SELECT * FROM reports WHERE node_id = n.id AND at >= to_timestamp($2::float8 / 1000) ORDER BY at DESC LIMIT 3)
  UNION ALL
  (SELECT * FROM reports WHERE node_id = n.id AND at >= run.first_report_at AND boot = run.id ORDER BY at LIMIT 2)
) r
JOIN boots b ON b.id = r.boot
WHERE EXISTS (SELECT FROM reports WHERE node_id = n.id AND at >= to_timestamp($2::float8 / 1000))
ORDER BY r.node_id, r.at, r.sequence`;

const LAYOUT_SETS = `
SELECT s.id AS set_id, l.id AS layout_id, l.probe, l.instance, cardinality(l.series_ids) AS size
FROM layout_sets s, unnest(s.layout_ids) WITH ORDINALITY AS p (layout_id, place), layouts l
WHERE s.id = ANY ($1::int[]) AND l.id = p.layout_id ORDER BY s.id, p.place`;

const LAYOUTS = `
SELECT l.id, l.probe, l.instance,
  coalesce(json_agg(json_build_object('name', s.metric, 'labels', s.labels, 'unit', s.unit, 'type', s.type, 'help', s.help) ORDER BY p.place)
    FILTER (WHERE s.id IS NOT NULL), '[]') AS series
FROM layouts l LEFT JOIN LATERAL unnest(l.series_ids) WITH ORDINALITY AS p (series_id, place) ON true LEFT JOIN series s ON s.id = p.series_id
WHERE l.id = ANY ($1::int[]) GROUP BY l.id`;

const OBSERVATIONS = `
SELECT r.node_id, ${EPOCH_MS}, r.kind, r.version, r.instance, r.document FROM observations r
WHERE r.node_id = ANY ($1::int[]) AND r.at >= to_timestamp($2::float8 / 1000) AND r.at < to_timestamp($3::float8 / 1000)
ORDER BY r.at, r.kind, r.instance`;

export class ReportReader {
  readonly #database: Database;
  readonly #nodeOf: NodeLookup;
  readonly #sets = new Map<number, readonly BlockLayout[]>();
  readonly #layouts = new Map<number, BlockLayout>();

  constructor(database: Database, nodeOf: NodeLookup) {
    this.#database = database;
    this.#nodeOf = nodeOf;
  }

  /**
   * Every report taken from `fromMs` up to but not at `toMs`, in order of its time, as if it were live.
   * Observations are there where they changed, which is how they are kept.
   */
  async *between(fromMs: number, toMs: number, nodeIds: readonly number[]): AsyncGenerator<AcceptedReport, void, undefined> {
    let sliceMs = SLICE_MS_FIRST;
    let start = fromMs;
    while (start < toMs) {
      const end = Math.min(start + sliceMs, toMs);
      const rows = await this.#database.query<ReportRow>(SLICE, [nodeIds, start, end, SLICE_REPORTS_MAX + 1]);
      if (rows.length > SLICE_REPORTS_MAX && sliceMs > 1) {
        sliceMs = Math.max(1, Math.floor(sliceMs / 4));
        continue;
      }
      yield* this.#reportsOf(rows, await this.#observationsBetween(nodeIds, start, end));
      start = end;
      if (rows.length < SLICE_REPORTS / 2) sliceMs = Math.min(sliceMs * 2, SLICE_MS_MAX);
      else if (rows.length > SLICE_REPORTS * 2) sliceMs = Math.max(1, Math.floor(sliceMs / 2));
    }
  }

  /** For each node that has reported since `sinceMs` enough reports to know its values now, in order of time within the node; without observations. */
  async *newest(nodeIds: readonly number[], sinceMs: number): AsyncGenerator<AcceptedReport, void, undefined> {
    for (let first = 0; first < nodeIds.length; first += NODES_AT_ONCE) {
      const rows = await this.#database.query<ReportRow>(NEWEST, [nodeIds.slice(first, first + NODES_AT_ONCE), sinceMs]);
      yield* this.#reportsOf(rows, new Map());
    }
  }

  /** The newest observation of each kind and instance, of all nodes. */
  async latestObservations(): Promise<StoredLatest[]> {
    const rows = await this.#database.query<Observation & { nodeId: number; at: number; since: number }>(
      `SELECT r.node_id AS "nodeId", r.kind, r.version, r.instance, r.document, ${EPOCH_MS}, (extract(epoch FROM r.since) * 1000)::float8 AS since
       FROM observations_latest r`,
    );
    return rows.map(({ nodeId, at, since, ...observation }) => ({ nodeId, observation, at, since }));
  }

  /** When the last report of each node was taken, in milliseconds since 1970, however long ago. */
  async lastReports(): Promise<Map<number, number>> {
    const rows = await this.#database.query<{ node_id: number; at: number }>(
      'SELECT node_id, (extract(epoch FROM max(last_report_at)) * 1000)::float8 AS at FROM boots GROUP BY node_id',
    );
    return new Map(rows.map((row) => [row.node_id, row.at]));
  }

  async *#reportsOf(rows: readonly ReportRow[], observations: Map<string, Observation[]>): AsyncGenerator<AcceptedReport, void, undefined> {
    await this.#learnSets(new Set(rows.map((row) => row.layout_set_id)));
    for (const row of rows) {
      const node = this.#nodeOf(row.node_id);
      if (node === undefined) continue;
      const key = `${row.node_id}:${row.at}`;
      const seen = observations.get(key);
      // Two reports of one node at one time: the observations are told once.
      if (seen !== undefined) observations.delete(key);
      yield {
        node,
        bootId: row.boot_id,
        sequence: row.sequence,
        at: row.at,
        receivedAt: row.at,
        live: true,
        partial: false,
        blocks: this.#blocksOf(row),
        observations: seen ?? [],
      };
    }
  }

  #blocksOf({ layout_set_id, values }: ReportRow): AcceptedReport['blocks'] {
    let start = 0;
    return (this.#sets.get(layout_set_id) ?? []).map((layout) => {
      const end = start + layout.series.length;
      const block = { layout, values: values.slice(start, end) };
      start = end;
      return block;
    });
  }

  async #observationsBetween(nodeIds: readonly number[], fromMs: number, toMs: number): Promise<Map<string, Observation[]>> {
    const rows = await this.#database.query<Observation & { node_id: number; at: number }>(OBSERVATIONS, [nodeIds, fromMs, toMs]);
    const found = new Map<string, Observation[]>();
    for (const { node_id, at, ...observation } of rows) {
      const key = `${node_id}:${at}`;
      const known = found.get(key);
      if (known === undefined) found.set(key, [observation]);
      else known.push(observation);
    }
    return found;
  }

  async #learnSets(ids: ReadonlySet<number>): Promise<void> {
    const missing = [...ids].filter((id) => !this.#sets.has(id));
    if (missing.length === 0) return;
    const rows = await this.#database.query<{ set_id: number; layout_id: number }>(LAYOUT_SETS, [missing]);
    await this.#learnLayouts(new Set(rows.map((row) => row.layout_id)));
    const sets = new Map<number, BlockLayout[]>(missing.map((id) => [id, []]));
    for (const { set_id, layout_id } of rows) sets.get(set_id)!.push(this.#layouts.get(layout_id)!);
    for (const [id, layouts] of sets) this.#sets.set(id, layouts);
  }

  async #learnLayouts(ids: ReadonlySet<number>): Promise<void> {
    const missing = [...ids].filter((id) => !this.#layouts.has(id));
    if (missing.length === 0) return;
    type SeriesRow = Omit<Parameters<typeof describeBlock>[0]['series'][number], 'labels'> & { labels: Record<string, string> };
    const rows = await this.#database.query<{ id: number; probe: string; instance: string; series: SeriesRow[] }>(LAYOUTS, [missing]);
    for (const { id, probe, instance, series } of rows) {
      this.#layouts.set(
        id,
        describeBlock({ probe, instance, series: series.map((one) => ({ ...one, labels: Object.entries(one.labels) })) }),
      );
    }
  }
}
