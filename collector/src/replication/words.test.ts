/** Figures in sentences: nothing that is not zero is written as zero, and a moment of another day has its day. */
import { expect, test } from 'vitest';
import { asSentence, momentText, spanText } from './words.ts';

test.each([
  [-5, '0 s'],
  [0, '0 s'],
  [40, '40 ms'],
  [1_234, '1.2 s'],
  [12_345, '12 s'],
  [725_000, '12 min 5 s'],
  [100_000_000, '1 d 3 h'],
])('%d ms: %s', (ms, text) => {
  expect(spanText(ms)).toBe(text);
});

test('a moment has its day where that is another one', () => {
  const at = Date.parse('2026-11-21T23:59:30Z');
  expect(momentText(at, at + 60_000)).toBe('23:59:30 UTC');
  expect(momentText(at, at + 86_400_000)).toBe('2026-11-21 23:59:30 UTC');
});

test('a sentence ends as one', () => {
  expect(['', 'it is down', 'is it a copy?'].map(asSentence)).toEqual(['', 'it is down.', 'is it a copy?']);
});
