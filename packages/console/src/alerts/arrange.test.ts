/** What is wrong first, and many of one rule as one. */
import type { AlertView } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { EVERYTHING, arrangeAlerts, filterOf, filterQuery, passes, type Entry } from './arrange.ts';
import { alertOf } from './testing.ts';

const many = (number: number, part: Partial<AlertView>): AlertView[] => Array.from({ length: number }, () => alertOf(part));
const said = (entry: Entry): string =>
  entry.kind === 'alert'
    ? entry.alert.id
    : `${entry.group.level} ${entry.group.rule} ×${entry.group.alerts.length} at ${entry.group.site ?? `${entry.group.sites} sites`}`;

test('critical before warning, then the newest', () => {
  const old = alertOf({ level: 'critical', openedAt: '2026-01-01T00:00:00.000Z' });
  const warning = alertOf({ openedAt: '2026-01-03T00:00:00.000Z' });
  const young = alertOf({ level: 'critical', openedAt: '2026-01-02T00:00:00.000Z' });
  expect(arrangeAlerts([old, warning, young]).map(said)).toEqual([young.id, old.id, warning.id]);
});

test('a site that goes is one line; what is left of the rule elsewhere stays single', () => {
  const silent = { rule: 'node-silent', level: 'critical' as const };
  const entries = arrangeAlerts([...many(41, { ...silent, site: 'porto' }), ...many(2, { ...silent, site: 'faro' }), alertOf()]);
  expect(entries.map(said).toSorted()).toEqual([
    'critical node-silent ×41 at porto',
    expect.stringMatching(/^id-/),
    expect.stringMatching(/^id-/),
    expect.stringMatching(/^id-/),
  ]);
  expect(said(entries.at(-1)!)).toMatch(/^id-/);
});

test('one on each of many sites is one line too', () => {
  const everywhere = Array.from({ length: 9 }, (_, n) => alertOf({ rule: 'clock-off', site: `site ${n}` }));
  expect(arrangeAlerts(everywhere).map(said)).toEqual(['warning clock-off ×9 at 9 sites']);
});

test('levels are never mixed in a group, and every alert is somewhere exactly once', () => {
  const all = [...many(5, { level: 'critical' }), ...many(5, {}), ...many(3, { site: 'faro' })];
  const entries = arrangeAlerts(all);
  expect(entries.map(said)).toEqual(expect.arrayContaining(['critical disk-usage ×5 at porto', 'warning disk-usage ×5 at porto']));
  const ids = entries.flatMap((entry) => (entry.kind === 'alert' ? [entry.alert.id] : entry.group.alerts.map(({ id }) => id)));
  expect(ids.toSorted()).toEqual(all.map(({ id }) => id).toSorted());
});

test('a group keeps its key while alerts come and go', () => {
  const five = many(5, {});
  const key = (alerts: AlertView[]) => arrangeAlerts(alerts).map((entry) => (entry.kind === 'group' ? entry.group.key : ''))[0];
  expect(key(five)).toBe(key([...five.slice(1), alertOf({})]));
});

test('a filter is in the address, and back', () => {
  const filter = { text: 'db lisbon', level: 'critical' as const, site: '', rule: 'disk-usage' };
  expect(filterOf(filterQuery(filter))).toEqual(filter);
  expect(filterQuery(EVERYTHING)).toBe('');
  expect(filterOf('?level=nonsense')).toEqual(EVERYTHING);
});

test('each word has to be found, in names, labels or who has it', () => {
  const alert = alertOf({ node: 'DB-1', labels: { mountpoint: '/var' }, acknowledged: { by: 'Ana', at: '', note: '' } });
  for (const text of ['db-1 /var', 'ana acknowledged', 'disk porto warning']) expect(passes(alert, { ...EVERYTHING, text })).toBe(true);
  expect(passes(alert, { ...EVERYTHING, text: 'db-1 /srv' })).toBe(false);
  expect(passes(alert, { ...EVERYTHING, site: 'faro' })).toBe(false);
});
