/** Nodes whose agents found PostgreSQL servers that nobody watches. Pure. */
import type { OverviewNode } from '@tidemark/protocol';
import { byName } from './picture.ts';

export interface Found {
  servers: number;
  /** By name. */
  nodes: { name: string; servers: number }[];
}

/** Null where none was found. */
export function foundOn(nodes: readonly Pick<OverviewNode, 'name' | 'postgresFound'>[]): Found | null {
  const having = nodes.map(({ name, postgresFound = 0 }) => ({ name, servers: postgresFound })).filter(({ servers }) => servers > 0);
  if (having.length === 0) return null;
  return { servers: having.reduce((sum, { servers }) => sum + servers, 0), nodes: having.toSorted(byName) };
}
