/**
 * Samples of a track in typed arrays, ordered by time and by position alike. Room is left at both ends, for a history is
 * written forwards while it is lived and backwards when it is read from the store.
 */

/** Errors and slack are kept as whole milliseconds, rounded up: a bound may become wider, never narrower. */
const WHOLE_MS_MAX = 65_535;
const ROOM_AT_FIRST = 32;

export class Samples {
  #starts = new Float64Array(ROOM_AT_FIRST);
  #lsns = new BigUint64Array(ROOM_AT_FIRST);
  #errors = new Uint16Array(ROOM_AT_FIRST);
  /** Of the stretch from a sample to the next: how far what was left out lies from the straight line, in time. 0, 0: nothing was. */
  #before = new Uint16Array(ROOM_AT_FIRST);
  #after = new Uint16Array(ROOM_AT_FIRST);
  #offset = ROOM_AT_FIRST / 2;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get sizeBytes(): number {
    return this.#starts.length * (8 + 8 + 2 + 2 + 2);
  }

  startOf(index: number): number {
    return this.#starts[this.#offset + index]!;
  }

  endOf(index: number): number {
    return this.#starts[this.#offset + index]! + this.#errors[this.#offset + index]!;
  }

  /** Where within its error a sample most likely was. */
  middleOf(index: number): number {
    return this.#starts[this.#offset + index]! + this.#errors[this.#offset + index]! / 2;
  }

  lsnOf(index: number): bigint {
    return this.#lsns[this.#offset + index]!;
  }

  isStraight(index: number): boolean {
    return this.#after[this.#offset + index]! > 0;
  }

  straightOf(index: number): { beforeMs: number; afterMs: number } {
    return { beforeMs: this.#before[this.#offset + index]!, afterMs: this.#after[this.#offset + index]! };
  }

  setStraight(index: number, beforeMs: number, afterMs: number): void {
    this.#before[this.#offset + index] = Math.min(WHOLE_MS_MAX, Math.ceil(beforeMs));
    this.#after[this.#offset + index] = Math.min(WHOLE_MS_MAX, Math.ceil(afterMs));
  }

  set(index: number, start: number, errorMs: number, lsn: bigint): void {
    const at = this.#offset + index;
    this.#starts[at] = start;
    this.#errors[at] = Math.min(WHOLE_MS_MAX, Math.ceil(errorMs));
    this.#lsns[at] = lsn;
  }

  /** The first at a position beyond `lsn`; `length` when there is none. */
  firstAbove(lsn: bigint): number {
    let [low, high] = [0, this.#length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.lsnOf(middle) > lsn) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The first that began at `at` or later. */
  firstSince(at: number): number {
    let [low, high] = [0, this.#length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.startOf(middle) >= at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The first that began later than `at`. */
  firstAfter(at: number): number {
    let [low, high] = [0, this.#length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.startOf(middle) > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  insert(index: number, start: number, errorMs: number, lsn: bigint): void {
    const atFront = index < this.#length / 2;
    if (atFront ? this.#offset === 0 : this.#offset + this.#length === this.#starts.length) this.#makeRoom();
    if (atFront) {
      this.#move(0, -1, index);
      this.#offset--;
    } else this.#move(index, 1, this.#length - index);
    this.#length++;
    this.set(index, start, errorMs, lsn);
    this.setStraight(index, 0, 0);
  }

  /** Removes [from, to). */
  remove(from: number, to: number): void {
    const count = to - from;
    if (count <= 0) return;
    if (from < this.#length - to) {
      this.#move(0, count, from);
      this.#offset += count;
    } else this.#move(to, -count, this.#length - to);
    this.#length -= count;
    if (this.#starts.length > 4 * ROOM_AT_FIRST && this.#length < this.#starts.length / 4) this.#makeRoom();
  }

  /** Copies sample `from` over sample `to`, which is gone. */
  copy(from: number, to: number): void {
    for (const array of this.#arrays()) array[this.#offset + to] = array[this.#offset + from]!;
  }

  #arrays(): (Float64Array | BigUint64Array | Uint16Array)[] {
    return [this.#starts, this.#lsns, this.#errors, this.#before, this.#after];
  }

  #move(from: number, by: number, count: number): void {
    const start = this.#offset + from;
    for (const array of this.#arrays()) array.copyWithin(start + by, start, start + count);
  }

  /** An eighth more than there is at each end. */
  #makeRoom(): void {
    const margin = Math.max(ROOM_AT_FIRST / 2, this.#length >>> 3);
    const capacity = this.#length + 2 * margin;
    const [from, to] = [this.#offset, this.#offset + this.#length];
    const grown = <T extends Float64Array | BigUint64Array | Uint16Array>(bigger: T, array: T): T => {
      bigger.set(array.subarray(from, to) as never, margin);
      return bigger;
    };
    this.#starts = grown(new Float64Array(capacity), this.#starts);
    this.#lsns = grown(new BigUint64Array(capacity), this.#lsns);
    this.#errors = grown(new Uint16Array(capacity), this.#errors);
    this.#before = grown(new Uint16Array(capacity), this.#before);
    this.#after = grown(new Uint16Array(capacity), this.#after);
    this.#offset = margin;
  }
}
