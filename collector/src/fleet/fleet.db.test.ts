/** The fleet on a real database: names, states, tokens, what agents say of themselves, and that all of it holds while the database is away. */
import type { NodeSummary, Problem } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import type { FastifyInstance, LightMyRequestResponse } from 'fastify';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../db/testing.ts';
import { testServer } from '../http/testing.ts';
import { nodeSummary } from '../series/routes.ts';
import { FleetDirectory } from './directory.ts';
import { enrolmentRoutes } from './enrolment-routes.ts';
import { EnrolmentStore } from './enrolment-store.ts';
import type { NodeRecord } from './node.ts';
import { fleetRoutes } from './routes.ts';
import { FleetStore } from './store.ts';

const log = pino({ level: 'silent' });
const AGENT = { version: '1.2.3', intervalSeconds: 15 };

interface World extends TestDatabase {
  app: FastifyInstance;
  directory: FleetDirectory;
  clock: ManualClock;
  /** A request with the admin token. */
  ask: (method: 'GET' | 'POST' | 'DELETE', path: string, payload?: object) => Promise<LightMyRequestResponse>;
  add: (name: string, more?: object) => Promise<{ node: NodeSummary; token: string }>;
  /** What an agent hears that sends its first report with this token: 200, or a problem's code. */
  report: (token: string) => Promise<string>;
}

/** One collector's view of the fleet; a second one on the same database is a second call. */
async function makeWorld(base: TestDatabase): Promise<World> {
  const clock = new ManualClock();
  const store = new FleetStore(base.database);
  const enrolments = new EnrolmentStore(base.database);
  const directory = new FleetDirectory(store, enrolments, clock, log);
  await directory.refresh();
  const { app, adminToken } = await testServer({
    credentials: directory,
    routes: (a) => {
      const summarise = (node: NodeRecord): NodeSummary => nodeSummary(node, undefined);
      fleetRoutes(a, { directory, store, enrolments, summarise });
      enrolmentRoutes(a, { directory, enrolments, policy: 'approve', publicUrl: undefined, fingerprint: undefined, summarise, log });
    },
  });
  const ask: World['ask'] = (method, url, payload) =>
    app.inject({ method, url, headers: { authorization: `Bearer ${adminToken()}` }, ...(payload === undefined ? {} : { payload }) });
  return {
    ...base,
    app,
    directory,
    clock,
    ask,
    async add(name, more = {}) {
      const answer = await ask('POST', '/api/telemetry/nodes', { name, ...more });
      expect(answer.statusCode, `${name}: ${answer.body}`).toBe(201);
      return answer.json();
    },
    async report(token) {
      const answer = await app.inject({ method: 'POST', url: '/echo', headers: { authorization: `Bearer ${token}` }, payload: {} });
      return answer.statusCode === 200 ? '200' : answer.json<Problem>().code;
    },
  };
}

let world: World;
beforeEach(async () => {
  world = await makeWorld(await createTestDatabase());
});
afterEach(() => world.database.close());

const step = async (name: string, what: string, payload?: object): Promise<string> => {
  const answer = await world.ask('POST', `/api/telemetry/nodes/${encodeURIComponent(name)}/${what}`, payload);
  return answer.statusCode < 300 ? answer.json<NodeSummary>().state : answer.json<Problem>().code;
};
const names = async (): Promise<string[]> =>
  (await world.ask('GET', '/api/telemetry/nodes')).json<{ nodes: NodeSummary[] }>().nodes.map(({ name, state }) => `${name} ${state}`);

describe('a node', () => {
  test('is added with a token that works at once, of which only the hash is kept', async () => {
    const { node, token } = await world.add('db1', { site: 'north', tags: { role: 'db' } });
    expect(token).toMatch(/^tma_[\w-]{43}$/);
    expect(node).toMatchObject({
      name: 'db1',
      site: 'north',
      tags: { role: 'db' },
      state: 'approved',
      lastSeenAt: null,
      createdAt: '2026-01-01T00:00:00.000Z',
    });
    expect(await world.report(token)).toBe('200');
    const rows = await world.database.query<{ row: string }>(
      'SELECT row_to_json(t)::text AS row FROM (SELECT n.*, k.token_hash FROM nodes n JOIN node_tokens k ON k.node_id = n.id) t',
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]!.row).not.toContain(token);
  });

  test.each([
    'a b',
    'é',
    '👾',
    'a%2Fb',
    "o'brien; DROP TABLE nodes",
    '<script>',
    '__proto__',
    'constructor',
    '...',
    'x'.repeat(253),
    '👾'.repeat(253),
    'a?b#c',
    '"quoted"',
  ])('may be called %s', async (name) => {
    const { token } = await world.add(name);
    expect(world.directory.byName(name)?.name).toBe(name);
    expect(await step(name, 'rename', { name: `${name.slice(0, -2)}!` })).toBe('approved');
    expect(await step(`${name.slice(0, -2)}!`, 'rename', { name })).toBe('approved');
    expect(await world.report(token)).toBe('200');
    expect(await names()).toEqual([`${name} approved`]);
  });

  test.each<[unknown, string]>([
    ['', 'name'],
    [' a', 'name'],
    ['a ', 'name'],
    ['a/b', 'name'],
    ['</script>', 'name'],
    // Whatever resolves an address takes these two for steps in it, even when they are encoded.
    ['.', 'name'],
    ['..', 'name'],
    ['a\nb', 'name'],
    ['a\u0000', 'name'],
    ['\u007f', 'name'],
    ['x'.repeat(254), 'name'],
    [7, 'name'],
    [undefined, "'name'"],
  ])('may not be called %j', async (name, said) => {
    const answer = await world.ask('POST', '/api/telemetry/nodes', { name });
    expect(answer.json<Problem>()).toMatchObject({ code: 'body_invalid', detail: expect.stringContaining(said) as string });
    expect(await names()).toEqual([]);
  });

  test.each([
    [{ site: 'a\u0000b' }],
    [{ site: 'x'.repeat(101) }],
    [{ tags: { ok: 'a\u0000b' } }],
    [{ tags: { '1 bad name': 'x' } }],
    [{ tags: { role: 7 } }],
    [{ tags: JSON.parse('{"__proto__": {"x": 1}}') as object }],
    [{ tags: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`t${i}`, ''])) }],
    [{ sites: 'a misspelt field' }],
  ])('is refused with %j', async (more) => {
    const answer = await world.ask('POST', '/api/telemetry/nodes', { name: 'db1', ...more });
    expect(answer.json<Problem>().code).toBe('body_invalid');
  });

  test('has a name of its own, until it is retired', async () => {
    const first = await world.add('db1');
    await world.add('db2');
    expect((await world.ask('POST', '/api/telemetry/nodes', { name: 'db1' })).json<Problem>()).toMatchObject({
      code: 'name_taken',
      status: 409,
    });
    expect(await step('db2', 'rename', { name: 'db1' })).toBe('name_taken');
    expect(await step('db1', 'retire')).toBe('retired');
    expect(await world.report(first.token)).toBe('node_retired');
    const second = await world.add('db1');
    expect(second.node.id).not.toBe(first.node.id);
    expect(await world.report(second.token)).toBe('200');
    expect(await world.report(first.token)).toBe('node_retired');
    expect(await names()).toEqual(['db1 retired', 'db2 approved', 'db1 approved']);
  });

  test('added by many at once is added once', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => world.ask('POST', '/api/telemetry/nodes', { name: 'db1' })));
    expect(answers.map(({ statusCode }) => String(statusCode)).toSorted()).toEqual(['201', ...Array<string>(7).fill('409')]);
    const token = answers.find(({ statusCode }) => statusCode === 201)!.json<{ token: string }>().token;
    expect(await world.report(token)).toBe('200');
  });

  test('goes through its states, each in force at once', async () => {
    const { token } = await world.add('db1');
    expect(await step('db1', 'revoke')).toBe('revoked');
    expect(await world.report(token)).toBe('node_revoked');
    expect(await step('db1', 'revoke'), 'again is no harm').toBe('revoked');
    expect(await step('db1', 'approve')).toBe('approved');
    expect(await world.report(token)).toBe('200');
    expect(await step('db1', 'retire')).toBe('retired');
    for (const what of ['approve', 'revoke', 'retire', 'token']) expect(await step('db1', what)).toBe('node_unknown');
    expect(await step('db1', 'rename', { name: 'x' })).toBe('node_unknown');
  });

  test('waits when it is pending', async () => {
    const { token } = await world.add('db1');
    await world.database.query("UPDATE nodes SET state = 'pending'");
    await world.directory.refresh();
    expect(await world.report(token)).toBe('node_pending');
    expect(await step('db1', 'approve')).toBe('approved');
    expect(await world.report(token)).toBe('200');
  });

  test('gets a new token, and the old one ends', async () => {
    const { token } = await world.add('db1');
    const fresh = (await world.ask('POST', '/api/telemetry/nodes/db1/token')).json<{ token: string }>().token;
    expect(await world.report(token)).toBe('node_revoked');
    expect(await world.report(fresh)).toBe('200');
  });

  test('keeps its one record object, whatever happens to it', async () => {
    await world.add('db1');
    const record = world.directory.byName('db1')!;
    await step('db1', 'rename', { name: 'db2' });
    await step('db2', 'revoke');
    await world.directory.refresh();
    expect(world.directory.byName('db2')).toBe(record);
    expect(world.directory.byName('db1')).toBeUndefined();
    expect(record).toMatchObject({ name: 'db2', state: 'revoked' });
  });
});

describe('what an agent says of itself', () => {
  const stored = (): Promise<object[]> =>
    world.database.query('SELECT site, tags, agent_version AS version, interval_seconds AS seconds FROM nodes');
  /** Ends the directory's life, which writes what is not written. */
  const flush = (): Promise<void> => world.directory.stop();

  test('stands over what the operator said where it says something, and is written later', async () => {
    await world.add('db1', { site: 'north', tags: { role: 'db' } });
    const node = world.directory.byName('db1')!;
    world.directory.agentSeen(node, AGENT);
    await flush();
    expect(await stored()).toEqual([{ site: 'north', tags: { role: 'db' }, version: '1.2.3', seconds: 15 }]);
    world.directory.agentSeen(node, { ...AGENT, site: 'south', tags: { a: '1', longer: '2' } });
    await world.directory.refresh();
    expect(node, 'a reading in between takes nothing back').toMatchObject({ site: 'south', tags: { a: '1', longer: '2' } });
    await flush();
    expect(await stored()).toEqual([{ site: 'south', tags: { a: '1', longer: '2' }, version: '1.2.3', seconds: 15 }]);
  });

  test('said again, in whatever order, is written no second time', async () => {
    await world.add('db1');
    const node = world.directory.byName('db1')!;
    const tags = { zebra: '1', a: '2', mm: '3' };
    world.directory.agentSeen(node, { ...AGENT, tags });
    await flush();
    await world.directory.refresh();
    expect(Object.keys(node.tags), "the store's order is another").not.toEqual(Object.keys(tags));
    const xmin = (): Promise<object[]> => world.database.query('SELECT xmin::text FROM nodes');
    const before = await xmin();
    world.directory.agentSeen(node, { ...AGENT, tags });
    await flush();
    expect(await xmin()).toEqual(before);
  });

  test('an oddity in it spoils nothing, its own reports and other nodes least of all', async () => {
    await world.add('odd');
    await world.add('plain');
    world.directory.agentSeen(world.directory.byName('odd')!, {
      version: '1\u0000',
      intervalSeconds: 15,
      site: 'a\u0000b',
      tags: JSON.parse('{"__proto__": "x", "1 bad": "y", "role": "db", "nul": "\\u0000", "long": 7}') as Record<string, string>,
    });
    world.directory.agentSeen(world.directory.byName('plain')!, AGENT);
    await flush();
    expect(await stored()).toEqual([
      { site: 'a\uFFFDb', tags: { role: 'db', nul: '\uFFFD' }, version: '1\uFFFD', seconds: 15 },
      { site: '', tags: {}, version: '1.2.3', seconds: 15 },
    ]);
  });
});

describe('tokens of programs', () => {
  const read = async (token: string): Promise<number> =>
    (await world.app.inject({ url: '/read', headers: { authorization: `Bearer ${token}` } })).statusCode;
  const change = async (token: string): Promise<number> =>
    (await world.app.inject({ method: 'DELETE', url: '/change', headers: { authorization: `Bearer ${token}` } })).statusCode;

  test('are made for a role, listed without themselves, and ended', async () => {
    const make = async (name: string, role: string): Promise<string> =>
      (await world.ask('POST', '/api/tokens', { name, role })).json<{ token: string }>().token;
    const reader = await make('prometheus', 'read');
    const admin = await make('ci', 'admin');
    expect([await read(reader), await change(reader), await read(admin), await change(admin)]).toEqual([200, 403, 200, 200]);
    expect((await world.ask('POST', '/api/tokens', { name: 'ci', role: 'read' })).json<Problem>().code).toBe('name_taken');
    const list = await world.ask('GET', '/api/tokens');
    expect(list.json()).toEqual({
      tokens: [
        { name: 'ci', role: 'admin', createdAt: '2026-01-01T00:00:00.000Z' },
        { name: 'prometheus', role: 'read', createdAt: '2026-01-01T00:00:00.000Z' },
      ],
    });
    expect((await world.ask('DELETE', '/api/tokens/ci')).statusCode).toBe(204);
    expect([await read(admin), await read(reader)]).toEqual([401, 200]);
    expect((await world.ask('DELETE', '/api/tokens/ci')).json<Problem>().code).toBe('token_unknown');
  });

  test.each([{ name: 'x', role: 'root' }, { name: '', role: 'read' }, { name: 'a\u0000', role: 'read' }, { role: 'read' }])(
    'are refused as %j',
    async (payload) => {
      expect((await world.ask('POST', '/api/tokens', payload)).json<Problem>().code).toBe('body_invalid');
    },
  );
});

test('two collectors on one database know the same fleet', async () => {
  const other = await makeWorld(world);
  const { token } = await world.add('db1');
  expect(await other.report(token)).toBe('credential_unknown');
  await other.directory.refresh();
  expect(await other.report(token)).toBe('200');
  await step('db1', 'revoke');
  await other.directory.refresh();
  expect(await other.report(token)).toBe('node_revoked');
});

test('a reading that was overtaken undoes nothing', async () => {
  const { token } = await world.add('db1');
  // Begun before the change, and held up until after it.
  const slow = world.directory.refresh();
  const revoked = step('db1', 'revoke');
  await Promise.all([slow, revoked, world.directory.refresh()]);
  expect(await world.report(token)).toBe('node_revoked');
});

test('while the database is away agents and programs are known, changes are refused, and what agents say is kept for later', async () => {
  const { token } = await world.add('db1');
  const program = (await world.ask('POST', '/api/tokens', { name: 'p', role: 'read' })).json<{ token: string }>().token;
  await world.stopServer();
  expect(await world.report(token)).toBe('200');
  expect((await world.app.inject({ url: '/read', headers: { authorization: `Bearer ${program}` } })).statusCode).toBe(200);
  expect(await names()).toEqual(['db1 approved']);
  const answer = await world.ask('POST', '/api/telemetry/nodes', { name: 'db2' });
  expect(answer.json<Problem>().code).toBe('database_away');
  expect(answer.headers['retry-after']).toBe('5');
  expect(await step('db1', 'revoke')).toBe('database_away');
  expect(await world.report(token), 'a change that was refused is not half in force').toBe('200');
  world.directory.agentSeen(world.directory.byName('db1')!, { ...AGENT, site: 'said meanwhile' });
  await expect(world.directory.refresh()).rejects.toMatchObject({ code: 'database_away' });
  const back = new Promise<void>((resolve) => world.database.onStateChange(({ up }) => up && resolve()));
  await world.startServer();
  await back;
  await world.directory.stop();
  expect(await world.database.query('SELECT site FROM nodes')).toEqual([{ site: 'said meanwhile' }]);
});
