/**
 * An agent killed with SIGKILL while its collector is away: what it had taken is on disk and arrives after both
 * are back, once and without a gap; of a spool that is damaged meanwhile the rest arrives, and the loss is counted.
 */
import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeDetail } from '@tidemark/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitUntil } from '../postgres/cluster.ts';
import { startAgent, startCollector, type Program, type RunningCollector } from '../programs.ts';
import { storedRuns, upTo, type Ask } from './stored-reports.ts';

const directory = mkdtempSync(join(tmpdir(), 'tidemark-spool-'));
const agentDir = join(directory, 'agent');
let collector: RunningCollector;
let agent: Program;
let token: string;
let listen: string;
const ask: Ask = (statement) => collector.sql(statement);

const launch = (): Program =>
  startAgent({ collectorUrl: `http://${listen}`, token, hostname: 'web1', directory: agentDir, intervalSeconds: 1 });

beforeAll(async () => {
  collector = await startCollector({ dataDir: join(directory, 'collector') });
  listen = new URL(collector.url).host;
  ({ token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name: 'web1' }));
  agent = launch();
});

afterAll(async () => {
  await agent?.stop();
  await collector?.stop();
  rmSync(directory, { recursive: true, force: true });
});

interface SpooledLine {
  file: string;
  bootId: string;
  sequence: number;
  offset: number;
  length: number;
}

/** The whole report lines in the spool's files. */
function spooledLines(): SpooledLine[] {
  const spool = join(agentDir, 'data', 'spool');
  return readdirSync(spool).flatMap((name) => {
    const file = join(spool, name);
    const text = readFileSync(file, 'latin1');
    return [...text.matchAll(/^[0-9a-f]{8} report (\S+) (\d+) .*\n/gm)].map((match) => ({
      file,
      bootId: match[1]!,
      sequence: Number(match[2]),
      offset: match.index,
      length: match[0].length,
    }));
  });
}

const runOf = async (bootId: string): Promise<number[]> => (await storedRuns(ask)).find((run) => run.bootId === bootId)?.sequences ?? [];

/** Kills the collector, then the agent as soon as it has taken some more reports; resolves with those that nobody acknowledged. */
async function killBoth(): Promise<SpooledLine[]> {
  const { bootId, sequences } = await waitUntil(
    async () => {
      const newest = spooledLines().at(-1)?.bootId;
      return (await storedRuns(ask)).find((run) => run.bootId === newest && run.sequences.length >= 3);
    },
    { what: 'the agent to be stored' },
  );
  await collector.stop();
  const last = sequences.at(-1)!;
  const unsent = (): SpooledLine[] => spooledLines().filter((line) => line.bootId === bootId && line.sequence > last + 1);
  await waitUntil(() => unsent().length >= 5, { what: 'the agent to fill its spool' });
  agent.kill('SIGKILL');
  expect(await agent.exited).toBe('SIGKILL');
  return unsent();
}

test('its spool survives it and arrives once', async () => {
  const unsent = await killBoth();
  const first = unsent[0]!.bootId;
  agent = launch();
  await waitUntil(() => spooledLines().filter(({ bootId }) => bootId !== first).length >= 3, { what: 'the second run to take reports' });
  collector = await startCollector({ dataDir: join(directory, 'collector'), listen });
  const last = unsent.at(-1)!.sequence;
  await waitUntil(async () => (await runOf(first)).length >= last, { what: 'the first run to be delivered', timeoutMs: 60_000 });
  expect(await runOf(first)).toEqual(upTo(last));
  const second = (await storedRuns(ask)).find((run) => run.bootId !== first)!;
  expect(second.sequences).toEqual(upTo(second.sequences.length));
});

test('of a spool that is cut and scribbled on the rest arrives, and the loss is counted', async () => {
  const unsent = await killBoth();
  const { bootId } = unsent[0]!;
  const [scribbled, cut] = [unsent[1]!, unsent.at(-1)!];
  const content = readFileSync(scribbled.file);
  content.fill('\0', scribbled.offset + 60, scribbled.offset + 100);
  writeFileSync(scribbled.file, content);
  truncateSync(cut.file, cut.offset + Math.floor(cut.length / 2));

  agent = launch();
  collector = await startCollector({ dataDir: join(directory, 'collector'), listen });
  const expected = upTo(cut.sequence).filter((sequence) => sequence !== scribbled.sequence && sequence !== cut.sequence);
  await waitUntil(async () => (await runOf(bootId)).length >= expected.length, { what: 'the rest to arrive', timeoutMs: 60_000 });
  expect(await runOf(bootId)).toEqual(expected);
  const detail = await waitUntil(
    async () => {
      const node = await collector.api<NodeDetail>('GET', '/api/telemetry/nodes/web1');
      return node.lostReports !== null && node;
    },
    { what: 'the agent to report again' },
  );
  expect(detail.lostReports).toBe(2);
  await waitUntil(async () => /^tidemark_agent_reports_lost_total\{node="web1",site=""\} 2$/m.test(await collector.text('/metrics')), {
    what: 'the metric to say so',
  });
});
