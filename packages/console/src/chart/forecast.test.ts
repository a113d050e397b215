/** A forecast is made where a person with a ruler would make one, and nowhere else. */
import { expect, test } from 'vitest';
import { aboutText, forecastOf } from './forecast.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const STEP = 600_000;
/** A day of points every ten minutes; `left` is told the place in days, 0–1. */
const day = (left: (days: number, place: number) => number): [number, number][] =>
  Array.from({ length: 145 }, (_, place) => [place * STEP, left((place * STEP) / DAY, place)]);
/** Not random, but as uneven. */
const uneven = (place: number): number => Math.sin(place * 12.9898) * 0.5 + Math.sin(place * 78.233) * 0.5;

test('a disk that fills steadily is full when the line says so', () => {
  const found = forecastOf(day((days) => 700 - 100 * days));
  expect(found?.emptyAtMs).toBeCloseTo(7 * DAY, -3);
  expect((found?.slopePerMs ?? 0) * DAY).toBeCloseTo(-100);
});

test('one large file that came and went turns nothing', () => {
  const found = forecastOf(day((days, place) => 700 - 100 * days - (place > 50 && place < 64 ? 300 : 0)));
  expect(found?.emptyAtMs).toBeGreaterThan(6.9 * DAY);
  expect(found?.emptyAtMs).toBeLessThan(7.1 * DAY);
});

test('unevenness about the line is borne', () => {
  const found = forecastOf(day((days, place) => 700 - 100 * days + 12 * uneven(place)));
  expect(found?.emptyAtMs).toBeGreaterThan(6.6 * DAY);
  expect(found?.emptyAtMs).toBeLessThan(7.4 * DAY);
});

test.each<[string, [number, number][]]>([
  ['a disk that does not change', day(() => 500)],
  ['one that empties', day((days) => 500 + 100 * days)],
  ['noise', day((_, place) => 500 + 50 * uneven(place))],
  ['one step down in the middle of the day', day((days) => (days < 0.5 ? 500 : 300))],
  ['a saw: logs that are rotated every four hours', day((_, place) => 500 - (place % 24) * 8)],
  ['one that fills so slowly that a day says nothing of it', day((days) => 500 - days)],
  ['three hours', day((days) => 500 - 100 * days).slice(0, 19)],
  ['a few points over a day', day((days) => 500 - 100 * days).filter((_, place) => place % 12 === 0)],
  ['nothing', []],
])('nothing is said of %s', (_, points) => expect(forecastOf(points)).toBeNull());

test('many points are thinned, and the newest counts', () => {
  const points = Array.from({ length: 5_760 }, (_, place): [number, number] => [place * 15_000, 1_000 - place / 10]);
  expect(forecastOf(points)?.level).toBeCloseTo(1_000 - 575.9, 5);
});

test.each([
  [20 * 60_000, 'in about an hour or less'],
  [5.4 * HOUR, 'in about 5 hours'],
  [35 * HOUR, 'in about 35 hours'],
  [6.2 * DAY, 'in about 6 days'],
  [15 * DAY, 'in about 2 weeks'],
  [60 * DAY, 'in about 2 months'],
])('%s ms ahead is "%s"', (ms, text) => expect(aboutText(ms)).toBe(text));
