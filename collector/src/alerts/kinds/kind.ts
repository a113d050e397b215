/**
 * What a kind of rule has to say: when one value is beyond a level's bound, and when it is back. How long that has to
 * last, gaps, levels and everything else is the same for all kinds and stands in step.ts.
 */
import type { Level } from '../../rules/rule.ts';

/** What is judged: a series' value, an observation's field, a rise, or whether something is missing. Never NaN. */
export type Value = number | string | boolean;

export interface Kind {
  /** Whether the value is beyond the bound. */
  isBeyond(level: Level, value: Value): boolean;
  /** Whether the value is back where the level is over. */
  isBack(level: Level, value: Value): boolean;
  /** What is beyond is a moment and not a state: the level is over `clearAfterMs` after the last one. */
  readonly isMomentary: boolean;
}
