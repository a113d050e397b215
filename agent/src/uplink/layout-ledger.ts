/**
 * Which layouts the collector knows: those it was sent by this process and did not ask for since. A layout that
 * it asks for again and again although it gets it is given up in the end, and with it the reports that follow it.
 */

/** How often a layout is sent in vain. */
const ATTEMPTS = 10;

export class LayoutLedger {
  readonly #known = new Set<string>();
  readonly #wanted = new Set<string>();
  readonly #vain = new Map<string, number>();

  /** What must go along with reports that follow `layouts`, and what was asked for besides. */
  needed(layouts: Iterable<string>): Set<string> {
    const needed = new Set(this.#wanted);
    for (const hash of layouts) if (!this.#known.has(hash)) needed.add(hash);
    return needed;
  }

  /** They were in a request that was accepted. */
  told(hashes: readonly string[]): void {
    for (const hash of hashes) {
      this.#known.add(hash);
      this.#wanted.delete(hash);
    }
  }

  /** To be sent with the next request whatever it carries. */
  want(hash: string): void {
    this.#wanted.add(hash);
  }

  forget(hash: string): void {
    this.#wanted.delete(hash);
  }

  /** The collector asks for it. `sent`: it was in the very request that was answered. The result says what to do about it. */
  asked(hash: string, sent: boolean): 'send' | 'send again' | 'give up' {
    this.#known.delete(hash);
    const vain = (this.#vain.get(hash) ?? 0) + (sent ? 1 : 0);
    if (vain > 0) this.#vain.set(hash, vain);
    if (vain >= ATTEMPTS) return 'give up';
    return vain > 0 ? 'send again' : 'send';
  }

  /** It alone is larger than the collector takes: no use in trying again. */
  tooLarge(hash: string): void {
    this.#vain.set(hash, ATTEMPTS);
    this.told([hash]);
  }
}
