/** Whatever happened, was asked and got lost: the truth lies within the bounds of a track, and they are no wider than they have to be. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PositionTrack } from './track.ts';
import { collapsed, samplesOf, seeded, shuffled, someHistory, type History, type Random, type Seen } from './track-testing.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const START = Date.UTC(2026, 0, 1);

function trackOf(
  samples: readonly (readonly [atSeconds: number, lsn: number, errorMs?: number])[],
  kind: 'exact' | 'floor' = 'exact',
): PositionTrack {
  const track = new PositionTrack({ kind, keepMs: DAY_MS });
  for (const [at, lsn, errorMs] of samples) track.add(at * 1_000, BigInt(lsn), errorMs ?? 0);
  return track;
}

describe('the cases of a track', () => {
  test('nothing is known of an empty one', () => {
    const track = trackOf([]);
    expect(track.passed(5n)).toEqual({ notBefore: -Infinity, notAfter: Infinity, likely: Infinity });
    expect(track.positionAt(5)).toEqual({ low: undefined, high: undefined });
    expect([track.oldest, track.newest]).toEqual([undefined, undefined]);
  });

  test('steady writing is interpolated between two samples', () => {
    const track = trackOf([
      [0, 0],
      [2, 100],
      [4, 200],
    ]);
    expect(track.passed(50n)).toEqual({ notBefore: 0, notAfter: 2_000, likely: 1_000 });
    expect(track.passed(100n)).toEqual({ notBefore: 2_000, notAfter: 4_000, likely: 2_000 });
    expect(track.positionAt(3_000)).toEqual({ low: 100n, high: 200n });
    expect(track.positionAt(2_000)).toEqual({ low: 100n, high: 100n });
  });

  test('of an idle server the end of the plateau counts, and who has all of it is not late', () => {
    const track = trackOf([
      [0, 0],
      [2, 100],
      [4, 100],
      [28_800, 100],
    ]);
    expect(track.passed(100n)).toEqual({ notBefore: 28_800_000, notAfter: Infinity, likely: Infinity });
    expect(track.passed(99n).notAfter).toBe(2_000);
  });

  test('the first write after eight idle hours is seconds old, not hours', () => {
    const track = trackOf([
      [0, 100],
      [28_800, 100],
      [28_802, 300],
    ]);
    expect(track.passed(100n)).toEqual({ notBefore: 28_800_000, notAfter: 28_802_000, likely: 28_801_000 });
    // What followed it within those two seconds fills the rest of them.
    expect(track.passed(200n).likely).toBe(28_801_500);
  });

  test('who stands still while others write is late since the first write that it lacks', () => {
    const track = trackOf([
      [0, 100],
      [10, 100],
      [12, 150],
      [14, 220],
      [100, 9_000],
    ]);
    const { notBefore, notAfter } = track.passed(100n);
    expect([notBefore, notAfter]).toEqual([10_000, 12_000]);
  });

  test('before the oldest there is only: at least so late', () => {
    const track = trackOf([
      [100, 500],
      [102, 600],
    ]);
    expect(track.passed(10n)).toEqual({ notBefore: -Infinity, notAfter: 100_000, likely: 100_000 });
    expect(track.positionAt(99_000)).toEqual({ low: undefined, high: 500n });
    expect(track.positionAt(103_000)).toEqual({ low: 600n, high: undefined });
  });

  test('how long the question took widens the later bound only', () => {
    const track = trackOf([
      [0, 0, 30],
      [2, 100, 500],
    ]);
    expect(track.passed(50n)).toMatchObject({ notBefore: 0, notAfter: 2_500 });
    expect(track.positionAt(2_200)).toEqual({ low: 0n, high: undefined });
  });

  test('part of a millisecond is rounded to the wider side', () => {
    const track = trackOf([
      [0, 0, 0.2],
      [2, 100, 0.4],
    ]);
    expect(track.passed(50n).notAfter).toBeGreaterThanOrEqual(2_000.4);
    expect(track.passed(50n).notAfter).toBeLessThanOrEqual(2_001);
  });

  test('a floor says when it was passed at the latest, and never when it was not yet', () => {
    const track = trackOf(
      [
        [0, 0],
        [2, 100],
        [4, 200],
      ],
      'floor',
    );
    expect(track.passed(150n)).toEqual({ notBefore: -Infinity, notAfter: 4_000, likely: 3_000 });
    expect(track.positionAt(3_000)).toEqual({ low: 100n, high: undefined });
  });

  test('a position below an earlier one is left out', () => {
    const track = trackOf([
      [0, 100],
      [2, 200],
      [4, 150],
      [6, 210],
    ]);
    expect(track.length).toBe(3);
    expect(track.passed(150n)).toMatchObject({ notBefore: 0, notAfter: 2_000 });
  });

  test('one who is back below where it was for long has gone back', () => {
    const track = trackOf([[0, 100], [2, 900], ...Array.from({ length: 20 }, (_, i) => [4 + 2 * i, 200 + i] as const)]);
    expect(track.newest).toEqual({ at: 42_000, lsn: 219n });
    expect(track.passed(500n).notAfter).toBe(Infinity);
    expect(track.passed(99n).notAfter).toBe(0);
  });

  test('what was on another branch is cut off, and what was before it stays', () => {
    const track = trackOf([
      [0, 100],
      [2, 200],
      [4, 300],
    ]);
    track.cutBefore(10_000, 250n);
    track.add(10_000, 250n, 0);
    expect(track.passed(240n)).toMatchObject({ notBefore: 2_000, notAfter: 10_000 });
    expect(track.passed(260n).notAfter).toBe(Infinity);
  });

  test('a plateau is two samples, told once or in pieces in any order', () => {
    const forwards = trackOf([
      [0, 7],
      [2, 7],
      [4, 7],
      [60, 7],
      [60, 7],
      [58, 7],
    ]);
    const backwards = trackOf([
      [60, 7],
      [58, 7],
      [4, 7],
      [0, 7],
      [0, 7],
      [2, 7],
    ]);
    for (const track of [forwards, backwards]) {
      expect(track.length).toBe(2);
      expect([track.oldest, track.newest]).toEqual([
        { at: 0, lsn: 7n },
        { at: 60_000, lsn: 7n },
      ]);
    }
  });

  test('a late sample narrows what was open', () => {
    const track = trackOf([
      [0, 0],
      [600, 1_000],
    ]);
    expect(track.passed(500n)).toMatchObject({ notBefore: 0, notAfter: 600_000 });
    track.add(300_000, 400n, 0);
    expect(track.passed(500n)).toMatchObject({ notBefore: 300_000, notAfter: 600_000 });
  });

  test('a day later one sample that is older stays, and with it "at least a day"', () => {
    const track = trackOf([[0, 1], [2, 2], ...Array.from({ length: 26 }, (_, i) => [3_600 * (i + 1), 10 + i] as const)]);
    expect(track.oldest).toEqual({ at: 2 * HOUR_MS, lsn: 11n });
    const idle = trackOf([
      [0, 1],
      [2, 2],
      [3_600 * 40, 2],
    ]);
    expect(idle.passed(1n).notAfter).toBe(2_000);
  });

  test('nonsense is ignored', () => {
    const track = trackOf([[0, 1]]);
    for (const [at, errorMs] of [
      [Number.NaN, 1],
      [Infinity, 1],
      [1, -1],
      [1, Number.NaN],
      [1, 1e9],
    ] as const)
      track.add(at, 5n, errorMs);
    expect(track.length).toBe(1);
  });

  test('positions beyond what a float can tell apart are told apart', () => {
    const track = new PositionTrack({ kind: 'exact', keepMs: DAY_MS });
    const big = 0xffff_ffff_ffff_ff00n;
    track.add(0, big, 0);
    track.add(2_000, big + 1n, 0);
    track.add(4_000, big + 2n, 0);
    expect(track.passed(big)).toMatchObject({ notBefore: 0, notAfter: 2_000 });
    expect(track.passed(big + 1n)).toMatchObject({ notBefore: 2_000, notAfter: 4_000 });
  });
});

/** Positions worth asking for: about each write, and anywhere between. */
function questions(history: History, random: Random, count: number): bigint[] {
  const asked = [history.first - 1n, history.first, history.last, history.last + 1n];
  for (let i = 0; i < count; i++) {
    const lsn = history.lsns[Math.floor(random() * history.lsns.length)] ?? history.first;
    asked.push(lsn, lsn - 1n, lsn + BigInt(Math.floor(random() * 1_000)));
  }
  return asked;
}

function expectTruth(track: PositionTrack, history: History, random: Random, from: number, to: number): void {
  for (const lsn of questions(history, random, 60)) {
    const { notBefore, notAfter, likely } = track.passed(lsn);
    const truth = history.passed(lsn);
    if (!(notBefore <= truth && truth <= notAfter && notBefore <= likely && likely <= notAfter))
      throw new Error(`passed ${lsn}: ${truth - from} is not within ${notBefore - from} … ${likely - from} … ${notAfter - from}`);
  }
  for (let i = 0; i < 60; i++) {
    const at = from + (to - from) * random();
    const { low, high } = track.positionAt(at);
    const truth = history.at(at);
    if ((low !== undefined && low > truth) || (high !== undefined && high < truth))
      throw new Error(`at ${at - from}: ${truth} is not within ${low} … ${high}`);
  }
}

function addAll(track: PositionTrack, samples: readonly Seen[]): PositionTrack {
  for (const { at, lsn, errorMs } of samples) track.add(at, lsn, errorMs);
  return track;
}

const anySeed = fc.integer({ min: 0, max: 2 ** 31 });

describe('for any history', () => {
  test('the truth lies within the bounds, whatever was lost, doubled and late', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(
        anySeed,
        fc.integer({ min: 1, max: 4 }),
        fc.double({ min: 0, max: 0.6, noNaN: true }),
        fc.boolean(),
        (seed, hours, lost, late) => {
          const random = seeded(seed);
          const [from, to] = [START, START + hours * HOUR_MS];
          const history = someHistory(random, from, to);
          const seen = samplesOf(history, random, from, to);
          // Reports are lost whole: runs of samples.
          const kept: Seen[] = [];
          for (let i = 0; i < seen.length; i += 15) if (random() >= lost) kept.push(...collapsed(seen.slice(i, i + 15)));
          const doubled = kept.filter(() => random() < 0.1);
          const arrived = late ? shuffled([...kept, ...doubled], random) : kept.concat(doubled);
          for (const kind of ['exact', 'floor'] as const)
            expectTruth(addAll(new PositionTrack({ kind, keepMs: DAY_MS }), arrived), history, random, from, to);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('leaving samples out moves the likely time by a second at most and widens bounds by little', { timeout: 120_000 }, () => {
    let [before, after] = [0, 0];
    fc.assert(
      fc.property(anySeed, fc.boolean(), (seed, backwards) => {
        const random = seeded(seed);
        const [from, to] = [START, START + 5 * HOUR_MS];
        const history = someHistory(random, from, to);
        const seen = samplesOf(history, random, from, to);
        if (backwards) seen.reverse();
        const whole = addAll(new PositionTrack({ kind: 'exact', keepMs: DAY_MS, thinned: false }), seen);
        const thinned = addAll(new PositionTrack({ kind: 'exact', keepMs: DAY_MS }), seen);
        before += whole.length;
        after += thinned.length;
        expectTruth(thinned, history, random, from, to);
        for (const lsn of questions(history, random, 150)) {
          const [all, some] = [whole.passed(lsn), thinned.passed(lsn)];
          expect(some.notBefore).toBeLessThanOrEqual(all.notBefore);
          expect(some.notAfter).toBeGreaterThanOrEqual(all.notAfter);
          if (all.likely === Infinity) continue;
          expect(Math.abs(some.likely - all.likely)).toBeLessThanOrEqual(1_000);
          // A bracket is two seconds and what the questions took; the line through several is a second off and a bracket long at each side.
          if (all.notBefore !== -Infinity) expect(some.notAfter - some.notBefore).toBeLessThanOrEqual(2 * (2_020 + 1_900 + 1_000));
        }
      }),
      { numRuns: 40 },
    );
    expect(after).toBeLessThan(before * 0.75);
  });

  test('what comes late narrows bounds and contradicts nothing; the order makes no difference', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(anySeed, (seed) => {
        const random = seeded(seed);
        const [from, to] = [START, START + HOUR_MS / 2];
        const history = someHistory(random, from, to);
        const seen = collapsed(samplesOf(history, random, from, to));
        const asked = questions(history, random, 20);
        const inOrder = addAll(new PositionTrack({ kind: 'exact', keepMs: DAY_MS, thinned: false }), seen);
        const track = new PositionTrack({ kind: 'exact', keepMs: DAY_MS, thinned: false });
        let told = asked.map((lsn) => track.passed(lsn));
        for (const [i, { at, lsn, errorMs }] of shuffled(seen, random).entries()) {
          track.add(at, lsn, errorMs);
          if (i % 10 !== 0) continue;
          const now = asked.map((one) => track.passed(one));
          for (const [k, { notBefore, notAfter }] of now.entries()) {
            expect(notBefore).toBeGreaterThanOrEqual(told[k]!.notBefore);
            expect(notAfter).toBeLessThanOrEqual(told[k]!.notAfter);
          }
          told = now;
        }
        expect(track.length).toBe(inOrder.length);
        for (const lsn of asked) expect(track.passed(lsn)).toEqual(inOrder.passed(lsn));
      }),
      { numRuns: 60 },
    );
  });

  test('a bracket of samples that nothing was lost of is two seconds and what the two questions took', () => {
    fc.assert(
      fc.property(anySeed, (seed) => {
        const random = seeded(seed);
        const [from, to] = [START, START + HOUR_MS / 2];
        const history = someHistory(random, from, to);
        const track = addAll(new PositionTrack({ kind: 'exact', keepMs: DAY_MS }), collapsed(samplesOf(history, random, from, to)));
        for (const lsn of questions(history, random, 40)) {
          const { notBefore, notAfter } = track.passed(lsn);
          if (notBefore === -Infinity || notAfter === Infinity) continue;
          expect(notAfter - notBefore).toBeLessThanOrEqual(2_020 + 1_900 + 1);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('of positions that a moment was guessed for, the guess is nearer than the middle of the bracket would be', () => {
    let [guess, middle] = [0, 0];
    for (let seed = 1; seed <= 30; seed++) {
      const random = seeded(seed);
      const history = someHistory(random, START, START + HOUR_MS);
      const track = addAll(
        new PositionTrack({ kind: 'exact', keepMs: DAY_MS }),
        collapsed(samplesOf(history, random, START, START + HOUR_MS)),
      );
      for (const lsn of questions(history, random, 100)) {
        const { notBefore, notAfter, likely } = track.passed(lsn);
        if (notBefore === -Infinity || notAfter === Infinity) continue;
        guess += Math.abs(likely - history.passed(lsn));
        middle += Math.abs((notBefore + notAfter) / 2 - history.passed(lsn));
      }
    }
    expect(guess).toBeLessThan(middle);
  });
});
