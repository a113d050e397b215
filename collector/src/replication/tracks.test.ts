/** Reports become tracks, whatever their order and however often; a line of history is put together of those who led it. */
import fc from 'fast-check';
import { formatLsn, parseLsn, type PostgresTrack } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { HEAD_KEEP_MS, OTHER_KEEP_MS, Tracks } from './tracks.ts';
import {
  History,
  reportsOf,
  samplesOf,
  seeded,
  shuffled,
  someHistory,
  type Random,
  type ReportOfTrack,
  type Seen,
} from './track-testing.ts';

const START = Date.UTC(2026, 0, 1);
const MINUTE_MS = 60_000;

type Sample = PostgresTrack['runs'][number]['samples'][number];

function trackOf(role: 'primary' | 'replica', timeline: number | null, samples: readonly Sample[], systemIdentifier = '7'): PostgresTrack {
  return { systemIdentifier, errorMs: 10, runs: [{ role, timeline, samples: [...samples] }] };
}

const lsn = (text: string): bigint => parseLsn(text)!;

describe('a report', () => {
  test('is read: times back from its own, head, replayed and what the sender said, each by its own time', () => {
    const tracks = new Tracks();
    tracks.accept(
      '1/main',
      10_000,
      trackOf('replica', 1, [
        [4_000, '0/20', '0/10', '0/30', 4_500],
        [2_000, '0/40', '0/20', '0/50', null],
      ]),
      0,
    );
    expect(tracks.head('1/main')?.newest).toEqual({ at: 8_000, lsn: 0x40n });
    expect(tracks.replayed('1/main')?.newest).toEqual({ at: 8_000, lsn: 0x20n });
    expect(tracks.sender('1/main')?.oldest).toEqual({ at: 5_500, lsn: 0x30n });
    expect(tracks.sender('1/main')?.passed(lsn('0/40'))).toMatchObject({ notBefore: -Infinity, notAfter: 8_010 });
    expect(tracks.head('1/main')?.passed(lsn('0/20'))).toMatchObject({ notBefore: 6_000, notAfter: 8_010 });
  });

  test('of a primary has no replayed position, and a server that never spoke has no track', () => {
    const tracks = new Tracks();
    tracks.accept('1/main', 10_000, trackOf('primary', 1, [[0, '0/20', null, null, null]]), 0);
    expect(tracks.replayed('1/main')).toBeUndefined();
    expect(tracks.head('2/main')).toBeUndefined();
    expect(tracks.clockOf('2/main', [])).toBeUndefined();
  });

  test('what a server wrote is what it was seen at as a primary, not what it got from the next one', () => {
    const tracks = new Tracks();
    tracks.accept('1/main', 10_000, trackOf('replica', 1, [[4_000, '0/20', '0/20', null, null]]), 0);
    expect(tracks.wrote('1/main')).toBeUndefined();
    tracks.accept('1/main', 20_000, trackOf('primary', 2, [[4_000, '0/30', null, null, null]]), 0);
    tracks.accept('1/main', 30_000, trackOf('replica', 3, [[4_000, '0/90', '0/90', null, null]]), 0);
    expect(tracks.wrote('1/main')).toEqual({ at: 16_000, lsn: lsn('0/30') });
    expect(tracks.head('1/main')?.newest?.lsn).toBe(lsn('0/90'));
  });

  test('whose clock was not corrected may be off either way', () => {
    const tracks = new Tracks();
    tracks.acceptStored(
      '1/main',
      100_000,
      trackOf('primary', 1, [
        [20_000, '0/10', null, null, null],
        [0, '0/20', null, null, null],
      ]),
      2_000,
    );
    expect(tracks.head('1/main')?.passed(lsn('0/10'))).toMatchObject({ notBefore: 78_000 + 0, notAfter: 102_010 });
  });

  test('with a time that is still to come, or text that is no position, says nothing', () => {
    const tracks = new Tracks();
    tracks.accept('1/main', 10_000, trackOf('primary', 1, [[-50_000, '0/20', null, null, null]]), 0);
    tracks.accept('1/main', 10_000, trackOf('primary', 1, [[5, 'nowhere', null, null, null]]), 0);
    tracks.acceptReported('1/main>x@', 5, 'nowhere');
    expect(tracks.head('1/main')).toBeUndefined();
    expect(tracks.reported('1/main>x@')).toBeUndefined();
  });

  test('of a server with another system identifier begins anew; a late one of the former is not mixed in', () => {
    const tracks = new Tracks();
    tracks.accept('1/main', 10_000, trackOf('primary', 1, [[0, '0/90', null, null, null]], '7'), 0);
    tracks.accept('1/main', 20_000, trackOf('primary', 1, [[0, '0/20', null, null, null]], '8'), 0);
    tracks.accept('1/main', 15_000, trackOf('primary', 1, [[0, '0/95', null, null, null]], '7'), 0);
    expect(tracks.head('1/main')?.oldest).toEqual({ at: 20_000, lsn: 0x20n });
    expect(tracks.head('1/main')?.newest).toEqual({ at: 20_000, lsn: 0x20n });
  });

  test('on a new timeline that begins below what was there cuts it off, also when it comes in the wrong order', () => {
    const old = {
      at: 10_000,
      track: trackOf('primary', 1, [
        [4_000, '0/10', null, null, null],
        [2_000, '0/80', null, null, null],
      ]),
    };
    const first = {
      at: 20_000,
      track: trackOf('replica', 2, [
        [4_000, '0/40', '0/40', null, null],
        [2_000, '0/50', '0/50', null, null],
      ]),
    };
    const second = {
      at: 30_000,
      track: trackOf('replica', 2, [
        [4_000, '0/60', '0/60', null, null],
        [2_000, '0/70', '0/70', null, null],
      ]),
    };
    for (const order of [
      [old, first, second],
      [old, second, first],
      [second, old, first],
      [second, first, old],
      [first, second, old],
    ]) {
      const tracks = new Tracks();
      for (const { at, track } of order) tracks.accept('1/main', at, track, 0);
      const { notBefore, notAfter } = tracks.head('1/main')!.passed(lsn('0/45'));
      expect([notBefore, notAfter]).toEqual([16_000, 18_010]);
      expect(tracks.head('1/main')!.passed(lsn('0/20')).notAfter).toBe(16_010);
    }
  });

  test('a day of heads and two hours of the rest are kept, and what is forgotten is gone', () => {
    const tracks = new Tracks();
    for (let at = 0; at <= HEAD_KEEP_MS + MINUTE_MS; at += MINUTE_MS) {
      const text = formatLsn(BigInt(at));
      tracks.accept('1/main', at, trackOf('replica', 1, [[0, text, text, text, 0]]), 0);
      tracks.acceptReported('1/main>x@', at, text);
    }
    const span = (track: { oldest: { at: number } | undefined; newest: { at: number } | undefined } | undefined): number =>
      track!.newest!.at - track!.oldest!.at;
    expect(span(tracks.head('1/main'))).toBeGreaterThanOrEqual(HEAD_KEEP_MS);
    expect(span(tracks.head('1/main'))).toBeLessThanOrEqual(HEAD_KEEP_MS + MINUTE_MS);
    for (const track of [tracks.replayed('1/main'), tracks.sender('1/main'), tracks.reported('1/main>x@')])
      expect(Math.abs(span(track) - OTHER_KEEP_MS)).toBeLessThanOrEqual(MINUTE_MS);
    expect(tracks.sizeBytes).toBeGreaterThan(0);
    tracks.forget('1/main');
    tracks.forget('1/main>x@');
    expect([tracks.head('1/main'), tracks.reported('1/main>x@'), tracks.sizeBytes]).toEqual([undefined, undefined, 0]);
  });
});

const anySeed = fc.integer({ min: 0, max: 2 ** 31 });

test('the same reports twice, in any order, say what they say once and in order', { timeout: 60_000 }, () => {
  fc.assert(
    fc.property(anySeed, fc.constantFrom(5_000, 15_000, 60_000), (seed, intervalMs) => {
      const random = seeded(seed);
      const [from, to] = [START, START + 50 * MINUTE_MS];
      const history = someHistory(random, from, to);
      const reports = reportsOf(samplesOf(history, random, from, to), intervalMs, 'primary', 1);
      const [once, mixed] = [new Tracks(), new Tracks()];
      for (const { at, track } of reports) once.accept('1/main', at, track, 0);
      for (const { at, track } of shuffled([...reports, ...reports], random)) mixed.accept('1/main', at, track, 0);
      const [a, b] = [once.head('1/main')!, mixed.head('1/main')!];
      for (const { at, track } of reports.slice(0, 50)) once.accept('1/main', at, track, 0);
      expect(b.length).toBe(a.length);
      for (let i = 0; i < 200; i++) {
        const asked = history.first + BigInt(Math.floor(random() * Number(history.last - history.first + 1n)));
        const [one, other, truth] = [a.passed(asked), b.passed(asked), history.passed(asked)];
        expect(other.notBefore).toBeCloseTo(one.notBefore, 2);
        // A report's error is that of its slowest question, so what comes first may know the end a little less well.
        expect(Math.abs(other.notAfter - one.notAfter) < 2_000 || other.notAfter === one.notAfter).toBe(true);
        for (const { notBefore, notAfter } of [one, other])
          if (!(notBefore - 0.01 <= truth && truth <= notAfter + 0.01))
            throw new Error(`passed ${asked}: ${truth} is not within ${notBefore} … ${notAfter}`);
      }
    }),
    { numRuns: 60 },
  );
});

/** A, then B, then A again, each taking over from what it had got of the other, which went on writing what was lost. */
interface Succession {
  readonly reports: readonly (ReportOfTrack & { readonly id: string })[];
  readonly forks: readonly [bigint, bigint];
  /** The lines that end with B and with the A that came back. */
  readonly ofB: History;
  readonly ofA: History;
  readonly end: number;
}

function cut(line: History, history: History, until: bigint, before: number): void {
  for (const [i, at] of history.times.entries())
    if (at < before && history.lsns[i]! > line.last && history.lsns[i]! <= until) line.write(at, history.lsns[i]! - line.last);
}

function succession(random: Random): Succession {
  const minutes = (least: number, most: number): number => (least + (most - least) * random()) * MINUTE_MS;
  const cutOff = START + minutes(10, 40);
  const promoted = cutOff + minutes(0, 4);
  const aDown = cutOff + minutes(0, 6);
  const aBack = Math.max(aDown, promoted) + minutes(0.2, 20);
  const cutOff2 = aBack + minutes(0.5, 40);
  const promoted2 = cutOff2 + minutes(0, 3);
  const end = promoted2 + minutes(2, 40);
  const [delay, delay2] = [4_000 * random(), 4_000 * random()];
  const first = someHistory(random, START, aDown);
  const fork = first.at(cutOff - delay);
  const second = someHistory(random, promoted, end, fork);
  const fork2 = second.at(cutOff2 - delay2);
  const third = someHistory(random, promoted2, end, fork2);
  const ofB = new History(first.first);
  cut(ofB, first, fork, Infinity);
  const ofA = new History(first.first);
  cut(ofA, first, fork, Infinity);
  cut(ofB, second, second.last, Infinity);
  cut(ofA, second, fork2, Infinity);
  cut(ofA, third, third.last, Infinity);
  const receiving = (history: History, delayMs: number, until: number): History =>
    ({ at: (at: number) => history.at(Math.min(at, until) - delayMs) }) as History;
  const asked = (history: History, from: number, to: number): Seen[] => samplesOf(history, random, from, to);
  const interval = 5_000 + 25_000 * random();
  const of = (id: string, samples: Seen[], role: 'primary' | 'replica', timeline: number): (ReportOfTrack & { id: string })[] =>
    reportsOf(samples, interval, role, timeline).map((report) => ({ ...report, id }));
  // The last moments of a role are not asked for: a question is not answered by two servers.
  const reports = [
    ...of('a', asked(first, START, aDown - 2_000), 'primary', 1),
    ...of('b', asked(receiving(first, delay, cutOff), START, promoted - 2_000), 'replica', 1),
    ...of('b', asked(second, promoted, end), 'primary', 2),
    ...of('a', asked(receiving(second, delay2, cutOff2), aBack, promoted2 - 2_000), 'replica', 2),
    ...of('a', asked(third, promoted2, end), 'primary', 3),
  ];
  return { reports, forks: [fork, fork2], ofB, ofA, end };
}

test(
  'a line of history that was led by one after the other holds the truth, in any order of arrival and with reports lost',
  { timeout: 120_000 },
  () => {
    let [asked, bounded] = [0, 0];
    fc.assert(
      fc.property(anySeed, fc.double({ min: 0, max: 0.5, noNaN: true }), fc.boolean(), (seed, lost, late) => {
        const random = seeded(seed);
        const { reports, forks, ofB, ofA, end } = succession(random);
        const kept = reports.filter(() => random() >= lost).toSorted((a, b) => a.at - b.at);
        const tracks = new Tracks();
        for (const { id, at, track } of late ? shuffled(kept, random) : kept) tracks.accept(id, at, track, 0);
        const lines = [
          {
            line: ofB,
            clock: tracks.clockOf('b', [{ id: 'a', until: forks[0] }]),
            isSeen: kept.some(({ id, track }) => id === 'b' && track.runs[0]!.timeline === 2),
          },
          {
            line: ofA,
            clock: tracks.clockOf('a', [
              { id: 'b', until: forks[1] },
              { id: 'a', until: forks[0] },
            ]),
            isSeen:
              [1, 3].every((timeline) => kept.some(({ id, track }) => id === 'a' && track.runs[0]!.timeline === timeline)) &&
              kept.some(({ id }) => id === 'b'),
          },
        ];
        for (const { line, clock, isSeen } of lines) {
          if (clock === undefined || !isSeen) continue;
          for (let i = 0; i < 150; i++) {
            const base = i < 20 ? forks[i % 2]! + BigInt(i - 10) : (line.lsns[Math.floor(random() * line.lsns.length)] ?? line.first);
            const position = base + BigInt(Math.floor(3 * random()) - 1);
            const { notBefore, notAfter, likely } = clock.passed(position);
            const truth = line.passed(position);
            if (!(notBefore <= truth + 0.01 && truth <= notAfter + 0.01 && notBefore <= likely && likely <= notAfter))
              throw new Error(
                `passed ${position} (forks ${forks.join(', ')}): ${truth - START} is not within ${notBefore - START} … ${notAfter - START}`,
              );
            asked++;
            if (notBefore !== -Infinity && notAfter - notBefore < 10_000) bounded++;
            const at = START + (end - START) * random();
            const { low, high } = clock.positionAt(at);
            const stood = line.at(at);
            if ((low !== undefined && low > stood) || (high !== undefined && high < stood))
              throw new Error(`at ${at - START}: ${stood} is not within ${low} … ${high} (forks ${forks.join(', ')})`);
          }
        }
      }),
      { numRuns: 150 },
    );
    // Half of them in half of the runs lost, positions before the first and after the last among them.
    expect(bounded).toBeGreaterThan(asked * 0.4);
  },
);

test('what the former primary saw is finer than what its replica got, and what it wrote alone is not counted', () => {
  const tracks = new Tracks();
  const at = (second: number): number => START + second * 1_000;
  tracks.accept(
    '1/a',
    at(100),
    trackOf('primary', 1, [
      [90_000, '0/10', null, null, null],
      [88_000, '0/20', null, null, null],
      [86_000, '0/30', null, null, null],
      [80_000, '0/90', null, null, null],
    ]),
    0,
  );
  tracks.accept(
    '2/b',
    at(100),
    trackOf('replica', 1, [
      [90_000, '0/10', '0/10', null, null],
      [60_000, '0/40', '0/40', null, null],
    ]),
    0,
  );
  tracks.accept(
    '2/b',
    at(200),
    trackOf('primary', 2, [
      [50_000, '0/40', null, null, null],
      [40_000, '0/95', null, null, null],
    ]),
    0,
  );
  const alone = tracks.clockOf('2/b', [])!;
  const line = tracks.clockOf('2/b', [{ id: '1/a', until: lsn('0/40') }])!;
  expect(alone.passed(lsn('0/20'))).toMatchObject({ notBefore: -Infinity, notAfter: at(40) + 10 });
  expect(line.passed(lsn('0/20'))).toMatchObject({ notBefore: at(12), notAfter: at(14) + 10 });
  expect(line.passed(lsn('0/80'))).toMatchObject({ notBefore: at(150), notAfter: at(160) + 10 });
  expect(line.positionAt(at(30))).toEqual({ low: lsn('0/40'), high: lsn('0/40') });
  expect(line.newest).toEqual({ at: at(160), lsn: lsn('0/95') });
  expect(line.oldest).toEqual({ at: at(10), lsn: lsn('0/10') });
});

test('a former primary that came back as a replica out of a backup says nothing of when the line was where', () => {
  const tracks = new Tracks();
  const at = (second: number): number => START + second * 1_000;
  const of = (second: number, text: string): Sample => [(200 - second) * 1_000, text, null, null, null];
  tracks.accept('1/a', at(200), trackOf('primary', 1, [of(10, '0/10'), of(14, '0/30')]), 0);
  tracks.accept('2/b', at(200), trackOf('primary', 2, [of(50, '0/40'), of(60, '0/50')]), 0);
  tracks.accept('1/a', at(200), trackOf('replica', 2, [of(30, '0/20'), of(32, '0/28')]), 0);
  const { notBefore, notAfter } = tracks.clockOf('2/b', [{ id: '1/a', until: lsn('0/40') }])!.passed(lsn('0/24'));
  expect(notBefore).toBeLessThanOrEqual(at(14));
  expect(notAfter).toBe(at(32) + 10);
});
