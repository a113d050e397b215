/** Rows that changed, put into the fleet that is known: what did not change stays the same object, so that nobody draws it anew. */
import type { LiveEvents, Overview, OverviewNode } from '@tidemark/protocol';

/** The fleet after `delta`. In the order that it had; nodes that are new come last (every page has an order of its own). */
export function mergeRows(overview: Overview, delta: LiveEvents['nodes']): Overview {
  if (delta.nodes.length === 0 && delta.removed.length === 0) return { at: delta.at, nodes: overview.nodes };
  const changed = new Map<string, OverviewNode>();
  for (const node of delta.nodes) changed.set(node.name, node);
  // A name that was freed and taken again in the same round is there.
  const removed = new Set(delta.removed.filter((name) => !changed.has(name)));
  const nodes: OverviewNode[] = [];
  for (const node of overview.nodes) {
    const now = changed.get(node.name);
    if (now !== undefined) {
      nodes.push(now);
      changed.delete(node.name);
    } else if (!removed.has(node.name)) nodes.push(node);
  }
  nodes.push(...changed.values());
  return { at: delta.at, nodes };
}
