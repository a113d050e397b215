/**
 * Notices that the collector did not run for a while (a blocked event loop, a stopped or suspended
 * machine, a stopped process): for that time nobody was listening, so nobody may be called silent for it.
 */
import type { Clock } from '@tidemark/service';

const TICK_MS = 1_000;
const STALL_MS = 5_000;

export interface StallWatch {
  /** Looks now; the timer does so every second. */
  look(): void;
  stop(): void;
}

/** Calls `onStall` with the milliseconds lost, after each gap of more than five seconds on either clock (the monotonic one may stop in a suspended machine). */
export function watchForStalls(clock: Clock, onStall: (lostMs: number) => void): StallWatch {
  let monotonicMs = clock.monotonicMs();
  let wallMs = clock.wallMs();
  const look = (): void => {
    const lostMs = Math.max(clock.monotonicMs() - monotonicMs, clock.wallMs() - wallMs) - TICK_MS;
    monotonicMs = clock.monotonicMs();
    wallMs = clock.wallMs();
    if (lostMs > STALL_MS) onStall(lostMs);
  };
  const timer = setInterval(look, TICK_MS);
  timer.unref();
  return { look, stop: () => clearInterval(timer) };
}
