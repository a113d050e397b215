/**
 * Everybody's tracks: what agents report of where their servers stood, kept a day for what is sent on and two hours for the
 * rest. Reports may come in any order and more than once; what they say of one moment stays the same.
 */
import { parseLsn, type PostgresTrack } from '@tidemark/protocol';
import type { Branch, InstanceId, Position, Track, TrackReader } from './model.ts';
import { PositionTrack } from './track.ts';
import { Eras } from './tracks-eras.ts';
import { LineTrack, type LinePart } from './tracks-line.ts';

const HOUR_MS = 3_600_000;
export const HEAD_KEEP_MS = 24 * HOUR_MS;
export const OTHER_KEEP_MS = 2 * HOUR_MS;

type Run = PostgresTrack['runs'][number];

interface Book {
  systemIdentifier: string | undefined;
  readonly head: PositionTrack;
  readonly replayed: PositionTrack;
  readonly sender: PositionTrack;
  readonly eras: Eras;
}

export class Tracks implements TrackReader {
  readonly #books = new Map<InstanceId, Book>();
  readonly #reported = new Map<InstanceId, PositionTrack>();

  /**
   * Takes what a report says of a server. `reportAt`: when it was taken, on the collector's clock, give or take
   * `extraErrorMs`.
   */
  accept(id: InstanceId, reportAt: number, track: PostgresTrack, extraErrorMs: number): void {
    const book = this.#bookFor(id, reportAt, track.systemIdentifier ?? undefined);
    if (book === undefined) return;
    const errorMs = track.errorMs + 2 * extraErrorMs;
    for (const run of track.runs) acceptRun(book, run, reportAt - extraErrorMs, errorMs);
  }

  /** The same of a report out of the store, whose time may be off by `extraErrorMs` either way. */
  acceptStored(id: InstanceId, at: number, track: PostgresTrack, extraErrorMs: number): void {
    this.accept(id, at, track, extraErrorMs);
  }

  /** What an upstream was told by a replica that nobody watches. Times in milliseconds; what is no position is ignored. */
  acceptReported(id: InstanceId, at: number, replayLsn: string): void {
    const lsn = parseLsn(replayLsn);
    if (lsn === undefined) return;
    let track = this.#reported.get(id);
    if (track === undefined) this.#reported.set(id, (track = new PositionTrack({ kind: 'floor', keepMs: OTHER_KEEP_MS })));
    track.add(at, lsn, 0);
  }

  head(id: InstanceId): PositionTrack | undefined {
    return known(this.#books.get(id)?.head);
  }

  replayed(id: InstanceId): PositionTrack | undefined {
    return known(this.#books.get(id)?.replayed);
  }

  sender(id: InstanceId): PositionTrack | undefined {
    return known(this.#books.get(id)?.sender);
  }

  reported(id: InstanceId): PositionTrack | undefined {
    return known(this.#reported.get(id));
  }

  /** The newest position that a server was seen at as a primary: what it received later, from the next one, is not its own. */
  wrote(id: InstanceId): Position | undefined {
    const book = this.#books.get(id);
    const era = book?.eras.lastPrimary(0);
    return era === undefined ? undefined : book!.head.lastUntil(era.to);
  }

  /**
   * The positions of the line of history that a primary is at the end of: its own, and before its promotions those of the
   * primaries before it. `ancestors`: who was primary before, the last one first, and the position up to which its history
   * is this line's. Undefined when nothing is known of the root.
   */
  clockOf(root: InstanceId, ancestors: readonly { readonly id: InstanceId; readonly until: bigint }[]): Track | undefined {
    const own = this.#books.get(root);
    if (own === undefined || own.head.newest === undefined) return undefined;
    const seen = new Map<InstanceId, number>();
    const parts: LinePart[] = [{ id: root, until: undefined }, ...ancestors].flatMap(({ id, until }, i) => {
      const book = this.#books.get(id);
      const nth = seen.get(id) ?? 0;
      seen.set(id, nth + 1);
      const era = book?.eras.lastPrimary(nth);
      if (book === undefined || book.head.newest === undefined || (era === undefined && i > 0)) return [];
      return [
        {
          track: book.head,
          until,
          since: era?.since ?? -Infinity,
          primaryFrom: era?.from ?? Infinity,
          primaryTo: era?.to ?? -Infinity,
          from: ancestors[i]?.until,
        },
      ];
    });
    return new LineTrack(parts);
  }

  /** See TrackReader. */
  line(primary: InstanceId, branches: readonly Branch[], others: readonly InstanceId[]): Track | undefined {
    const ancestors: { id: InstanceId; until: bigint }[] = [];
    const own = branches.at(-1)?.by === primary ? branches : [];
    for (let i = own.length - 1; i >= 0; i--) {
      const until = parseLsn(own[i]!.forkLsn);
      const id = i > 0 ? own[i - 1]!.by : this.#onlyPrimaryBelow(own[0]!.timeline, [primary, ...others]);
      if (until === undefined || id === undefined) break;
      ancestors.push({ id, until });
    }
    return this.clockOf(primary, ancestors);
  }

  /** Who was primary before the first promotion that is known of; two of them may have led different histories. */
  #onlyPrimaryBelow(timeline: number, ids: readonly InstanceId[]): InstanceId | undefined {
    const found = ids.filter((id) => this.#books.get(id)?.eras.wasPrimaryBelow(timeline) === true);
    return found.length === 1 ? found[0] : undefined;
  }

  forget(id: InstanceId): void {
    this.#books.delete(id);
    this.#reported.delete(id);
  }

  /** Of all positions that are kept. */
  get sizeBytes(): number {
    let bytes = 0;
    for (const { head, replayed, sender } of this.#books.values()) bytes += head.sizeBytes + replayed.sizeBytes + sender.sizeBytes;
    for (const track of this.#reported.values()) bytes += track.sizeBytes;
    return bytes;
  }

  /** A server with another system identifier is another server: what was known of the one before is not its history. */
  #bookFor(id: InstanceId, reportAt: number, systemIdentifier: string | undefined): Book | undefined {
    let book = this.#books.get(id);
    if (book !== undefined && systemIdentifier !== undefined && (book.systemIdentifier ?? systemIdentifier) !== systemIdentifier) {
      if (reportAt < (book.head.newest?.at ?? -Infinity)) return undefined;
      book = undefined;
    }
    if (book === undefined) {
      book = {
        systemIdentifier,
        head: new PositionTrack({ kind: 'exact', keepMs: HEAD_KEEP_MS }),
        replayed: new PositionTrack({ kind: 'exact', keepMs: OTHER_KEEP_MS }),
        // What was on its way while the upstream wrote on is not known to have been all: never more than a floor.
        sender: new PositionTrack({ kind: 'floor', keepMs: OTHER_KEEP_MS }),
        eras: new Eras(),
      };
      this.#books.set(id, book);
    }
    book.systemIdentifier ??= systemIdentifier;
    return book;
  }
}

function acceptRun(book: Book, { role, timeline, samples }: Run, takenAt: number, errorMs: number): void {
  if (samples.length === 0 || !samples.every(isPast)) return;
  const firstAt = takenAt - samples[0]![0];
  let isCut = book.eras.note(firstAt, takenAt - samples.at(-1)![0], role, timeline);
  let isReplayedCut = isCut;
  let isSenderCut = isCut;
  for (const [agoMs, headText, replayedText, senderText, senderAgoMs] of samples) {
    const at = takenAt - agoMs;
    const [head, replayed, sender] = [parseLsn(headText), parseLsn(replayedText), parseLsn(senderText)];
    if (head !== undefined) {
      if (isCut) book.head.cutBefore(at, head);
      isCut = false;
      book.head.add(at, head, errorMs);
    }
    if (role !== 'replica') continue;
    if (replayed !== undefined) {
      if (isReplayedCut) book.replayed.cutBefore(at, replayed);
      isReplayedCut = false;
      book.replayed.add(at, replayed, errorMs);
    }
    if (sender !== undefined) {
      // Nothing was heard after it was asked for; without a time it had been heard by then.
      const heardAt = takenAt - Math.max(agoMs, senderAgoMs ?? agoMs);
      if (isSenderCut) book.sender.cutBefore(heardAt, sender);
      isSenderCut = false;
      book.sender.add(heardAt, sender, errorMs);
    }
  }
}

/** What is asked of a server while the report is taken comes after the report's moment. */
const COLLECTION_MS = 10_000;
/** A time that is still to come would make all the rest look old. */
const isPast = ([agoMs]: Run['samples'][number]): boolean => agoMs >= -COLLECTION_MS && agoMs <= HEAD_KEEP_MS;

const known = (track: PositionTrack | undefined): PositionTrack | undefined => (track?.newest === undefined ? undefined : track);
