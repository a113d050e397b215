/** Bounds, durations and reasons as people read them. The collector's own sentences are shown as they are; this is for what it gives as figures. */
import type { AlertView, Bound, CloseReason, RuleLevel } from '@tidemark/protocol';
import { formatValue, type Unit } from '../chart/units.ts';
import { NOTHING, formatDuration } from '../format/quantities.ts';

const UNITS: ReadonlySet<string> = new Set<Unit>(['ratio', 'bytes', 'bytes/s', 'seconds', '1/s']);
const isUnit = (unit: string): unit is Unit => UNITS.has(unit);

/** The unit of a chart for a unit of the wire; what is none of them is counted. */
export const chartUnit = (unit: string): Unit => (isUnit(unit) ? unit : 'count');

/** A value with its unit: "91 %", "118 MiB". */
export function valueText(value: number | null, unit: string): string {
  if (value === null) return NOTHING;
  // A bound of 2 % is not more exact for being written as 2.0 %.
  return formatValue(value, chartUnit(unit)).replace(/\.0(?= )/, '');
}

/** "above 85 %", "is 0", "missing". */
export function boundText(bound: Bound, unit: string): string {
  if ('above' in bound) return `above ${valueText(bound.above, unit)}`;
  if ('atLeast' in bound) return `at least ${valueText(bound.atLeast, unit)}`;
  if ('below' in bound) return `below ${valueText(bound.below, unit)}`;
  if ('atMost' in bound) return `at most ${valueText(bound.atMost, unit)}`;
  if ('is' in bound) return `is ${bound.is.map(String).join(' or ')}`;
  if ('isNot' in bound) return `is not ${bound.isNot.map(String).join(' or ')}`;
  if ('roseBy' in bound) return `rose by ${valueText(bound.roseBy, unit)} or more`;
  return 'missing';
}

/** The number that a bound draws a line at; null when it draws none. */
export function boundValue(bound: Bound): number | null {
  if ('above' in bound) return bound.above;
  if ('atLeast' in bound) return bound.atLeast;
  if ('below' in bound) return bound.below;
  if ('atMost' in bound) return bound.atMost;
  return null;
}

/** "for 10 min of the last 15 min", "for 5 min without interruption", "at once". */
export function holdText(level: RuleLevel): string {
  if (level.trueForSeconds === 0) return 'at once';
  if (level.trueForSeconds === level.ofLastSeconds) return `for ${formatDuration(level.trueForSeconds)} without interruption`;
  return `for ${formatDuration(level.trueForSeconds)} of the last ${formatDuration(level.ofLastSeconds)}`;
}

/** When it is over: "over when back at 83 % for 5 min". */
export function clearText(level: RuleLevel, unit: string): string {
  const held = level.clearAfterSeconds === 0 ? '' : ` for ${formatDuration(level.clearAfterSeconds)}`;
  if ('roseBy' in level.trigger) return `over${held === '' ? ' at once' : held.replace(' for', ' after')} without another rise`;
  if (level.clear === null) return `over when no longer so${held}`;
  return `over when back at ${valueText(level.clear, unit)}${held}`;
}

export const CLOSE_WORDS: Readonly<Record<CloseReason, string>> = {
  recovered: 'Recovered',
  gone: 'What it was about is gone',
  retired: 'The node was retired',
  rule_removed: 'The rule was removed',
  rule_changed: 'The rule was changed',
  closed_by_hand: 'Closed by hand',
};

/** How long an alert lasted, or has lasted at `nowMs`, in milliseconds. */
export function lastedMs(alert: AlertView, nowMs: number): number {
  return (alert.closedAt === null ? nowMs : Date.parse(alert.closedAt)) - Date.parse(alert.since);
}

/** What an alert is, in a few words for titles and screen readers: "Disk usage on db-1 (mountpoint=/var)". */
export function alertName(alert: AlertView): string {
  const labels = Object.values(alert.labels).join(', ');
  return `${alert.title} on ${alert.node}${labels === '' ? '' : ` (${labels})`}`;
}
