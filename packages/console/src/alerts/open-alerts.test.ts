/** The open alerts stay what the collector says, whichever of answer and event comes first. */
import { expect, test } from 'vitest';
import { isCalling, withChanges } from './open-alerts.ts';
import { alertOf } from './testing.ts';

test('one that opened comes, one that closed goes, one that changed is the newer', () => {
  const [a, b] = [alertOf(), alertOf()];
  const c = alertOf();
  const worse = { ...a, level: 'critical' as const };
  expect(withChanges([a, b], [c, worse, { ...b, state: 'closed' }])).toEqual([worse, c]);
});

test('the last word on an alert counts', () => {
  const a = alertOf();
  expect(withChanges([], [a, { ...a, state: 'closed' }])).toEqual([]);
  expect(withChanges([a], [{ ...a, state: 'closed' }, a])).toEqual([a]);
});

test('nothing changed is the same list', () => {
  const open = [alertOf()];
  expect(withChanges(open, [])).toBe(open);
});

test('who is held by somebody or something does not call', () => {
  expect(isCalling(alertOf())).toBe(true);
  expect(isCalling(alertOf({ acknowledged: { by: 'Ana', at: '', note: '' } }))).toBe(false);
  expect(isCalling(alertOf({ silencedBy: 'x' }))).toBe(false);
  expect(isCalling(alertOf({ suppressedBy: 'x' }))).toBe(false);
});
