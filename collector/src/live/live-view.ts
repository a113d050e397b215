/**
 * The live view: the newest value of every series of every node, and when each node was last heard.
 * Nothing older ever replaces something newer, whatever the order of arrival; silence is judged by
 * arrival on a clock that nobody sets, and never for a time in which the collector itself was not listening.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Observation } from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { NodeRecord } from '../fleet/node.ts';
import type { AcceptedReport, BlockLayout, ReportConsumer } from '../stream/stream.ts';

const GRACE_MS_MIN = 30_000;
/** What a report may need to be collected and to travel, on top of the intervals that may be missed. */
const TRAVEL_MS = 5_000;
const INTERVALS_MISSED_MAX = 3;
/** For a node that has not said yet how often it reports. */
const INTERVAL_SECONDS_DEFAULT = 15;
/** A block that came once has a slow probe (the slowest run once a day), or ended at once: it stays this long. */
const SEEN_ONCE_KEEP_MS = 25 * 3_600_000;

/** `unknown`: not heard since the collector began to listen, which was too short a time ago to call it silent. */
export type Liveness = 'up' | 'silent' | 'unknown';

/** Which report something came from: what "newer" is decided by. */
interface Stamp {
  /** When it was measured, in milliseconds since 1970. */
  at: number;
  bootId: string;
  sequence: number;
}

/** Something that reports bring again and again, at the report's pace or at a slower one of its own. */
interface Recurring extends Stamp {
  /** Milliseconds between its last two appearances in full reports of one boot, as far as seen. */
  periodMs: number | undefined;
  /** When it last arrived, on the collector's monotonic clock. */
  seenMs: number;
  /** The pass that touched it last, so that two blocks of one name in a report stay two. */
  mark: number;
}

export interface LiveBlock extends Recurring {
  readonly owner: LiveNode;
  layout: BlockLayout;
  /** Position for position as the layout says. */
  values: readonly (number | null)[];
}

export interface LiveObservation extends Recurring {
  observation: Observation;
  /** When the document became what it is, in milliseconds since 1970. */
  since: number;
  /** Known from the store alone: nothing was heard of it since the collector's start. */
  restored: boolean;
}

export interface LiveNode {
  record: NodeRecord;
  blocks: LiveBlock[];
  observations: LiveObservation[];
  /** Counts the changes to which layouts the node has, for those who keep something per layout. */
  layoutVersion: number;
  /** Arrival of the last report on the collector's monotonic clock; undefined when not heard since its start. */
  heardMs: number | undefined;
  /** Wall milliseconds since 1970 of the last arrival. */
  lastSeenAt: number | undefined;
  /** The agent's clock less the collector's, as measured. */
  agentAheadMs: number | undefined;
  /** Reports that the agent has had to give up, as it says itself. */
  lostReports: number | undefined;
  newest: Stamp | undefined;
}

export interface StoredObservation {
  observation: Observation;
  at: number;
  since: number;
}

/** How long a node may be silent before it counts as down: three reports and their travel, and at least half a minute. */
export function graceMs(record: NodeRecord): number {
  return Math.max(INTERVALS_MISSED_MAX * (record.intervalSeconds ?? INTERVAL_SECONDS_DEFAULT) * 1_000 + TRAVEL_MS, GRACE_MS_MIN);
}

export class LiveView implements ReportConsumer {
  readonly name = 'live view';
  readonly #clock: Clock;
  readonly #nodes = new Map<number, LiveNode>();
  readonly #users = new Map<BlockLayout, Set<LiveBlock>>();
  #listeningSinceMs: number;
  #pass = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#listeningSinceMs = clock.monotonicMs();
  }

  /** Takes a report that has just arrived. */
  accept(report: AcceptedReport): void {
    const node = this.#nodeOf(report.node);
    node.heardMs = this.#clock.monotonicMs();
    node.lastSeenAt = report.receivedAt;
    this.#take(node, report);
  }

  /** Takes a report out of the store: its values are known, but nobody was heard. */
  restore(report: AcceptedReport): void {
    const node = this.#nodeOf(report.node);
    if (node.heardMs === undefined) node.lastSeenAt = Math.max(node.lastSeenAt ?? 0, report.receivedAt);
    this.#take(node, report);
  }

  /** Takes an observation out of the store; one that was heard meanwhile stays. */
  restoreObservation(record: NodeRecord, stored: StoredObservation): void {
    const node = this.#nodeOf(record);
    if (findObservation(node, stored.observation) !== undefined) return;
    node.observations.push({
      ...stored,
      restored: true,
      bootId: '',
      sequence: 0,
      periodMs: undefined,
      seenMs: this.#clock.monotonicMs(),
      mark: 0,
    });
  }

  /** What the store knows of a node's last report, for nodes whose values are too old to restore. */
  restoreLastSeen(record: NodeRecord, lastSeenAt: number): void {
    const node = this.#nodeOf(record);
    if (node.heardMs === undefined) node.lastSeenAt = Math.max(node.lastSeenAt ?? 0, lastSeenAt);
  }

  /** An agent's request arrived, whatever it holds. `clockOffsetMs` is the collector's clock less the agent's. */
  heard(record: NodeRecord, agent: { readonly lostReports?: number | undefined }, clockOffsetMs: number): void {
    const node = this.#nodeOf(record);
    node.heardMs = this.#clock.monotonicMs();
    node.lastSeenAt = this.#clock.wallMs();
    node.agentAheadMs = 0 - clockOffsetMs;
    node.lostReports = agent.lostReports;
  }

  /** Forgets a node altogether: it was retired. */
  forget(nodeId: number): void {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) return;
    for (const block of node.blocks) this.#unuse(block);
    this.#nodes.delete(nodeId);
  }

  /** The collector has not been listening for a while (a stalled event loop, a suspended machine): silence is counted from now on. */
  settle(): void {
    this.#listeningSinceMs = this.#clock.monotonicMs();
  }

  node(nodeId: number): LiveNode | undefined {
    return this.#nodes.get(nodeId);
  }

  nodes(): Iterable<LiveNode> {
    return this.#nodes.values();
  }

  /** Every layout that is in use. */
  layouts(): Iterable<BlockLayout> {
    return this.#users.keys();
  }

  /** The blocks that follow a layout now. */
  usersOf(layout: BlockLayout): Iterable<LiveBlock> {
    return this.#users.get(layout) ?? [];
  }

  /** Series with a place in the view, measured or not. */
  seriesCount(): number {
    let count = 0;
    for (const [layout, users] of this.#users) count += layout.series.length * users.size;
    return count;
  }

  liveness(record: NodeRecord): Liveness {
    const now = this.#clock.monotonicMs();
    const heardMs = this.#nodes.get(record.id)?.heardMs;
    const grace = graceMs(record);
    if (heardMs !== undefined && now - heardMs <= grace) return 'up';
    return now - this.#listeningSinceMs <= grace ? 'unknown' : 'silent';
  }

  /** Whether the node's values may be shown as what is now: it is up, or it was when the collector went down a moment ago. */
  isCurrent(node: LiveNode): boolean {
    const liveness = this.liveness(node.record);
    if (liveness === 'up') return true;
    const age = this.#clock.wallMs() - (node.lastSeenAt ?? Number.NEGATIVE_INFINITY);
    return liveness === 'unknown' && age <= graceMs(node.record);
  }

  #nodeOf(record: NodeRecord): LiveNode {
    let node = this.#nodes.get(record.id);
    if (node === undefined) {
      node = {
        record,
        blocks: [],
        observations: [],
        layoutVersion: 0,
        heardMs: undefined,
        lastSeenAt: undefined,
        agentAheadMs: undefined,
        lostReports: undefined,
        newest: undefined,
      };
      this.#nodes.set(record.id, node);
    }
    node.record = record;
    return node;
  }

  #take(node: LiveNode, report: AcceptedReport): void {
    const pass = ++this.#pass;
    const now = this.#clock.monotonicMs();
    const isNewest = node.newest === undefined || isNewer(report, node.newest);
    if (isNewest) {
      node.newest = { at: report.at, bootId: report.bootId, sequence: report.sequence };
    }
    for (let i = 0; i < report.blocks.length; i++) {
      const { layout, values } = report.blocks[i]!;
      const block = findBlock(node, layout, i, pass);
      if (block === undefined) {
        const added = { owner: node, layout, values, ...recurring(report, now, pass) };
        node.blocks.push(added);
        this.#use(added);
        continue;
      }
      if (!renew(block, report, now, pass)) continue;
      block.values = values;
      if (block.layout !== layout) {
        this.#unuse(block);
        block.layout = layout;
        this.#use(block);
      }
    }
    for (const observation of report.observations) {
      const known = findObservation(node, observation);
      if (known === undefined) {
        node.observations.push({ observation, since: report.at, restored: false, ...recurring(report, now, pass) });
      } else if (renew(known, report, now, pass)) {
        known.restored = false;
        if (!sameObservation(known.observation, observation)) known.since = report.at;
        known.observation = observation;
      }
    }
    // A backlog teaches what is slow and what has ended; the next report of now draws the conclusion.
    if (isNewest && !report.partial) this.#dropEnded(node, now);
  }

  /** Drops what full reports no longer bring: measured by its own pace, since a probe may run more seldom than the others. */
  #dropEnded(node: LiveNode, now: number): void {
    const { newest, record } = node;
    const grace = graceMs(record);
    const ended = (it: Recurring): boolean => {
      if (it.periodMs === undefined) return now - it.seenMs > SEEN_ONCE_KEEP_MS;
      return newest!.at - it.at > Math.max(grace, INTERVALS_MISSED_MAX * it.periodMs);
    };
    if (node.blocks.some(ended)) {
      for (const block of node.blocks) if (ended(block)) this.#unuse(block);
      node.blocks = node.blocks.filter((block) => !ended(block));
    }
    if (node.observations.some(ended)) node.observations = node.observations.filter((it) => !ended(it));
  }

  #use(block: LiveBlock): void {
    const users = this.#users.get(block.layout);
    if (users === undefined) this.#users.set(block.layout, new Set([block]));
    else users.add(block);
    block.owner.layoutVersion++;
  }

  #unuse(block: LiveBlock): void {
    const users = this.#users.get(block.layout);
    users?.delete(block);
    if (users?.size === 0) this.#users.delete(block.layout);
    block.owner.layoutVersion++;
  }
}

/** Within one boot the sequence decides, which no change of any clock can confuse; between boots the time does. */
function isNewer(report: AcceptedReport, than: Stamp): boolean {
  return report.bootId === than.bootId ? report.sequence >= than.sequence : report.at >= than.at;
}

function recurring(report: AcceptedReport, seenMs: number, mark: number): Recurring {
  return { at: report.at, bootId: report.bootId, sequence: report.sequence, periodMs: undefined, seenMs, mark };
}

/** Notes another appearance. False when the report is older than what is known; its distance still tells the pace. */
function renew(it: Recurring, report: AcceptedReport, now: number, pass: number): boolean {
  it.mark = pass;
  const newer = isNewer(report, it);
  // At its start an agent runs every probe: only the distance within one boot is a pace.
  if (!report.partial && report.bootId === it.bootId && report.sequence !== it.sequence) {
    const distance = Math.abs(report.at - it.at);
    it.periodMs = newer || it.periodMs === undefined ? distance : Math.min(it.periodMs, distance);
  }
  if (!newer) return false;
  it.at = report.at;
  it.bootId = report.bootId;
  it.sequence = report.sequence;
  it.seenMs = now;
  return true;
}

/** The place of a block in the node: the same layout, or the same probe and instance with another one. */
function findBlock(node: LiveNode, layout: BlockLayout, index: number, pass: number): LiveBlock | undefined {
  const likely = node.blocks[index];
  if (likely !== undefined && likely.layout === layout && likely.mark !== pass) return likely;
  let replaced: LiveBlock | undefined;
  for (const block of node.blocks) {
    if (block.mark === pass) continue;
    if (block.layout === layout) return block;
    if (replaced === undefined && block.layout.probe === layout.probe && block.layout.instance === layout.instance) replaced = block;
  }
  return replaced;
}

function findObservation(node: LiveNode, wanted: Observation): LiveObservation | undefined {
  return node.observations.find(({ observation: o }) => o.kind === wanted.kind && o.instance === wanted.instance);
}

function sameObservation(a: Observation, b: Observation): boolean {
  return a.version === b.version && isDeepStrictEqual(a.document, b.document);
}
