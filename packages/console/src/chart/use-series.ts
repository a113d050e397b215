/**
 * The data of one chart: asked for when the chart is in sight and its range changes, withdrawn when it changes again.
 * What was there stays until the new is there; a failure says that what is shown is old, and takes nothing away.
 */
import { useComputed, useSignal, useSignalEffect, type ReadonlySignal } from '@preact/signals';
import type { SeriesResponse } from '@tidemark/protocol';
import { useEffect } from 'preact/hooks';
import type { Failure } from '../api/failure.ts';
import { onGrid, type Grid } from './grid.ts';
import type { ChartGroup } from './group.ts';
import { extremesOf, queryFor, type ChartLine, type ChartSpec, type Placed } from './spec.ts';

export interface ChartData {
  grid: Grid;
  lines: ChartLine[];
  /** More series matched than an answer holds. */
  truncated: boolean;
}

export interface ChartState {
  data: ChartData | null;
  /** A question is open. */
  loading: boolean;
  /** Why the last question failed. */
  failure: Failure | null;
}

/** Whether there is nothing to draw, now that it is known. */
export const nothingMeasured = (state: ChartState): boolean => state.data !== null && state.data.lines.length === 0;

function place(answer: SeriesResponse, grid: Grid, intervalMs: number): Placed[] {
  return answer.series.map((series) => ({
    metric: series.metric,
    labels: series.labels,
    values: onGrid(series.points, grid, intervalMs),
    ...(series.extremes === undefined
      ? {}
      : { least: onGrid(extremesOf(series, 0), grid, intervalMs), greatest: onGrid(extremesOf(series, 1), grid, intervalMs) }),
  }));
}

/** @param inSight asks only while true. `spec` may be made anew at each drawing; its lines are worked out again then. */
export function useSeries(
  group: ChartGroup,
  node: string,
  spec: ChartSpec,
  inSight: ReadonlySignal<boolean>,
): ReadonlySignal<ChartState> & { again: () => void } {
  const found = useSignal<{ grid: Grid; answer: SeriesResponse } | null>(null);
  const loading = useSignal(true);
  const failure = useSignal<Failure | null>(null);
  const tries = useSignal(0);
  const current = useSignal(spec);
  useEffect(() => {
    current.value = spec;
  }, [spec, current]);

  useSignalEffect(() => {
    void tries.value;
    const grid = group.grid.value;
    if (grid === null || !inSight.value) return;
    const query = queryFor(current.peek().question, node, grid);
    const withdrawn = new AbortController();
    const known = group.loader.kept(query);
    if (known !== undefined) found.value = { grid, answer: known };
    loading.value = true;
    void group.loader.load(query, withdrawn.signal).then((answer) => {
      if (withdrawn.signal.aborted) return;
      loading.value = false;
      failure.value = answer.ok ? null : answer.failure;
      if (answer.ok) found.value = { grid, answer: answer.value };
    });
    return () => withdrawn.abort();
  });

  const data = useComputed<ChartData | null>(() => {
    if (found.value === null) return null;
    const { grid, answer } = found.value;
    const lines = current.value.lines(place(answer, grid, group.intervalMs), grid);
    // A line that is nowhere (the swap of a machine without) only takes room in the legend.
    const drawn = lines.filter(({ values }) => values.some((value) => typeof value === 'number'));
    return { grid, lines: drawn, truncated: answer.truncated };
  });
  const state = useComputed<ChartState>(() => ({ data: data.value, loading: loading.value, failure: failure.value }));
  return Object.assign(state, {
    again: () => {
      tries.value += 1;
    },
  });
}
