/** What PostgreSQL's grammar takes for synchronous_standby_names, and what it refuses. */
import { expect, test } from 'vitest';
import { parseSynchronousStandbyNames } from './synchronous.ts';

test.each([
  ['b', 'first', 1, ['b']],
  ['*', 'first', 1, ['*']],
  ['s1, s2,s3', 'first', 1, ['s1', 's2', 's3']],
  ['2 (s1, s2, s3)', 'first', 2, ['s1', 's2', 's3']],
  ['FIRST 2 (s1, s2)', 'first', 2, ['s1', 's2']],
  ['first 1(b)', 'first', 1, ['b']],
  ['ANY 2 (s1, s2, s3)', 'any', 2, ['s1', 's2', 's3']],
  ['Any 1 (*)', 'any', 1, ['*']],
  [' \n any\t01\r( "Any" , "first" )  ', 'any', 1, ['Any', 'first']],
  ['"my ""best"" standby, really", other', 'first', 1, ['my "best" standby, really', 'other']],
  ['FIRST 3 (a)', 'first', 3, ['a']],
  ['15, 16', 'first', 1, ['15', '16']],
  ['1 (2)', 'first', 1, ['2']],
  ['größe$1', 'first', 1, ['größe$1']],
  ['"*"', 'first', 1, ['*']],
] as const)('%s', (text, method, required, names) => {
  expect(parseSynchronousStandbyNames(text)).toEqual({ method, required, names });
});

test.each([
  [''],
  ['  '],
  ['a b'],
  ['a,'],
  [',a'],
  ['ANY'],
  ['any, b'],
  ['ANY (a)'],
  ['ANY 1 a'],
  ['ANY 1 (a'],
  ['ANY 1 ()'],
  ['FIRST 0 (a)'],
  ['0 (a)'],
  ['1 (a) b'],
  ['"open'],
  ['a-b'],
  ['$a'],
  ['1a (b)'],
  ['a; b'],
])('nothing, or nothing that the server would take: %j', (text) => {
  expect(parseSynchronousStandbyNames(text)).toBeUndefined();
});
