/** Which nodes are shown, in which order: those that want a decision first, then by name. Names come from the directory, figures from the live fleet. */
import type { NodeState, NodeSummary, OverviewNode } from '@tidemark/protocol';
import type { Condition } from '../fleet/standing.ts';

export interface ListedNode {
  summary: NodeSummary;
  condition: Condition;
  lastSeenAt: string | null;
}

/** One word for state and silence; the live fleet is fresher than the directory's list. */
export function listed(summaries: readonly NodeSummary[], overview: readonly OverviewNode[]): ListedNode[] {
  const live = new Map(overview.map((node) => [node.name, node]));
  return summaries.map((summary) => {
    const node = summary.state === 'retired' ? undefined : live.get(summary.name);
    const state: NodeState = node?.state ?? summary.state;
    const lastSeenAt = node?.lastSeenAt ?? summary.lastSeenAt;
    const condition: Condition = state !== 'approved' ? state : node?.up === true ? 'up' : lastSeenAt === null ? 'awaited' : 'down';
    return { summary, condition, lastSeenAt };
  });
}

/** Whether a machine waits for a person's decision. */
export const waits = ({ summary, condition }: ListedNode): boolean =>
  condition === 'pending' || (summary.claim !== undefined && summary.claim !== null && condition !== 'retired');

const FIRST: Record<Condition, number> = { pending: 0, down: 1, awaited: 2, up: 3, revoked: 4, retired: 5 };
const names = new Intl.Collator('en', { numeric: true });

export function arrangeNodes(nodes: readonly ListedNode[], text: string, withRetired: boolean): ListedNode[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return nodes
    .filter(({ summary, condition }) => {
      if (!withRetired && condition === 'retired') return false;
      const tags = Object.entries(summary.tags).map(([key, value]) => `${key}=${value}`);
      const all = [summary.name, summary.site, condition, summary.agentVersion ?? '', ...tags].join('\n').toLowerCase();
      return words.every((word) => all.includes(word));
    })
    .toSorted(
      (a, b) =>
        Number(waits(b)) - Number(waits(a)) || FIRST[a.condition] - FIRST[b.condition] || names.compare(a.summary.name, b.summary.name),
    );
}

/** What may be done to a node in a state, as the collector allows it. */
export function stepsOf(state: NodeState): readonly ('approve' | 'rename' | 'token' | 'revoke' | 'retire')[] {
  switch (state) {
    case 'pending':
      return ['approve', 'rename', 'retire'];
    case 'approved':
      return ['rename', 'token', 'revoke', 'retire'];
    case 'revoked':
      return ['approve', 'rename', 'token', 'retire'];
    case 'retired':
      return [];
  }
}
