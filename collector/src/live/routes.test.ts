/** The live view over HTTP: forms, compression, and addresses for Prometheus. Who may ask is tested with the HTTP layer. */
import { gunzipSync } from 'node:zlib';
import { ManualClock } from '@tidemark/service';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LiveView } from './live-view.ts';
import { MetricsPage } from './metrics-page.ts';
import { FleetOverview } from './overview.ts';
import { OwnMetrics } from './own-metrics.ts';
import { liveRoutes, prometheusTargets } from './routes.ts';
import { START, fleetOf, layoutOf, nodeOf, reportOf, seriesOf } from './testing.ts';

let app: FastifyInstance;

beforeEach(() => {
  const clock = new ManualClock(START);
  const view = new LiveView(clock);
  const nodes = [nodeOf(1, 'db1'), nodeOf(2, 'a&b "c"', { site: '' }), nodeOf(3, 'new', { state: 'pending' })];
  const fleet = fleetOf(...nodes);
  const layout = layoutOf(
    'x',
    Array.from({ length: 3_000 }, (_, i) => seriesOf('thing', [['i', `${i} 👾`]])),
  );
  for (const node of nodes.slice(0, 2)) view.accept(reportOf(node, 1, [[layout, layout.series.map((_, i) => i)]]));
  const own = new OwnMetrics({ version: '1', gauges: { databaseUp: () => true, reportsWaiting: () => 0, liveSeries: () => 1 } });
  app = Fastify();
  liveRoutes(app, {
    fleet,
    page: new MetricsPage(view, fleet, own.registry),
    overview: new FleetOverview(view, fleet, clock),
    baseUrl: () => new URL('https://watch.example/tidemark/'),
  });
});
afterEach(() => app.close());

test('the page comes plain or compressed, the same either way', async () => {
  const plain = await app.inject({ url: '/metrics?node=db1' });
  expect(plain.statusCode).toBe(200);
  expect(plain.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(plain.body.split('\n').filter((line) => line.startsWith('thing{'))).toHaveLength(3_000);
  const zipped = await app.inject({ url: '/metrics?node=db1', headers: { 'accept-encoding': 'deflate, gzip;q=0.5' } });
  expect(zipped.headers['content-encoding']).toBe('gzip');
  expect(gunzipSync(zipped.rawPayload).toString()).toBe(plain.body);
  const refused = await app.inject({ url: '/metrics?node=db1', headers: { 'accept-encoding': 'gzip;q=0' } });
  expect(refused.headers['content-encoding']).toBeUndefined();
});

test('the whole page has the fleet and the collector', async () => {
  const { body } = await app.inject({ url: '/metrics' });
  expect(body).toContain('tidemark_collector_build_info{version="1"} 1\n');
  expect(body).toContain('thing{node="a&b \\"c\\"",site="",i="0 👾"} 0\n');
});

test('a node that nobody knows has no page', async () => {
  const { statusCode, body } = await app.inject({ url: '/metrics?node=none' });
  expect(statusCode).toBe(500);
  expect(body).toContain('There is no node');
});

test('the overview is JSON', async () => {
  const answer = await app.inject({ url: '/api/telemetry/overview' });
  expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
  expect(answer.json<{ nodes: { name: string }[] }>().nodes.map(({ name }) => name)).toEqual(['a&b "c"', 'db1', 'new']);
});

test('Prometheus gets one target group a node, without labels that would collide with those of the series', async () => {
  const answer = await app.inject({ url: '/api/telemetry/prometheus/targets' });
  expect(answer.headers['content-type']).toMatch(/^application\/json/);
  const groups = answer.json<{ targets: string[]; labels: Record<string, string> }[]>();
  expect(groups).toHaveLength(2);
  expect(groups[1]).toEqual({
    targets: ['watch.example:443'],
    labels: {
      instance: 'db1',
      __scheme__: 'https',
      __metrics_path__: '/tidemark/metrics',
      __param_node: 'db1',
      __meta_tidemark_node: 'db1',
      __meta_tidemark_site: 'north',
    },
  });
});

test.each([
  ['http://10.0.0.1:5000', '10.0.0.1:5000', '/metrics'],
  ['http://[::1]:5000/', '[::1]:5000', '/metrics'],
  ['http://collector', 'collector:80', '/metrics'],
])('the address %s', (base, target, path) => {
  const [group] = prometheusTargets([nodeOf(1, 'a')], new URL(base));
  expect([group!.targets[0], group!.labels['__metrics_path__']]).toEqual([target, path]);
});

test('no node, no target', () => expect(prometheusTargets([], new URL('http://a'))).toEqual([]));
