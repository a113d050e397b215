/** Published lags of one scenario, kept while it runs and judged when it is over; and what comes of many of them. */
import type { ReplicationCluster } from '@tidemark/protocol';
import type { PeerLook } from '../peer/watch.ts';
import type { World } from '../world/world.ts';
import { judge, type PublishedLag, type Verdict } from './judge.ts';

const EXAMPLES_MAX = 20;

export interface TruthFigures {
  /** Samples by verdict; `outside` is what nobody wants. */
  within: number;
  outside: number;
  idleWithin: number;
  idleOutside: number;
  undecided: number;
  /** Upper less lower of the judged, in seconds; an open one counts as infinitely wide. */
  widthsSeconds: number[];
  /** Some of those outside, for whoever looks for the reason. */
  examples: string[];
}

/** What was said at a moment, beside what was so. Seconds. */
export interface WorstMoment {
  readonly server: string;
  /** Since the scenario's beginning. */
  readonly atSeconds: number;
  readonly truth: readonly [low: number, high: number];
  readonly published: { readonly lower: number; readonly upper: number | null };
  /** The exporter's look that is nearest to it. */
  readonly peer: PeerLook | null;
}

type Sample = PublishedLag & { readonly letter: string; readonly publishedMs: number; readonly text: string };

export class PublishedLags {
  readonly #world: World;
  readonly #samples = new Map<string, Sample>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Takes what is published of the cluster now. The same said again is one sample; the same moment corrected is another. */
  take(cluster: ReplicationCluster | undefined): void {
    const steadyLessWallMs = performance.now() - Date.now();
    for (const { node, lag, state } of cluster?.instances ?? []) {
      const letter = node === null ? undefined : this.#world.letterOf(node);
      if (lag === null || letter === undefined) continue;
      const key = `${letter} ${lag.at} ${lag.lowerSeconds} ${lag.upperSeconds}`;
      if (this.#samples.has(key)) continue;
      this.#samples.set(key, {
        letter,
        at: Date.parse(lag.at) + steadyLessWallMs,
        publishedMs: performance.now(),
        lower: lag.lowerSeconds * 1000,
        upper: lag.upperSeconds === null ? Number.POSITIVE_INFINITY : lag.upperSeconds * 1000,
        text: `${state}, by the ${lag.source}, ${lag.bytes} bytes`,
      });
    }
  }

  /** Judges everything taken; `from` is the scenario's beginning. */
  figures(from: number): TruthFigures {
    const figures = noFigures();
    for (const sample of this.#samples.values()) {
      const verdict = this.#judge(sample, from);
      if (verdict === undefined) continue;
      const { letter, at, lower, upper, text } = sample;
      count(figures, verdict, (upper - lower) / 1000);
      if (verdict.kind.endsWith('outside') && figures.examples.length < EXAMPLES_MAX) {
        const s = (ms: number): string => (ms / 1000).toFixed(3);
        figures.examples.push(
          `${letter} at ${s(at - from)} s: published ${s(lower)} to ${s(upper)} s (${text}), in truth ${s(verdict.low)} to ${s(verdict.high)} s behind ${this.#world.rootAt(letter, at)}`,
        );
      }
    }
    return figures;
  }

  /** When a server was furthest behind, of what was published of it. */
  worst(letter: string, from: number, peerAt: (steadyMs: number) => PeerLook | null): WorstMoment | null {
    let worst: WorstMoment | null = null;
    for (const sample of this.#samples.values()) {
      const verdict = sample.letter === letter ? this.#judge(sample, from) : undefined;
      if (verdict === undefined || verdict.kind === 'undecided' || verdict.low / 1000 <= (worst?.truth[0] ?? 0)) continue;
      worst = {
        server: letter,
        atSeconds: round(sample.at - from),
        truth: [round(verdict.low), round(verdict.high)],
        published: { lower: round(sample.lower), upper: Number.isFinite(sample.upper) ? round(sample.upper) : null },
        peer: peerAt(sample.at),
      };
    }
    return worst;
  }

  /** Undefined: it is its own root, or this was before the beginning. */
  #judge(sample: Sample, from: number): Verdict | undefined {
    const { letter, at, publishedMs } = sample;
    const { beats, sights } = this.#world.truth;
    const root = this.#world.rootAt(letter, at);
    if (root === letter || at < from) return undefined;
    // Another history has become the right one meanwhile: what it lacks of the old one is a loss, and no lag.
    if (this.#world.rootAt(letter, publishedMs) !== root) return { kind: 'undecided', low: 0, high: Number.POSITIVE_INFINITY };
    return judge(sample, root, beats.get(root) ?? [], sights.get(root) ?? [], sights.get(letter) ?? []);
  }
}

const round = (ms: number): number => Math.round(ms / 10) / 100;

const noFigures = (): TruthFigures => ({
  within: 0,
  outside: 0,
  idleWithin: 0,
  idleOutside: 0,
  undecided: 0,
  widthsSeconds: [],
  examples: [],
});

function count(figures: TruthFigures, { kind }: Verdict, widthSeconds: number): void {
  if (kind === 'undecided') figures.undecided++;
  else if (kind === 'idle within') figures.idleWithin++;
  else if (kind === 'idle outside') figures.idleOutside++;
  else {
    figures.widthsSeconds.push(widthSeconds);
    if (kind === 'within') figures.within++;
    else figures.outside++;
  }
}

export interface TruthSummary {
  /** Judged by heartbeats. */
  readonly truthSamples: number;
  /** The share of them whose bounds held the truth; null when there are none. */
  readonly truthWithinBounds: number | null;
  readonly boundsWidthSecondsMedian: number | null;
  readonly boundsWidthSeconds95: number | null;
  /** Judged by positions, while nothing was written. */
  readonly idleSamples: number;
  readonly idleWithinBounds: number | null;
  /** The truth was not known well enough. */
  readonly undecidedSamples: number;
}

/** What the figures of several scenarios say together. */
export function summarise(all: readonly TruthFigures[]): TruthSummary {
  const sum = (pick: (figures: TruthFigures) => number): number => all.reduce((total, figures) => total + pick(figures), 0);
  const [within, outside, idleWithin, idleOutside] = [
    sum((f) => f.within),
    sum((f) => f.outside),
    sum((f) => f.idleWithin),
    sum((f) => f.idleOutside),
  ];
  const widths = all.flatMap(({ widthsSeconds }) => widthsSeconds).toSorted((a, b) => a - b);
  const quantile = (share: number): number | null => {
    const width = widths[Math.floor(share * (widths.length - 1))];
    return width === undefined || !Number.isFinite(width) ? null : Math.round(width * 1000) / 1000;
  };
  const share = (good: number, bad: number): number | null => (good + bad === 0 ? null : good / (good + bad));
  return {
    truthSamples: within + outside,
    truthWithinBounds: share(within, outside),
    boundsWidthSecondsMedian: quantile(0.5),
    boundsWidthSeconds95: quantile(0.95),
    idleSamples: idleWithin + idleOutside,
    idleWithinBounds: share(idleWithin, idleOutside),
    undecidedSamples: sum((f) => f.undecided),
  };
}
