/** Reads single lines out of spool files. Each is checked anew: what was intact when the file was loaded may have been scribbled on since. */
import { close, open, read as readFd } from 'node:fs';
import { promisify } from 'node:util';
import { codeOf, sentenceOf, type Log } from '@tidemark/service';
import { isIntact, LINE_PREFIX, type Place } from './segment.ts';

const openFile = promisify(open);
const readFile = promisify(readFd);
const closeFile = promisify(close);

/** The machine is short of something for the moment; the file may be as good as ever. */
const PASSING = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR', 'EBUSY']);

/** Keeps files open while several lines are read; to be closed afterwards. */
export class SegmentReader {
  readonly #files = new Map<string, number>();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * The JSON of a line, whose words before it are `words`; undefined when the line is damaged or its file gone.
   * Throws what may pass: then nothing is known about the line.
   */
  async json(path: string, { offset, length }: Place, words: string): Promise<Buffer | undefined> {
    const before = LINE_PREFIX + words.length + 1;
    try {
      let fd = this.#files.get(path);
      if (fd === undefined) this.#files.set(path, (fd = await openFile(path, 'r')));
      const line = Buffer.allocUnsafe(before + length);
      const { bytesRead } = await readFile(fd, line, 0, line.length, offset - before);
      const isWhole =
        bytesRead === line.length && isIntact(line, 0, line.length) && line.toString('latin1', LINE_PREFIX, before) === `${words} `;
      return isWhole ? line.subarray(before) : undefined;
    } catch (error) {
      if (PASSING.has(codeOf(error) ?? '')) throw error;
      this.#log.warn({ trouble: sentenceOf(error) }, 'a spool file cannot be read');
      return undefined;
    }
  }

  async close(): Promise<void> {
    for (const fd of this.#files.values()) await closeFile(fd);
    this.#files.clear();
  }
}
