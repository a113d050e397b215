/**
 * Lag in seconds by the LSN clock: at a moment τ a replica that has replayed up to R lags by τ − T(R), T(R) = inf{t : P(t) > R},
 * and by 0 when R ≥ P(τ). Every answer is a pair of bounds that holds whatever happened between two samples; several
 * sources only ever narrow each other.
 */
import { bytesBetween, type LagSource } from '@tidemark/protocol';
import type { Lag, LagBounds, MessageTrack, Position, Track } from './model.ts';

/** What a message may take from its sender to the receiver that reports it. */
const MESSAGE_MS = 2_000;
/** What two servers' times may be off against each other. */
const MARGIN_MS = 100;

/** What is known of the position that somebody is measured against. */
export interface HeadClock {
  /** By the agent of the server at the head itself; of a primary, with those whose history it leads on. */
  readonly head: Track | undefined;
  /** Its agent reports it now, and it is up: `head` alone decides. */
  readonly isHeard: boolean;
  /** What those that receive from it were told of where it stands. */
  readonly told: readonly MessageTrack[];
  /** For how long after such a message nothing else has to be assumed, in milliseconds. */
  readonly toldFreshMs: number;
  /** Positions of others on the same branch: whoever has WAL, the head had it before. */
  readonly beyond: readonly Track[];
}

/** Nothing was seen for so long between two samples: the one before it tells of another time. */
const GAP_MS = 10_000;
/** A question that took longer says where it stood, and not well when: then the answer before bounds it as well. */
const QUICK_MS = 150;

/** Where a replica stood at a moment. */
export interface Standing {
  readonly at: number;
  readonly low: bigint | undefined;
  /** Undefined: it may have come any further. */
  readonly high: bigint | undefined;
  /** It was so at some moment up to so much later: what the question took. */
  readonly errorMs: number;
  /** What it is known by: its own agent, or its upstream's view of it. */
  readonly by: 'agent' | 'sender';
}

interface Passed {
  readonly notBefore: number;
  readonly notAfter: number;
  readonly likely: number;
  readonly source: LagSource;
}

const NEVER: Passed = {
  notBefore: Number.NEGATIVE_INFINITY,
  notAfter: Number.POSITIVE_INFINITY,
  likely: Number.POSITIVE_INFINITY,
  source: 'standby',
};

/** When the head went beyond a position, by all that is known. */
function passed(clock: HeadClock, lsn: bigint): Passed {
  let known: Passed = NEVER;
  if (clock.head !== undefined) {
    known = { ...clock.head.passed(lsn), source: 'primary' };
    if (clock.isHeard) return known;
  }
  for (const track of clock.told) {
    const { notAfter, likely } = track.passed(lsn);
    known = narrowed(known, { notBefore: track.heardWithin(lsn) - MESSAGE_MS, notAfter, likely });
  }
  for (const track of clock.beyond) known = narrowed(known, { ...track.passed(lsn), notBefore: Number.NEGATIVE_INFINITY });
  return known;
}

function narrowed(known: Passed, other: { notBefore: number; notAfter: number; likely: number }): Passed {
  const notBefore = Math.max(known.notBefore, other.notBefore);
  const notAfter = Math.min(known.notAfter, other.notAfter);
  if (notBefore === known.notBefore && notAfter === known.notAfter) return known;
  // Two servers' times are placed on ours with a small error each: where they contradict each other, it is between them.
  const [from, to] = notBefore <= notAfter ? [notBefore, notAfter] : [notAfter, notBefore];
  const likely = Number.isFinite(known.likely) ? known.likely : other.likely;
  return { notBefore: from, notAfter: to, likely, source: 'standby' };
}

/** The newest moment of which anything says where the head stood. */
function newestKnown(clock: HeadClock): number | undefined {
  const times = [clock.head, ...clock.told].flatMap((track) => track?.newest?.at ?? []);
  return times.length === 0 ? undefined : Math.max(...times);
}

/** The head's furthest known position at a moment: at least that was written. */
function furthestAt(clock: HeadClock, at: number): bigint | undefined {
  let furthest = lsnAt(clock.head, at);
  if (clock.isHeard && furthest !== undefined) return furthest;
  for (const tracks of [clock.told, clock.beyond])
    for (const track of tracks) {
      const low = lsnAt(track, at);
      if (low !== undefined && (furthest === undefined || low > furthest)) furthest = low;
    }
  return furthest;
}

/** Where a track stood, as far as it is known: what was read last is so until something else is. */
export function lsnAt(track: Track | undefined, at: number): bigint | undefined {
  const newest = track?.newest;
  return newest !== undefined && at >= newest.at ? newest.lsn : track?.positionAt(at).low;
}

/** The furthest that a track may have stood at; beyond its newest sample nothing is known, and nothing assumed. */
export function lsnAtMost(track: Track | undefined, at: number): bigint | undefined {
  const newest = track?.newest;
  return newest === undefined || at >= newest.at ? newest?.lsn : (track!.positionAt(at).high ?? newest.lsn);
}

/** The sample of a track at `limit` or the one before. Without any shortly before it, its newest one. */
function sampleBefore(track: Track, newest: Position, limit: number): Position {
  if (limit >= newest.at) return newest;
  const { low, high } = track.positionAt(limit);
  if (low === undefined) return newest;
  if (low === high) return { at: limit, lsn: low };
  const at = track.passed(low).notBefore;
  return at <= limit && limit - at <= GAP_MS ? { at, lsn: low } : newest;
}

/** Where a replica stood, by its own agent, at the newest moment of which both sides are known. */
export function standingByAgent(replayed: Track | undefined, clock: HeadClock): Standing | undefined {
  const newest = replayed?.newest;
  if (replayed === undefined || newest === undefined) return undefined;
  const head = clock.isHeard ? clock.head?.newest : undefined;
  // When the head passed a position that is behind it stays the same, however long ago the head was seen.
  const { at, lsn } = head === undefined || newest.lsn < head.lsn ? newest : sampleBefore(replayed, newest, head.at);
  // What it had before, it had at that very moment.
  const errorMs = Math.max(0, replayed.passed(lsn - 1n).notAfter - at);
  if (errorMs <= QUICK_MS) return { at, low: lsn, high: lsn, errorMs, by: 'agent' };
  return { at, low: replayed.positionAt(at).low, high: lsn, errorMs: 0, by: 'agent' };
}

/**
 * Where a replica stood by its upstream's view, which is a floor that is up to `staleMs` old: what is seen now bounds from
 * above what was so `staleMs` ago. `staleMs` undefined: it replies to nothing but WAL, and there is no such bound.
 */
export function standingBySender(reported: Track | undefined, clock: HeadClock, staleMs: number | undefined): Standing | undefined {
  const newest = reported?.newest;
  if (reported === undefined || newest === undefined) return undefined;
  if (staleMs !== undefined) {
    const headAt = clock.isHeard ? clock.head?.newest?.at : undefined;
    const at = Math.min(newest.at - staleMs, headAt ?? Number.POSITIVE_INFINITY);
    const { low } = reported.positionAt(at);
    if (low !== undefined) return { at, low, high: newest.lsn, errorMs: 0, by: 'sender' };
  }
  return { at: newest.at, low: newest.lsn, high: undefined, errorMs: 0, by: 'sender' };
}

/** A server that is down replays nothing; how far it came since it was last seen nobody knows. */
export function standingWhileDown(replayed: Track | undefined, clock: HeadClock, downAt: number): Standing | undefined {
  const newest = replayed?.newest;
  if (newest === undefined) return undefined;
  const headAt = clock.isHeard ? clock.head?.newest?.at : undefined;
  return { at: Math.max(newest.at, headAt ?? downAt), low: newest.lsn, high: undefined, errorMs: 0, by: 'agent' };
}

/** Bounds of how old the oldest WAL beyond a standing is. Undefined when they would say nothing at all. */
export function lagOf(standing: Standing | undefined, clock: HeadClock): Lag | undefined {
  if (standing === undefined) return undefined;
  const { at, low, high, errorMs } = standing;
  const fromLow = low === undefined ? NEVER : passed(clock, low);
  const fromHigh = high === undefined ? NEVER : high === low ? fromLow : passed(clock, high);
  const upper = Math.max(0, at + errorMs - fromLow.notBefore) + MARGIN_MS;
  const lower = Math.min(upper, Math.max(0, at - fromHigh.notAfter - MARGIN_MS));
  if (upper === Number.POSITIVE_INFINITY && lower === 0) return undefined;
  const known = newestKnown(clock);
  // Of a moment at which the head was seen nothing has to be assumed, however long ago that is.
  const isFresh = clock.isHeard || isSeenAt(clock.head, at, 0) || clock.told.some((track) => isSeenAt(track, at, clock.toldFreshMs));
  const furthest = furthestAt(clock, at);
  return {
    value: likeliest({ at, lower, upper, fromLow, fromHigh, isGuess: !isFresh || (high === undefined && standing.by === 'agent') }),
    lower,
    upper,
    at,
    bytes: low === undefined || furthest === undefined ? undefined : bytesBetween(low, furthest),
    source: standing.by === 'sender' ? 'sender' : fromLow === NEVER ? fromHigh.source : fromLow.source,
    unknownSince: isFresh ? undefined : known,
  };
}

const isSeenAt = (track: Track | undefined, at: number, freshMs: number): boolean =>
  track?.newest !== undefined && at - track.newest.at <= freshMs;

/** Never 0 because nobody knows: where the head may have gone on unseen, it is held to have done so. */
function likeliest(known: {
  readonly at: number;
  readonly lower: number;
  readonly upper: number;
  readonly fromLow: Passed;
  readonly fromHigh: Passed;
  readonly isGuess: boolean;
}): number {
  const { at, lower, upper, fromLow, fromHigh, isGuess } = known;
  if (upper === Number.POSITIVE_INFINITY) return lower;
  const from = fromLow.likely;
  const likely = Number.isFinite(fromHigh.likely) ? (from + fromHigh.likely) / 2 : from;
  if (isGuess && !(likely < at)) return Math.max(lower, at - fromLow.notBefore);
  return Number.isFinite(likely) ? Math.min(upper, Math.max(lower, at - likely)) : lower;
}

/** What is left of a lag that is partly wanted. */
export function excessOf(lag: Lag | undefined, delayMs: number | undefined): LagBounds | undefined {
  if (lag === undefined) return undefined;
  const less = (ms: number): number => Math.max(0, ms - (delayMs ?? 0));
  return { value: less(lag.value), lower: less(lag.lower), upper: less(lag.upper) };
}
