/** A gap is a gap and is never bridged; jitter of a report is no gap. */
import { expect, test } from 'vitest';
import { bridgeJitter, combine, gridOver, lastKnown, onGrid, stacked, stepFor, type Value } from './grid.ts';

const HOUR = 3_600_000;

test.each([
  [1, 600, 15_000],
  [6, 600, 60_000],
  [24, 600, 300_000],
  [24, 1_300, 120_000],
  [24 * 7, 600, 1_800_000],
  [24 * 30, 350, 10_800_000],
])('%s hours on %s pixels are asked for in steps of %s ms', (hours, width, step) => {
  expect(stepFor({ fromMs: 0, toMs: hours * HOUR }, width, 15_000)).toBe(step);
});

test('a step is never shorter than the reports are apart', () => {
  expect(stepFor({ fromMs: 0, toMs: 60_000 }, 600, 20_000)).toBe(30_000);
});

test('values come to the bins of the collector', () => {
  const grid = gridOver({ fromMs: 1_007_000, toMs: 1_062_000 }, 15_000);
  expect(grid.xs).toEqual([1005, 1020, 1035, 1050]);
  expect(
    onGrid(
      [
        [1_020_000, 2],
        [1_050_000, 'NaN'],
        [990_000, 9],
        [1_065_000, 9],
      ],
      grid,
      5_000,
    ),
  ).toEqual([null, 2, null, null]);
});

test('one late report is no gap, two missing ones are', () => {
  expect(bridgeJitter([1, null, 2], 15_000, 15_000)).toEqual([1, undefined, 2]);
  expect(bridgeJitter([1, null, null, 2], 15_000, 15_000)).toEqual([1, null, null, 2]);
  expect(bridgeJitter([null, 1, null], 15_000, 15_000)).toEqual([null, 1, null]);
  // At coarser steps a bin without any report is an outage.
  expect(bridgeJitter([1, null, 2], 300_000, 15_000)).toEqual([1, null, 2]);
  expect(bridgeJitter([1, null, 2], 60_000, 60_000)).toEqual([1, undefined, 2]);
});

test('layers are stacked; what one of them lacks is nothing, what all lack is a gap in all', () => {
  const layers: Value[][] = [
    [1, 1, null, null],
    [2, null, 2, null],
  ];
  expect(stacked(layers)).toEqual([
    [1, 1, 0, null],
    [3, 1, 2, null],
  ]);
  expect(stacked([])).toEqual([]);
});

test('calculations are missing where an operand is, and never infinite', () => {
  expect(
    combine(
      [
        [1, null, 4, 1],
        [2, 2, undefined, 0],
      ],
      ([a = 0, b = 0]) => a / b,
    ),
  ).toEqual([0.5, null, undefined, null]);
});

test('the last value known', () => {
  expect(lastKnown([1, 2, null, undefined])).toBe(1);
  expect(lastKnown([1, 2, null], 0)).toBe(0);
  expect(lastKnown([null])).toBe(-1);
});
