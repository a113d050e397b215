/**
 * The form of a spool file: lines of text, each with its own checksum, so that whatever is cut off or
 * scribbled over spoils the lines it touches and no other. A file stands alone: the layouts that its
 * reports follow are in it.
 *
 *   CRC head {"format":1,"bootId":B,"first":N}   the first line; N is the first sequence in the file
 *   CRC layout HASH JSON
 *   CRC report BOOTID SEQUENCE TAKENAT JSON
 *   CRC ack BOOTID RANGES                        settled reports of any file: "3,7-9"
 *
 * CRC is the CRC-32 of the rest of the line as 8 hex digits. Lines of another kind are a later version's: skipped.
 */
import { crc32 } from 'node:zlib';

const NEWLINE = 10;
const SPACE = 32;
/** Characters of the checksum and the blank after it. */
export const LINE_PREFIX = 9;

/** One line as it stands in the file. `text` has no newline. */
export function encodeLine(text: string): string {
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`;
}

export function headLine(bootId: string, first: number): string {
  return encodeLine(`head ${JSON.stringify({ format: 1, bootId, first })}`);
}

export function ackLine(bootId: string, sequences: readonly number[]): string {
  return encodeLine(`ack ${bootId} ${toRanges(sequences)}`);
}

/** Where a piece of JSON stands in its file. */
export interface Place {
  readonly offset: number;
  readonly length: number;
}

/** A file of the spool. */
export interface Segment {
  readonly id: number;
  readonly path: string;
  sizeBytes: number;
  /** Reports in it that still wait. */
  waiting: number;
  readonly layouts: Map<string, Place>;
  /** Settled reports in it, by boot id: said again when the file that said so goes before this one. */
  readonly settled: Map<string, number[]>;
  hasAcks: boolean;
}

export interface FoundReport extends Place {
  readonly bootId: string;
  readonly sequence: number;
  readonly takenAt: number;
}

export interface ScannedSegment {
  head: { bootId: string; first: number } | undefined;
  reports: FoundReport[];
  layouts: Map<string, Place>;
  acks: { bootId: string; sequences: number[] }[];
  /** Damaged lines before the first intact report and after the last one, without those that still say that they are no report. */
  damagedBefore: number;
  damagedAfter: number;
  /** Any damage at all, be it to reports or not. */
  damaged: boolean;
  /** Where the intact lines are, newline included. */
  intact: Place[];
}

/** Reads every intact line of a file. Never throws, whatever the bytes. */
export function scanSegment(file: Buffer): ScannedSegment {
  const found: ScannedSegment = {
    head: undefined,
    reports: [],
    layouts: new Map(),
    acks: [],
    damagedBefore: 0,
    damagedAfter: 0,
    damaged: false,
    intact: [],
  };
  let headDamaged = false;
  for (let start = 0; start < file.length;) {
    const newline = file.indexOf(NEWLINE, start);
    const end = newline < 0 ? file.length : newline;
    // A line without its newline was being written when the power went, even if its checksum holds by chance.
    if (newline >= 0 && isIntact(file, start, end)) {
      found.intact.push({ offset: start, length: end + 1 - start });
      takeLine(file, start + LINE_PREFIX, end, found);
    } else {
      found.damaged = true;
      const kind = file.toString('latin1', start + LINE_PREFIX, Math.min(end, start + LINE_PREFIX + 7));
      if (end > start && !/^(head|layout|ack) /.test(kind)) found.damagedAfter++;
      if (start === 0) headDamaged = found.damagedAfter === 1;
    }
    start = end + 1;
  }
  // The first line is the head, whatever is left of it. Where nothing is left of a file, one report at least was in it.
  if (headDamaged && found.reports.length > 0) found.damagedBefore--;
  else if (headDamaged && found.intact.length > 0) found.damagedAfter--;
  return found;
}

/** Whether the bytes from `start` to `end`, without the newline, are a line with the right checksum. */
export function isIntact(file: Buffer, start: number, end: number): boolean {
  if (end - start <= LINE_PREFIX || file[start + LINE_PREFIX - 1] !== SPACE) return false;
  const stated = file.toString('latin1', start, start + LINE_PREFIX - 1);
  if (!/^[0-9a-f]{8}$/.test(stated)) return false;
  return Number.parseInt(stated, 16) === crc32(file.subarray(start + LINE_PREFIX, end));
}

function takeLine(file: Buffer, start: number, end: number, found: ScannedSegment): void {
  const words = new Words(file, start, end);
  switch (words.next()) {
    case 'head':
      found.head = parseHead(words.rest());
      break;
    case 'layout': {
      const hash = words.next();
      found.layouts.set(hash, words.restPlace());
      break;
    }
    case 'report': {
      const report = { bootId: words.next(), sequence: Number(words.next()), takenAt: Number(words.next()), ...words.restPlace() };
      if (!Number.isInteger(report.sequence) || !Number.isFinite(report.takenAt)) break;
      if (found.reports.length === 0) found.damagedBefore = found.damagedAfter;
      found.damagedAfter = 0;
      found.reports.push(report);
      break;
    }
    case 'ack':
      found.acks.push({ bootId: words.next(), sequences: fromRanges(words.rest()) });
      break;
    default:
  }
}

/** Reads the words of a line one after the other without copying what follows them. */
class Words {
  readonly #file: Buffer;
  readonly #end: number;
  #at: number;
  constructor(file: Buffer, start: number, end: number) {
    this.#file = file;
    this.#at = start;
    this.#end = end;
  }
  next(): string {
    const blank = this.#file.indexOf(SPACE, this.#at);
    const end = blank < 0 || blank > this.#end ? this.#end : blank;
    const word = this.#file.toString('latin1', this.#at, end);
    this.#at = Math.min(end + 1, this.#end);
    return word;
  }
  restPlace(): Place {
    return { offset: this.#at, length: this.#end - this.#at };
  }
  rest(): string {
    return this.#file.toString('utf8', this.#at, this.#end);
  }
}

function parseHead(json: string): ScannedSegment['head'] {
  try {
    const { bootId, first } = JSON.parse(json) as { bootId?: unknown; first?: unknown };
    return typeof bootId === 'string' && typeof first === 'number' ? { bootId, first } : undefined;
  } catch {
    return undefined;
  }
}

/** `[3,7,8,9]` as "3,7-9". */
export function toRanges(sequences: readonly number[]): string {
  const sorted = sequences.toSorted((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length;) {
    const from = sorted[i]!;
    let to = from;
    while (i < sorted.length && sorted[i]! <= to + 1) to = sorted[i++]!;
    parts.push(from === to ? String(from) : `${from}-${to}`);
  }
  return parts.join(',');
}

export function fromRanges(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [from, to = from] = part.split('-').map(Number);
    if (!Number.isInteger(from) || !Number.isInteger(to) || from! < 1 || to! - from! > 10_000_000) return [];
    return Array.from({ length: Math.max(0, to! - from! + 1) }, (_, i) => from! + i);
  });
}

/**
 * Sequences of a boot that must have been in a file and are not: between its first and its last. `from` and
 * `to` are what the files around it say about where it began and ended, when they do.
 */
export function missingSequences(found: readonly number[], from: number | undefined, to: number | undefined): number[] {
  const seen = new Set(found);
  const first = from ?? Math.min(...found);
  const last = to ?? Math.max(...found);
  const missing: number[] = [];
  if (!Number.isFinite(first) || !Number.isFinite(last)) return missing;
  for (let sequence = first; sequence <= last && missing.length < 1_000_000; sequence++) if (!seen.has(sequence)) missing.push(sequence);
  return missing;
}
