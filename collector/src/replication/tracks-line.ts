/**
 * One line of history out of the tracks of those who led it one after the other. What a primary wrote up to the point where
 * the next one's history begins is the line's; what a replica had is a floor of it; what was written beyond that point was
 * lost and counts for nothing.
 */
import type { Position, Track } from './model.ts';
import type { PositionTrack } from './track.ts';

export interface LinePart {
  readonly track: PositionTrack;
  /** Where it took over, and where the next one did; undefined: not known, and nobody did yet. */
  readonly from: bigint | undefined;
  readonly until: bigint | undefined;
  /** Since when all that it had was of this line. */
  readonly since: number;
  /** Seen as a primary first and last. */
  readonly primaryFrom: number;
  readonly primaryTo: number;
}

interface Passed {
  readonly notBefore: number;
  readonly notAfter: number;
  readonly likely: number;
}

export class LineTrack implements Track {
  /** The newest first. */
  readonly #parts: readonly LinePart[];

  constructor(parts: readonly LinePart[]) {
    this.#parts = parts;
  }

  get newest(): Position | undefined {
    return this.#parts[0]?.track.newest;
  }

  get oldest(): Position | undefined {
    const firsts = this.#parts.flatMap(({ track, since, until }) => {
      const first = track.firstSince(since);
      return first !== undefined && (until === undefined || first.lsn < until) ? [first] : [];
    });
    return firsts.reduce<Position | undefined>(
      (oldest, first) => (oldest === undefined || first.at < oldest.at ? first : oldest),
      undefined,
    );
  }

  passed(lsn: bigint): Passed {
    let [notBefore, notAfter] = [-Infinity, Infinity];
    let likely: number | undefined;
    for (const part of this.#parts) {
      const seen = passedBy(part, lsn);
      notBefore = Math.max(notBefore, seen.notBefore);
      notAfter = Math.min(notAfter, seen.notAfter);
      if (likely === undefined || (leads(part, lsn) && seen.likely !== Infinity)) likely = seen.likely;
    }
    // Two of them cannot both be right: then only what was certainly passed is said.
    if (notBefore > notAfter) notBefore = -Infinity;
    return { notBefore, notAfter, likely: Math.min(Math.max(likely ?? Infinity, notBefore), notAfter) };
  }

  positionAt(at: number): { low: bigint | undefined; high: bigint | undefined } {
    let low: bigint | undefined;
    let high: bigint | undefined;
    for (const part of this.#parts) {
      const seen = part.track.positionAt(at, part.since);
      const floor = seen.low === undefined || part.until === undefined || seen.low < part.until ? seen.low : part.until;
      const ceiling = ceilingOf(part, at, seen.high);
      if (floor !== undefined && (low === undefined || floor > low)) low = floor;
      if (ceiling !== undefined && (high === undefined || ceiling < high)) high = ceiling;
    }
    return low !== undefined && high !== undefined && high < low ? { low, high: undefined } : { low, high };
  }
}

const leads = ({ from, until }: LinePart, lsn: bigint): boolean =>
  (from === undefined || lsn >= from) && (until === undefined || lsn < until);

function passedBy(part: LinePart, lsn: bigint): Passed {
  const { track, from, until, since, primaryFrom, primaryTo } = part;
  const isBeyond = until !== undefined && lsn >= until;
  // As long as it had not come to where the next one took over, nobody had taken over.
  const seen = track.passed(isBeyond ? until - 1n : lsn, since);
  // Before it took over the line ended where it did take over: that is not beyond what it leads.
  const isItsOwn = seen.notBefore <= primaryTo && (seen.notBefore >= primaryFrom || (from !== undefined && lsn >= from));
  const notBefore = isItsOwn ? seen.notBefore : -Infinity;
  return isBeyond ? { notBefore, notAfter: Infinity, likely: Infinity } : { ...seen, notBefore };
}

function ceilingOf({ track, from, until, primaryFrom, primaryTo }: LinePart, at: number, high: bigint | undefined): bigint | undefined {
  if (high === undefined || (until !== undefined && high >= until)) return undefined;
  if (at >= primaryFrom && at <= primaryTo) return high;
  const next = track.firstSince(at);
  if (next === undefined || next.at > primaryTo || (until !== undefined && next.lsn >= until)) return undefined;
  return next.at >= primaryFrom || (from !== undefined && next.lsn >= from) ? next.lsn : undefined;
}
