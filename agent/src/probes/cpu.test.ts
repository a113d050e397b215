/** CPU: what /proc/stat says in its several forms, and the usage ratio of machines and of containers with a limit. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock } from '@tidemark/service';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cpuProbe } from './cpu.ts';
import { BlockRecorder } from './recorder.ts';
import { fixture, record, roots } from './recorded.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cpu-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A copy of a fixture that a test may write to. */
function copyOf(machine: string): { procfs: string; cgroupfs: string; write(path: string, text: string): void } {
  cpSync(fixture(machine), directory, { recursive: true });
  mkdirSync(join(directory, 'sys/fs/cgroup'), { recursive: true });
  return {
    procfs: join(directory, 'proc'),
    cgroupfs: join(directory, 'sys/fs/cgroup'),
    write: (path, text) => writeFileSync(join(directory, path), text),
  };
}

function statOf(...cpus: number[][]): string {
  return [
    'cpu 1 1 1 1',
    ...cpus.map((ticks, i) => `cpu${i} ${ticks.join(' ')}`),
    'intr 5 1 2',
    'ctxt 6',
    'btime 7',
    'processes 8',
    'procs_running 9',
    'procs_blocked 0',
    '',
  ].join('\n');
}

test('a small VM is told under node_exporter’s names, guests too', async () => {
  const clock = new ManualClock();
  const probe = cpuProbe(roots('small-vm'), clock);
  clock.advance(1_000);
  const { values } = await record(probe, undefined, clock);
  expect(values.get('node_cpu_seconds_total{cpu="0",mode="user"}')).toBe(37.46);
  expect(values.get('node_cpu_seconds_total{cpu="1",mode="steal"}')).toBe(0.06);
  expect(values.get('node_cpu_guest_seconds_total{cpu="0",mode="user"}')).toBe(0.3);
  expect(values.get('node_cpu_guest_seconds_total{cpu="1",mode="nice"}')).toBe(0.01);
  expect(values.get('node_load1')).toBe(0.27);
  expect(values.get('node_intr_total')).toBe(542_321);
  expect(values.get('node_context_switches_total')).toBe(1_130_700);
  expect(values.get('node_boot_time_seconds')).toBe(1_795_238_994);
  expect(values.get('node_forks_total')).toBe(10_582);
  expect(values.get('node_procs_running')).toBe(2);
  expect(values.get('node_procs_blocked')).toBe(1);
  // Nothing moved in a file that does not change: not measured, rather than idle.
  expect(values.get('tidemark_cpu_usage_ratio')).toBeNull();
  expect(values.has('tidemark_cpu_limit_cores')).toBe(false);
});

test('an old kernel’s seven columns are seven series', async () => {
  const clock = new ManualClock();
  const probe = cpuProbe(roots('old-kernel'), clock);
  clock.advance(1_000);
  const { values } = await record(probe, undefined, clock);
  expect([...values.keys()].filter((key) => key.startsWith('node_cpu_'))).toHaveLength(7);
  expect(values.has('node_cpu_seconds_total{cpu="0",mode="steal"}')).toBe(false);
});

describe('the usage ratio of a machine', () => {
  test('is the busy share since the collection before; waiting is idle, stolen is busy, guests are not counted twice', async () => {
    const machine = copyOf('small-vm');
    const clock = new ManualClock();
    machine.write('proc/stat', statOf([100, 0, 100, 800, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1000, 0, 0, 0, 0, 0, 0]));
    const probe = cpuProbe(machine, clock);
    clock.advance(1_000);
    machine.write('proc/stat', statOf([130, 0, 110, 850, 10, 0, 0, 0, 30, 0], [10, 0, 0, 1080, 0, 0, 0, 10, 0, 0]));
    const { values } = await record(probe, undefined, clock);
    expect(values.get('tidemark_cpu_usage_ratio')).toBeCloseTo(60 / 200);
  });

  test('is not spoilt by a CPU that is taken out, put in, or steps back a little', async () => {
    const machine = copyOf('small-vm');
    const clock = new ManualClock();
    const recorder = new BlockRecorder('cpu', '');
    machine.write('proc/stat', statOf([100, 0, 0, 1000, 50], [100, 0, 0, 1000, 0]));
    const probe = cpuProbe(machine, clock);
    const next = async (...cpus: number[][]) => {
      clock.advance(1_000);
      machine.write('proc/stat', statOf(...cpus));
      return (await record(probe, recorder, clock)).values;
    };
    // iowait steps back by 2 ticks: held.
    const held = await next([150, 0, 0, 1050, 48], [100, 0, 0, 1100, 0]);
    expect(held.get('tidemark_cpu_usage_ratio')).toBeCloseTo(50 / 200);
    expect(held.get('node_cpu_seconds_total{cpu="0",mode="iowait"}')).toBe(0.5);
    const without = await next([200, 0, 0, 1100, 50]);
    expect(without.get('tidemark_cpu_usage_ratio')).toBeCloseTo(50 / 100);
    expect(without.has('node_cpu_seconds_total{cpu="1",mode="user"}')).toBe(false);
    // Back again, with all its counters since boot: they are no work of the last second.
    const back = await next([200, 0, 0, 1200, 50], [9_000, 0, 0, 1100, 0]);
    expect(back.get('tidemark_cpu_usage_ratio')).toBe(0);
    // Counting from zero again.
    const anew = await next([200, 0, 0, 1300, 50], [3, 0, 0, 4, 0]);
    expect(anew.get('node_cpu_seconds_total{cpu="1",mode="user"}')).toBe(0.03);
    expect(anew.get('tidemark_cpu_usage_ratio')).toBe(0);
  });

  test('has a stretch to measure even when collected at once', async () => {
    const machine = copyOf('small-vm');
    const clock = new ManualClock();
    machine.write('proc/stat', statOf([0, 0, 0, 0]));
    const slept: number[] = [];
    const probe = cpuProbe(
      {
        ...machine,
        sleep: async (ms) => {
          slept.push(ms);
          clock.advance(ms);
          machine.write('proc/stat', statOf([15, 0, 0, 5]));
        },
      },
      clock,
    );
    clock.advance(20);
    const { values } = await record(probe, undefined, clock);
    expect(slept).toEqual([130]);
    expect(values.get('tidemark_cpu_usage_ratio')).toBe(0.75);
  });
});

test('64 cores are 640 series in a stable layout', async () => {
  const machine = copyOf('small-vm');
  const clock = new ManualClock();
  const recorder = new BlockRecorder('cpu', '');
  const cores = (step: number) => Array.from({ length: 64 }, (_, i) => [i + step, 2, 3, 4 + step, 5, 6, 7, 8, 9, 10]);
  machine.write('proc/stat', statOf(...cores(0)));
  const probe = cpuProbe(machine, clock);
  clock.advance(1_000);
  machine.write('proc/stat', statOf(...cores(10)));
  const first = await record(probe, recorder, clock);
  clock.advance(1_000);
  machine.write('proc/stat', statOf(...cores(20)));
  const second = await record(probe, recorder, clock);
  expect([...first.values.keys()].filter((key) => key.startsWith('node_cpu_'))).toHaveLength(640);
  expect(first.values.get('node_cpu_seconds_total{cpu="63",mode="user"}')).toBe(0.73);
  expect(second.values.get('tidemark_cpu_usage_ratio')).toBe(0.5);
  expect(second.hash).toBe(first.hash);
});

test('a file that is no /proc/stat is a failure of the collection, not of the start', async () => {
  const machine = copyOf('small-vm');
  machine.write('proc/stat', 'gibberish\n');
  const probe = cpuProbe(machine, new ManualClock());
  await expect(record(probe)).rejects.toThrow('/proc/stat names no CPU');
});

describe('in a container with a limit the usage ratio is of that limit', () => {
  test.each([
    ['container-v2', 'sys/fs/cgroup/cpu.stat', 'usage_usec 10250000\n', 0.5, 0.5],
    ['container-v2-nested', 'sys/fs/cgroup/kubepods.slice/kubepods-podabc.slice/cpu.stat', 'usage_usec 70750000\n', 1.5, 0.5],
    ['container-v1', 'sys/fs/cgroup/cpu,cpuacct/cpuacct.usage', '3200000000\n', 0.25, 0.8],
    ['container-v1-nested', 'sys/fs/cgroup/cpuacct/kubepods/podabc/cpuacct.usage', '9600000000\n', 1, 0.6],
    // A burst above the quota is full, not more than full.
    ['container-v2', 'sys/fs/cgroup/cpu.stat', 'usage_usec 12000000\n', 0.5, 1],
  ])('%s', async (machineName, path, usage, limit, ratio) => {
    const machine = copyOf(machineName);
    const clock = new ManualClock();
    const probe = cpuProbe(machine, clock);
    clock.advance(1_000);
    machine.write(path, usage);
    const { values } = await record(probe, undefined, clock);
    expect(values.get('tidemark_cpu_limit_cores')).toBe(limit);
    expect(values.get('tidemark_cpu_usage_ratio')).toBeCloseTo(ratio);
  });

  test('a limit above what the machine has is none, and the agent’s own unit’s limit is none of the machine', async () => {
    const clock = new ManualClock();
    const wide = copyOf('container-v2');
    wide.write('sys/fs/cgroup/cpu.max', '400000 100000\n');
    for (const machine of [wide, roots('host-with-unit-limit')]) {
      const probe = cpuProbe(machine, clock);
      clock.advance(1_000);
      expect((await record(probe, undefined, clock)).values.has('tidemark_cpu_limit_cores')).toBe(false);
    }
  });
});
