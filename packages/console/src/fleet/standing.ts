/** What is said of a node in one word, and how much it wants attention: the order "what is wrong first" is made here. */
import type { AlertLevel, AlertView, OverviewNode } from '@tidemark/protocol';
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
  node.postgres.some((server) => server.up === false) || node.disk.mounts.some((mount) => mount.deviceError === true);

/** Many are mounted so on purpose, and no rule judges it: it is shown, and calls for nobody at night. */
const isLocked = (node: OverviewNode): boolean => node.disk.mounts.some((mount) => mount.readOnly === true);

const NONE: readonly AlertView[] = [];

/** The worst level of alerts that ask for somebody: those that were taken, silenced or are moot do not. Null without. */
export function callingLevel(alerts: readonly AlertView[]): AlertLevel | null {
  let level: AlertLevel | null = null;
  for (const alert of alerts) {
    if (alert.acknowledged !== null || alert.silencedBy !== null || alert.suppressedBy !== null) continue;
    if (alert.level === 'critical') return 'critical';
    level = 'warning';
  }
  return level;
}

/** The places in the order "what is wrong first". 0 wants attention most. */
export const RANKS = {
  down: 0,
  calling: 1,
  broken: 2,
  critical: 3,
  /** A warning that asks for somebody, before one that is only read off the figures. */
  warned: 4,
  warning: 5,
  pending: 6,
  awaited: 7,
  up: 8,
  revoked: 9,
  retired: 10,
} as const;

/** How much a node wants attention, as one of `RANKS`. `alerts` are its open ones. */
export function urgency(node: OverviewNode, alerts: readonly AlertView[] = NONE): number {
  const condition = conditionOf(node);
  if (condition !== 'up') return RANKS[condition];
  const calling = callingLevel(alerts);
  if (calling === 'critical') return RANKS.calling;
  if (isBroken(node)) return RANKS.broken;
  const { disk, memory, behind } = bounds.value;
  const levels = [levelOf(node.disk.usageRatio, disk), levelOf(node.memory.usageRatio, memory)];
  if (levels.includes('critical') || levelOf(bytesBehind(node), behind) !== 'normal') return RANKS.critical;
  if (calling === 'warning') return RANKS.warned;
  return levels.includes('warning') || isLocked(node) ? RANKS.warning : RANKS.up;
}
