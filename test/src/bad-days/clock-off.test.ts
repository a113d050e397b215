/**
 * Agents whose clock is an hour off, from the start or from one moment to the next (libfaketime: the wall clock
 * alone, as nobody sets the monotonic one): seen, said, and every stored time is right all the same.
 */
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeDetail, OverviewNode, Overview } from '@tidemark/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitUntil } from '../postgres/cluster.ts';
import { fakeTime } from './fake-time.ts';
import { runToEnd, startAgent, startCollector, type Program, type RunningCollector } from '../programs.ts';

const HOUR_S = 3_600;
const TOLERANCE_S = 3;
const NODES = { slow: '-1h', fast: '+1h', jumps: '+0' } as const;
type Name = keyof typeof NODES;
const directory = mkdtempSync(join(tmpdir(), 'tidemark-clock-'));
const startedAt = Date.now();
let collector: RunningCollector;
const agents: Program[] = [];

const shiftFile = (name: Name): string => join(directory, name, 'shift');

beforeAll(async () => {
  collector = await startCollector({ dataDir: join(directory, 'collector') });
  for (const [name, shift] of Object.entries(NODES) as [Name, string][]) {
    const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name });
    mkdirSync(join(directory, name), { recursive: true });
    writeFileSync(shiftFile(name), shift);
    const environment = fakeTime(shiftFile(name));
    agents.push(
      startAgent({ collectorUrl: collector.url, token, hostname: name, directory: join(directory, name), intervalSeconds: 1, environment }),
    );
  }
});

afterAll(async () => {
  await Promise.all(agents.map((agent) => agent.stop()));
  await collector?.stop();
  rmSync(directory, { recursive: true, force: true });
});

interface StoredTime {
  sequence: number;
  at: Date;
}

const storedTimes = (name: Name): Promise<StoredTime[]> =>
  collector.sql<{ sequence: number; at: Date }>(
    'SELECT r.sequence, r.at FROM reports r JOIN nodes n ON n.id = r.node_id WHERE n.name = $1 ORDER BY r.sequence',
    [name],
  );

const inOverview = async (name: Name): Promise<OverviewNode> =>
  (await collector.api<Overview>('GET', '/api/telemetry/overview')).nodes.find((node) => node.name === name)!;

/** Seconds by which a figure of a node on /metrics is what it is; undefined while it is not there. */
async function metricOf(name: Name, metric: string): Promise<number | undefined> {
  const line = (await collector.text('/metrics')).split('\n').find((text) => text.startsWith(`${metric}{node="${name}"`));
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}

/** Stored times are real times, in order, about a second apart. */
function expectTrueTimes(times: readonly StoredTime[]): void {
  expect(Math.min(...times.map(({ at }) => at.getTime()))).toBeGreaterThan(startedAt - TOLERANCE_S * 1000);
  expect(Math.max(...times.map(({ at }) => at.getTime()))).toBeLessThan(Date.now() + TOLERANCE_S * 1000);
  const steps = times.slice(1).map(({ at }, i) => at.getTime() - times[i]!.at.getTime());
  expect(Math.max(...steps.map((step) => Math.abs(step - 1_000)))).toBeLessThan(TOLERANCE_S * 1000);
}

async function expectSeen(name: Name, aheadS: number): Promise<void> {
  await waitUntil(
    async () => Math.abs(((await metricOf(name, 'tidemark_node_clock_offset_seconds')) ?? Number.NaN) - aheadS) < TOLERANCE_S,
    {
      what: `the offset of ${name} to be seen`,
    },
  );
  await waitUntil(async () => Math.abs(((await metricOf(name, 'tidemark_clock_offset_seconds')) ?? Number.NaN) - aheadS) < TOLERANCE_S, {
    what: `${name} to see it itself`,
  });
  const node = await inOverview(name);
  expect(node.up).toBe(true);
  expect(Math.abs(node.clockOffsetSeconds! - aheadS)).toBeLessThan(TOLERANCE_S);
  expect(Math.abs(Date.now() - Date.parse(node.lastSeenAt!))).toBeLessThan(10_000);
  expect(node.cpu.usageRatio, 'its reports are taken as live').not.toBeNull();
}

test.each([
  ['slow', -HOUR_S, 'behind'],
  ['fast', HOUR_S, 'ahead of'],
] as const)('an hour %s from the start', async (name, aheadS, words) => {
  await waitUntil(async () => (await storedTimes(name)).length >= 6, { what: 'some reports' });
  await expectSeen(name, aheadS);
  expectTrueTimes(await storedTimes(name));
  // The agent's own words; status reads its clock as it is, so it is asked about an offset and not about ages.
  await waitUntil(
    async () => {
      const { stdout } = await runToEnd('agent', ['status', '--config', join(directory, name, 'agent.yaml')]);
      return stdout.includes(`60 min ${words} the collector's`) || stdout.includes(`59 min ${words} the collector's`);
    },
    { what: 'the status to say so' },
  );
});

test.each([
  ['an hour back', '-1h', -HOUR_S],
  ['two hours on', '+1h', HOUR_S],
  ['right again', '+0', 0],
] as const)('a clock that is set %s between two reports', async (_, shift, aheadS) => {
  const before = (await storedTimes('jumps')).length;
  await waitUntil(async () => (await storedTimes('jumps')).length >= before + 3, { what: 'some reports' });
  writeFileSync(shiftFile('jumps'), shift);
  await waitUntil(async () => (await storedTimes('jumps')).length >= before + 9, { what: 'some more' });
  await expectSeen('jumps', aheadS);
  const times = await storedTimes('jumps');
  expect(times.map(({ sequence }) => sequence)).toEqual(times.map((_row, i) => i + 1));
  expectTrueTimes(times);
  expect((await collector.api<NodeDetail>('GET', '/api/telemetry/nodes/jumps')).lostReports).toBe(0);
});
