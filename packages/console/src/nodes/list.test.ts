/** The list says of each node what is so now, and offers only what is allowed. */
import type { NodeSummary, OverviewNode } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { arrangeNodes, listed, stepsOf } from './list.ts';

const summary = (name: string, part: Partial<NodeSummary> = {}): NodeSummary => ({
  id: 1,
  name,
  site: 'porto',
  tags: { role: 'db' },
  state: 'approved',
  createdAt: '',
  lastSeenAt: null,
  agentVersion: '0.1.0',
  intervalSeconds: 15,
  ...part,
});
const live = (name: string, part: Partial<OverviewNode> = {}): OverviewNode =>
  ({ name, state: 'approved', up: true, lastSeenAt: '2026-01-01T00:00:00Z', ...part }) as OverviewNode;

test('a node is what the live fleet says of it', () => {
  const [up, down, awaited, approvedNow] = listed(
    [summary('a'), summary('b', { lastSeenAt: '2026-01-01T00:00:00Z' }), summary('c'), summary('d', { state: 'pending' })],
    [live('a'), live('b', { up: false }), live('c', { up: false, lastSeenAt: null }), live('d')],
  );
  expect([up?.condition, down?.condition, awaited?.condition, approvedNow?.condition]).toEqual(['up', 'down', 'awaited', 'up']);
});

test('a retired node is not taken for a living one of the same name', () => {
  expect(listed([summary('a', { state: 'retired' })], [live('a')])[0]?.condition).toBe('retired');
});

test('what wants a decision comes first, then what is down; the retired only when asked for', () => {
  const nodes = listed(
    [summary('web-10'), summary('web-9'), summary('new', { state: 'pending' }), summary('gone', { state: 'retired' }), summary('silent')],
    [live('web-10'), live('web-9'), live('silent', { up: false })],
  );
  const shown = (text: string, retired: boolean) => arrangeNodes(nodes, text, retired).map((node) => node.summary.name);
  expect(shown('', false)).toEqual(['new', 'silent', 'web-9', 'web-10']);
  expect(shown('', true).at(-1)).toBe('gone');
  expect(shown('WEB role=db', false)).toEqual(['web-9', 'web-10']);
  expect(shown('down', false)).toEqual(['silent']);
});

test('a retired node is left alone', () => {
  expect(stepsOf('retired')).toEqual([]);
  expect(stepsOf('pending')).not.toContain('token');
});
