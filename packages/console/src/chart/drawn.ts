/** From lines as they were measured to lines as they are drawn: stacked, mirrored, without those that are hidden. Pure. */
import { stacked, type Value } from './grid.ts';
import type { DrawnLine } from './plot.ts';
import type { ChartLine } from './spec.ts';

const negative = (values: readonly Value[]): Value[] => values.map((value) => (typeof value === 'number' ? -value : value));

/** Lays the lines out. In a stack, lines that stand `alone` are drawn over it as they are. */
export function drawnLines(lines: readonly ChartLine[], hidden: ReadonlySet<string>, isStack: boolean): DrawnLine[] {
  const shown = lines.filter(({ label }) => !hidden.has(label));
  if (!isStack) {
    return shown.map((line) => {
      if (line.mirrored !== true) return { ...line, drawn: line.values };
      const { least, greatest, ...rest } = line;
      const flipped = least === undefined || greatest === undefined ? {} : { least: negative(greatest), greatest: negative(least) };
      return { ...rest, ...flipped, drawn: negative(line.values) };
    });
  }
  const layers = shown.filter(({ alone }) => alone !== true);
  const sums = stacked(layers.map(({ values }) => values));
  return [
    ...layers.map((line, place): DrawnLine => ({ ...line, drawn: sums[place]!, upon: place === 0 ? null : place - 1 })),
    ...shown.filter(({ alone }) => alone === true).map((line): DrawnLine => ({ ...line, drawn: line.values })),
  ];
}

export interface TableRow {
  ms: number;
  values: Value[];
}

/** At most `most` rows for reading: means over as many places as it takes, the newest last. */
export function tableRows(xs: readonly number[], lines: readonly ChartLine[], most: number): TableRow[] {
  const every = Math.max(1, Math.ceil(xs.length / most));
  const rows: TableRow[] = [];
  for (let first = 0; first < xs.length; first += every) {
    rows.push({
      ms: xs[first]! * 1_000,
      values: lines.map(({ values }) => {
        const known = values.slice(first, first + every).filter((value) => typeof value === 'number');
        return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
      }),
    });
  }
  return rows;
}
