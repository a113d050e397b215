/** The series of an alert around the time it began and ended, with the bound drawn in and the alert as a mark. */
import type { AlertView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect, useMemo } from 'preact/hooks';
import { Chart } from '../chart/chart.tsx';
import { createChartGroup, type ChartMark } from '../chart/group.ts';
import type { TimeRange } from '../chart/range.ts';
import type { ChartBounds, ChartSpec } from '../chart/spec.ts';
import { useConsole } from '../context.ts';
import { tick } from '../live/clock.ts';
import type { Feed } from '../live/feed.ts';
import { rulesInForce } from '../settings/rules-in-force.ts';
import { labelsText } from './arrange.ts';
import { boundValue, chartUnit } from './words.ts';

const MINUTE = 60_000;
const BEFORE_LEAST_MS = 20 * MINUTE;
/** Of how long it lasted, to be seen before and after. */
const AROUND_SHARE = 0.4;
const INTERVAL_MS = 15_000;

function collectorNow(feed: Feed): number {
  const figures = feed.figures.peek();
  return figures === null ? Date.now() : figures.collectorAtMs + (performance.now() - figures.receivedAtMs);
}

/** From before the bound was crossed to after it was over; up to now, and on with it, while it is not. */
export function rangeAround(alert: Pick<AlertView, 'since' | 'closedAt'>, nowMs: number): TimeRange {
  const sinceMs = Date.parse(alert.since);
  const closedMs = alert.closedAt === null ? null : Date.parse(alert.closedAt);
  const around = Math.max(BEFORE_LEAST_MS, ((closedMs ?? nowMs) - sinceMs) * AROUND_SHARE);
  if (closedMs === null || closedMs + around >= nowMs) return { kind: 'last', ms: Math.round(nowMs - sinceMs + around) };
  return { kind: 'fixed', fromMs: Math.round(sinceMs - around), toMs: Math.round(closedMs + around) };
}

function boundsOf(alert: AlertView): ChartBounds {
  const rule = rulesInForce.peek()?.rules.find((each) => each.name === alert.rule);
  const [warning, critical] = [rule?.warning?.trigger, rule?.critical?.trigger].map((bound) =>
    bound === undefined ? null : boundValue(bound),
  );
  const bounds: ChartBounds = {};
  if (warning != null) bounds.warning = warning;
  if (critical != null) bounds.critical = critical;
  // What it was judged by, whatever the rule says now.
  const judged = boundValue(alert.bound);
  if (judged !== null) bounds[alert.level] = judged;
  return bounds;
}

function specOf(alert: AlertView, metric: string): ChartSpec {
  const counter = metric.endsWith('_total');
  return {
    id: 'crossing',
    title: alert.title,
    hint: metric,
    unit: counter ? '1/s' : chartUnit(alert.unit),
    question: { metrics: [metric], labels: alert.labels, extremes: !counter, ...(counter ? { rate: true } : {}) },
    lines: (found) =>
      found
        .slice(0, 1)
        .map(({ values, least, greatest }) => ({ label: labelsText(alert.labels) || alert.node, values, least, greatest, tone: 1 })),
    ...(counter ? {} : { bounds: boundsOf(alert) }),
    wide: true,
  };
}

function Drawn({ alert, metric }: { alert: AlertView; metric: string }): JSX.Element {
  const { api, feed } = useConsole();
  const group = useMemo(
    () =>
      createChartGroup({
        ask: (query, signal) => api.series(query, signal),
        now: () => collectorNow(feed),
        intervalMs: INTERVAL_MS,
        tick,
        range: rangeAround(alert, collectorNow(feed)),
      }),
    // What changes while it is open does not move the chart under the eye.
    [api, feed, alert.id, alert.closedAt],
  );
  useEffect(() => () => group.dispose(), [group]);
  const rules = rulesInForce.value;
  const spec = useMemo(() => specOf(alert, metric), [alert.id, metric, rules, alert.level]);
  const marks = useMemo<ChartMark[]>(
    () => [
      {
        fromMs: Date.parse(alert.since),
        toMs: alert.closedAt === null ? null : Date.parse(alert.closedAt),
        level: alert.levelMax,
        title: alert.why,
        href: location.pathname,
      },
    ],
    [alert.id, alert.closedAt, alert.levelMax],
  );
  return <Chart group={group} node={alert.node} spec={spec} marks={marks} />;
}

/** Nothing for alerts that are not about a series. */
export function Crossing({ alert }: { alert: AlertView }): JSX.Element | null {
  return alert.metric === null ? null : (
    <section class="crossing" aria-labelledby="crossing-title">
      <h2 id="crossing-title" class="unseen">
        Around the crossing
      </h2>
      <Drawn alert={alert} metric={alert.metric} />
    </section>
  );
}
