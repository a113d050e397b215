/**
 * Alerts and silences over HTTP. What is open is answered from the book, also while the database is away; what was, from
 * the database. Every change is in the journal when its answer is sent.
 */
import {
  Acknowledge,
  AlertDetail,
  AlertList,
  AlertView,
  NewSilence,
  ProblemError,
  SilenceList,
  SilenceView,
  type AlertLevel,
} from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import type { NodeRecord } from '../fleet/node.ts';
import { aboutOf, type KeptIncident, type RecordedEntry } from './book.ts';
import type { Incident } from './entry.ts';
import { isId, newId, type RandomBytes } from './id.ts';
import type { Recorder } from './recorder.ts';
import type { IncidentStore } from './store.ts';
import { alertEvent, alertView, namesOf, silenceView, type ViewContext } from './view.ts';

export interface AlertRoutesOptions {
  recorder: Recorder;
  store: IncidentStore;
  fleet: { byId(id: number): NodeRecord | undefined; everyone(): Iterable<NodeRecord> };
  clock: Clock;
  random: RandomBytes;
  /** For every channel, why it was told of an alert or not. */
  tellingOf?: (incident: Incident) => { channel: string; text: string }[];
  /** What took effect and is still in the journal: for the story of an alert while the database is away. */
  localEntries?: () => Promise<readonly RecordedEntry[]>;
  /** The newest value judged of an open alert; the book has the one that decided last. */
  latestOf?: (incidentId: string) => number | undefined;
  /** Somebody closed it: whoever judges begins anew. Called once it is recorded. */
  onClosedByHand?: (incident: Incident) => void;
}

const LIMIT = 100;
const LIMIT_MAX = 500;
const SILENCES_MAX = 200;

const AlertQuery = Type.Object({
  state: Type.Optional(
    Type.Union([Type.Literal('open'), Type.Literal('closed'), Type.Literal('all')], { description: '`open` unless given' }),
  ),
  node: Type.Optional(Type.String({ description: "The node's name." })),
  site: Type.Optional(Type.String({ description: 'Where its node stands now.' })),
  rule: Type.Optional(Type.String({ description: "The rule's name." })),
  level: Type.Optional(
    Type.Union([Type.Literal('warning'), Type.Literal('critical')], {
      description: 'Of an open one now; of one that is over, the worst it was.',
    }),
  ),
  limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,2}$', description: `a number up to ${LIMIT_MAX}; ${LIMIT} unless given` })),
  before: Type.Optional(Type.String({ description: 'An id: only those that opened before it.' })),
});
type AlertQuery = Static<typeof AlertQuery>;
const IdParams = Type.Object({ id: Type.String() });
type WithId = { Params: { id: string } };
const Close = Type.Object(
  {
    reason: Type.Optional(Type.String({ maxLength: 1_000, description: 'Why, in words.' })),
    by: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
  },
  { additionalProperties: false },
);
const orNothing = <T extends import('typebox').TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const tags = ['alerts'];

export function alertRoutes(app: FastifyInstance, options: AlertRoutesOptions): void {
  askingRoutes(app, options);
  changingRoutes(app, options);
  silenceRoutes(app, options);
}

function askingRoutes(app: FastifyInstance, options: AlertRoutesOptions): void {
  app.get<{ Querystring: AlertQuery }>('/api/alerts', {
    config: { access: 'read' },
    schema: {
      tags,
      summary: 'Alerts, the newest first',
      description:
        'Open ones are known while the database is away. Past ones are not: then `state=closed` is answered with 503, and `state=all` with what is known.',
      querystring: AlertQuery,
      response: { 200: AlertList },
    },
    handler: async (request, reply) => sendJson(reply, await listAlerts(request.query, options)),
  });

  app.get<WithId>('/api/alerts/:id', {
    config: { access: 'read' },
    schema: { tags, summary: 'One alert and its story', params: IdParams, response: { 200: AlertDetail } },
    handler: async (request, reply) => {
      const { store, recorder, tellingOf } = options;
      const { id } = request.params;
      const incident = recorder.book.incident(id) ?? (isId(id) ? await store.incident(id) : undefined);
      if (incident === undefined) throw unknownAlert(id);
      const events = (await story(id, options)).map((entry) => alertEvent(entry, id));
      const detail: AlertDetail = { alert: alertView(incident, contextOf(options)), events, telling: tellingOf?.(incident) ?? [] };
      return sendJson(reply, detail);
    },
  });
}

function changingRoutes(app: FastifyInstance, options: AlertRoutesOptions): void {
  const { recorder, clock } = options;
  const answer = (id: string): AlertView => alertView(recorder.book.incident(id)!, contextOf(options));

  app.post<WithId & { Body: Acknowledge | null }>('/api/alerts/:id/acknowledge', {
    config: { access: 'admin' },
    schema: {
      tags,
      summary: 'Take an alert on: it is known who looks after it',
      description: 'A warning that becomes critical is no longer acknowledged.',
      params: IdParams,
      body: orNothing(Acknowledge),
      response: { 200: AlertView },
    },
    handler: async (request, reply) => {
      const { incidentId } = await openAlert(request.params.id, options);
      const by = whoIs(request, request.body?.by);
      await recorder.record([{ kind: 'acknowledged', at: clock.wallMs(), incidentId, by, note: request.body?.note ?? '' }]);
      return sendJson(reply, answer(incidentId));
    },
  });

  app.delete<WithId>('/api/alerts/:id/acknowledge', {
    config: { access: 'admin' },
    schema: { tags, summary: 'Give an alert back: nobody looks after it', params: IdParams, response: { 200: AlertView } },
    handler: async (request, reply) => {
      const { incidentId, acknowledged } = await openAlert(request.params.id, options);
      if (acknowledged !== null)
        await recorder.record([{ kind: 'unacknowledged', at: clock.wallMs(), incidentId, by: whoIs(request, undefined), why: '' }]);
      return sendJson(reply, answer(incidentId));
    },
  });

  app.post<WithId & { Body: Static<typeof Close> | null }>('/api/alerts/:id/close', {
    config: { access: 'admin' },
    schema: {
      tags,
      summary: 'Close an alert by hand',
      description: 'Whoever was told that it fires is told that it is over. If it is still true, it opens again as a new alert.',
      params: IdParams,
      body: orNothing(Close),
      response: { 200: AlertView },
    },
    handler: async (request, reply) => {
      const { incidentId, value } = await openAlert(request.params.id, options);
      const why = `by ${whoIs(request, request.body?.by)}${request.body?.reason ? `: ${request.body.reason}` : ''}`;
      await recorder.record([{ kind: 'closed', at: clock.wallMs(), incidentId, reason: 'closed_by_hand', value, why }]);
      options.onClosedByHand?.(recorder.book.incident(incidentId)!);
      return sendJson(reply, answer(incidentId));
    },
  });
}

function silenceRoutes(app: FastifyInstance, options: AlertRoutesOptions): void {
  const { recorder, clock, random, store } = options;
  app.get('/api/silences', {
    config: { access: 'read' },
    schema: {
      tags,
      summary: 'Silences, the newest first',
      description: 'Those in force, and as far as the database can be asked those that are over.',
      response: { 200: SilenceList },
    },
    handler: async (_, reply) => {
      const context = contextOf(options);
      const byId = new Map([...recorder.book.silences()].map((one) => [one.silenceId, silenceView(one, context)]));
      const past = await store.silences(SILENCES_MAX).catch(unlessAway([]));
      for (const one of past)
        // One that was ended a moment ago may not be ended in the database yet.
        if (!byId.has(one.silenceId))
          byId.set(one.silenceId, silenceView({ ...one, endedAt: one.endedAt ?? Math.min(one.endsAt, context.now) }, context));
      return sendJson(reply, { silences: [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1)) });
    },
  });

  app.post<{ Body: NewSilence }>('/api/silences', {
    config: { access: 'admin' },
    schema: {
      tags,
      summary: 'Silence alerts for a while',
      description: 'They stay open and are shown. No channel is told that one fires; one that was told is still told that it is over.',
      body: NewSilence,
      response: { 201: SilenceView },
    },
    handler: async (request, reply) => {
      requireStanding(recorder);
      const { matcher, reason, author, seconds } = request.body;
      const { labels, ...rest } = matcher;
      if (Object.keys({ ...rest, ...labels }).length === 0)
        throw new ProblemError(
          'body_invalid',
          'body.matcher says nothing. Name a rule, a node, a site, a level or a label; "*" stands for any.',
        );
      const now = clock.wallMs();
      const silenceId = newId(now, random);
      const silence = { silenceId, matcher, reason, author: whoIs(request, author), endsAt: now + seconds * 1_000 };
      await recorder.record([{ kind: 'silenced', at: now, silence }]);
      const kept = recorder.book.silence(silenceId) ?? { ...silence, createdAt: now };
      return sendJson(reply.code(201), silenceView(kept, contextOf(options)));
    },
  });

  app.delete<WithId>('/api/silences/:id', {
    config: { access: 'admin' },
    schema: { tags, summary: 'End a silence', params: IdParams, response: { 204: Type.Null() } },
    handler: async (request, reply) => {
      requireStanding(recorder);
      const { id } = request.params;
      if (recorder.book.silence(id) === undefined)
        throw new ProblemError('silence_unknown', `No silence in force has the id ${JSON.stringify(id)}.`);
      await recorder.record([{ kind: 'unsilenced', at: clock.wallMs(), silenceId: id, by: whoIs(request, undefined) }]);
      return reply.code(204).send(null);
    },
  });
}

async function listAlerts(query: AlertQuery, options: AlertRoutesOptions): Promise<AlertList> {
  const { recorder, store, fleet } = options;
  const context = contextOf(options);
  const { state = 'open', node, site, rule, level, before } = query;
  const limit = Math.min(LIMIT_MAX, Number(query.limit ?? LIMIT));
  if (before !== undefined && !isId(before)) throw new ProblemError('query_invalid', '`before` is not the id of an alert.');
  const nodeIds =
    node === undefined && site === undefined
      ? undefined
      : [...fleet.everyone()].filter((one) => (node ?? one.name) === one.name && (site ?? one.site) === one.site).map(({ id }) => id);
  if (node !== undefined && nodeIds!.length === 0 && ![...fleet.everyone()].some(({ name }) => name === node))
    throw new ProblemError('node_unknown', `There is no node ${JSON.stringify(node)}.`);

  const found = new Map<string, KeptIncident>();
  const chosen = new Set(nodeIds);
  for (const incident of [...recorder.book.incidents(), ...(state === 'open' ? [] : recorder.book.past())])
    if (
      state !== (incident.closedAt === null ? 'closed' : 'open') &&
      (nodeIds === undefined || chosen.has(incident.nodeId)) &&
      (rule === undefined || rule === incident.rule) &&
      (level === undefined || level === shownLevel(incident)) &&
      (before === undefined || incident.incidentId < before)
    )
      found.set(incident.incidentId, incident);
  let isCut = false;
  if (state !== 'open') {
    const question = { state: 'closed' as const, nodeIds, rule, level, before, limit: limit + 1 };
    // Of everything, what is known is worth having; of the past alone it would be misleading.
    const past = await store.list(question).catch(state === 'all' && before === undefined ? unlessAway(undefined) : rethrow);
    isCut = past === undefined;
    for (const incident of past ?? [])
      if (recorder.book.incident(incident.incidentId) === undefined) found.set(incident.incidentId, incident);
  }
  const sorted = [...found.values()].sort((a, b) => (a.incidentId < b.incidentId ? 1 : -1));
  return {
    at: new Date(context.now).toISOString(),
    alerts: sorted.slice(0, limit).map((incident) => alertView(incident, context)),
    more: isCut || sorted.length > limit,
  };
}

const shownLevel = ({ closedAt, level, levelMax }: Incident): AlertLevel => (closedAt === null ? level : levelMax);

/** What happened to an alert, in order: from the database, and what only the journal has. */
async function story(id: string, { store, localEntries }: AlertRoutesOptions): Promise<RecordedEntry[]> {
  const stored = isId(id) ? await store.entriesOf(id).catch(unlessAway([])) : [];
  const known = new Set(stored.map((entry) => entry.id));
  const local = (await localEntries?.()) ?? [];
  const all = [...stored, ...local.filter((entry) => !known.has(entry.id) && aboutOf(entry).includes(id))];
  return all.sort((a, b) => a.epoch - b.epoch || a.position - b.position);
}

function contextOf({ recorder, clock, fleet, latestOf }: AlertRoutesOptions): ViewContext {
  return { book: recorder.book, now: clock.wallMs(), nodeOf: (id) => fleet.byId(id), latestOf };
}

/** Throws `alert_unknown` or `alert_closed`. */
async function openAlert(id: string, { recorder, store, fleet }: AlertRoutesOptions): Promise<KeptIncident> {
  requireStanding(recorder);
  const incident = recorder.book.incident(id);
  if (incident?.closedAt === null) return incident;
  const over = incident ?? (isId(id) ? await store.incident(id).catch(unlessAway(undefined)) : undefined);
  if (over === undefined) throw unknownAlert(id);
  const { name } = namesOf(over, (nodeId) => fleet.byId(nodeId));
  const when = over.closedAt === null ? '' : ` since ${new Date(over.closedAt).toISOString()}`;
  throw new ProblemError('alert_closed', `"${over.title}" on ${name} is over${when}.`);
}

function requireStanding({ supersededBy }: Recorder): void {
  if (supersededBy !== undefined)
    throw new ProblemError(
      'superseded',
      'Another collector has taken over, and nothing is recorded here any more. Ask that one, or restart this one.',
    );
}

const unknownAlert = (id: string): ProblemError =>
  new ProblemError('alert_unknown', `There is no alert with the id ${JSON.stringify(id)}.`);

/** Whose decision it is: what a person typed, or the name of the program's token. */
function whoIs({ principal }: FastifyRequest, typed: string | undefined): string {
  if (principal?.kind !== 'program') return typed ?? 'console';
  if (typed === undefined) return principal.name;
  return principal.name === ADMIN ? typed : `${typed} (${principal.name})`;
}

/** What the admin token is called, which is nobody's in particular. */
const ADMIN = 'admin token';

/** For `catch`: something else while the database is away. */
function unlessAway<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof ProblemError && error.code === 'database_away') return instead;
    throw error;
  };
}

function rethrow(error: unknown): never {
  if (error instanceof ProblemError && error.code === 'database_away')
    throw new ProblemError('database_away', 'What is over is in the database, which is away just now. Open alerts are known: state=open.', {
      cause: error,
      retryAfterSeconds: 5,
    });
  throw error;
}

function sendJson(reply: FastifyReply, document: unknown): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(JSON.stringify(document));
}
