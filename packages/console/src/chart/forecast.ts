/**
 * When a file system will be full, at the rate of the last hours. Says nothing rather than something doubtful: the
 * slope is the median of the slopes between all pairs (Theil–Sen), which no single large file can turn, and it counts
 * only where nearly all pairs agree on the direction and the noise around the line is small against what was written.
 */
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export interface Forecast {
  /** Change in the value per millisecond; below zero for space that gets less. */
  slopePerMs: number;
  /** When the value reaches zero. */
  emptyAtMs: number;
  /** The line's value at the last point. */
  level: number;
  /** How long was looked at. */
  overMs: number;
}

/** Pairs grow with the square: this many points are enough and cost a millisecond or two. */
const POINTS_MOST = 144;
const POINTS_LEAST = 24;
const OVER_LEAST_MS = 6 * HOUR;
/** Of the pairs, so many have to fall. Noise has half of them, one single step a little over half. */
const AGREEMENT = 0.85;
/** The line's fall, as a multiple of how far points typically lie beside it. */
const SIGNAL_TO_NOISE = 4;
/** Further ahead nobody plans by the rate of one day. */
const AHEAD_MOST_MS = 120 * DAY;

function median(values: Float64Array): number {
  values.sort();
  const middle = values.length >> 1;
  return values.length % 2 === 1 ? values[middle]! : (values[middle - 1]! + values[middle]!) / 2;
}

/** Foretells when `points` (time in ms, what is left) come down to nothing; null when nothing honest can be said. */
export function forecastOf(points: readonly (readonly [ms: number, left: number])[]): Forecast | null {
  const every = Math.ceil(points.length / POINTS_MOST);
  // From the end, so that the newest point is always among them.
  const kept = points.filter((_, place) => (points.length - 1 - place) % every === 0);
  const [first, last] = [kept[0], kept.at(-1)];
  if (first === undefined || last === undefined || kept.length < POINTS_LEAST) return null;
  const overMs = last[0] - first[0];
  if (overMs < OVER_LEAST_MS) return null;
  const slopes = new Float64Array((kept.length * (kept.length - 1)) / 2);
  let at = 0;
  let falling = 0;
  for (let a = 0; a < kept.length; a += 1) {
    for (let b = a + 1; b < kept.length; b += 1) {
      const slope = (kept[b]![1] - kept[a]![1]) / (kept[b]![0] - kept[a]![0]);
      if (slope < 0) falling += 1;
      slopes[at++] = slope;
    }
  }
  if (falling < AGREEMENT * slopes.length) return null;
  const slopePerMs = median(slopes);
  if (!(slopePerMs < 0)) return null;
  const level = median(Float64Array.from(kept, ([ms, left]) => left - slopePerMs * (ms - last[0])));
  const noise = median(Float64Array.from(kept, ([ms, left]) => Math.abs(left - level - slopePerMs * (ms - last[0]))));
  if (-slopePerMs * overMs < SIGNAL_TO_NOISE * noise || level <= 0) return null;
  const aheadMs = level / -slopePerMs;
  return aheadMs > AHEAD_MOST_MS ? null : { slopePerMs, emptyAtMs: last[0] + aheadMs, level, overMs };
}

/** "in about 6 days": no more exact than such a forecast can be. */
export function aboutText(ms: number): string {
  const about = (value: number, unit: string): string => `in about ${value} ${unit}${value === 1 ? '' : 's'}`;
  if (ms < 1.5 * HOUR) return 'in about an hour or less';
  if (ms < 36 * HOUR) return about(Math.round(ms / HOUR), 'hour');
  if (ms < 14 * DAY) return about(Math.round(ms / DAY), 'day');
  return ms < 56 * DAY ? about(Math.round(ms / DAY / 7), 'week') : about(Math.round(ms / DAY / 30), 'month');
}
