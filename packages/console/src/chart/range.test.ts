/** Zooming, panning and remembering a stretch of time. */
import { expect, test } from 'vitest';
import { DEFAULT_RANGE, PRESETS, panned, queryOfRange, rangeBetween, rangeOfQuery, spanOf, zoomed, type TimeRange } from './range.ts';

const NOW = Date.UTC(2026, 5, 1, 12);
const HOUR = 3_600_000;
const last = (hours: number): TimeRange => ({ kind: 'last', ms: hours * HOUR });
const fixed = (from: number, to: number): TimeRange => ({ kind: 'fixed', fromMs: NOW + from * HOUR, toMs: NOW + to * HOUR });

test.each<[TimeRange, string]>([
  [DEFAULT_RANGE, ''],
  [last(1), '?range=1h'],
  [last(24), '?range=24h'],
  [last(720), '?range=30d'],
  [last(1.5), '?range=90m'],
  [fixed(-3, -2), '?from=2026-06-01T09:00:00Z&to=2026-06-01T10:00:00Z'],
])('the address of %j is "%s", and back', (range, query) => {
  expect(queryOfRange(range)).toBe(query);
  expect(rangeOfQuery(query)).toEqual(range);
});

test.each([
  '?range=ever',
  '?range=-1h',
  '?from=x&to=y',
  '?from=2026-06-01T10:00:00Z&to=2026-06-01T09:00:00Z',
  '?from=2026-06-01T10:00:00Z',
])('nonsense in the address is as usual: %s', (query) => expect(rangeOfQuery(query)).toEqual(DEFAULT_RANGE));

test('a range of no time, or of all time, is bounded', () => {
  expect(rangeOfQuery('?range=0m')).toEqual({ kind: 'last', ms: 120_000 });
  expect(rangeBetween(NOW - HOUR, NOW - HOUR, NOW)).toMatchObject({ kind: 'fixed', fromMs: NOW - HOUR - 60_000 });
  expect(zoomed(last(720), 1e6, NOW, NOW)).toEqual({ kind: 'last', ms: 400 * 24 * HOUR });
});

test('dragging to either side is the same, and up to now it follows now', () => {
  expect(rangeBetween(NOW - 2 * HOUR, NOW - HOUR, NOW)).toEqual(fixed(-2, -1));
  expect(rangeBetween(NOW - HOUR, NOW - 2 * HOUR, NOW)).toEqual(fixed(-2, -1));
  expect(rangeBetween(NOW - 2 * HOUR, NOW, NOW)).toEqual(last(2));
});

test('panning back leaves now, panning forth ends at it and never goes beyond', () => {
  expect(panned(last(6), -0.5, NOW)).toEqual(fixed(-9, -3));
  expect(panned(fixed(-9, -3), 0.25, NOW)).toEqual(fixed(-7.5, -1.5));
  expect(panned(fixed(-9, -3), 0.5, NOW)).toEqual(last(6));
  expect(panned(last(6), 0.5, NOW)).toEqual(last(6));
});

test('zooming keeps the moment under the pointer in its place, and now at the end', () => {
  expect(zoomed(fixed(-8, 0), 0.5, NOW - 6 * HOUR, NOW)).toEqual(fixed(-7, -3));
  expect(zoomed(last(8), 0.5, NOW, NOW)).toEqual(last(4));
  expect(zoomed(last(8), 2, NOW - 4 * HOUR, NOW)).toEqual(last(16));
  expect(spanOf(zoomed(fixed(-9, -1), 2, NOW - 5 * HOUR, NOW), NOW).toMs).toBeLessThanOrEqual(NOW);
});

test('every preset has its word', () => {
  for (const { word, ms } of PRESETS) expect(rangeOfQuery(`?range=${word}`)).toEqual({ kind: 'last', ms });
});
