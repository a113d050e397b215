/**
 * The stretch of time that a page of charts shows: the last so long, or from one moment to another. Pure; the
 * address is its only memory, so that a link shows what its sender saw.
 */
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export type TimeRange = { kind: 'last'; ms: number } | { kind: 'fixed'; fromMs: number; toMs: number };
export interface Span {
  fromMs: number;
  toMs: number;
}

export const PRESETS: readonly { word: string; ms: number }[] = [
  { word: '1h', ms: HOUR },
  { word: '6h', ms: 6 * HOUR },
  { word: '24h', ms: DAY },
  { word: '7d', ms: 7 * DAY },
  { word: '30d', ms: 30 * DAY },
];
export const DEFAULT_RANGE: TimeRange = { kind: 'last', ms: 6 * HOUR };
/** Closer than this there is nothing to see, and further than that the collector answers nothing. */
const SHORTEST_MS = 2 * MINUTE;
const LONGEST_MS = 400 * DAY;
/** Ranges that end this close to now follow it. */
const NOW_SHARE = 0.01;

const clampMs = (ms: number): number => Math.min(LONGEST_MS, Math.max(SHORTEST_MS, ms));

/** From and to of a range, seen at `nowMs`. */
export function spanOf(range: TimeRange, nowMs: number): Span {
  return range.kind === 'last' ? { fromMs: nowMs - range.ms, toMs: nowMs } : { fromMs: range.fromMs, toMs: range.toMs };
}

/** A range between two moments, in either order. One that reaches now follows it. */
export function rangeBetween(aMs: number, bMs: number, nowMs: number): TimeRange {
  const middle = (aMs + bMs) / 2;
  const length = clampMs(Math.abs(bMs - aMs));
  const toMs = Math.round(middle + length / 2);
  if (toMs >= nowMs - length * NOW_SHARE) return { kind: 'last', ms: Math.round(length) };
  return { kind: 'fixed', fromMs: Math.round(toMs - length), toMs };
}

/** Moves by a share of its length; not past now, where it begins to follow it. */
export function panned(range: TimeRange, share: number, nowMs: number): TimeRange {
  const { fromMs, toMs } = spanOf(range, nowMs);
  const byMs = (toMs - fromMs) * share;
  // A step back from "now" has to leave it, however small it is.
  if (byMs < 0) return { kind: 'fixed', fromMs: Math.round(fromMs + byMs), toMs: Math.round(toMs + byMs) };
  return rangeBetween(fromMs + byMs, Math.max(toMs + byMs, fromMs + byMs + SHORTEST_MS), nowMs);
}

/** Makes the stretch `factor` times as long, with `centreMs` staying where it is. Below 1 shows more of less. */
export function zoomed(range: TimeRange, factor: number, centreMs: number, nowMs: number): TimeRange {
  const { fromMs, toMs } = spanOf(range, nowMs);
  const length = clampMs((toMs - fromMs) * factor);
  if (range.kind === 'last' && centreMs >= toMs - (toMs - fromMs) * 0.02) return { kind: 'last', ms: Math.round(length) };
  const share = (centreMs - fromMs) / (toMs - fromMs);
  const from = Math.min(centreMs - length * share, nowMs - length);
  return rangeBetween(from, from + length, nowMs);
}

function wordOf(ms: number): string {
  const preset = PRESETS.find((each) => each.ms === ms);
  return preset?.word ?? `${Math.round(ms / MINUTE)}m`;
}

function msOf(word: string): number | null {
  const match = /^(\d{1,7})(m|h|d)$/.exec(word);
  if (match === null) return null;
  return clampMs(Number(match[1]) * { m: MINUTE, h: HOUR, d: DAY }[match[2] as 'm' | 'h' | 'd']);
}

const isoSeconds = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/** The range as an address' query, without what is as usual. */
export function queryOfRange(range: TimeRange): string {
  if (range.kind === 'fixed') return `?from=${isoSeconds(range.fromMs)}&to=${isoSeconds(range.toMs)}`;
  return range.ms === (DEFAULT_RANGE as { ms: number }).ms ? '' : `?range=${wordOf(range.ms)}`;
}

/** Reads what `queryOfRange` wrote; what it does not understand it takes as usual. */
export function rangeOfQuery(search: string): TimeRange {
  const query = new URLSearchParams(search);
  const last = msOf(query.get('range') ?? '');
  if (last !== null) return { kind: 'last', ms: last };
  const [fromMs, toMs] = [Date.parse(query.get('from') ?? ''), Date.parse(query.get('to') ?? '')];
  if (!(toMs - fromMs >= SHORTEST_MS) || toMs - fromMs > LONGEST_MS) return DEFAULT_RANGE;
  return { kind: 'fixed', fromMs, toMs };
}
