/** Rows put into the fleet: nothing lost, nothing twice, and what did not change is the same object. */
import type { Overview, OverviewNode } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { mergeRows } from './deltas.ts';

const node = (name: string, cpu = 0.1): OverviewNode => ({
  name,
  site: '',
  tags: {},
  state: 'approved',
  up: true,
  lastSeenAt: null,
  clockOffsetSeconds: null,
  cpu: { usageRatio: cpu },
  memory: { usageRatio: null, totalBytes: null },
  disk: { usageRatio: null, mounts: [] },
  uptimeSeconds: null,
  postgres: [],
});
const fleet: Overview = { at: 'then', nodes: [node('a'), node('b'), node('c')] };
const names = (overview: Overview) => overview.nodes.map((each) => each.name);

test('a row that changed takes its place, the others stay the same objects', () => {
  const after = mergeRows(fleet, { at: 'now', nodes: [node('b', 0.9)], removed: [] });
  expect(after.at).toBe('now');
  expect(names(after)).toEqual(['a', 'b', 'c']);
  expect(after.nodes[1]?.cpu.usageRatio).toBe(0.9);
  expect(after.nodes[0]).toBe(fleet.nodes[0]);
});

test('new nodes come, removed ones go, in one event', () => {
  expect(names(mergeRows(fleet, { at: '', nodes: [node('d')], removed: ['a'] }))).toEqual(['b', 'c', 'd']);
});

test('a rename is a new row and a removed one; a name taken again in the same round stays', () => {
  expect(names(mergeRows(fleet, { at: '', nodes: [node('z')], removed: ['b'] }))).toEqual(['a', 'c', 'z']);
  expect(names(mergeRows(fleet, { at: '', nodes: [node('b', 0.5)], removed: ['b'] }))).toEqual(['a', 'b', 'c']);
});

test('nothing changed is the same list', () => {
  expect(mergeRows(fleet, { at: 'now', nodes: [], removed: [] }).nodes).toBe(fleet.nodes);
});

test('removing what is not known does nothing', () => {
  expect(names(mergeRows(fleet, { at: '', nodes: [], removed: ['nobody'] }))).toEqual(['a', 'b', 'c']);
});
