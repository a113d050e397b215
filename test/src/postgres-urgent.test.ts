/** The agent as it is installed, reporting once a minute: what happens to a replica in between is known within seconds. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import type { Acknowledgement, PostgresReplication, PostgresTrack, Report, ReportRequest } from '@tidemark/protocol';
import { afterAll, expect, test } from 'vitest';
import { PostgresCluster, waitUntil } from './postgres/cluster.ts';
import { startAgent } from './programs.ts';

const cluster = new PostgresCluster();
const stops: (() => Promise<unknown> | void)[] = [];
afterAll(async () => {
  for (const stop of stops.toReversed()) await stop();
  await cluster.stopAll();
});

/** Takes every report. */
async function collectorThatTakesAll(): Promise<{ url: string; reports: Report[] }> {
  const reports: Report[] = [];
  const server = createServer((request, response) => {
    void buffer(request).then((body) => {
      const sent = JSON.parse((request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString()) as ReportRequest;
      reports.push(...sent.reports);
      const acknowledgement: Acknowledgement = {
        serverTime: Date.now(),
        node: { name: 'here', state: 'approved', site: '' },
        committed: sent.reports.map(({ bootId, sequence }) => ({ bootId, sequences: [sequence] })),
        refused: [],
        layoutsMissing: [],
        thresholds: [],
        newAddress: null,
      };
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(acknowledgement));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, reports };
}

function documentOf(report: Report | undefined, kind: string): unknown {
  return report?.observations?.find((observation) => observation.kind === kind)?.document;
}

const replicationOf = (report: Report | undefined): PostgresReplication | undefined =>
  documentOf(report, 'postgres.replication') as PostgresReplication | undefined;
const trackOf = (report: Report | undefined): PostgresTrack => documentOf(report, 'postgres.track') as PostgresTrack;

test('a receiver that dies, and a promotion, do not wait for the minute', { timeout: 120_000 }, async () => {
  const a = await cluster.startPrimary({ version: 18, name: 'a' });
  const b = await cluster.addStandby(a, { name: 'b' });
  const { url, reports } = await collectorThatTakesAll();
  const agent = startAgent({
    collectorUrl: url,
    token: 'tma_test',
    hostname: 'here',
    directory: join(cluster.directory, 'agent'),
    intervalSeconds: 60,
    postgres: [{ url: b.url, name: 'b' }],
  });
  stops.push(() => agent.stop());
  await waitUntil(() => replicationOf(reports[0])?.receiver?.status === 'streaming', {
    what: 'the first report',
  });
  await cluster.configure(b, { primary_conninfo: 'host=127.0.0.1 port=1' });
  const dead = await waitUntil(() => reports.find(({ urgent }) => urgent === true), { what: 'the urgent report', timeoutMs: 10_000 });
  expect(replicationOf(dead)?.receiver).toMatchObject({ status: null });
  const track = trackOf(dead);
  expect(track.runs.at(-1)!.samples.at(-1)![0]).toBeLessThan(1_000);

  await cluster.promote(b);
  const promoted = await waitUntil(() => reports.find((report) => replicationOf(report)?.role === 'primary'), {
    what: 'the promotion',
    timeoutMs: 15_000,
  });
  expect(promoted.urgent).toBe(true);
  expect(replicationOf(promoted)).toMatchObject({
    timeline: 2,
    recoveryEndLsn: expect.any(String),
  });
  expect(trackOf(promoted).runs.map(({ role }) => role)).toEqual(['replica', 'primary']);
});
