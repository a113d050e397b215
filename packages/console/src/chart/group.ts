/**
 * What the charts of one page share: the stretch of time, the cursor, and the way to the collector. One grid for all
 * of them, so that a moment is at the same place in each; the range lives in the address where the page wants that.
 */
import { computed, effect, signal, type ReadonlySignal, type Signal } from '@preact/signals';
import type { SeriesResponse } from '@tidemark/protocol';
import type { Answer } from '../api/failure.ts';
import { gridOver, stepFor, type Grid } from './grid.ts';
import { createLoader, type Loader } from './loader.ts';
import { queryOfRange, rangeOfQuery, spanOf, type Span, type TimeRange } from './range.ts';

/** Four, of which the collector works on two. */
const AT_ONCE = 4;
const KEEP_ANSWERS = 120;
/** "Now" moves on as often as there is something new to see, within these. */
const FOLLOW_LEAST_MS = 10_000;
const FOLLOW_MOST_MS = 60_000;
/** A window that becomes a little wider needs no new figures. */
const WIDTH_STEP_PX = 80;

/** An alert, drawn as a band while it is open. `toMs` null: it still is. */
export interface ChartMark {
  fromMs: number;
  toMs: number | null;
  level: 'warning' | 'critical';
  title: string;
  href: string;
}

export interface ChartGroup {
  readonly range: ReadonlySignal<TimeRange>;
  /** What is in sight. */
  readonly span: ReadonlySignal<Span>;
  /** Null until a chart has said how wide it is. */
  readonly grid: ReadonlySignal<Grid | null>;
  readonly nowMs: ReadonlySignal<number>;
  readonly intervalMs: number;
  /** The moment all charts point at; null when nobody points. */
  readonly cursorMs: Signal<number | null>;
  readonly loader: Loader;
  /** Changes the range. `step` makes it one that the back button undoes. */
  change(range: TimeRange, how?: { step: boolean }): void;
  /** Told by charts: how many pixels they have. */
  measured(widthPx: number): void;
  dispose(): void;
}

export interface ChartGroupOptions {
  ask: (query: URLSearchParams, signal: AbortSignal) => Promise<Answer<SeriesResponse>>;
  /** The collector's clock, in milliseconds since 1970. */
  now: () => number;
  /** How far reports lie apart. */
  intervalMs: number;
  /** Ticks while the page is in sight and fresh; "now" is looked at anew with it. */
  tick: ReadonlySignal<unknown>;
  /** A fixed range for charts that are part of another page; without it the range is the address'. */
  range?: TimeRange;
}

/** Makes the group; `dispose` it with the page. */
export function createChartGroup(options: ChartGroupOptions): ChartGroup {
  const own = options.range;
  const range = signal<TimeRange>(own ?? rangeOfQuery(location.search));
  const nowMs = signal(options.now());
  const width = signal<number | null>(null);
  const span = computed(() => spanOf(range.value, nowMs.value));
  const grid = computed(() => (width.value === null ? null : gridOver(span.value, stepFor(span.value, width.value, options.intervalMs))));

  const onBack = (): void => {
    range.value = rangeOfQuery(location.search);
  };
  if (own === undefined) addEventListener('popstate', onBack);
  const stopFollowing = effect(() => {
    void options.tick.value;
    if (range.value.kind !== 'last') return;
    const everyMs = Math.min(FOLLOW_MOST_MS, Math.max(FOLLOW_LEAST_MS, grid.peek()?.stepMs ?? 0));
    const now = options.now();
    if (Math.abs(now - nowMs.peek()) >= everyMs) nowMs.value = now;
  });

  return {
    range,
    span,
    grid,
    nowMs,
    intervalMs: options.intervalMs,
    cursorMs: signal<number | null>(null),
    loader: createLoader({
      ask: options.ask,
      now: () => performance.now(),
      atOnce: AT_ONCE,
      keep: KEEP_ANSWERS,
      freshMs: FOLLOW_LEAST_MS - 1_000,
    }),
    change(next, how = { step: false }) {
      nowMs.value = options.now();
      range.value = next;
      if (own !== undefined) return;
      const address = `${location.pathname}${queryOfRange(next)}${location.hash}`;
      if (how.step) history.pushState(null, '', address);
      else history.replaceState(null, '', address);
    },
    measured(widthPx) {
      if (widthPx > 0) width.value = Math.max(WIDTH_STEP_PX, Math.floor(widthPx / WIDTH_STEP_PX) * WIDTH_STEP_PX);
    },
    dispose() {
      stopFollowing();
      removeEventListener('popstate', onBack);
    },
  };
}
