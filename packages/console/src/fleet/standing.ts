/** What is said of a node in one word, and how much it wants attention: the order "what is wrong first" is made here. */
import type { OverviewNode } from '@tidemark/protocol';
import { bounds, levelOf } from './bounds.ts';

/** `awaited`: approved, but no report has come yet. */
export type Condition = 'up' | 'down' | 'awaited' | 'pending' | 'revoked' | 'retired';

export const CONDITION_WORDS: Record<Condition, string> = {
  up: 'Up',
  down: 'Down',
  awaited: 'Awaited',
  pending: 'Pending',
  revoked: 'Revoked',
  retired: 'Retired',
};

/** One word for a node's state in the directory and its silence taken together. */
export function conditionOf(node: OverviewNode): Condition {
  if (node.state !== 'approved') return node.state;
  if (node.up) return 'up';
  return node.lastSeenAt === null ? 'awaited' : 'down';
}

/** The furthest any replica of this node's servers is behind, in bytes; null when nobody says. */
export function bytesBehind(node: OverviewNode): number | null {
  let most: number | null = null;
  for (const server of node.postgres)
    for (const replica of server.replicas)
      if (replica.bytesBehind !== null && (most === null || replica.bytesBehind > most)) most = replica.bytesBehind;
  return most;
}

/** How full the fuller of disk and memory is. CPU is left out: it jumps, and an order that jumps cannot be read. */
export function fullness(node: OverviewNode): number {
  return Math.max(node.disk.usageRatio ?? 0, node.memory.usageRatio ?? 0);
}

const isBroken = (node: OverviewNode): boolean =>
  node.postgres.some((server) => server.up === false) ||
  node.disk.mounts.some((mount) => mount.deviceError === true || mount.readOnly === true);

/** 0 wants attention most. */
export function urgency(node: OverviewNode): number {
  switch (conditionOf(node)) {
    case 'down':
      return 0;
    case 'pending':
      return 4;
    case 'awaited':
      return 5;
    case 'revoked':
      return 7;
    case 'retired':
      return 8;
    case 'up': {
      if (isBroken(node)) return 1;
      const { disk, memory, behind } = bounds.value;
      const levels = [levelOf(node.disk.usageRatio, disk), levelOf(node.memory.usageRatio, memory)];
      if (levels.includes('critical') || levelOf(bytesBehind(node), behind) !== 'normal') return 2;
      return levels.includes('warning') ? 3 : 6;
    }
  }
}
