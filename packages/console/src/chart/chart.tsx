/**
 * One chart: its lines, its legend with the values at the cursor, and its table for those who cannot see it. Asks for
 * its data itself; everything it shares with its neighbours is the group's.
 */
import { computed, useComputed, useSignal, useSignalEffect, type ReadonlySignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useId, useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { explain } from '../api/failure.ts';
import { formatDuration } from '../format/quantities.ts';
import { formatClock, formatUtc } from '../format/times.ts';
import { drawnLines, tableRows } from './drawn.ts';
import { lastKnown } from './grid.ts';
import type { ChartGroup, ChartMark } from './group.ts';
import { useInSight } from './in-sight.ts';
import { useChartKeys } from './keys.ts';
import { AXIS_PX } from './overlay.ts';
import { paletteChanged, watchPalette } from './palette.ts';
import type { Plot } from './plot.ts';
import { panned, rangeBetween, zoomed, type TimeRange } from './range.ts';
import type { ChartLine, ChartSpec } from './spec.ts';
import { formatValue } from './units.ts';
import { nothingMeasured, useSeries, type ChartData, type ChartState } from './use-series.ts';

const HEIGHT_PX = 168;
const TABLE_ROWS = 48;
const NO_MARKS: readonly ChartMark[] = [];

export interface ChartProps {
  group: ChartGroup;
  node: string;
  spec: ChartSpec;
  /** Alerts of what is drawn here. */
  marks?: readonly ChartMark[];
}

let loadedPlot: Promise<typeof import('./plot.ts')> | undefined;
/** The drawing code comes with the first chart, not with the page. */
export const loadPlot = (): Promise<typeof import('./plot.ts')> => (loadedPlot ??= import('./plot.ts'));

/** The place on the grid that the cursor points at; -1 without one. */
function placeAt(data: ChartData, ms: number | null): number {
  if (ms === null) return -1;
  const place = Math.round((ms - data.grid.fromMs) / data.grid.stepMs);
  return place < 0 || place >= data.grid.xs.length ? -1 : place;
}

function valueText(line: ChartLine, place: number, spec: ChartSpec): string {
  const value = line.values[place];
  const text = formatValue(value, spec.unit);
  const [least, greatest] = [line.least?.[place], line.greatest?.[place]];
  if (typeof value !== 'number' || typeof least !== 'number' || typeof greatest !== 'number') return text;
  const [low, high] = [formatValue(least, spec.unit), formatValue(greatest, spec.unit)];
  return low === text && high === text ? text : `${text} (${low} – ${high})`;
}

interface CanvasProps extends ChartProps {
  state: ReadonlySignal<ChartState>;
  hidden: ReadonlySignal<ReadonlySet<string>>;
  label: string;
}

/** Where the lines are drawn; for keyboard and screen reader a slider over time. */
function Canvas({ group, spec, state, hidden, label, marks = NO_MARKS }: CanvasProps): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const plot = useSignal<Plot | null>(null);
  const panFrom = useRef<TimeRange | null>(null);
  const currentMarks = useSignal(marks);
  currentMarks.value = marks;

  useLayoutEffect(() => {
    const element = host.current;
    if (element === null) return undefined;
    let made: Plot | null = null;
    let gone = false;
    const measure = (): void => {
      const width = element.clientWidth;
      group.measured(width - AXIS_PX);
      made?.resize(width, HEIGHT_PX);
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    watchPalette();
    void loadPlot().then(({ Plot: PlotClass }) => {
      if (gone) return;
      made = new PlotClass(element, {
        onCursor: (ms) => (group.cursorMs.value = ms),
        onSelect: (fromMs, toMs) =>
          group.change(rangeBetween(fromMs, Math.min(toMs, group.nowMs.peek()), group.nowMs.peek()), { step: true }),
        onZoom: (factor, centreMs) =>
          group.change(zoomed(group.range.peek(), factor, Math.min(centreMs, group.nowMs.peek()), group.nowMs.peek())),
        onPanStart: () => (panFrom.current = group.range.peek()),
        onPan: (share) => {
          if (panFrom.current !== null) group.change(panned(panFrom.current, share, group.nowMs.peek()));
        },
      });
      made.resize(element.clientWidth, HEIGHT_PX);
      plot.value = made;
    });
    return () => {
      gone = true;
      observer.disconnect();
      made?.destroy();
      plot.value = null;
    };
  }, [group, plot]);

  useSignalEffect(() => {
    const { data } = state.value;
    if (plot.value === null || data === null) return;
    const { fromMs, toMs } = group.span.value;
    const lines = drawnLines(data.lines, hidden.value, spec.stacked === true);
    const ahead = lines.some((line) => line.ahead !== undefined) ? (spec.aheadShare ?? 0) : 0;
    plot.value.update({
      xs: data.grid.xs,
      lines,
      span: { fromMs, toMs: toMs + (toMs - fromMs) * ahead },
      nowMs: group.nowMs.value,
      unit: spec.unit,
      most: spec.most,
      bounds: spec.bounds,
      marks: currentMarks.value,
    });
  });
  useSignalEffect(() => plot.value?.setCursor(group.cursorMs.value));
  useSignalEffect(() => {
    if (paletteChanged.value > 0) plot.value?.recolour();
  });

  const keys = useChartKeys(group, () => state.peek().data?.grid ?? null);
  const spoken = useComputed(() => {
    const { data } = state.value;
    if (data === null) return 'no values yet';
    const place =
      group.cursorMs.value === null
        ? data.lines[0] === undefined
          ? -1
          : lastKnown(data.lines[0].values)
        : placeAt(data, group.cursorMs.value);
    if (place < 0) return 'no values';
    const at = data.grid.xs[place]! * 1_000;
    const values = data.lines
      .filter((line) => !hidden.value.has(line.label))
      .map((line) => `${line.label} ${valueText(line, place, spec)}`);
    return `${formatClock(at, group.nowMs.peek())}: ${values.join(', ')}`;
  });
  const { fromMs, toMs } = group.span.value;
  return (
    <div
      class="chart-canvas"
      ref={host}
      tabIndex={0}
      role="slider"
      aria-label={label}
      aria-orientation="horizontal"
      aria-valuemin={Math.round(fromMs / 1_000)}
      aria-valuemax={Math.round(toMs / 1_000)}
      aria-valuenow={Math.round((group.cursorMs.value ?? toMs) / 1_000)}
      aria-valuetext={spoken}
      aria-keyshortcuts="ArrowLeft ArrowRight Home End + - PageUp PageDown Escape"
      onKeyDown={keys}
      onBlur={() => (group.cursorMs.value = null)}
    />
  );
}

function Legend(props: {
  group: ChartGroup;
  spec: ChartSpec;
  data: ChartData;
  hidden: ReadonlySet<string>;
  onToggle: (label: string) => void;
}): JSX.Element {
  const { group, spec, data, hidden } = props;
  return (
    <ul class="legend">
      {data.lines.map((line) => {
        const text = computed(() => {
          const cursor = group.cursorMs.value;
          return valueText(line, cursor === null ? lastKnown(line.values) : placeAt(data, cursor), spec);
        });
        const shown = !hidden.has(line.label);
        return (
          <li key={line.label}>
            <button type="button" class={`legend-line tone-${line.tone}`} aria-pressed={shown} onClick={() => props.onToggle(line.label)}>
              <span class={line.dashed === true ? 'swatch dashed' : 'swatch'} aria-hidden="true" />
              <span class="legend-label">{line.label}</span>
              <span class="legend-value">{text}</span>
            </button>
          </li>
        );
      })}
    </ul>
  );
}

function Table({ data, spec, nowMs }: { data: ChartData; spec: ChartSpec; nowMs: number }): JSX.Element {
  const rows = tableRows(data.grid.xs, data.lines, TABLE_ROWS).toReversed();
  return (
    <div class="scroller chart-table" tabIndex={0} role="region" aria-label={`${spec.title}, as a table`}>
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            {data.lines.map(({ label }) => (
              <th key={label} scope="col" class="number">
                {label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ ms, values }) => (
            <tr key={ms}>
              <th scope="row">
                <time dateTime={new Date(ms).toISOString()} title={formatUtc(ms)}>
                  {formatClock(ms, nowMs)}
                </time>
              </th>
              {values.map((value, place) => (
                <td key={data.lines[place]?.label} class="number">
                  {formatValue(value, spec.unit)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** What stands in a chart's place while it has nothing to draw. */
function Instead({ state, again }: { state: ChartState; again: () => void }): JSX.Element | null {
  if (state.data === null && state.failure !== null)
    return (
      <div class="chart-instead" role="status">
        <p>{explain(state.failure)}</p>
        <button type="button" class="button" onClick={again}>
          Try again
        </button>
      </div>
    );
  if (state.data === null) return <div class="chart-instead muted">Loading…</div>;
  return nothingMeasured(state) ? <div class="chart-instead muted">Nothing was measured in this time.</div> : null;
}

export function Chart({ group, node, spec, marks }: ChartProps): JSX.Element {
  const figure = useRef<HTMLElement>(null);
  const inSight = useInSight(figure);
  const state = useSeries(group, node, spec, inSight);
  const hidden = useSignal<ReadonlySet<string>>(new Set());
  const asTable = useSignal(false);
  const id = useId();
  const { data, failure, loading } = state.value;
  const toggle = useMemo(
    () => (label: string) => {
      const next = new Set(hidden.peek());
      if (!next.delete(label)) next.add(label);
      hidden.value = next;
    },
    [hidden],
  );
  const shown = asTable.value && data !== null;
  return (
    <figure
      ref={figure}
      class={spec.wide === true ? 'chart wide' : 'chart'}
      aria-labelledby={id}
      aria-busy={loading && data === null}
      data-loading={loading}
    >
      <figcaption class="chart-head">
        <h3 id={id} title={spec.hint}>
          {spec.title}
        </h3>
        {data !== null && failure !== null && failure.kind !== 'aborted' ? (
          <span class="chart-note warn" role="status">
            not renewed: {explain(failure)}
          </span>
        ) : data !== null && data.grid.stepMs > group.intervalMs ? (
          <span
            class="chart-note"
            title="Each point is the mean over so long; where a lighter band lies about a line it spans the least and the greatest."
          >
            {formatDuration(data.grid.stepMs / 1_000)} means
          </span>
        ) : null}
        {data?.truncated === true ? <span class="chart-note warn">not all series are shown</span> : null}
        <button type="button" class="chart-switch" aria-pressed={shown} onClick={() => (asTable.value = !asTable.value)}>
          {shown ? 'Chart' : 'Table'}
          <span class="unseen"> of {spec.title}</span>
        </button>
      </figcaption>
      {shown ? (
        <Table data={data} spec={spec} nowMs={group.nowMs.value} />
      ) : (
        <div class="chart-place">
          <Canvas
            group={group}
            node={node}
            spec={spec}
            state={state}
            hidden={hidden}
            label={spec.title}
            {...(marks === undefined ? {} : { marks })}
          />
          <Instead state={state.value} again={state.again} />
        </div>
      )}
      {data === null || shown || nothingMeasured(state.value) ? null : (
        <Legend group={group} spec={spec} data={data} hidden={hidden.value} onToggle={toggle} />
      )}
    </figure>
  );
}
