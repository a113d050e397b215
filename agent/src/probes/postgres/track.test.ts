/** A track says what was seen and nothing else: collapsed, thinned or cut in runs, every position it had at a moment lies between its neighbours there. */
import { PostgresTrack } from '@tidemark/protocol';
import fc from 'fast-check';
import { Value } from 'typebox/value';
import { expect, test } from 'vitest';
import { RUNS_MAX, Track, type Stand } from './track.ts';

const STAND: Stand = {
  sentMs: 0,
  tookMs: 0.4,
  role: 'primary',
  timeline: 1,
  start: 'monday',
  head: '0/0',
  replayed: null,
  sender: null,
  senderAgoMs: null,
};
const lsn = (bytes: number): string => `0/${bytes.toString(16).toUpperCase()}`;

test('of a plateau its two ends stay, and it goes on in the next report', () => {
  const track = new Track();
  for (const [sentMs, head] of [
    [1_000, 1],
    [3_000, 1],
    [5_000, 1],
    [7_000, 2],
  ] as const)
    track.add({ ...STAND, sentMs, head: lsn(head) });
  expect(track.take(8_000, '7')).toEqual({
    systemIdentifier: '7',
    errorMs: 2,
    runs: [
      {
        role: 'primary',
        timeline: 1,
        samples: [
          [7_000, '0/1', null, null, null],
          [3_000, '0/1', null, null, null],
          [1_000, '0/2', null, null, null],
        ],
      },
    ],
  });
  expect(track.take(8_001, '7')).toBeUndefined();
  for (const sentMs of [9_000, 11_000, 13_000]) track.add({ ...STAND, sentMs, head: lsn(2) });
  expect(track.take(14_000, '7')?.runs[0]?.samples).toEqual([
    [7_000, '0/2', null, null, null],
    [1_000, '0/2', null, null, null],
  ]);
});

test('a change of role, timeline or start begins a run; the error is that of the slowest look', () => {
  const track = new Track();
  track.add({ ...STAND, sentMs: 1, role: 'replica', replayed: '0/1', head: '0/1', sender: '0/2', senderAgoMs: 1 });
  track.add({ ...STAND, sentMs: 2, timeline: 2, tookMs: 17.2 });
  track.add({ ...STAND, sentMs: 3, timeline: 2, start: 'tuesday' });
  const taken = track.take(10, null)!;
  expect(taken.errorMs).toBe(19);
  expect(taken.runs.map(({ role, timeline }) => [role, timeline])).toEqual([
    ['replica', 1],
    ['primary', 2],
    ['primary', 2],
  ]);
  expect(taken.runs[0]!.samples).toEqual([[9, '0/1', '0/1', '0/2', 10]]);
  track.add({ ...STAND, sentMs: 4, timeline: 2, start: 'tuesday' });
  expect(track.take(10, null)?.runs).toHaveLength(1);
});

test('a message of the sender moves on while nothing else does', () => {
  const track = new Track();
  for (const sentMs of [0, 2_000, 4_000]) track.add({ ...STAND, sentMs, sender: '0/9', senderAgoMs: 100 });
  expect(track.take(4_000, null)?.runs[0]?.samples.map((sample) => sample[4])).toEqual([4_100, 100]);
});

test('another server has no track yet', () => {
  const track = new Track();
  track.add(STAND);
  track.clear();
  expect(track.take(1, null)).toBeUndefined();
});

test('whatever happens: bounded, in order, with the newest, and never a position beside the truth', () => {
  const step = fc.record({
    afterMs: fc.integer({ min: 1, max: 5_000 }),
    bytes: fc.constantFrom(0, 0, 0, 1, 1_000),
    turn: fc.constantFrom('none', 'none', 'none', 'none', 'none', 'role', 'take'),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 400 }), fc.integer({ min: 8, max: 60 }), (steps, samplesMax) => {
      const track = new Track(samplesMax);
      const truth: { at: number; head: number }[] = [];
      const told: { at: number; head: number }[] = [];
      let [at, head, role, runs] = [0, 0, 'primary' as Stand['role'], 0];
      const take = (): void => {
        const document = track.take(at, '1');
        if (document === undefined) return;
        expect(Value.Check(PostgresTrack, document)).toBe(true);
        const samples = document.runs.flatMap((run) => run.samples);
        expect(samples.length).toBeLessThanOrEqual(samplesMax + 2 * (runs + 1));
        const placed = samples.map(([agoMs, lsnText]) => ({ at: at - agoMs, head: Number.parseInt(lsnText!.slice(2), 16) }));
        expect(placed.at(-1)).toEqual({ at: truth.at(-1)!.at, head: truth.at(-1)!.head });
        if (told.length > 0) expect(placed[0]).toEqual(told.at(-1));
        told.push(...placed.slice(told.length > 0 ? 1 : 0));
        runs = 0;
      };
      for (const { afterMs, bytes, turn } of steps) {
        at += afterMs;
        head += bytes;
        if (turn === 'role' && runs < RUNS_MAX - 2) {
          role = role === 'primary' ? 'replica' : 'primary';
          runs++;
        }
        track.add({ ...STAND, sentMs: at, head: lsn(head), role });
        truth.push({ at, head });
        if (turn === 'take') take();
      }
      take();
      expect(told.every((sample, i) => i === 0 || (sample.at > told[i - 1]!.at && sample.head >= told[i - 1]!.head))).toBe(true);
      for (const { at: when, head: real } of truth) {
        const after = told.findIndex((sample) => sample.at >= when);
        const before = told[after]!.at === when ? after : after - 1;
        expect(real).toBeGreaterThanOrEqual(told[Math.max(0, before)]!.head);
        expect(real).toBeLessThanOrEqual(told[after]!.head);
      }
    }),
    { numRuns: 200 },
  );
});
