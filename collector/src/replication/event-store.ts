/**
 * Replication events and what is remembered of each cluster. Both are in memory at once and follow into the database in
 * order, the memory of a look never ahead of its events: a restart repeats no event, and a database that is away for a
 * while costs none. Everything is bounded; what is dropped is said.
 */
import { createHash } from 'node:crypto';
import { ProblemError, type ReplicationEvent, type ReplicationEventKind } from '@tidemark/protocol';
import { backoffMs, sentenceOf, type Clock, type Log } from '@tidemark/service';
import type { Database } from '../db/pool.ts';
import { EventTables, type StoredEvent, type StoredMemory } from './event-tables.ts';
import { RecentEvents } from './event-recent.ts';
import type { ChangeMemory, InstanceId, MemberMemory, ReplicationChange } from './model.ts';

export interface ReplicationEventsOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  /** Returns [0, 1). */
  readonly random: () => number;
  /** Days for which an event is kept. */
  readonly keepDays?: number;
  /** Milliseconds between two writings of memories without events. */
  readonly saveEveryMs?: number;
}

/** `new`: it was not known before. `corrected`: more is known of it; nobody is told again. */
export type Recorded = 'new' | 'corrected';

export interface EventQuestion {
  /** A system identifier. */
  readonly cluster?: string | undefined;
  readonly kind?: string | undefined;
  /** ISO 8601: only what happened before; or the id of an event: what comes after it in the list. */
  readonly before?: string | undefined;
  readonly limit: number;
}

type TopologyMemory = Readonly<Record<InstanceId, MemberMemory>>;

interface ClusterMemory {
  topology: TopologyMemory;
  changes: ChangeMemory | undefined;
  readonly counts: Map<ReplicationEventKind, number>;
  /** What is in the database is older. */
  isDirty: boolean;
}

const DAY_MS = 86_400_000;
const KEEP_DAYS = 365;
const SAVE_EVERY_MS = 10_000;
const PRUNE_EVERY_MS = 3_600_000;
const QUEUE_MAX = 10_000;
const BATCH_MAX = 500;
const MEMORIES_PER_STATEMENT = 100;
const RETRY = { baseMs: 500, maxMs: 15_000 };
const LIST_MAX = 1_000;
/** More than anyone watches with one collector. */
const CLUSTERS_MAX = 5_000;

export class ReplicationEvents {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #random: () => number;
  readonly #database: Database;
  readonly #tables: EventTables;
  readonly #keepMs: number;
  readonly #saveEveryMs: number;
  readonly #recent = new RecentEvents();
  readonly #memories = new Map<string, ClusterMemory>();
  readonly #clusterOf = new Map<InstanceId, string>();
  readonly #listeners: ((event: ReplicationEvent, how: Recorded) => void)[] = [];
  /** Not in the database yet, in order. */
  #queue: StoredEvent[] = [];
  #dropped = 0;
  #refused = 0;
  #working: Promise<void> | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #retry: NodeJS.Timeout | undefined;
  #timers: NodeJS.Timeout[] = [];
  #failures = 0;
  #batchMax = BATCH_MAX;
  #trouble: string | undefined;
  #stopped = false;

  constructor({ database, clock, log, random, keepDays = KEEP_DAYS, saveEveryMs = SAVE_EVERY_MS }: ReplicationEventsOptions) {
    this.#database = database;
    this.#clock = clock;
    this.#log = log;
    this.#random = random;
    this.#tables = new EventTables(database);
    this.#keepMs = keepDays * DAY_MS;
    this.#saveEveryMs = saveEveryMs;
  }

  /** Loads what was kept. Throws ProblemError `database_away`. */
  async start(): Promise<void> {
    for (const { systemIdentifier, topology, changes, counts } of (await this.#tables.memories(CLUSTERS_MAX)).toReversed()) {
      const memory = this.#memoryOf(systemIdentifier);
      memory.topology = topology;
      memory.changes = changes ?? undefined;
      for (const [kind, count] of Object.entries(counts)) memory.counts.set(kind as ReplicationEventKind, count);
      this.#index(systemIdentifier, topology);
    }
    // Oldest first: the newest are kept when there are too many.
    for (const event of (await this.#tables.newest(this.#recent.max)).toReversed()) this.#recent.put(event);
    this.#database.onStateChange(({ up }) => up && this.#wake());
    this.#timers.push(setInterval(() => this.#wake(), this.#saveEveryMs).unref());
    this.#timers.push(setInterval(() => void this.prune(), PRUNE_EVERY_MS).unref());
    void this.prune();
  }

  /** Takes what changed at a look: new ones are told to the listeners, known ones are corrected. Returns the keys of the new ones. */
  record(changes: readonly ReplicationChange[]): ReadonlySet<string> {
    const added = new Set<string>();
    for (const change of changes) if (this.#take(toStored(change)) === 'new') added.add(change.key);
    if (changes.length > 0) this.#soon();
    return added;
  }

  /** What is to be remembered of a cluster after a look; written with that look's events, otherwise every few seconds. */
  save(systemIdentifier: string, topology: TopologyMemory, changes: ChangeMemory): void {
    const memory = this.#memoryOf(systemIdentifier);
    memory.topology = topology;
    memory.changes = changes;
    memory.isDirty = true;
    // In the order of looks: the first is the one that nobody looked at for the longest time.
    this.#memories.delete(systemIdentifier);
    this.#memories.set(systemIdentifier, memory);
    this.#index(systemIdentifier, topology);
  }

  /** As it was last saved, by this run or the one before. */
  memoryOf(systemIdentifier: string): { readonly topology: TopologyMemory; readonly changes: ChangeMemory | undefined } {
    const memory = this.#memories.get(systemIdentifier);
    return { topology: memory?.topology ?? {}, changes: memory?.changes };
  }

  /** The cluster that an instance was last seen in. */
  clusterOf(id: InstanceId): string | undefined {
    return this.#clusterOf.get(id);
  }

  /** The newest of a cluster, the newest first, out of memory. */
  recent(systemIdentifier: string, limit: number): ReplicationEvent[] {
    return this.#recent.of(systemIdentifier, limit).map(viewOf);
  }

  /** How often each kind happened to a cluster since it is known; never falls. */
  counts(systemIdentifier: string): ReadonlyMap<ReplicationEventKind, number> {
    return this.#memories.get(systemIdentifier)?.counts ?? new Map();
  }

  /** Out of the database, the newest first, with what is not written yet. Throws ProblemError `database_away`. */
  async list({ cluster, kind, before, limit }: EventQuestion): Promise<ReplicationEvent[]> {
    if (this.#queue.length > 0) {
      this.#wake();
      await this.#working;
    }
    const found = await this.#tables.list({ cluster, kind, before, limit: Math.min(LIST_MAX, limit) });
    return found.map(viewOf);
  }

  /** Called with each event as it is recorded. */
  onRecorded(listener: (event: ReplicationEvent, how: Recorded) => void): void {
    this.#listeners.push(listener);
  }

  /** Events that are not in the database yet. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Why the database does not have everything, while it is there; undefined when nothing is wrong. */
  get trouble(): string | undefined {
    if (this.#trouble !== undefined) return this.#trouble;
    if (this.#dropped > 0) return `${this.#dropped} events were dropped while the database was away`;
    return this.#refused === 0 ? undefined : `the database refused ${this.#refused} events`;
  }

  /** Drops what is older than its retention. Never throws. */
  async prune(): Promise<void> {
    try {
      await this.#tables.prune(this.#clock.wallMs() - this.#keepMs);
    } catch (error) {
      if (!(error instanceof ProblemError)) this.#log.warn({ err: error }, 'old replication events could not be dropped; in an hour again');
    }
  }

  /** Writes what waits, for at most `timeoutMs`. */
  async stop(timeoutMs = 5_000): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#retry);
    const waited = { isLate: false };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((done) => {
      timer = setTimeout(() => {
        waited.isLate = true;
        done();
      }, timeoutMs);
    });
    this.#failures = 0;
    this.#wake();
    while (this.#working !== undefined && !waited.isLate) await Promise.race([this.#working, late]);
    clearTimeout(timer);
    this.#stopped = true;
    clearImmediate(this.#immediate);
    clearTimeout(this.#retry);
    if (this.#queue.length > 0) this.#log.warn({ events: this.#queue.length }, 'replication events could not be written before the end');
  }

  #take(event: StoredEvent): Recorded {
    const known = this.#recent.find(event.systemIdentifier, event.key);
    // When it happened and which one it is stays as it was first said: lists keep their order.
    const kept = known === undefined ? event : { ...event, id: known.id, at: known.at };
    this.#recent.put(kept);
    if (known?.kind !== kept.kind) {
      const { counts } = this.#memoryOf(kept.systemIdentifier);
      counts.set(kept.kind, (counts.get(kept.kind) ?? 0) + 1);
    }
    this.#enqueue(kept);
    const how = known === undefined ? 'new' : 'corrected';
    for (const listener of this.#listeners) listener(viewOf(kept), how);
    return how;
  }

  #enqueue(event: StoredEvent): void {
    if (this.#queue.length >= QUEUE_MAX) {
      this.#queue.shift();
      if (this.#dropped++ === 0) this.#log.error('the database has been away for too long; the oldest replication events are dropped');
    }
    this.#queue.push(event);
    this.#memoryOf(event.systemIdentifier).isDirty = true;
  }

  #memoryOf(systemIdentifier: string): ClusterMemory {
    let memory = this.#memories.get(systemIdentifier);
    if (memory === undefined) {
      memory = { topology: {}, changes: undefined, counts: new Map(), isDirty: false };
      this.#memories.set(systemIdentifier, memory);
      if (this.#memories.size > CLUSTERS_MAX) this.#forgetOne();
    }
    return memory;
  }

  /** The one that was not looked at for the longest time. */
  #forgetOne(): void {
    for (const [systemIdentifier, { topology, isDirty }] of this.#memories) {
      if (isDirty) continue;
      this.#memories.delete(systemIdentifier);
      for (const id of Object.keys(topology)) if (this.#clusterOf.get(id) === systemIdentifier) this.#clusterOf.delete(id);
      return;
    }
  }

  #index(systemIdentifier: string, topology: TopologyMemory): void {
    for (const [id, { lastSeenAt }] of Object.entries(topology)) {
      const before = this.#clusterOf.get(id);
      if (before === systemIdentifier) continue;
      const seenThere = before === undefined ? undefined : this.#memories.get(before)?.topology[id]?.lastSeenAt;
      if (seenThere === undefined || lastSeenAt >= seenThere) this.#clusterOf.set(id, systemIdentifier);
    }
  }

  /** After the look that records has saved its memory, too: they are written together. */
  #soon(): void {
    this.#immediate ??= setImmediate(() => {
      this.#immediate = undefined;
      // While it waits before the next attempt, that is what it waits for.
      if (this.#retry === undefined) this.#wake();
    });
  }

  #wake(): void {
    if (this.#stopped || this.#working !== undefined || !this.#database.state.up) return;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#working = this.#write().finally(() => {
      this.#working = undefined;
    });
  }

  async #write(): Promise<void> {
    try {
      while (!this.#stopped && (await this.#writeBatch()));
      this.#failures = 0;
      this.#trouble = undefined;
    } catch (error) {
      if (!(error instanceof ProblemError)) {
        if (this.#trouble === undefined)
          this.#log.error({ err: error }, 'replication events cannot be written; they are kept and tried again');
        this.#trouble = sentenceOf(error);
      }
      // While the database is away its return wakes this; the timer is for everything else.
      this.#retry = setTimeout(
        () => {
          this.#retry = undefined;
          this.#wake();
        },
        backoffMs(++this.#failures, RETRY, this.#random),
      ).unref();
    }
  }

  /** Resolves with false when there is nothing left to write. */
  async #writeBatch(): Promise<boolean> {
    const events = this.#queue.slice(0, this.#batchMax);
    const rest = new Set(this.#queue.slice(events.length).map(({ systemIdentifier }) => systemIdentifier));
    const dirty = [...this.#memories].filter(([id, { isDirty }]) => isDirty && !rest.has(id)).slice(0, MEMORIES_PER_STATEMENT);
    if (events.length === 0 && dirty.length === 0) return false;
    const memories = dirty.map(([id, memory]) => toStoredMemory(id, memory));
    // What is saved while this is under way is written after it.
    for (const [, memory] of dirty) memory.isDirty = false;
    try {
      await this.#tables.write(events, memories, this.#clock.wallMs());
    } catch (error) {
      for (const [, memory] of dirty) memory.isDirty = true;
      if (error instanceof ProblemError || events.length === 0) throw error;
      if (events.length > 1) {
        // One of them is refused: smaller parts show which.
        this.#batchMax = Math.ceil(events.length / 2);
        return true;
      }
      this.#refused++;
      this.#log.error({ err: error, key: events[0]!.key }, 'the database refuses a replication event; it is set aside');
    }
    const written = new Set(events);
    // The oldest may have been dropped meanwhile.
    this.#queue = this.#queue.filter((event) => !written.has(event));
    if (this.#queue.length === 0) this.#batchMax = BATCH_MAX;
    return true;
  }
}

/** The same happening has the same id, whoever records it. */
function idOf(systemIdentifier: string, key: string): string {
  const hex = createHash('sha256').update(`${systemIdentifier}\n${key}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function toStored({ kind, at, systemIdentifier, instanceId, instanceName, severity, text, details, key }: ReplicationChange): StoredEvent {
  return {
    id: idOf(systemIdentifier, key),
    systemIdentifier,
    key,
    kind,
    at,
    instanceId: instanceId ?? null,
    instance: instanceName ?? null,
    severity,
    text,
    details,
  };
}

function viewOf({ id, kind, at, systemIdentifier, instance, instanceId, severity, text, details }: StoredEvent): ReplicationEvent {
  return { id, kind, at: new Date(at).toISOString(), systemIdentifier, instance, instanceId, severity, text, details: { ...details } };
}

function toStoredMemory(systemIdentifier: string, { topology, changes, counts }: ClusterMemory): StoredMemory {
  return { systemIdentifier, topology, changes: changes ?? null, counts: Object.fromEntries(counts) };
}
