/**
 * The journal's lines: a checksum, a space, JSON. A segment begins with a checkpoint (everything the book held), between
 * `begin` and `end`, and goes on with entries. A checkpoint that is not whole counts for nothing.
 */
import { setImmediate } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import type { BookState, GoneChannel, KeptDelivery, KeptIncident, KeptSilence, Mark, RecordedEntry } from './book.ts';
import type { Told } from './entry.ts';

type StoredIncident = Omit<KeptIncident, 'told'> & { readonly told: readonly (readonly [string, Told])[] };

export type Line =
  | { readonly begin: Mark }
  | { readonly incident: StoredIncident }
  | { readonly silence: KeptSilence }
  | { readonly delivery: KeptDelivery }
  | { readonly gone: GoneChannel }
  /** How many lines stand between `begin` and this. */
  | { readonly end: number }
  | { readonly entry: RecordedEntry };

/** Lines at a time, between which others get their turn. */
const TURN_LINES = 500;

export function writtenLine(line: Line): string {
  const json = JSON.stringify(line);
  return `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
}

/** The lines of a checkpoint, in pieces of a bounded size. */
export function* checkpointPieces({ mark, incidents, silences, deliveries, goneChannels }: BookState): Generator<string> {
  let piece = writtenLine({ begin: mark });
  let count = 0;
  for (const line of checkpointLines({ incidents, silences, deliveries, goneChannels })) {
    piece += writtenLine(line);
    if (++count % TURN_LINES !== 0) continue;
    yield piece;
    piece = '';
  }
  yield piece + writtenLine({ end: count });
}

function* checkpointLines({ incidents, silences, deliveries, goneChannels }: Omit<BookState, 'mark'>): Generator<Line> {
  for (const incident of incidents) yield { incident: { ...incident, told: [...incident.told] } };
  for (const silence of silences) yield { silence };
  for (const delivery of deliveries) yield { delivery };
  for (const gone of goneChannels) yield { gone };
}

export interface SegmentContent {
  /** The last whole checkpoint of the segment. */
  checkpoint: BookState | undefined;
  /** Every entry, those before the checkpoint too. */
  entries: RecordedEntry[];
  /** Lines that are not what was written, with good ones after them. */
  damagedLines: number;
  /** Bytes at the end that are not whole lines. */
  tornBytes: number;
  /** Up to here it is good. */
  goodBytes: number;
}

const LINE_FEED = 0x0a;

/** Reads a segment, whatever state it is in. */
export async function readSegment(bytes: Buffer): Promise<SegmentContent> {
  const content: SegmentContent = { checkpoint: undefined, entries: [], damagedLines: 0, tornBytes: 0, goodBytes: 0 };
  const checkpoint = new CheckpointReader();
  let suspect = 0;
  let lines = 0;
  for (let start = 0; start < bytes.length;) {
    const found = bytes.indexOf(LINE_FEED, start);
    const end = found === -1 ? bytes.length : found;
    const line = found === -1 ? undefined : parsedLine(bytes.subarray(start, end));
    start = end + 1;
    if (++lines % TURN_LINES === 0) await setImmediate();
    if (line === undefined) {
      suspect++;
      continue;
    }
    content.damagedLines += suspect;
    suspect = 0;
    content.goodBytes = start;
    if ('entry' in line) content.entries.push(line.entry);
    else content.checkpoint = checkpoint.take(line) ?? content.checkpoint;
  }
  content.tornBytes = bytes.length - content.goodBytes;
  return content;
}

function parsedLine(bytes: Buffer): Line | undefined {
  if (bytes.length < 10 || bytes[8] !== 0x20) return undefined;
  const json = bytes.subarray(9);
  if (bytes.toString('latin1', 0, 8) !== crc32(json).toString(16).padStart(8, '0')) return undefined;
  try {
    return JSON.parse(json.toString('utf8')) as Line;
  } catch {
    return undefined;
  }
}

class CheckpointReader {
  #mark: Mark | undefined;
  #count = 0;
  #incidents: KeptIncident[] = [];
  #silences: KeptSilence[] = [];
  #deliveries: KeptDelivery[] = [];
  #goneChannels: GoneChannel[] = [];

  /** Returns the checkpoint at its last line, when it is whole. */
  take(line: Exclude<Line, { entry: RecordedEntry }>): BookState | undefined {
    if ('begin' in line) {
      this.#mark = line.begin;
      this.#count = 0;
      [this.#incidents, this.#silences, this.#deliveries, this.#goneChannels] = [[], [], [], []];
      return undefined;
    }
    if ('end' in line) {
      const mark = this.#mark;
      this.#mark = undefined;
      if (mark === undefined || line.end !== this.#count) return undefined;
      return {
        mark,
        incidents: this.#incidents,
        silences: this.#silences,
        deliveries: this.#deliveries,
        goneChannels: this.#goneChannels,
      };
    }
    this.#count++;
    if ('incident' in line) this.#incidents.push({ ...line.incident, told: new Map(line.incident.told) });
    else if ('silence' in line) this.#silences.push(line.silence);
    else if ('delivery' in line) this.#deliveries.push(line.delivery);
    else this.#goneChannels.push(line.gone);
    return undefined;
  }
}
