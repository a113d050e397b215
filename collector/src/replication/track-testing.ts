/**
 * True histories to hold tracks against: what a server wrote and when, to the millisecond, and what somebody who asks it
 * every two seconds gets to know of that. Everything comes from a seed.
 */
import { formatLsn, type PostgresTrack } from '@tidemark/protocol';

export type Random = () => number;

/** mulberry32 */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const SEGMENT = 16n * 1_024n * 1_024n;

/** P(t): a staircase that never falls. */
export class History {
  readonly times: number[] = [];
  readonly lsns: bigint[] = [];
  readonly first: bigint;

  constructor(first: bigint) {
    this.first = first;
  }

  get last(): bigint {
    return this.lsns.at(-1) ?? this.first;
  }

  write(at: number, bytes: bigint): void {
    this.times.push(at);
    this.lsns.push(this.last + bytes);
  }

  /** P(at). */
  at(at: number): bigint {
    const index = firstWhere(this.times.length, (i) => this.times[i]! > at);
    return index === 0 ? this.first : this.lsns[index - 1]!;
  }

  /** T(lsn) = inf{t : P(t) > lsn}; Infinity when it never is. */
  passed(lsn: bigint): number {
    if (this.first > lsn) return -Infinity;
    const index = firstWhere(this.lsns.length, (i) => this.lsns[i]! > lsn);
    return index === this.lsns.length ? Infinity : this.times[index]!;
  }
}

function firstWhere(length: number, is: (index: number) => boolean): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (is(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Steady writing, bursts, idle stretches, single writes and WAL switches in any order, from `from` to `to`. */
export function someHistory(random: Random, from: number, to: number, first = 0x1_0000_0000n): History {
  const history = new History(first);
  let at = from;
  const writing = (ms: number, everyMs: number, bytes: number): void => {
    for (const end = Math.min(to, at + ms); (at += everyMs * 2 * random()) < end;)
      history.write(at, BigInt(1 + Math.floor(bytes * random())));
  };
  while (at < to) {
    const what = random();
    if (what < 0.35) writing(60_000 + 1_200_000 * random(), 50 + 3_000 * random() ** 3, 10 ** (2 + 5 * random()));
    else if (what < 0.5) writing(8_000 * random(), 20, 1e6);
    else if (what < 0.7) at += 1_500_000 * random() ** 2;
    else if (what < 0.95) history.write((at += 9_000 * random()), BigInt(1 + Math.floor(500 * random())));
    else history.write((at += 1), SEGMENT - (history.last % SEGMENT));
  }
  return history;
}

export interface Seen {
  readonly at: number;
  readonly lsn: bigint;
  readonly errorMs: number;
}

/** One question each two seconds: answered at some moment within its error. */
export function samplesOf(history: History, random: Random, from: number, to: number, slowMs = 60): Seen[] {
  const samples: Seen[] = [];
  for (let at = from + 2_000 * random(); at < to; at += 2_000 + 20 * random()) {
    const errorMs = random() < 0.02 ? 1_900 * random() : slowMs * random();
    samples.push({ at, lsn: history.at(at + errorMs * random()), errorMs });
  }
  return samples;
}

/** Of stretches in which nothing changed the first and the last only, as agents send them. */
export function collapsed<T extends { readonly lsn: bigint }>(samples: readonly T[]): T[] {
  return samples.filter(({ lsn }, i) => i === 0 || i === samples.length - 1 || samples[i - 1]!.lsn !== lsn || samples[i + 1]!.lsn !== lsn);
}

export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const other = Math.floor(random() * (i + 1));
    [result[i], result[other]] = [result[other]!, result[i]!];
  }
  return result;
}

export interface ReportOfTrack {
  readonly at: number;
  readonly track: PostgresTrack;
}

/** What was seen, as reports tell it: each begins with the last sample of the one before. */
export function reportsOf(samples: readonly Seen[], intervalMs: number, role: 'primary' | 'replica', timeline: number): ReportOfTrack[] {
  const reports: ReportOfTrack[] = [];
  let begin = 0;
  while (begin < samples.length) {
    const until = samples[begin]!.at + intervalMs;
    let end = begin + 1;
    while (end < samples.length && samples[end]!.at < until) end++;
    const mine = collapsed(samples.slice(Math.max(0, begin - 1), end));
    const at = samples[end - 1]!.at + samples[end - 1]!.errorMs + 1;
    const errorMs = Math.max(...mine.map((sample) => sample.errorMs));
    const told = mine.map((sample): PostgresTrack['runs'][number]['samples'][number] => {
      const lsn = formatLsn(sample.lsn);
      return role === 'primary' ? [at - sample.at, lsn, null, null, null] : [at - sample.at, lsn, lsn, null, null];
    });
    reports.push({ at, track: { systemIdentifier: '7', errorMs, runs: [{ role, timeline, samples: told }] } });
    begin = end;
  }
  return reports;
}
