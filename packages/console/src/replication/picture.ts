/**
 * From a cluster to what its picture shows: who stands in which tree, whom nobody watches, what stands apart. An upstream
 * that is not known is drawn as an empty place: a replica is never shown hanging on an instance that it does not follow. Pure.
 */
import type { ReplicationCluster, ReplicationInstance, ReplicationSlot } from '@tidemark/protocol';
import type { Bounds } from '../fleet/bounds.ts';
import { layoutOf, type Layout, type Measures, type Part, type Placeable } from './layout.ts';
import { SLOT_ORDER, formatMinute, slotWords, type SlotWords } from './words.ts';

export const MEASURES: Measures = { boxWidth: 190, gapX: 176, gapY: 16, captionHeight: 26, partGap: 22 };
const PAD_PX = 20;
const NAME_PX = 20;
const LINE_PX = 18;
const SLOT_PX = 19;
const SLOTS_GAP_PX = 9;
const GHOST_PX = 44;
/** More slots than this are counted, not drawn. */
const SLOTS_MOST = 3;

/** A place whose instance nobody knows. */
export interface Ghost {
  kind: 'ghost';
  id: string;
  title: string;
  note: string;
}

export interface DrawnSlot extends SlotWords {
  slot: ReplicationSlot;
}

export interface Member {
  kind: 'member';
  id: string;
  instance: ReplicationInstance;
  slots: DrawnSlot[];
  moreSlots: number;
  /** Timeline, when it is not the primary's. */
  timeline: number | null;
  /** Of a cascade: behind the primary of its tree too, not only behind its own upstream. */
  isCascade: boolean;
}

export interface Picture {
  places: Map<string, Member | Ghost>;
  parts: Part[];
  layout: Layout;
}

/** Slots of one instance, what is wrong first. */
function slotsInOrder(slots: readonly ReplicationSlot[], diskFull: Bounds): DrawnSlot[] {
  return slots
    .map((slot) => ({ slot, ...slotWords(slot, diskFull) }))
    .toSorted(
      (a, b) =>
        SLOT_ORDER[a.mood] - SLOT_ORDER[b.mood] ||
        (b.slot.retainedBytes ?? 0) - (a.slot.retainedBytes ?? 0) ||
        a.slot.name.localeCompare(b.slot.name),
    );
}

/** A slot's words in the picture need a line of their own. */
const slotLines = ({ danger }: DrawnSlot): number => (danger === null ? 1 : 2);

function heightOf(member: Member): number {
  const lines = 2 + (member.isCascade ? 1 : 0);
  const slots = member.slots.reduce((sum, slot) => sum + slotLines(slot), 0) + (member.moreSlots > 0 ? 1 : 0);
  return PAD_PX + NAME_PX + lines * LINE_PX + (slots === 0 ? 0 : SLOTS_GAP_PX + slots * SLOT_PX);
}

function ghostOf(instance: ReplicationInstance): Ghost | null {
  if (instance.role === 'primary' || instance.state === 'diverged') return null;
  if (instance.state === 'archive_recovery' && instance.upstreamAddress === null)
    return { kind: 'ghost', id: 'ghost archive', title: 'WAL archive', note: 'restore_command' };
  if (instance.upstreamAddress !== null)
    return { kind: 'ghost', id: `ghost ${instance.upstreamAddress}`, title: instance.upstreamAddress, note: 'nobody known is there' };
  if (instance.upstream !== null) return { kind: 'ghost', id: `ghost ${instance.upstream}`, title: instance.upstream, note: 'not watched' };
  return { kind: 'ghost', id: 'ghost', title: 'Upstream not known', note: 'nothing says whom it follows' };
}

/** Who follows whom, without those who do not belong to the history of the others any more. */
function parentOf(instance: ReplicationInstance, known: ReadonlySet<string>): string | null {
  if (instance.role === 'primary' || instance.state === 'diverged') return null;
  return instance.upstreamId !== null && known.has(instance.upstreamId) ? instance.upstreamId : null;
}

function rootOf(id: string, parents: ReadonlyMap<string, string | null>): string {
  const seen = new Set<string>();
  let at = id;
  for (;;) {
    const up = parents.get(at) ?? null;
    if (up === null || seen.has(up)) return at;
    seen.add(at);
    at = up;
  }
}

/** Why a tree stands apart. */
function captionOf(root: ReplicationInstance | undefined, cluster: ReplicationCluster, nowMs: number): string | null {
  if (root === undefined) return null;
  const timeline = root.timeline === null ? '' : `, timeline ${root.timeline}`;
  if (root.state === 'diverged') return `Diverged${timeline}: no longer part of the others' history`;
  if (root.role !== 'primary') return null;
  const since = root.since === null ? '' : ` since ${formatMinute(root.since, nowMs)}`;
  if (root.state === 'down') return cluster.primary.id === root.id ? null : `Was a primary${timeline}; down${since}`;
  return cluster.splitBrain ? `Writes on its own${timeline}${since}` : null;
}

/** The picture of a cluster. `diskFull` as for `slotWords`. */
export function pictureOf(cluster: ReplicationCluster, nowMs: number, diskFull: Bounds): Picture {
  const known = new Set(cluster.instances.map(({ id }) => id));
  const byId = new Map(cluster.instances.map((instance) => [instance.id, instance]));
  const places = new Map<string, Member | Ghost>();
  const parents = new Map<string, string | null>();
  const ghosts = new Map<string, Ghost>();
  for (const instance of cluster.instances) {
    const parent = parentOf(instance, known);
    const ghost = parent === null ? ghostOf(instance) : null;
    if (ghost !== null) ghosts.set(ghost.id, ghost);
    parents.set(instance.id, parent ?? ghost?.id ?? null);
  }
  for (const ghost of ghosts.values()) places.set(ghost.id, ghost);
  const main = cluster.primary.id === null ? undefined : byId.get(cluster.primary.id);
  for (const instance of cluster.instances) {
    const slots = slotsInOrder(
      cluster.slots.filter(({ instanceId }) => instanceId === instance.id),
      diskFull,
    );
    const shown = slots.length > SLOTS_MOST + 1 ? slots.slice(0, SLOTS_MOST) : slots;
    const parent = parents.get(instance.id) ?? null;
    const root = byId.get(rootOf(instance.id, parents));
    const timeline = (root?.role === 'primary' ? root.timeline : null) ?? main?.timeline ?? null;
    places.set(instance.id, {
      kind: 'member',
      id: instance.id,
      instance,
      slots: shown,
      moreSlots: slots.length - shown.length,
      timeline: instance.timeline !== null && instance.timeline !== timeline ? instance.timeline : null,
      isCascade: parent !== null && byId.get(parent)?.role !== 'primary' && !ghosts.has(parent) && instance.lag !== null,
    });
  }
  const trees = new Map<string, Placeable[]>();
  const inOrder = [...ghosts.keys(), ...cluster.instances.toSorted(byName).map(({ id }) => id)];
  for (const id of inOrder) {
    const root = rootOf(id, parents);
    const place = places.get(id);
    const height = place?.kind === 'member' ? heightOf(place) : GHOST_PX;
    trees.set(root, [...(trees.get(root) ?? []), { id, parent: parents.get(id) ?? null, height }]);
  }
  const rank = (root: string): number => {
    const instance = byId.get(root);
    if (root === cluster.primary.id) return 0;
    if (instance === undefined) return 2;
    return instance.state === 'diverged' ? 4 : instance.role === 'primary' && instance.state !== 'down' ? 1 : 3;
  };
  const parts = [...trees]
    .toSorted(([a], [b]) => rank(a) - rank(b))
    .map(([root, items]): Part => ({ caption: captionOf(byId.get(root), cluster, nowMs), items }));
  return { places, parts, layout: layoutOf(parts, MEASURES) };
}

/** By name as people count: db-2 before db-10. */
export function byName(a: { name: string }, b: { name: string }): number {
  return a.name.localeCompare(b.name, 'en', { numeric: true });
}
