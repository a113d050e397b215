/**
 * What comes first for a replica that does not catch up: the slot that keeps WAL for it is lost, the disk of the server that
 * keeps it is full, or its own disk is, of WAL that it receives faster than it replays it. Nothing is said of one that keeps up.
 */
import { averageAt, type Catchup } from './catchup.ts';
import type { Member, MemberFigures, SlotFigures, TrackReader } from './model.ts';
import { KEPT_BYTES_MAX, RATE_MIN } from './slots.ts';
import { spanText } from './words.ts';

export interface Danger {
  /** Until the slot that it streams from is lost, at the present rate. */
  readonly slotLostInMs: number | undefined;
  /** Until WAL that is kept for it, or by it, fills a disk. */
  readonly diskFullInMs: number | undefined;
  /** What comes of it, each in a clause. */
  readonly clauses: readonly string[];
}

const NONE: Danger = { slotLostInMs: undefined, diskFullInMs: undefined, clauses: [] };

/** `slots`: those of the upstream that a member receives from. Times in milliseconds. */
export function dangerOf(
  member: Member,
  upstreamName: string | undefined,
  slots: readonly SlotFigures[],
  { tracks, replayBytes }: { readonly tracks: TrackReader; readonly replayBytes: number | undefined },
): Danger {
  const slot = slots.filter(({ usedBy }) => usedBy === member.id).toSorted((a, b) => soonest(a) - soonest(b))[0];
  const ownDiskMs = ownDiskFullIn(member, tracks, replayBytes);
  if (slot === undefined && ownDiskMs === undefined) return NONE;
  const { lostInMs, diskFullInMs } = slot ?? {};
  const name = slot === undefined ? '' : `slot ${slot.name} on ${upstreamName ?? 'its upstream'}`;
  const clauses: string[] = [];
  if (lostInMs === 0) clauses.push(`the next checkpoint may remove the WAL that ${name} keeps for it`);
  else if (lostInMs !== undefined) clauses.push(`${name}, which keeps WAL for it, is lost in about ${spanText(lostInMs)}`);
  if (diskFullInMs !== undefined) clauses.push(`the WAL that ${name} keeps for it fills the disk there in about ${spanText(diskFullInMs)}`);
  if (ownDiskMs !== undefined) clauses.push(`the WAL that it receives and does not replay fills its disk in about ${spanText(ownDiskMs)}`);
  return { slotLostInMs: lostInMs, diskFullInMs: least(diskFullInMs, ownDiskMs), clauses };
}

/** The rest of a state's sentence: that it never catches up, and what that comes to. Begins with a blank, or is empty. */
export function dangerText({ clauses }: Danger, { catchup }: Catchup, state: MemberFigures['state']): string {
  const isNever = catchup === 'never' && (state === 'catching_up' || state === 'stalled');
  if (clauses.length === 0) return isNever ? ' At the present rates it never catches up.' : '';
  return ` At the present rates ${isNever ? 'it never catches up: ' : ''}${clauses.join(', and ')}.`;
}

const soonest = ({ lostInMs, diskFullInMs }: SlotFigures): number => Math.min(lostInMs ?? Infinity, diskFullInMs ?? Infinity);

const least = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);

/** A paused or slow replica goes on receiving: what it has not replayed stays in its own pg_wal. */
function ownDiskFullIn({ id, role, sighting }: Member, tracks: TrackReader, replayBytes: number | undefined): number | undefined {
  const free = sighting?.newest.wal?.diskFreeBytes ?? undefined;
  if (role !== 'replica' || sighting?.silent !== false || !sighting.newest.up) return undefined;
  if (free === undefined || replayBytes === undefined || replayBytes <= KEPT_BYTES_MAX) return undefined;
  const [received, replayed] = [tracks.head(id), tracks.replayed(id)];
  const until = Math.min(received?.newest?.at ?? -Infinity, replayed?.newest?.at ?? -Infinity);
  const [comes, goes] = [averageAt(received, until), averageAt(replayed, until)];
  if (comes === undefined || goes === undefined || comes - goes < RATE_MIN) return undefined;
  return (free / (comes - goes)) * 1_000;
}
