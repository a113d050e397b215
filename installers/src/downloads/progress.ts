/** How far a bundle is, over steps of unequal length, told to whoever asked. It never goes back. */

export interface Progress {
  /** 0 to 100. */
  percent: number;
  /** What is being done, for people. */
  what: string;
}

/** Adds up the steps of a piece of work by their weights. */
export class Steps {
  readonly #tell: (progress: Progress) => void;
  #total: number;
  #done = 0;
  #last: Progress = { percent: -1, what: '' };

  constructor(total: number, tell: (progress: Progress) => void) {
    this.#total = Math.max(total, 1e-9);
    this.#tell = tell;
  }

  /** Runs one step of the given weight; it tells its own percentage. */
  async step<T>(weight: number, what: string, work: (onPercent: (percent: number) => void) => Promise<T>): Promise<T> {
    const tell = (percent: number): void => this.#say(((this.#done + (weight * percent) / 100) / this.#total) * 100, what);
    tell(0);
    const result = await work(tell);
    this.#done += weight;
    return result;
  }

  /** The last word: all is there. */
  finish(what: string): void {
    this.#last = { percent: 100, what };
    this.#tell(this.#last);
  }

  #say(exact: number, what: string): void {
    const percent = Math.min(99, Math.max(this.#last.percent, Math.floor(exact)));
    if (percent === this.#last.percent && what === this.#last.what) return;
    this.#last = { percent, what };
    this.#tell(this.#last);
  }
}
