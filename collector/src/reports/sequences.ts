/** A set of sequence numbers as ascending, disjoint ranges: a run of reports without gaps is one range however long it is. */

export class SequenceSet {
  /** Pairs of inclusive bounds. */
  readonly #ranges: [number, number][] = [];

  /** Reads PostgreSQL's text form of an int4multirange: `{[1,8),[9,10)}`. */
  static parse(text: string): SequenceSet {
    const set = new SequenceSet();
    for (const [, from, to] of text.matchAll(/\[(\d+),(\d+)\)/g)) set.#ranges.push([Number(from), Number(to) - 1]);
    return set;
  }

  has(sequence: number): boolean {
    const range = this.#ranges[this.#indexAtOrAfter(sequence)];
    return range !== undefined && range[0] <= sequence;
  }

  /** Adds a number. Returns false when it was there already. */
  add(sequence: number): boolean {
    const i = this.#indexAtOrAfter(sequence);
    const range = this.#ranges[i];
    if (range !== undefined && range[0] <= sequence) return false;
    const before = this.#ranges[i - 1];
    const joinsBefore = before !== undefined && before[1] === sequence - 1;
    const joinsAfter = range !== undefined && range[0] === sequence + 1;
    if (joinsBefore && joinsAfter) {
      before[1] = range[1];
      this.#ranges.splice(i, 1);
    } else if (joinsBefore) before[1] = sequence;
    else if (joinsAfter) range[0] = sequence;
    else this.#ranges.splice(i, 0, [sequence, sequence]);
    return true;
  }

  addAll(other: SequenceSet): void {
    for (const [from, to] of other.#ranges) for (let sequence = from; sequence <= to; sequence++) this.add(sequence);
  }

  ranges(): readonly (readonly [number, number])[] {
    return this.#ranges;
  }

  /** Index of the first range that ends at or after the number. */
  #indexAtOrAfter(sequence: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ranges[middle]![1] < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
