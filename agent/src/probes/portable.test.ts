/** Windows and macOS, played on any machine: the headline metrics, and drives that come, fail and go. */
import { HEADLINE } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import { expect, test, vi } from 'vitest';
import type { FilesystemStats } from './headline.ts';
import { createProbes, type ProbeOptions } from './index.ts';
import { portableCpuProbe, portableFilesystemProbe, portableMemoryProbe, portableSystemProbe, type SystemCalls } from './portable.ts';
import { BlockRecorder } from './recorder.ts';
import { record } from './recorded.ts';
import type { Statfs } from './statfs-gate.ts';

const STATS: FilesystemStats = { bsize: 4096, blocks: 1000, bfree: 250, bavail: 250, files: 0, ffree: 0 };

function play(): SystemCalls & { times: { user: number; nice: number; sys: number; idle: number; irq: number } } {
  const times = { user: 100, nice: 0, sys: 100, idle: 800, irq: 5 };
  return {
    times,
    cpus: () => [{ times: { ...times } }, { times: { ...times } }],
    totalmem: () => 8_000,
    freemem: () => 2_000,
    uptime: () => 123.5,
    loadavg: () => [1, 2, 3],
  };
}

function failing(code: string): Promise<never> {
  return Promise.reject(Object.assign(new Error(code), { code }));
}

test.each(['win32', 'darwin'] as const)('%s: CPU, memory, uptime', async (platform) => {
  const system = play();
  const clock = new ManualClock();
  const options = { platform, system, monotonicMs: () => clock.monotonicMs() };
  const cpu = portableCpuProbe(options);
  clock.advance(1_000);
  system.times.user += 30;
  system.times.idle += 70;
  const { values } = await record(cpu, undefined, clock);
  expect(values.get(HEADLINE.cpuUsageRatio)).toBeCloseTo(0.3);
  // Windows has no load average; a zero would be a lie.
  expect(values.has('node_load1')).toBe(platform === 'darwin');
  const memory = (await record(portableMemoryProbe(options))).values;
  expect([memory.get(HEADLINE.memoryUsageRatio), memory.get(HEADLINE.memoryTotalBytes)]).toEqual([0.75, 8_000]);
  expect((await record(portableSystemProbe(options))).values.get(HEADLINE.uptimeSeconds)).toBe(123.5);
});

test('the first collection waits for a stretch to measure', async () => {
  const clock = new ManualClock();
  const system = play();
  const sleep = vi.fn<(ms: number) => Promise<void>>(async (ms) => {
    clock.advance(ms);
    system.times.user += 1;
    system.times.idle += 1;
  });
  const { values } = await record(portableCpuProbe({ platform: 'win32', system, sleep, monotonicMs: () => clock.monotonicMs() }));
  expect(sleep).toHaveBeenCalledWith(150);
  expect(values.get(HEADLINE.cpuUsageRatio)).toBe(0.5);
});

test('Windows: drives that answer are told; one that fails later is an error, one that is gone is forgotten', async () => {
  const drives: Record<string, () => Promise<FilesystemStats>> = {
    'C:\\': async () => STATS,
    'D:\\': () => failing('UNKNOWN'),
    'E:\\': async () => STATS,
    'F:\\': async () => STATS,
  };
  const statfs = vi.fn<Statfs>((path) => drives[path]?.() ?? failing('ENOENT'));
  const probe = portableFilesystemProbe({ platform: 'win32', statfs, monotonicMs: () => 0 });
  const recorder = new BlockRecorder('filesystem', '');
  const errors = async () => {
    const { values } = await record(probe, recorder);
    return Object.fromEntries(
      [...values]
        .filter(([key]) => key.startsWith(HEADLINE.filesystemDeviceError))
        .map(([key, value]) => [/mountpoint="(.*)"/.exec(key)?.[1], value]),
    );
  };
  expect(await errors()).toEqual({ 'C:': 0, 'E:': 0, 'F:': 0 });
  expect(statfs).toHaveBeenCalledTimes(26);
  drives['E:\\'] = () => failing('EIO');
  delete drives['F:\\'];
  expect(await errors()).toEqual({ 'C:': 0, 'E:': 1 });
  // Only the known ones are asked again.
  expect(statfs).toHaveBeenCalledTimes(29);
  drives['G:\\'] = async () => STATS;
  for (let i = 0; i < 17; i++) expect(await errors()).toEqual({ 'C:': 0, 'E:': 1 });
  await errors();
  expect(await errors()).toEqual({ 'C:': 0, 'E:': 1, 'G:': 0 });
});

test('macOS: the start volume and those under /Volumes', async () => {
  const probe = portableFilesystemProbe({
    platform: 'darwin',
    statfs: async () => STATS,
    listDirectories: async (path) => (path === '/Volumes' ? ['Backup Disk'] : []),
    monotonicMs: () => 0,
  });
  const { values } = await record(probe);
  const labels = '{device="/Volumes/Backup Disk",fstype="",mountpoint="/Volumes/Backup Disk"}';
  expect(values.get(`${HEADLINE.filesystemUsageRatio}${labels}`)).toBe(0.75);
  expect(values.get(`${HEADLINE.filesystemSizeBytes}{device="/",fstype="",mountpoint="/"}`)).toBe(4_096_000);
  expect(values.get(`${HEADLINE.filesystemReadOnly}${labels}`)).toBeNull();
});

test('every platform has every headline metric of a system', async () => {
  const base = { clockOffset: () => 0, reportsLost: () => 0, spoolBytes: () => 0, statfs: async () => STATS };
  const platforms: ProbeOptions[] = [
    // The service host's answer, empty: what it reads is no headline.
    {
      platform: 'win32',
      system: play(),
      ...base,
      host: { ask: async () => ({ interfaces: [], disks: [], services: [], drives: [{ name: 'C:', type: 'fixed' }] }), close: () => {} },
    },
    { platform: 'darwin', system: play(), ...base },
    { platform: 'linux', ...base },
  ];
  for (const options of platforms.filter(({ platform }) => platform !== 'linux' || process.platform === 'linux')) {
    const names = new Set<string>();
    for (const probe of createProbes(options).filter(({ name }) => name !== 'inventory')) {
      for (const key of (await record(probe)).values.keys()) names.add(key.replace(/\{.*/s, ''));
    }
    const { postgresUp: _, ...system } = HEADLINE;
    expect([...names]).toEqual(expect.arrayContaining(Object.values(system)));
    expect([...names]).toEqual(expect.arrayContaining(['tidemark_clock_offset_seconds', 'tidemark_agent_cpu_seconds_total']));
  }
});
