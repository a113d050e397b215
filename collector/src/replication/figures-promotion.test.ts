/**
 * Figures across promotions: random histories in which the primary is lost or hands over, another one takes over from what it
 * has, and replicas follow it sooner or later, one of them from far behind. The truth is that of the line of history that is
 * led on: what was written by the old primary is as old as it was there, what only it had is nobody's lag.
 */
import fc from 'fast-check';
import { formatLsn } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { cluster, lsn, primary, primaryDocument, replica, replicaDocument, sighting, T0 } from './figures-testing.ts';
import { figuresOf } from './figures.ts';
import type { Branch, Lag, Member } from './model.ts';
import { History, reportsOf, samplesOf, seeded, someHistory, type Random, type ReportOfTrack, type Seen } from './track-testing.ts';
import { Tracks } from './tracks.ts';

const MINUTE_MS = 60_000;
const INTERVAL_MS = 10_000;
const STEP_MS = 50;
const RUNS = 60;
/** Looks at a history. */
const LOOKS = 8;

/** What one server was at first, and then. */
interface Life {
  readonly received: History;
  readonly replayed: History;
}

interface Story {
  /** What A wrote alone, and the line that B leads on. */
  readonly ofA: History;
  readonly line: History;
  readonly fork: bigint;
  readonly takenOverAt: number;
  readonly end: number;
  readonly c: Life;
  /** A as a replica of B, from when it came back; undefined: it never does. */
  readonly aBackAt: number | undefined;
  readonly a: Life;
  readonly reports: readonly (ReportOfTrack & { readonly id: string; readonly arrivesAt: number })[];
}

/** The history up to a position, then another one from there on. */
function joined(first: History, fork: bigint, second: History): History {
  const line = new History(first.first);
  for (const [i, at] of first.times.entries()) {
    const to = first.lsns[i]! < fork ? first.lsns[i]! : fork;
    if (to > line.last) line.write(at, to - line.last);
  }
  for (const [i, at] of second.times.entries()) line.write(at, second.lsns[i]! - line.last);
  return line;
}

/** Receives what `source` has at each moment, late and at the speed of its link and its disk; nothing while `isCut`. */
function follow(
  source: (at: number) => bigint,
  random: Random,
  { from, to, isCut, isPaused }: { from: number; to: number; isCut: (at: number) => boolean; isPaused: (at: number) => boolean },
  first: bigint,
): Life {
  const [received, replayed] = [new History(first), new History(first)];
  const latencyMs = 5 + 3_000 * random() ** 4;
  const rate = BigInt(Math.ceil((10 ** (4.5 + 5 * random()) * STEP_MS) / 1_000));
  for (let at = from; at < to; at += STEP_MS) {
    const there = source(at - latencyMs) - received.last;
    if (!isCut(at) && there > 0n) received.write(at, there < rate ? there : rate);
    if (!isPaused(at) && received.last > replayed.last) replayed.write(at, received.last - replayed.last);
  }
  return { received, replayed };
}

function story(random: Random): Story {
  const minutes = (least: number, most: number): number => (least + (most - least) * random()) * MINUTE_MS;
  const isSwitchover = random() < 0.4;
  const stopsAt = T0 + minutes(6, 12);
  const takenOverAt = stopsAt + 200 + minutes(0, 1);
  const end = takenOverAt + minutes(2, 8);
  const aBackAt = isSwitchover ? takenOverAt + 100 + minutes(0, 0.5) : random() < 0.5 ? takenOverAt + minutes(0.1, 3) : undefined;
  const ofA = someHistory(random, T0 - MINUTE_MS, stopsAt);
  const bCutAt = isSwitchover ? Infinity : stopsAt - 20_000 * random() ** 2;
  const b = follow((at) => ofA.at(at), random, { from: T0, to: takenOverAt, isCut: (at) => at > bCutAt, isPaused: () => false }, ofA.first);
  // Handed over in order, it is only promoted once it has all.
  if (isSwitchover && b.received.last < ofA.last) b.received.write(takenOverAt - 1, ofA.last - b.received.last);
  const fork = b.received.last;
  const written = someHistory(random, takenOverAt, end, fork);
  const line = joined(ofA, fork, written);
  const movesAt = takenOverAt + minutes(0, 1.5);
  const [quietAt, quietMs] = [T0 + minutes(1, 14), random() < 0.6 ? minutes(0.5, 8) : 0];
  const isQuiet = (at: number): boolean => at >= quietAt && at < quietAt + quietMs;
  const holdsReplay = random() < 0.5;
  const c = follow(
    // It follows B only if it is not ahead of it: it never gets more of A than B got.
    (at) => (at < movesAt ? least(ofA.at(at), fork) : line.at(at)),
    random,
    {
      from: T0,
      to: end,
      isCut: (at) => (at > stopsAt && at < movesAt) || (!holdsReplay && isQuiet(at)),
      isPaused: (at) => holdsReplay && isQuiet(at),
    },
    ofA.first,
  );
  const a = follow((at) => line.at(at), random, { from: aBackAt ?? end, to: end, isCut: () => false, isPaused: () => false }, fork);
  const told = [
    ...lives('a', samplesOf(ofA, random, T0 - 2_000, stopsAt - 2_000), 'primary', 1),
    ...lives('b', samplesOf(b.received, random, T0 - 2_000, takenOverAt - 2_000), 'replica', 1),
    ...lives('b', samplesOf(line, random, takenOverAt, end), 'primary', 2),
    ...lives('c', samplesOf(c.received, random, T0 - 2_000, movesAt - 2_000), 'replica', 1, c.replayed),
    ...lives('c', samplesOf(c.received, random, movesAt, end), 'replica', 2, c.replayed),
    ...(aBackAt === undefined ? [] : lives('a', samplesOf(a.received, random, aBackAt, end), 'replica', 2, a.replayed)),
  ];
  const reports = told
    .filter(() => random() > 0.03)
    .map((report) => ({ ...report, arrivesAt: report.at + 200 * random() + (random() < 0.04 ? 120_000 * random() : 0) }));
  return { ofA, line, fork, takenOverAt, end, c, aBackAt, a, reports };
}

const least = (one: bigint, other: bigint): bigint => (one < other ? one : other);

/** Reports of a server: a replica's say what it has replayed, too, at the same moments. */
function lives(
  id: string,
  samples: Seen[],
  role: 'primary' | 'replica',
  timeline: number,
  replayed?: History,
): (ReportOfTrack & { id: string })[] {
  return reportsOf(samples, INTERVAL_MS, role, timeline).map(({ at, track }) => ({
    id,
    at,
    track: {
      ...track,
      runs: track.runs.map((run) => ({
        ...run,
        samples: run.samples.map(([agoMs, head, same, sender, senderAgoMs]): (typeof run.samples)[number] => [
          agoMs,
          head,
          replayed === undefined ? same : formatLsn(replayed.at(at - agoMs)),
          sender,
          senderAgoMs,
        ]),
      })),
    },
  }));
}

interface Counts {
  all: number;
  exact: number;
  bounded: number;
  belowFork: number;
}

function truthAt(history: History, replayed: History, at: number): number {
  const position = replayed.at(at);
  return position >= history.at(at) ? 0 : at - history.passed(position);
}

function check(lag: Lag, line: History, replayed: History, counts: Counts, what: string): void {
  const around = [-150, -100, -50, 0, 50, 100, 150, 200].map((off) => truthAt(line, replayed, lag.at + off));
  expect(lag.lower, `${what}: lower, of ${JSON.stringify(around)}`).toBeLessThanOrEqual(Math.max(...around));
  expect(lag.upper, `${what}: upper, of ${JSON.stringify(around)}`).toBeGreaterThanOrEqual(Math.min(...around));
  const truth = around[3]!;
  counts.all++;
  if (truth >= lag.lower && truth <= lag.upper) counts.exact++;
  if (lag.upper !== Infinity) counts.bounded++;
}

function tell(seed: number, counts: Counts): void {
  const random = seeded(seed);
  const { ofA, line, fork, takenOverAt, end, c, aBackAt, a, reports } = story(random);
  const isKnownHere = random() < 0.8;
  // The old primary may never have been watched, and the new one may have been restarted since.
  const isAWatched = random() < 0.8;
  const isBRestarted = random() < 0.5;
  for (let looks = 0; looks < LOOKS; looks++) {
    const now = takenOverAt - MINUTE_MS + (end - takenOverAt + MINUTE_MS) * random();
    const tracks = new Tracks();
    const arrived = reports.filter(({ id, arrivesAt }) => arrivesAt <= now && (isAWatched || id !== 'a'));
    for (const { id, at, track } of arrived.toSorted((p, q) => p.arrivesAt - q.arrivesAt)) tracks.accept(id, at, track, 0);
    const last = (id: string, timeline: number) =>
      arrived.filter((one) => one.id === id && one.track.runs[0]!.timeline === timeline).toSorted((p, q) => q.at - p.at)[0]?.at;
    const bAt = last('b', 2);
    if (bAt === undefined) continue;
    const branches: Branch[] = [{ timeline: 2, forkLsn: isKnownHere ? formatLsn(fork) : undefined, by: 'b' }];
    const document = primaryDocument({ timeline: 2, recoveryEndLsn: isBRestarted ? null : formatLsn(fork) });
    const members: Member[] = [{ ...primary('b', bAt, document), branches }];
    const replicas: [string, History][] = [];
    const cAt = last('c', 2);
    if (cAt !== undefined) {
      members.push(replica('c', 'b', 'b', sighting('c', replicaDocument(), cAt)));
      replicas.push(['c', c.replayed]);
    }
    const aAt = last('a', 2);
    if (aBackAt !== undefined && aAt !== undefined) {
      members.push(replica('a', 'b', 'b', sighting('a', replicaDocument(), aAt)));
      replicas.push(['a', a.replayed]);
    } else if (isAWatched) members.push(primary('a', last('a', 1) ?? T0, primaryDocument(), { silent: true }));
    const { members: figures } = figuresOf(cluster(members, { primary: { id: 'b', certainty: 'sure', why: '' } }), tracks, now);
    for (const [id, replayed] of replicas) {
      const lag = figures.get(id)?.lag;
      // Of moments before anyone led this line nothing is said of it.
      if (lag === undefined || lag.at < takenOverAt) continue;
      if (replayed.at(lag.at) < fork) counts.belowFork++;
      check(lag, line, replayed, counts, `seed ${seed}, ${id} at ${now - T0} (A wrote until ${ofA.last}, fork ${fork})`);
    }
  }
}

describe('across a promotion', () => {
  test('the truth lies between the bounds, by whatever is known of it', { timeout: 120_000 }, () => {
    const counts: Counts = { all: 0, exact: 0, bounded: 0, belowFork: 0 };
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => tell(seed, counts)),
      { numRuns: RUNS, endOnFailure: true },
    );
    expect(counts.all).toBeGreaterThan(200);
    expect(counts.belowFork).toBeGreaterThan(10);
    expect(counts.exact / counts.all, `${counts.exact} of ${counts.all}`).toBeGreaterThanOrEqual(0.995);
    expect(counts.bounded / counts.all, `${counts.bounded} of ${counts.all}`).toBeGreaterThan(0.8);
  });

  /** A writes 1 MiB a second until 260; B gets it a minute late, is promoted at 300 with 200 MiB; C stands at 150 MiB. */
  function lagOfC({ branches, isAWatched }: { branches: readonly Branch[]; isAWatched: boolean }): Lag {
    const at = (second: number): number => T0 + second * 1_000;
    const tracks = new Tracks();
    const tellOf = (id: string, from: number, to: number, role: 'primary' | 'replica', timeline: number, mib: (s: number) => number) => {
      const seconds = Array.from({ length: (to - from) / 2 + 1 }, (_, i) => from + 2 * i);
      const samples = seconds.map((second): [number, string, string | null, null, null] => {
        const text = formatLsn(lsn(mib(second)));
        return [(to - second) * 1_000, text, role === 'replica' ? text : null, null, null];
      });
      tracks.accept(id, at(to), { systemIdentifier: '7', errorMs: 5, runs: [{ role, timeline, samples }] }, 0);
    };
    if (isAWatched) tellOf('a', 0, 260, 'primary', 1, (s) => s);
    tellOf('b', 60, 298, 'replica', 1, (s) => Math.min(s - 60, 200));
    tellOf('b', 300, 400, 'primary', 2, (s) => s - 100);
    tellOf('c', 60, 400, 'replica', 1, (s) => Math.min(s - 60, 150));
    const members: Member[] = [
      { ...primary('b', at(400), primaryDocument()), branches },
      replica('c', 'b', 'b', sighting('c', replicaDocument(), at(400))),
      ...(isAWatched ? [primary('a', at(262), primaryDocument(), { silent: true })] : []),
    ];
    const { members: figures } = figuresOf(cluster(members, { primary: { id: 'b', certainty: 'sure', why: '' } }), tracks, at(400));
    return figures.get('c')!.lag!;
  }
  const taken: Branch[] = [{ timeline: 2, forkLsn: formatLsn(lsn(200)), by: 'b' }];

  test('what the old primary wrote is as old as it was there, also when the new one no longer says where it took over', () => {
    const lag = lagOfC({ branches: taken, isAWatched: true });
    expect(lag.lower).toBeGreaterThan(247_500);
    expect(lag.lower).toBeLessThanOrEqual(250_000);
    expect(lag.upper).toBeGreaterThanOrEqual(250_000);
    expect(lag.upper).toBeLessThan(252_500);
  });

  test.each([
    ['an old primary that nobody watched', { branches: taken, isAWatched: false }],
    ['a promotion of which nobody knows where it was', { branches: [{ ...taken[0]!, forkLsn: undefined }], isAWatched: true }],
  ])('%s: at least since the new one had it, and nobody knows how much more', (_, known) => {
    const lag = lagOfC(known);
    expect(lag.lower).toBeGreaterThan(185_000);
    expect(lag.lower).toBeLessThanOrEqual(250_000);
    expect(lag.upper).toBe(Infinity);
    expect(lag.value).toBe(lag.lower);
  });
});
