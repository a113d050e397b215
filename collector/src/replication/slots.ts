/**
 * Slots: what they keep and for how long already, how far a logical consumer is behind by the clock, and what comes first if
 * nobody takes it away: the slot is lost, or the disk is full. A slot whose consumer keeps up is in no danger.
 */
import { bytesBetween, parseLsn, type PostgresReplication } from '@tidemark/protocol';
import { averageAt, WINDOW_MS_COARSE } from './catchup.ts';
import { lagOf, type HeadClock } from './lag.ts';
import type { InstanceId, LagBounds, Member, SlotFigures, Track, TrackReader } from './model.ts';

/** Of a file of pg_wal, by default. */
export const SEGMENT_BYTES = 16 * 1024 * 1024;
/** What a consumer that keeps up may leave lying at a time: a few segments. */
export const KEPT_BYTES_MAX = 4 * SEGMENT_BYTES;
/** Older than this, what it keeps is no longer on its way. */
const HELD_MS_MAX = 60_000;
/** Less a second than this is an idle server's own. */
export const RATE_MIN = 1;

type Slot = PostgresReplication['slots'][number];

/** Every slot of a member that was seen when it was last up. `clock` is that of its own positions. */
export function slotsOf(member: Member, tracks: TrackReader, clock: HeadClock): SlotFigures[] {
  const { document, upAt } = member.sighting ?? {};
  if (document === undefined || upAt === undefined || document.slots.length === 0) return [];
  const head = tracks.head(member.id);
  const until = head?.newest?.at ?? upAt;
  const rate = averageAt(head, until, WINDOW_MS_COARSE);
  const recent = averageAt(head, until);
  return document.slots.map((slot) => {
    const usedBy = member.slotUsers.get(slot.name);
    const kept = keptOf(slot, head, clock, upAt);
    const growth = isSafe(slot) ? undefined : growthOf({ slot, usedBy, kept, rate, recent, tracks });
    return {
      instanceId: member.id,
      name: slot.name,
      usedBy,
      retainedBytes: kept.bytes,
      held: kept.held,
      lag: slot.confirmedFlushLsn === null ? undefined : lagOf(standingOf(slot.confirmedFlushLsn, upAt), clock),
      ...dangersOf(slot, document, growth),
    };
  });
}

interface Kept {
  readonly bytes: number | undefined;
  readonly held: LagBounds | undefined;
}

function standingOf(text: string, at: number) {
  const lsn = parseLsn(text);
  return lsn === undefined ? undefined : ({ at, low: lsn, high: lsn, errorMs: 0, by: 'agent' } as const);
}

function keptOf(slot: Slot, head: Track | undefined, clock: HeadClock, at: number): Kept {
  const restart = parseLsn(slot.restartLsn);
  if (restart === undefined || slot.walStatus === 'lost') return { bytes: undefined, held: undefined };
  const newest = head?.newest;
  const lag = lagOf({ at, low: restart, high: restart, errorMs: 0, by: 'agent' }, clock);
  return {
    bytes: newest === undefined ? undefined : bytesBetween(restart, newest.lsn),
    held: lag === undefined ? undefined : { value: lag.value, lower: lag.lower, upper: lag.upper },
  };
}

/** Lost is lost; a temporary one goes with its session, a synchronised one is moved by its primary's. */
const isSafe = ({ walStatus, temporary, synced, restartLsn }: Slot): boolean =>
  walStatus === 'lost' || temporary === true || synced === true || restartLsn === null;

/** By how much what it keeps grows, bytes a second; undefined while its consumer keeps up, or nobody knows. */
function growthOf(known: {
  readonly slot: Slot;
  readonly usedBy: InstanceId | undefined;
  readonly kept: Kept;
  readonly rate: number | undefined;
  readonly recent: number | undefined;
  readonly tracks: TrackReader;
}): number | undefined {
  const { slot, usedBy, kept, rate, recent, tracks } = known;
  if (rate === undefined || rate < RATE_MIN) return undefined;
  if (slot.active !== true) return rate;
  const isBehind = (kept.bytes ?? 0) > KEPT_BYTES_MAX && (kept.held?.lower ?? 0) > HELD_MS_MAX;
  if (!isBehind) return undefined;
  // Both over the same short time: one that has begun to catch up is in no danger.
  const consumer = usedBy === undefined ? undefined : tracks.head(usedBy);
  const taken = averageAt(consumer, consumer?.newest?.at ?? 0);
  const growth = (taken === undefined ? rate : (recent ?? rate)) - (taken ?? 0);
  return growth >= RATE_MIN ? growth : undefined;
}

function dangersOf(
  slot: Slot,
  { wal }: PostgresReplication,
  growth: number | undefined,
): { readonly lostInMs: number | undefined; readonly diskFullInMs: number | undefined } {
  const isLimited = slot.safeWalBytes !== null && slot.safeWalBytes !== undefined;
  const safe = isLimited ? Math.max(0, Number(slot.safeWalBytes)) : undefined;
  // Nothing is left to be written: the next checkpoint takes it, whatever the rate.
  if (slot.walStatus === 'unreserved')
    return { lostInMs: growth === undefined ? 0 : ((safe ?? 0) / growth) * 1_000, diskFullInMs: undefined };
  if (growth === undefined) return { lostInMs: undefined, diskFullInMs: undefined };
  const free = wal?.diskFreeBytes ?? undefined;
  return {
    lostInMs: safe === undefined ? undefined : (safe / growth) * 1_000,
    // Given up before the disk is full, it fills nothing.
    diskFullInMs: free === undefined || (safe !== undefined && safe < free) ? undefined : (free / growth) * 1_000,
  };
}
