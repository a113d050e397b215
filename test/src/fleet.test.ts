/** The simulated fleet against a real collector: by seed the same, plausible, acknowledged, and the same nodes when it comes again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NodeDetail, NodeList, Overview } from '@tidemark/protocol';
import { EXIT, ManualClock } from '@tidemark/service';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { simulateNodes } from './fleet/fleet.ts';
import { waitUntil } from './postgres/cluster.ts';
import { startCollector, type RunningCollector } from './programs.ts';

const PROGRAM = fileURLToPath(new URL('../dist/fleet/main.js', import.meta.url));
const NODES = 20;
const dataDir = mkdtempSync(join(tmpdir(), 'tidemark-fleet-'));
let collector: RunningCollector;
const children: ChildProcess[] = [];

beforeAll(async () => {
  collector = await startCollector({ dataDir });
});

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await collector?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

interface RunningFleet {
  output: () => string;
  exited: Promise<number>;
  /** Ctrl-C; resolves with the exit code. */
  interrupt: () => Promise<number>;
}

function startFleet(...args: string[]): RunningFleet {
  const child = spawn(process.execPath, [PROGRAM, '--server', collector.url, '--data-dir', dataDir, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const exited = once(child, 'close').then(([code]) => code as number);
  return {
    output: () => output,
    exited,
    interrupt: async () => {
      child.kill('SIGINT');
      return exited;
    },
  };
}

const overview = (): Promise<Overview> => collector.api<Overview>('GET', '/api/telemetry/overview');

test('twenty nodes report plausible figures, and everything is acknowledged', async () => {
  const fleet = startFleet('--nodes', String(NODES), '--interval', '1', '--seed', '7');
  const nodes = await waitUntil(
    async () => {
      const { nodes: all } = await overview();
      return all.length === NODES && all.every((node) => node.up && node.cpu.usageRatio !== null) && all;
    },
    { what: 'all nodes to report', timeoutMs: 30_000 },
  );
  for (const { cpu, memory, disk, uptimeSeconds, site, tags } of nodes) {
    expect(cpu.usageRatio).toBeGreaterThan(0);
    expect(cpu.usageRatio).toBeLessThanOrEqual(1);
    expect(memory.usageRatio).toBeGreaterThan(0);
    expect(memory.usageRatio).toBeLessThan(1);
    expect(disk.mounts).toHaveLength(2);
    expect(uptimeSeconds).toBeGreaterThan(0);
    expect(site).not.toBe('');
    expect(tags['role']).toMatch(/^(db|web|app|batch)$/);
  }
  const primary = nodes.find(({ name }) => name === 'sim-0001')!.postgres[0]!;
  expect(primary).toMatchObject({ instance: 'main', role: 'primary', up: true, replicas: [{ name: 'sim-0002', state: 'streaming' }] });
  expect(nodes.find(({ name }) => name === 'sim-0002')!.postgres[0]).toMatchObject({ role: 'replica', up: true });

  const walBytes = async (): Promise<number> =>
    (await collector.api<NodeDetail>('GET', '/api/telemetry/nodes/sim-0001')).latest.find(
      ({ metric, labels }) =>
        metric === 'tidemark_postgres_wal_bytes_total' && labels.some(([name, value]) => name === 'position' && value === 'current'),
    )!.value as number;
  const before = await walBytes();
  await waitUntil(async () => (await walBytes()) > before, { what: 'the WAL to move' });
  await waitUntil(() => /20 nodes, 1\d\.\d|20 nodes, 2\d\.\d/.test(fleet.output()), { what: 'a line about it' });
  expect(await fleet.interrupt()).toBe(0);
  const [, acknowledged] = /Stopped: (\d+) reports acknowledged, 0 not delivered, 0 lost\./.exec(fleet.output())!;
  const [row] = await collector.sql<{ count: number }>('SELECT count(*)::int AS count FROM reports');
  expect(row!.count).toBe(Number(acknowledged));
});

test('the same fleet comes again as the same nodes', async () => {
  const idsOf = async (): Promise<Map<string, number>> =>
    new Map((await collector.api<NodeList>('GET', '/api/telemetry/nodes')).nodes.map(({ name, id }) => [name, id]));
  const before = await idsOf();
  const since = Date.now();
  const fleet = startFleet('--nodes', String(NODES), '--interval', '1', '--seed', '7', '--scenario', 'disk-fills');
  await waitUntil(async () => (await overview()).nodes.every(({ lastSeenAt }) => Date.parse(lastSeenAt!) > since), {
    what: 'all of them to be back',
  });
  expect(await fleet.interrupt()).toBe(0);
  expect(await idsOf()).toEqual(before);
});

test('mistakes are one sentence', async () => {
  const fleet = startFleet('--nodes', 'many');
  expect(await fleet.exited).toBe(EXIT.usage);
  expect(fleet.output()).toBe('tidemark-fleet: --nodes takes a number from 1 to 20000, not "many".\n');
  const stranger = startFleet('--token-file', join(dataDir, 'nowhere'));
  expect(await stranger.exited).toBe(EXIT.configuration);
  expect(stranger.output()).toMatch(/^tidemark-fleet: The admin token .*nowhere cannot be read .*--token-file\.\n$/);
});

test('the same seed makes the same machines, another seed others', () => {
  const figures = (seed: number): unknown[] =>
    simulateNodes({ nodes: 12, seed, scenario: 'calm', clock: new ManualClock() }).map(
      ({ name, machine: { site, role, cores, memoryBytes } }) => ({
        name,
        site,
        role,
        cores,
        memoryBytes,
      }),
    );
  expect(figures(7)).toEqual(figures(7));
  expect(figures(7)).not.toEqual(figures(8));
});

test('a machine by its day: counters never fall, a disk that fills is full in time', () => {
  const clock = new ManualClock();
  const [{ machine }] = simulateNodes({ nodes: 1, seed: 7, scenario: 'disk-fills', clock }) as [ReturnType<typeof simulateNodes>[number]];
  const start = clock.wallMs();
  let last = machine.cpuSeconds();
  for (let minute = 1; minute <= 5; minute++) {
    machine.advance(start + minute * 60_000);
    const now = machine.cpuSeconds();
    expect(now.busy).toBeGreaterThan(last.busy);
    expect(now.idle).toBeGreaterThan(last.idle);
    last = now;
  }
  expect(machine.disks()[1]!.freeBlocks).toBe(0);
  expect(machine.disks()[0]!.freeBlocks).toBeGreaterThan(0);
});
