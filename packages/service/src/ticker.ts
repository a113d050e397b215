/**
 * A timer for sampling: ticks stand on a grid of the monotonic clock, so that lateness never adds up; a tick
 * that takes longer than the interval swallows the ones it covers, and none ever run at the same time.
 */
import { createHash } from 'node:crypto';
import type { Clock } from './clock.ts';

export interface TickerOptions {
  intervalMs: number;
  /** Where in the interval the ticks fall, 0 up to intervalMs, counted on the wall clock at the start. */
  phaseMs: number;
  clock: Clock;
  /** Awaited before the next tick is planned. Must not reject. */
  tick: () => Promise<void>;
}

/** Milliseconds from `nowMs` to the next point of the grid through `originMs`; never 0, so that a tick cannot run twice. */
export function untilNextTickMs(nowMs: number, originMs: number, intervalMs: number): number {
  const passed = (((nowMs - originMs) % intervalMs) + intervalMs) % intervalMs;
  return intervalMs - passed;
}

/** A place in the interval that is a host's own: a fleet that started together does not report together. */
export function phaseOf(name: string, intervalMs: number): number {
  return (createHash('sha256').update(name).digest().readUInt32BE(0) / 2 ** 32) * intervalMs;
}

export class Ticker {
  readonly #options: TickerOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #originMs = 0;
  #stopped = false;

  constructor(options: TickerOptions) {
    this.#options = options;
  }

  /** Ticks at once, and from then on the grid. */
  start(): void {
    const { clock, phaseMs, intervalMs } = this.#options;
    const wallPhaseMs = clock.wallMs() % intervalMs;
    this.#originMs = clock.monotonicMs() + (phaseMs - wallPhaseMs);
    this.#run();
  }

  /** Plans no more ticks. Resolves when the one under way is over. */
  stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    return this.#running;
  }

  #run(): void {
    this.#running = this.#options.tick().finally(() => this.#plan());
  }

  #plan(): void {
    if (this.#stopped) return;
    const { clock, intervalMs } = this.#options;
    const now = clock.monotonicMs();
    let wait = untilNextTickMs(now, this.#originMs, intervalMs);
    // A timer that fired a little early must not be followed by a second tick for the same point.
    if (wait < Math.min(20, intervalMs / 4)) wait += intervalMs;
    this.#timer = setTimeout(() => this.#run(), wait);
  }
}
