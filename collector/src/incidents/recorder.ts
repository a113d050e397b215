/**
 * The one way to change what is so: a happening gets an id, an epoch and a place, goes to the journal's disk, then into
 * the book, then to whoever listens, then to the database. What was recorded in one call takes effect together.
 */
import type { Clock } from '@tidemark/service';
import { IncidentBook, type RecordedEntry } from './book.ts';
import type { DeliveryItem, Entry, Happening, IncidentRecorder } from './entry.ts';
import { newId, type RandomBytes } from './id.ts';

/** Where entries are kept before they take effect. Hands them to `take` in the order they were given in. */
export interface EntryLog {
  append(entries: readonly RecordedEntry[]): Promise<void>;
}

export interface RecorderOptions {
  book: IncidentBook;
  epoch: number;
  clock: Pick<Clock, 'wallMs'>;
  random: RandomBytes;
  log: EntryLog;
}

/** One that was over this long ago and told is let go of; so long the API has it without the database. */
export const KEEP_CLOSED_MS = 3_600_000;
/** So long a channel that takes nothing, or that is configured no more, is waited for. */
export const KEEP_UNTOLD_MS = 7 * 86_400_000;
const CLOSED_MAX = 20_000;
/** Messages of which it is remembered what they are about; an answer comes soon or never. */
const DELIVERIES_MAX = 10_000;

/** No text of anybody's is longer than this in the journal. */
const TEXT_MAX = 10_000;

export class Recorder implements IncidentRecorder {
  readonly book: IncidentBook;
  readonly epoch: number;
  readonly #options: RecorderOptions;
  readonly #listeners: ((entries: readonly Entry[]) => void)[] = [];
  /** What each message is about, for the answers to it. */
  readonly #about = new Map<string, readonly string[]>();
  #position: number;
  #supersededBy: number | undefined;
  #closed = false;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.book = options.book;
    this.epoch = options.epoch;
    this.#position = options.book.mark.position;
    for (const { deliveryId, items } of this.book.deliveries()) this.#remember(deliveryId, items);
  }

  /** The epoch of the collector that has taken over from this one. From then on nothing is recorded here any more. */
  get supersededBy(): number | undefined {
    return this.#supersededBy;
  }

  record(happenings: readonly (Happening & { readonly at: number })[]): Promise<void> {
    if (happenings.length === 0 || this.#supersededBy !== undefined || this.#closed) return Promise.resolve();
    const { clock, random } = this.#options;
    const now = clock.wallMs();
    const entries = happenings.map((happening) => {
      if (happening.kind === 'attempted') this.#remember(happening.deliveryId, happening.items);
      const about = happening.kind === 'answered' ? { about: this.#about.get(happening.deliveryId) ?? [] } : {};
      const entry = { ...happening, ...about, id: newId(now, random), epoch: this.epoch, position: ++this.#position };
      return storable(entry) as RecordedEntry;
    });
    return this.#options.log.append(entries);
  }

  onRecorded(listener: (entries: readonly Entry[]) => void): void {
    this.#listeners.push(listener);
  }

  /** Called by the journal, in order, as soon as entries are safe. */
  take(entries: readonly RecordedEntry[]): void {
    for (const entry of entries) this.book.apply(entry);
    for (const listener of this.#listeners) listener(entries);
  }

  /** Another collector decides from now on. */
  supersede(epoch: number): void {
    this.#supersededBy = epoch;
  }

  /** Nothing is recorded from here on; what waits still is. */
  close(): void {
    this.#closed = true;
  }

  #remember(deliveryId: string, items: readonly DeliveryItem[]): void {
    this.#about.delete(deliveryId);
    this.#about.set(deliveryId, [...new Set(items.map(({ incidentId }) => incidentId))]);
    if (this.#about.size <= DELIVERIES_MAX) return;
    const [oldest] = this.#about.keys();
    this.#about.delete(oldest!);
  }

  /** Lets go of what nobody asks for any more; `mirrored` is how far the database has everything. */
  tidy(mirrored: number): void {
    const now = this.#options.clock.wallMs();
    this.book.prune({ now, keepClosedMs: KEEP_CLOSED_MS, keepUntoldMs: KEEP_UNTOLD_MS, closedMax: CLOSED_MAX, mirrored });
  }
}

/**
 * A copy that is the same on the disk, in the database and in the book: no number that JSON does not have, no text that
 * PostgreSQL does not store, nothing without an end.
 */
function storable(value: unknown): unknown {
  if (typeof value === 'string') {
    const text = value.length > TEXT_MAX ? `${value.slice(0, TEXT_MAX - 1)}…` : value;
    return text.replaceAll('\0', '\uFFFD').toWellFormed();
  }
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (Array.isArray(value)) return value.map(storable);
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = {};
  for (const [key, one] of Object.entries(value)) if (one !== undefined) copy[storable(key) as string] = storable(one);
  return copy;
}
