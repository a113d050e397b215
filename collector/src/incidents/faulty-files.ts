/**
 * A file system in memory that loses power: what was not synced is gone or torn, names that were not synced may be missing
 * or back. It can be full, hang, or stop answering at a given operation as if the process had been killed there.
 */
import { basename } from 'node:path';
import type { JournalFiles } from './journal-files.ts';

interface StoredFile {
  content: Buffer;
  /** So much of it is on the disk for certain. */
  syncedBytes: number;
  /** Its name is on the disk for certain. */
  isNamed: boolean;
}

export type Fault = 'ENOSPC' | 'EIO' | 'hang';

export class FaultyFiles implements JournalFiles {
  readonly stored = new Map<string, StoredFile>();
  readonly #removed = new Map<string, StoredFile>();
  /** Asked before each operation that changes something. */
  fault: ((operation: number) => Fault | undefined) | undefined;
  operations = 0;
  #isDead = false;

  /** The process is gone: nothing that was asked of the disk is answered any more. */
  kill(): void {
    this.#isDead = true;
  }

  /** What a disk holds after the power went; `choose(n)` gives a whole number from 0 to n. */
  afterPowerCut(choose: (max: number) => number): FaultyFiles {
    const next = new FaultyFiles();
    for (const [name, file] of [...this.stored, ...this.#removed]) {
      const wasRemoved = this.#removed.has(name);
      if ((!file.isNamed || wasRemoved) && choose(1) === 0) continue;
      const kept = file.syncedBytes + choose(file.content.length - file.syncedBytes);
      const content = Buffer.from(file.content.subarray(0, kept));
      // A page that was given to the file and never written.
      if (kept > file.syncedBytes && choose(3) === 0) content.fill(0, file.syncedBytes + choose(kept - file.syncedBytes));
      next.stored.set(name, { content, syncedBytes: kept, isNamed: true });
    }
    return next;
  }

  /** What is there after the process was killed and the machine was not: all that was written. */
  afterKill(): FaultyFiles {
    const next = new FaultyFiles();
    for (const [name, { content }] of this.stored) next.stored.set(name, { content, syncedBytes: content.length, isNamed: true });
    return next;
  }

  makeDirectory(): Promise<void> {
    return this.#answer(() => {});
  }

  list(): Promise<string[]> {
    return this.#answer(() => [...this.stored.keys()]);
  }

  read(path: string): Promise<Buffer> {
    return this.#answer(() => this.#find(path).content);
  }

  create(path: string) {
    return this.#change(() => {
      const file: StoredFile = { content: Buffer.alloc(0), syncedBytes: 0, isNamed: false };
      this.stored.set(basename(path), file);
      return {
        append: (bytes: Uint8Array) =>
          this.#change(
            () => void (file.content = Buffer.concat([file.content, bytes])),
            // A disk that fills up takes what still fits.
            () => void (file.content = Buffer.concat([file.content, bytes.subarray(0, bytes.length >> 1)])),
          ),
        sync: () => this.#change(() => void (file.syncedBytes = file.content.length)),
        close: () => Promise.resolve(),
      };
    });
  }

  truncate(path: string, sizeBytes: number): Promise<void> {
    return this.#change(() => {
      const file = this.#find(path);
      file.content = file.content.subarray(0, sizeBytes);
      file.syncedBytes = Math.min(file.syncedBytes, sizeBytes);
    });
  }

  remove(path: string): Promise<void> {
    return this.#change(() => {
      this.#removed.set(basename(path), this.#find(path));
      this.stored.delete(basename(path));
    });
  }

  syncDirectory(): Promise<void> {
    return this.#change(() => {
      for (const file of this.stored.values()) file.isNamed = true;
      this.#removed.clear();
    });
  }

  #find(path: string): StoredFile {
    const file = this.stored.get(basename(path));
    if (file === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    return file;
  }

  #change<T>(work: () => T, halfDone: () => void = () => {}): Promise<T> {
    const fault = this.#isDead ? undefined : this.fault?.(this.operations++);
    if (fault === 'hang') return new Promise(() => {});
    if (fault === undefined) return this.#answer(work);
    return this.#answer(() => {
      if (fault === 'ENOSPC') halfDone();
      throw Object.assign(new Error(`${fault}: made for a test`), { code: fault });
    });
  }

  async #answer<T>(work: () => T): Promise<T> {
    if (this.#isDead) return new Promise(() => {});
    const result = work();
    await Promise.resolve();
    if (this.#isDead) return new Promise(() => {});
    return result;
  }
}
