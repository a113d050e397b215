/**
 * The common places in time that all charts of a page put their values on, so that one cursor fits all. A place
 * without a value is null and is drawn as a gap; only the jitter of a report that fell into the next bin is not.
 */
import type { SeriesResult } from '@tidemark/protocol';
import type { Span } from './range.ts';

export interface Grid extends Span {
  stepMs: number;
  /** Beginnings of bins, in seconds since 1970. */
  xs: readonly number[];
}

/** null: nobody measured. undefined: a bin that a report just missed; the line goes on through it. */
export type Value = number | null | undefined;

const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800] as const;
/** Pixels a point may take. */
const PX_PER_POINT = 1.3;
/** So many report intervals without a report are a gap: one report may be late, two may not. */
const GAP_INTERVALS = 2.5;

/** The finest step that gives no more points than the eye can tell apart, and none without a report. */
export function stepFor({ fromMs, toMs }: Span, widthPx: number, intervalMs: number): number {
  const wanted = Math.max(intervalMs, ((toMs - fromMs) * PX_PER_POINT) / Math.max(100, widthPx));
  return 1_000 * (STEPS_S.find((step) => step * 1_000 >= wanted) ?? STEPS_S.at(-1)!);
}

/** The grid over a span: its ends lie on multiples of the step, as the collector's bins do. */
export function gridOver(span: Span, stepMs: number): Grid {
  const fromMs = Math.floor(span.fromMs / stepMs) * stepMs;
  const count = Math.floor((span.toMs - fromMs) / stepMs) + 1;
  return { fromMs, toMs: span.toMs, stepMs, xs: Array.from({ length: count }, (_, place) => (fromMs + place * stepMs) / 1_000) };
}

function toNumber(value: number | string | null): number | null {
  return typeof value === 'number' ? value : null;
}

/** Lets the line through where no more is missing than a late report leaves; `values` is changed. */
export function bridgeJitter(values: Value[], stepMs: number, intervalMs: number): Value[] {
  let last = -1;
  values.forEach((value, place) => {
    if (value === null || value === undefined) return;
    if (last >= 0 && place - last > 1 && (place - last) * stepMs <= GAP_INTERVALS * intervalMs) values.fill(undefined, last + 1, place);
    last = place;
  });
  return values;
}

/** Puts the points of an answer on the grid. */
export function onGrid(points: SeriesResult['points'], grid: Grid, intervalMs: number): Value[] {
  const values = Array.from<Value>({ length: grid.xs.length }).fill(null);
  for (const [ms, value] of points) {
    const place = Math.round((ms - grid.fromMs) / grid.stepMs);
    if (place >= 0 && place < values.length) values[place] = toNumber(value);
  }
  return bridgeJitter(values, grid.stepMs, intervalMs);
}

/** Puts one after the other on top: each result is the sum of itself and those before. Missing only where all are. */
export function stacked(layers: readonly (readonly Value[])[]): Value[][] {
  const sums = layers.map((layer) => Array.from<Value>({ length: layer.length }));
  const places = layers[0]?.length ?? 0;
  for (let place = 0; place < places; place += 1) {
    const known = layers.some((layer) => typeof layer[place] === 'number');
    const missing = layers.some((layer) => layer[place] === undefined) ? undefined : null;
    let sum = 0;
    for (const [layer, values] of layers.entries()) sums[layer]![place] = known ? (sum += values[place] ?? 0) : missing;
  }
  return sums;
}

/** Applies a function place by place; nothing where any operand is missing. */
export function combine(operands: readonly (readonly Value[])[], calculate: (values: readonly number[]) => number | null): Value[] {
  const first = operands[0] ?? [];
  return first.map((_, place): Value => {
    const values: number[] = [];
    for (const operand of operands) {
      const value = operand[place];
      if (value === null || value === undefined) return value;
      values.push(value);
    }
    const result = calculate(values);
    return result === null || !Number.isFinite(result) ? null : result;
  });
}

/** The last place at or before `fromPlace` that has a value, or -1. */
export function lastKnown(values: readonly Value[], fromPlace = values.length - 1): number {
  for (let place = Math.min(fromPlace, values.length - 1); place >= 0; place -= 1) if (typeof values[place] === 'number') return place;
  return -1;
}
