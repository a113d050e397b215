/**
 * What the collector works out about replication, as series like those of an agent: a block that is appended to the report
 * of the node they are about, so that rules judge them, charts have them and Prometheus scrapes them like any other. A label
 * never holds what changes by itself, so that a series lasts as long as what it is about.
 */
import {
  layoutHash,
  LIMITS,
  LOST_NODE,
  REPLICATION_STATES,
  WITHOUT_PRIMARY,
  type Labels,
  type Layout,
  type PostgresReplication,
  type SeriesDescription,
} from '@tidemark/protocol';
import type { ClusterFigures, ClusterTopology, Lag, Member, MemberFigures, SlotFigures } from './model.ts';

interface Gauge {
  readonly name: string;
  readonly unit: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
}

const declared: Gauge[] = [];
function gauge(name: string, unit: string, help: string, type: Gauge['type'] = 'gauge'): Gauge {
  const one = { name, unit, type, help };
  declared.push(one);
  return one;
}

const lagSeconds = gauge(
  'tidemark_replication_lag_seconds',
  'seconds',
  'The age of the oldest WAL of the primary that this replica has not replayed; 0 when it has replayed all there was. The likeliest value between the bounds.',
);
const lagLower = gauge('tidemark_replication_lag_seconds_lower', 'seconds', 'The lower bound of the lag: it is at least that.');
const lagUpper = gauge(
  'tidemark_replication_lag_seconds_upper',
  'seconds',
  'The upper bound of the lag; +Inf when nobody knows, as the primary has not been seen.',
);
/** The name that postgres_exporter's dashboards and rules ask for, and what they take it to mean: docs/decisions/0017. */
const lagBehindMaster = gauge(
  'pg_replication_lag_seconds',
  'seconds',
  'Replication lag behind master in seconds; 0 on a primary. The same as tidemark_replication_lag_seconds.',
);
const lagAlarm = gauge(
  'tidemark_replication_lag_alarm_seconds',
  'seconds',
  'What alarms are judged on: the lower bound of the lag, less the delay that is configured (recovery_min_apply_delay).',
);
const edgeLag = gauge(
  'tidemark_replication_edge_lag_seconds',
  'seconds',
  'The lag behind the server that this replica receives from; in a cascade less than that behind the primary.',
);
const lagBytes = gauge('tidemark_replication_lag_bytes', 'bytes', 'WAL of the primary that this replica has not replayed.');
const transportBytes = gauge(
  'tidemark_replication_transport_bytes',
  'bytes',
  'WAL that the server upstream has and this replica has not received.',
);
const replayBytes = gauge('tidemark_replication_replay_bytes', 'bytes', 'WAL that this replica has received and not replayed.');
const catchup = gauge(
  'tidemark_replication_catchup_seconds',
  'seconds',
  'Until this replica has caught up at the present rates; 0 when it has, +Inf when it never will.',
);
const state = gauge('tidemark_replication_state', '', '1 for the state the server is in, 0 for the others.');
const slotHeld = gauge('tidemark_replication_slot_held_seconds', 'seconds', 'The age of the oldest WAL that the slot keeps (lower bound).');
const slotRetained = gauge('tidemark_replication_slot_retained_bytes', 'bytes', 'WAL that the slot keeps.');
const slotLag = gauge(
  'tidemark_replication_slot_lag_seconds',
  'seconds',
  "The age of the oldest WAL that the slot's consumer has not confirmed (lower bound); logical slots.",
);
const slotLostIn = gauge(
  'tidemark_replication_slot_lost_in_seconds',
  'seconds',
  'Until the slot is lost at the present rate of writing; absent when it is in no danger.',
);
const slotDiskFullIn = gauge(
  'tidemark_replication_slot_disk_full_in_seconds',
  'seconds',
  'Until the WAL that the slot keeps fills the disk, at the present rate; absent when it is in no danger.',
);
const slotSafe = gauge(
  'pg_replication_slot_safe_wal_size_bytes',
  'bytes',
  'WAL that can be written before the slot is in danger of being lost; absent where nothing limits it.',
);
const slotState = gauge('tidemark_replication_slot_state', '', '1 for the wal_status the slot is in, 0 for the others.');
const slotInactive = gauge(
  'tidemark_replication_slot_inactive',
  '',
  '1 when nobody uses the slot. Temporary and synchronised slots are left out.',
);
const syncMissing = gauge(
  'tidemark_replication_sync_standbys_missing',
  '',
  'Synchronous standbys that commits need and that are not there: with the last one missing, commits wait.',
);
const syncWaiting = gauge(
  'tidemark_replication_sync_waiting',
  '',
  'Sessions whose commit waits while a synchronous standby that it needs is not there.',
);
export const SPLIT_BRAIN = 'tidemark_replication_split_brain';
const splitBrain = gauge(SPLIT_BRAIN, '', '1 on the server that should not be a primary while another one of the same cluster is.');
const withoutPrimary = gauge(
  WITHOUT_PRIMARY,
  'seconds',
  'For how long nothing has shown that the cluster has a primary; 0 while it has one. Told by one of its replicas.',
);
const rpo = gauge(
  'tidemark_replication_rpo_bytes',
  'bytes',
  'What would be lost if the primary were lost now: WAL of it that no replica has flushed.',
);
const changes = gauge(
  'tidemark_replication_topology_changes_total',
  '',
  'Changes of who is primary, told by one server of the cluster at each site.',
  'counter',
);

const leftOut = gauge(
  'tidemark_replication_left_out',
  '',
  'Replicas that no agent watches, and slots, beyond the number of which a server gets series; the replication page has them all.',
);
const events = gauge(
  'tidemark_replication_events_total',
  '',
  'Replication events of the cluster since it is known, by kind. Told by its primary, or by the first of its servers.',
  'counter',
);

/** Series of which the look that they come from has a sentence to say. */
export const EXPLAINED: ReadonlySet<string> = new Set(
  [
    lagSeconds,
    lagBehindMaster,
    lagLower,
    lagUpper,
    lagAlarm,
    edgeLag,
    lagBytes,
    transportBytes,
    replayBytes,
    catchup,
    state,
    splitBrain,
    withoutPrimary,
  ].map(({ name }) => name),
);

/** For the reference page and the rules' check. */
export const REPLICATION_SERIES: readonly Gauge[] = declared;

/** More of one server would cost each report more than they are worth. */
const REPLICAS_MAX = 100;
const SLOTS_MAX = 200;
/** What copies a table for a subscription: it comes, has a name of its own, and goes. */
const TABLE_COPY = /^pg_\d+_sync_\d+_\d+$/;

const WAL_STATUSES = ['reserved', 'extended', 'unreserved', 'lost'] as const;

/** What only the whole cluster knows, to be told by one of its servers. */
export interface ClusterDuty {
  readonly isIntruder: boolean;
  /** Losses of a primary that this server tells of: the node that was lost, and for how long, 0 once it is over. */
  readonly losses: readonly { readonly lostNode: string; readonly ms: number }[];
  readonly rpoBytes: number | undefined;
  readonly topologyChanges: number;
  /** How often each kind of event happened; undefined: another server tells. */
  readonly events: ReadonlyMap<string, number> | undefined;
}

/** A block in the making: series and values position for position. */
class Block {
  readonly series: SeriesDescription[] = [];
  readonly values: (number | null)[] = [];
  readonly #server: string;
  readonly #cluster: string;

  constructor(server: string, cluster: string) {
    this.#server = server;
    this.#cluster = cluster;
  }

  add(metric: Gauge, value: number | null | undefined, labels: Labels = []): void {
    this.addOfCluster(metric, value, [['server', this.#server], ...labels]);
  }

  addOfCluster({ name, unit, type, help }: Gauge, value: number | null | undefined, labels: Labels): void {
    const bounded = labels.map(([label, text]): [string, string] => [label, text.slice(0, LIMITS.labelValueChars).toWellFormed()]);
    this.series.push({ name, unit, type, help, labels: [['cluster', this.#cluster], ...bounded] });
    this.values.push(value ?? null);
  }
}

const seconds = (ms: number | undefined): number | null => (ms === undefined ? null : ms / 1_000);

function addLag(block: Block, figures: MemberFigures, labels: Labels): void {
  const { lag, excess } = figures;
  block.add(lagSeconds, seconds(lag?.value), labels);
  block.add(lagLower, seconds(lag?.lower), labels);
  block.add(lagUpper, seconds(lag?.upper), labels);
  block.add(lagAlarm, seconds(excess?.lower), labels);
  block.add(lagBytes, lag?.bytes, labels);
  block.add(edgeLag, seconds(figures.edgeLag?.value), labels);
  block.add(transportBytes, figures.transportBytes, labels);
  block.add(replayBytes, figures.replayBytes, labels);
  block.add(catchup, figures.catchup === 'never' ? Number.POSITIVE_INFINITY : seconds(figures.catchupMs), labels);
}

function addState(block: Block, figures: MemberFigures, labels: Labels): void {
  for (const one of REPLICATION_STATES) block.add(state, figures.state === one ? 1 : 0, [...labels, ['state', one]]);
}

type SeenSlot = PostgresReplication['slots'][number];

function addSlot(block: Block, slot: SlotFigures, seen: SeenSlot): void {
  const labels: Labels = [['slot_name', slot.name]];
  const lower = (lag: Lag | { lower: number } | undefined): number | null => seconds(lag?.lower);
  block.add(slotRetained, slot.retainedBytes, labels);
  block.add(slotHeld, lower(slot.held), labels);
  block.add(slotLag, lower(slot.lag), labels);
  block.add(slotLostIn, seconds(slot.lostInMs), labels);
  block.add(slotDiskFullIn, seconds(slot.diskFullInMs), labels);
  if (seen.synced !== true) block.add(slotInactive, seen.active === null ? null : seen.active ? 0 : 1, labels);
  if (seen.safeWalBytes !== null && seen.safeWalBytes !== undefined)
    block.add(slotSafe, Number(seen.safeWalBytes), [...labels, ['slot_type', seen.type ?? '']]);
  for (const status of WAL_STATUSES)
    block.add(slotState, seen.walStatus === null ? null : seen.walStatus === status ? 1 : 0, [...labels, ['wal_status', status]]);
}

/** By id, what the replicas that only this server knows are called in series: no two the same. */
export function replicaLabels({ members }: ClusterTopology, upstream: string): Map<string, string> {
  const labels = new Map<string, string>();
  const used = new Set<string>();
  for (const { id, name, sighting, upstream: of } of members) {
    if (sighting !== undefined || of?.id !== upstream || TABLE_COPY.test(name)) continue;
    const plain = name.slice(0, LIMITS.labelValueChars - 8);
    let label = plain;
    for (let n = 2; used.has(label); n += 1) label = `${plain} #${n}`;
    used.add(label);
    labels.set(id, label);
  }
  return labels;
}

/** Returns how many were left out. */
function addUnwatched(block: Block, member: Member, cluster: ClusterTopology, figures: ClusterFigures): number {
  const labels = replicaLabels(cluster, member.id);
  let count = 0;
  for (const { id, role } of cluster.members) {
    const replica = labels.get(id);
    const known = figures.members.get(id);
    if (replica === undefined || known === undefined || ++count > REPLICAS_MAX) continue;
    if (role === 'replica') addLag(block, known, [['replica', replica]]);
    addState(block, known, [['replica', replica]]);
  }
  return Math.max(0, count - REPLICAS_MAX);
}

/** Returns how many were left out. */
function addSlots(block: Block, member: Member, figures: ClusterFigures): number {
  const slots = new Map(member.sighting!.document?.slots.map((slot) => [slot.name, slot]));
  let count = 0;
  for (const slot of figures.slots) {
    const seen = slot.instanceId === member.id ? slots.get(slot.name) : undefined;
    if (seen === undefined || seen.temporary === true || TABLE_COPY.test(seen.name) || ++count > SLOTS_MAX) continue;
    slots.delete(slot.name);
    addSlot(block, slot, seen);
  }
  return Math.max(0, count - SLOTS_MAX);
}

/** Writes the blocks of instances, and keeps a layout for as long as the same series come. */
export class SeriesWriter {
  readonly #layouts = new Map<string, { signature: string; layout: Layout }>();

  /** Everything about one watched member: itself, the replicas that only it knows, its slots. */
  blockOf(
    member: Member,
    { cluster, figures, duty }: { cluster: ClusterTopology; figures: ClusterFigures; duty: ClusterDuty },
  ): { layout: Layout; values: readonly (number | null)[] } {
    const { instance } = member.sighting!;
    const block = new Block(instance, cluster.systemIdentifier);
    const own = figures.members.get(member.id);
    if (own !== undefined) {
      if (member.role === 'replica') addLag(block, own, []);
      if (member.role === 'replica') block.add(lagBehindMaster, seconds(own.lag?.value));
      else if (member.role === 'primary') block.add(lagBehindMaster, member.roleIsCurrent ? 0 : null);
      addState(block, own, []);
    }
    const left = addUnwatched(block, member, cluster, figures) + addSlots(block, member, figures);
    if (left > 0) block.add(leftOut, left);
    if (figures.synchronous !== undefined && cluster.primary.id === member.id) {
      const { required, present, waiting } = figures.synchronous;
      const missing = Math.max(0, required - present);
      block.add(syncMissing, missing);
      // With all of them there a commit waits for a moment as a matter of course.
      block.add(syncWaiting, missing > 0 ? waiting : 0);
    }
    block.add(splitBrain, duty.isIntruder ? 1 : 0);
    if (duty.rpoBytes !== undefined) block.add(rpo, duty.rpoBytes);
    block.add(changes, duty.topologyChanges);
    for (const [kind, count] of duty.events ?? []) block.addOfCluster(events, count, [['kind', kind]]);
    // About another server than this one: it must not disagree with what that is called.
    for (const { lostNode, ms } of duty.losses) block.addOfCluster(withoutPrimary, ms / 1_000, [[LOST_NODE, lostNode]]);
    return { layout: this.#layoutOf(member.id, instance, block.series), values: block.values };
  }

  /** The lag there was, of a late report. Where it is not known how far the primary was by then, there is no likeliest value. */
  lateBlockOf(
    id: string,
    instance: string,
    systemIdentifier: string,
    figures: MemberFigures,
  ): { layout: Layout; values: readonly (number | null)[] } {
    const { lag, excess } = figures;
    const block = new Block(instance, systemIdentifier);
    block.add(lagSeconds, lag?.unknownSince === undefined ? seconds(lag?.value) : null);
    block.add(lagLower, seconds(lag?.lower));
    block.add(lagUpper, seconds(lag?.upper));
    block.add(lagAlarm, seconds(excess?.lower));
    block.add(lagBytes, lag?.bytes);
    return { layout: this.#layoutOf(`${id} late`, instance, block.series), values: block.values };
  }

  forget(id: string): void {
    this.#layouts.delete(id);
    this.#layouts.delete(`${id} late`);
  }

  #layoutOf(id: string, instance: string, series: SeriesDescription[]): Layout {
    const signature = series.map(({ name, labels }) => `${name}${JSON.stringify(labels)}`).join('\n');
    const known = this.#layouts.get(id);
    if (known?.signature === signature) return known.layout;
    const described = { probe: 'replication', instance, series };
    const layout = { hash: layoutHash(described), ...described };
    this.#layouts.set(id, { signature, layout });
    return layout;
  }
}
