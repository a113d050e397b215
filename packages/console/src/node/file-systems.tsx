/**
 * The file systems of a node: how full they are, how full they were, and when they will be full at the rate of the
 * last day, where that can be said honestly.
 */
import { useComputed, useSignal, useSignalEffect } from '@preact/signals';
import type { OverviewNode, SeriesResponse } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { Chart } from '../chart/chart.tsx';
import { aboutText, forecastOf, type Forecast } from '../chart/forecast.ts';
import { lastKnown } from '../chart/grid.ts';
import type { ChartGroup, ChartMark } from '../chart/group.ts';
import type { ChartLine, ChartSpec } from '../chart/spec.ts';
import type { BoundsInForce } from '../fleet/bounds.ts';
import { formatBytes } from '../format/quantities.ts';
import { formatClock, formatUtc } from '../format/times.ts';
import { RatioLevel } from '../look/level.tsx';
import { WarningShape } from '../look/symbols.tsx';
import { linesBy } from './lines.ts';

const METRIC = 'tidemark_filesystem_usage_ratio';
const DAY_MS = 86_400_000;
const STEP_S = 600;
/** Forecasts change slowly. */
const EVERY_MS = 600_000;
const AHEAD_SHARE = 0.22;
const LINES_MOST = 8;

export type Forecasts = ReadonlyMap<string, Forecast>;

/** A forecast per mount point, from a day of usage ratios. */
export function forecastsOf({ series }: SeriesResponse): Forecasts {
  return new Map(
    series.flatMap(({ labels, points }): [string, Forecast][] => {
      const free = points.flatMap(([ms, ratio]): [number, number][] => (typeof ratio === 'number' ? [[ms, 1 - ratio]] : []));
      const forecast = forecastOf(free);
      return forecast === null ? [] : [[labels['mountpoint'] ?? '', forecast]];
    }),
  );
}

/** Null until they are known. */
function useForecasts(group: ChartGroup, node: string) {
  const forecasts = useSignal<Forecasts | null>(null);
  const turn = useComputed(() => Math.floor(group.nowMs.value / EVERY_MS) * EVERY_MS);
  useSignalEffect(() => {
    const toMs = turn.value;
    const query = new URLSearchParams({
      metric: METRIC,
      node,
      from: String(toMs - DAY_MS),
      to: String(toMs + EVERY_MS),
      step: String(STEP_S),
    });
    const withdrawn = new AbortController();
    void group.loader.load(query, withdrawn.signal).then((answer) => {
      if (answer.ok) forecasts.value = forecastsOf(answer.value);
    });
    return () => withdrawn.abort();
  });
  return forecasts;
}

/** A line on to where its forecast takes it, from its last value, which has to be of now. */
function withAhead(
  line: ChartLine,
  grid: { xs: readonly number[]; toMs: number; fromMs: number },
  forecast: Forecast | undefined,
): ChartLine {
  const last = lastKnown(line.values);
  const value = line.values[last];
  if (forecast === undefined || typeof value !== 'number' || last < line.values.length - 3) return line;
  const fromMs = grid.xs[last]! * 1_000;
  const fullMs = fromMs + (1 - value) / -forecast.slopePerMs;
  const toMs = Math.min(fullMs, grid.toMs + (grid.toMs - grid.fromMs) * AHEAD_SHARE);
  return { ...line, ahead: { fromMs, from: value, toMs, to: value - forecast.slopePerMs * (toMs - fromMs) } };
}

function usageSpec(bounds: BoundsInForce, forecasts: Forecasts | null): ChartSpec {
  return {
    id: 'file-systems',
    title: 'File systems',
    hint: 'Used share of what non-root users can use; dashed: at the rate of the last 24 h. tidemark_filesystem_usage_ratio',
    unit: 'ratio',
    question: { metrics: [METRIC] },
    lines: (found, grid) => {
      const fullest = found
        .map((series) => ({ series, used: series.values[lastKnown(series.values)] ?? 0 }))
        .toSorted((a, b) => b.used - a.used)
        .slice(0, LINES_MOST)
        .map(({ series }) => series);
      return linesBy(fullest, 'mountpoint').map((line) => withAhead(line, grid, forecasts?.get(line.label)));
    },
    most: 1,
    bounds: bounds.disk,
    aheadShare: AHEAD_SHARE,
  };
}

function ForecastText({ forecast, sizeBytes, nowMs }: { forecast: Forecast; sizeBytes: number | null; nowMs: number }): JSX.Element {
  const perDay = -forecast.slopePerMs * DAY_MS;
  const rate = sizeBytes === null ? `${(perDay * 100).toFixed(1)} % a day` : `${formatBytes(perDay * sizeBytes)} a day`;
  const soon = forecast.emptyAtMs - nowMs < 3 * DAY_MS;
  return (
    <span
      class={soon ? 'warn' : undefined}
      title={`Grew by ${rate} over the last ${Math.round(forecast.overMs / 3_600_000)} h. At that rate full on ${formatClock(forecast.emptyAtMs, nowMs)} (${formatUtc(forecast.emptyAtMs)}).`}
    >
      full {aboutText(Math.max(0, forecast.emptyAtMs - nowMs))} <span class="muted">at {rate}</span>
    </span>
  );
}

type Mount = OverviewNode['disk']['mounts'][number];

function MountRow({
  mount,
  bounds,
  forecast,
  nowMs,
}: {
  mount: Mount;
  bounds: BoundsInForce;
  forecast: Forecast | null | undefined;
  nowMs: number;
}): JSX.Element {
  const trouble = mount.deviceError === true ? 'does not answer' : mount.readOnly === true ? 'read-only' : null;
  return (
    <li class="mount">
      <p class="mount-name code" title={mount.mountpoint}>
        <bdi>{mount.mountpoint}</bdi>
      </p>
      <RatioLevel ratio={mount.usageRatio} bounds={bounds.disk} />
      <p class="mount-left">
        {formatBytes(mount.availableBytes)} <span class="muted">left of {formatBytes(mount.sizeBytes)}</span>
      </p>
      <p class="mount-forecast">
        {trouble !== null ? (
          <span class={mount.deviceError === true ? 'bad' : 'warn'}>
            <WarningShape /> {trouble}
          </span>
        ) : forecast === null ? null : forecast === undefined ? (
          <span class="muted" title="Not filling, or not so evenly that something honest could be said of it.">
            no steady growth
          </span>
        ) : (
          <ForecastText forecast={forecast} sizeBytes={mount.sizeBytes} nowMs={nowMs} />
        )}
      </p>
    </li>
  );
}

export function FileSystems(props: {
  group: ChartGroup;
  node: OverviewNode;
  bounds: BoundsInForce;
  marks: readonly ChartMark[];
}): JSX.Element | null {
  const { group, node, bounds, marks } = props;
  const forecasts = useForecasts(group, node.name).value;
  const live = group.range.value.kind === 'last';
  const spec = useMemo(() => usageSpec(bounds, live ? forecasts : null), [bounds, forecasts, live]);
  if (node.disk.mounts.length === 0) return null;
  return (
    <section class="chart-section" aria-labelledby="section-file-systems">
      <h2 id="section-file-systems">File systems</h2>
      <div class="charts">
        <Chart group={group} node={node.name} spec={spec} marks={marks} />
        <ul class="mounts">
          {node.disk.mounts
            .toSorted((a, b) => (b.usageRatio ?? 2) - (a.usageRatio ?? 2))
            .map((mount) => (
              <MountRow
                key={mount.mountpoint}
                mount={mount}
                bounds={bounds}
                forecast={forecasts === null ? null : forecasts.get(mount.mountpoint)}
                nowMs={group.nowMs.value}
              />
            ))}
        </ul>
      </div>
    </section>
  );
}
