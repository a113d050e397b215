/** Memory and swap: node_exporter's names for every field, old kernels, and the limits of containers. */
import { expect, test } from 'vitest';
import { memoryProbe } from './memory.ts';
import { BlockRecorder } from './recorder.ts';
import { record, roots } from './recorded.ts';

test('an old kernel: no MemAvailable, no OOM count, huge pages are a count', async () => {
  const { values } = await record(memoryProbe(roots('old-kernel')));
  expect(values.get('node_memory_MemTotal_bytes')).toBe(1_024_000_000);
  expect(values.get('node_memory_Active_anon_bytes')).toBe(102_400_000);
  expect(values.get('node_memory_HugePages_Total')).toBe(7);
  expect(values.get('node_memory_Hugepagesize_bytes')).toBe(2_097_152);
  expect(values.get('node_memory_DirectMap4k_bytes')).toBe(8_388_608);
  expect(values.has('node_memory_MemAvailable_bytes')).toBe(false);
  // Free, buffers and cache: half of it.
  expect(values.get('tidemark_memory_usage_ratio')).toBe(0.5);
  expect(values.get('tidemark_swap_usage_ratio')).toBe(0.25);
  expect(values.get('node_vmstat_pgmajfault')).toBe(16);
  expect(values.has('node_vmstat_oom_kill')).toBe(false);
});

test('a small VM has all that dashboards use, in the same layout at every collection', async () => {
  const probe = memoryProbe(roots('small-vm'));
  const recorder = new BlockRecorder('memory', '');
  const first = await record(probe, recorder);
  const second = await record(probe, recorder);
  for (const field of 'MemFree MemAvailable Buffers Cached SwapTotal SwapFree SwapCached Slab SReclaimable Active Inactive Dirty Writeback Shmem AnonPages Mapped PageTables KernelStack VmallocUsed Committed_AS CommitLimit'.split(
    ' ',
  ))
    expect(first.values.get(`node_memory_${field}_bytes`)).toEqual(expect.any(Number));
  expect(first.values.get('node_vmstat_oom_kill')).toEqual(expect.any(Number));
  expect(second.hash).toBe(first.hash);
  expect(second.values).toEqual(first.values);
});

test.each([
  // 384 MiB less 128 MiB of file cache that nobody uses, of 512 MiB.
  ['container-v2', 536_870_912, 0.5],
  // The pod's 1 GiB is less than the container's 2 GiB.
  ['container-v2-nested', 1_073_741_824, 0.5],
  ['container-v1', 268_435_456, 0.5],
  ['container-v1-nested', 1_073_741_824, 0.5],
])('%s: the smallest limit counts, and what is used is without file cache that may go', async (machine, limitBytes, ratio) => {
  const { values } = await record(memoryProbe(roots(machine)));
  expect(values.get('tidemark_memory_limit_bytes')).toBe(limitBytes);
  expect(values.get('tidemark_memory_usage_ratio')).toBe(ratio);
  // What the machine has stays what it is.
  expect(values.get('node_memory_MemTotal_bytes')).toBe(8_589_934_592);
});

test.each(['host-with-unit-limit', 'small-vm'])('%s: the limit of a service unit says nothing about the machine', async (machine) => {
  const { values } = await record(memoryProbe(roots(machine)));
  expect(values.has('tidemark_memory_limit_bytes')).toBe(false);
  const [total, available] = ['MemTotal', 'MemAvailable'].map((field) => Number(values.get(`node_memory_${field}_bytes`)));
  expect(values.get('tidemark_memory_usage_ratio')).toBe((total! - available!) / total!);
});

test('without swap its use is not measured, rather than 0', async () => {
  const { values } = await record(memoryProbe(roots('host-with-unit-limit')));
  expect(values.get('tidemark_swap_usage_ratio')).toBeNull();
});

test('a machine without /proc/meminfo is a failure that names the file', async () => {
  await expect(record(memoryProbe(roots('odd-mounts')))).rejects.toThrow(/cannot read .*meminfo/);
});
