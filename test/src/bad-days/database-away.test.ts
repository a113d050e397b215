/**
 * The collector's database stops, then hangs: reports are judged and shown but not acknowledged, balancers keep
 * sending, `/api/health` says why, and everything that was taken meanwhile is stored afterwards, once.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Health, Overview } from '@tidemark/protocol';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { PostgresCluster, waitUntil, type PostgresInstance } from '../postgres/cluster.ts';
import { startAgent, startCollector, type Program, type RunningCollector } from '../programs.ts';
import { addRawAgents, LOAD_METRIC, seeded, type RawAgent } from './raw-agent.ts';
import { expectEverythingOnce, storedRuns, upTo, type Ask } from './stored-reports.ts';

const NODES = 8;
const AWAY_MS = 5_000;
const directory = mkdtempSync(join(tmpdir(), 'tidemark-away-'));
let cluster: PostgresCluster;
let database: PostgresInstance;
let collector: RunningCollector;
let agents: RawAgent[];
/** Reports for the first time while the database is away. */
let newcomers: RawAgent[];
let realAgent: Program;
let stopLoad: () => Promise<void>;
const ask: Ask = (statement) => cluster.sql(database, statement);

beforeAll(async () => {
  cluster = new PostgresCluster();
  database = await cluster.startPrimary({ version: 18, name: 'store' });
  collector = await startCollector({ dataDir: join(directory, 'collector'), environment: { TIDEMARK_DATABASE_URL: database.url } });
  agents = await addRawAgents(
    collector,
    Array.from({ length: NODES }, (_, i) => `raw${i}`),
  );
  newcomers = await addRawAgents(collector, ['new0', 'new1']);
  const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name: 'real' });
  realAgent = startAgent({ collectorUrl: collector.url, token, hostname: 'real', directory: join(directory, 'real'), intervalSeconds: 1 });
  let stopped = false;
  const running = agents.map((agent, i) => agent.run(seeded(i), () => stopped));
  stopLoad = async () => {
    stopped = true;
    await Promise.all(running);
  };
  await waitUntil(() => agents.every((agent) => agent.acknowledged.size > 0), { what: 'the load to begin' });
});

afterEach(() => cluster.thaw());

afterAll(async () => {
  await stopLoad?.();
  await realAgent?.stop();
  await collector?.stop();
  await cluster?.stopAll();
  rmSync(directory, { recursive: true, force: true });
});

const status = async (path: string): Promise<number> => (await fetch(`${collector.url}${path}`)).status;

async function valueOnPage(node: string): Promise<number | undefined> {
  const line = (await collector.text('/metrics')).split('\n').find((text) => text.startsWith(`${LOAD_METRIC}{node="${node}"`));
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}

async function expectHealthy(): Promise<void> {
  await waitUntil(async () => (await status('/api/health')) === 200, { what: 'the collector to find its database', timeoutMs: 40_000 });
}

async function drain(fleet: readonly RawAgent[]): Promise<void> {
  await waitUntil(
    async () => {
      await Promise.all(fleet.map(async (agent) => agent.send()));
      return fleet.every((agent) => agent.waiting === 0);
    },
    { what: 'everything to be acknowledged', timeoutMs: 40_000 },
  );
}

test('a stopped database: not stored and said so, judged and shown all the same', async () => {
  await cluster.stop(database, { mode: 'immediate' });
  const stoppedAt = Date.now();
  await waitUntil(async () => (await status('/api/health')) === 503, { what: 'the collector to notice' });
  const newcomer = newcomers[0]!;
  newcomer.take(4242);
  const answer = (await newcomer.send())!;
  expect(answer.status).toBe(202);
  expect(answer.acknowledgement).toMatchObject({ committed: [], refused: [], notStored: { code: 'database_away' } });
  expect(answer.acknowledgement!.retryAfterSeconds).toBeGreaterThan(0);
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(await valueOnPage('new0')).toBe(4242);

  expect(await status('/health')).toBe(200);
  const health = (await (await fetch(`${collector.url}/api/health`)).json()) as Health;
  expect(health).toMatchObject({ status: 'unhealthy', reasons: [expect.stringMatching(/^database: .+/)] });
  await waitUntil(
    async () => {
      const { nodes } = await collector.api<Overview>('GET', '/api/telemetry/overview');
      return nodes
        .filter(({ name }) => !name.startsWith('new'))
        .every((node) => node.up && Date.parse(node.lastSeenAt!) > stoppedAt + AWAY_MS);
    },
    { what: 'the overview to have gone on with every node' },
  );
  const kept = agents.map((agent) => agent.waiting);
  expect(Math.min(...kept), 'nothing is acknowledged meanwhile').toBeGreaterThan(5);

  await cluster.start(database);
  await expectHealthy();
  await drain([newcomer]);
  await waitUntil(() => agents.every((agent) => agent.waiting <= 1), { what: 'the backlog to be stored' });
});

test('a full disk gives no report up', async () => {
  await ask(`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$`);
  await ask('CREATE TRIGGER full_disk BEFORE INSERT ON reports FOR EACH ROW EXECUTE FUNCTION full_disk()');
  const reasons = await waitUntil(
    async () => {
      const health = (await (await fetch(`${collector.url}/api/health`)).json()) as Health;
      return health.status === 'unhealthy' && health.reasons;
    },
    { what: 'the collector to say so' },
  );
  expect(reasons).toEqual([expect.stringMatching(/^ingest: .*No space left on device/)]);
  const [agent] = agents;
  const before = agent!.taken;
  await waitUntil(() => agent!.taken > before + 3, { what: 'the load to go on' });
  expect(agent!.waiting).toBeGreaterThan(2);
  await ask('DROP FUNCTION full_disk CASCADE');
  await waitUntil(() => agents.every(({ waiting }) => waiting <= 1), { what: 'the backlog to be stored' });
  expect(agents.flatMap(({ refused }) => refused)).toEqual([]);
  await expectHealthy();
});

test('a database that hangs is noticed, and what it was given meanwhile is not stored twice', async () => {
  cluster.freeze(database);
  const newcomer = newcomers[1]!;
  newcomer.take(1717);
  // An agent waits 20 s for its answer.
  const sentAt = performance.now();
  const answer = (await newcomer.send())!;
  expect(answer.status).toBe(202);
  expect(performance.now() - sentAt).toBeLessThan(20_000);
  expect(await valueOnPage('new1')).toBe(1717);
  expect(await status('/health')).toBe(200);
  expect(await status('/api/health')).toBe(503);
  cluster.thaw();
  await expectHealthy();
  await stopLoad();
  await drain([...agents, ...newcomers]);
  await expectEverythingOnce(ask, [...agents, ...newcomers]);
});

test('the real agent delivers its spool as well, without a gap', async () => {
  const taken = async (): Promise<number[] | undefined> => (await storedRuns(ask)).find(({ node }) => node === 'real')?.sequences;
  await waitUntil(
    async () => {
      const sequences = await taken();
      return sequences !== undefined && sequences.length > 10 && sequences.at(-1) === sequences.length;
    },
    { what: 'the agent to have delivered', timeoutMs: 60_000 },
  );
  const sequences = await taken();
  expect(sequences).toEqual(upTo(sequences!.length));
});

/** Stops every process of the database where it is: connections stay open and nothing answers. */
