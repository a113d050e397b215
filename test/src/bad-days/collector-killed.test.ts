/**
 * The collector killed with SIGKILL under load, three times, and started again on what it left, an orphaned
 * PostgreSQL included: no acknowledged report is missing, none is stored twice, and all the rest arrives too.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitUntil } from '../postgres/cluster.ts';
import { startAgent, startCollector, type Program, type RunningCollector } from '../programs.ts';
import { addRawAgents, seeded, type RawAgent } from './raw-agent.ts';
import { expectEverythingOnce, expectNothingLost, storedRuns, upTo, type Ask } from './stored-reports.ts';

const NODES = 30;
const REAL_AGENTS = 2;
const KILLS = 3;
const directory = mkdtempSync(join(tmpdir(), 'tidemark-killed-'));
const dataDir = join(directory, 'collector');
const seed = Number(process.env['TIDEMARK_TEST_SEED'] ?? Date.now() % 1_000_000_000);
const random = seeded(seed);

let collector: RunningCollector;
let agents: RawAgent[];
const realAgents: Program[] = [];
const ask: Ask = (statement) => collector.sql(statement);

beforeAll(async () => {
  collector = await startCollector({ dataDir });
  const { url } = collector;
  agents = await addRawAgents(
    collector,
    Array.from({ length: NODES }, (_, i) => `raw${i}`),
    () => url,
  );
  for (let i = 0; i < REAL_AGENTS; i++) {
    const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name: `real${i}` });
    realAgents.push(
      startAgent({ collectorUrl: url, token, hostname: `real${i}`, directory: join(directory, `real${i}`), intervalSeconds: 1 }),
    );
  }
});

afterAll(async () => {
  await Promise.all(realAgents.map((agent) => agent.stop()));
  await collector?.stop();
  try {
    // Only when a start failed is there one left.
    process.kill(postmasterPid(), 'SIGQUIT');
  } catch {
    // It is gone, as it should be.
  }
  rmSync(directory, { recursive: true, force: true });
});

const postmasterPid = (): number => Number(readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]);

test(`three times killed (TIDEMARK_TEST_SEED=${seed}): what was acknowledged is there, once; what was not arrives`, async () => {
  const listen = new URL(collector.url).host;
  let stopped = false;
  const running = agents.map((agent, i) => agent.run(seeded(seed + i), () => stopped));
  for (let kill = 1; kill <= KILLS; kill++) {
    const before = acknowledgedCount();
    await pause(300 + 2_500 * random());
    const orphan = postmasterPid();
    collector.kill('SIGKILL');
    // The second time the database goes at the same moment, as when a machine's memory runs out; else it is left behind.
    process.kill(orphan, kill === 2 ? 'SIGKILL' : 0);
    expect(await collector.exited).toBe('SIGKILL');
    expect(acknowledgedCount(), 'there was load').toBeGreaterThan(before);
    collector = await startCollector({ dataDir, listen });
    await expectNothingLost(ask, agents);
  }
  await waitUntil(() => agents.every((agent) => agent.taken > 20), { what: 'the load to go on' });
  stopped = true;
  await Promise.all(running);
  await waitUntil(
    async () => {
      await Promise.all(agents.map(async (agent) => agent.send()));
      return agents.every((agent) => agent.waiting === 0);
    },
    { what: 'everything to be acknowledged' },
  );
  expect(agents.flatMap((agent) => agent.refused)).toEqual([]);
  await expectEverythingOnce(ask, agents);
});

test('so it is with real agents', async () => {
  const taken = async (): Promise<number[][]> =>
    (await storedRuns(ask)).filter(({ node }) => node.startsWith('real')).map(({ sequences }) => sequences);
  await waitUntil(
    async () => {
      const runs = await taken();
      return runs.length === REAL_AGENTS && runs.every((sequences) => sequences.length >= 8 && sequences.at(-1) === sequences.length);
    },
    { what: 'the agents to have delivered their spools', timeoutMs: 60_000 },
  );
  await Promise.all(realAgents.map((agent) => agent.stop()));
  for (const sequences of await taken()) expect(sequences).toEqual(upTo(sequences.length));
});

function acknowledgedCount(): number {
  return agents.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0);
}
