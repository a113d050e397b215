/**
 * How the console stands with the collector, judged by ages on a clock that nobody sets: figures that are old are
 * never shown as fresh, and a collector that does not answer is named within five seconds.
 */
import type { Failure } from '../api/failure.ts';

/** Signs of life are asked for every two seconds; after this long without any the connection counts as lost. */
export const LOST_AFTER_MS = 4_000;
/** Figures come every five seconds; older than this they are not fresh. */
export const FRESH_MS = 8_000;

export type Link =
  /** Nothing has come yet. */
  | { kind: 'waiting' }
  | { kind: 'live' }
  /** The page was out of sight and asks again. */
  | { kind: 'resuming' }
  | { kind: 'lost' }
  /** The collector answers, but not with figures. */
  | { kind: 'troubled'; failure: Failure };

export interface LinkFacts {
  nowMs: number;
  /** When the page began to ask: at its start, and whenever it came back into sight. */
  askingSinceMs: number;
  /** When the collector last answered anything. */
  answeredAtMs: number | null;
  /** When the figures shown were received. */
  figuresAtMs: number | null;
  /** Why the last question for figures failed; null when it did not. */
  failure: Failure | null;
}

/** Judges. All times on one monotonic clock. */
export function judgeLink(facts: LinkFacts): Link {
  const silentMs = facts.nowMs - Math.max(facts.askingSinceMs, facts.answeredAtMs ?? -Infinity);
  if (silentMs > LOST_AFTER_MS) return { kind: 'lost' };
  if (facts.figuresAtMs === null) {
    if (facts.failure === null || facts.failure.kind === 'unreachable') return { kind: 'waiting' };
    return { kind: 'troubled', failure: facts.failure };
  }
  if (facts.nowMs - facts.figuresAtMs <= FRESH_MS) return { kind: 'live' };
  if (facts.failure !== null) return { kind: 'troubled', failure: facts.failure };
  const resumed = facts.askingSinceMs > facts.figuresAtMs && facts.nowMs - facts.askingSinceMs <= FRESH_MS;
  return resumed ? { kind: 'resuming' } : { kind: 'troubled', failure: { kind: 'unreachable' } };
}
