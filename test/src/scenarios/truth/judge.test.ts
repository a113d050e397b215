/** The judge is right about made-up histories of which everything is known: a lag that is true is within, one that is not is not. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { judge } from './judge.ts';
import type { Beat, Sight } from './record.ts';

const sight = (sent: number, received: number, newest: number, lsn = 0n): Sight => ({
  sent,
  received,
  lsn,
  newest: new Map([['A', newest]]),
});
/** A heartbeat every 100 ms from 1,000 on; 1 is committed at 1,000. */
const beats: Beat[] = Array.from({ length: 100 }, (_, i) => ({ id: i + 1, before: 1_000 + i * 100 - 1, after: 1_000 + i * 100 + 1 }));

describe('while heartbeats go on', () => {
  // The replica showed 10 (committed at 1,900) until 4,990 and still at 5,010.
  const replica = [sight(4_980, 4_990, 10), sight(5_010, 5_020, 10)];
  const verdict = (lower: number, upper: number) => judge({ at: 5_000, lower, upper }, 'A', beats, [], replica);

  test('the truth is between the oldest that is missing and the newest that is there', () => {
    const { low, high } = verdict(0, 0);
    expect(low).toBeCloseTo(5_000 - 2_000 - 2);
    expect(high).toBeCloseTo(5_000 - 1_900 + 2);
  });

  test.each([
    [0, 10_000, 'within'],
    [3_000, 3_100, 'within'],
    [0, 0, 'outside'],
    [0, 2_900, 'outside'],
    [3_200, 9_000, 'outside'],
    [2_000, Number.POSITIVE_INFINITY, 'within'],
    [3_500, Number.POSITIVE_INFINITY, 'outside'],
  ])('%d to %d is %s', (lower, upper, kind) => expect(verdict(lower, upper).kind).toBe(kind));
});

describe('while nothing is written', () => {
  const root = [sight(60_000, 60_010, 100, 500n), sight(60_100, 60_110, 100, 500n)];
  const at = 60_050;
  test('a replica with all there is has no lag', () => {
    const replica = [sight(60_020, 60_030, 100, 500n), sight(60_090, 60_095, 100, 500n)];
    expect(judge({ at, lower: 0, upper: 2_000 }, 'A', beats, root, replica).kind).toBe('idle within');
    expect(judge({ at, lower: 1, upper: 2_000 }, 'A', beats, root, replica).kind).toBe('idle outside');
  });
  test('of one that lacks something without a heartbeat nobody knows', () => {
    const replica = [sight(60_020, 60_030, 100, 499n), sight(60_090, 60_095, 100, 499n)];
    expect(judge({ at, lower: 0, upper: 0 }, 'A', beats, root, replica).kind).toBe('undecided');
  });
  test('one that lacks heartbeats is behind, idle or not', () => {
    const replica = [sight(60_020, 60_030, 90, 400n), sight(60_090, 60_095, 90, 400n)];
    expect(judge({ at, lower: 0, upper: 2_000 }, 'A', beats, root, replica).kind).toBe('outside');
    expect(judge({ at, lower: 40_000, upper: 50_100 }, 'A', beats, root, replica).kind).toBe('within');
  });
});

test('a replica that was never seen is not judged', () => {
  expect(judge({ at: 5_000, lower: 0, upper: 0 }, 'A', beats, [], []).kind).toBe('undecided');
});

test('whatever the history, the true lag lies in the interval', () => {
  const history = fc.record({
    // Gaps between commits, and how long each takes to be told and to be replayed.
    gaps: fc.array(fc.integer({ min: 20, max: 400 }), { minLength: 5, maxLength: 60 }),
    tellings: fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 60, maxLength: 60 }),
    delays: fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 60, maxLength: 60 }),
    looks: fc.array(fc.tuple(fc.integer({ min: 5, max: 300 }), fc.integer({ min: 0, max: 40 })), { minLength: 5, maxLength: 80 }),
    moment: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(history, ({ gaps, tellings, delays, looks, moment }) => {
      let time = 1_000;
      let replayedBy = 0;
      const commits = gaps.map((gap, i) => {
        time += gap;
        replayedBy = Math.max(replayedBy, time + delays[i]!);
        return { at: time, replayed: replayedBy };
      });
      const made: Beat[] = commits.map(({ at }, i) => ({ id: i + 1, before: at - tellings[i]!, after: at + tellings[59 - i]! }));
      let clock = 900;
      const replica = looks.map(([every, took]) => {
        clock += every;
        const seen = clock + took / 2;
        const shown = sight(clock, clock + took, commits.filter(({ replayed }) => replayed <= seen).length);
        clock += took;
        return shown;
      });
      const tau = 1_000 + moment * (clock - 1_000);
      // Only commits here, so that the oldest WAL that is missing is the first commit that is not replayed.
      const oldest = commits.find(({ at, replayed }) => at <= tau && replayed > tau);
      const truth = oldest === undefined ? 0 : tau - oldest.at;
      const { kind, low, high } = judge({ at: tau, lower: truth, upper: truth }, 'A', made, [], replica);
      return kind !== 'outside' && kind !== 'idle outside' && (kind === 'undecided' || (low <= truth && truth <= high));
    }),
    { numRuns: 2_000 },
  );
});
