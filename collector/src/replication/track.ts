/**
 * The positions of one server over time: never falling, taken in any order of arrival, answering with bounds that hold
 * whatever happened between two samples. Leaving a sample out is always allowed, inventing one never is.
 */
import type { MessageTrack, Position } from './model.ts';
import { Samples } from './track-samples.ts';
import { likelyPassing, straightPart, thin } from './track-shape.ts';

const HOUR_MS = 3_600_000;
/** What is younger is kept as it came. */
export const THIN_AFTER_MS = HOUR_MS;
/** So many new samples before it is looked again what can be left out. */
const THIN_EVERY = 256;
/** A server that reads below where it was, for so long, has really gone back: a backup was restored. Less: it replays what it has. */
const FALL_MS = 30_000;
/** One each two seconds for a day, and some more. Beyond it the oldest go. */
const SAMPLES_MAX = 48_000;
/** A sample less certain than this says nothing that is worth its place. */
const ERROR_MAX_MS = 60_000;
/** Two of one position so near to each other are one, told twice: the first of a report repeats the last of the one before. */
const SAME_MS = 250;

export interface TrackOptions {
  /**
   * What a sample says of P. `exact`: at some moment within its error that was the position. `floor`: it was at least that,
   * as one who heard of it later knows; nothing is then known of when it was not yet there.
   */
  readonly kind: 'exact' | 'floor';
  readonly keepMs: number;
  /** False keeps every sample: what the thinned answer is measured against. */
  readonly thinned?: boolean;
}

export class PositionTrack implements MessageTrack {
  readonly #samples = new Samples();
  readonly #options: TrackOptions;
  #sinceThinned = 0;
  #thinFrom = Infinity;
  #fallingSince: number | undefined;

  constructor(options: TrackOptions) {
    this.#options = options;
  }

  get oldest(): Position | undefined {
    return this.#positionOf(0);
  }

  get newest(): Position | undefined {
    return this.#positionOf(this.#samples.length - 1);
  }

  get sizeBytes(): number {
    return this.#samples.sizeBytes;
  }

  get length(): number {
    return this.#samples.length;
  }

  /**
   * Takes a sample: P(at) ≤ lsn ≤ P(at + errorMs), or only the second of a floor. What contradicts what is known is left
   * out: either of the two may be wrong, and what was there first has been told already.
   */
  add(at: number, lsn: bigint, errorMs: number): void {
    if (!Number.isFinite(at) || !(errorMs >= 0 && errorMs <= ERROR_MAX_MS)) return;
    const samples = this.#samples;
    const newest = samples.length - 1;
    if (newest >= 0 && at < samples.startOf(newest) - this.#options.keepMs) return;
    if (newest >= 0 && at >= samples.startOf(newest) && lsn < samples.lsnOf(newest)) {
      if (at < samples.endOf(newest)) return;
      this.#fallingSince ??= at;
      if (at - this.#fallingSince < FALL_MS) return;
      this.cutBefore(at, lsn);
    }
    if (newest < 0 || at >= samples.startOf(samples.length - 1)) this.#fallingSince = undefined;
    this.#place(at, lsn, errorMs);
    this.#tidy();
  }

  /** Forgets what it had beyond a position before a moment: that was on another branch. */
  cutBefore(at: number, lsn: bigint): void {
    const from = this.#samples.firstAbove(lsn);
    const to = this.#samples.firstSince(at);
    if (to > from) {
      this.#samples.remove(from, to);
      if (from > 0) this.#samples.setStraight(from - 1, 0, 0);
    }
  }

  /** See Track. With `since`, nothing that was seen before that moment counts. */
  passed(lsn: bigint, since = -Infinity): { notBefore: number; notAfter: number; likely: number } {
    const samples = this.#samples;
    const above = samples.firstAbove(lsn);
    const first = since === -Infinity ? 0 : samples.firstSince(since);
    const next = Math.max(above, first);
    const isExact = this.#options.kind === 'exact';
    const notBefore = isExact && above > first ? samples.startOf(above - 1) : -Infinity;
    if (next >= samples.length) return { notBefore, notAfter: Infinity, likely: Infinity };
    const notAfter = samples.endOf(next);
    if (above <= first) return { notBefore, notAfter, likely: notAfter };
    return this.#between(above - 1, lsn, notBefore, notAfter);
  }

  /** See Track. With `since`, nothing that was seen before that moment counts. */
  positionAt(at: number, since = -Infinity): { low: bigint | undefined; high: bigint | undefined } {
    const samples = this.#samples;
    const next = samples.firstSince(at);
    let before = next < samples.length && samples.endOf(next) <= at ? next : next - 1;
    while (before >= 0 && samples.endOf(before) > at) before--;
    const low = before < 0 || samples.startOf(before) < since ? undefined : samples.lsnOf(before);
    const high = next < samples.length && this.#options.kind === 'exact' ? samples.lsnOf(next) : undefined;
    if (next === 0 || next >= samples.length || !samples.isStraight(next - 1) || samples.startOf(next - 1) < since) return { low, high };
    const part = straightPart(samples, next - 1, at);
    return {
      low: low === undefined || (part.low !== undefined && part.low > low) ? part.low : low,
      high: high === undefined || part.high > high ? high : part.high,
    };
  }

  /** See MessageTrack. */
  heardWithin(lsn: bigint): number {
    const above = this.#samples.firstAbove(lsn);
    return above === 0 ? -Infinity : this.#samples.startOf(above - 1);
  }

  /** The first sample that began at `at` or later. */
  firstSince(at: number): Position | undefined {
    return this.#positionOf(this.#samples.firstSince(at));
  }

  /** The last sample that began at `at` or before. */
  lastUntil(at: number): Position | undefined {
    return this.#positionOf(this.#samples.firstAfter(at) - 1);
  }

  #between(index: number, lsn: bigint, notBefore: number, notAfter: number): { notBefore: number; notAfter: number; likely: number } {
    const samples = this.#samples;
    const likely = likelyPassing(samples, index, lsn);
    const bounds = { notBefore, notAfter };
    if (samples.isStraight(index)) {
      const { beforeMs, afterMs } = samples.straightOf(index);
      if (notBefore !== -Infinity) bounds.notBefore = Math.max(notBefore, likely - beforeMs);
      bounds.notAfter = Math.min(notAfter, likely + afterMs);
    }
    return { ...bounds, likely: Math.min(Math.max(likely, bounds.notBefore), bounds.notAfter) };
  }

  #place(at: number, lsn: bigint, errorMs: number): void {
    const samples = this.#samples;
    const next = samples.firstAfter(at);
    const [hasBefore, hasNext] = [next > 0, next < samples.length];
    // What was thinned is known to be within seconds there: another sample would only break the straight line.
    if (hasBefore && hasNext && samples.isStraight(next - 1)) return;
    const before = hasBefore ? samples.lsnOf(next - 1) : lsn;
    const after = hasNext ? samples.lsnOf(next) : lsn;
    if (before > lsn || after < lsn) return;
    const end = hasNext ? Math.min(at + errorMs, samples.endOf(next)) : at + errorMs;
    const error = Math.max(0, end - at);
    const likeBefore = hasBefore && before === lsn;
    const likeNext = hasNext && after === lsn;
    if (hasBefore) this.#tightenBefore(next, end);
    if (likeBefore && likeNext) return;
    if (likeBefore && at - samples.startOf(next - 1) <= SAME_MS) {
      const sooner = Math.min(end, samples.endOf(next - 1));
      return samples.set(next - 1, at, Math.max(0, sooner - at), lsn);
    }
    if (likeNext && samples.startOf(next) - at <= SAME_MS)
      return samples.set(next, samples.startOf(next), Math.max(0, end - samples.startOf(next)), lsn);
    if (likeBefore && next > 1 && samples.lsnOf(next - 2) === lsn) samples.set(next - 1, at, error, lsn);
    else if (likeNext && next + 1 < samples.length && samples.lsnOf(next + 1) === lsn) samples.set(next, at, error, lsn);
    else {
      samples.insert(next, at, error, lsn);
      this.#sinceThinned++;
      if (next <= this.#thinFrom) this.#thinFrom = next;
    }
  }

  /** Who came later and was sooner there says so of those before: P never falls. */
  #tightenBefore(next: number, end: number): void {
    const samples = this.#samples;
    for (let i = next - 1; i >= 0 && samples.endOf(i) > end; i--) {
      if (samples.isStraight(i) || (i > 0 && samples.isStraight(i - 1))) return;
      samples.set(i, samples.startOf(i), Math.max(0, end - samples.startOf(i)), samples.lsnOf(i));
    }
  }

  #tidy(): void {
    const samples = this.#samples;
    const newestAt = samples.startOf(samples.length - 1);
    const forgetUntil = newestAt - this.#options.keepMs;
    let gone = 0;
    // One stays that is older: who has not come as far as it is at least as late as that.
    while (gone + 1 < samples.length && (samples.endOf(gone + 1) <= forgetUntil || samples.length - gone > SAMPLES_MAX)) gone++;
    if (gone > 0) {
      samples.remove(0, gone);
      this.#thinFrom = Math.max(0, this.#thinFrom - gone);
    }
    if (this.#sinceThinned < THIN_EVERY || this.#options.thinned === false) return;
    const to = samples.firstAfter(newestAt - THIN_AFTER_MS);
    this.#sinceThinned = 0;
    const from = Math.max(0, Math.min(this.#thinFrom, to) - 1);
    this.#thinFrom = thin(samples, from, to);
  }

  #positionOf(index: number): Position | undefined {
    return index < 0 || index >= this.#samples.length ? undefined : { at: this.#samples.startOf(index), lsn: this.#samples.lsnOf(index) };
  }
}
