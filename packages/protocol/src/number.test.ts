/** The wire's words for what JSON has no number for. */
import { expect, test } from 'vitest';
import { fromWireValue, toWireValue } from './index.ts';

test.each([0, -0, 1.5, 1e300, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null])('%s survives the wire', (value) => {
  expect(fromWireValue(JSON.parse(JSON.stringify(toWireValue(value))))).toEqual(value === 0 ? 0 : value);
});

test.each(['nan', '', 'Infinity', '1', true, {}, [], undefined])('%s has no defined form', (value) => {
  expect(fromWireValue(value)).toBeUndefined();
});
