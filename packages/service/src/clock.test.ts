import { expect, test } from 'vitest';
import { createSuspendAwareClock, ManualClock } from './clock.ts';

test('time that the machine slept is counted, resolution and slewing are not', () => {
  const base = new ManualClock(0, 5_000);
  let sleptSeconds = 0;
  // An uptime of 10 ms resolution that is a little off.
  const clock = createSuspendAwareClock(() => Math.floor((base.monotonicMs() + 123_456) / 10) / 100 + sleptSeconds, base);
  const start = clock.monotonicMs();
  base.advance(1_234.5);
  expect(clock.monotonicMs() - start).toBe(1_234.5);
  sleptSeconds = 3_600;
  base.advance(500);
  expect(Math.abs(clock.monotonicMs() - start - 3_601_734.5)).toBeLessThan(25);
  const woken = clock.monotonicMs();
  base.advance(7.25);
  expect(clock.monotonicMs() - woken).toBe(7.25);
});

test('it never runs backwards, whatever the uptime says', () => {
  const base = new ManualClock();
  let uptime = 1_000;
  const clock = createSuspendAwareClock(() => uptime, base);
  const start = clock.monotonicMs();
  uptime = 10;
  base.advance(1_000);
  expect(clock.monotonicMs()).toBeGreaterThanOrEqual(start);
  base.advance(100);
  expect(clock.monotonicMs() - start).toBe(1_100);
});
