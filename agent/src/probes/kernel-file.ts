/**
 * Reads the kernel's text files (/proc, /sys, cgroups) cheaply: the descriptor stays open, every read starts
 * at position 0 (which makes the kernel write the file anew) into a buffer that is reused, and the text is
 * taken apart byte by byte. The cursor is valid until the next read of the same file.
 */
import { accessSync, closeSync, openSync, readSync } from 'node:fs';
import { codeOf } from '@tidemark/service';

const FIRST_BYTES = 4_096;
/** The kernel fills a page before it hands out a part: when it gave less than half a page of short records, that was all. */
const WHOLE_BELOW_BYTES = 2_048;
/** Trying to open what is not there costs more than reading what is: after that, so many reads take it for still missing. */
const READS_BEFORE_RETRY = 20;
/** Far above any real file of this kind: /proc/stat of 1,000 CPUs has 200 kB, 20,000 mounts have 4 MB. */
const MAX_BYTES = 16 * 1024 * 1024;
/**
 * What the kernel says when a file, its device or its process is not there (any more), when a feature is compiled
 * in but off, or when only root may read it.
 */
const ABSENT = new Set('ENOENT ENOTDIR ENODEV ESRCH ENXIO EOPNOTSUPP ENOTSUP EINVAL ENODATA EACCES EPERM'.split(' '));

export class KernelFile {
  readonly path: string;
  readonly #cursor = new Cursor();
  #bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #fd: number | undefined;
  #absentReads = 0;
  readonly #wholeBelowBytes: number;

  /** `longRecords` is for files one line of which can fill more than half a page, so that a short read does not mean the end. */
  constructor(path: string, longRecords = false) {
    this.path = path;
    this.#wholeBelowBytes = longRecords ? 0 : WHOLE_BELOW_BYTES;
  }

  /**
   * Reads the file anew. Returns undefined when there is no such thing on this machine or it may not be read;
   * throws what else goes wrong.
   */
  read(): Cursor | undefined {
    if (this.#absentReads > 0) {
      this.#absentReads--;
      return undefined;
    }
    const wasOpen = this.#fd !== undefined;
    try {
      return this.#read();
    } catch (error) {
      this.close();
      const code = codeOf(error) ?? '';
      if (!ABSENT.has(code)) throw error;
    }
    // The device went away and another one may have its name by now.
    if (wasOpen) return this.read();
    this.#absentReads = READS_BEFORE_RETRY;
    return undefined;
  }

  /** As `read`, for a file that every Linux has: its absence is a failure that names it, and it is looked for each time. */
  mustRead(): Cursor {
    this.#absentReads = 0;
    const cursor = this.read();
    if (cursor === undefined) throw new Error(`cannot read ${this.path}`);
    return cursor;
  }

  close(): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
  }

  #read(): Cursor {
    this.#fd ??= openSync(this.path, 'r');
    let length = 0;
    for (;;) {
      if (length === this.#bytes.length) this.#grow();
      // Several reads may be needed even with room to spare: the kernel hands long files out in parts.
      const count = readSync(this.#fd, this.#bytes, length, this.#bytes.length - length, length);
      if (count === 0) break;
      length += count;
      if (length < this.#wholeBelowBytes) break;
    }
    return this.#cursor.reset(this.#bytes, length);
  }

  #grow(): void {
    if (this.#bytes.length >= MAX_BYTES) throw new Error(`${this.path} has more than ${MAX_BYTES} bytes`);
    const bytes = Buffer.allocUnsafeSlow(this.#bytes.length * 4);
    this.#bytes.copy(bytes);
    this.#bytes = bytes;
  }
}

/** A file's text, for what is read once; undefined when it is not there or may not be read. */
export function textOf(path: string): string | undefined {
  const file = new KernelFile(path, true);
  try {
    return file.read()?.rest();
  } finally {
    file.close();
  }
}

export function exists(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
}

const TAB = 0x09;
const NEWLINE = 0x0a;
const SPACE = 0x20;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

/** Walks through text line by line, word by word. Never goes past the end; a word is never taken from the next line. */
export class Cursor {
  #bytes: Uint8Array & { toString(encoding?: BufferEncoding, start?: number, end?: number): string } = Buffer.alloc(0);
  #at = 0;
  #end = 0;

  static of(text: string): Cursor {
    const bytes = Buffer.from(text);
    return new Cursor().reset(bytes, bytes.length);
  }

  reset(bytes: Buffer, length: number): this {
    this.#bytes = bytes;
    this.#at = 0;
    this.#end = length;
    return this;
  }

  get atEnd(): boolean {
    return this.#at >= this.#end;
  }

  /** Goes to the begin of the next line; false when there is none. */
  nextLine(): boolean {
    // The interrupt line of /proc/stat has tens of thousands of bytes: native search, not a loop.
    const newline = this.#bytes.indexOf(NEWLINE, this.#at);
    this.#at = newline === -1 || newline >= this.#end ? this.#end : newline + 1;
    return this.#at < this.#end;
  }

  /** Skips blanks; true when the line has more. */
  more(): boolean {
    let byte = this.#bytes[this.#at];
    while (this.#at < this.#end && (byte === SPACE || byte === TAB)) byte = this.#bytes[++this.#at];
    return this.#at < this.#end && byte !== NEWLINE;
  }

  /** Steps over `text` (ASCII) when it comes next. */
  take(text: string): boolean {
    if (this.#at + text.length > this.#end) return false;
    for (let i = 0; i < text.length; i++) if (this.#bytes[this.#at + i] !== text.codePointAt(i)) return false;
    this.#at += text.length;
    return true;
  }

  /** The next decimal number of the line, or NaN when what follows is none; steps over its digits alone. */
  number(): number {
    if (!this.more()) return Number.NaN;
    const bytes = this.#bytes;
    const negative = bytes[this.#at] === MINUS;
    if (negative) this.#at++;
    const first = this.#at;
    let value = this.#digits(0);
    if (this.#at === first) return Number.NaN;
    if (this.#at < this.#end && bytes[this.#at] === POINT) {
      const point = ++this.#at;
      value = this.#digits(value) / 10 ** (this.#at - point);
    }
    return negative ? -value : value;
  }

  /** The next word of the line, up to a blank or up to `stop`, which is stepped over. Empty at the line's end. */
  word(stop?: string): string {
    if (!this.more()) return '';
    const stopByte = stop?.codePointAt(0) ?? SPACE;
    const start = this.#at;
    let at = start;
    for (; at < this.#end; at++) {
      const byte = this.#bytes[at]!;
      if (byte === stopByte || byte === SPACE || byte === TAB || byte === NEWLINE) break;
    }
    this.#at = at < this.#end && this.#bytes[at] === stopByte && stop !== undefined ? at + 1 : at;
    return this.#bytes.toString('utf8', start, at);
  }

  /** Skips `count` words. */
  skip(count: number): void {
    for (let i = 0; i < count && this.more(); i++) {
      while (this.#at < this.#end) {
        const byte = this.#bytes[this.#at];
        if (byte === SPACE || byte === TAB || byte === NEWLINE) break;
        this.#at++;
      }
    }
  }

  /** The rest of the line, without blanks around it. */
  line(): string {
    this.more();
    const newline = this.#bytes.indexOf(NEWLINE, this.#at);
    const end = newline === -1 || newline > this.#end ? this.#end : newline;
    const text = this.#bytes.toString('utf8', this.#at, end).trimEnd();
    this.#at = end;
    return text;
  }

  /** All that is left, as a string. */
  rest(): string {
    const text = this.#bytes.toString('utf8', this.#at, this.#end);
    this.#at = this.#end;
    return text;
  }

  #digits(value: number): number {
    for (; this.#at < this.#end; this.#at++) {
      const digit = this.#bytes[this.#at]! - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    return value;
  }
}
