/** What changes all the time is told at once and then at most each five seconds; the last change is always told. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { UrgentCalls } from './urgent.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('at once, then at the end of the gap, however often it is called', () => {
  const called: number[] = [];
  const now = (): number => vi.getMockedSystemTime()!.getTime();
  const calls = new UrgentCalls(() => called.push(now()));
  const start = now();
  for (let i = 0; i < 12; i++) {
    calls.call(now());
    vi.advanceTimersByTime(1_000);
  }
  vi.advanceTimersByTime(60_000);
  expect(called.map((at) => at - start)).toEqual([0, 5_000, 10_000, 15_000]);
  calls.call(now());
  expect(called).toHaveLength(5);
});

test('nothing comes after it was stopped', () => {
  const callback = vi.fn<() => void>();
  const calls = new UrgentCalls(callback);
  calls.call(0);
  calls.call(1);
  calls.stop();
  vi.advanceTimersByTime(60_000);
  expect(callback).toHaveBeenCalledTimes(1);
});
