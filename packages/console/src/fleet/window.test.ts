/** Every row in sight is drawn, and not many more. */
import { expect, test } from 'vitest';
import { rangeInSight } from './window.ts';

test('at the top, with the list still below the head', () => expect(rangeInSight(-200, 900, 36)).toEqual({ first: 0, end: 32 }));

test('every row in sight is drawn at every place, with few around', () => {
  for (let top = -500; top < 40_000; top += 37) {
    const { first, end } = rangeInSight(top, 900, 36);
    expect(first * 36).toBeLessThanOrEqual(Math.max(0, top));
    expect(end * 36).toBeGreaterThanOrEqual(top + 900);
    expect(end - first).toBeLessThanOrEqual(900 / 36 + 44);
  }
});

test('scrolling by one row mostly draws nothing anew', () => {
  const seen = new Set(Array.from({ length: 80 }, (_, row) => JSON.stringify(rangeInSight(row * 36, 900, 36))));
  expect(seen.size).toBeLessThanOrEqual(22);
});
