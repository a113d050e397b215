/** What is shown, and in which order. */
import { expect, test } from 'vitest';
import type { AlertView, OverviewNode } from '@tidemark/protocol';
import { DEFAULT_SORT, arrange, keepOrder, matches, queryOf, sortNodes, termsOf, viewOf, type Sort } from './arrange.ts';

const node = (name: string, parts: Partial<OverviewNode> = {}): OverviewNode => ({
  name,
  site: 'lisbon',
  tags: {},
  state: 'approved',
  up: true,
  lastSeenAt: '2026-01-01T00:00:00Z',
  clockOffsetSeconds: 0,
  cpu: { usageRatio: 0.1 },
  memory: { usageRatio: 0.1, totalBytes: 1 },
  disk: { usageRatio: 0.1, mounts: [] },
  uptimeSeconds: 1,
  postgres: [],
  ...parts,
});
const disk = (usageRatio: number | null) => ({ disk: { usageRatio, mounts: [] } });
const names = (nodes: OverviewNode[]): string[] => nodes.map((each) => each.name);
const primary = (bytesBehind: number | null, up = true): Partial<OverviewNode> => ({
  postgres: [{ instance: 'main', role: 'primary', up, replicas: [{ name: 'r', state: 'streaming', bytesBehind }] }],
});

test('what is wrong comes first: down, broken, critical, warning, to be approved, then the rest by fullness', () => {
  const shuffled = [
    node('calm'),
    node('calm-fuller', disk(0.5)),
    node('retired', { state: 'retired', up: false }),
    node('warned', disk(0.71)),
    node('pending', { state: 'pending', up: false, lastSeenAt: null }),
    node('awaited', { up: false, lastSeenAt: null }),
    node('critical', disk(0.86)),
    node('behind', primary(104_857_601)),
    node('postgres-down', primary(null, false)),
    node('down', { up: false }),
  ];
  expect(names(sortNodes(shuffled, DEFAULT_SORT))).toEqual([
    'down',
    'postgres-down',
    'critical',
    'behind',
    'warned',
    'pending',
    'awaited',
    'calm-fuller',
    'calm',
    'retired',
  ]);
});

const alert = (level: 'warning' | 'critical', parts: Partial<AlertView> = {}): AlertView =>
  ({ level, title: 'CPU usage', acknowledged: null, silencedBy: null, suppressedBy: null, ...parts }) as AlertView;

test('a warning that asks for somebody comes before one that is only read off the figures', () => {
  const nodes = [node('fuller', disk(0.8)), node('warned')];
  expect(names(sortNodes(nodes, DEFAULT_SORT, new Map([['warned', [alert('warning')]]])))).toEqual(['warned', 'fuller']);
  expect(names(sortNodes(nodes, DEFAULT_SORT, new Map([['warned', [alert('warning', { silencedBy: '1' })]]])))).toEqual([
    'fuller',
    'warned',
  ]);
});

test('alerts raise a node, unless they were taken, silenced or are moot', () => {
  const nodes = ['calm', 'taken', 'silenced', 'warned', 'critical'].map((name) => node(name));
  const alerts = new Map([
    ['critical', [alert('warning'), alert('critical')]],
    ['warned', [alert('warning')]],
    ['taken', [alert('critical', { acknowledged: { by: 'Ana', at: '', note: '' } })]],
    ['silenced', [alert('critical', { silencedBy: '1' })]],
  ]);
  expect(names(sortNodes(nodes, DEFAULT_SORT, alerts))).toEqual(['critical', 'warned', 'calm', 'silenced', 'taken']);
  expect(names(arrange(nodes, { query: 'critical', site: null, sort: DEFAULT_SORT }, alerts))).toEqual(['critical']);
  expect(names(arrange(nodes, { query: 'cpu usage', site: null, sort: DEFAULT_SORT }, alerts))).toHaveLength(4);
});

test('by site, what is wrong comes first within each', () => {
  const nodes = [node('a'), node('b', { up: false }), node('c', { site: 'faro' }), node('d', { site: 'faro', ...disk(0.95) })];
  expect(names(sortNodes(nodes, { key: 'site', descending: false }))).toEqual(['d', 'c', 'b', 'a']);
});

test('100 MiB behind is not yet more than 100 MiB', () => {
  expect(names(sortNodes([node('a'), node('b', primary(104_857_600))], DEFAULT_SORT))).toEqual(['a', 'b']);
});

test('a change of less than a percent moves no row', () => {
  expect(names(sortNodes([node('b', disk(0.504)), node('a', disk(0.501))], DEFAULT_SORT))).toEqual(['a', 'b']);
});

test.each<[Sort, string[]]>([
  [{ key: 'cpu', descending: true }, ['hot', 'mild', 'unknown']],
  [{ key: 'cpu', descending: false }, ['mild', 'hot', 'unknown']],
  [{ key: 'name', descending: false }, ['hot', 'mild', 'unknown']],
  [{ key: 'name', descending: true }, ['unknown', 'mild', 'hot']],
  [{ key: 'seen', descending: false }, ['mild', 'hot', 'unknown']],
])('sorted by %j, what was not measured is last', (sort, order) => {
  const nodes = [
    node('unknown', { cpu: { usageRatio: null }, lastSeenAt: null }),
    node('mild', { cpu: { usageRatio: 0.2 }, lastSeenAt: '2026-01-01T00:01:00Z' }),
    node('hot', { cpu: { usageRatio: 0.9 } }),
  ];
  expect(names(sortNodes(nodes, sort))).toEqual(order);
});

test('names are sorted as people count, and never tie', () => {
  expect(names(sortNodes([node('db-10'), node('DB-2'), node('db-2')], { key: 'name', descending: false }))).toEqual([
    'DB-2',
    'db-2',
    'db-10',
  ]);
});

test('terms are found in name, site, tags and state, and all must be', () => {
  const one = node('db-1', { site: 'Porto', tags: { env: 'production' }, up: false });
  expect(matches(one, termsOf('porto DOWN'))).toBe(true);
  expect(matches(one, termsOf('env=prod db'))).toBe(true);
  expect(matches(one, termsOf('porto up'))).toBe(false);
  expect(matches(one, termsOf('   '))).toBe(true);
  expect(matches(node('a', primary(0)), termsOf('postgres=primary'))).toBe(true);
});

test('a query is text, not a pattern', () => {
  expect(matches(node('a.b'), termsOf('a.b'))).toBe(true);
  expect(matches(node('axb'), termsOf('a.b'))).toBe(false);
  expect(matches(node('</script>'), termsOf('</script>'))).toBe(true);
});

test('site and query narrow together', () => {
  const nodes = [node('a'), node('b', { site: 'porto' }), node('ab', { site: 'porto' })];
  expect(names(arrange(nodes, { query: 'a', site: 'porto', sort: DEFAULT_SORT }))).toEqual(['ab']);
});

test('a kept order holds for those it names; new nodes come after, gone ones leave no gap', () => {
  expect(names(keepOrder([node('new'), node('a'), node('b')], ['b', 'gone', 'a']))).toEqual(['b', 'a', 'new']);
});

test('the address remembers the view', () => {
  const view = { query: 'a b&c', site: 'são paulo', sort: { key: 'disk', descending: true } as const };
  expect(viewOf(queryOf(view))).toEqual(view);
  expect(queryOf({ query: '', site: null, sort: DEFAULT_SORT })).toBe('');
  expect(viewOf('?sort=__proto__').sort).toEqual(DEFAULT_SORT);
});
