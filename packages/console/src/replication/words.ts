/**
 * Replication in words. The one rule: a figure that nobody knows is said to be unknown, or "at least"; a lower bound is
 * rounded down and an upper one up, so that the words never claim more than was measured. Pure.
 */
import type {
  LagSource,
  ReplicationInstance,
  ReplicationLag,
  ReplicationPrimary,
  ReplicationSlot,
  ReplicationState,
} from '@tidemark/protocol';
import { levelOf, type Bounds, type Level } from '../fleet/bounds.ts';
import { formatBytes, formatDuration } from '../format/quantities.ts';
import { formatClock } from '../format/times.ts';

export const UNKNOWN = 'not known';
const MINUTE = 60;
const HOUR = 3_600;
/** Up to here hours are counted through: an outage of "40 h 12 min" is told better than one of "1 d 16 h". */
const HOURS_MOST = 100;
/** Below this nobody cares, and the measurement does not tell it either. */
const NIL_S = 0.05;

export const STATE_WORDS: Record<ReplicationState, string> = {
  running: 'running',
  streaming: 'streaming',
  catching_up: 'catching up',
  stalled: 'stalled',
  paused: 'paused',
  delayed: 'delayed on purpose',
  archive_recovery: 'from the archive',
  disconnected: 'disconnected',
  diverged: 'diverged',
  starting: 'starting',
  down: 'down',
  insufficient_privilege: 'rights missing',
  unknown: UNKNOWN,
};

export type Mood = 'good' | 'busy' | 'warning' | 'critical' | 'unknown';

/** How a state is to be taken; its shape and tint follow from it. */
export const MOODS: Record<ReplicationState, Mood> = {
  running: 'good',
  streaming: 'good',
  catching_up: 'busy',
  stalled: 'warning',
  paused: 'warning',
  delayed: 'busy',
  archive_recovery: 'warning',
  disconnected: 'critical',
  diverged: 'critical',
  starting: 'busy',
  down: 'critical',
  insufficient_privilege: 'warning',
  unknown: 'unknown',
};

type Rounding = 'down' | 'near' | 'up';

/** Seconds of a lag: "0.4 s", "12 s", "4 min 12 s", "40 h 12 min". */
export function formatLagSeconds(seconds: number, rounding: Rounding = 'near'): string {
  const step = seconds < 10 ? 0.1 : seconds < HOUR ? 1 : MINUTE;
  const steps = Math.max(0, seconds) / step;
  // 3.4 / 0.1 is a hair below 34.
  const whole = rounding === 'near' ? Math.round(steps) : rounding === 'down' ? Math.floor(steps + 1e-9) : Math.ceil(steps - 1e-9);
  const value = whole * step;
  if (value < 9.95) return `${Number(value.toFixed(1))} s`;
  if (value < MINUTE) return `${Math.round(value)} s`;
  if (value < HOUR) {
    const rest = Math.round(value) % MINUTE;
    return `${Math.floor(Math.round(value) / MINUTE)} min${rest === 0 ? '' : ` ${rest} s`}`;
  }
  if (value >= HOURS_MOST * HOUR) return formatDuration(value);
  const minutes = Math.round(value / MINUTE);
  return `${Math.floor(minutes / 60)} h${minutes % 60 === 0 ? '' : ` ${minutes % 60} min`}`;
}

/** "14:03", with the day before it when that is another than `nowMs`'s. In the viewer's zone. */
export function formatMinute(at: string, nowMs: number): string {
  return formatClock(Date.parse(at), nowMs).replace(/(\d\d:\d\d):\d\d$/, '$1');
}

/** The same where room is short: of another day the day alone. */
export function formatShortMinute(at: string, nowMs: number): string {
  const text = formatMinute(at, nowMs);
  return text.length <= 5 ? text : new Date(at).toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
}

export interface LagWords {
  /** "3.4 s", "≤ 2 s", "at least 12 min", "not known". */
  value: string;
  /** "2.1–4.3 s"; null where the value says it all. */
  bounds: string | null;
  /** Why no more is known. */
  note: string | null;
}

function boundsWords(lower: number, upper: number): string | null {
  if (upper - lower < Math.max(0.2, upper * 0.02)) return null;
  const [from, to] = [formatLagSeconds(lower, 'down'), formatLagSeconds(upper, 'up')];
  if (from === to) return null;
  // "2.1–4.3 s": one unit will do where both have it.
  return /^[\d.]+ s$/.test(from) && /^[\d.]+ s$/.test(to) ? `${from.slice(0, -2)}–${to}` : `${from} – ${to}`;
}

/** Whether a lag is one at all: of the others the words are "0 s" and "≤ 2 s", which are about what was not seen. */
export const isBehind = ({ seconds, unknownSince, upperSeconds }: ReplicationLag): boolean =>
  seconds >= NIL_S || unknownSince !== null || upperSeconds === null;

/** How pressing a lag is, by the least that it may be, less a delay that is wanted; as the rules have it. */
export function lagLevel(lag: ReplicationLag | null, delaySeconds: number | null, bounds: Bounds): Level {
  return levelOf(lag === null ? null : lag.lowerSeconds - (delaySeconds ?? 0), bounds);
}

/** A lag in words. Nothing that is unknown ever reads as zero. */
export function lagWords(lag: ReplicationLag | null, nowMs: number): LagWords {
  if (lag === null) return { value: UNKNOWN, bounds: null, note: null };
  const { seconds, lowerSeconds, upperSeconds, unknownSince } = lag;
  if (unknownSince !== null || upperSeconds === null) {
    const note = unknownSince === null ? null : `the primary has not been seen since ${formatMinute(unknownSince, nowMs)}`;
    if (lowerSeconds < NIL_S) return { value: UNKNOWN, bounds: null, note };
    return { value: `at least ${formatLagSeconds(lowerSeconds, 'down')}`, bounds: null, note };
  }
  if (upperSeconds < NIL_S) return { value: '0 s', bounds: null, note: null };
  if (seconds < NIL_S) return { value: `≤ ${formatLagSeconds(upperSeconds, 'up')}`, bounds: null, note: null };
  return { value: formatLagSeconds(seconds), bounds: boundsWords(lowerSeconds, upperSeconds), note: null };
}

/** All of it in one line: "3.4 s (2.1–4.3 s)", "at least 12 min – the primary has not been seen since 14:03". */
export function lagText(lag: ReplicationLag | null, nowMs: number): string {
  const { value, bounds, note } = lagWords(lag, nowMs);
  return `${value}${bounds === null ? '' : ` (${bounds})`}${note === null ? '' : ` – ${note}`}`;
}

/** "caught up in ~3 min", "never at this rate"; null when there is nothing to say. */
export function catchupText(instance: Pick<ReplicationInstance, 'catchup' | 'catchupSeconds' | 'state'>): string | null {
  const { catchup, catchupSeconds, state } = instance;
  // Of one that stands still "at this rate" is no news.
  if (catchup === 'never') return state === 'paused' ? 'not while it is paused' : 'never at this rate';
  if (catchup !== 'converging' || catchupSeconds === null || !Number.isFinite(catchupSeconds)) return null;
  // 2 min 51 s is "~3 min": only what runs out is rounded down.
  const step = catchupSeconds < MINUTE ? 1 : MINUTE;
  return `caught up in ~${formatDuration(Math.max(1, Math.round(catchupSeconds / step) * step))}`;
}

export const SOURCE_WORDS: Record<LagSource, string> = {
  primary: "the primary's own positions",
  sender: 'what its sender sees of it',
  standby: 'what it was told by its sender',
};

const UPSTREAM_BY: Record<string, string> = {
  slot: 'its replication slot',
  process: 'the process that sends to it',
  address: 'the address it connects to',
  application_name: 'its application name',
  conninfo: 'its primary_conninfo',
  subscription: 'its subscription',
};

/** How it is known whom an instance follows. */
export const upstreamByText = (by: string): string => UPSTREAM_BY[by] ?? by;

export const CERTAINTY_WORDS: Record<ReplicationPrimary['certainty'], string> = {
  sure: 'sure',
  likely: 'likely',
  disputed: 'disputed',
  unknown: UNKNOWN,
};

/** What would be lost if the primary were lost now; of one that is gone, what is. */
export function lossText(rpoBytes: number | null, isGone: boolean): string {
  if (rpoBytes === null) return UNKNOWN;
  if (rpoBytes === 0) return isGone ? 'nothing is known to be missing' : 'nothing';
  return isGone ? `${formatBytes(rpoBytes)} unless it comes back` : formatBytes(rpoBytes);
}

export type SlotMood = 'lost' | 'danger' | 'idle' | 'active' | 'unknown';
/** What is wrong first. */
export const SLOT_ORDER: Record<SlotMood, number> = { lost: 0, danger: 1, idle: 2, unknown: 3, active: 4 };

/** How a slot is to be taken. */
export interface SlotWords {
  /** What is lost or about to be, before what nobody uses. */
  mood: SlotMood;
  /** How pressing it is; null when nothing is to be feared. */
  level: 'critical' | 'warning' | null;
  /** What is to be feared, the soonest: "lost in ~20 min"; null when nothing is. */
  danger: string | null;
}

/** @param diskFull seconds: a disk that is full sooner is a matter for now, or for today. */
export function slotWords(slot: ReplicationSlot, diskFull: Bounds): SlotWords {
  const { walStatus, invalidationReason, active, lostInSeconds } = slot;
  if (walStatus === 'lost' || invalidationReason !== null)
    return {
      mood: 'lost',
      level: 'critical',
      danger: invalidationReason === null ? 'lost' : `lost: ${invalidationReason.replaceAll('_', ' ')}`,
    };
  const level = walStatus === 'unreserved' || lostInSeconds !== null ? 'critical' : diskLevel(slot.diskFullInSeconds, diskFull);
  if (level !== null) return { mood: 'danger', level, danger: dangerText(slot) };
  return { mood: active === null ? 'unknown' : active ? 'active' : 'idle', level, danger: null };
}

function diskLevel(seconds: number | null, { warning, critical }: Bounds): SlotWords['level'] {
  if (seconds === null || seconds >= Math.max(warning, critical)) return null;
  return seconds < critical ? 'critical' : 'warning';
}

function dangerText({ lostInSeconds, diskFullInSeconds }: ReplicationSlot): string {
  const lost = lostInSeconds ?? Infinity;
  const full = diskFullInSeconds ?? Infinity;
  const soonest = Math.min(lost, full);
  if (soonest === Infinity) return 'may be lost at any checkpoint';
  return `${lost <= full ? 'lost' : 'disk full'} in ~${formatDuration(Math.max(1, soonest))}`;
}
