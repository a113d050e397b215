/** A silence covers what one thinks it covers. */
import { expect, test } from 'vitest';
import { arrangeAlerts } from '../alerts/arrange.ts';
import { alertOf } from '../alerts/testing.ts';
import { covers, fits, matcherOf, matcherParts, partsOfAlert, partsOfGroup } from './matcher.ts';
import { endOf, localField, nextMorning } from './span.ts';

test('prefilled from an alert it covers that one and not its neighbour', () => {
  const alert = alertOf({ node: 'db-1', labels: { mountpoint: '/var' } });
  const matcher = matcherOf(partsOfAlert(alert));
  expect(matcher).toEqual({ rule: 'disk-usage', node: 'db-1', labels: { mountpoint: '/var' } });
  expect(covers(matcher!, alert)).toBe(true);
  expect(covers(matcher!, alertOf({ node: 'db-1', labels: { mountpoint: '/srv' } }))).toBe(false);
  expect(covers(matcher!, alertOf({ node: 'db-2', labels: { mountpoint: '/var' } }))).toBe(false);
});

test('prefilled from a group it covers the group: its site, or the rule everywhere', () => {
  const groups = (sites: string[]) =>
    arrangeAlerts(sites.map((site) => alertOf({ site }))).flatMap((entry) => (entry.kind === 'group' ? [entry.group] : []));
  expect(matcherOf(partsOfGroup(groups(['a', 'a', 'a', 'a'])[0]!))).toEqual({ rule: 'disk-usage', site: 'a' });
  expect(matcherOf(partsOfGroup(groups(['a', 'b', 'c', 'd'])[0]!))).toEqual({ rule: 'disk-usage' });
});

test('nothing taken is no matcher', () => {
  expect(matcherOf(partsOfAlert(alertOf()).map((part) => ({ ...part, taken: false })))).toBeNull();
});

test.each([
  ['web-*', 'web-1', true],
  ['web-*', 'app-1', false],
  ['*', '', true],
  ['a*b*c', 'a-b-c', true],
  ['a*b*c', 'a-c', false],
  ['ab*ba', 'aba', false],
  ['a.c', 'abc', false],
  ['a*a', 'a', false],
])('%s over %s: %s', (pattern, text, fit) => {
  expect(fits(pattern, text)).toBe(fit);
});

test('in words', () => {
  expect(matcherParts({ rule: 'r', site: 's', labels: { mountpoint: '/' } })).toEqual([
    ['rule', 'r'],
    ['site', 's'],
    ['mountpoint', '/'],
  ]);
});

test('until tomorrow at 8: at night the coming morning, by day the next one', () => {
  const at = (hour: number, minute = 0) => new Date(2026, 10, 21, hour, minute).getTime();
  expect(new Date(nextMorning(at(2)))).toEqual(new Date(2026, 10, 21, 8));
  expect(new Date(nextMorning(at(14)))).toEqual(new Date(2026, 10, 22, 8));
  expect(new Date(nextMorning(at(8)))).toEqual(new Date(2026, 10, 22, 8));
});

test("one's own end has to be a moment ahead, within a year", () => {
  const now = new Date(2026, 10, 21, 12).getTime();
  const until = (atMs: number) => endOf({ kind: 'until', local: localField(atMs) }, now);
  expect(until(now + 7_200_000)).toBe(now + 7_200_000);
  expect(until(now - 60_000)).toBeNull();
  expect(until(now + 400 * 86_400_000)).toBeNull();
  expect(endOf({ kind: 'until', local: '' }, now)).toBeNull();
  expect(endOf({ kind: 'hours', hours: 4 }, now)).toBe(now + 14_400_000);
});
