/** One look at a cluster, as the parts that find changes need it: who is who, who can testify, how long is long enough, and what is said. */
import { bytesBetween, parseLsn, type PostgresReplication, type ReplicationEventKind } from '@tidemark/protocol';
import { oneLine } from '../notify/wording.ts';
import type { Memory } from './changes-memory.ts';
import type { ClusterFigures, ClusterTopology, InstanceId, Member, Position, ReplicationChange, Sighting } from './model.ts';

/** Positions that tracks know better than the newest documents: of an instance, the newest one that it wrote as a primary. */
export type HeadOf = (id: InstanceId) => Position | undefined;

export interface LookInput {
  readonly cluster: ClusterTopology;
  readonly figures: ClusterFigures;
  readonly now: number;
  readonly memory: Memory;
  readonly isFirst: boolean;
  readonly headOf: HeadOf;
}

export interface Said {
  readonly kind: ReplicationEventKind;
  readonly key: string;
  readonly at: number;
  readonly id: InstanceId | null | undefined;
  readonly name: string | null | undefined;
  readonly severity: ReplicationChange['severity'];
  readonly text: string;
  readonly details: ReplicationChange['details'];
}

const TEXT_MAX = 1_000;
const NAMES_SHOWN = 5;
const INTERVALS_MISSED = 2;

export class Look {
  readonly cluster: ClusterTopology;
  readonly figures: ClusterFigures;
  readonly now: number;
  readonly memory: Memory;
  readonly isFirst: boolean;
  readonly headOf: HeadOf;
  readonly members: ReadonlyMap<InstanceId, Member>;
  readonly clones: ReadonlySet<InstanceId>;
  readonly changes: ReplicationChange[] = [];

  constructor({ cluster, figures, now, memory, isFirst, headOf }: LookInput) {
    this.cluster = cluster;
    this.figures = figures;
    this.now = now;
    this.memory = memory;
    this.isFirst = isFirst;
    this.headOf = headOf;
    this.members = new Map(cluster.members.map((member) => [member.id, member]));
    this.clones = new Set(cluster.clones);
  }

  say({ id, name, text, ...said }: Said): void {
    const change: ReplicationChange = {
      ...said,
      systemIdentifier: this.cluster.systemIdentifier,
      instanceId: id ?? undefined,
      instanceName: name ?? undefined,
      text: oneLine(text, TEXT_MAX),
    };
    const before = this.changes.findIndex(({ key }) => key === change.key);
    if (before === -1) this.changes.push(change);
    else this.changes[before] = change;
  }

  /** Takes back what was said at this look and is said better now. */
  unsay(keyPrefix: string): void {
    const index = this.changes.findIndex(({ key }) => key.startsWith(keyPrefix));
    if (index !== -1) this.changes.splice(index, 1);
  }

  /** Members that belong here and are watched. */
  get watched(): (Member & { sighting: Sighting })[] {
    return this.cluster.members.filter(
      (member): member is Member & { sighting: Sighting } => member.sighting !== undefined && !this.clones.has(member.id),
    );
  }

  /** Its agent says that it is a primary, and can be heard. */
  isPrimaryNow(member: Member | undefined): member is Member & { sighting: Sighting } {
    return (
      member?.sighting !== undefined &&
      member.role === 'primary' &&
      member.roleIsCurrent &&
      !member.sighting.silent &&
      member.sighting.newest.up
    );
  }

  /** Nothing was heard since `at` for so long that it is not for want of reports. */
  isLongSince(at: number, intervalMs: number, graceMs: number): boolean {
    return this.now - Math.max(at, this.memory.awakeAt) > INTERVALS_MISSED * intervalMs + graceMs;
  }

  /** Milliseconds since then, never below zero. */
  since(at: number): number {
    return Math.max(0, this.now - at);
  }
}

/** What its agent says now, when that can be heard and the server is up. */
export function documentNow(sighting: Sighting | undefined): PostgresReplication | undefined {
  return sighting === undefined || sighting.silent || !sighting.newest.up ? undefined : sighting.newest;
}

/** In an order that does not depend on how the memory was kept. */
export function byKey<T>(record: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** What a document shows that a server has written or received. */
export function positionOf(document: PostgresReplication | undefined): bigint | undefined {
  if (document === undefined) return undefined;
  if (document.role === 'primary') return parseLsn(document.flushLsn) ?? parseLsn(document.currentLsn);
  const { receiver } = document;
  return furthest(parseLsn(receiver?.receiveLsn), parseLsn(receiver?.replayLsn), parseLsn(receiver?.flushedLsn));
}

export function furthest(...positions: readonly (bigint | undefined)[]): bigint | undefined {
  let best: bigint | undefined;
  for (const position of positions) if (position !== undefined && (best === undefined || position > best)) best = position;
  return best;
}

/** Bytes from one position in text to the other; null when one is not known. */
export function bytesFrom(behind: string | null, ahead: string | null): number | null {
  const [from, to] = [parseLsn(behind), parseLsn(ahead)];
  return from === undefined || to === undefined ? null : bytesBetween(from, to);
}

/** "a, b and c". */
export function listed(names: readonly string[]): string {
  const shown = names.length <= NAMES_SHOWN ? [...names] : [...names.slice(0, NAMES_SHOWN - 1), `${names.length - NAMES_SHOWN + 1} more`];
  return shown.length < 2 ? (shown[0] ?? '') : `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)!}`;
}
