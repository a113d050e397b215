/** What can be asked of the live view: the overview, Prometheus's page, and the list of targets for its service discovery. */
import { Readable, pipeline } from 'node:stream';
import { createGzip, constants } from 'node:zlib';
import { Overview, ProblemError } from '@tidemark/protocol';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import type { NodeRecord } from '../fleet/node.ts';
import { EXPOSITION_CONTENT_TYPE } from './exposition.ts';
import type { Fleet, MetricsPage } from './metrics-page.ts';
import type { FleetOverview } from './overview.ts';

export interface LiveRoutesOptions {
  fleet: Fleet;
  overview: FleetOverview;
  page: MetricsPage;
  /** Where this collector is reached from outside: the public URL, or what it listens on. */
  baseUrl: () => URL;
}

const MetricsQuery = Type.Object({ node: Type.Optional(Type.String({ description: 'Only this node, without the collector itself.' })) });
const Text = { content: { 'text/plain': { schema: Type.String() } } };

/** Prometheus's http_sd_config form. */
const PrometheusTargets = Type.Array(
  Type.Object({ targets: Type.Array(Type.String({ description: 'host:port' })), labels: Type.Record(Type.String(), Type.String()) }),
);
export type PrometheusTargets = Static<typeof PrometheusTargets>;

export function liveRoutes(app: FastifyInstance, { fleet, overview, page, baseUrl }: LiveRoutesOptions): void {
  app.get('/api/telemetry/overview', {
    config: { access: 'read' },
    schema: {
      tags: ['fleet'],
      summary: 'The fleet at a glance',
      description: 'Every node with its headline figures as last reported. What is not known, and every figure of a silent node, is null.',
      response: { 200: Overview },
    },
    handler: async (_, reply) => reply.type('application/json; charset=utf-8').send(overview.json()),
  });

  app.get<{ Querystring: Static<typeof MetricsQuery> }>('/metrics', {
    config: { access: 'read' },
    schema: {
      tags: ['prometheus'],
      summary: "Every current series in Prometheus's text format",
      description: 'The whole fleet and the collector itself, or one node. A silent node has no series but tidemark_node_up 0.',
      querystring: MetricsQuery,
      response: { 200: Text },
    },
    handler: async (request, reply) => {
      const { node } = request.query;
      if (node === undefined) return sendPage(request, reply, page.all());
      const record = fleet.byName(node);
      if (record === undefined) throw new ProblemError('node_unknown', `There is no node "${node}".`);
      return sendPage(request, reply, page.one(record));
    },
  });

  app.get('/api/telemetry/prometheus/targets', {
    config: { access: 'read' },
    schema: {
      tags: ['prometheus'],
      summary: 'Targets for http_sd_configs: one a node, each scraped through this collector',
      description: 'The instance is the node, so dashboards made for node_exporter work as they are. __meta_tidemark_* can be relabelled.',
      response: { 200: PrometheusTargets },
    },
    handler: async () => prometheusTargets(fleet.all(), baseUrl()),
  });
}

/**
 * One group a node. The `node` and `site` labels are on the series themselves; as target labels they
 * would collide with those and Prometheus would rename the series' own.
 */
export function prometheusTargets(nodes: Iterable<NodeRecord>, baseUrl: URL): PrometheusTargets {
  const scheme = baseUrl.protocol.slice(0, -1);
  const target = `${baseUrl.hostname}:${baseUrl.port || (scheme === 'https' ? '443' : '80')}`;
  const path = `${baseUrl.pathname.replace(/\/+$/, '')}/metrics`;
  return [...nodes]
    .filter(({ state }) => state === 'approved')
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, site }) => ({
      targets: [target],
      labels: {
        instance: name,
        __scheme__: scheme,
        __metrics_path__: path,
        __param_node: name,
        __meta_tidemark_node: name,
        __meta_tidemark_site: site,
      },
    }));
}

function sendPage(request: FastifyRequest, reply: FastifyReply, pieces: AsyncIterable<string>): FastifyReply {
  const page = Readable.from(pieces, { objectMode: false });
  reply.type(EXPOSITION_CONTENT_TYPE).header('vary', 'Accept-Encoding');
  if (!/\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/.test(request.headers['accept-encoding'] ?? '')) return reply.send(page);
  // 8 MB become 1 in 40 ms of a worker thread; a higher level gains little for several times that.
  const gzip = createGzip({ level: constants.Z_BEST_SPEED });
  pipeline(page, gzip, (error) => {
    if (error !== null && error !== undefined) request.log.debug({ err: error }, 'the metrics page was not read to its end');
  });
  return reply.header('content-encoding', 'gzip').send(gzip);
}
