/** What is asked of the database about alerts: what is so, for the start, and what was, for the API. */
import { and, asc, desc, eq, gt, inArray, lt, or, sql, type SQL } from 'drizzle-orm';
import type { AlertLevel } from '@tidemark/protocol';
import type { Database } from '../db/pool.ts';
import type { BookState, GoneChannel, KeptDelivery, KeptIncident, KeptSilence, Mark, RecordedEntry } from './book.ts';
import type { Entry, Told } from './entry.ts';
import { isId } from './id.ts';
import { deliveries, evaluators, goneChannels, incidentEntries, incidents, silences, told } from './tables.ts';

/** What the database says is so. Things that are over are there as well when they were asked for by id. */
export interface StoredState extends BookState {
  /** Ids of silences and deliveries in it that are over. */
  readonly ended: ReadonlySet<string>;
}

export interface PastQuery {
  /** undefined: open and closed. */
  state?: 'open' | 'closed' | undefined;
  nodeIds?: readonly number[] | undefined;
  rule?: string | undefined;
  /** The worst it was. */
  level?: AlertLevel | undefined;
  /** Only those with a smaller id. */
  before?: string | undefined;
  limit: number;
}

/** A silence as the API shows it, over or not. */
export type StoredSilence = KeptSilence & { readonly endedAt: number | null };

const EVENTS_MAX = 1_000;

type IncidentRow = typeof incidents.$inferSelect;

export class IncidentStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** What is open, to be told, under way or silenced, and everything that `known` names, whatever became of it. */
  async load(known: readonly string[], now: { wallMs: number; keepClosedMs: number; keepUntoldMs: number }): Promise<StoredState> {
    return this.#database.attempt(async () => {
      const { orm } = this.#database;
      const ids = known.filter(isId);
      const asked = (column: typeof incidents.id | typeof silences.id | typeof deliveries.id): SQL =>
        sql`${column} = ANY (${sql.param(ids)}::uuid[])`;
      const since = (ms: number): Date => new Date(now.wallMs - ms);
      const owed = sql`(${incidents.closedAt} > ${since(now.keepUntoldMs)} AND EXISTS (SELECT FROM told t WHERE t.incident_id = ${incidents.id} AND (t.status = 'firing' OR NOT t.confirmed)))`;
      const wanted = or(eq(incidents.state, 'open'), gt(incidents.closedAt, since(now.keepClosedMs)), owed, asked(incidents.id));
      const incidentRows = await orm.select().from(incidents).where(wanted).orderBy(asc(incidents.id));
      const silenceRows = await orm
        .select()
        .from(silences)
        .where(or(gt(silences.endsAt, new Date(now.wallMs)), asked(silences.id)));
      const deliveryRows = await orm
        .select()
        .from(deliveries)
        .where(or(inArray(deliveries.state, ['under_way', 'waiting']), asked(deliveries.id)));
      const goneRows = await orm.select().from(goneChannels);
      const [evaluator] = await orm.select().from(evaluators);
      return {
        mark: { epoch: evaluator?.epoch ?? 0, position: evaluator?.position ?? 0 },
        incidents: await this.#withTold(incidentRows),
        silences: silenceRows.map(toSilence),
        deliveries: deliveryRows.map(toDelivery),
        goneChannels: goneRows.map(toGone),
        ended: new Set([
          ...silenceRows.flatMap(({ id, endedAt }) => (endedAt === null ? [] : id)),
          ...deliveryRows.flatMap(({ id, state }) => (state === 'under_way' || state === 'waiting' ? [] : id)),
        ]),
      };
    });
  }

  /** The newest first. */
  async list({ state, nodeIds, rule, level, before, limit }: PastQuery): Promise<KeptIncident[]> {
    return this.#database.attempt(async () => {
      const rows = await this.#database.orm
        .select()
        .from(incidents)
        .where(
          and(
            state === undefined ? undefined : eq(incidents.state, state),
            nodeIds === undefined ? undefined : sql`${incidents.nodeId} = ANY (${sql.param([...nodeIds])}::integer[])`,
            rule === undefined ? undefined : eq(incidents.rule, rule),
            level === undefined ? undefined : eq(incidents.levelMax, level),
            before === undefined ? undefined : lt(incidents.id, before),
          ),
        )
        .orderBy(desc(incidents.id))
        .limit(limit);
      return this.#withTold(rows);
    });
  }

  async incident(id: string): Promise<KeptIncident | undefined> {
    return this.#database.attempt(async () => {
      const rows = await this.#database.orm.select().from(incidents).where(eq(incidents.id, id));
      return (await this.#withTold(rows))[0];
    });
  }

  /** What happened to an alert, in order; of more than a thousand lines the first and the last ones. */
  async entriesOf(id: string): Promise<RecordedEntry[]> {
    return this.#database.attempt(async () => {
      const about = sql`${incidentEntries.incidentIds} @> ${sql.param([id])}::uuid[]`;
      const page = async (...order: SQL[]) =>
        this.#database.orm
          .select()
          .from(incidentEntries)
          .where(about)
          .orderBy(...order)
          .limit(EVENTS_MAX / 2);
      const first = await page(asc(incidentEntries.epoch), asc(incidentEntries.position));
      if (first.length < EVENTS_MAX / 2) return first.map(toEntry);
      const last = await page(desc(incidentEntries.epoch), desc(incidentEntries.position));
      const known = new Set(first.map((row) => row.id));
      return [...first, ...last.filter((row) => !known.has(row.id)).toReversed()].map(toEntry);
    });
  }

  /** The newest first, those that are over too. */
  async silences(limit: number): Promise<StoredSilence[]> {
    return this.#database.attempt(async () => {
      const rows = await this.#database.orm.select().from(silences).orderBy(desc(silences.id)).limit(limit);
      return rows.map((row) => ({ ...toSilence(row), endedAt: row.endedAt?.getTime() ?? null }));
    });
  }

  async #withTold(rows: readonly IncidentRow[]): Promise<KeptIncident[]> {
    const byIncident = new Map<string, Map<string, Told>>(rows.map(({ id }) => [id, new Map()]));
    if (rows.length > 0) {
      const toldRows = await this.#database.orm
        .select()
        .from(told)
        .where(sql`${told.incidentId} = ANY (${sql.param([...byIncident.keys()])}::uuid[])`)
        .orderBy(asc(told.channel));
      for (const { incidentId, channel, at, ...rest } of toldRows) byIncident.get(incidentId)?.set(channel, { ...rest, at: at.getTime() });
    }
    return rows.map((row) => toIncident(row, byIncident.get(row.id)!));
  }
}

function toIncident(row: IncidentRow, channels: ReadonlyMap<string, Told>): KeptIncident {
  const { id, state: _, since, openedAt, closedAt, acknowledgedAt, acknowledgedBy, acknowledgedNote, ...rest } = row;
  return {
    ...rest,
    incidentId: id,
    since: since.getTime(),
    openedAt: openedAt.getTime(),
    closedAt: closedAt?.getTime() ?? null,
    acknowledged: acknowledgedAt === null ? null : { by: acknowledgedBy ?? '', at: acknowledgedAt.getTime(), note: acknowledgedNote ?? '' },
    told: channels,
  };
}

const markOf = ({ epoch, position }: Mark): Mark => ({ epoch, position });

function toSilence(row: typeof silences.$inferSelect): KeptSilence {
  const { id, matcher, reason, author, createdAt, endsAt } = row;
  return { silenceId: id, matcher, reason, author, createdAt: createdAt.getTime(), endsAt: endsAt.getTime(), ...markOf(row) };
}

function toDelivery(row: typeof deliveries.$inferSelect): KeptDelivery {
  const { id, channel, thread, attempt, items, attemptedAt, retryAt } = row;
  return {
    deliveryId: id,
    channel,
    thread,
    attempt,
    items,
    attemptedAt: attemptedAt.getTime(),
    retryAt: retryAt?.getTime() ?? null,
    ...markOf(row),
  };
}

function toGone(row: typeof goneChannels.$inferSelect): GoneChannel {
  const { channel, at, answer, configuration } = row;
  return { channel, at: at.getTime(), answer, ...(configuration === null ? {} : { configuration }), ...markOf(row) };
}

function toEntry({ id, kind, at, epoch, position, document }: typeof incidentEntries.$inferSelect): RecordedEntry {
  return { ...document, id, kind, at: at.getTime(), epoch, position } as Entry & { position: number };
}
