/**
 * The judging of one alert (a rule on a node and one label set): state and input in, state and effects out, nothing else.
 * Only what was measured decides: missing data opens nothing, ends nothing, and counts neither way.
 */
import type { AlertLevel, CloseReason } from '@tidemark/protocol';
import type { Level, Rule } from '../rules/rule.ts';
import { slowBridgeMs } from './bridge.ts';
import { KINDS, type Kind, type Value } from './kinds/index.ts';
import { NO_RUNS, since as runsSince, timeWithin, withRun } from './runs.ts';
import { CALM_TRACK, type AlertState, type Track } from './state.ts';

/** What brings a series has to have come without it for so long. */
export const GONE_AFTER_MS = 10 * 60_000;

export type Input =
  /** A value. Not live: it fills what is remembered, and decides nothing. */
  | { readonly kind: 'sample'; readonly at: number; readonly value: Value; readonly live: boolean; readonly bridgeMs: number }
  /** Its node reports, and it is not among what was measured. */
  | { readonly kind: 'unmeasured'; readonly at: number; readonly bridgeMs: number }
  /** The same, and what would bring it says that it is not there. */
  | { readonly kind: 'gone'; readonly at: number; readonly bridgeMs: number }
  /** Its node is silent. */
  | { readonly kind: 'silent' }
  /** The rule reads otherwise than before; `before` where it is known. */
  | { readonly kind: 'edited'; readonly before: Rule | undefined }
  /** Nobody judges it any more. */
  | { readonly kind: 'over'; readonly reason: Exclude<CloseReason, 'recovered' | 'gone'> };

export type Effect =
  | { readonly kind: 'opened'; readonly at: number; readonly level: AlertLevel; readonly value: Value; readonly since: number }
  | { readonly kind: 'level'; readonly at: number; readonly level: AlertLevel; readonly value: Value | null }
  | { readonly kind: 'data'; readonly at: number; readonly noData: boolean }
  | { readonly kind: 'closed'; readonly at: number; readonly reason: CloseReason; readonly value: Value | null };

export interface Stepped {
  readonly state: AlertState | undefined;
  readonly effects: readonly Effect[];
}

const NO_EFFECTS: readonly Effect[] = [];
const LEVELS = ['critical', 'warning'] as const;

/** `now` (milliseconds since 1970) is the time of what no sample decides. */
export function step(rule: Rule, state: AlertState | undefined, input: Input, now: number): Stepped {
  switch (input.kind) {
    case 'sample':
      return sampled(rule, state, input);
    case 'unmeasured':
    case 'gone':
      return state === undefined ? { state, effects: NO_EFFECTS } : unmeasured(state, input);
    case 'silent':
      if (state === undefined || state.level === null || state.noData) return { state, effects: NO_EFFECTS };
      return { state: { ...state, noData: true }, effects: [{ kind: 'data', at: now, noData: true }] };
    case 'edited':
      return state === undefined ? { state, effects: NO_EFFECTS } : edited(rule, state, input.before, now);
    case 'over':
      if (state === undefined || state.level === null) return { state: undefined, effects: NO_EFFECTS };
      return { state: undefined, effects: [{ kind: 'closed', at: now, reason: input.reason, value: state.value }] };
  }
}

/** Whether a value by itself means that nothing is going on: then a series without a state needs no step. */
export function isCalm(rule: Rule, value: Value): boolean {
  const kind = KINDS[rule.kind];
  return !(rule.critical !== null && kind.isBeyond(rule.critical, value)) && !(rule.warning !== null && kind.isBeyond(rule.warning, value));
}

type Sample = Extract<Input, { kind: 'sample' }>;

function sampled(rule: Rule, state: AlertState | undefined, input: Sample): Stepped {
  const { at, value, live } = input;
  if (state === undefined && isCalm(rule, value)) return { state, effects: NO_EFFECTS };
  const known = state?.at ?? null;
  if (known !== null && at <= known) return { state, effects: NO_EFFECTS };
  const gap = known === null ? 0 : at - known;
  const bridged = known !== null && gap <= bridgeOf(state, input.bridgeMs);
  const kind = KINDS[rule.kind];
  const heard = (level: Level | null, track: Track | null | undefined): Track | null =>
    level === null ? null : heardTrack(kind, level, track ?? CALM_TRACK, { at, value, from: bridged ? known : null });
  const decided = (level: Level | null, track: Track | null): Track | null =>
    level === null || track === null || !live ? track : decidedTrack(kind, level, track, at);
  const warning = decided(rule.warning, heard(rule.warning, state?.warning));
  const critical = decided(rule.critical, heard(rule.critical, state?.critical));
  const isRise = !kind.isMomentary || !isCalm(rule, value);
  const next: AlertState = {
    at,
    value: isRise ? value : (state?.value ?? value),
    level: state?.level ?? null,
    warning,
    critical,
    noData: live ? false : (state?.noData ?? false),
    goneSince: null,
    gaps: state === undefined || known === null ? [0, 0] : [state.gaps[1], gap],
  };
  return live ? settled(rule, next, state?.noData === true, at) : { state: remembered(next, rule), effects: NO_EFFECTS };
}

/** A series with a pace of its own has shown it twice. */
function bridgeOf(state: AlertState | undefined, nodeBridgeMs: number): number {
  const paceMs = state === undefined ? 0 : Math.min(...state.gaps);
  return paceMs > nodeBridgeMs ? Math.max(nodeBridgeMs, slowBridgeMs(paceMs)) : nodeBridgeMs;
}

interface Heard {
  readonly at: number;
  readonly value: Value;
  /** Since when the value before is known to have held; null when nobody knows. */
  readonly from: number | null;
}

/** Takes a value into what is remembered of a level, without deciding anything. */
function heardTrack(kind: Kind, level: Level, track: Track, { at, value, from }: Heard): Track {
  const isBeyond = kind.isBeyond(level, value);
  if (kind.isMomentary) return momentary(level, track, at, isBeyond);
  const isBack = kind.isBack(level, value);
  const held = from === null ? 0 : at - from;
  const runs = track.active ? NO_RUNS : track.beyond && from !== null ? withRun(track.runs, from, at) : track.runs;
  return {
    ...track,
    beyond: isBeyond,
    runs: runsSince(runs, at - level.ofLastMs),
    back: isBack,
    backMs: isBack ? track.backMs + (track.back ? held : 0) : 0,
  };
}

function momentary(level: Level, track: Track, at: number, isBeyond: boolean): Track {
  if (isBeyond) return { ...track, beyond: true, back: false, lastAt: at, firstAt: track.firstAt ?? at };
  const lasts = track.lastAt !== null && at - track.lastAt < level.clearAfterMs;
  return lasts ? track : { ...track, beyond: false, back: true, lastAt: null, firstAt: null };
}

function decidedTrack(kind: Kind, level: Level, track: Track, at: number): Track {
  if (!track.active) {
    const isDue = track.beyond && timeWithin(track.runs, at - level.ofLastMs, at) >= level.trueForMs;
    return isDue ? { ...track, active: true, backMs: 0 } : track;
  }
  const isOver = track.back && (kind.isMomentary || track.backMs >= level.clearAfterMs);
  // What was before counts no more: the next time begins at nothing, or one value beyond would open it again.
  return isOver ? { ...CALM_TRACK, beyond: track.beyond } : track;
}

/** From the levels to the alert: its effects, in the order in which they are to be told. */
function settled(rule: Rule, state: AlertState, wasWithoutData: boolean, at: number): Stepped {
  const { value } = state;
  const level = LEVELS.find((name) => state[name]?.active) ?? null;
  const effects: Effect[] = [];
  if (wasWithoutData && state.level !== null) effects.push({ kind: 'data', at, noData: false });
  if (level !== null && state.level === null) effects.push({ kind: 'opened', at, level, value: value!, since: beganAt(state[level]!, at) });
  else if (level !== null && level !== state.level) effects.push({ kind: 'level', at, level, value });
  else if (level === null && state.level !== null) effects.push({ kind: 'closed', at, reason: 'recovered', value });
  return { state: remembered({ ...withoutOldRuns(state), level }, rule), effects };
}

/** When what made the level active began. */
function beganAt(track: Track, at: number): number {
  return track.firstAt ?? track.runs[0] ?? at;
}

/** An active level has no use for what led to it. */
function withoutOldRuns(state: AlertState): AlertState {
  const trim = (track: Track | null): Track | null => (track?.active && track.runs.length > 0 ? { ...track, runs: NO_RUNS } : track);
  return { ...state, warning: trim(state.warning), critical: trim(state.critical) };
}

/** Undefined when there is nothing to remember. */
function remembered(state: AlertState, rule: Rule): AlertState | undefined {
  if (state.level !== null) return state;
  for (const name of LEVELS) {
    const track = state[name];
    if (track !== null && rule[name] !== null && (track.active || track.beyond || track.runs.length > 0 || track.lastAt !== null))
      return state;
  }
  return undefined;
}

function unmeasured(state: AlertState, input: Extract<Input, { kind: 'unmeasured' | 'gone' }>): Stepped {
  const { at } = input;
  const goneSince = input.kind === 'gone' ? Math.min(state.goneSince ?? at, at) : null;
  if (goneSince !== null && at - goneSince >= GONE_AFTER_MS) {
    const effects: Effect[] = state.level === null ? [] : [{ kind: 'closed', at, reason: 'gone', value: state.value }];
    return { state: undefined, effects };
  }
  const isMissed = state.level !== null && !state.noData && (state.at === null || at - state.at > bridgeOf(state, input.bridgeMs));
  // Known from the book alone, it is given the time of a bridge to come: from here on its time counts.
  if (isMissed && state.at === null) return { state: { ...state, at, goneSince }, effects: NO_EFFECTS };
  if (!isMissed) return { state: goneSince === state.goneSince ? state : { ...state, goneSince }, effects: NO_EFFECTS };
  return { state: { ...state, goneSince, noData: true }, effects: [{ kind: 'data', at, noData: true }] };
}

/** Judges what is remembered by the new rule and the last known value: an edit may end an alert or make it milder, and never open or raise one. */
function edited(rule: Rule, state: AlertState, before: Rule | undefined, now: number): Stepped {
  const kind = KINDS[rule.kind];
  const tracks = { warning: null as Track | null, critical: null as Track | null };
  for (const name of LEVELS) {
    const level = rule[name];
    if (level !== null) tracks[name] = editedTrack(kind, level, state, { name, before: before?.[name] });
  }
  // Of an unknown value nothing can be said; only a level that is there no more gives way to the one that is.
  if (state.level === 'critical' && state.value === null && tracks.critical === null && tracks.warning !== null)
    tracks.warning = { ...tracks.warning, active: true };
  const level = state.level === null ? null : (LEVELS.find((name) => tracks[name]?.active) ?? null);
  const next: AlertState = { ...state, ...tracks, level };
  if (level === state.level) return { state: remembered(next, rule), effects: NO_EFFECTS };
  if (level !== null) return { state: next, effects: [{ kind: 'level', at: now, level, value: state.value }] };
  return {
    state: remembered(next, rule),
    effects: [{ kind: 'closed', at: now, reason: 'rule_changed', value: state.value }],
  };
}

function editedTrack(
  kind: Kind,
  level: Level,
  state: AlertState,
  { name, before }: { name: AlertLevel; before: Level | null | undefined },
): Track {
  const track = state[name] ?? CALM_TRACK;
  const { value } = state;
  if (kind.isMomentary) {
    const lasts = track.lastAt !== null && state.at !== null && state.at - track.lastAt < level.clearAfterMs;
    return track.active && !lasts && track.lastAt !== null ? CALM_TRACK : track;
  }
  if (value === null) return track;
  const isBeyond = kind.isBeyond(level, value);
  const isBack = kind.isBack(level, value);
  const sameBound = before !== null && before !== undefined && JSON.stringify(before.trigger) === JSON.stringify(level.trigger);
  const stays = track.active ? (sameBound ? !isBack : isBeyond) : isBeyond && mayStay(name, state.level);
  if (stays) return { ...CALM_TRACK, active: true, beyond: isBeyond, back: isBack, backMs: isBack ? track.backMs : 0 };
  if (track.active) return { ...CALM_TRACK, beyond: isBeyond };
  return { ...CALM_TRACK, beyond: isBeyond, runs: sameBound ? track.runs : NO_RUNS, back: isBack };
}

/** Whether an alert that is open at a level may be at this one without anything new having been measured. */
function mayStay(name: AlertLevel, open: AlertLevel | null): boolean {
  return open === 'critical' || open === name;
}
