/**
 * Writes what the journal holds into the database: one transaction a batch, fenced by the evaluator's epoch. A line of
 * history is inserted once, a state is replaced only by a later one, so writing anything again changes nothing.
 */
import { and, eq, inArray, lte, sql, type SQL } from 'drizzle-orm';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core';
import type { Database } from '../db/pool.ts';
import {
  aboutOf,
  type BookState,
  type GoneChannel,
  type KeptDelivery,
  type KeptIncident,
  type KeptSilence,
  type RecordedEntry,
} from './book.ts';
import { deliveries, evaluators, goneChannels, incidentEntries, incidents, silences, told } from './tables.ts';

/** Who writes. */
export interface Claim {
  /** Of this run of the collector. */
  readonly owner: string;
  readonly epoch: number;
}

export interface MirrorBatch {
  /** In order. */
  readonly entries: readonly RecordedEntry[];
  /** Incidents as they are now. */
  readonly incidents: readonly KeptIncident[];
  /** How far the journal is written with this. */
  readonly position: number;
  readonly now: number;
}

/** `claimed`: it was written, and the database did not know this run until now: it may lack anything. */
export type Written = 'written' | 'claimed' | { readonly supersededBy: number };

const EVALUATOR = 'main';
const ROWS_PER_STATEMENT = 200;

export class MirrorStore {
  readonly #database: Database;
  readonly #claim: Claim;
  /** How far the database had everything when it was last asked. */
  #position = 0;

  constructor(database: Database, claim: Claim) {
    this.#database = database;
    this.#claim = claim;
  }

  /** Throws `database_away`, or what the database says against an entry. */
  write(batch: MirrorBatch): Promise<Written> {
    return this.#fenced(batch.now, batch.position, async (orm) => {
      const fresh = new Set<string>();
      for (const part of inParts(batch.entries, ROWS_PER_STATEMENT)) {
        const rows = part.map(entryRow);
        const added = await orm.insert(incidentEntries).values(rows).onConflictDoNothing().returning({ id: incidentEntries.id });
        for (const { id } of added) fresh.add(id);
      }
      for (const entry of batch.entries) if (fresh.has(entry.id)) await applyToTables(orm, entry);
      await putIncidents(orm, batch.incidents);
    });
  }

  /** Writes all that is so: for a database that may lack anything. What was let go of long ago is not known here any more. */
  writeAll(state: BookState, now: number): Promise<Written> {
    return this.#fenced(now, 0, async (orm) => {
      await putIncidents(orm, state.incidents);
      for (const silence of state.silences) await putSilence(orm, silence);
      for (const delivery of state.deliveries) await putDelivery(orm, delivery);
      for (const gone of state.goneChannels) await putGone(orm, gone);
    });
  }

  /** Saves what the evaluator wants to find again. Resolves with false when another collector has taken over. */
  async saveState(state: string, now: number): Promise<boolean> {
    const { owner, epoch } = this.#claim;
    const saved = await this.#database.attempt(async () =>
      this.#database.orm
        .update(evaluators)
        .set({ state, savedAt: new Date(now) })
        .where(and(eq(evaluators.name, EVALUATOR), eq(evaluators.owner, owner), lte(evaluators.epoch, epoch)))
        .returning({ name: evaluators.name }),
    );
    return saved.length > 0;
  }

  async #fenced(now: number, position: number, work: (orm: NodePgDatabase) => Promise<void>): Promise<Written> {
    const { owner, epoch } = this.#claim;
    const written = await this.#database.transaction<Written>(async (client) => {
      const orm = drizzle({ client });
      // The row stays locked to the end: who takes over waits for this batch, or this batch sees that it was taken.
      const [row] = await orm.select().from(evaluators).where(eq(evaluators.name, EVALUATOR)).for('update');
      if (row !== undefined && (row.epoch > epoch || (row.epoch === epoch && row.owner !== owner))) return { supersededBy: row.epoch };
      // A database that was put back to an earlier day knows this run, and lacks what came since.
      const isKnown = row?.epoch === epoch && row.position >= this.#position;
      await orm
        .insert(evaluators)
        .values({ name: EVALUATOR, owner, epoch, takenAt: new Date(now), position })
        .onConflictDoUpdate({
          target: evaluators.name,
          set: {
            owner,
            epoch,
            position: sql`greatest(${evaluators.position}, excluded.position)`,
            ...(isKnown ? {} : { takenAt: new Date(now) }),
          },
        });
      await work(orm);
      return isKnown ? 'written' : 'claimed';
    });
    if (typeof written === 'string') this.#position = Math.max(written === 'claimed' ? 0 : this.#position, position);
    return written;
  }
}

/**
 * Takes the evaluator's row for a run: the epoch is higher than any that this machine or the database knows of. Throws
 * `database_away`.
 */
export async function takeOver(database: Database, owner: string, localEpoch: number, now: number): Promise<Claim> {
  const [row] = await database.attempt(async () =>
    database.orm
      .insert(evaluators)
      .values({ name: EVALUATOR, owner, epoch: localEpoch + 1, takenAt: new Date(now), position: 0 })
      .onConflictDoUpdate({
        target: evaluators.name,
        set: { owner, epoch: sql`greatest(${evaluators.epoch}, ${localEpoch}::bigint) + 1`, takenAt: new Date(now) },
      })
      .returning({ epoch: evaluators.epoch }),
  );
  return { owner, epoch: row!.epoch };
}

/** The evaluator's row, if there is one. */
export async function readEvaluator(database: Database): Promise<typeof evaluators.$inferSelect | undefined> {
  const [row] = await database.attempt(async () => database.orm.select().from(evaluators).where(eq(evaluators.name, EVALUATOR)));
  return row;
}

function* inParts<T>(all: readonly T[], size: number): Generator<T[]> {
  for (let i = 0; i < all.length; i += size) yield all.slice(i, i + size);
}

function entryRow(entry: RecordedEntry): typeof incidentEntries.$inferInsert {
  const { id, kind, at, epoch, position, about: _, ...document } = entry;
  return { id, kind, at: new Date(at), epoch, position, incidentIds: [...aboutOf(entry)], document };
}

/** What is not kept with an incident. A line that was there before has had its effect. */
async function applyToTables(orm: NodePgDatabase, entry: RecordedEntry): Promise<void> {
  const { at, epoch, position } = entry;
  switch (entry.kind) {
    case 'silenced':
      return putSilence(orm, { ...entry.silence, createdAt: at, epoch, position });
    case 'unsilenced':
      await orm
        .update(silences)
        .set({ endedAt: new Date(at), endedBy: entry.by, epoch, position })
        .where(eq(silences.id, entry.silenceId));
      return;
    case 'attempted': {
      const { deliveryId, channel, thread, attempt, items } = entry;
      return putDelivery(orm, { deliveryId, channel, thread, attempt, items, attemptedAt: at, retryAt: null, epoch, position });
    }
    case 'answered':
      return applyAnswer(orm, entry);
    default:
  }
}

async function applyAnswer(orm: NodePgDatabase, entry: Extract<RecordedEntry, { kind: 'answered' }>): Promise<void> {
  const { deliveryId, channel, outcome, answer, retryAt, at, attempt, configuration, epoch, position } = entry;
  const isFinal = outcome !== 'retry' || retryAt === null;
  const state = outcome !== 'retry' ? outcome : retryAt === null ? 'given_up' : 'waiting';
  // An answer that came after the next attempt began says nothing about that one, and one that came after the end only
  // that it arrived all the same.
  const unfinished = inArray(deliveries.state, ['under_way', 'waiting']);
  const counts = isFinal ? (outcome === 'delivered' ? undefined : unfinished) : and(unfinished, lte(deliveries.attempt, attempt));
  await orm
    .update(deliveries)
    .set({ state, answer, answeredAt: new Date(at), retryAt: isFinal || retryAt === null ? null : new Date(retryAt), epoch, position })
    .where(and(eq(deliveries.id, deliveryId), counts));
  if (outcome === 'gone')
    await putGone(orm, { channel, at, answer, ...(configuration === undefined ? {} : { configuration }), epoch, position });
  if (outcome === 'delivered') await orm.delete(goneChannels).where(eq(goneChannels.channel, channel));
}

async function putIncidents(orm: NodePgDatabase, states: readonly KeptIncident[]): Promise<void> {
  for (const part of inParts(states, ROWS_PER_STATEMENT)) {
    const written = await orm
      .insert(incidents)
      .values(part.map(incidentRow))
      .onConflictDoUpdate({ target: incidents.id, set: excluded(incidents, incidents.id), setWhere: notLater(incidents) })
      .returning({ id: incidents.id });
    const ids = new Set(written.map(({ id }) => id));
    const rows = part.filter(({ incidentId }) => ids.has(incidentId)).flatMap(toldRows);
    for (const some of inParts(rows, ROWS_PER_STATEMENT))
      await orm
        .insert(told)
        .values(some)
        .onConflictDoUpdate({ target: [told.incidentId, told.channel], set: excluded(told, told.incidentId, told.channel) });
  }
}

function incidentRow(incident: KeptIncident): typeof incidents.$inferInsert {
  const { incidentId, acknowledged, since, openedAt, closedAt, labels, suppressedBy, annotations, ...rest } = incident;
  const { told: _, ...plain } = rest;
  return {
    ...plain,
    id: incidentId,
    state: closedAt === null ? 'open' : 'closed',
    since: new Date(since),
    openedAt: new Date(openedAt),
    closedAt: closedAt === null ? null : new Date(closedAt),
    acknowledgedAt: acknowledged === null ? null : new Date(acknowledged.at),
    acknowledgedBy: acknowledged?.by ?? null,
    acknowledgedNote: acknowledged?.note ?? null,
    labels: [...labels],
    suppressedBy: [...suppressedBy],
    annotations: { ...annotations },
  };
}

function toldRows({ incidentId, told: byChannel }: KeptIncident): (typeof told.$inferInsert)[] {
  return [...byChannel].map(([channel, one]) => ({ ...one, incidentId, channel, at: new Date(one.at) }));
}

async function putSilence(orm: NodePgDatabase, { silenceId, createdAt, endsAt, ...rest }: KeptSilence): Promise<void> {
  await orm
    .insert(silences)
    .values({ ...rest, id: silenceId, createdAt: new Date(createdAt), endsAt: new Date(endsAt), endedAt: null, endedBy: null })
    .onConflictDoUpdate({ target: silences.id, set: excluded(silences, silences.id), setWhere: notLater(silences) });
}

async function putDelivery(orm: NodePgDatabase, { deliveryId, attemptedAt, retryAt, items, ...rest }: KeptDelivery): Promise<void> {
  await orm
    .insert(deliveries)
    .values({
      ...rest,
      id: deliveryId,
      items: [...items],
      attemptedAt: new Date(attemptedAt),
      retryAt: retryAt === null ? null : new Date(retryAt),
      state: retryAt === null ? 'under_way' : 'waiting',
    })
    .onConflictDoUpdate({
      target: deliveries.id,
      set: excluded(deliveries, deliveries.id, deliveries.answer, deliveries.answeredAt),
      setWhere: sql`${notLater(deliveries)} AND (${deliveries.attempt} <= excluded.attempt OR ${deliveries.state} NOT IN ('under_way', 'waiting'))`,
    });
}

async function putGone(orm: NodePgDatabase, gone: GoneChannel): Promise<void> {
  await orm
    .insert(goneChannels)
    .values({ ...gone, at: new Date(gone.at), configuration: gone.configuration ?? null })
    .onConflictDoUpdate({
      target: goneChannels.channel,
      set: excluded(goneChannels, goneChannels.channel),
      setWhere: notLater(goneChannels),
    });
}

/** Every column but these becomes what was to be inserted. */
function excluded(table: PgTable, ...but: PgColumn[]): Record<string, SQL> {
  const columns = Object.entries(table as unknown as Record<string, PgColumn>).filter(
    ([, column]) => typeof column?.name === 'string' && !but.includes(column),
  );
  return Object.fromEntries(columns.map(([key, column]) => [key, sql.raw(`excluded."${column.name}"`)]));
}

/** What is there is not later than what was to be inserted. */
function notLater(table: { epoch: PgColumn; position: PgColumn }): SQL {
  return sql`(${table.epoch}, ${table.position}) <= (excluded.epoch, excluded.position)`;
}

/** Deletes what is older than the retention, a bounded part of it. Resolves with how many rows went. */
export async function deleteExpired(database: Database, before: number, limit: number): Promise<number> {
  return database.attempt(async () => {
    const { orm } = database;
    const at = new Date(before);
    const oldIncidents = orm.select({ id: incidents.id }).from(incidents).where(lte(incidents.closedAt, at)).limit(limit);
    const a = await orm.delete(incidents).where(inArray(incidents.id, oldIncidents));
    const oldEntries = orm
      .select({ id: incidentEntries.id })
      .from(incidentEntries)
      .where(
        and(
          lte(incidentEntries.at, at),
          // The story of an alert goes when the alert does.
          sql`NOT EXISTS (SELECT FROM incidents i WHERE i.id = ANY (${incidentEntries.incidentIds}))`,
        ),
      )
      .limit(limit);
    const b = await orm.delete(incidentEntries).where(inArray(incidentEntries.id, oldEntries));
    const oldSilences = orm.select({ id: silences.id }).from(silences).where(lte(silences.endsAt, at)).limit(limit);
    const c = await orm.delete(silences).where(inArray(silences.id, oldSilences));
    const oldDeliveries = orm.select({ id: deliveries.id }).from(deliveries).where(lte(deliveries.attemptedAt, at)).limit(limit);
    const d = await orm.delete(deliveries).where(inArray(deliveries.id, oldDeliveries));
    return [a, b, c, d].reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0);
  });
}
