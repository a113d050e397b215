/** How long to wait before trying again: exponential with full jitter, so that a fleet that failed together does not return together. */

export interface BackoffBounds {
  baseMs: number;
  maxMs: number;
}

/**
 * Milliseconds to wait after the `attempt`-th failure in a row (1 for the first): uniform between 0 and
 * `min(maxMs, baseMs · 2^(attempt-1))`, but at least a tenth of that, so that luck cannot make a busy loop.
 * `random` returns [0, 1).
 */
export function backoffMs(attempt: number, bounds: BackoffBounds, random: () => number): number {
  const ceiling = Math.min(bounds.maxMs, bounds.baseMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(ceiling * (0.1 + 0.9 * random()));
}
