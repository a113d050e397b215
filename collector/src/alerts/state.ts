/**
 * What is remembered of one alert that may come, is open, or is ending; undefined when nothing is going on, so that a calm
 * fleet needs no memory. Plain data: it is written to the snapshot as it is, and replaced, never changed.
 */
import type { AlertLevel } from '@tidemark/protocol';
import type { Value } from './kinds/index.ts';
import { NO_RUNS, shiftedRuns, type Runs } from './runs.ts';

/** One level's part. Times are the samples', in milliseconds since 1970. */
export interface Track {
  /** Whether the newest value is beyond the bound. */
  readonly beyond: boolean;
  /** When it was, as far as that still counts; kept while the level is not active. */
  readonly runs: Runs;
  readonly active: boolean;
  /** Whether the newest value is back. */
  readonly back: boolean;
  /** How long it has been back, of an active level. */
  readonly backMs: number;
  /** The last moment it was beyond, and the first of those that belong together; of a kind that is about moments. */
  readonly lastAt: number | null;
  readonly firstAt: number | null;
}

export interface AlertState {
  /** Time of the newest value; null: known from the book alone. */
  readonly at: number | null;
  readonly value: Value | null;
  /** The level it is open at; null while it is not. */
  readonly level: AlertLevel | null;
  readonly warning: Track | null;
  readonly critical: Track | null;
  readonly noData: boolean;
  /** Since when what brings it has come without it. */
  readonly goneSince: number | null;
  /** The last two distances between values: the pace of a series that is slower than its node. */
  readonly gaps: readonly [number, number];
}

export const CALM_TRACK: Track = { beyond: false, runs: NO_RUNS, active: false, back: true, backMs: 0, lastAt: null, firstAt: null };

/** An alert of which only the book knows: open at a level, beyond as far as anybody can tell. */
export function stateFromBook(level: AlertLevel, noData: boolean, value: Value | null): AlertState {
  const active: Track = { ...CALM_TRACK, active: true, beyond: true, back: false };
  return {
    at: null,
    value,
    level,
    warning: level === 'warning' ? active : null,
    critical: level === 'critical' ? active : null,
    noData,
    goneSince: null,
    gaps: [0, 0],
  };
}

/** The same after the clock that its times are of was set: what has passed stays as long as it was. */
export function shifted(state: AlertState, ms: number): AlertState {
  const move = (time: number | null): number | null => (time === null ? null : time + ms);
  const track = (one: Track | null): Track | null =>
    one === null ? null : { ...one, runs: shiftedRuns(one.runs, ms), lastAt: move(one.lastAt), firstAt: move(one.firstAt) };
  return {
    ...state,
    at: move(state.at),
    goneSince: move(state.goneSince),
    warning: track(state.warning),
    critical: track(state.critical),
  };
}
