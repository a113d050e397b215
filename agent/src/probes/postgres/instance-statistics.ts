/**
 * Asks the statistics groups of one server, each as often as it wants and never so many at once that a collection gets
 * long: what is left over is asked at the next one, the longest overdue first. A group that fails harms no other.
 */
import type { PostgresReplication } from '@tidemark/protocol';
import { sentenceOf, type Clock, type Log } from '@tidemark/service';
import type { BlockRecorder } from '../recorder.ts';
import { isConnectionLoss, isPooler, isRefused } from './failure.ts';
import type { ServerFacts, Statistics, StatisticsGroup, StatisticsRow } from './statistics/group.ts';

/** What all groups of a collection may take together: no further one begins after it. */
const BUDGET_MS = 1_000;
/** A group that failed is asked again after this, or its own time when that is longer. */
const RETRY_MS = 60_000;
/** One that was refused. */
const REFUSED_RETRY_MS = 600_000;
/** Timers may fire a little early; a group due within this is due now. */
const EARLY_MS = 250;

/** What of a session they need. */
export interface Asker {
  readonly ready: boolean;
  ask(text: string): Promise<{ readonly rows: StatisticsRow[] }>;
}

interface Kept {
  readonly group: StatisticsGroup;
  dueMs: number;
  statistics: Statistics | undefined;
  /** Read since the last collection, so that its documents are to be sent. */
  fresh: boolean;
  refused: boolean;
  failing: boolean;
}

export interface StatisticsOptions {
  readonly clock: Clock;
  readonly log?: Log | undefined;
  readonly instance: string;
  readonly budgetMs?: number | undefined;
}

export class InstanceStatistics {
  readonly #groups: Kept[];
  readonly #options: StatisticsOptions;

  constructor(groups: readonly StatisticsGroup[], options: StatisticsOptions) {
    this.#groups = groups.map((group) => ({ group, dueMs: 0, statistics: undefined, fresh: false, refused: false, failing: false }));
    this.#options = options;
  }

  /** The server is another one, or in another role, or may show more than before. */
  forget(): void {
    for (const kept of this.#groups) {
      kept.dueMs = 0;
      kept.statistics = undefined;
      kept.refused = false;
    }
  }

  /** Asks what is due. Rejects only when the connection has gone. */
  async readDue(session: Asker, facts: ServerFacts): Promise<void> {
    const { clock, budgetMs = BUDGET_MS } = this.#options;
    const startedMs = clock.monotonicMs();
    const due = this.#groups.filter(({ group, dueMs }) => dueMs <= startedMs + EARLY_MS && group.roles?.includes(facts.role) !== false);
    due.sort((a, b) => a.dueMs - b.dueMs);
    for (const kept of due) {
      if (clock.monotonicMs() - startedMs > budgetMs) return;
      await this.#read(kept, session, facts, startedMs);
    }
  }

  record(block: BlockRecorder): void {
    for (const { statistics } of this.#groups) statistics?.record?.(block);
  }

  /** What the groups add to the document. */
  document(): Partial<PostgresReplication> {
    return Object.assign({}, ...this.#groups.map(({ statistics }) => statistics?.document ?? {})) as Partial<PostgresReplication>;
  }

  /** Documents of the groups' own, each of them once. */
  takeObservations(): NonNullable<Statistics['observations']>[number][] {
    const observations = this.#groups.flatMap(({ fresh, statistics }) => (fresh ? (statistics?.observations ?? []) : []));
    for (const kept of this.#groups) kept.fresh = false;
    return observations;
  }

  missingRights(): string[] {
    return this.#groups.flatMap(({ group, statistics, refused }) => (refused ? [group.right] : (statistics?.missingRights ?? [])));
  }

  async #read(kept: Kept, session: Asker, facts: ServerFacts, startedMs: number): Promise<void> {
    const { group } = kept;
    kept.dueMs = startedMs + group.everyMs;
    try {
      const text = group.statement(facts);
      kept.statistics = text === undefined ? undefined : await group.read((await session.ask(text)).rows, facts);
      kept.fresh = true;
      kept.refused = false;
      kept.failing = false;
    } catch (error) {
      if (isConnectionLoss(error) || isPooler(error)) {
        // A mistake of the group's own has no SQLSTATE either; the connection tells the two apart.
        if (!session.ready) throw error;
      }
      this.#failed(kept, error, startedMs);
    }
  }

  #failed(kept: Kept, error: unknown, startedMs: number): void {
    const { group } = kept;
    const { log, instance } = this.#options;
    kept.statistics = undefined;
    kept.refused = isRefused(error);
    kept.dueMs = startedMs + (kept.refused ? REFUSED_RETRY_MS : Math.max(RETRY_MS, group.everyMs));
    if (!kept.failing) log?.info({ instance, group: group.name, trouble: sentenceOf(error) }, 'PostgreSQL statistics cannot be read');
    kept.failing = true;
  }
}
