/**
 * The newest value of every counter that a rule looks at, so that the next one can be called a rise or not: the one
 * number that is kept of a calm series. Only values of one run of an agent are compared.
 */

interface NodeCounters {
  bootId: string;
  sequence: number;
  readonly values: Map<string, number>;
}

export type StoredCounters = readonly [nodeId: number, bootId: string, sequence: number, values: readonly (readonly [string, number])[]];

export class Counters {
  readonly #nodes = new Map<number, NodeCounters>();

  /** A report comes. False when its counters say nothing: a newer one was here, or it is a late one of another run. */
  begin(nodeId: number, { bootId, sequence, live }: { bootId: string; sequence: number; live: boolean }): boolean {
    const known = this.#nodes.get(nodeId);
    if (known === undefined) {
      this.#nodes.set(nodeId, { bootId, sequence, values: new Map() });
      return true;
    }
    if (known.bootId === bootId) {
      if (sequence <= known.sequence) return false;
    } else {
      if (!live) return false;
      known.values.clear();
      known.bootId = bootId;
    }
    known.sequence = sequence;
    return true;
  }

  /** How much it rose since the value before; undefined when there is none to compare with, 0 after a reset. */
  rise(nodeId: number, key: string, value: number): number | undefined {
    const { values } = this.#nodes.get(nodeId)!;
    const before = values.get(key);
    values.set(key, value);
    return before === undefined ? undefined : Math.max(0, value - before);
  }

  forget(nodeId: number): void {
    this.#nodes.delete(nodeId);
  }

  export(): StoredCounters[] {
    return [...this.#nodes].map(([nodeId, { bootId, sequence, values }]) => [nodeId, bootId, sequence, [...values]]);
  }

  import(stored: readonly StoredCounters[]): void {
    for (const [nodeId, bootId, sequence, values] of stored) this.#nodes.set(nodeId, { bootId, sequence, values: new Map(values) });
  }
}
