/** A revoked node: its agent says so, keeps what it takes, and delivers all of it once it has a token that is good again. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitUntil } from '../postgres/cluster.ts';
import { runToEnd, startAgent, startCollector, type Outcome, type Program, type RunningCollector } from '../programs.ts';
import { storedRuns, upTo } from './stored-reports.ts';

/** Without noticing the file the agent would try again after 45 s at the earliest. */
const NOTICED_WITHIN_MS = 20_000;
const directory = mkdtempSync(join(tmpdir(), 'tidemark-revoked-'));
const agentDir = join(directory, 'agent');
let collector: RunningCollector;
let agent: Program;

beforeAll(async () => {
  collector = await startCollector({ dataDir: join(directory, 'collector') });
  const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name: 'db1' });
  agent = startAgent({ collectorUrl: collector.url, token, hostname: 'db1', directory: agentDir, intervalSeconds: 1 });
});

afterAll(async () => {
  await agent?.stop();
  await collector?.stop();
  rmSync(directory, { recursive: true, force: true });
});

const statusOf = (): Promise<Outcome> => runToEnd('agent', ['status', '--config', join(agentDir, 'agent.yaml')]);
const stored = async (): Promise<number[]> => (await storedRuns((statement) => collector.sql(statement)))[0]?.sequences ?? [];

test('the agent of a revoked node says so and keeps its reports', async () => {
  await waitUntil(async () => (await stored()).length >= 2, { what: 'the first reports' });
  await collector.api('POST', '/api/telemetry/nodes/db1/revoke');
  const status = await waitUntil(
    async () => {
      const outcome = await statusOf();
      return outcome.stdout.includes('node revoked') && /waiting +(?:[3-9]|\d{2,}) reports/.test(outcome.stdout) && outcome;
    },
    { what: 'the status to say so', timeoutMs: 30_000 },
  );
  expect(status.code).toBe(1);
  expect(status.stdout).toMatch(/lost +nothing/);
  expect(status.stdout).toMatch(/- node revoked since .*: .+/);
});

test('with a new token in its file it delivers everything, without a restart', async () => {
  const before = (await stored()).length;
  await collector.api('POST', '/api/telemetry/nodes/db1/approve');
  const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes/db1/token');
  writeFileSync(join(agentDir, 'token'), `${token}\n`, { mode: 0o600 });
  await waitUntil(
    async () => {
      const sequences = await stored();
      return sequences.length > before + 3 && sequences.at(-1) === sequences.length;
    },
    { what: 'the kept reports to arrive', timeoutMs: NOTICED_WITHIN_MS },
  );
  const sequences = await stored();
  expect(sequences).toEqual(upTo(sequences.length));
  await waitUntil(async () => (await statusOf()).stdout.includes('All is well.'), { what: 'the agent to be content', timeoutMs: 30_000 });
});
