/**
 * Gathers accepted reports across requests into batches and stores them; a report's promise settles when
 * it is committed, or when it is certain that this attempt will not commit it. One batch is under way at
 * a time; while the database is away nothing waits here: the agents' spools are the journal.
 */
import { LIMITS, ProblemError, type Observation } from '@tidemark/protocol';
import { codeOf, sentenceOf, type Clock, type Log } from '@tidemark/service';
import type { Partitions } from '../db/partitions.ts';
import type { Database } from '../db/pool.ts';
import type { KnownLayout } from './layouts.ts';
import type { BootIntake, NodeIntake } from './node-intake.ts';
import {
  countSeries,
  insertBatch,
  openBoots,
  registerLayouts,
  registerLayoutSets,
  StoreChanged,
  type ObservationRow,
  type ReportRow,
} from './store.ts';

export interface WriterMetrics {
  batchCommitted(reports: number, values: number, seconds: number): void;
}

export interface WriterOptions {
  database: Database;
  partitions: Partitions;
  clock: Clock;
  log: Log;
  metrics: WriterMetrics;
  /** Called when the database turns out to be another one than before: every id is to be forgotten. */
  onStoreChanged: () => void;
  /** How long the first report of a batch waits for others, in milliseconds. */
  gatherMs?: number;
}

/** A report on its way into the store. */
export interface PendingReport {
  readonly intake: NodeIntake;
  readonly boot: BootIntake;
  readonly sequence: number;
  readonly at: number;
  readonly layouts: readonly KnownLayout[];
  readonly blocks: readonly (readonly (number | null)[])[];
  readonly valueCount: number;
  readonly observations: readonly { observation: Observation; text: string; late: boolean }[];
}

interface Waiting extends PendingReport {
  settle: { resolve: () => void; reject: (error: unknown) => void };
}

/** Batches of 50 reports cost 0.20 CPU seconds per million samples, of 500 0.17, single ones 1.5: waiting a tenth of a second pays. */
const GATHER_MS = 100;
const BATCH_REPORTS_MAX = 1_000;
const BATCH_VALUES_MAX = 200_000;
const WAITING_VALUES_MAX = 4_000_000;
/** What a batch may take, intake's questions before it not counted; an agent waits 20 s for its answer. */
export const STORE_PATIENCE_MS = 8_000;
/** The data itself is at fault: values and texts that have no place, rules that are broken, limits of a statement. Anything else may pass: a full disk, a lock, a cancelled statement. */
const FAULT_OF_THE_DATA = /^(22|23|54)/;
/** Series a node may ever have had: churning labels stop here instead of filling the catalogue. */
const SERIES_EVER_MAX = 5 * LIMITS.seriesPerNode;

export class ReportWriter {
  readonly #options: WriterOptions;
  readonly #gatherMs: number;
  #waiting: Waiting[] = [];
  #waitingValues = 0;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  #stopped = false;
  #trouble: string | undefined;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#gatherMs = options.gatherMs ?? GATHER_MS;
  }

  /** Reports that wait or are being written. */
  get depth(): number {
    return this.#waiting.length;
  }

  /** Why the last batch could not be stored though the database was there; undefined when it could. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Resolves when the report is committed. Rejects with ProblemError: `database_away` and `overloaded` mean "send it again", any other code "never". */
  write(report: PendingReport): Promise<void> {
    const { state } = this.#options.database;
    if (this.#stopped) return Promise.reject(new ProblemError('shutting_down', 'The collector is stopping.', { retryAfterSeconds: 5 }));
    if (!state.up) return Promise.reject(away(state.detail));
    if (this.#waitingValues + report.valueCount > WAITING_VALUES_MAX) {
      return Promise.reject(new ProblemError('overloaded', 'Too many reports are waiting to be stored.', { retryAfterSeconds: 5 }));
    }
    return new Promise<void>((resolve, reject) => {
      this.#waiting.push({ ...report, settle: { resolve, reject } });
      this.#waitingValues += report.valueCount;
      if (this.#flushing === undefined) this.#timer ??= setTimeout(() => this.#startFlush(), this.#gatherMs);
    });
  }

  /** Writes what waits and takes no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    while (this.#flushing !== undefined || this.#waiting.length > 0) {
      if (this.#flushing === undefined) this.#startFlush();
      await this.#flushing;
    }
  }

  #startFlush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#flushing !== undefined || this.#waiting.length === 0) return;
    const batch = this.#takeBatch();
    this.#flushing = this.#store(batch).finally(() => {
      this.#flushing = undefined;
      if (this.#waiting.length > 0)
        this.#timer = setTimeout(() => this.#startFlush(), this.#waiting.length >= BATCH_REPORTS_MAX ? 0 : this.#gatherMs);
    });
  }

  #takeBatch(): Waiting[] {
    let values = 0;
    let count = 0;
    while (count < this.#waiting.length && count < BATCH_REPORTS_MAX) {
      values += this.#waiting[count]!.valueCount;
      if (count > 0 && values > BATCH_VALUES_MAX) {
        values -= this.#waiting[count]!.valueCount;
        break;
      }
      count++;
    }
    this.#waitingValues -= values;
    return this.#waiting.splice(0, count);
  }

  async #store(batch: Waiting[]): Promise<void> {
    const { database } = this.#options;
    try {
      if (!database.state.up) throw away(database.state.detail);
      await database.within(
        STORE_PATIENCE_MS,
        this.#resolveIds(batch).then((ready) => this.#insert(ready)),
      );
      this.#trouble = undefined;
    } catch (error) {
      // Being away is the database's own state; this is what else stands in the way.
      if (database.state.up) this.#trouble = sentenceOf(error);
      for (const { settle } of batch) settle.reject(notNow(error));
    }
  }

  /** Inserts; what the database refuses is narrowed down by halves, so that one bad report takes no other with it. */
  async #insert(batch: Waiting[]): Promise<void> {
    if (batch.length === 0) return;
    const { database, clock, log, metrics } = this.#options;
    const started = clock.monotonicMs();
    try {
      await insertBatch(database, batch.map(toRow), batch.flatMap(toObservationRows));
    } catch (error) {
      if (error instanceof ProblemError) throw error;
      if (error instanceof StoreChanged) {
        this.#options.onStoreChanged();
        throw new ProblemError('database_away', error.message, { cause: error, retryAfterSeconds: 1 });
      }
      if (!FAULT_OF_THE_DATA.test(codeOf(error) ?? '')) throw error;
      if (batch.length === 1) {
        log.error({ err: error, node: batch[0]!.intake.node.name, sequence: batch[0]!.sequence }, 'a report cannot be stored');
        batch[0]!.settle.reject(new ProblemError('not_storable', `The database refuses it: ${sentenceOf(error)}.`, { cause: error }));
        return;
      }
      const middle = batch.length >> 1;
      await this.#insert(batch.slice(0, middle));
      await this.#insert(batch.slice(middle));
      return;
    }
    let values = 0;
    for (const report of batch) {
      report.boot.committed.add(report.sequence);
      values += report.valueCount;
      report.settle.resolve();
    }
    metrics.batchCommitted(batch.length, values, (clock.monotonicMs() - started) / 1000);
  }

  async #resolveIds(batch: Waiting[]): Promise<Waiting[]> {
    const { database, partitions } = this.#options;
    const late = batch.filter(({ at }) => !partitions.covers(at));
    if (late.length > 0) await partitions.cover(late.map(({ at }) => at));
    const boots = new Map<BootIntake, { nodeId: number; bootId: string; at: number }>();
    for (const { boot, intake, at } of batch)
      if (boot.id === undefined) boots.set(boot, { nodeId: intake.node.id, bootId: boot.bootId, at });
    if (boots.size > 0) {
      const found = new Map((await openBoots(database, [...boots.values()])).map((b) => [`${b.nodeId}:${b.bootId}`, b]));
      for (const [boot, { nodeId, bootId }] of boots) {
        const row = found.get(`${nodeId}:${bootId}`)!;
        boot.id = row.id;
        boot.committed.addAll(row.sequences);
        boot.loaded = true;
      }
    }
    const ready = await this.#registerLayouts(batch);
    await this.#registerLayoutSets(ready);
    return ready;
  }

  /** Makes sure that all blocks have their ids; settles reports of nodes that have too many series and leaves them out. */
  async #registerLayouts(batch: Waiting[]): Promise<Waiting[]> {
    const { database } = this.#options;
    const uncounted = new Map<number, NodeIntake>();
    const missing = new Map<KnownLayout, NodeIntake>();
    for (const { intake, layouts } of batch) {
      for (const layout of layouts) {
        if (layout.id !== undefined) continue;
        missing.set(layout, intake);
        if (intake.seriesCount === undefined) uncounted.set(intake.node.id, intake);
      }
    }
    if (missing.size === 0) return batch;
    const counts = uncounted.size > 0 ? await countSeries(database, [...uncounted.keys()]) : new Map<number, number>();
    for (const [nodeId, intake] of uncounted) intake.seriesCount = counts.get(nodeId) ?? 0;
    const blocks: { nodeId: number; known: KnownLayout }[] = [];
    for (const [known, intake] of missing) {
      if (intake.seriesCount! + known.layout.series.length <= SERIES_EVER_MAX) blocks.push({ nodeId: intake.node.id, known });
    }
    const added = blocks.length > 0 ? await registerLayouts(database, blocks) : new Map<number, number>();
    for (const intake of new Set(missing.values())) intake.seriesCount! += added.get(intake.node.id) ?? 0;
    return batch.filter((report) => {
      if (report.layouts.every((layout) => layout.id !== undefined)) return true;
      report.settle.reject(
        new ProblemError(
          'series_limit',
          `The node has had ${report.intake.seriesCount!} series; at most ${SERIES_EVER_MAX} are kept for one node. Look for a label that changes all the time.`,
        ),
      );
      return false;
    });
  }

  async #registerLayoutSets(batch: Waiting[]): Promise<void> {
    const unknown = new Map<string, { intake: NodeIntake; key: string; layoutIds: number[] }>();
    for (const { intake, layouts } of batch) {
      const key = layoutSetKey(layouts);
      if (!intake.layoutSets.has(key)) unknown.set(`${intake.node.id}:${key}`, { intake, key, layoutIds: layouts.map((l) => l.id!) });
    }
    if (unknown.size === 0) return;
    const sets = [...unknown.values()];
    const ids = await registerLayoutSets(
      this.#options.database,
      sets.map(({ intake, layoutIds }) => ({ nodeId: intake.node.id, layoutIds })),
    );
    sets.forEach(({ intake, key }, i) => intake.layoutSets.set(key, ids[i]!));
  }
}

function away(detail: string): ProblemError {
  return new ProblemError('database_away', `The database cannot be reached: ${detail}.`, { retryAfterSeconds: 5 });
}

/** What PostgreSQL answered instead of storing, as something that an agent tries again. Errors of ours stay what they are. */
function notNow(error: unknown): unknown {
  if (!/^[0-9A-Z]{5}$/.test(codeOf(error) ?? '')) return error;
  return new ProblemError('database_away', `The database does not store: ${sentenceOf(error)}.`, { cause: error, retryAfterSeconds: 5 });
}

const layoutSetKey = (layouts: readonly KnownLayout[]): string => {
  let key = '';
  for (const layout of layouts) key += `${layout.id!},`;
  return key;
};

function toRow({ intake, boot, at, sequence, layouts, blocks, valueCount }: PendingReport): ReportRow {
  return {
    nodeId: intake.node.id,
    boot: boot.id!,
    at,
    sequence,
    layoutSetId: intake.layoutSets.get(layoutSetKey(layouts))!,
    blocks,
    valueCount,
  };
}

function toObservationRows({ intake, boot, at, sequence, observations }: PendingReport): ObservationRow[] {
  return observations.map(({ observation, text, late }) => ({
    nodeId: intake.node.id,
    boot: boot.id!,
    sequence,
    at,
    observation,
    text,
    late,
  }));
}
