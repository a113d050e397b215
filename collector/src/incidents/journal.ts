/**
 * The local journal: entries are on the disk before they take effect, with one sync for all that wait. A disk that is full
 * or broken holds nothing up: then entries take effect from memory, and are written, with all that is so, once it works.
 */
import { join } from 'node:path';
import { backoffMs, codeOf, sentenceOf, type Log } from '@tidemark/service';
import type { BookState, RecordedEntry } from './book.ts';
import type { JournalFile, JournalFiles } from './journal-files.ts';
import type { JournalContent, SegmentInfo } from './journal-reading.ts';
import { segmentName } from './journal-reading.ts';
import { checkpointPieces, readSegment, writtenLine } from './segment.ts';

export interface JournalOptions {
  directory: string;
  files: JournalFiles;
  log: Log;
  /** In [0, 1): for the waits between attempts. */
  random: () => number;
  /** What an entry does once it is safe, in order. */
  take: (entries: readonly RecordedEntry[]) => void;
  /** All that is so, everything included that was taken. */
  state: () => BookState;
  bounds?: Partial<JournalBounds>;
}

export interface JournalBounds {
  /** A segment with more entries than this is followed by a new one. */
  segmentBytes: number;
  /** Beyond this the oldest segment goes, with what only it knew of the past. What is so now is in the newest. */
  segmentsMax: number;
  /** Entries that wait in memory for a disk that works. */
  waitingMax: number;
  /** A disk that takes longer is one that does not work. */
  answerWithinMs: number;
  retry: { baseMs: number; maxMs: number };
}

const BOUNDS: JournalBounds = {
  segmentBytes: 4 * 1024 * 1024,
  segmentsMax: 128,
  waitingMax: 50_000,
  answerWithinMs: 10_000,
  retry: { baseMs: 500, maxMs: 30_000 },
};

export interface JournalTrouble {
  readonly detail: string;
  /** Entries that are in memory only. */
  readonly waiting: number;
  /** Entries that no longer fitted there: their effect stays, their line of history is gone. */
  readonly lost: number;
}

interface Append {
  readonly entries: readonly RecordedEntry[];
  readonly done: () => void;
}

const LINES_PER_WRITE = 1_000;

export class Journal {
  readonly #options: JournalOptions;
  readonly #bounds: JournalBounds;
  readonly #queue: Append[] = [];
  #segments: SegmentInfo[];
  #nextNumber: number;
  #file: JournalFile | undefined;
  /** Of entries, in the open segment. */
  #fileBytes = 0;
  #working: Promise<void> = Promise.resolve();
  #isWorking = false;
  #cleaning: Promise<void> = Promise.resolve();
  #takenPosition = 0;
  #confirmedPosition = 0;
  #trouble: string | undefined;
  #failures = 0;
  #waiting: RecordedEntry[] = [];
  #lost = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #retryDue = false;

  constructor(content: JournalContent, options: JournalOptions) {
    this.#options = options;
    this.#bounds = { ...BOUNDS, ...options.bounds };
    this.#segments = [...content.segments];
    this.#nextNumber = content.nextNumber;
  }

  /** Begins a segment with all that is so, so that nothing older is needed to know it. */
  start(): Promise<void> {
    this.#takenPosition = this.#options.state().mark.position;
    this.#trouble = 'not begun';
    this.#retryDue = true;
    return this.#work();
  }

  /** Resolves when the entries have taken effect: when they are on the disk, or at once while there is no disk to be had. */
  append(entries: readonly RecordedEntry[]): Promise<void> {
    return new Promise((done) => {
      this.#queue.push({ entries, done });
      void this.#work();
    });
  }

  get trouble(): JournalTrouble | undefined {
    return this.#trouble === undefined ? undefined : { detail: this.#trouble, waiting: this.#waiting.length, lost: this.#lost };
  }

  /** The newest entry that took effect. */
  get takenPosition(): number {
    return this.#takenPosition;
  }

  /** Everything up to here is in the database. Segments that hold nothing else are deleted. */
  confirm(position: number): void {
    this.#confirmedPosition = Math.max(this.#confirmedPosition, position);
    if (this.#waiting.length > 0) this.#waiting = this.#waiting.filter((entry) => entry.position > this.#confirmedPosition);
    this.#cleaning = this.#cleaning.then(() => this.#clean());
  }

  /** Some of the entries after a position that took effect, in order; none when there are none. */
  async readAfter(position: number): Promise<RecordedEntry[]> {
    const wanted = (entry: RecordedEntry): boolean => entry.position > position && entry.position <= this.#takenPosition;
    for (const segment of this.#segments) {
      if (segment.lastPosition <= position) continue;
      const found = (await this.#entriesOf(segment)).filter(wanted);
      if (found.length > 0) return found;
    }
    return this.#waiting.filter(wanted);
  }

  async #entriesOf({ number }: SegmentInfo): Promise<RecordedEntry[]> {
    try {
      return (await readSegment(await this.#options.files.read(this.#path(number)))).entries;
    } catch (error) {
      // Deleted in this moment: the database has what it held.
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  /** Writes what waits, tries a disk that did not work once more, and lets go of it. */
  async close(): Promise<void> {
    clearTimeout(this.#retryTimer);
    await this.#working;
    if (this.#trouble !== undefined) {
      this.#retryDue = true;
      await this.#work();
    }
    clearTimeout(this.#retryTimer);
    await this.#cleaning;
    await this.#letGo();
  }

  #work(): Promise<void> {
    if (!this.#isWorking) {
      this.#isWorking = true;
      this.#working = this.#writeQueue();
    }
    return this.#working;
  }

  async #writeQueue(): Promise<void> {
    try {
      while (this.#queue.length > 0 || this.#retryDue) {
        if (this.#retryDue) {
          this.#retryDue = false;
          await this.#begin();
        } else await this.#writeAppends(this.#queue.splice(0));
      }
    } finally {
      // In the same moment in which the queue was seen empty: what is appended a moment later must not wait for ever.
      this.#isWorking = false;
    }
  }

  async #writeAppends(appends: readonly Append[]): Promise<void> {
    const entries = appends.flatMap((append) => append.entries);
    if (this.#trouble !== undefined) this.#wait(entries);
    else {
      try {
        await this.#write(entries);
      } catch (error) {
        this.#failed(error);
        this.#wait(entries);
      }
    }
    for (const append of appends) {
      this.#takenPosition = append.entries.at(-1)?.position ?? this.#takenPosition;
      this.#options.take(append.entries);
      append.done();
    }
  }

  async #write(entries: readonly RecordedEntry[]): Promise<void> {
    if (this.#file === undefined || this.#fileBytes > this.#bounds.segmentBytes) await this.#openSegment([]);
    await this.#appendEntries(this.#file!, entries);
    await this.#inTime(this.#file!.sync());
    this.#extend(this.#segments.at(-1)!, entries);
  }

  async #appendEntries(file: JournalFile, entries: readonly RecordedEntry[]): Promise<void> {
    for (let i = 0; i < entries.length; i += LINES_PER_WRITE) {
      const text = entries
        .slice(i, i + LINES_PER_WRITE)
        .map((entry) => writtenLine({ entry }))
        .join('');
      const bytes = Buffer.from(text);
      await this.#inTime(file.append(bytes));
      this.#fileBytes += bytes.length;
    }
  }

  #extend(segment: SegmentInfo, entries: readonly RecordedEntry[]): void {
    segment.lastPosition = Math.max(segment.lastPosition, entries.at(-1)?.position ?? 0);
  }

  /** A new segment: what is so, then what waited. It counts only once all of it is on the disk. */
  async #openSegment(waiting: readonly RecordedEntry[]): Promise<void> {
    const { files, directory, state } = this.#options;
    const segment: SegmentInfo = { number: this.#nextNumber++, lastPosition: 0 };
    const before = this.#file;
    const bytesBefore = this.#fileBytes;
    let file: JournalFile | undefined;
    try {
      file = await this.#inTime(files.create(this.#path(segment.number)));
      for (const piece of checkpointPieces(state())) await this.#inTime(file.append(Buffer.from(piece)));
      this.#fileBytes = 0;
      await this.#appendEntries(file, waiting);
      await this.#inTime(file.sync());
      await this.#inTime(files.syncDirectory(directory));
    } catch (error) {
      this.#fileBytes = bytesBefore;
      // What was begun is not left on a full disk. Nothing depends on it.
      void file?.close().catch(() => {});
      void files.remove(this.#path(segment.number)).catch(() => {});
      throw error;
    }
    this.#extend(segment, waiting);
    this.#segments.push(segment);
    this.#file = file;
    await before?.close().catch(() => {});
    this.#boundSegments();
    this.#cleaning = this.#cleaning.then(() => this.#clean());
  }

  /** The first segment of this run, or the first after trouble. */
  async #begin(): Promise<void> {
    if (this.#trouble === undefined) return;
    const isAgain = this.#failures > 0;
    const waiting = this.#waiting;
    try {
      await this.#openSegment(waiting);
    } catch (error) {
      this.#failed(error);
      return;
    }
    // Meanwhile nothing was added to it; the database may have taken some away.
    this.#waiting = [];
    if (isAgain) this.#options.log.info({ entries: waiting.length, lost: this.#lost }, 'the journal is on the disk again');
    this.#trouble = undefined;
    this.#failures = 0;
    this.#lost = 0;
  }

  #failed(error: unknown): void {
    const code = codeOf(error);
    const detail = code === 'ENOSPC' || code === 'EDQUOT' ? 'the disk is full' : sentenceOf(error);
    if (this.#failures === 0)
      this.#options.log.error(
        { err: error, directory: this.#options.directory },
        'the journal cannot be written; what happens is kept in memory',
      );
    this.#trouble = detail;
    this.#failures++;
    void this.#letGo();
    const waitMs = backoffMs(this.#failures, this.#bounds.retry, this.#options.random);
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => {
      this.#retryDue = true;
      void this.#work();
    }, waitMs).unref();
  }

  /** Whatever the file has got is good up to a line; nothing is written after what may be half a line. */
  async #letGo(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => {});
  }

  #wait(entries: readonly RecordedEntry[]): void {
    for (const entry of entries) this.#waiting.push(entry);
    const tooMany = this.#waiting.length - this.#bounds.waitingMax;
    if (tooMany <= 0) return;
    if (this.#lost === 0)
      this.#options.log.error(
        { waitingMax: this.#bounds.waitingMax },
        'too much waits for the disk; the oldest lines of history are let go',
      );
    this.#waiting.splice(0, tooMany);
    this.#lost += tooMany;
  }

  #boundSegments(): void {
    const tooMany = this.#segments.length - this.#bounds.segmentsMax;
    if (tooMany <= 0) return;
    const last = this.#segments[tooMany - 1]!.lastPosition;
    if (last <= this.#confirmedPosition) return;
    this.#options.log.error(
      { segments: tooMany },
      'the journal has grown too long without a database; the oldest history is let go, what is so stays',
    );
    this.#confirmedPosition = last;
  }

  async #clean(): Promise<void> {
    for (const segment of this.#segments.slice(0, -1)) {
      if (segment.lastPosition > this.#confirmedPosition) return;
      try {
        await this.#options.files.remove(this.#path(segment.number));
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') {
          this.#options.log.warn({ err: error }, 'a segment of the journal that is no longer needed cannot be deleted');
          return;
        }
      }
      this.#segments = this.#segments.filter((other) => other !== segment);
    }
  }

  async #inTime<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const { answerWithinMs } = this.#bounds;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the disk has not answered for ${answerWithinMs / 1_000} s`)), answerWithinMs);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #path(number: number): string {
    return join(this.#options.directory, segmentName(number));
  }
}
