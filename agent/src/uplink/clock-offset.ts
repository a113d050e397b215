/**
 * How far this machine's clock is from the collector's, from the times of exchanges. The collector named its
 * time at some moment between the sending and the answer, so each exchange gives bounds; what the collector
 * itself measured on arrival narrows them, for the answer may have waited for the database. The narrowest
 * bounds of the last minutes are believed, and their middle is the answer. Kept against the monotonic clock:
 * setting the wall clock shows at once.
 */
import type { Clock } from '@tidemark/service';

const WINDOW_MS = 10 * 60_000;
const SAMPLES_MAX = 64;

interface Sample {
  readonly atMs: number;
  /** Between the bounds. */
  readonly widthMs: number;
  /** The collector's wall time at monotonic 0: the middle of the bounds. */
  readonly serverEpochMs: number;
}

export interface Exchange {
  /** When it was sent and when its answer was here, on the monotonic clock. */
  readonly sentMs: number;
  readonly receivedMs: number;
  /** What the collector said its wall clock was. */
  readonly serverTimeMs: number;
  /** Collector's clock less this one as the collector measured it when the request arrived, the way there included. */
  readonly toldMs: number | undefined;
}

export class ClockOffset {
  readonly #clock: Clock;
  #samples: Sample[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  measured({ sentMs, receivedMs, serverTimeMs, toldMs }: Exchange): void {
    const low = serverTimeMs - receivedMs;
    let high = serverTimeMs - sentMs;
    if (high < low) return;
    // Its measure goes by our wall clock as it was at the sending; it counts when it fits the rest.
    const told = toldMs === undefined ? undefined : toldMs + (this.#clock.wallMs() - this.#clock.monotonicMs());
    if (told !== undefined && told >= low && told < high) high = told;
    this.#samples.push({ atMs: receivedMs, widthMs: high - low, serverEpochMs: (low + high) / 2 });
    this.#samples = this.#samples.filter((sample) => sample.atMs > receivedMs - WINDOW_MS).slice(-SAMPLES_MAX);
  }

  /** This clock less the collector's, in milliseconds; undefined while nothing was measured. */
  ms(): number | undefined {
    let best: Sample | undefined;
    for (const sample of this.#samples) if (best === undefined || sample.widthMs <= best.widthMs) best = sample;
    if (best === undefined) return undefined;
    return this.#clock.wallMs() - (this.#clock.monotonicMs() + best.serverEpochMs);
  }
}
