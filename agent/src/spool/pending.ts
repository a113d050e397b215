/**
 * The index of what waits in a spool: reports in the order they were taken, by boot id and sequence, with
 * sizes and ages. It holds no bodies but those that are not on disk; both spools stand on it.
 */
import type { SpooledReport } from './spool.ts';

export interface Entry extends SpooledReport {
  /** Its body, while that is not on disk or still likely to be asked for. */
  text: string | undefined;
  /** The file it is in, by id, and where; undefined while it is in memory only. */
  segment: number | undefined;
  offset: number;
  /** When it is too old to be kept, on the monotonic clock. */
  readonly expiresAtMs: number;
}

export class PendingReports {
  /** In the order of insertion, within a boot and among boots: what was taken first comes first. */
  readonly #boots = new Map<string, Map<number, Entry>>();
  #count = 0;
  #sizeBytes = 0;
  #newest: Entry | undefined;

  get count(): number {
    return this.#count;
  }
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  add(entry: Entry): boolean {
    let boot = this.#boots.get(entry.bootId);
    if (boot === undefined) this.#boots.set(entry.bootId, (boot = new Map()));
    if (boot.has(entry.sequence)) return false;
    boot.set(entry.sequence, entry);
    this.#count++;
    this.#sizeBytes += entry.sizeBytes;
    this.#newest = entry;
    return true;
  }

  find(bootId: string, sequence: number): Entry | undefined {
    return this.#boots.get(bootId)?.get(sequence);
  }

  /** The report added last, if it still waits. */
  newest(): Entry | undefined {
    return this.#newest;
  }

  /** Takes an entry out; undefined when it is not there any more. */
  remove(bootId: string, sequence: number): Entry | undefined {
    const boot = this.#boots.get(bootId);
    const entry = boot?.get(sequence);
    if (boot === undefined || entry === undefined) return undefined;
    boot.delete(sequence);
    if (boot.size === 0) this.#boots.delete(bootId);
    this.#count--;
    this.#sizeBytes -= entry.sizeBytes;
    if (this.#newest === entry) this.#newest = undefined;
    return entry;
  }

  *[Symbol.iterator](): Generator<Entry> {
    for (const boot of this.#boots.values()) yield* boot.values();
  }

  first(): Entry | undefined {
    for (const entry of this) return entry;
    return undefined;
  }

  oldest(count: number, sizeBytes: number): Entry[] {
    const taken: Entry[] = [];
    let bytes = 0;
    for (const entry of this) {
      bytes += entry.sizeBytes;
      if (taken.length > 0 && (taken.length >= count || bytes > sizeBytes)) break;
      taken.push(entry);
    }
    return taken;
  }
}
