/** What can be asked of one node and of the past: `GET /api/telemetry/nodes/:name` and `GET /api/telemetry/series`. */
import { NodeDetail, ProblemError, SeriesResponse, toWireValue, type NodeSummary, type Observation } from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { NodeRecord } from '../fleet/node.ts';
import { shownLabels } from '../live/exposition.ts';
import type { LiveView } from '../live/live-view.ts';
import type { Fleet } from '../live/metrics-page.ts';
import { isUp, isoTime } from '../live/overview.ts';
import { SeriesQuery, readQuestion, type SeriesQuestion } from './question.ts';
import type { SeriesStore, StoredSeries } from './store.ts';

export interface SeriesRoutesOptions {
  fleet: Fleet;
  view: LiveView;
  store: SeriesStore;
  clock: Clock;
}

const NodeParams = Type.Object({ name: Type.String({ description: "The node's name." }) });

export function seriesRoutes(app: FastifyInstance, options: SeriesRoutesOptions): void {
  app.get<{ Params: { name: string } }>('/api/telemetry/nodes/:name', {
    config: { access: 'read' },
    schema: {
      tags: ['fleet'],
      summary: 'One node with the newest value of each of its series',
      description: 'Values are those of the last report, at `lastSeenAt`, also when the node has been silent since.',
      params: NodeParams,
      response: { 200: NodeDetail },
    },
    handler: async (request, reply) => {
      const record = options.fleet.byName(request.params.name);
      if (record === undefined) throw new ProblemError('node_unknown', `There is no node "${request.params.name}".`);
      return reply.type('application/json; charset=utf-8').send(JSON.stringify(await nodeDetail(record, options)));
    },
  });

  app.get<{ Querystring: Record<string, unknown> }>('/api/telemetry/series', {
    config: { access: 'read' },
    schema: {
      tags: ['series'],
      summary: 'Time series of a metric',
      description:
        'Every sample, or one point per step. A sample that was not measured, and a bin without samples between others, is null; NaN and the infinities are the words "NaN", "+Inf", "-Inf". At most 200 series and 11,000 points each. `rate` and `by` are worked out here, so that one does not have to fetch the times of every CPU to draw one.',
      querystring: SeriesQuery,
      response: { 200: SeriesResponse },
    },
    handler: async (request, reply) => {
      const question = readQuestion(request.query, options.clock.wallMs());
      return reply.type('application/json; charset=utf-8').send(JSON.stringify(await answer(question, options)));
    },
  });
}

export async function answer(
  question: SeriesQuestion,
  { fleet, store }: Pick<SeriesRoutesOptions, 'fleet' | 'store'>,
): Promise<SeriesResponse> {
  const nodes = new Map(selectedNodes(question, fleet).map((node) => [node.id, node]));
  const { series, truncated } = await store.find({ ...question, nodeIds: [...nodes.keys()] });
  return {
    from: new Date(question.fromMs).toISOString(),
    to: new Date(question.toMs).toISOString(),
    stepSeconds: question.stepMs === undefined ? null : question.stepMs / 1_000,
    series: series.map((one) => shownSeries(one, nodes.get(one.nodeId)!)),
    truncated,
  };
}

function selectedNodes({ node, site }: SeriesQuestion, fleet: Fleet): NodeRecord[] {
  const named = node === undefined ? undefined : fleet.byName(node);
  if (node !== undefined && named === undefined) throw new ProblemError('node_unknown', `There is no node "${node}".`);
  const nodes = named === undefined ? [...fleet.all()].filter(({ state }) => state !== 'retired') : [named];
  return nodes.filter((record) => site === undefined || record.site === site);
}

/** A series under the labels that the metrics page gives it. */
function shownSeries({ metric, labels, unit, type, points, extremes }: StoredSeries, node: NodeRecord): SeriesResponse['series'][number] {
  return {
    metric,
    labels: Object.fromEntries([['node', node.name], ['site', node.site], ...shownLabels(Object.entries(labels))]),
    unit,
    type,
    points: points.map(([ms, value]) => [ms, toWireValue(value)]),
    ...(extremes === undefined ? {} : { extremes }),
  };
}

export async function nodeDetail(record: NodeRecord, { view, store }: Pick<SeriesRoutesOptions, 'view' | 'store'>): Promise<NodeDetail> {
  const node = view.node(record.id);
  const latest: NodeDetail['latest'] = [];
  for (const { layout, values } of node?.blocks ?? []) {
    layout.series.forEach(({ metric, labels, unit, type }, position) => {
      latest.push({ metric, labels, unit, type, value: toWireValue(values[position]) });
    });
  }
  const remembered = node?.observations ?? [];
  const observations = remembered.length > 0 ? remembered : await storedObservations(record.id, store);
  return {
    ...nodeSummary(record, node?.lastSeenAt),
    up: isUp(view, record),
    lostReports: node?.lostReports ?? null,
    clockOffsetSeconds: node?.agentAheadMs === undefined ? null : node.agentAheadMs / 1_000,
    latest,
    observations: observations.map(({ observation: { kind, version, instance, document }, at, since }) => ({
      kind,
      version,
      instance,
      at: new Date(at).toISOString(),
      since: new Date(since).toISOString(),
      document,
    })),
  };
}

/** What memory does not have is worth asking for, but not worth failing for. */
async function storedObservations(nodeId: number, store: SeriesStore): Promise<{ observation: Observation; at: number; since: number }[]> {
  try {
    return await store.observations(nodeId);
  } catch (error) {
    if (error instanceof ProblemError && error.code === 'database_away') return [];
    throw error;
  }
}

export function nodeSummary(record: NodeRecord, lastSeenAt: number | undefined): NodeSummary {
  const { id, name, site, tags, state, createdAt, agentVersion, intervalSeconds, claim } = record;
  return {
    id,
    name,
    site,
    tags,
    state,
    createdAt: new Date(createdAt).toISOString(),
    lastSeenAt: isoTime(lastSeenAt),
    agentVersion,
    intervalSeconds,
    claim: claim ?? null,
  };
}
