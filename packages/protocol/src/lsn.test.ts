/** Positions in the WAL are exact, whatever their size, and nothing else is taken for one. */
import { expect, test } from 'vitest';
import { bytesBetween, formatLsn, parseLsn } from './lsn.ts';

test.each([
  ['0/0', 0n],
  ['16/B374D848', 0x16_b374_d848n],
  ['FFFFFFFF/FFFFFFFF', 2n ** 64n - 1n],
])('%s', (text, bytes) => {
  expect(parseLsn(text)).toBe(bytes);
  expect(formatLsn(bytes)).toBe(text);
});

test('what is no position', () => {
  for (const wrong of [null, undefined, '', '16', '/1', 'G/1', '123456789/0']) expect(parseLsn(wrong)).toBeUndefined();
});

test('a distance is never below zero', () => {
  expect(bytesBetween(1n, 0x1_0000_0001n)).toBe(2 ** 32);
  expect(bytesBetween(2n, 1n)).toBe(0);
});
