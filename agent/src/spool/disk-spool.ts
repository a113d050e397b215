/**
 * The spool on disk: append-only files of checksummed lines (segment.ts), each at most a part of the bound.
 * A report is in a file, and the file on the disk, before it is sent. When the disk fails the newest reports
 * are kept in memory and written as soon as it works again. A file goes as soon as nothing in it waits.
 */
import { close, closeSync, constants, fsync, ftruncateSync, open, unlinkSync, write } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { codeOf, ensureDirectory, sentenceOf, type Clock, type Log } from '@tidemark/service';
import type { Layout } from '@tidemark/protocol';
import { loadSegments } from './load.ts';
import { PendingReports, type Entry } from './pending.ts';
import { ackLine, encodeLine, headLine, type Place, type Segment } from './segment.ts';
import { SegmentReader } from './segment-reader.ts';
import type { NewReport, Spool, SpoolBounds, SpooledReport, SpoolState } from './spool.ts';

const writeFile = promisify(write);
const sync = promisify(fsync);
const openFile = promisify(open);
const closeFile = promisify(close);

/** A new file whose every write is on the disk when it returns: one trip to another thread instead of two. */
const APPEND_DURABLY = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_DSYNC;
/** Reports kept in memory while the disk fails. */
const UNWRITTEN_MAX = 40;
const UNWRITTEN_BYTES_MAX = 4 * 1024 * 1024;
/** A disk that takes longer than this to write one report is treated as failing. */
const DISK_TIMEOUT_MS = 10_000;

export interface DiskSpoolOptions {
  /** Made when it is not there. */
  readonly directory: string;
  readonly bounds: SpoolBounds;
  readonly clock: Clock;
  readonly log: Log;
}

interface Unwritten {
  readonly entry: Entry;
  readonly layouts: readonly Layout[];
}

/** Opens a spool and finds what an earlier process left in it. Throws an OperationalFailure when the directory cannot be used. */
export function openDiskSpool(options: DiskSpoolOptions): Spool {
  ensureDirectory(options.directory, 'the reports that wait to be sent');
  return new DiskSpool(options);
}

class DiskSpool implements Spool {
  readonly #options: DiskSpoolOptions;
  readonly #pending = new PendingReports();
  /** By id, oldest first. */
  readonly #segments = new Map<number, Segment>();
  readonly #pendingAcks = new Map<string, number[]>();
  readonly #unwritten: Unwritten[] = [];
  readonly #segmentBytes: number;
  #current: { segment: Segment; fd: number } | undefined;
  #nextId = 1;
  #lost = 0;
  #trouble: string | undefined;
  #newest: Entry | undefined;
  #writing: Promise<void> | undefined;

  constructor(options: DiskSpoolOptions) {
    this.#options = options;
    this.#segmentBytes = Math.min(1024 * 1024, Math.max(64 * 1024, Math.floor(options.bounds.sizeBytesMax / 16)));
    this.#load();
  }

  async append(report: NewReport): Promise<void> {
    const entry: Entry = {
      bootId: report.bootId,
      sequence: report.sequence,
      takenAt: report.takenAt,
      sizeBytes: Buffer.byteLength(report.json),
      layouts: report.layouts.map((layout) => layout.hash),
      text: report.json,
      segment: undefined,
      offset: 0,
      expiresAtMs: this.#options.clock.monotonicMs() + this.#options.bounds.ageMsMax,
    };
    if (!this.#pending.add(entry)) return;
    // Only the newest is likely to be asked for soon.
    if (this.#newest?.segment !== undefined) this.#newest.text = undefined;
    this.#newest = entry;
    this.#unwritten.push({ entry, layouts: report.layouts });
    await this.#flush();
    this.#keepBounds();
  }

  newest(): SpooledReport | undefined {
    return this.#pending.newest();
  }

  oldest(count: number, sizeBytes: number): SpooledReport[] {
    return this.#pending.oldest(count, sizeBytes);
  }

  async read(reports: readonly SpooledReport[]): Promise<(Buffer | undefined)[]> {
    const reader = new SegmentReader(this.#options.log);
    try {
      const bodies: (Buffer | undefined)[] = [];
      for (const { bootId, sequence } of reports) {
        const entry = this.#pending.find(bootId, sequence);
        const body = entry === undefined ? undefined : await this.#body(entry, reader);
        if (entry !== undefined && body === undefined) {
          this.#options.log.warn({ bootId, sequence }, 'a report on disk cannot be read any more and is given up');
          this.giveUp([entry]);
        }
        bodies.push(body);
      }
      return bodies;
    } finally {
      await reader.close();
    }
  }

  async layout(hash: string): Promise<Buffer | undefined> {
    for (const { layouts } of this.#unwritten) {
      const layout = layouts.find((candidate) => candidate.hash === hash);
      if (layout !== undefined) return Buffer.from(JSON.stringify(layout));
    }
    const reader = new SegmentReader(this.#options.log);
    try {
      // The newest file first: the current layouts are there.
      for (const { path, layouts } of [...this.#segments.values()].toReversed()) {
        const place = layouts.get(hash);
        const json = place === undefined ? undefined : await reader.json(path, place, `layout ${hash}`);
        if (json !== undefined) return json;
      }
      return undefined;
    } finally {
      await reader.close();
    }
  }

  settle(bootId: string, sequences: readonly number[]): void {
    const done = sequences.filter((sequence) => this.#remove(bootId, sequence));
    if (done.length > 0) this.#queueAcks(bootId, done);
  }

  giveUp(reports: readonly SpooledReport[]): void {
    for (const { bootId, sequence } of reports) {
      if (!this.#remove(bootId, sequence)) continue;
      this.#lost++;
      this.#queueAcks(bootId, [sequence]);
    }
  }

  state(): SpoolState {
    const { count, sizeBytes } = this.#pending;
    return { reports: count, sizeBytes, oldestTakenAt: this.#pending.first()?.takenAt, lost: this.#lost, trouble: this.#trouble };
  }

  async close(): Promise<void> {
    if (this.#pendingAcks.size > 0 && this.#pending.count > 0) await this.#flush();
    await this.#writing?.catch(() => undefined);
    if (this.#current !== undefined) closeSync(this.#current.fd);
    const last = this.#current?.segment;
    this.#current = undefined;
    if (last?.waiting === 0) this.#unlink(last);
  }

  #load(): void {
    const { directory, clock, log, bounds } = this.#options;
    const loaded = loadSegments(directory, log);
    this.#nextId = loaded.nextId;
    this.#lost += loaded.lost;
    for (const segment of loaded.segments) this.#segments.set(segment.id, segment);
    const newestAt = loaded.reports.reduce((newest, report) => Math.max(newest, report.takenAt), Number.NEGATIVE_INFINITY);
    for (const { segment, ...report } of loaded.reports) {
      const ageMs = Math.max(0, newestAt - report.takenAt);
      const expiresAtMs = clock.monotonicMs() + bounds.ageMsMax - ageMs;
      this.#pending.add({ ...report, sizeBytes: report.length, layouts: undefined, text: undefined, segment: segment.id, expiresAtMs });
    }
    for (const [bootId, sequences] of loaded.acksToRepeat) this.#queueAcks(bootId, sequences);
    if (loaded.lost > 0) log.warn({ reports: loaded.lost }, 'the spool was damaged: reports are lost');
    if (loaded.reports.length > 0) log.info({ reports: loaded.reports.length }, 'reports of an earlier run wait in the spool');
    this.#keepBounds();
  }

  #queueAcks(bootId: string, sequences: readonly number[]): void {
    const queued = this.#pendingAcks.get(bootId);
    if (queued === undefined) this.#pendingAcks.set(bootId, [...sequences]);
    else queued.push(...sequences);
  }

  #remove(bootId: string, sequence: number): boolean {
    const entry = this.#pending.remove(bootId, sequence);
    if (entry === undefined) return false;
    if (entry === this.#newest) this.#newest = undefined;
    const at = this.#unwritten.findIndex((candidate) => candidate.entry === entry);
    if (at >= 0) this.#unwritten.splice(at, 1);
    const segment = entry.segment === undefined ? undefined : this.#segments.get(entry.segment);
    if (segment === undefined) return true;
    segment.waiting--;
    const settled = segment.settled.get(bootId);
    if (settled === undefined) segment.settled.set(bootId, [sequence]);
    else settled.push(sequence);
    if (segment.waiting === 0 && segment !== this.#current?.segment) this.#unlink(segment);
    return true;
  }

  /** Removes a file in which nothing waits; what it said about older files is to be said again. */
  #unlink(segment: Segment): void {
    this.#segments.delete(segment.id);
    if (segment.hasAcks)
      for (const other of this.#segments.values()) for (const [bootId, sequences] of other.settled) this.#queueAcks(bootId, sequences);
    try {
      unlinkSync(segment.path);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#options.log.warn({ err: error }, 'a spool file cannot be removed');
    }
  }

  /** Gives up what is too old, and the oldest files when all together are too large. */
  #keepBounds(): void {
    const { bounds, clock, log } = this.#options;
    const now = clock.monotonicMs();
    const before = this.#lost;
    for (let first = this.#pending.first(); first !== undefined && first.expiresAtMs <= now; first = this.#pending.first())
      this.giveUp([first]);
    let total = 0;
    for (const segment of this.#segments.values()) total += segment.sizeBytes;
    for (const segment of this.#segments.values()) {
      if (total <= bounds.sizeBytesMax || segment === this.#current?.segment) break;
      total -= segment.sizeBytes;
      this.#dropSegment(segment);
    }
    if (this.#lost > before)
      log.warn({ reports: this.#lost - before, lost: this.#lost }, 'the spool is full: the oldest reports are given up');
  }

  #dropSegment(segment: Segment): void {
    this.giveUp([...this.#pending].filter((entry) => entry.segment === segment.id));
    if (this.#segments.has(segment.id)) this.#unlink(segment);
  }

  /** Writes what is not yet on disk. One write at a time; a disk that hangs is left to itself and the caller goes on. */
  async #flush(): Promise<void> {
    const hangs = this.#writing !== undefined && this.#trouble !== undefined;
    if (!hangs) {
      this.#writing ??= this.#write();
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<'late'>((resolve) => {
        timer = setTimeout(resolve, DISK_TIMEOUT_MS, 'late');
      });
      const outcome = await Promise.race([this.#writing, late]);
      clearTimeout(timer);
      if (outcome === 'late') this.#failing(`${this.#options.directory} does not answer`);
    }
    this.#boundUnwritten();
  }

  async #write(): Promise<void> {
    try {
      do {
        const acks = [...this.#pendingAcks];
        this.#pendingAcks.clear();
        try {
          await this.#writeBatch([...this.#unwritten], acks);
        } catch (error) {
          for (const [bootId, sequences] of acks) this.#queueAcks(bootId, sequences);
          throw error;
        }
        // Acknowledgements that came meanwhile are in no hurry: they go with the next report.
      } while (this.#unwritten.length > 0);
      if (this.#trouble !== undefined) this.#options.log.info('reports are on disk again before they are sent');
      this.#trouble = undefined;
    } catch (error) {
      this.#failing(`${this.#options.directory}: ${diskSentence(error)}`);
    } finally {
      // In the same step as the last look at what is unwritten, so that nothing can come in between.
      this.#writing = undefined;
    }
  }

  async #writeBatch(batch: readonly Unwritten[], acks: readonly [string, number[]][]): Promise<void> {
    const { segment, fd } = await this.#segmentFor(batch[0]?.entry);
    const lines: string[] = [];
    const written: { entry: Entry; offset: number }[] = [];
    const layouts: [string, Place][] = [];
    let at = segment.sizeBytes;
    const add = (line: string): void => {
      lines.push(line);
      at += Buffer.byteLength(line);
    };
    for (const [bootId, sequences] of acks) add(ackLine(bootId, sequences));
    for (const { entry, layouts: needed } of batch) {
      for (const layout of needed) {
        if (segment.layouts.has(layout.hash) || layouts.some(([hash]) => hash === layout.hash)) continue;
        const json = JSON.stringify(layout);
        const line = encodeLine(`layout ${layout.hash} ${json}`);
        const length = Buffer.byteLength(json);
        add(line);
        layouts.push([layout.hash, { offset: at - 1 - length, length }]);
      }
      add(encodeLine(`report ${entry.bootId} ${entry.sequence} ${entry.takenAt} ${entry.text!}`));
      written.push({ entry, offset: at - 1 - entry.sizeBytes });
    }
    const data = Buffer.from(lines.join(''));
    try {
      for (let done = 0; done < data.length;)
        done += (await writeFile(fd, data, done, data.length - done, segment.sizeBytes + done)).bytesWritten;
    } catch (error) {
      this.#abandonTail(segment, fd);
      throw error;
    }
    segment.sizeBytes += data.length;
    segment.hasAcks ||= acks.length > 0;
    for (const [hash, place] of layouts) segment.layouts.set(hash, place);
    for (const { entry, offset } of written) this.#isWritten(segment, entry, offset);
    this.#unwritten.splice(0, this.#unwritten.length, ...this.#unwritten.filter(({ entry }) => entry.segment === undefined));
  }

  #isWritten(segment: Segment, entry: Entry, offset: number): void {
    entry.segment = segment.id;
    entry.offset = offset;
    if (entry !== this.#newest) entry.text = undefined;
    // It may have been settled from memory while the disk was slow.
    if (this.#pending.find(entry.bootId, entry.sequence) === entry) segment.waiting++;
    else this.#queueAcks(entry.bootId, [entry.sequence]);
  }

  /** After a failed write: what is in the file beyond the last good line is cut off, or the file is left as it is and not used again. */
  #abandonTail(segment: Segment, fd: number): void {
    try {
      ftruncateSync(fd, segment.sizeBytes);
      if (segment.sizeBytes > 0) return;
    } catch {
      // The checksums will tell.
    }
    this.#current = undefined;
    closeSync(fd);
    if (segment.waiting === 0) this.#unlink(segment);
  }

  /** The file to append to: the current one until it is full, then a new one that begins with `first`. */
  async #segmentFor(first: Entry | undefined): Promise<{ segment: Segment; fd: number }> {
    if (this.#current !== undefined) {
      const { segment, fd } = this.#current;
      let layoutBytes = 0;
      for (const { length } of segment.layouts.values()) layoutBytes += length;
      // Layouts are repeated in each file: files grow with them, or the spool would hold little else.
      const full = Math.min(layoutBytes + Math.max(this.#segmentBytes, 2 * layoutBytes), this.#options.bounds.sizeBytesMax / 4);
      if (segment.sizeBytes < full || first === undefined) return this.#current;
      this.#current = undefined;
      await closeFile(fd);
      if (segment.waiting === 0) this.#unlink(segment);
    }
    return (this.#current = await this.#newSegment(first));
  }

  async #newSegment(first: Entry | undefined): Promise<{ segment: Segment; fd: number }> {
    const id = this.#nextId++;
    const path = join(this.#options.directory, segmentName(id));
    const fd = await openFile(path, APPEND_DURABLY, 0o600);
    const segment: Segment = { id, path, sizeBytes: 0, waiting: 0, layouts: new Map(), settled: new Map(), hasAcks: false };
    this.#segments.set(id, segment);
    try {
      if (first !== undefined) {
        const head = Buffer.from(headLine(first.bootId, first.sequence));
        await writeFile(fd, head, 0, head.length, 0);
        segment.sizeBytes = head.length;
      }
      await syncDirectory(this.#options.directory);
    } catch (error) {
      await closeFile(fd);
      this.#unlink(segment);
      throw error;
    }
    return { segment, fd };
  }

  #failing(trouble: string): void {
    if (this.#trouble === undefined)
      this.#options.log.error({ trouble }, 'reports cannot be written to disk: the newest few are kept in memory');
    this.#trouble = trouble;
  }

  /** While the disk fails: room is made by the oldest file if there is one, else the oldest report in memory goes. */
  #boundUnwritten(): void {
    let bytes = this.#unwritten.reduce((sum, { entry }) => sum + entry.sizeBytes, 0);
    while (this.#unwritten.length > UNWRITTEN_MAX || (bytes > UNWRITTEN_BYTES_MAX && this.#unwritten.length > 1)) {
      const { entry } = this.#unwritten[0]!;
      bytes -= entry.sizeBytes;
      this.giveUp([entry]);
    }
  }

  async #body(entry: Entry, reader: SegmentReader): Promise<Buffer | undefined> {
    if (entry.text !== undefined) return Buffer.from(entry.text);
    const segment = entry.segment === undefined ? undefined : this.#segments.get(entry.segment);
    if (segment === undefined) return undefined;
    const words = `report ${entry.bootId} ${entry.sequence} ${entry.takenAt}`;
    return reader.json(segment.path, { offset: entry.offset, length: entry.sizeBytes }, words);
  }
}

export function segmentName(id: number): string {
  return `${String(id).padStart(10, '0')}.spool`;
}

async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const fd = await openFile(directory, 'r');
  try {
    await sync(fd);
  } finally {
    await closeFile(fd);
  }
}

function diskSentence(error: unknown): string {
  const code = codeOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'its file system is full';
  if (code === 'EROFS') return 'its file system is read-only';
  if (code === 'EIO') return 'its device reports an error';
  if (code === 'EACCES' || code === 'EPERM') return 'this user may not write there';
  return sentenceOf(error);
}
