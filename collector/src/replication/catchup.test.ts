/** Rates that one burst does not make, and the time until a replica has caught up. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { averageAt, catchupOf, rateOf, type Point } from './catchup.ts';
import { cluster, lsn, MIB, primary, replica, replicaDocument, settings, sighting, T0, TestTracks } from './figures-testing.ts';
import { figuresOf } from './figures.ts';
import type { MemberFigures, Sighting } from './model.ts';

const points = (...values: number[]): Point[] => values.map((value, i) => ({ at: i * 10_000, lsn: BigInt(value) }));

describe('a rate', () => {
  test.each([
    ['steady', [0, 100, 200, 300, 400], 10],
    ['one burst', [0, 100, 200, 300, 400, 500, 600, 100_000], 10],
    ['nothing', [7, 7, 7, 7], 0],
  ])('%s', (_, values, rate) => expect(rateOf(points(...values))).toBeCloseTo(rate, 5));
  test('of too short a time is not known', () => expect(rateOf(points(0, 100))).toBeUndefined());
  test('of nothing is not known', () => expect(rateOf([])).toBeUndefined());
});

describe('an average', () => {
  const written = (second: number, errorMs: number) => {
    const tracks = new TestTracks();
    for (let at = 0; at <= second; at += 2) tracks.add('head', 'a', T0 + at * 1_000, lsn(at), errorMs);
    return averageAt(tracks.head('a'), T0 + second * 1_000);
  };
  test.each([0, 3, 200])('is known as soon as a history is long enough, though a question took %d ms', (errorMs) => {
    expect(written(14, errorMs)).toBeUndefined();
    expect(written(20, errorMs)! / MIB).toBeCloseTo(1, 0);
    expect(written(300, errorMs)! / MIB).toBeCloseTo(1, 1);
  });
});

describe('until it has caught up', () => {
  test.each([
    ['there', true, undefined, { catchup: 'caught_up', ms: 0 }],
    ['nobody knows', false, undefined, { catchup: 'unknown', ms: undefined }],
    ['no rates yet', false, { bytes: 10, drain: undefined, generation: 1 }, { catchup: 'unknown', ms: undefined }],
    ['gains 5 a second', false, { bytes: 100, drain: 15, generation: 10 }, { catchup: 'converging', ms: 20_000 }],
    ['as fast as it grows', false, { bytes: 100, drain: 10, generation: 10 }, { catchup: 'never', ms: undefined }],
    ['stands still', false, { bytes: 100, drain: 0, generation: 0 }, { catchup: 'never', ms: undefined }],
  ] as const)('%s', (_, isCaughtUp, whole, expected) => expect(catchupOf(isCaughtUp, whole, undefined)).toEqual(expected));

  test('what is not received in time is never replayed', () =>
    expect(catchupOf(false, { bytes: 100, drain: 20, generation: 10 }, { bytes: 50, drain: 5, generation: 10 }).catchup).toBe('never'));
  test('the slower of the two decides', () =>
    expect(catchupOf(false, { bytes: 100, drain: 20, generation: 10 }, { bytes: 90, drain: 11, generation: 10 }).ms).toBe(90_000));

  test('is never negative, and never a number where it does not shrink', () => {
    const part = fc.record({
      bytes: fc.nat(),
      drain: fc.option(fc.nat(), { nil: undefined }),
      generation: fc.option(fc.nat(), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.boolean(), fc.option(part, { nil: undefined }), fc.option(part, { nil: undefined }), (is, whole, transport) => {
        const { catchup, ms } = catchupOf(is, whole, transport);
        expect(ms !== undefined).toBe(catchup === 'caught_up' || catchup === 'converging');
        if (ms !== undefined) expect(ms).toBeGreaterThanOrEqual(0);
        if (ms !== undefined) expect(Number.isFinite(ms)).toBe(true);
      }),
    );
  });
});

describe('of a replica', () => {
  function figures(
    second: number,
    replayed: (second: number) => number,
    seen: Partial<Sighting> = {},
    written = (s: number): number => s,
  ): MemberFigures {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, second, written);
    tracks.fill('head', 'b', 0, second, written);
    tracks.fill('replayed', 'b', 0, second, replayed);
    const now = T0 + second * 1_000;
    const members = [primary('a', now), replica('b', 'a', 'a', sighting('b', replicaDocument(), now, seen))];
    return figuresOf(cluster(members), tracks, now).members.get('b')!;
  }

  test('resumed after two minutes: what it did before says nothing of how fast it is', () => {
    // 120 MiB behind at 320, then 5 MiB a second against 1 written.
    const { catchup, catchupMs, walBytesPerSecond } = figures(344, (s) => (s < 200 ? s : s < 320 ? 200 : 200 + 5 * (s - 320)));
    expect(catchup).toBe('converging');
    expect(catchupMs! / 1_000).toBeGreaterThan(4);
    expect(catchupMs! / 1_000).toBeLessThan(9);
    expect(walBytesPerSecond).toBeGreaterThan(0);
  });
  test('the time left falls as time passes', () => {
    const left = [330, 340, 345].map((second) => figures(second, (s) => (s < 200 ? s : s < 310 ? 200 : 200 + 4 * (s - 310))).catchupMs!);
    expect(left.toSorted((a, b) => b - a)).toEqual(left);
  });
  test('falling behind: never', () => expect(figures(400, (s) => s / 2)).toMatchObject({ catchup: 'never', catchupMs: undefined }));
  test('paused: never', () => expect(figures(400, (s) => Math.min(s, 300))).toMatchObject({ catchup: 'never' }));
  test('with it: caught up', () => expect(figures(400, (s) => s)).toMatchObject({ catchup: 'caught_up', catchupMs: 0 }));
  test('with a delay the goal is where the primary was so long ago', () => {
    const delayed = { settings: settings(['recovery_min_apply_delay=100000 ms']) };
    expect(figures(400, (s) => Math.max(0, s - 100), delayed)).toMatchObject({ catchup: 'caught_up' });
    // 100 MiB too much at 300; 3 MiB a second from then on.
    const late = figures(330, (s) => (s < 300 ? Math.max(0, Math.min(s - 100, 100)) : 100 + 3 * (s - 300)), delayed);
    expect(late.catchup).toBe('converging');
    expect(late.catchupMs! / 1_000).toBeLessThan(25);
  });
  test('what it needs is there: backlogs apart', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 400, (s) => s);
    tracks.fill('head', 'b', 0, 400, (s) => s - 30);
    tracks.fill('replayed', 'b', 0, 400, (s) => s - 50);
    const now = T0 + 400_000;
    const members = [primary('a', now), replica('b', 'a', 'a', sighting('b', replicaDocument(), now))];
    expect(figuresOf(cluster(members), tracks, now).members.get('b')).toMatchObject({
      transportBytes: 30 * MIB,
      replayBytes: 20 * MIB,
      catchup: 'never',
    });
  });
});
