/** Numbers as people read them. */
import { expect, test } from 'vitest';
import { NOTHING, countOf, formatAge, formatBytes, formatDuration, formatRatio } from './quantities.ts';

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [104_857_600, '100 MiB'],
  [1_073_700_000, '1.0 GiB'],
  [1024 * 1024 - 1, '1.0 MiB'],
  [2 ** 41, '2.0 TiB'],
  [-2048, '−2.0 KiB'],
  [null, NOTHING],
  [Number.NaN, NOTHING],
])('%s bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each([
  [0, '0 %'],
  [0.004, '< 1 %'],
  [0.876, '88 %'],
  [0.996, '99.6 %'],
  [0.9994, '99.9 %'],
  [1, '100 %'],
  [null, NOTHING],
])('ratio %s is %s', (ratio, text) => expect(formatRatio(ratio)).toBe(text));

test.each([
  [0, '0 s'],
  [59.9, '59 s'],
  [60, '1 min'],
  [15_120, '4 h 12 min'],
  [86_400, '1 d'],
  [273_600, '3 d 4 h'],
  [null, NOTHING],
])('%s seconds last %s', (seconds, text) => expect(formatDuration(seconds)).toBe(text));

test.each([
  [-4_000, '0 s ago'],
  [2_400, '2 s ago'],
  [90_000, '1 min ago'],
  [2 * 3_600_000, '2 h ago'],
  [72 * 3_600_000, '3 d ago'],
])('%s ms is %s', (ms, text) => expect(formatAge(ms)).toBe(text));

test('counts agree with their noun', () => {
  expect(countOf(1, 'node')).toBe('1 node');
  expect(countOf(1_000, 'node')).toBe('1,000 nodes');
});
