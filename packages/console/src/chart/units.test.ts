/** Values in their units, as the legend and the axes write them. */
import { expect, test } from 'vitest';
import { formatTick, formatValue, tickSteps } from './units.ts';

test.each([
  [0.0312, 'ratio', '3.1 %'],
  [0.5, 'ratio', '50 %'],
  [0, 'ratio', '0 %'],
  [1_572_864, 'bytes/s', '1.5 MiB/s'],
  [0.00042, 'seconds', '420 µs'],
  [0.0042, 'seconds', '4.2 ms'],
  [0.42, 'seconds', '420 ms'],
  [4.2, 'seconds', '4.2 s'],
  [3_542_400, 'seconds', '41 d'],
  [12_500, '1/s', '12.5 k/s'],
  [2.345, 'count', '2.35'],
  [null, 'count', '–'],
  [undefined, 'ratio', '–'],
  [Number.NaN, 'bytes', '–'],
] as const)('%s %s is %s', (value, unit, text) => expect(formatValue(value, unit)).toBe(text));

test('ticks are round, and below zero they are written without a sign: what is mirrored is as much', () => {
  expect(formatTick(0.25, 'ratio')).toBe('25 %');
  expect(formatTick(-(2 ** 20), 'bytes/s')).toBe('1 MiB');
  expect(formatTick(0, 'bytes')).toBe('0');
  expect(tickSteps('bytes')).toContain(2 ** 30);
});
