/** `GET /api/telemetry/replication`, `…/primary` and `…/events`: what is known of replication, for people, programs and balancers. */
import {
  ProblemError,
  Replication,
  REPLICATION_EVENT_KINDS,
  ReplicationEvent,
  ReplicationPrimary,
  type ReplicationCluster,
} from '@tidemark/protocol';
import type { FastifyInstance } from 'fastify';
import { Type, type Static } from 'typebox';
import { isId } from '../incidents/id.ts';
import type { ReplicationView } from './view.ts';

export interface ReplicationRoutesOptions {
  readonly view: Pick<ReplicationView, 'page' | 'find' | 'now'>;
  readonly events: {
    list(question: {
      cluster?: string | undefined;
      kind?: string | undefined;
      before?: string | undefined;
      limit: number;
    }): Promise<readonly ReplicationEvent[]>;
  };
}

const EVENTS_DEFAULT = 100;
const CLUSTER = 'A system identifier, or the name of a cluster, of a server in it or of a node.';
const Name = Type.String({ minLength: 1, maxLength: 300, description: CLUSTER });
const PageQuery = Type.Object({ cluster: Type.Optional(Name) });
const PrimaryQuery = Type.Object({
  cluster: Type.Optional(Name),
  is: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 300,
      description: 'A server or a node: 200 when it is the primary, 503 when it is not or nobody can tell.',
    }),
  ),
});
const EventsQuery = Type.Object({
  cluster: Type.Optional(Name),
  kind: Type.Optional(Type.Union(REPLICATION_EVENT_KINDS.map((kind) => Type.Literal(kind)))),
  before: Type.Optional(
    Type.String({ description: 'ISO 8601: only what happened before; or the id of an event: what comes after it in the list.' }),
  ),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: EVENTS_DEFAULT })),
});
const PrimaryAnswer = Type.Object({ ...ReplicationPrimary.properties, systemIdentifier: Type.String(), cluster: Type.String() });

export function replicationRoutes(app: FastifyInstance, { view, events }: ReplicationRoutesOptions): void {
  app.get<{ Querystring: Static<typeof PageQuery> }>('/api/telemetry/replication', {
    config: { access: 'read' },
    schema: {
      tags: ['replication'],
      summary: 'PostgreSQL clusters: who follows whom, how far behind, slots, what happened',
      description: 'Every cluster that agents see, or one. A lag is given with its bounds and the moment it is about; null is not known.',
      querystring: PageQuery,
      response: { 200: Replication },
    },
    handler: async ({ query: { cluster } }) => {
      return cluster === undefined ? view.page() : { at: view.now(), clusters: found(view, cluster) };
    },
  });

  app.get<{ Querystring: Static<typeof PrimaryQuery> }>('/api/telemetry/replication/primary', {
    config: { access: 'read' },
    schema: {
      tags: ['replication'],
      summary: 'Who is the primary of a cluster now, in one line',
      description:
        'One line of text, "NAME CERTAINTY", or JSON when that is asked for (Accept: application/json). 200 when there is one (sure or likely), 503 when there is none or it is disputed, so that a script or a balancer need not read the answer. `cluster` may be left out where there is only one.',
      querystring: PrimaryQuery,
      response: {
        200: { content: { 'text/plain': { schema: Type.String() }, 'application/json': { schema: PrimaryAnswer } } },
        503: { content: { 'text/plain': { schema: Type.String() }, 'application/json': { schema: PrimaryAnswer } } },
      },
    },
    handler: async ({ query, headers }, reply) => {
      const { systemIdentifier, name, primary } = onlyOne(view, query.cluster);
      const isKnown = primary.certainty === 'sure' || primary.certainty === 'likely';
      const isAsked = query.is === undefined || [primary.name, primary.node, primary.id].includes(query.is);
      void reply.status(isKnown && isAsked ? 200 : 503).header('cache-control', 'no-store');
      if (prefersJson(headers.accept)) return reply.send({ ...primary, systemIdentifier, cluster: name });
      return reply.type('text/plain; charset=utf-8').send(`${oneLine(primary.name ?? '-')} ${primary.certainty}\n`);
    },
  });

  app.get<{ Querystring: Static<typeof EventsQuery> }>('/api/telemetry/replication/events', {
    config: { access: 'read' },
    schema: {
      tags: ['replication'],
      summary: 'What happened to replication, the newest first',
      description: 'Promotions, failovers, split brains, slots lost and the like, once each, kept for a year.',
      querystring: EventsQuery,
      response: { 200: Type.Object({ events: Type.Array(ReplicationEvent) }) },
    },
    handler: async ({ query: { cluster, kind, before, limit = EVENTS_DEFAULT } }) => {
      if (before !== undefined && !isId(before) && Number.isNaN(Date.parse(before)))
        throw new ProblemError('query_invalid', `"${before.slice(0, 40)}" is no time: write it like 2026-11-21T03:00:00Z.`);
      const systemIdentifier = cluster === undefined ? undefined : identifierOf(view, cluster);
      return { events: [...(await events.list({ cluster: systemIdentifier, kind, before, limit }))] };
    },
  });
}

/** Text unless JSON is asked for at least as much. */
function prefersJson(accept: string | undefined): boolean {
  const weightOf = (type: string): number => {
    const range = (accept ?? '').split(',').find((one) => one.split(';')[0]!.trim().toLowerCase() === type);
    if (range === undefined) return 0;
    const weight = Number(/;\s*q=([\d.]+)/i.exec(range)?.[1] ?? 1);
    return Number.isFinite(weight) ? weight : 0;
  };
  const json = weightOf('application/json');
  return json > 0 && json >= weightOf('text/plain');
}

/** Names come from agents, and a line has to stay one. */
const oneLine = (name: string): string => name.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, '\uFFFD');

/** A cluster that nobody watches any more has a past all the same. */
function identifierOf(view: ReplicationRoutesOptions['view'], name: string): string {
  const known = view.find(name);
  return known.length === 0 && /^\d{10,20}$/.test(name) ? name : onlyOne(view, name).systemIdentifier;
}

function found(view: ReplicationRoutesOptions['view'], name: string): ReplicationCluster[] {
  const clusters = view.find(name);
  if (clusters.length === 0)
    throw new ProblemError('cluster_unknown', `There is no PostgreSQL cluster, server or node called "${name}" here.`);
  return clusters;
}

function onlyOne(view: ReplicationRoutesOptions['view'], name: string | undefined): ReplicationCluster {
  const clusters = name === undefined ? view.page().clusters : found(view, name);
  if (clusters.length === 1) return clusters[0]!;
  if (clusters.length === 0) throw new ProblemError('cluster_unknown', 'No PostgreSQL cluster is watched.');
  const choices = clusters.map((one) => one.systemIdentifier).slice(0, 10);
  throw new ProblemError('query_invalid', `Which cluster? There are ${clusters.length}; name one with ?cluster=: ${choices.join(', ')}.`);
}
