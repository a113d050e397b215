import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Clock } from './clock.ts';
import { phaseOf, Ticker, untilNextTickMs } from './ticker.ts';

describe('the grid', () => {
  test.each([
    [0, 0, 1_000, 1_000],
    [1, 0, 1_000, 999],
    [999, 0, 1_000, 1],
    [12_345, 300, 1_000, 955],
    [100, 5_300, 1_000, 200],
  ])('at %i through %i each %i: %i', (now, origin, interval, wait) => {
    expect(untilNextTickMs(now, origin, interval)).toBe(wait);
  });

  test('a host has its own place, and always the same; places are spread', () => {
    expect(phaseOf('db-1', 15_000)).toBe(phaseOf('db-1', 15_000));
    const places = Array.from({ length: 1_000 }, (_, i) => phaseOf(`node-${i}`, 15_000));
    expect(Math.min(...places)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...places)).toBeLessThan(15_000);
    for (let slot = 0; slot < 15; slot++) expect(places.filter((place) => Math.floor(place / 1_000) === slot).length).toBeGreaterThan(35);
  });
});

describe('ticks', () => {
  beforeEach(() => void vi.useFakeTimers({ now: 1_000_400 }));
  afterEach(() => void vi.useRealTimers());
  const clock: Clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };

  function ticker(tick: () => Promise<void>): { ticker: Ticker; at: number[] } {
    const at: number[] = [];
    const one = new Ticker({
      intervalMs: 1_000,
      phaseMs: 250,
      clock,
      tick: () => {
        at.push(Date.now());
        return tick();
      },
    });
    return { ticker: one, at };
  }

  test('one at once, then at its place in the interval', async () => {
    const { ticker: one, at } = ticker(() => Promise.resolve());
    one.start();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(at).toEqual([1_000_400, 1_001_250, 1_002_250, 1_003_250]);
    await one.stop();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(at).toHaveLength(4);
  });

  test('lateness does not add up, and one that takes too long swallows what it covers', async () => {
    const takes = [30, 40, 2_500, 10];
    const { ticker: one, at } = ticker(() => new Promise((resolve) => setTimeout(resolve, takes.shift() ?? 0)));
    one.start();
    await vi.advanceTimersByTimeAsync(6_000);
    expect(at).toEqual([1_000_400, 1_001_250, 1_002_250, 1_005_250, 1_006_250]);
    await one.stop();
  });

  test('stop waits for the tick under way', async () => {
    const order: string[] = [];
    const { ticker: one } = ticker(async () => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      order.push('tick over');
    });
    one.start();
    const stopped = one.stop().then(() => order.push('stopped'));
    await vi.advanceTimersByTimeAsync(200);
    await stopped;
    expect(order).toEqual(['tick over', 'stopped']);
  });

  test('a wall clock that is set moves no tick', async () => {
    const { ticker: one, at } = ticker(() => Promise.resolve());
    one.start();
    await vi.advanceTimersByTimeAsync(1_000);
    vi.setSystemTime(5_000_000);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(at).toHaveLength(4);
    await one.stop();
  });
});
