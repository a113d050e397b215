/** What a chart shows, apart from when: which series, how they become lines, and what they are measured against. */
import type { SeriesResult } from '@tidemark/protocol';
import type { Grid, Value } from './grid.ts';
import type { Unit } from './units.ts';

/** The question for the collector, without node and time. */
export interface ChartQuestion {
  metrics: readonly string[];
  /** Counters as their rise per second. */
  rate?: boolean;
  /** Labels by which series are added up. */
  by?: readonly string[];
  /** Least and greatest beside the mean of each bin. */
  extremes?: boolean;
  /** Only series with these labels. */
  labels?: Readonly<Record<string, string>>;
}

/** A series on the chart's grid. */
export interface Placed {
  metric: string;
  labels: Readonly<Record<string, string>>;
  values: readonly Value[];
  least?: readonly Value[];
  greatest?: readonly Value[];
}

export interface ChartLine {
  label: string;
  values: readonly Value[];
  least?: readonly Value[] | undefined;
  greatest?: readonly Value[] | undefined;
  /** Which of the colours, from 1; 0 is a quiet grey. */
  tone: number;
  /** Drawn below zero: what goes out, against what comes in. */
  mirrored?: boolean;
  dashed?: boolean;
  /** Where it goes on beyond the last value. */
  ahead?: { fromMs: number; from: number; toMs: number; to: number };
  /** Not part of the stack. */
  alone?: boolean;
}

export interface ChartBounds {
  warning?: number;
  critical?: number;
  /** A bound of another kind, such as the number of CPUs. */
  other?: { value: number; label: string };
}

export interface ChartSpec {
  /** Stable within a page. */
  id: string;
  title: string;
  unit: Unit;
  question: ChartQuestion;
  /** Makes the lines; none when nothing of it was measured. */
  lines: (found: readonly Placed[], grid: Grid) => ChartLine[];
  stacked?: boolean;
  /** The axis' end, where it has a natural one. */
  most?: number;
  bounds?: ChartBounds;
  /** What is measured, for whoever asks. */
  hint?: string;
  wide?: boolean;
  /** Share of the range to leave free on the right for where lines go on to. */
  aheadShare?: number;
}

/** The query for one node and grid. */
export function queryFor(question: ChartQuestion, node: string, grid: Grid): URLSearchParams {
  const query = new URLSearchParams({
    metric: question.metrics.join(','),
    node,
    from: String(grid.fromMs),
    to: String(Math.ceil(grid.toMs / grid.stepMs) * grid.stepMs),
    step: String(grid.stepMs / 1_000),
  });
  if (question.rate === true) query.set('rate', 'true');
  if (question.extremes === true) query.set('extremes', 'true');
  if (question.by !== undefined) query.set('by', question.by.join(','));
  for (const [name, value] of Object.entries(question.labels ?? {})) query.set(`label.${name}`, value);
  return query;
}

/** Extremes of an answer as points of their own. */
export function extremesOf(series: SeriesResult, which: 0 | 1): SeriesResult['points'] {
  return series.points.map(([ms], place) => [ms, series.extremes?.[place]?.[which] ?? null]);
}
