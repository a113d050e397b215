/** Time as an argument: every part that judges or waits takes a Clock, so that a test can run a night in milliseconds. */

export interface Clock {
  /** Milliseconds since 1970; may be set, jump or run backwards. */
  wallMs(): number;
  /** Milliseconds on a clock that nobody sets; only differences mean anything. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

/** Below this the two sources differ by their resolution and by slewing, not because the machine slept. */
const SLEPT_MS = 1_000;
/** The uptime is looked at this often at most: the kernel takes 0.1 ms to tell it. */
const LOOK_EVERY_MS = 500;

/**
 * The system's clock whose monotonic side also counts the time a machine was suspended, to the millisecond.
 * `performance.now()` stands still meanwhile; `uptimeSeconds` (as `os.uptime`) does not, but has a resolution
 * of 10 ms, so it only tells when and how far to move on. Never runs backwards.
 */
export function createSuspendAwareClock(uptimeSeconds: () => number, base: Clock = systemClock): Clock {
  const ahead = (): number => uptimeSeconds() * 1000 - base.monotonicMs();
  const atStart = ahead();
  let sleptMs = 0;
  let lookedMs = base.monotonicMs();
  return {
    wallMs: () => base.wallMs(),
    monotonicMs() {
      const now = base.monotonicMs();
      if (now - lookedMs >= LOOK_EVERY_MS) {
        lookedMs = now;
        const driftMs = ahead() - atStart - sleptMs;
        if (driftMs > SLEPT_MS) sleptMs += driftMs;
      }
      return now + sleptMs;
    },
  };
}

/** A clock that moves only when told to. */
export class ManualClock implements Clock {
  #wallMs: number;
  #monotonicMs: number;
  constructor(wallMs = Date.UTC(2026, 0, 1), monotonicMs = 0) {
    this.#wallMs = wallMs;
    this.#monotonicMs = monotonicMs;
  }
  wallMs(): number {
    return this.#wallMs;
  }
  monotonicMs(): number {
    return this.#monotonicMs;
  }
  /** Time passes on both clocks. */
  advance(ms: number): void {
    this.#wallMs += ms;
    this.#monotonicMs += ms;
  }
  /** Somebody sets the wall clock; the monotonic one does not notice. */
  setWall(ms: number): void {
    this.#wallMs = ms;
  }
}
