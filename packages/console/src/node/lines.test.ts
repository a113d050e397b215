/** From counters and gauges to what a chart of a node says. */
import { expect, test } from 'vitest';
import type { Value } from '../chart/grid.ts';
import type { Placed } from '../chart/spec.ts';
import { busiest, cpuLines, latencyLines, memoryLines, mirroredPairs } from './lines.ts';

const series = (metric: string, labels: Record<string, string>, values: Value[]): Placed => ({ metric, labels, values });
const cpu = (mode: string, values: Value[]) => series('node_cpu_seconds_total', { mode }, values);
const memory = (field: string, value: Value) => series(`node_memory_${field}_bytes`, {}, [value]);

test('CPU by mode is a share of all CPUs, whatever their number; modes that never occur are left out', () => {
  const lines = cpuLines([
    cpu('user', [2, null]),
    cpu('system', [1, null]),
    cpu('idle', [5, null]),
    cpu('iowait', [0, null]),
    cpu('irq', [0, null]),
  ]);
  expect(lines.map(({ label, values }) => [label, values])).toEqual([
    ['user', [0.25, null]],
    ['system', [0.125, null]],
  ]);
});

test('where the system tells no modes, there is the busy share', () => {
  expect(cpuLines([series('tidemark_cpu_usage_ratio', {}, [0.3])])).toMatchObject([{ label: 'busy', values: [0.3] }]);
  expect(cpuLines([])).toEqual([]);
});

test('memory: all parts together are all there is', () => {
  const found = [memory('MemTotal', 100), memory('MemFree', 10), memory('Buffers', 5), memory('Cached', 40), memory('SReclaimable', 3)];
  const lines = memoryLines(found);
  expect(Object.fromEntries(lines.map(({ label, values }) => [label, values[0]]))).toEqual({ used: 42, buffers: 5, cache: 43, free: 10 });
  expect(memoryLines([memory('MemTotal', 100), memory('MemAvailable', 70)]).map(({ label, values }) => [label, values[0]])).toEqual([
    ['used', 30],
    ['available', 70],
  ]);
  expect(memoryLines([])).toEqual([]);
});

test('devices: the busiest, in above and out below, in one colour', () => {
  const found = [
    series('rx', { device: 'a' }, [1, null]),
    series('tx', { device: 'a' }, [1, 1]),
    series('rx', { device: 'b' }, [9, 9]),
    series('tx', { device: 'b' }, [0, 0]),
    series('rx', { device: 'c' }, [0, 0]),
  ];
  expect(busiest(found, 'device', 5)).toEqual(['b', 'a']);
  expect(busiest(found.slice(4), 'device', 5)).toEqual(['c']);
  expect(mirroredPairs(found, 'device', ['rx', 'in'], ['tx', 'out'], 1)).toEqual([
    { label: 'b in', values: [9, 9], tone: 1, mirrored: false },
    { label: 'b out', values: [0, 0], tone: 1, mirrored: true },
  ]);
});

test('latency is time by operations, and nothing where there were none', () => {
  const device = { device: 'vda' };
  const lines = latencyLines(
    [
      series('node_disk_read_time_seconds_total', device, [0.5, 0.001, null]),
      series('node_disk_reads_completed_total', device, [100, 0, null]),
    ],
    4,
  );
  expect(lines).toMatchObject([{ label: 'vda read', values: [0.005, null, null] }]);
});
