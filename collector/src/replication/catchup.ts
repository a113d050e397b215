/**
 * Rates of positions, and when a replica will have caught up: what is missing by how much faster it is taken away than it
 * grows. Rates are medians of many slopes, so that neither a burst nor a pause between two samples makes them; a track is
 * only asked at a handful of moments.
 */
import { lsnAt } from './lag.ts';
import type { Track } from './model.ts';

const POINTS = 8;
/** Less than this says nothing about a rate. */
const SPAN_MS_MIN = 16_000;
/** Samples farther apart than this have lost some between them. */
const SAMPLES_APART_MS = 5_000;
/** For what moves all the time. */
export const WINDOW_MS = 90_000;
/** For what comes in segments, from an archive. */
export const WINDOW_MS_COARSE = 300_000;

export interface Point {
  readonly at: number;
  readonly lsn: bigint;
}

/** Where a track stood at evenly spaced moments up to `until`, oldest first, each with its newest sample. */
function pointsOf(track: Track | undefined, until: number, windowMs: number): Point[] {
  const points: Point[] = [];
  const from = Math.max(track?.oldest?.at ?? Number.POSITIVE_INFINITY, until - windowMs);
  if (track === undefined || !Number.isFinite(from) || from > until) return points;
  for (let i = 0; i < POINTS; i++) {
    const at = from + ((until - from) * i) / (POINTS - 1);
    const point = pointAt(track, at);
    if (point !== undefined) points.push(point);
  }
  return points;
}

/** Where a track stood, with the time of the sample that says so: between two samples a position is older than the moment asked for. */
function pointAt(track: Track | undefined, at: number): Point | undefined {
  const lsn = lsnAt(track, at);
  if (track === undefined || lsn === undefined) return undefined;
  const sampledAt = track.passed(lsn).notBefore;
  return { at: sampledAt < at && at - sampledAt <= SAMPLES_APART_MS ? sampledAt : at, lsn };
}

/** Bytes a second, by Theil and Sen: the median of the slopes of all pairs. Undefined for too short a time. */
export function rateOf(points: readonly Point[]): number | undefined {
  const first = points[0];
  if (first === undefined || points.at(-1)!.at - first.at < SPAN_MS_MIN) return undefined;
  const offsets = points.map(({ lsn }) => Number(lsn - first.lsn));
  const slopes: number[] = [];
  for (let i = 0; i < points.length; i++)
    for (let j = i + 1; j < points.length; j++) {
      const ms = points[j]!.at - points[i]!.at;
      if (ms > 0) slopes.push((offsets[j]! - offsets[i]!) / ms);
    }
  slopes.sort((a, b) => a - b);
  const middle = slopes.length >> 1;
  const median = slopes.length % 2 === 1 ? slopes[middle]! : (slopes[middle - 1]! + slopes[middle]!) / 2;
  return median * 1_000;
}

/** Bytes a second on the average over a window up to a moment: what bursts add up to. Undefined for too short a time. */
export function averageAt(track: Track | undefined, until: number, windowMs = WINDOW_MS): number | undefined {
  const oldest = track?.oldest;
  // The first sample of all is good to what its question took, which is nothing beside a window.
  const first = oldest !== undefined && oldest.at >= until - windowMs ? oldest : pointAt(track, until - windowMs);
  const last = pointAt(track, until);
  if (first === undefined || last === undefined || last.at - first.at < SPAN_MS_MIN) return undefined;
  return (Number(last.lsn - first.lsn) * 1_000) / (last.at - first.at);
}

export interface Backlog {
  readonly bytes: number;
  /** How fast it is taken away and how fast it grows, bytes a second. Undefined: not known yet. */
  readonly drain: number | undefined;
  readonly generation: number | undefined;
}

export interface Catchup {
  readonly catchup: 'caught_up' | 'converging' | 'never' | 'unknown';
  readonly ms: number | undefined;
}

/** Milliseconds until a backlog is gone at the present rates; Infinity when it does not shrink; undefined when nobody knows. */
function clearsInMs({ bytes, drain, generation }: Backlog): number | undefined {
  if (bytes === 0) return 0;
  if (drain === undefined || generation === undefined) return undefined;
  const gain = drain - generation;
  return gain > 0 ? (bytes / gain) * 1_000 : Number.POSITIVE_INFINITY;
}

/**
 * When it will have caught up: all of `whole` has to be replayed, and while `transport` does not shrink that never comes
 * to its end. `isCaughtUp` is for those who are behind by no more than what is under way.
 */
export function catchupOf(isCaughtUp: boolean, whole: Backlog | undefined, transport: Backlog | undefined): Catchup {
  if (isCaughtUp) return { catchup: 'caught_up', ms: 0 };
  // Behind, and nothing is known to be missing: what there is has not been seen.
  if (whole === undefined || whole.bytes === 0) return { catchup: 'unknown', ms: undefined };
  const parts = [clearsInMs(whole), transport === undefined ? 0 : clearsInMs(transport)];
  if (parts.includes(Number.POSITIVE_INFINITY)) return { catchup: 'never', ms: undefined };
  const [all, sent] = parts;
  if (all === undefined || sent === undefined) return { catchup: 'unknown', ms: undefined };
  return { catchup: 'converging', ms: Math.max(all, sent) };
}

/** Both tracks at the same moments, from when the follower began to move: what it did before it could says nothing of how fast it is. */
export function ratesSince(
  follower: Track | undefined,
  head: Track | undefined,
  until: number,
  windowMs: number,
): { readonly drain: number | undefined; readonly generation: number | undefined } {
  const mine = pointsOf(follower, until, windowMs);
  let start = 0;
  while (start + 1 < mine.length && mine[start + 1]!.lsn === mine[start]!.lsn) start++;
  const isMoving = start + 1 < mine.length && until - mine[start]!.at >= SPAN_MS_MIN;
  const moments = isMoving ? mine.slice(start) : mine;
  const theirs = moments.flatMap(({ at }) => pointAt(head, at) ?? []);
  return { drain: rateOf(moments), generation: rateOf(theirs) };
}
