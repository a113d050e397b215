/** The set of sequence numbers behaves as a set, whatever the order, and keeps as few ranges as can be. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SequenceSet } from './sequences.ts';

test('equals a plain set for any numbers in any order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60 })), (numbers) => {
      const set = new SequenceSet();
      const plain = new Set<number>();
      for (const number of numbers) {
        expect(set.add(number)).toBe(!plain.has(number));
        plain.add(number);
      }
      for (let number = 0; number <= 61; number++) expect(set.has(number)).toBe(plain.has(number));
      const ranges = set.ranges();
      for (let i = 1; i < ranges.length; i++) expect(ranges[i]![0]).toBeGreaterThan(ranges[i - 1]![1] + 1);
    }),
  );
});

test('reads a multirange as PostgreSQL writes it', () => {
  const set = SequenceSet.parse('{[1,8),[9,10),[12,20)}');
  expect(set.ranges()).toEqual([
    [1, 7],
    [9, 9],
    [12, 19],
  ]);
  expect(SequenceSet.parse('{}').ranges()).toEqual([]);
});
