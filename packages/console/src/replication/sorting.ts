/** The order of the tables of replication: what is not known comes last, whichever way it is sorted. Pure. */
import type { ReplicationCluster, ReplicationInstance, ReplicationSlot } from '@tidemark/protocol';
import type { Bounds } from '../fleet/bounds.ts';
import { byName } from './picture.ts';
import { MOODS, SLOT_ORDER, slotWords, type Mood } from './words.ts';

export interface Sorting<Key extends string> {
  key: Key;
  descending: boolean;
}

export interface InstanceRow {
  instance: ReplicationInstance;
  cluster: ReplicationCluster;
}
export interface SlotRow {
  slot: ReplicationSlot;
  cluster: ReplicationCluster;
}

export type InstanceKey =
  | 'name'
  | 'cluster'
  | 'role'
  | 'state'
  | 'upstream'
  | 'lag'
  | 'transport'
  | 'replay'
  | 'catchup'
  | 'timeline'
  | 'wal'
  | 'seen';
export type SlotKey = 'name' | 'instance' | 'status' | 'retained' | 'held' | 'lost';

type Sortable = string | number | null;

const MOOD_ORDER: Record<Mood, number> = { critical: 0, warning: 1, unknown: 2, busy: 3, good: 4 };

const INSTANCE_VALUES: Record<InstanceKey, (row: InstanceRow) => Sortable> = {
  name: ({ instance }) => instance.name,
  cluster: ({ cluster }) => cluster.name,
  role: ({ instance }) => instance.role,
  state: ({ instance }) => MOOD_ORDER[MOODS[instance.state]],
  upstream: ({ instance }) => instance.upstream,
  lag: ({ instance: { lag } }) => (lag === null ? null : Math.max(lag.seconds, lag.lowerSeconds)),
  transport: ({ instance }) => instance.transportBytes,
  replay: ({ instance }) => instance.replayBytes,
  catchup: ({ instance }) => (instance.catchup === 'never' ? Infinity : instance.catchupSeconds),
  timeline: ({ instance }) => instance.timeline,
  wal: ({ instance }) => instance.walBytesPerSecond,
  seen: ({ instance }) => instance.seenAt,
};

const SLOT_VALUES: Record<SlotKey, (row: SlotRow, diskFull: Bounds) => Sortable> = {
  name: ({ slot }) => slot.name,
  instance: ({ slot }) => slot.instance,
  status: ({ slot }, diskFull) => SLOT_ORDER[slotWords(slot, diskFull).mood],
  retained: ({ slot }) => slot.retainedBytes,
  held: ({ slot }) => slot.heldSeconds,
  lost: ({ slot }) => slot.lostInSeconds ?? slot.diskFullInSeconds,
};

function compare(a: Sortable, b: Sortable, descending: boolean): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  if (a === b) return 0;
  const order = typeof a === 'string' || typeof b === 'string' ? byName({ name: String(a) }, { name: String(b) }) : a - b;
  return descending ? -order : order;
}

/** Sorted; equal ones by name. */
export function sortedInstances(rows: readonly InstanceRow[], { key, descending }: Sorting<InstanceKey>): InstanceRow[] {
  const read = INSTANCE_VALUES[key];
  return rows.toSorted((a, b) => compare(read(a), read(b), descending) || byName(a.cluster, b.cluster) || byName(a.instance, b.instance));
}

/** Sorted; equal ones by instance and name. */
export function sortedSlots(rows: readonly SlotRow[], { key, descending }: Sorting<SlotKey>, diskFull: Bounds): SlotRow[] {
  const read = (row: SlotRow): Sortable => SLOT_VALUES[key](row, diskFull);
  return rows.toSorted(
    (a, b) =>
      compare(read(a), read(b), descending) || byName({ name: a.slot.instance }, { name: b.slot.instance }) || byName(a.slot, b.slot),
  );
}
