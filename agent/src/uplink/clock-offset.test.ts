import { ManualClock } from '@tidemark/service';
import { expect, test } from 'vitest';
import { ClockOffset } from './clock-offset.ts';

/** An exchange with a collector whose clock is `aheadMs` ahead: the way there, the work, the way back; then its time is read before or after the work. */
function exchange(
  clock: ManualClock,
  offset: ClockOffset,
  aheadMs: number,
  [there, work, back]: readonly [number, number, number],
  told: boolean,
): void {
  const sentMs = clock.monotonicMs();
  const sentWall = clock.wallMs();
  clock.advance(there);
  const toldMs = told ? Math.round(clock.wallMs() + aheadMs - sentWall) : undefined;
  clock.advance(work);
  const serverTimeMs = clock.wallMs() + aheadMs;
  clock.advance(back);
  offset.measured({ sentMs, receivedMs: clock.monotonicMs(), serverTimeMs, toldMs });
}

test('nothing is known before the first exchange', () => {
  expect(new ClockOffset(new ManualClock()).ms()).toBeUndefined();
});

test.each([0, 3_600_000, -3_600_000, 250])('a collector %i ms ahead', (ahead) => {
  const clock = new ManualClock();
  const offset = new ClockOffset(clock);
  exchange(clock, offset, ahead, [5, 0, 5], false);
  expect(offset.ms()).toBeCloseTo(-ahead, 6);
});

test('an answer that waited for the database: what the collector measured on arrival narrows it down', () => {
  const clock = new ManualClock();
  const alone = new ClockOffset(clock);
  exchange(clock, alone, 0, [2, 200, 2], false);
  expect(Math.abs(alone.ms()!)).toBeGreaterThan(90);
  const told = new ClockOffset(clock);
  exchange(clock, told, 0, [2, 200, 2], true);
  expect(Math.abs(told.ms()!)).toBeLessThanOrEqual(2);
});

test('a measure that cannot be is left aside', () => {
  const clock = new ManualClock();
  const offset = new ClockOffset(clock);
  const sentMs = clock.monotonicMs();
  clock.advance(10);
  offset.measured({ sentMs, receivedMs: clock.monotonicMs(), serverTimeMs: clock.wallMs(), toldMs: 5_000_000 });
  expect(Math.abs(offset.ms()!)).toBeLessThanOrEqual(10);
});

test('the quickest of the last ten minutes is believed, and forgotten after them', () => {
  const clock = new ManualClock();
  const offset = new ClockOffset(clock);
  exchange(clock, offset, 1_000, [1, 0, 1], false);
  exchange(clock, offset, 1_000, [900, 0, 100], false);
  expect(offset.ms()).toBe(-1_000);
  clock.advance(601_000);
  exchange(clock, offset, 1_000, [900, 0, 100], false);
  expect(offset.ms()).toBe(-1_400);
});

test('a wall clock that is set shows at once', () => {
  const clock = new ManualClock();
  const offset = new ClockOffset(clock);
  exchange(clock, offset, 0, [1, 0, 1], true);
  clock.setWall(clock.wallMs() + 7_200_000);
  expect(offset.ms()).toBe(7_200_000);
});
