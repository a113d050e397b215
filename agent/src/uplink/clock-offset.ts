/**
 * How far this machine's clock is from the collector's, from the times of exchanges: the collector's time is
 * taken to be that of the middle of the exchange, so an error is at most half its duration, and the quickest
 * exchange of the last minutes is believed. Kept against the monotonic clock: setting the wall clock shows at once.
 */
import type { Clock } from '@tidemark/service';

const WINDOW_MS = 10 * 60_000;
const SAMPLES_MAX = 64;

interface Sample {
  atMs: number;
  roundTripMs: number;
  /** The collector's wall time at monotonic 0. */
  serverEpochMs: number;
}

export class ClockOffset {
  readonly #clock: Clock;
  #samples: Sample[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Times on the monotonic clock; `serverTimeMs` is what the collector said its wall clock was. */
  measured(sentMs: number, receivedMs: number, serverTimeMs: number): void {
    const roundTripMs = Math.max(0, receivedMs - sentMs);
    this.#samples.push({ atMs: receivedMs, roundTripMs, serverEpochMs: serverTimeMs - (sentMs + roundTripMs / 2) });
    this.#samples = this.#samples.filter((sample) => sample.atMs > receivedMs - WINDOW_MS).slice(-SAMPLES_MAX);
  }

  /** This clock less the collector's, in milliseconds; undefined while nothing was measured. */
  ms(): number | undefined {
    let best: Sample | undefined;
    for (const sample of this.#samples) if (best === undefined || sample.roundTripMs <= best.roundTripMs) best = sample;
    if (best === undefined) return undefined;
    return this.#clock.wallMs() - (this.#clock.monotonicMs() + best.serverEpochMs);
  }
}
