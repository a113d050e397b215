/** A site is summed up by what is wrong in it. */
import type { OverviewNode } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { sitesOf } from './sites.ts';

const node = (name: string, site: string, parts: Partial<OverviewNode> = {}): OverviewNode => ({
  name,
  site,
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

test('nodes are counted by site and by what is wrong with them, retired ones not at all', () => {
  const full = (usageRatio: number) => ({ disk: { usageRatio, mounts: [] } });
  const nodes = [
    node('a', 'porto'),
    node('b', 'porto', { up: false }),
    node('c', 'porto', full(0.9)),
    node('d', 'porto', full(0.8)),
    node('e', 'porto', { state: 'retired', up: false }),
    node('f', ''),
  ];
  expect(sitesOf(nodes, new Map())).toEqual([
    { site: '', nodes: 1, down: 0, critical: 0, warning: 0 },
    { site: 'porto', nodes: 4, down: 1, critical: 1, warning: 1 },
  ]);
});
