/**
 * When a report was taken, whatever the agent's clock says. The offset between the two clocks is the
 * smallest (arrival − sending) seen lately, because a delay on the way can only make that difference
 * larger; a clock that is set is recognised by the agent's monotonic clock, which nobody sets.
 */
import { LIMITS } from '@tidemark/protocol';

const WINDOW_MS = 5 * 60_000;
/** A wall clock that moved this much against the monotonic one between two requests was set. */
const STEP_MS = 500;

/** Estimates collector's clock less agent's, in milliseconds, for one node. */
export class ClockOffset {
  #bootId = '';
  #sentAt = 0;
  #sentMonotonicMs = 0;
  #windowStartedAt = 0;
  /** Smallest differences of this window and the one before. */
  #current = Number.POSITIVE_INFINITY;
  #previous = Number.POSITIVE_INFINITY;

  /** Takes note of a request. `receivedAt` is the collector's wall clock. Returns true when the agent's clock was set since the last one. */
  note(request: { bootId: string; sentAt: number; sentMonotonicMs: number }, receivedAt: number): boolean {
    const sameBoot = request.bootId === this.#bootId;
    const step = request.sentAt - this.#sentAt - (request.sentMonotonicMs - this.#sentMonotonicMs);
    const wasSet = sameBoot && Math.abs(step) > STEP_MS;
    if (!sameBoot || wasSet) {
      this.#current = this.#previous = Number.POSITIVE_INFINITY;
      this.#windowStartedAt = receivedAt;
    } else if (receivedAt - this.#windowStartedAt > WINDOW_MS || receivedAt < this.#windowStartedAt) {
      this.#previous = this.#current;
      this.#current = Number.POSITIVE_INFINITY;
      this.#windowStartedAt = receivedAt;
    }
    this.#current = Math.min(this.#current, receivedAt - request.sentAt);
    this.#bootId = request.bootId;
    this.#sentAt = request.sentAt;
    this.#sentMonotonicMs = request.sentMonotonicMs;
    return wasSet;
  }

  get offsetMs(): number {
    const offset = Math.min(this.#current, this.#previous);
    return Number.isFinite(offset) ? offset : 0;
  }
}

export interface ReportTime {
  /** Milliseconds since 1970 on the collector's clock, as near as can be known. */
  at: number;
  /** The same by the agent's steady clock and the offset as it was measured, however small: for what compares moments of several nodes. */
  steadyAt: number;
  live: boolean;
}

interface Taken {
  bootId: string;
  takenAt: number;
  monotonicMs: number;
}
interface Sent {
  bootId: string;
  sentAt: number;
  sentMonotonicMs: number;
}

/**
 * Places one report in time. Its age is taken against sent; where the wall clock was set in between, the
 * monotonic clock of the same run knows better. An offset within LIMITS.clockOffsetMs is left alone, so
 * that the times of a well-kept clock are stored as they are. Returns a sentence when the time cannot be true.
 */
export function placeInTime(report: Taken, request: Sent, offsetMs: number, receivedAt: number): ReportTime | string {
  const wallAgeMs = request.sentAt - report.takenAt;
  let ageMs = wallAgeMs;
  let steadyAgeMs = wallAgeMs;
  if (report.bootId === request.bootId) {
    const monotonicAgeMs = request.sentMonotonicMs - report.monotonicMs;
    if (monotonicAgeMs >= 0) {
      steadyAgeMs = monotonicAgeMs;
      if (Math.abs(monotonicAgeMs - wallAgeMs) > LIMITS.clockOffsetMs) ageMs = monotonicAgeMs;
    }
  }
  const correctionMs = Math.abs(offsetMs) > LIMITS.clockOffsetMs ? offsetMs : 0;
  const at = Math.round(request.sentAt - ageMs + correctionMs);
  if (!Number.isSafeInteger(at)) return 'Its time is not a time.';
  if (at > receivedAt + LIMITS.futureMs) return `It says it was taken ${Math.round((at - receivedAt) / 1000)} s from now.`;
  if (at < receivedAt - LIMITS.pastMs)
    return `It says it was taken ${Math.round((receivedAt - at) / 86_400_000)} days ago; at most ${LIMITS.pastMs / 86_400_000} are accepted.`;
  return { at, steadyAt: request.sentAt - steadyAgeMs + offsetMs, live: ageMs <= LIMITS.liveAgeMs };
}
