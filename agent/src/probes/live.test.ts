/** The Linux probes on the machine that the tests run on, against what other programs say of it. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { HEADLINE, layoutHash } from '@tidemark/protocol';
import { type Log, systemClock } from '@tidemark/service';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createProbes } from './index.ts';
import { ProbeRunner, type Collection } from './runner.ts';

const silent = { info() {}, warn() {} } as unknown as Log;

function start(): ProbeRunner {
  const probes = createProbes({ platform: 'linux', clockOffset: () => undefined, reportsLost: () => 0, spoolBytes: () => 0 });
  return new ProbeRunner(probes, systemClock, silent);
}

function valuesOf(collection: Collection): Map<string, number> {
  const values = new Map<string, number>();
  for (const { layout, values: numbers } of collection.blocks)
    for (const [i, series] of layout.series.entries())
      values.set([series.name, ...series.labels.map(([, value]) => value)].join(' '), numbers[i] as number);
  return values;
}

describe.runIf(process.platform === 'linux')('this machine', () => {
  let runner: ProbeRunner;
  let collection: Collection;
  let values: Map<string, number>;

  beforeAll(async () => {
    runner = start();
    collection = await runner.collect();
    values = valuesOf(collection);
  });
  afterAll(() => runner.close());

  test('every probe succeeds', () => {
    expect(runner.states().filter((state) => !state.success)).toEqual([]);
  });

  test('memory is what the kernel says, uptime what Node says', () => {
    expect(values.get(HEADLINE.memoryTotalBytes)).toBe(os.totalmem());
    expect(values.get(HEADLINE.memoryUsageRatio)).toBeGreaterThan(0);
    expect(values.get(HEADLINE.memoryUsageRatio)).toBeLessThanOrEqual(1);
    expect(Math.abs(values.get(HEADLINE.uptimeSeconds)! - os.uptime())).toBeLessThan(30);
  });

  test('the first collection has a CPU usage, and as many CPUs as there are', () => {
    expect(values.get(HEADLINE.cpuUsageRatio)).toBeGreaterThanOrEqual(0);
    expect(values.get(HEADLINE.cpuUsageRatio)).toBeLessThanOrEqual(1);
    const online = readFileSync('/proc/stat', 'utf8').match(/^cpu\d+/gm)!.length;
    expect([...values.keys()].filter((key) => /^node_cpu_seconds_total \d+ idle$/.test(key))).toHaveLength(online);
  });

  test('the root file system is as large as df says, and as full', () => {
    const [, size, used, available] = execFileSync('df', ['-B1', '--output=target,size,used,avail', '/'], { encoding: 'utf8' })
      .trim()
      .split('\n')[1]!
      .split(/\s+/)
      .map(Number);
    const ofRoot = (name: string) => [...values].find(([key]) => key.startsWith(`${name} `) && key.endsWith(' /'))?.[1];
    expect(ofRoot(HEADLINE.filesystemSizeBytes)).toBe(size);
    expect(Math.abs(ofRoot(HEADLINE.filesystemAvailableBytes)! - available!)).toBeLessThan(size! * 0.05);
    expect(Math.abs(ofRoot(HEADLINE.filesystemUsageRatio)! - used! / (used! + available!))).toBeLessThan(0.05);
    expect(ofRoot(HEADLINE.filesystemDeviceError)).toBe(0);
  });

  test('the interfaces are those of the machine', () => {
    const devices = [...values.keys()].flatMap((key) => /^node_network_up (.*)$/.exec(key)?.[1] ?? []);
    expect(readdirSync('/sys/class/net')).toEqual(expect.arrayContaining(devices));
    expect(devices).toContain('lo');
  });

  test('no series is there twice, and each layout’s hash is its own', () => {
    const names = collection.blocks.flatMap(({ layout }) => layout.series.map((s) => JSON.stringify([s.name, s.labels])));
    expect(new Set(names).size).toBe(names.length);
    for (const { layout } of collection.blocks) expect(layoutHash(layout)).toBe(layout.hash);
  });

  test('a collection opens nothing that it does not keep, and starts no process', async () => {
    await runner.collect();
    const before = readdirSync('/proc/self/fd').length;
    const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8');
    for (let i = 0; i < 3; i++) await runner.collect();
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before + 1);
    expect(children()).toBe('');
  });
});
