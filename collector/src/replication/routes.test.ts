/** The routes of replication, in front of a real view: what is answered to people, programs and balancers, and to questions that have no answer. */
import { Replication, ReplicationPrimary, type Problem } from '@tidemark/protocol';
import { Value } from 'typebox/value';
import { expect, test } from 'vitest';
import { AGENT_TOKEN, READ_TOKEN, testServer } from '../http/testing.ts';
import { replicationRoutes } from './routes.ts';
import { SYSTEM_IDENTIFIER } from './topology-testing.ts';
import { ViewWorld, observation } from './view-testing.ts';

async function served() {
  const it = new ViewWorld();
  const a = it.world.add('a');
  const b = it.world.standby('b', a);
  it.round();
  it.round();
  const asked: unknown[] = [];
  const list = async (question: unknown) => {
    asked.push(question);
    return await Promise.resolve([]);
  };
  const { app } = await testServer({ routes: (server) => replicationRoutes(server, { view: it.view, events: { list } }) });
  const get = async (path: string, headers: Record<string, string> = {}, token = READ_TOKEN) =>
    await app.inject({
      method: 'GET',
      url: `/api/telemetry/replication${path}`,
      headers: { authorization: `Bearer ${token}`, ...headers },
    });
  return { it, a, b, get, app, asked };
}

test('only who may read is answered', async () => {
  const { get, app } = await served();
  for (const path of ['', '/primary', '/events']) {
    expect((await app.inject({ method: 'GET', url: `/api/telemetry/replication${path}` })).statusCode, path).toBe(401);
    expect((await get(path, {}, AGENT_TOKEN)).statusCode, path).toBe(403);
    expect((await get(path)).statusCode, path).toBe(200);
  }
});

test('the page is what its description says, whole and by every name', async () => {
  const { it, get } = await served();
  const { name } = it.cluster;
  for (const query of ['', `?cluster=${SYSTEM_IDENTIFIER}`, '?cluster=a', '?cluster=2/main', `?cluster=${encodeURIComponent(name)}`]) {
    const answer = await get(query);
    expect(answer.statusCode, query).toBe(200);
    const page: unknown = answer.json();
    expect([...Value.Errors(Replication, page)], query).toEqual([]);
    expect((page as Replication).clusters.map((one) => one.name)).toEqual([name]);
  }
});

test('who is primary: a line, or JSON for whoever asks for it', async () => {
  const { it, get } = await served();
  const line = await get('/primary');
  expect([line.statusCode, line.body, line.headers['content-type'], line.headers['cache-control']]).toEqual([
    200,
    'a sure\n',
    'text/plain; charset=utf-8',
    'no-store',
  ]);
  expect((await get('/primary', { accept: '*/*' })).body).toBe('a sure\n');
  expect((await get('/primary', { accept: 'text/plain, application/json;q=0.5' })).body).toBe('a sure\n');
  for (const accept of ['application/json', 'application/json, text/plain, */*', 'text/html;q=0.1, application/json']) {
    const json = await get('/primary', { accept });
    expect(json.headers['content-type'], accept).toMatch(/^application\/json/);
    expect(json.json(), accept).toMatchObject({
      name: 'a',
      certainty: 'sure',
      systemIdentifier: SYSTEM_IDENTIFIER,
      cluster: it.cluster.name,
    });
    expect([...Value.Errors(ReplicationPrimary, json.json())]).toEqual([]);
  }
});

test('for balancers the status is enough: 200 for the primary, 503 for everybody else and while nobody can tell', async () => {
  const { it, a, get } = await served();
  expect((await get('/primary?is=a')).statusCode).toBe(200);
  expect((await get('/primary?is=b')).statusCode).toBe(503);
  expect((await get('/primary?is=nobody')).statusCode).toBe(503);
  it.world.stop(a);
  for (let i = 0; i < 4; i++) it.round();
  const none = await get('/primary');
  expect([none.statusCode, none.body]).toEqual([503, '- unknown\n']);
  const json = await get('/primary', { accept: 'application/json' });
  expect([json.statusCode, json.json()]).toMatchObject([503, { name: null, certainty: 'unknown' }]);
});

test('a name out of an agent is one line and no more', async () => {
  const { it, a, get } = await served();
  const document = { ...it.world.document(a), systemIdentifier: '88', replicas: [] };
  for (const instance of ['x\nroot sure', 'y'])
    it.view.accept(
      it.reportOf(a, 10_000, { observations: [observation('postgres.replication', instance, { ...document, startedAt: null })] }),
    );
  const { body } = await get('/primary?cluster=88');
  expect(body.match(/\n/g)).toHaveLength(1);
});

test('what has no answer is said, with what to do', async () => {
  const { it, a, get, asked } = await served();
  const problem = async (path: string): Promise<[number, string, string]> => {
    const answer = await get(path);
    const { code, detail } = answer.json<Problem>();
    return [answer.statusCode, code, detail ?? ''];
  };
  expect(await problem('?cluster=zz')).toEqual([
    404,
    'cluster_unknown',
    'There is no PostgreSQL cluster, server or node called "zz" here.',
  ]);
  expect((await problem('/primary?cluster=zz'))[0]).toBe(404);
  expect((await problem('/events?before=yesterday')).slice(0, 2)).toEqual([400, 'query_invalid']);
  expect((await problem('/events?kind=nonsense'))[0]).toBe(400);
  expect((await problem('/events?limit=0'))[0]).toBe(400);
  it.view.accept(
    it.reportOf(a, 10_000, {
      observations: [observation('postgres.replication', 'second', { ...it.world.document(a), systemIdentifier: '99', replicas: [] })],
    }),
  );
  expect(await problem('/primary')).toMatchObject([400, 'query_invalid', expect.stringContaining('99')]);
  expect(await problem('/events?cluster=a')).toMatchObject([400, 'query_invalid', expect.stringContaining('99')]);
  // Of a cluster that is gone there are events all the same.
  expect((await get('/events?cluster=7300000000000000009')).statusCode).toBe(200);
  expect((await get('/events?before=00000000-0000-8000-8000-000000000000')).statusCode).toBe(200);
  expect(asked).toEqual([
    { cluster: '7300000000000000009', kind: undefined, before: undefined, limit: 100 },
    { cluster: undefined, kind: undefined, before: '00000000-0000-8000-8000-000000000000', limit: 100 },
  ]);
});
