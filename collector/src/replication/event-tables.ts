/** Replication events and cluster memories in the database: one transaction a batch, an event replaced by its key and never moved. */
import type { ReplicationEventKind } from '@tidemark/protocol';
import type { PoolClient } from 'pg';
import type { Database } from '../db/pool.ts';
import { isId } from '../incidents/id.ts';
import type { ChangeMemory, InstanceId, MemberMemory } from './model.ts';

export interface StoredEvent {
  readonly id: string;
  readonly systemIdentifier: string;
  readonly key: string;
  readonly kind: ReplicationEventKind;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly instanceId: string | null;
  readonly instance: string | null;
  readonly severity: 'info' | 'warning' | 'critical';
  readonly text: string;
  readonly details: Readonly<Record<string, string | number | boolean | null>>;
}

export interface StoredMemory {
  readonly systemIdentifier: string;
  readonly topology: Readonly<Record<InstanceId, MemberMemory>>;
  readonly changes: ChangeMemory | null;
  readonly counts: Readonly<Record<string, number>>;
}

export interface StoredQuestion {
  readonly cluster: string | undefined;
  readonly kind: string | undefined;
  readonly before: string | undefined;
  readonly limit: number;
}

const PRUNE_BATCH = 10_000;

const COLUMNS = `id, system_identifier AS "systemIdentifier", key, kind, (extract(epoch FROM at) * 1000)::float8 AS at,
  instance_id AS "instanceId", instance, severity, text, details`;

const PUT_EVENTS = `
INSERT INTO replication_events (id, system_identifier, key, kind, at, instance_id, instance, severity, text, details)
SELECT id, "systemIdentifier", key, kind, to_timestamp(at / 1000), "instanceId", instance, severity, text, details
FROM jsonb_to_recordset($1::jsonb) AS e(id uuid, "systemIdentifier" text, key text, kind text, at float8, "instanceId" text, instance text,
  severity text, text text, details jsonb)
ON CONFLICT (system_identifier, key) DO UPDATE
SET kind = excluded.kind, instance = excluded.instance, severity = excluded.severity, text = excluded.text, details = excluded.details`;

const PUT_MEMORIES = `
INSERT INTO replication_memory (system_identifier, topology, changes, counts, saved_at)
SELECT "systemIdentifier", topology, nullif(changes, 'null'), counts, to_timestamp($2::float8 / 1000)
FROM jsonb_to_recordset($1::jsonb) AS m("systemIdentifier" text, topology jsonb, changes jsonb, counts jsonb)
ON CONFLICT (system_identifier) DO UPDATE
SET topology = excluded.topology, changes = excluded.changes, counts = excluded.counts, saved_at = excluded.saved_at`;

export class EventTables {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Events in order and the memories after them, all or nothing. */
  async write(events: readonly StoredEvent[], memories: readonly StoredMemory[], now: number): Promise<void> {
    await this.#database.transaction(async (client) => {
      if (events.length > 0) await put(client, PUT_EVENTS, [...newestByKey(events)], []);
      if (memories.length > 0) await put(client, PUT_MEMORIES, memories, [now]);
    });
  }

  /** Of all clusters, the newest first. */
  async newest(limit: number): Promise<StoredEvent[]> {
    return this.#database.query<StoredEvent>(
      `SELECT ${COLUMNS} FROM replication_events ORDER BY replication_events.at DESC, id DESC LIMIT $1`,
      [limit],
    );
  }

  /** Of all clusters, the newest first. */
  async memories(limit: number): Promise<StoredMemory[]> {
    return this.#database.query<StoredMemory>(
      `SELECT system_identifier AS "systemIdentifier", topology, changes, counts FROM replication_memory ORDER BY saved_at DESC LIMIT $1`,
      [limit],
    );
  }

  /** The newest first. */
  async list({ cluster, kind, before, limit }: StoredQuestion): Promise<StoredEvent[]> {
    const conditions: string[] = [];
    const values: unknown[] = [];
    const given = (value: unknown): string => `$${values.push(value)}`;
    if (cluster !== undefined) conditions.push(`system_identifier = ${given(cluster)}`);
    if (kind !== undefined) conditions.push(`kind = ${given(kind)}`);
    if (before !== undefined && isId(before))
      conditions.push(`(replication_events.at, id) < (SELECT b.at, b.id FROM replication_events b WHERE b.id = ${given(before)})`);
    else if (before !== undefined) conditions.push(`replication_events.at < ${given(new Date(before).toISOString())}::timestamptz`);
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
    return this.#database.query<StoredEvent>(
      `SELECT ${COLUMNS} FROM replication_events ${where} ORDER BY replication_events.at DESC, id DESC LIMIT ${given(limit)}`,
      values,
    );
  }

  /** Drops what happened before `until` (milliseconds since 1970), some at a time. */
  async prune(until: number): Promise<void> {
    const time = new Date(until).toISOString();
    let rows: readonly unknown[];
    do {
      rows = await this.#database.query(
        'DELETE FROM replication_events WHERE id IN (SELECT id FROM replication_events WHERE at < $1 LIMIT $2) RETURNING 1',
        [time, PRUNE_BATCH],
      );
    } while (rows.length === PRUNE_BATCH);
    await this.#database.query('DELETE FROM replication_memory WHERE saved_at < $1', [time]);
  }
}

async function put(client: PoolClient, statement: string, rows: readonly unknown[], more: readonly unknown[]): Promise<void> {
  await client.query(statement, [storable(rows), ...more]);
}

/** One statement may not touch a row twice: the last word on each counts. */
function newestByKey(events: readonly StoredEvent[]): Iterable<StoredEvent> {
  const byKey = new Map<string, StoredEvent>();
  for (const event of events) byKey.set(event.id, event);
  return byKey.values();
}

/** As JSON that PostgreSQL takes: names may hold what its jsonb cannot, NUL and halves of characters. */
function storable(value: unknown): string {
  const json = JSON.stringify(value);
  if (!/\\u(?:0000|d[89a-f])/i.test(json)) return json;
  return JSON.stringify(cleaned(value));
}

function cleaned(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('\u0000', '\ufffd').toWellFormed();
  if (Array.isArray(value)) return value.map(cleaned);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, of]) => [cleaned(name) as string, cleaned(of)]));
}
