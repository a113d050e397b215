/** Disks, network, pressure, system: parsers on captured files of several kernels. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock } from '@tidemark/service';
import { expect, onTestFinished, test } from 'vitest';
import { diskProbe } from './disk.ts';
import { networkProbe } from './network.ts';
import { pressureProbe } from './pressure.ts';
import { noData } from './probe.ts';
import { BlockRecorder } from './recorder.ts';
import { fixture, record, roots } from './recorded.ts';
import { selfProbe } from './self.ts';
import { systemProbe } from './system.ts';

function devicesIn(values: ReadonlyMap<string, unknown>): string[] {
  return [...new Set([...values.keys()].flatMap((key) => /device="(.*?)"/.exec(key)?.[1] ?? []))];
}

test('disks: 11, 15 and 17 columns and more; partitions, RAM disks and loop devices are left out', async () => {
  const { values } = await record(diskProbe(roots('old-kernel')));
  expect(devicesIn(values)).toEqual(['sda', 'sdaa', 'dm-0', 'nvme0n1', 'mmcblk0']);
  const columns = (device: string) => [...values.keys()].filter((key) => key.endsWith(`{device="${device}"}`)).length;
  expect([columns('sda'), columns('nvme0n1'), columns('mmcblk0')]).toEqual([11, 15, 17]);
  expect(values.get('node_disk_read_bytes_total{device="sda"}')).toBe(80 * 512);
  expect(values.get('node_disk_read_time_seconds_total{device="sda"}')).toBe(0.1);
  expect(values.get('node_disk_io_time_weighted_seconds_total{device="sda"}')).toBe(0.4);
  expect(values.get('node_disk_flush_requests_time_seconds_total{device="mmcblk0"}')).toBe(0.01);
});

test('disks of a small VM, and the layout when one appears', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'disk-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  cpSync(fixture('small-vm', 'proc'), directory, { recursive: true });
  const probe = diskProbe({ procfs: directory });
  const recorder = new BlockRecorder('disk', '');
  const first = await record(probe, recorder);
  expect(devicesIn(first.values)).toEqual(['vda', 'zram0']);
  expect(first.values.get('node_disk_io_now{device="vda"}')).toBe(1);
  expect((await record(probe, recorder)).hash).toBe(first.hash);
  writeFileSync(join(directory, 'diskstats'), ' 254 16 vdb 1 2 3 4 5 6 7 8 9 10 11\n', { flag: 'a' });
  const more = await record(probe, recorder);
  expect(devicesIn(more.values)).toEqual(['vda', 'zram0', 'vdb']);
  expect(more.hash).not.toBe(first.hash);
  expect((await record(probe, recorder)).hash).toBe(more.hash);
});

test('network: the columns that count, without the ends of containers’ cables', async () => {
  const { values } = await record(networkProbe(roots('small-vm')));
  expect(devicesIn(values)).toEqual(['lo', 'eth0']);
  const of = (name: string) => values.get(`node_network_${name}{device="eth0"}`);
  expect(['bytes', 'packets', 'errs', 'drop'].map((what) => of(`receive_${what}_total`))).toEqual([721_613_437, 19_497, 1, 2]);
  expect(['bytes', 'packets', 'errs', 'drop'].map((what) => of(`transmit_${what}_total`))).toEqual([1_031_774, 10_732, 7, 8]);
  expect(of('up')).toBe(1);
  expect(of('speed_bytes')).toBe(125_000_000);
  expect(values.get('node_network_up{device="lo"}')).toBe(0);
  expect(values.has('node_network_speed_bytes{device="lo"}')).toBe(false);
  expect(values.get('node_sockstat_sockets_used')).toBe(16);
  expect(values.get('node_sockstat_TCP_tw')).toBe(2);
  expect(values.get('node_sockstat_FRAG_memory')).toBe(0);
});

test('a machine without /sys/class/net has traffic all the same', async () => {
  const { values } = await record(networkProbe(roots('old-kernel')));
  expect(values.get('node_network_receive_bytes_total{device="eth0"}')).toBe(4_294_967_296);
  expect(values.get('node_network_up{device="eth0"}')).toBeNull();
});

test('pressure is told where the kernel measures it, and is no failure where it does not', async () => {
  const { values, outcome } = await record(pressureProbe(roots('small-vm')));
  expect(outcome).toBeUndefined();
  expect(Object.fromEntries(values)).toEqual({
    node_pressure_cpu_waiting_seconds_total: 16.581247,
    node_pressure_io_waiting_seconds_total: 4.58412,
    node_pressure_io_stalled_seconds_total: 4.240767,
    node_pressure_memory_waiting_seconds_total: 0,
    node_pressure_memory_stalled_seconds_total: 0,
  });
  expect((await record(pressureProbe(roots('old-kernel')))).outcome).toBe(noData);
});

test('system: uptime, time, uname, files', async () => {
  const { values } = await record(systemProbe(roots('small-vm')), undefined, new ManualClock(1_700_000_000_500));
  expect(values.get('tidemark_uptime_seconds')).toBe(3965.1);
  expect(values.get('node_time_seconds')).toBe(1_700_000_000.5);
  expect(values.get('node_filefd_allocated')).toBe(629);
  expect(values.get('node_filefd_maximum')).toBe(2_466_183);
  const uname = [...values.keys()].find((key) => key.startsWith('node_uname_info'));
  expect(uname).toMatch(
    /^node_uname_info\{domainname="\(none\)",machine="\w+",nodename="db1",release="6\.1\.0-18-amd64",sysname="Linux",version="#1 SMP PREEMPT_DYNAMIC Debian 6\.1\.76-1"\}$/,
  );
  expect(values.has('node_nf_conntrack_entries')).toBe(false);
});

test('the agent about itself: an offset that nobody has measured is no offset of 0', async () => {
  let offsetMs: number | undefined;
  const probe = selfProbe({ clockOffset: () => offsetMs, reportsLost: () => 3, spoolBytes: () => 4096 });
  const before = (await record(probe)).values;
  expect(before.get('tidemark_clock_offset_seconds')).toBeNull();
  expect(before.get('tidemark_agent_reports_lost_total')).toBe(3);
  expect(before.get('tidemark_agent_spool_bytes')).toBe(4096);
  expect(before.get('tidemark_agent_resident_memory_bytes')).toBeGreaterThan(10_000_000);
  expect(before.get('tidemark_agent_cpu_seconds_total')).toBeGreaterThan(0);
  offsetMs = -3_600_000;
  expect((await record(probe)).values.get('tidemark_clock_offset_seconds')).toBe(-3_600);
});
