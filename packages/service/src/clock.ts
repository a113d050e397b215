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
