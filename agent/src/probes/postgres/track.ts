/**
 * The track of one server: where it stood at which moment, since the last report that took it along. Pure: times come with
 * the samples. Of a stretch in which nothing moved only the two ends stay, and what is thinned out when there is too much
 * never makes a bound wrong, only wider.
 */
import type { PostgresTrack } from '@tidemark/protocol';

/** Of all runs together: as many as an observation can hold at their longest. At two seconds an hour and a half without a report. */
export const SAMPLES_MAX = 3_000;
export const RUNS_MAX = 50;

export interface Stand {
  /** When its query was sent, on the clock that nobody sets. */
  readonly sentMs: number;
  /** It was so at some moment within this. */
  readonly tookMs: number;
  readonly role: 'primary' | 'replica';
  readonly timeline: number | null;
  /** Anything that is another one after the server has started anew. */
  readonly start: string | null;
  readonly head: string | null;
  readonly replayed: string | null;
  readonly sender: string | null;
  readonly senderAgoMs: number | null;
}

interface Sample {
  sentMs: number;
  tookMs: number;
  senderMs: number | null;
  readonly head: string | null;
  readonly replayed: string | null;
  readonly sender: string | null;
}

interface Run {
  readonly role: 'primary' | 'replica';
  readonly timeline: number | null;
  readonly start: string | null;
  samples: Sample[];
}

export class Track {
  readonly #samplesMax: number;
  #runs: Run[] = [];
  #count = 0;
  /** Something came since the last `take`. */
  #fresh = false;

  constructor(samplesMax = SAMPLES_MAX) {
    this.#samplesMax = samplesMax;
  }

  add({ sentMs, tookMs, role, timeline, start, head, replayed, sender, senderAgoMs }: Stand): void {
    let run = this.#runs.at(-1);
    if (run === undefined || run.role !== role || run.timeline !== timeline || run.start !== start) {
      run = { role, timeline, start, samples: [] };
      this.#runs.push(run);
      if (this.#runs.length > RUNS_MAX) this.#count -= this.#runs.shift()!.samples.length;
    }
    this.#fresh = true;
    const senderMs = senderAgoMs === null ? null : sentMs - senderAgoMs;
    const sample = { sentMs, tookMs, senderMs, head, replayed, sender };
    const { samples } = run;
    if (isSame(samples.at(-2), sample) && isSame(samples.at(-1), sample)) {
      samples[samples.length - 1] = sample;
      return;
    }
    samples.push(sample);
    if (++this.#count > this.#samplesMax) this.#thin();
  }

  /**
   * What a report of this moment takes along; undefined when nothing came since the last one. Its last sample stays, as the
   * first of the next report: what did not move in between is then known not to have.
   */
  take(takenMs: number, systemIdentifier: string | null): PostgresTrack | undefined {
    if (!this.#fresh) return undefined;
    this.#fresh = false;
    let longestMs = 0;
    const runs = this.#runs.map(({ role, timeline, samples }) => ({
      role,
      timeline,
      samples: samples.map(({ sentMs, tookMs, senderMs, head, replayed, sender }): PostgresTrack['runs'][number]['samples'][number] => {
        longestMs = Math.max(longestMs, tookMs);
        return [Math.round(takenMs - sentMs), head, replayed, sender, senderMs === null ? null : Math.round(takenMs - senderMs)];
      }),
    }));
    const last = this.#runs.at(-1)!;
    last.samples = [last.samples.at(-1)!];
    this.#runs = [last];
    this.#count = 1;
    // Rounding moved every time by up to half a millisecond.
    return { systemIdentifier, errorMs: Math.ceil(longestMs) + 1, runs };
  }

  /** Nothing of it belongs to what comes next: the server is another one. */
  clear(): void {
    this.#runs = [];
    this.#count = 0;
    this.#fresh = false;
  }

  /** Every second one of the older half goes; the ends of a run stay. */
  #thin(): void {
    let older = this.#count / 2;
    this.#count = 0;
    for (const run of this.#runs) {
      const { length } = run.samples;
      const upTo = older;
      run.samples = run.samples.filter((_, i) => i === 0 || i === length - 1 || i >= upTo || i % 2 === 0);
      older -= length;
      this.#count += run.samples.length;
    }
  }
}

function isSame(a: Sample | undefined, b: Sample): boolean {
  return a !== undefined && a.head === b.head && a.replayed === b.replayed && a.sender === b.sender;
}
