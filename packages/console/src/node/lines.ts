/** How the series of a node become the lines of its charts: sums, shares and differences, all on the chart's grid. Pure. */
import { combine, type Value } from '../chart/grid.ts';
import type { ChartLine, Placed } from '../chart/spec.ts';

/** More lines than this nobody tells apart. */
const LINES_MOST = 8;

export const first = (found: readonly Placed[], metric: string): Placed | undefined => found.find((series) => series.metric === metric);
export const all = (found: readonly Placed[], metric: string): Placed[] => found.filter((series) => series.metric === metric);

/** Colours by place, the first the strongest. */
export const toneOf = (place: number): number => (place % LINES_MOST) + 1;

/** One line per series, named by a label. */
export function linesBy(found: readonly Placed[], label: string, tone = toneOf): ChartLine[] {
  return found
    .toSorted((a, b) => (a.labels[label] ?? '').localeCompare(b.labels[label] ?? '', 'en', { numeric: true }))
    .map(({ labels, values, least, greatest }, place) => ({ label: labels[label] ?? '', values, least, greatest, tone: tone(place) }));
}

const sum = (values: readonly Value[]): number => values.reduce<number>((total, value) => total + (value ?? 0), 0);

/** The busiest `most` keys of some series, by all that passed; those that nothing passed only where there are no others. */
export function busiest(found: readonly Placed[], label: string, most: number): string[] {
  const totals = new Map<string, number>();
  for (const { labels, values } of found) totals.set(labels[label] ?? '', (totals.get(labels[label] ?? '') ?? 0) + sum(values));
  const some = [...totals.values()].some((total) => total > 0);
  return [...totals]
    .filter(([, total]) => total > 0 || !some)
    .toSorted((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]))
    .slice(0, most)
    .map(([key]) => key);
}

/** What comes in above, what goes out below: a pair of lines of one colour for each of the busiest devices. */
export function mirroredPairs(
  found: readonly Placed[],
  label: string,
  into: [string, string],
  outOf: [string, string],
  most: number,
): ChartLine[] {
  return busiest(found, label, most).flatMap((key, place) =>
    [into, outOf].flatMap(([metric, word], side): ChartLine[] => {
      const series = found.find((one) => one.metric === metric && one.labels[label] === key);
      return series === undefined ? [] : [{ label: `${key} ${word}`, values: series.values, tone: toneOf(place), mirrored: side === 1 }];
    }),
  );
}

const CPU_MODES: readonly [label: string, modes: readonly string[], tone: number][] = [
  ['user', ['user'], 1],
  ['system', ['system'], 2],
  ['nice', ['nice'], 4],
  ['interrupts', ['irq', 'softirq'], 5],
  ['I/O wait', ['iowait'], 3],
  ['steal', ['steal'], 6],
];

/** Shares of all CPUs by what they did, without being idle; just the busy share where the system does not tell more. */
export function cpuLines(found: readonly Placed[]): ChartLine[] {
  const modes = all(found, 'node_cpu_seconds_total');
  if (modes.length === 0) {
    const usage = first(found, 'tidemark_cpu_usage_ratio');
    return usage === undefined ? [] : [{ label: 'busy', values: usage.values, tone: 1 }];
  }
  const total = combine(
    modes.map(({ values }) => values),
    (values) => values.reduce((a, b) => a + b, 0),
  );
  const idleOnly = (label: string, line: readonly Value[]): boolean => label !== 'user' && label !== 'system' && sum(line) < 1e-9;
  return CPU_MODES.flatMap(([label, names, tone]): ChartLine[] => {
    const parts = modes.filter(({ labels }) => names.includes(labels['mode'] ?? ''));
    if (parts.length === 0) return [];
    const values = combine([total, ...parts.map((part) => part.values)], ([whole = 0, ...rest]) => rest.reduce((a, b) => a + b, 0) / whole);
    return idleOnly(label, values) ? [] : [{ label, values, tone }];
  });
}

/** Where the memory is: programs, buffers, cache, free. Together all there is. */
export function memoryLines(found: readonly Placed[]): ChartLine[] {
  const of = (field: string): readonly Value[] | undefined => first(found, `node_memory_${field}_bytes`)?.values;
  const [total, free, buffers, cached, reclaimable] = [of('MemTotal'), of('MemFree'), of('Buffers'), of('Cached'), of('SReclaimable')];
  if (total === undefined || free === undefined || cached === undefined) {
    const available = of('MemAvailable');
    if (total === undefined || available === undefined) return [];
    return [
      { label: 'used', values: combine([total, available], ([a = 0, b = 0]) => a - b), tone: 1 },
      { label: 'available', values: available, tone: 0 },
    ];
  }
  const nothing = total.map((value) => (typeof value === 'number' ? 0 : value));
  const cache = combine([cached, reclaimable ?? nothing], ([a = 0, b = 0]) => a + b);
  const used = combine([total, free, buffers ?? nothing, cache], ([a = 0, ...rest]) => Math.max(0, a - rest.reduce((x, y) => x + y, 0)));
  return [
    { label: 'used', values: used, tone: 1 },
    ...(buffers === undefined ? [] : [{ label: 'buffers', values: buffers, tone: 5 }]),
    { label: 'cache', values: cache, tone: 2 },
    { label: 'free', values: free, tone: 0 },
  ];
}

/** Time per operation, reads and writes taken apart; nothing where there was no operation. */
export function latencyLines(found: readonly Placed[], most: number): ChartLine[] {
  const of = (metric: string, device: string): readonly Value[] | undefined =>
    found.find((one) => one.metric === metric && one.labels['device'] === device)?.values;
  const operations = found.filter(({ metric }) => metric.endsWith('_completed_total'));
  return busiest(operations, 'device', most).flatMap((device, place) =>
    (['read', 'write'] as const).flatMap((kind): ChartLine[] => {
      const [time, count] = [of(`node_disk_${kind}_time_seconds_total`, device), of(`node_disk_${kind}s_completed_total`, device)];
      if (time === undefined || count === undefined) return [];
      const values = combine([time, count], ([seconds = 0, times = 0]) => (times < 0.01 ? null : seconds / times));
      return [{ label: `${device} ${kind}`, values, tone: toneOf(place), dashed: kind === 'write' }];
    }),
  );
}
