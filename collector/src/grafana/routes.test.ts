/** What Grafana and people get: files as they lie there, a page that the strict policy lets be, provisioning that is YAML, and all of it for readers alone. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { expect, onTestFinished, test } from 'vitest';
import { AGENT_TOKEN, READ_TOKEN, testServer } from '../http/testing.ts';
import { grafanaRoutes } from './routes.ts';

const COMMITTED = fileURLToPath(new URL('../../../dashboards/json', import.meta.url));
const READER = { authorization: `Bearer ${READ_TOKEN}` };
const PROVISIONING = ['/grafana/provisioning/datasources/tidemark.yaml', '/grafana/provisioning/dashboards/tidemark.yaml'];

const server = async (dashboardsDir = COMMITTED, base = 'https://monitor.example/') =>
  (await testServer({ routes: (app) => grafanaRoutes(app, { dashboardsDir, baseUrl: () => new URL(base) }) })).app;

test('every dashboard of the list is there, as JSON with the title that the list has', async () => {
  const app = await server();
  const list = await app.inject({ url: '/grafana/dashboards/', headers: { ...READER, accept: 'application/json' } });
  const { dashboards, provisioning } = list.json<{
    dashboards: { name: string; uid: string; title: string; source: string; url: string }[];
    provisioning: string[];
  }>();
  expect(dashboards.map(({ name, uid, source }) => [name, uid, source])).toEqual([
    ['fleet', 'tidemark-fleet', 'Prometheus'],
    ['node', 'tidemark-node', 'Prometheus'],
    ['postgresql', 'tidemark-postgresql', 'Prometheus'],
    ['replication', 'tidemark-replication', 'Prometheus'],
    ['store', 'tidemark-store', 'PostgreSQL'],
  ]);
  for (const { title, url } of dashboards) {
    expect(url).toMatch(/^https:\/\/monitor\.example\/grafana\/dashboards\/[a-z]+\.json$/);
    const answer = await app.inject({ url: new URL(url).pathname, headers: READER });
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.json()).toMatchObject({ title });
  }
  expect(provisioning).toEqual(PROVISIONING.map((path) => `https://monitor.example${path}`));
});

test('the page links to all of it and has nothing that the policy forbids', async () => {
  const app = await server();
  for (const accept of ['text/html,application/xhtml+xml,*/*;q=0.8', '*/*']) {
    const { body, headers } = await app.inject({ url: '/grafana/dashboards/', headers: { ...READER, accept } });
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(headers['content-security-policy']).toContain("style-src 'self'");
    expect(body).not.toMatch(/<script|<style|\bstyle=|\bon\w+=|https?:\/\/(?!monitor\.example)/);
    for (const path of ['/grafana/dashboards/fleet.json', '/grafana/dashboards/store.json', ...PROVISIONING])
      expect(body).toContain(`href="${path}"`);
    expect(body).toContain('https://monitor.example/grafana/dashboards/fleet.json');
  }
});

test('provisioning is YAML for Grafana, with the address of this collector and no secret', async () => {
  const app = await server(COMMITTED, 'http://collector:5000');
  const read = async (path: string): Promise<string> => (await app.inject({ url: path, headers: READER })).body;
  const [sources, provider] = [await read(PROVISIONING[0]!), await read(PROVISIONING[1]!)];
  expect(parse(sources)).toMatchObject({ apiVersion: 1, datasources: [{ uid: 'tidemark-prometheus', type: 'prometheus' }] });
  // With the comment marks off, the second source is well-formed as well.
  const both = parse(sources.replaceAll(/^ {2}# (?= {0,}[-\w])(?!For |made:|The )/gm, '  ').replaceAll(/^ {2}#$/gm, '')) as {
    datasources: { type: string; secureJsonData?: { password: string } }[];
  };
  expect(both.datasources[1]).toMatchObject({
    uid: 'tidemark-postgresql',
    type: 'grafana-postgresql-datasource',
    secureJsonData: { password: '$__file{/etc/grafana/tidemark-password}' },
  });
  expect(parse(provider)).toMatchObject({
    apiVersion: 1,
    providers: [{ type: 'file', options: { path: '/var/lib/grafana/dashboards/tidemark' } }],
  });
  for (const text of [sources, provider]) {
    const commands = [...text.matchAll(/^# {3}(curl .*)$/gm)].map((match) => match[1]!);
    expect(commands.length).toBeGreaterThan(0);
    for (const command of commands) {
      expect(command).toContain(' http://collector:5000/grafana/');
      const path = new URL(/ (http\S+)/.exec(command)![1]!).pathname;
      expect((await app.inject({ url: path, headers: READER })).statusCode, command).toBe(200);
      execFileSync('sh', ['-n'], { input: command });
    }
  }
});

test('nobody without a token, no agent, and no name that leads elsewhere', async () => {
  const app = await server();
  for (const url of ['/grafana/dashboards/', '/grafana/dashboards/fleet.json', ...PROVISIONING]) {
    expect((await app.inject({ url })).statusCode, url).toBe(401);
    expect((await app.inject({ url, headers: { authorization: `Bearer ${AGENT_TOKEN}` } })).statusCode, url).toBe(403);
  }
  for (const name of ['none', '..%2F..%2Fpackage', '__proto__', 'fleet.json']) {
    expect((await app.inject({ url: `/grafana/dashboards/${name}.json`, headers: READER })).statusCode, name).toBe(404);
  }
});

test('what is written in a dashboard is text on the page; an installation without any says so', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-grafana-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const odd = { uid: 'x', title: '<b>"x"</b>', description: '<img src=x>', templating: { list: [] } };
  writeFileSync(join(directory, 'odd.json'), JSON.stringify(odd));
  const page = async (of: string): Promise<string> =>
    (await (await server(of)).inject({ url: '/grafana/dashboards/', headers: READER })).body;
  expect(await page(directory)).toContain('&lt;b&gt;&quot;x&quot;&lt;/b&gt;');
  expect(await page(directory)).not.toContain('<img');
  expect(await page(join(directory, 'none'))).toContain('This installation has none.');
});
