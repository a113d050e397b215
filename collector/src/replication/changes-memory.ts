/**
 * What is remembered of a cluster between two looks, so that each thing that happens to it is said once. Plain data: null
 * where nothing is known, LSNs as text, no order of keys that means anything; JSON and back changes nothing. Bounded.
 */
import type { ReplicationEventKind } from '@tidemark/protocol';
import type { ChangeMemory } from './model.ts';

/** How a primary ended, as far as its own agent saw it. */
export type Ending = 'in_order' | 'crashed';

export interface PrimaryNote {
  /** Null: nobody watches it. */
  readonly id: string | null;
  readonly name: string;
  readonly timeline: number | null;
  /** The furthest it was seen to have written. */
  readonly lsn: string | null;
  /** When anything last showed that it is there. */
  readonly seenAt: number;
  readonly ending: Ending | null;
}

export interface LossNote {
  readonly key: string;
  readonly at: number;
  readonly lostId: string | null;
  readonly lostName: string;
  readonly saidAt: number;
  readonly rpoBytes: number | null;
  readonly how: string;
}

export interface PromotionNote {
  readonly key: string;
  readonly id: string;
  readonly name: string;
  /** First seen as a primary. */
  readonly at: number;
  timeline: number | null;
  /** Where its recovery ended; `receivedLsn` is how far it was seen to be before. */
  forkLsn: string | null;
  readonly receivedLsn: string | null;
  /** Who was primary until then. */
  readonly former: PrimaryNote | null;
  formerLsn: string | null;
  /** The cluster had been said to be without a primary. */
  readonly wasLost: boolean;
  ending: Ending | null;
  kind: Extract<ReplicationEventKind, 'promotion' | 'switchover' | 'failover'>;
  /** Both were seen to be primaries: that is told by other events. */
  wasDisputed: boolean;
  /** The old primary was seen as a replica afterwards. */
  hasFollowed: boolean;
  /** The collector did not look for a part of the time between the two. */
  readonly wasUnwatched: boolean;
  saidUnexpected: boolean;
  saidRejoined: boolean;
  /** Its text and details as they were last said. */
  said: string;
}

export interface SplitSide {
  readonly name: string;
  lsn: string | null;
  /** When it was last seen as a primary. */
  primaryAt: number;
}

export interface SplitNote {
  readonly key: string;
  readonly first: string;
  readonly since: number;
  forkLsn: string | null;
  readonly sides: Record<string, SplitSide>;
  said: string;
  /** When topology last held it to be one. */
  heldAt: number;
}

export interface MemberNote {
  name: string;
  watched: boolean;
  role: 'primary' | 'replica' | 'subscriber' | 'unknown';
  timeline: number | null;
  /** As a replica: how far it was seen to be. */
  lsn: string | null;
  upstream: string | null;
  upstreamName: string | null;
  /** As its upstream calls it: an agent may come to watch it. */
  calledThere: string | null;
  /** Last seen up or connected. */
  presentAt: number;
  /** Of an uninterrupted presence. */
  presentSince: number;
  told: 'present' | 'gone' | null;
  goneToldAt: number | null;
  /** Last seen before it was said to be gone. */
  presentAtGone: number;
  isAway: boolean;
  flaps: number;
  /** Too many strangers come and go here: it is not spoken of. */
  isQuiet: boolean;
  diverged: { readonly key: string; readonly at: number } | null;
}

export interface SlotNote {
  readonly instance: string;
  readonly name: string;
  /** First seen inactive, or since when the server says that it is. */
  inactiveAt: number | null;
  inactiveSaid: string | null;
  inactiveSaidAt: number | null;
  wal: 'kept' | 'unreserved' | 'lost';
  unreservedSaidAt: number | null;
}

export interface SyncNote {
  readonly key: string;
  readonly primary: string;
  readonly primaryName: string;
  readonly since: number;
  missingSaid: boolean;
  waitingAt: number | null;
  waitingSaid: boolean;
  waitingMax: number;
}

export interface ArchiverNote {
  readonly since: number;
  key: string | null;
}

export interface Memory {
  readonly version: 1;
  readonly startedAt: number;
  lookedAt: number;
  /** Since when looks follow each other: what was silent before may not have been heard. */
  awakeAt: number;
  primary: PrimaryNote | null;
  loss: LossNote | null;
  promotions: PromotionNote[];
  split: SplitNote | null;
  /** When the last one was said to be over. */
  splitOverAt: number | null;
  /** When each was said. */
  clones: Record<string, number>;
  members: Record<string, MemberNote>;
  /** By instance and name. */
  slots: Record<string, SlotNote>;
  /** Instances whose slots are known. */
  slotsOf: Record<string, true>;
  sync: SyncNote | null;
  archivers: Record<string, ArchiverNote>;
  /** Unwatched replicas that were spoken of, in a window. */
  strangers: { readonly since: number; said: number };
}

const VERSION = 1;
/** Looks come every few seconds; a longer pause is the collector's own. */
const PAUSE_MS = 10_000;
const LIMITS = { promotions: 20, members: 500, clones: 200, slots: 1_000, others: 500 };

/** A copy to be written into; a fresh one when there is none, or one that another version left. */
export function memoryFrom(before: ChangeMemory | undefined, now: number): { memory: Memory; isFirst: boolean } {
  if (before === undefined || before['version'] !== VERSION) return { memory: fresh(now), isFirst: true };
  const memory = structuredClone(before) as unknown as Memory;
  if (now - memory.lookedAt > PAUSE_MS || now < memory.lookedAt - PAUSE_MS) memory.awakeAt = now;
  memory.lookedAt = now;
  return { memory, isFirst: false };
}

function fresh(now: number): Memory {
  return {
    version: VERSION,
    startedAt: now,
    lookedAt: now,
    awakeAt: now,
    primary: null,
    loss: null,
    promotions: [],
    split: null,
    splitOverAt: null,
    clones: {},
    members: {},
    slots: {},
    slotsOf: {},
    sync: null,
    archivers: {},
    strangers: { since: now, said: 0 },
  };
}

/** What goes on, as it was last said. */
export interface Ongoing {
  readonly loss: Pick<LossNote, 'lostId' | 'lostName' | 'at'> | null;
  /** `first`: the one that should not be a primary. */
  readonly split: Pick<SplitNote, 'first'> | null;
}

/** For those who tell the same as series: it outlives a restart, and is over when its event is. */
export function ongoingOf(before: ChangeMemory | undefined): Ongoing {
  if (before === undefined || before['version'] !== VERSION) return { loss: null, split: null };
  const { loss, split } = before as unknown as Memory;
  return { loss, split };
}

/** Drops what is too much, the oldest first. */
export function bounded(memory: Memory): ChangeMemory {
  memory.promotions = memory.promotions.slice(-LIMITS.promotions);
  keepNewest(memory.members, LIMITS.members, ({ presentAt }) => presentAt);
  keepNewest(memory.clones, LIMITS.clones, (at) => at);
  keepNewest(memory.slots, LIMITS.slots, ({ inactiveAt }) => -(inactiveAt ?? 0));
  keepNewest(memory.archivers, LIMITS.others, ({ since }) => since);
  return memory as unknown as ChangeMemory;
}

function keepNewest<T>(record: Record<string, T>, max: number, ageOf: (value: T) => number): void {
  const entries = Object.entries(record);
  if (entries.length <= max) return;
  // By name where the times are equal: the order of keys is nothing that JSON keeps.
  entries.sort(([a, one], [b, other]) => ageOf(other) - ageOf(one) || (a < b ? -1 : 1));
  for (const [key] of entries.slice(max)) delete record[key];
}
