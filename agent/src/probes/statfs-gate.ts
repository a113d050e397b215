/**
 * Asks file systems how full they are without ever being held up by a dead one. A statfs that does not
 * return holds one of the few threads that all file access and name lookups share, and nothing can take it
 * back: so there is at most one outstanding for a path, and at most `outstandingMax` in all.
 */
import { statfs } from 'node:fs/promises';
import { codeOf } from '@tidemark/service';
import type { FilesystemStats } from './headline.ts';

export type Statfs = (path: string) => Promise<FilesystemStats>;

/** "absent" when there is no such path, "error" when it failed or did not answer in time, undefined when all threads that may be spent are stuck elsewhere. */
export type Answer = FilesystemStats | 'absent' | 'error' | undefined;

export interface StatfsGateOptions {
  readonly outstandingMax: number;
  /** Milliseconds that one path may take. */
  readonly timeoutMs: number;
  readonly statfs?: Statfs;
}

export class StatfsGate {
  readonly #outstandingMax: number;
  readonly #timeoutMs: number;
  readonly #statfs: Statfs;
  readonly #outstanding = new Set<string>();

  constructor(options: StatfsGateOptions) {
    this.#outstandingMax = options.outstandingMax;
    this.#timeoutMs = options.timeoutMs;
    this.#statfs = options.statfs ?? ((path) => statfs(path));
  }

  /** Paths whose statfs has not returned. */
  get outstanding(): number {
    return this.#outstanding.size;
  }

  /**
   * Asks all paths, as many at a time as may be outstanding. Never rejects, and returns at the latest after
   * twice the timeout: no question is put once the first timeout has passed.
   */
  async ask(paths: readonly string[]): Promise<Map<string, Answer>> {
    const answers = new Map<string, Answer>();
    const open: string[] = [];
    for (const path of new Set(paths)) {
      // Still stuck since an earlier time: known without waiting.
      if (this.#outstanding.has(path)) answers.set(path, 'error');
      else open.push(path);
    }
    const lateMs = performance.now() + this.#timeoutMs;
    const lane = async (): Promise<void> => {
      while (performance.now() < lateMs && this.#outstanding.size < this.#outstandingMax) {
        const path = open.shift();
        if (path === undefined) return;
        answers.set(path, await this.#askOne(path));
      }
    };
    await Promise.all(Array.from({ length: Math.min(this.#outstandingMax, open.length) }, lane));
    for (const path of open) answers.set(path, undefined);
    return answers;
  }

  #askOne(path: string): Promise<Answer> {
    this.#outstanding.add(path);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#timeoutMs, 'error');
      const settle = (answer: Answer): void => {
        clearTimeout(timer);
        // Before anyone hears of it: a lane that goes on must find its own place free.
        this.#outstanding.delete(path);
        resolve(answer);
      };
      this.#statfs(path).then(settle, (error: unknown) => settle(codeOf(error) === 'ENOENT' ? 'absent' : 'error'));
    });
  }
}
