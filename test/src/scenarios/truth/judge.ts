/**
 * Judges a published lag by what really happened. Pure.
 *
 * The lag at τ is the age of the oldest WAL that is not replayed. Be j the newest heartbeat that the replica showed by τ and
 * k the newest it can have shown at τ. Commit j is replayed, so the oldest WAL that is missing was flushed after commit j
 * began; commit k + 1 is not replayed, so it was flushed before commit k + 1 came back. Whatever else was written between the
 * two, by a checkpoint, by autovacuum or by a load, the truth lies between τ − after(k + 1) and τ − before(j). A published
 * value is right when its bounds and this interval meet; nothing is added to either but the millisecond that `at` is rounded to.
 *
 * Where nothing is written there is no heartbeat to tell by. Then the positions do: a replica that has replayed all that its
 * root has flushed has no lag, and 0 has to lie within the bounds. These samples are counted apart.
 */
import type { Beat, Sight } from './record.ts';

/** `at` is told in whole milliseconds. */
const AT_RESOLUTION_MS = 1;
/** A root that has committed no heartbeat for so long is idle. */
const IDLE_AFTER_MS = 1_000;

export interface PublishedLag {
  /** τ, on the steady clock of the heartbeats. Milliseconds, as everything here. */
  readonly at: number;
  readonly lower: number;
  /** Infinity: open. */
  readonly upper: number;
}

export interface Verdict {
  /** `undecided`: nobody knows the truth at that moment well enough to say. */
  readonly kind: 'within' | 'outside' | 'idle within' | 'idle outside' | 'undecided';
  /** The interval of the truth. */
  readonly low: number;
  readonly high: number;
}

/** `beats` are the root's own, `root` and `replica` what the two showed, all in order of time. */
export function judge(
  published: PublishedLag,
  rootName: string,
  beats: readonly Beat[],
  root: readonly Sight[],
  replica: readonly Sight[],
): Verdict {
  const { at } = published;
  const seen = lastBefore(replica, at - AT_RESOLUTION_MS);
  const later = firstAfter(replica, at + AT_RESOLUTION_MS);
  const newestSeen = seen?.newest.get(rootName) ?? 0;
  const newestPossible = later?.newest.get(rootName);
  const replayed = beats[newestSeen - 1];
  // Without a later sight nothing is known to be missing. One whose commit never came back says nothing; the next does.
  const missing = newestPossible === undefined ? undefined : beats.find(({ id, after }) => id > newestPossible && Number.isFinite(after));
  const low = missing === undefined ? 0 : Math.max(0, at - AT_RESOLUTION_MS - missing.after);
  const high = replayed === undefined ? Number.POSITIVE_INFINITY : Math.max(0, at + AT_RESOLUTION_MS - replayed.before);
  const meets = (from: number, to: number): boolean => published.lower <= to && published.upper >= from;
  if (low === 0 && isIdle(beats, at)) {
    const flushed = firstAfter(root, at + AT_RESOLUTION_MS)?.lsn;
    if (seen?.lsn === undefined || flushed === undefined || seen.lsn < flushed) return { kind: 'undecided', low, high };
    return { kind: meets(0, 0) ? 'idle within' : 'idle outside', low: 0, high: 0 };
  }
  if (low === 0 && high === Number.POSITIVE_INFINITY) return { kind: 'undecided', low, high };
  return { kind: meets(low, high) ? 'within' : 'outside', low, high };
}

/** Nothing was committed for a while, as far as heartbeats tell. */
function isIdle(beats: readonly Beat[], at: number): boolean {
  return !beats.some(({ before, after }) => before <= at && after > at - IDLE_AFTER_MS);
}

/** The last sight that was complete by then. */
function lastBefore(sights: readonly Sight[], at: number): Sight | undefined {
  const index = firstIndex(sights, ({ received }) => received > at) - 1;
  return sights[index];
}

/** The first sight that was begun after that. */
function firstAfter(sights: readonly Sight[], at: number): Sight | undefined {
  return sights[firstIndex(sights, ({ sent }) => sent >= at)];
}

/** Binary search: sights follow one another. */
function firstIndex(sights: readonly Sight[], isBeyond: (sight: Sight) => boolean): number {
  let low = 0;
  let high = sights.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBeyond(sights[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}
