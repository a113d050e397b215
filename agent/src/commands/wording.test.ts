import { expect, test } from 'vitest';
import { alignRows, bytes, duration, percent, plural, printable } from './wording.ts';

test.each([
  [0, '0 B'],
  [512, '512 B'],
  [1023, '1023 B'],
  [1024, '1.00 KiB'],
  [1_536, '1.50 KiB'],
  [104_857_600, '100 MiB'],
  [1023.9 * 1024, '1.00 MiB'],
  [9.996 * 1024 ** 3, '10.0 GiB'],
  [-2_048, '-2.00 KiB'],
  [2 ** 60, '1024 PiB'],
])('%d bytes: %s', (count, text) => expect(bytes(count)).toBe(text));

test.each([
  [0, '0 %'],
  [0.004, '0.4 %'],
  [0.0994, '9.9 %'],
  [0.0996, '10 %'],
  [0.631, '63 %'],
  [1, '100 %'],
])('a ratio of %d: %s', (ratio, text) => expect(percent(ratio)).toBe(text));

test.each([
  [-5, '0 ms'],
  [340, '340 ms'],
  [999.7, '1 s'],
  [119_000, '119 s'],
  [120_000, '2 min'],
  [3 * 3_600_000 + 20 * 60_000, '3 h 20 min'],
  [2 * 3_600_000, '2 h'],
  [12 * 86_400_000 + 4 * 3_600_000, '12 d 4 h'],
])('%d ms: %s', (ms, text) => expect(duration(ms)).toBe(text));

test('one report, two reports', () => expect([plural(1, 'report'), plural(2, 'report')]).toEqual(['1 report', '2 reports']));

test('what could move a cursor is shown instead', () => expect(printable('a\u001b[2Jb\nc\u202e')).toBe('a\\u{1b}[2Jb\\u{a}c\\u{202e}'));

test('columns are aligned, no line ends in blanks', () => {
  expect(
    alignRows(
      [
        ['a', '1', ''],
        ['bbb', '22', 'x'],
      ],
      [1],
    ),
  ).toBe('a     1\nbbb  22  x');
});
