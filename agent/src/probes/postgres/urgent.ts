/** Passes a call on at once, and then at most one in five seconds: what changes all the time does not make a report each time. */

const GAP_MS = 5_000;

export class UrgentCalls {
  readonly #callback: () => void;
  #lastMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(callback: () => void) {
    this.#callback = callback;
  }

  /** `nowMs` on a clock that nobody sets. A call within the gap is made at its end; further ones are the same one. */
  call(nowMs: number): void {
    if (this.#timer !== undefined) return;
    const waitMs = this.#lastMs + GAP_MS - nowMs;
    if (waitMs <= 0) {
      this.#lastMs = nowMs;
      this.#callback();
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#lastMs = nowMs + waitMs;
      this.#callback();
    }, waitMs);
    this.#timer.unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
