/**
 * Carries the journal into the database, in order, in batches; while the database is away it waits, and catches up from
 * memory or from the journal's segments. It never holds up what happens.
 */
import { ProblemError } from '@tidemark/protocol';
import { backoffMs, sentenceOf, type Clock, type Log } from '@tidemark/service';
import type { DatabaseState } from '../db/pool.ts';
import { aboutOf, type BookState, type IncidentBook, type RecordedEntry } from './book.ts';
import type { MirrorBatch, Written } from './mirror-store.ts';

export interface MirrorOptions {
  store: { write(batch: MirrorBatch): Promise<Written>; writeAll(state: BookState, now: number): Promise<Written> };
  /** The book of this run. */
  book: IncidentBook;
  journal: { readAfter(position: number): Promise<RecordedEntry[]>; confirm(position: number): void; readonly takenPosition: number };
  databaseState: () => DatabaseState;
  clock: Pick<Clock, 'wallMs'>;
  log: Log;
  random: () => number;
  onSuperseded: (epoch: number) => void;
}

const BATCH_ENTRIES = 500;
/** More wait in the journal's segments alone. */
const QUEUE_MAX = 10_000;
const RETRY = { baseMs: 500, maxMs: 15_000 };

export class Mirror {
  readonly #options: MirrorOptions;
  #queue: RecordedEntry[] = [];
  /** Entries are to be read from the journal: more came than are kept in memory, or a run before left some. */
  #isBehind = true;
  /** The database may lack anything: everything is written once. */
  #isIncomplete = true;
  #mirrored = 0;
  #working: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #batchMax = BATCH_ENTRIES;
  #trouble: string | undefined;
  #setAside = 0;
  #stopped = false;

  constructor(options: MirrorOptions) {
    this.#options = options;
  }

  /** Everything up to here is in the database. */
  get mirrored(): number {
    return this.#mirrored;
  }

  /** Why the database does not take what happened, while it is there. */
  get trouble(): string | undefined {
    if (this.#trouble !== undefined) return this.#trouble;
    return this.#setAside === 0 ? undefined : `things that it refused: ${this.#setAside}`;
  }

  /** Entries that are not in the database yet. */
  get waiting(): number {
    return Math.max(0, this.#options.journal.takenPosition - this.#mirrored);
  }

  get isIdle(): boolean {
    return !this.#isBehind && this.#queue.length === 0 && !this.#isIncomplete;
  }

  push(entries: readonly RecordedEntry[]): void {
    if (this.#isBehind || this.#queue.length + entries.length > QUEUE_MAX) this.#isBehind = true;
    else this.#queue.push(...entries);
    // While it waits before the next attempt, that is what it waits for.
    if (this.#timer === undefined) this.wake();
  }

  /** There is something to do, or the database is back. */
  wake(): void {
    if (this.#stopped || this.#working !== undefined) return;
    if (!this.#options.databaseState().up) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#working = this.#work().finally(() => {
      this.#working = undefined;
      if (!this.#stopped && this.#failures === 0 && !this.isIdle) this.wake();
    });
  }

  /** Resolves when everything that happened is in the database, or `timeoutMs` have passed. */
  async stop(timeoutMs: number): Promise<void> {
    const waited = { isLate: false };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((done) => {
      timer = setTimeout(() => {
        waited.isLate = true;
        done();
      }, timeoutMs);
    });
    this.wake();
    while (this.#working !== undefined && this.#failures === 0 && !waited.isLate) await Promise.race([this.#working, late]);
    clearTimeout(timer);
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #work(): Promise<void> {
    try {
      while (!this.#stopped && !this.isIdle) {
        if (this.#isIncomplete) {
          if (!(await this.#writeEverything())) return;
        } else if (!(await this.#writeBatch(await this.#next()))) return;
        this.#failures = 0;
        this.#trouble = undefined;
      }
    } catch (error) {
      this.#failed(error);
    }
  }

  /** All that is so at once; when one thing is refused, each by itself, so that it keeps no other out. */
  async #writeEverything(): Promise<boolean> {
    const { store, book, clock, log } = this.#options;
    const state = book.state();
    this.#isIncomplete = false;
    let parts = [state];
    let setAside = 0;
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      try {
        const written = await store.writeAll(part, clock.wallMs());
        if (typeof written === 'object') return this.#accepted(written);
      } catch (error) {
        this.#isIncomplete = error instanceof ProblemError;
        if (this.#isIncomplete) throw error;
        if (part === state) parts = [...singly(state)];
        else if (setAside++ === 0)
          log.error({ err: error }, 'the database refuses something of what is so; it is kept in the journal alone');
      }
    }
    this.#setAside += setAside;
    return true;
  }

  /** From memory while everything is there, from the segments otherwise. */
  async #next(): Promise<readonly RecordedEntry[]> {
    if (this.#queue.length > 0) return this.#queue.slice(0, this.#batchMax);
    const { journal } = this.#options;
    const newest = journal.takenPosition;
    const found = await journal.readAfter(this.#mirrored);
    if (found.length > 0) {
      // They are written from memory, part by part; what comes meanwhile is read after them.
      this.#queue = found;
      return found.slice(0, this.#batchMax);
    }
    // What took effect while the journal was read is read next.
    if (journal.takenPosition !== newest) return [];
    this.#isBehind = false;
    this.#confirmed(newest);
    return [];
  }

  async #writeBatch(entries: readonly RecordedEntry[]): Promise<boolean> {
    if (entries.length === 0) return true;
    const { store, book, clock } = this.#options;
    const touched = new Set(entries.flatMap(aboutOf));
    const position = entries.at(-1)!.position;
    try {
      const written = await store.write({
        entries,
        incidents: [...touched].flatMap((id) => book.incident(id) ?? []),
        position,
        now: clock.wallMs(),
      });
      if (!this.#accepted(written)) return false;
    } catch (error) {
      if (error instanceof ProblemError) throw error;
      if (entries.length > 1) {
        // One of them is refused: smaller parts show which.
        this.#batchMax = Math.ceil(entries.length / 2);
        return true;
      }
      this.#setAside++;
      this.#options.log.error(
        { err: error, entry: entries[0]!.id, kind: entries[0]!.kind },
        'the database refuses a line of history; it is set aside',
      );
    }
    this.#queue.splice(0, entries.length);
    if (this.#queue.length === 0) this.#batchMax = BATCH_ENTRIES;
    this.#confirmed(position);
    return true;
  }

  #accepted(written: Written): boolean {
    if (typeof written === 'object') {
      this.#stopped = true;
      this.#options.onSuperseded(written.supersededBy);
      return false;
    }
    // The database came back as another one, or as it was long ago.
    if (written === 'claimed') this.#isIncomplete = true;
    return true;
  }

  #confirmed(position: number): void {
    this.#mirrored = Math.max(this.#mirrored, position);
    this.#options.journal.confirm(this.#mirrored);
  }

  #failed(error: unknown): void {
    this.#failures++;
    if (!(error instanceof ProblemError)) {
      if (this.#trouble === undefined)
        this.#options.log.error({ err: error }, 'what happened cannot be written to the database; it is kept and tried again');
      this.#trouble = sentenceOf(error);
    }
    // While the database is away its return wakes this; the timer is for everything else.
    const waitMs = backoffMs(this.#failures, RETRY, this.#options.random);
    this.#timer = setTimeout(() => this.wake(), waitMs).unref();
  }
}

function* singly(state: BookState): Generator<BookState> {
  const none: BookState = { mark: state.mark, incidents: [], silences: [], deliveries: [], goneChannels: [] };
  for (const incident of state.incidents) yield { ...none, incidents: [incident] };
  for (const silence of state.silences) yield { ...none, silences: [silence] };
  for (const delivery of state.deliveries) yield { ...none, deliveries: [delivery] };
  for (const gone of state.goneChannels) yield { ...none, goneChannels: [gone] };
}
