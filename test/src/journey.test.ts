/**
 * The main job, end to end, with real programs: a primary and a standby, three agents, a collector, a
 * Prometheus and a Chromium. Replay is paused, writes go on, and the bytes behind are the same figure in
 * the API, in the store, on /metrics, in Prometheus and on the page.
 */
import { mkdtempSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeDetail, Overview, PostgresReplication, SeriesResponse } from '@tidemark/protocol';
import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PostgresCluster, waitUntil, type PostgresInstance } from './postgres/cluster.ts';
import { startAgent, startCollector, type Program, type RunningCollector } from './programs.ts';
import { startPrometheus, type RunningPrometheus } from './prometheus.ts';

const BEHIND_METRIC = 'tidemark_postgres_replica_bytes_behind';
const AGENT_INTERVAL_SECONDS = 1;

let directory: string;
let cluster: PostgresCluster;
let primary: PostgresInstance;
let standby: PostgresInstance;
let collector: RunningCollector;
let prometheus: RunningPrometheus;
let browser: Browser;
const agents: Program[] = [];

async function startAgents(): Promise<void> {
  const nodes = [
    { name: 'db1', site: 'berlin', postgres: [{ url: primary.url, name: 'main' }] },
    { name: 'db2', site: 'hamburg', postgres: [{ url: standby.url, name: 'main' }] },
    { name: 'app1', site: 'berlin', postgres: [] },
  ];
  for (const { name, site, postgres } of nodes) {
    const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name, site });
    agents.push(
      startAgent({
        collectorUrl: collector.url,
        token,
        hostname: name,
        directory: join(directory, name),
        intervalSeconds: AGENT_INTERVAL_SECONDS,
        postgres,
        site,
      }),
    );
  }
}

const overview = (): Promise<Overview> => collector.api<Overview>('GET', '/api/telemetry/overview');
const nodeIn = async (name: string): Promise<Overview['nodes'][number]> => (await overview()).nodes.find((node) => node.name === name)!;

/** Bytes behind of the standby as the overview has them. */
async function behindInOverview(): Promise<number | null> {
  return (await nodeIn('db1')).postgres[0]?.replicas[0]?.bytesBehind ?? null;
}

describe.each(PostgresCluster.versions())('PostgreSQL %i', (version) => {
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tidemark-journey-'));
    mkdirSync(join(directory, 'collector'));
    cluster = new PostgresCluster();
    [primary, collector] = await Promise.all([
      cluster.startPrimary({ version, name: 'primary' }),
      startCollector({ dataDir: join(directory, 'collector') }),
    ]);
    standby = await cluster.addStandby(primary, { name: 'standby' });
    await startAgents();
    const { token } = await collector.api<{ token: string }>('POST', '/api/tokens', { name: 'prometheus', role: 'read' });
    prometheus = await startPrometheus({ directory: join(directory, 'prometheus'), collectorUrl: collector.url, token });
    browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
  });

  afterAll(async () => {
    await browser?.close();
    await prometheus?.stop();
    await Promise.all(agents.splice(0).map((agent) => agent.stop()));
    await collector?.stop();
    await cluster?.stopAll();
    rmSync(directory, { recursive: true, force: true });
  });

  test('three nodes are on the page with their figures, and the pair is seen from both sides', async () => {
    const nodes = await waitUntil(
      async () => {
        const { nodes: all } = await overview();
        return all.length === 3 &&
          all.every((n) => n.up && n.cpu.usageRatio !== null && n.disk.mounts.length > 0) &&
          all.find((n) => n.name === 'db1')!.postgres[0]?.replicas.length === 1
          ? all
          : undefined;
      },
      { what: 'all nodes to report', timeoutMs: 30_000 },
    );
    for (const node of nodes) {
      expect(node.memory.totalBytes).toBeGreaterThan(100_000_000);
      expect(node.memory.usageRatio).toBeGreaterThan(0);
      expect(node.memory.usageRatio).toBeLessThan(1);
      expect(node.uptimeSeconds).toBeGreaterThan(0);
      expect(Date.now() - Date.parse(node.lastSeenAt!)).toBeLessThan(10_000);
    }
    expect(nodes.find((n) => n.name === 'db1')).toMatchObject({
      site: 'berlin',
      postgres: [{ instance: 'main', role: 'primary', up: true, replicas: [{ name: 'standby', state: 'streaming' }] }],
    });
    expect(nodes.find((n) => n.name === 'db2')).toMatchObject({
      site: 'hamburg',
      postgres: [{ instance: 'main', role: 'replica', up: true, replicas: [] }],
    });
    expect(nodes.find((n) => n.name === 'app1')!.postgres).toEqual([]);
  });

  describe('replay is paused and writes go on', () => {
    /** Asked each time: the server's background writer adds a record of its own within 15 s. */
    const truth = async (): Promise<number> => {
      const [row] = await cluster.sql<{ behind: string }>(
        primary,
        'SELECT pg_wal_lsn_diff(sent_lsn, replay_lsn) AS behind FROM pg_stat_replication',
      );
      return Number(row!.behind);
    };
    const saysTheTruth = (what: string, said: () => Promise<number | null | undefined>): Promise<boolean> =>
      waitUntil(async () => (await said()) === (await truth()), { what, timeoutMs: 30_000 });

    beforeAll(async () => {
      await cluster.pauseReplay(standby);
      await cluster.sql(primary, 'CREATE TABLE load AS SELECT i, repeat(md5(i::text), 20) AS filler FROM generate_series(1, 20000) i');
      await cluster.sql(primary, 'CHECKPOINT');
      await waitUntil(async () => (await truth()) > 1_000_000, { what: 'the standby to have been sent it' });
    });

    test('the overview says how far behind the standby is', async () => {
      await saysTheTruth('the overview', behindInOverview);
    });

    test('the store holds the same, and the document with its LSNs as text', async () => {
      const found = await waitUntil(
        async () => {
          const rows = await collector.sql<{ document: PostgresReplication }>(
            "SELECT l.document FROM observations_latest l JOIN nodes n ON n.id = l.node_id WHERE n.name = 'db1' AND l.kind = 'postgres.replication'",
          );
          return rows[0]?.document.replicas[0]?.bytesBehind === String(await truth()) ? rows[0].document : undefined;
        },
        { what: 'the store to have it' },
      );
      expect(found.replicas[0]!.sentLsn).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
      expect(found.systemIdentifier).toMatch(/^\d{18,}$/);
      const series = await collector.api<SeriesResponse>('GET', `/api/telemetry/series?metric=${BEHIND_METRIC}&node=db1`);
      expect(series.series).toHaveLength(1);
      const values = series.series[0]!.points.map(([, value]) => value as number);
      const said = Number(found.replicas[0]!.bytesBehind);
      expect(values).toContain(said);
      expect(Math.min(...values), 'it was small before').toBeLessThan(said);
    });

    test('/metrics says the same, and promtool finds nothing wrong with the page', async () => {
      let page = '';
      await saysTheTruth('/metrics', async () => {
        page = await collector.text('/metrics');
        const line = page.split('\n').find((l) => l.startsWith(`${BEHIND_METRIC}{node="db1",site="berlin"`));
        return Number(line?.split(' ').at(-1));
      });
      expect(await prometheus.promtool(page)).toEqual([]);
    });

    test('a real Prometheus has it, scraped as one target and as one target a node', async () => {
      await saysTheTruth('the fleet target', async () => (await prometheus.query(`${BEHIND_METRIC}{job="tidemark"}`))[0]?.value);
      await saysTheTruth(
        'the discovered target',
        async () => (await prometheus.query(`${BEHIND_METRIC}{job="node",instance="db1"}`))[0]?.value,
      );
      const instances = ['app1', 'db1', 'db2', new URL(collector.url).host].sort();
      await waitUntil(
        async () => {
          const up = await prometheus.query('up == 1');
          return JSON.stringify(up.map(({ metric }) => metric['instance']).sort()) === JSON.stringify(instances);
        },
        { what: `${instances.join(', ')} to be scraped`, timeoutMs: 30_000 },
      );
      // What a dashboard made for node_exporter asks first.
      const cpu = await prometheus.query('count by (instance) (node_cpu_seconds_total{mode="idle",job="node"})');
      expect(cpu).toHaveLength(3);
    });

    test('the page in Chromium shows it', async () => {
      const context = await browser.newContext();
      const page = await context.newPage();
      const trouble: string[] = [];
      page.on('pageerror', (error) => trouble.push(error.message));
      page.on('request', (request) => {
        if (new URL(request.url()).origin !== collector.url) trouble.push(`asked ${request.url()}`);
      });
      await page.goto(collector.url);
      await page.getByLabel(/token/i).fill(collector.adminToken);
      await page.getByRole('button', { name: /sign in/i }).click();
      await page.getByText('db1', { exact: true }).first().waitFor();
      const row = page.getByRole('row').filter({ hasText: 'db1' });
      const mebibytes = ((await truth()) / 1024 ** 2).toFixed(1);
      await waitUntil(async () => (await row.innerText()).includes(mebibytes), { what: `the row to say ${mebibytes} MiB` });
      expect(await row.innerText()).toMatch(/primary/i);
      expect(trouble).toEqual([]);
      await context.close();
    });

    test('replay goes on and the figure falls', async () => {
      await cluster.resumeReplay(standby);
      await waitUntil(async () => (await behindInOverview()) === 0, { what: 'the standby to catch up' });
    });
  });

  test("a standby that stops is down on its node and gone from the primary's list", async () => {
    await cluster.stop(standby);
    await waitUntil(
      async () => {
        const [db1, db2] = [await nodeIn('db1'), await nodeIn('db2')];
        return db2.up && db2.postgres[0]?.up === false && db1.postgres[0]?.replicas.length === 0;
      },
      { what: 'both sides to see it' },
    );
    const { observations } = await collector.api<NodeDetail>('GET', '/api/telemetry/nodes/db2');
    const document = observations.find(({ kind }) => kind === 'postgres.replication')!.document as PostgresReplication;
    expect(document).toMatchObject({ up: false, reason: 'refused' });
  });
});
