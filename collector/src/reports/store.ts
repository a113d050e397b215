/**
 * The reports' SQL. The hot statement writes a whole batch, and the ledger by which a report sent twice
 * is stored once, in one implicit transaction: what it returns has been committed.
 */
import { createHash } from 'node:crypto';
import { POSTGRES_TRACK, type Observation } from '@tidemark/protocol';
import type { Database } from '../db/pool.ts';
import { describeBlock, type KnownLayout } from './layouts.ts';
import { SequenceSet } from './sequences.ts';
import type { BlockLayout } from '../stream/stream.ts';

/** One report as the hot statement takes it. `values` of all rows lie one after the other in one array. */
export interface ReportRow {
  nodeId: number;
  boot: number;
  at: number;
  sequence: number;
  layoutSetId: number;
  blocks: readonly (readonly (number | null)[])[];
  valueCount: number;
}

export interface ObservationRow {
  nodeId: number;
  boot: number;
  sequence: number;
  at: number;
  observation: Observation;
  /** The document as JSON text that PostgreSQL can store. */
  text: string;
  /** Older than one that is known: it goes into the history alone. */
  late: boolean;
}

// The values of the batch travel as one binary array that each row takes its slice of: no number is
// turned into text on either side (text literals cost 3 times the CPU of the whole statement).
const INSERT_BATCH = `
WITH incoming AS MATERIALIZED (
  SELECT * FROM unnest($1::int[], $2::int[], $3::float8[], $4::int[], $5::int[], $6::int[], $7::int[])
    AS t (node_id, boot, at, sequence, layout_set_id, first, last)
), ledger AS MATERIALIZED (
  SELECT id, sequences FROM boots WHERE id = ANY ($8::int[]) ORDER BY id FOR UPDATE
), fresh AS MATERIALIZED (
  SELECT i.* FROM incoming i JOIN ledger l ON l.id = i.boot WHERE NOT l.sequences @> i.sequence
), stored AS (
  INSERT INTO reports (node_id, boot, at, sequence, layout_set_id, values)
  SELECT node_id, boot, to_timestamp(at / 1000), sequence, layout_set_id, ($9::float8[])[first:last] FROM fresh
), counted AS (
  UPDATE boots b SET sequences = b.sequences + f.sequences, first_report_at = least(b.first_report_at, f.first), last_report_at = greatest(b.last_report_at, f.last)
  FROM (
    SELECT boot, range_agg(int4range(sequence, sequence, '[]')) AS sequences, to_timestamp(min(at) / 1000) AS first, to_timestamp(max(at) / 1000) AS last
    FROM fresh GROUP BY boot
  ) f
  WHERE b.id = f.boot
)
SELECT (SELECT count(*)::int FROM ledger) AS ledgers, array_agg(boot) AS boots, array_agg(sequence) AS sequences FROM fresh`;

/** History gets what is new or late; the newest of each kind is kept apart, so that it outlives the history. */
const INSERT_OBSERVATIONS = `
WITH incoming AS MATERIALIZED (
  SELECT node_id, kind, instance, version, to_timestamp(at / 1000) AS at, document::jsonb AS document, late
  FROM unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::float8[], $6::text[], $7::bool[])
    AS t (node_id, kind, instance, version, at, document, late)
), newest AS (
  INSERT INTO observations_latest AS l (node_id, kind, instance, version, since, at, document)
  SELECT node_id, kind, instance, version, at, at, document FROM incoming WHERE NOT late
  ON CONFLICT (node_id, kind, instance) DO UPDATE
  SET version = excluded.version, since = excluded.since, at = excluded.at, document = excluded.document
  WHERE l.at < excluded.at AND (l.version, l.document) IS DISTINCT FROM (excluded.version, excluded.document)
  RETURNING node_id, kind, instance, version, at, document
)
INSERT INTO observations (node_id, kind, instance, version, at, document)
SELECT node_id, kind, instance, version, at, document FROM newest
UNION ALL
SELECT node_id, kind, instance, version, at, document FROM incoming WHERE late`;

/** Wanted for a day, and new with every report: they are kept apart. */
const INSERT_TRACKS = `
INSERT INTO tracks (node_id, instance, at, document)
SELECT node_id, instance, to_timestamp(at / 1000), document::jsonb
FROM unnest($1::int[], $2::text[], $3::float8[], $4::text[]) AS t (node_id, instance, at, document)`;

const FLOAT8_OID = 701;

/** PostgreSQL's binary form of a one-dimensional float8[] (array_recv): big-endian, a length of -1 for NULL. */
export function encodeValues(rows: readonly ReportRow[]): Buffer {
  let count = 0;
  for (const row of rows) count += row.valueCount;
  const buffer = Buffer.allocUnsafe(20 + count * 12);
  let hasNull = 0;
  let offset = 20;
  for (const { blocks } of rows) {
    for (const values of blocks) {
      for (let i = 0; i < values.length; i++) {
        const value = values[i]!;
        if (value === null) {
          hasNull = 1;
          offset = buffer.writeInt32BE(-1, offset);
        } else {
          offset = buffer.writeInt32BE(8, offset);
          offset = buffer.writeDoubleBE(value, offset);
        }
      }
    }
  }
  buffer.writeInt32BE(1, 0);
  buffer.writeInt32BE(hasNull, 4);
  buffer.writeInt32BE(FLOAT8_OID, 8);
  buffer.writeInt32BE(count, 12);
  buffer.writeInt32BE(1, 16);
  return buffer.subarray(0, offset);
}

const array = (values: Iterable<number>): string => `{${[...values].join(',')}}`;

/** Stores a batch. Resolves when all of it is committed, each report once however often it came. */
export async function insertBatch(database: Database, rows: readonly ReportRow[], observations: readonly ObservationRow[]): Promise<void> {
  const query = { name: 'insert-reports', text: INSERT_BATCH, values: batchParameters(rows) };
  const ledgersExpected = new Set(rows.map((r) => r.boot)).size;
  if (observations.length === 0) {
    const { rows: answer } = await database.attempt(() => database.pool.query<BatchAnswer>(query));
    expectLedgers(answer[0]!, ledgersExpected);
    return;
  }
  await database.transaction(async (client) => {
    const answer = (await client.query<BatchAnswer>(query)).rows[0]!;
    expectLedgers(answer, ledgersExpected);
    const isFresh = new Set(answer.boots?.map((boot, i) => `${boot}:${answer.sequences![i]!}`));
    const wanted = observations.filter(({ boot, sequence }) => isFresh.has(`${boot}:${sequence}`));
    const tracks = wanted.filter(isTrack);
    const others = tracks.length === 0 ? wanted : wanted.filter((row) => !isTrack(row));
    if (others.length > 0)
      await client.query({ name: 'insert-observations', text: INSERT_OBSERVATIONS, values: observationParameters(others) });
    if (tracks.length > 0) await client.query({ name: 'insert-tracks', text: INSERT_TRACKS, values: trackParameters(tracks) });
  });
}

const isTrack = ({ observation }: ObservationRow): boolean => observation.kind === POSTGRES_TRACK;

const trackParameters = (rows: readonly ObservationRow[]): unknown[] => [
  rows.map((r) => r.nodeId),
  rows.map((r) => r.observation.instance),
  rows.map((r) => r.at),
  rows.map((r) => r.text),
];

interface BatchAnswer {
  ledgers: number;
  boots: number[] | null;
  sequences: number[] | null;
}

/** A ledger that is gone means that the database is not the one the ids came from: nothing may count as stored. */
function expectLedgers(answer: BatchAnswer, expected: number): void {
  if (answer.ledgers !== expected) throw new StoreChanged();
}

/** The database lacks rows that this process has seen in it (a restored backup, a replica promoted with loss). */
export class StoreChanged extends Error {
  constructor() {
    super('The database is not the one it was: it lacks runs of agents that were registered in it.');
    this.name = 'StoreChanged';
  }
}

function batchParameters(rows: readonly ReportRow[]): unknown[] {
  const first: number[] = [];
  const last: number[] = [];
  let position = 0;
  for (const row of rows) {
    first.push(position + 1);
    position += row.valueCount;
    last.push(position);
  }
  return [
    array(rows.map((r) => r.nodeId)),
    array(rows.map((r) => r.boot)),
    array(rows.map((r) => r.at)),
    array(rows.map((r) => r.sequence)),
    array(rows.map((r) => r.layoutSetId)),
    array(first),
    array(last),
    array(new Set(rows.map((r) => r.boot))),
    encodeValues(rows),
  ];
}

function observationParameters(rows: readonly ObservationRow[]): unknown[] {
  // An upsert may touch a row once: of several of one kind in a batch the newest is the newest, the others are history.
  const newest = new Map<string, ObservationRow>();
  for (const row of rows) {
    if (row.late) continue;
    const key = JSON.stringify([row.nodeId, row.observation.kind, row.observation.instance]);
    const known = newest.get(key);
    if (known === undefined || row.at >= known.at) newest.set(key, row);
  }
  const isNewest = new Set(newest.values());
  return [
    rows.map((r) => r.nodeId),
    rows.map((r) => r.observation.kind),
    rows.map((r) => r.observation.instance),
    rows.map((r) => r.observation.version),
    rows.map((r) => r.at),
    rows.map((r) => r.text),
    rows.map((r) => !isNewest.has(r)),
  ];
}

/** The store's ids and ledgers of runs of agents, made where they are missing. */
export async function openBoots(
  database: Database,
  boots: readonly { nodeId: number; bootId: string; at: number }[],
): Promise<{ nodeId: number; bootId: string; id: number; sequences: SequenceSet }[]> {
  const rows = await database.query<{ node_id: number; boot_id: string; id: number; sequences: string }>(
    `INSERT INTO boots (node_id, boot_id, first_report_at, last_report_at)
     SELECT node_id, boot_id, to_timestamp(at / 1000), to_timestamp(at / 1000) FROM unnest($1::int[], $2::uuid[], $3::float8[]) AS t (node_id, boot_id, at)
     ON CONFLICT (node_id, boot_id) DO UPDATE SET first_report_at = least(boots.first_report_at, excluded.first_report_at)
     RETURNING node_id, boot_id, id, sequences::text`,
    [boots.map((b) => b.nodeId), boots.map((b) => b.bootId), boots.map((b) => b.at)],
  );
  return rows.map((row) => ({ nodeId: row.node_id, bootId: row.boot_id, id: row.id, sequences: SequenceSet.parse(row.sequences) }));
}

/** The ledger of one run, if the store knows it. */
export async function findBoot(
  database: Database,
  nodeId: number,
  bootId: string,
): Promise<{ id: number; sequences: SequenceSet } | undefined> {
  const [row] = await database.query<{ id: number; sequences: string }>(
    'SELECT id, sequences::text FROM boots WHERE node_id = $1 AND boot_id = $2',
    [nodeId, bootId],
  );
  return row === undefined ? undefined : { id: row.id, sequences: SequenceSet.parse(row.sequences) };
}

/** Layout blocks of a node that the store knows, by hash. */
export async function findLayouts(database: Database, nodeId: number, hashes: readonly string[]): Promise<KnownLayout[]> {
  const rows = await database.query<{
    id: number;
    hash: string;
    probe: string;
    instance: string;
    series: Parameters<typeof describeBlock>[0]['series'];
  }>(
    `SELECT l.id, l.hash, l.probe, l.instance, (
       SELECT json_agg(json_build_object('name', s.metric, 'unit', s.unit, 'type', s.type, 'help', s.help,
         'labels', (SELECT coalesce(json_agg(json_build_array(p.key, p.value)), '[]') FROM jsonb_each_text(s.labels) p)) ORDER BY p.position)
       FROM unnest(l.series_ids) WITH ORDINALITY AS p (series_id, position) JOIN series s ON s.id = p.series_id) AS series
     FROM layouts l WHERE l.node_id = $1 AND l.hash = ANY ($2)`,
    [nodeId, hashes],
  );
  return rows.map(({ id, hash, ...block }) => ({ hash, id, layout: describeBlock({ ...block, series: block.series ?? [] }) }));
}

/** How many series the store holds for each of some nodes. */
export async function countSeries(database: Database, nodeIds: readonly number[]): Promise<Map<number, number>> {
  const rows = await database.query<{ node_id: number; count: number }>(
    'SELECT node_id, count(*)::int AS count FROM series WHERE node_id = ANY ($1) GROUP BY node_id',
    [nodeIds],
  );
  return new Map(rows.map((row) => [row.node_id, row.count]));
}

/** What makes a series the same series within its node: name and labels, whatever their order. Half a SHA-256, in a uuid's clothes. */
function seriesIdentity({ metric, labels }: BlockLayout['series'][number]): string {
  const sorted = [...labels].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return createHash('sha256')
    .update(JSON.stringify([metric, sorted]))
    .digest('hex')
    .slice(0, 32);
}

/**
 * Gives blocks their permanent series ids and ids of their own, all in one transaction: a fleet that
 * reports for the first time brings thousands at once. Sets `id` on each layout; resolves with how many
 * series were new for each node.
 */
export async function registerLayouts(
  database: Database,
  blocks: readonly { nodeId: number; known: KnownLayout }[],
): Promise<Map<number, number>> {
  const positions = blocks.flatMap(({ nodeId, known }, block) =>
    known.layout.series.map((series) => ({ nodeId, block, series, identity: seriesIdentity(series) })),
  );
  const distinct = [...new Map(positions.map((p) => [`${p.nodeId} ${p.identity}`, p])).values()].sort(
    (a, b) => a.nodeId - b.nodeId || (a.identity < b.identity ? -1 : 1),
  );
  return database.transaction(async (client) => {
    // The tables grow from nothing to tens of thousands of rows between two looks of autovacuum: the planner
    // would read them whole for each batch (measured: 80 µs a series instead of 20).
    await client.query('SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off');
    const added = await client.query<{ node_id: number; count: number }>(
      `WITH added AS (
         INSERT INTO series (node_id, identity, metric, labels, unit, type, help)
         SELECT node_id, identity, metric, labels::jsonb, unit, type, help
         FROM unnest($1::int[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) AS t (node_id, identity, metric, labels, unit, type, help)
         ON CONFLICT (node_id, identity) DO NOTHING
         RETURNING node_id
       ) SELECT node_id, count(*)::int AS count FROM added GROUP BY node_id`,
      [
        array(distinct.map((p) => p.nodeId)),
        `{${distinct.map((p) => p.identity).join(',')}}`,
        distinct.map((p) => p.series.metric),
        distinct.map((p) => JSON.stringify(Object.fromEntries(p.series.labels))),
        distinct.map((p) => p.series.unit),
        distinct.map((p) => p.series.type),
        distinct.map((p) => p.series.help),
      ],
    );
    const { rows } = await client.query<{ block: number; id: number }>(
      `WITH position AS MATERIALIZED (
         SELECT t.block, array_agg(s.id ORDER BY t.ordinal) AS series_ids
         FROM unnest($1::int[], $2::int[], $3::uuid[]) WITH ORDINALITY AS t (node_id, block, identity, ordinal)
         JOIN series s ON s.node_id = t.node_id AND s.identity = t.identity
         GROUP BY t.block
       ), named AS (
         INSERT INTO layouts (node_id, hash, probe, instance, series_ids)
         SELECT b.node_id, b.hash, b.probe, b.instance, coalesce(p.series_ids, '{}')
         FROM unnest($4::int[], $5::int[], $6::text[], $7::text[], $8::text[]) AS b (block, node_id, hash, probe, instance) LEFT JOIN position p ON p.block = b.block
         ORDER BY b.node_id, b.hash
         ON CONFLICT (node_id, hash) DO UPDATE SET hash = excluded.hash
         RETURNING node_id, hash, id
       )
       SELECT b.block, n.id FROM named n JOIN unnest($4::int[], $5::int[], $6::text[]) AS b (block, node_id, hash) ON b.node_id = n.node_id AND b.hash = n.hash`,
      [
        array(positions.map((p) => p.nodeId)),
        array(positions.map((p) => p.block)),
        `{${positions.map((p) => p.identity).join(',')}}`,
        array(blocks.map((_, block) => block)),
        array(blocks.map((b) => b.nodeId)),
        blocks.map((b) => b.known.hash),
        blocks.map((b) => b.known.layout.probe),
        blocks.map((b) => b.known.layout.instance),
      ],
    );
    for (const { block, id } of rows) blocks[block]!.known.id = id;
    return new Map(added.rows.map((row) => [row.node_id, row.count]));
  });
}

/** The ids of combinations of blocks, in the order given. */
export async function registerLayoutSets(
  database: Database,
  sets: readonly { nodeId: number; layoutIds: readonly number[] }[],
): Promise<number[]> {
  const rows = await database.query<{ node_id: number; layout_ids: number[]; id: number }>(
    `INSERT INTO layout_sets (node_id, layout_ids)
     SELECT DISTINCT node_id, layout_ids::int[] FROM unnest($1::int[], $2::text[]) AS t (node_id, layout_ids) ORDER BY 1, 2
     ON CONFLICT (node_id, layout_ids) DO UPDATE SET node_id = excluded.node_id RETURNING node_id, layout_ids, id`,
    [sets.map((s) => s.nodeId), sets.map((s) => array(s.layoutIds))],
  );
  const ids = new Map(rows.map((row) => [`${row.node_id}:${row.layout_ids.join(',')}`, row.id]));
  return sets.map(({ nodeId, layoutIds }) => ids.get(`${nodeId}:${layoutIds.join(',')}`)!);
}
