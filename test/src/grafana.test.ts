/**
 * Grafana without Grafana, with everything else real: a collector, agents, a PostgreSQL primary and its standby, and a
 * Prometheus that found them by service discovery. Every query of every panel is put as Grafana would put it, and
 * answers; so do the queries that the common node_exporter dashboards put.
 */
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { REPLICATION_SERIES, testCertificate } from '@tidemark/collector';
import { DASHBOARDS, dashboardJson, staleDashboards, writeDashboards } from '@tidemark/dashboards';
import type { AlertList, Overview } from '@tidemark/protocol';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { panelsOf, queriesOf, type DashboardJson, type VariableModel } from './grafana/dashboards.ts';
import { KERNEL_FILES, NODE_EXPORTER_QUERIES, NODE_EXPORTER_VARIABLES } from './grafana/node-exporter-queries.ts';
import { substitute, substituteSql, type Variables } from './grafana/substitute.ts';
import { PostgresCluster, waitUntil, type PostgresInstance } from './postgres/cluster.ts';
import { runToEnd, startAgent, startCollector, type Program, type RunningCollector } from './programs.ts';
import { startPrometheus, type RunningPrometheus } from './prometheus.ts';

const NAMES = Object.keys(DASHBOARDS);
const parsed = (name: string): DashboardJson => JSON.parse(dashboardJson(name)) as DashboardJson;
const isSql = (name: string): boolean => name === 'store';

describe('the dashboards as files', () => {
  test('are what the code makes: npm run docs writes them', () => {
    expect(staleDashboards()).toEqual([]);
  });

  test('are written where they are missing, and only there', () => {
    const directory = mkdtempSync(join(tmpdir(), 'tidemark-dashboards-'));
    try {
      expect(writeDashboards(directory)).toEqual(NAMES);
      expect(writeDashboards(directory)).toEqual([]);
      expect(readFileSync(join(directory, 'fleet.json'), 'utf8')).toBe(dashboardJson('fleet'));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  describe.each(NAMES)('%s', (name) => {
    const dashboard = parsed(name);

    test('has a uid that stays, the tag that links it to the others, and panels of kinds that Grafana keeps', () => {
      expect(dashboard).toMatchObject({ uid: `tidemark-${name}`, tags: ['tidemark'], links: [{ type: 'dashboards', tags: ['tidemark'] }] });
      const kinds = new Set(panelsOf(dashboard).map(({ type }) => type));
      expect(['timeseries', 'stat', 'table', 'bargauge', 'state-timeline', 'row']).toEqual(expect.arrayContaining([...kinds]));
    });

    test('every panel says what it shows, asks the source that was chosen, and has an id of its own', () => {
      const panels = panelsOf(dashboard);
      expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
      for (const panel of panels.filter(({ type }) => type !== 'row')) {
        expect(panel.title, `panel ${panel.id}`).toMatch(/\S/);
        expect(panel.description, panel.title).toMatch(/\.$/);
        expect(panel.targets?.length, panel.title).toBeGreaterThan(0);
        for (const { datasource } of panel.targets!) expect(datasource.uid, panel.title).toBe('${datasource}');
      }
    });

    test('panels neither overlap nor leave the grid', () => {
      const taken = new Map<string, string>();
      for (const { title = '', gridPos } of panelsOf(dashboard)) {
        expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
        for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
          for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
            expect(taken.get(`${x} ${y}`), `${title} lies on another panel`).toBeUndefined();
            taken.set(`${x} ${y}`, title);
          }
        }
      }
    });
  });

  test('every link leads to a dashboard that there is', () => {
    const uids = NAMES.map((name) => `tidemark-${name}`);
    const linked = NAMES.flatMap((name) => [...dashboardJson(name).matchAll(/"\/d\/([\w-]+)/g)].map((match) => match[1]!));
    expect(linked.length).toBeGreaterThan(5);
    expect(uids).toEqual(expect.arrayContaining(linked));
  });

  test('thresholds are those of the shipped rules', () => {
    const bounds = (name: string, title: string): (number | null)[] =>
      panelsOf(parsed(name))
        .find((panel) => panel.title === title)!
        .fieldConfig!.defaults.thresholds!.steps.map(({ value }) => value);
    expect(bounds('node', 'CPU usage')).toEqual([null, 0.7, 0.9]);
    expect(bounds('node', 'Memory usage')).toEqual([null, 0.75, 0.9]);
    expect(bounds('node', 'Used over time')).toEqual([null, 0.7, 0.85]);
    expect(bounds('postgresql', 'Bytes behind')).toEqual([null, 104_857_600]);
  });
});

/** The statements of a document, block by block. */
function statementsIn(document: string): string[] {
  const text = readFileSync(new URL(`../../docs/how-to/${document}`, import.meta.url), 'utf8');
  return [...text.matchAll(/^```sql\n([\s\S]*?)^```$/gm)].map((match) => match[1]!);
}

describe.each(PostgresCluster.versions())("the views in a PostgreSQL %i of one's own", (version) => {
  const [makeReader, makeUser, example] = statementsIn('grafana.md');
  let cluster: PostgresCluster;
  let server: PostgresInstance;

  beforeAll(async () => {
    cluster = new PostgresCluster();
    server = await cluster.startPrimary({ version, name: 'own' });
    // As docs/how-to/external-postgresql.md says. The schema must not be called like this role.
    await cluster.sql(server, 'CREATE ROLE tidemark LOGIN');
  });
  afterAll(() => cluster?.stopAll());

  const urlOf = (user: string, database: string): string => `postgresql://${user}@${server.host}:${server.port}/${database}`;

  async function migrated(database: string): Promise<string> {
    await cluster.sql(server, `CREATE DATABASE ${database} OWNER tidemark`);
    const environment = { TIDEMARK_DATABASE_URL: urlOf('tidemark', database) };
    const first = await runToEnd('collector', ['migrate'], environment);
    expect(first, first.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('views') as string });
    return (await runToEnd('collector', ['migrate'], environment)).stdout;
  }

  async function as(user: string, database: string, statement: string): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: urlOf(user, database) });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(statement)).rows;
    } finally {
      await client.end();
    }
  }

  test('are made by a role that may make no roles, and its own names stay its own', async () => {
    expect(await migrated('first')).toBe('The database is up to date.\n');
    expect(await cluster.sql(server, "SELECT FROM pg_roles WHERE rolname = 'tidemark_grafana'")).toEqual([]);
    expect(await as('tidemark', 'first', "SELECT 'nodes'::regclass = 'public.nodes'::regclass AS own")).toEqual([{ own: true }]);
  });

  test('are read by the role that the how-to has an administrator make, and by nobody else', async () => {
    await cluster.sql(server, makeReader!, [], 'first');
    await cluster.sql(server, makeUser!, [], 'first');
    await as('tidemark', 'first', "INSERT INTO nodes (name, created_at, state_changed_at) VALUES ('db1', now(), now())");
    expect(await as('grafana', 'first', 'SELECT node FROM tidemark_views.nodes')).toEqual([{ node: 'db1' }]);
    expect(await as('grafana', 'first', example!)).toEqual([]);
    await expect(as('grafana', 'first', 'SELECT FROM public.nodes')).rejects.toThrow(/permission denied for table nodes/);
    await cluster.sql(server, 'CREATE ROLE stranger LOGIN');
    await expect(as('stranger', 'first', 'SELECT FROM tidemark_views.nodes')).rejects.toThrow(/permission denied for schema/);
  });

  test('are granted to the role at once where it is there already', async () => {
    await migrated('second');
    expect(await as('grafana', 'second', 'SELECT node FROM tidemark_views.samples')).toEqual([]);
  });
});

describe('the dashboards in use', () => {
  let directory: string;
  let cluster: PostgresCluster;
  let primary: PostgresInstance;
  let standby: PostgresInstance;
  let collector: RunningCollector;
  let prometheus: RunningPrometheus;
  let startedAt: Date;
  let shop: Server;
  const agents = new Map<string, Program>();

  /** An endpoint with a certificate, and one that nobody answers. */
  async function startEndpoints(): Promise<{ url: string; name: string; caFile?: string }[]> {
    const { ca, cert, key } = testCertificate('127.0.0.1');
    const caFile = join(directory, 'ca.pem');
    writeFileSync(caFile, ca);
    shop = createServer({ cert, key }, (_, response) => response.end('open'));
    await new Promise<void>((resolve) => shop.listen(0, '127.0.0.1', resolve));
    const { port } = shop.address() as AddressInfo;
    return [
      { url: `https://127.0.0.1:${port}/`, name: 'shop', caFile },
      { url: 'http://127.0.0.1:1/', name: 'nobody' },
    ];
  }

  async function addAgent(
    name: string,
    site: string,
    postgres: readonly PostgresInstance[],
    http: Awaited<ReturnType<typeof startEndpoints>> = [],
  ): Promise<void> {
    const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name, ...(site === '' ? {} : { site }) });
    const options = { collectorUrl: collector.url, token, hostname: name, directory: join(directory, name), intervalSeconds: 1 };
    agents.set(name, startAgent({ ...options, postgres: postgres.map(({ url }) => ({ url, name: 'main' })), http }));
  }

  const overview = (): Promise<Overview> => collector.api<Overview>('GET', '/api/telemetry/overview');

  beforeAll(async () => {
    startedAt = new Date();
    directory = mkdtempSync(join(tmpdir(), 'tidemark-grafana-'));
    mkdirSync(join(directory, 'collector'));
    cluster = new PostgresCluster();
    [primary, collector] = await Promise.all([
      cluster.startPrimary({ version: PostgresCluster.versions().at(-1)!, name: 'primary', settings: { wal_level: 'logical' } }),
      startCollector({ dataDir: join(directory, 'collector') }),
    ]);
    standby = await cluster.addStandby(primary, { name: 'standby', slot: 'standby' });
    await addAgent('db1', 'berlin', [primary], await startEndpoints());
    await addAgent('db2', 'hamburg', [standby]);
    await addAgent('app1', '', []);
    await addAgent('gone1', 'berlin', []);
    const { token } = await collector.api<{ token: string }>('POST', '/api/tokens', { name: 'grafana', role: 'read' });
    prometheus = await startPrometheus({
      directory: join(directory, 'prometheus'),
      collectorUrl: collector.url,
      token,
      rules: await collector.text('/prometheus/rules.yml'),
    });
    await cluster.sql(primary, 'CREATE TABLE load AS SELECT i FROM generate_series(1, 50000) i');
    await waitUntil(async () => (await prometheus.query('tidemark_node_up{job="node",node="gone1"} == 1')).length === 1, {
      what: 'Prometheus to have seen all nodes',
      timeoutMs: 60_000,
    });
    await agents.get('gone1')!.stop();
    await waitUntil(async () => (await prometheus.query('tidemark_node_up{job="node",node="gone1"} == 0')).length === 1, {
      what: 'one of them to be silent',
      timeoutMs: 60_000,
    });
    await waitUntil(async () => (await overview()).nodes.find(({ name }) => name === 'db1')?.postgres[0]?.replicas.length === 1, {
      what: 'the replica to be seen',
      timeoutMs: 60_000,
    });
    // What a dashboard about replication has lines for: somebody that commits wait for, a logical slot, and that it was made.
    await cluster.configure(primary, { synchronous_standby_names: 'standby' });
    await cluster.sql(primary, "SELECT pg_create_logical_replication_slot('consumer', 'test_decoding')");
    await waitUntil(async () => (await prometheus.query('tidemark_replication_events_total{kind="slot_created"}')).length > 0, {
      what: 'the slot to be an event',
      timeoutMs: 60_000,
    });
  });

  afterAll(async () => {
    await prometheus?.stop();
    shop?.closeAllConnections();
    shop?.close();
    await Promise.all([...agents.values()].map((agent) => agent.stop()));
    await collector?.stop();
    await cluster?.stopAll();
    rmSync(directory, { recursive: true, force: true });
  });

  const ask = async <T>(path: string, parameters: Record<string, string>): Promise<T> => {
    const response = await fetch(`${prometheus.url}/api/v1/${path}?${new URLSearchParams(parameters).toString()}`);
    const answer = (await response.json()) as { status: string; error?: string; data: T };
    if (answer.status !== 'success') throw new Error(`${JSON.stringify(parameters)}: ${answer.error}`);
    return answer.data;
  };

  /** What a panel draws: every value of every series in the answer. */
  async function values(expr: string, instant: boolean): Promise<number[]> {
    const now = Date.now() / 1_000;
    if (instant) {
      const { result } = await ask<{ result: { value: [number, string] }[] }>('query', { query: expr });
      return result.map(({ value }) => Number(value[1]));
    }
    const span = { start: String(now - 60), end: String(now), step: '1' };
    const { result } = await ask<{ result: { values: [number, string][] }[] }>('query_range', { query: expr, ...span });
    return result.flatMap((series) => series.values.map(([, value]) => Number(value)));
  }

  async function labelValues(series: string, label: string): Promise<string[]> {
    const found = await ask<Record<string, string>[]>('series', { 'match[]': series });
    return [...new Set(found.map((labels) => labels[label] ?? ''))].filter((value) => value !== '').toSorted();
  }

  /** Variables in the order they depend on each other, each with what Grafana would choose: all, or what the test wants. */
  async function choose(list: readonly VariableModel[], wanted: Record<string, string>): Promise<Variables> {
    const chosen: Record<string, Variables[string]> = {};
    for (const { name, type, query, includeAll, allValue } of list) {
      if (type === 'datasource') continue;
      const text = typeof query === 'string' ? query : query.query;
      const [, series, label] = /^label_values\((.+), (\w+)\)$/.exec(text)!;
      const options = await labelValues(substitute(series!, chosen), label!);
      expect(options.length, `${name} has something to choose from`).toBeGreaterThan(0);
      if (wanted[name] !== undefined) expect(options).toContain(wanted[name]);
      chosen[name] = includeAll
        ? { values: options, ...(allValue === undefined ? {} : { all: allValue }) }
        : { values: [wanted[name] ?? options[0]!] };
    }
    return chosen;
  }

  /** A kernel without a feature has no metrics of it; everything else has to answer. */
  const isTold = (expr: string): boolean =>
    Object.entries(KERNEL_FILES).every(([prefix, file]) => !expr.includes(prefix) || (existsSync(file) && tellsOf(file, prefix)));
  const tellsOf = (file: string, prefix: string): boolean =>
    !prefix.startsWith('node_vmstat_') || readFileSync(file, 'utf8').includes(prefix.slice('node_vmstat_'.length));

  /** Drawn only for a slot that is in danger: then that Prometheus understands the question, and that there is such a series, is all. */
  const IN_DANGER = /^(tidemark_replication_slot_(?:lost_in|disk_full_in)_seconds)\{[^{}]*\}$/;

  async function expectData(what: string, expr: string, instant: boolean): Promise<void> {
    if (!isTold(expr)) return;
    const danger = IN_DANGER.exec(expr)?.[1];
    if (danger !== undefined) {
      await values(expr, instant);
      expect(REPLICATION_SERIES.map(({ name }) => name)).toContain(danger);
      return;
    }
    // No operation took no time, and nothing of no swap is no share: Grafana draws nothing, and is right.
    const mayBeNoNumber = / \/ /.test(expr) && /time_seconds_total|Swap/.test(expr);
    await waitUntil(
      async () => {
        const found = await values(expr, instant);
        return found.length > 0 && (mayBeNoNumber || found.some((value) => Number.isFinite(value)));
      },
      { what: `data for ${what}: ${expr}`, timeoutMs: 20_000 },
    );
  }

  describe.each(['node', 'tidemark'])('with the job "%s"', (job) => {
    const wanted = { node: 'db1', job };

    describe.each(NAMES.filter((name) => !isSql(name)))('%s', (name) => {
      const dashboard = parsed(name);

      test.each(queriesOf(dashboard).map(({ panel, target }) => [`${panel.title!} ${target.refId}`, target] as const))(
        '%s has data',
        async (title, { expr, instant }) => {
          const variables = await choose(dashboard.templating.list, wanted);
          await expectData(`${name}: ${title}`, substitute(expr!, variables), instant === true);
        },
      );
    });
  });

  test('a fleet that is scraped both ways is counted once', async () => {
    const nodes = queriesOf(parsed('fleet')).find(({ panel }) => panel.title === 'Nodes reporting')!.target.expr!;
    for (const job of ['node', 'tidemark']) {
      const variables = await choose(parsed('fleet').templating.list, { job });
      expect(await values(substitute(nodes, variables), true)).toEqual([3]);
    }
  });

  test('columns of tables are there', async () => {
    for (const name of NAMES.filter((one) => !isSql(one))) {
      const dashboard = parsed(name);
      const variables = await choose(dashboard.templating.list, { job: 'node', node: 'db1' });
      for (const panel of panelsOf(dashboard).filter(({ type }) => type === 'table')) {
        const there = new Set<string>();
        for (const { refId, expr } of panel.targets!) {
          const { result } = await ask<{ result: { metric: Record<string, string> }[] }>('query', { query: substitute(expr!, variables) });
          for (const { metric } of result) for (const label of Object.keys(metric)) there.add(label);
          there.add(panel.targets!.length === 1 ? 'Value' : `Value #${refId}`);
        }
        const kept = panel.transformations!.find(({ id }) => id === 'filterFieldsByName')!.options['include'] as { names: string[] };
        // Only replicas that nobody watches have that one, and here all are.
        const expected = kept.names.filter((column) => column !== 'replica');
        expect([...there], `${name}: ${panel.title!}`).toEqual(expect.arrayContaining(expected));
      }
    }
  });

  describe('dashboards made for node_exporter', () => {
    test.each(Object.entries(NODE_EXPORTER_QUERIES))('%s', async (panel, queries) => {
      const [job] = await labelValues(NODE_EXPORTER_VARIABLES.job, 'job');
      const variables: Record<string, Variables[string]> = { job: { values: [job!] } };
      const [nodename] = await labelValues(substitute(NODE_EXPORTER_VARIABLES.nodename, variables), 'nodename');
      variables['nodename'] = { values: [nodename!] };
      const instances = await labelValues(substitute(NODE_EXPORTER_VARIABLES.instance, variables), 'instance');
      expect(instances).toContain('db1');
      variables['node'] = { values: ['db1'] };
      for (const query of queries) await expectData(panel, substitute(query, variables), false);
    });
  });

  test('the rules that the collector serves are judged by Prometheus, and the node that is silent is told and marked', async () => {
    const { groups } = await ask<{ groups: { rules: { name: string; health: string; lastError?: string }[] }[] }>('rules', {});
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.filter(({ health }) => health === 'err')).toEqual([]);
    expect(rules.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['TidemarkCpuUsage', 'TidemarkPostgresDown', 'TidemarkNodeSilent']),
    );
    const [marks] = parsed('node').annotations.list;
    const variables = await choose(parsed('node').templating.list, { job: 'node', node: 'gone1' });
    const fired = await waitUntil(
      async () => {
        const firing = await prometheus.query(substitute(marks!.expr, variables));
        return firing.length > 0 && firing;
      },
      { what: 'the silent node to be told', timeoutMs: 120_000 },
    );
    expect(fired[0]!.metric).toMatchObject({ alertname: 'TidemarkNodeSilent', node: 'gone1', site: 'berlin', severity: 'warning' });
  });

  describe('store', () => {
    const dashboard = parsed('store');
    let reader: pg.ClientConfig;

    beforeAll(async () => {
      await collector.sql("CREATE ROLE grafana LOGIN PASSWORD 'reads-views' IN ROLE tidemark_grafana");
      const { hostname, port } = new URL(collector.ready.agentPostgres!.url);
      const host = decodeURIComponent(hostname);
      reader = { host, port: Number(port || 5432), user: 'grafana', password: 'reads-views', database: 'tidemark' };
    });

    async function read(statement: string): Promise<{ rows: Record<string, unknown>[]; fields: string[] }> {
      const client = new pg.Client(reader);
      await client.connect();
      try {
        const { rows, fields } = await client.query<Record<string, unknown>>(statement);
        return { rows, fields: fields.map(({ name }) => name) };
      } finally {
        await client.end();
      }
    }

    async function variables(): Promise<Variables> {
      const chosen: Record<string, Variables[string]> = {};
      for (const { name, type, query } of dashboard.templating.list) {
        if (type === 'datasource') continue;
        const { rows } = await read(substitute(query as string, chosen));
        chosen[name] = { values: rows.map((row) => String(Object.values(row)[0])) };
      }
      return chosen;
    }

    test('its variables are sites and nodes, those without a site as well', async () => {
      expect(await variables()).toEqual({
        site: { values: ['(none)', 'berlin', 'hamburg'] },
        node: { values: ['app1', 'db1', 'db2', 'gone1'] },
      });
    });

    test.each(queriesOf(dashboard).map(({ panel, target }) => [panel.title!, panel, target] as const))(
      '%s has data, for the role that may read views alone',
      async (title, panel, { rawSql, format }) => {
        const chosen = await variables();
        const { rows, fields } = await waitUntil(
          async () => {
            const answer = await read(substituteSql(rawSql!, chosen, startedAt, new Date()));
            return answer.rows.length > 0 && answer.rows.some((row) => Object.values(row).some((value) => value !== null)) && answer;
          },
          // An alert takes its minutes.
          { what: `data for ${title}`, timeoutMs: 150_000 },
        );
        if (panel.type === 'table') {
          const kept = panel.transformations!.find(({ id }) => id === 'filterFieldsByName')!.options['include'] as { names: string[] };
          expect(fields).toEqual(expect.arrayContaining(kept.names));
        }
        if (format === 'time_series') {
          expect(fields).toEqual(['time', 'metric', 'value']);
          const times = rows.map((row) => (row['time'] as Date).getTime());
          expect(times).toEqual(times.toSorted((a, b) => a - b));
        }
      },
    );

    test('an alert in it is the one that the collector tells of', async () => {
      const { rows } = await read("SELECT node, level, state, why FROM tidemark_views.alerts WHERE rule = 'node-silent'");
      const { alerts } = await collector.api<AlertList>('GET', '/api/alerts');
      const silent = alerts.find(({ rule }) => rule === 'node-silent')!;
      expect(rows).toEqual([{ node: 'gone1', level: silent.level, state: 'open', why: silent.why }]);
    });

    test('what it reads is what the agents saw', async () => {
      const { rows: replicas } = await read('SELECT node, application_name, state, slot_name FROM tidemark_views.postgresql_replicas');
      expect(replicas).toEqual([{ node: 'db1', application_name: 'standby', state: 'streaming', slot_name: 'standby' }]);
      const { rows: systems } = await read(
        'SELECT count(DISTINCT system_identifier)::int AS systems FROM tidemark_views.postgresql_servers',
      );
      expect(systems).toEqual([{ systems: 1 }]);
      const { rows: compared } = await read(
        `SELECT s.value::bigint::text = (i.memory_bytes)::text AS same FROM tidemark_views.inventory i
         JOIN tidemark_views.samples s ON s.node_id = i.node_id AND s.metric = 'node_memory_MemTotal_bytes' WHERE i.node = 'db1' LIMIT 1`,
      );
      expect(compared).toEqual([{ same: true }]);
    });
  });
});
