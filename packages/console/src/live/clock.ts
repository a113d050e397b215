/** One clock for the whole page: ticks each second while the page is in sight, so that "2 s ago" moves and nothing else does. */
import { signal } from '@preact/signals';

/** Monotonic milliseconds, renewed each second. */
export const tick = signal(performance.now());

/** Renews the clock now, so that what is judged by it is judged by this moment. */
export function renewTick(): void {
  tick.value = performance.now();
}

let timer: ReturnType<typeof setInterval> | undefined;

/** Starts or stops ticking. */
export function setTicking(on: boolean): void {
  clearInterval(timer);
  timer = undefined;
  if (!on) return;
  renewTick();
  timer = setInterval(renewTick, 1_000);
}
