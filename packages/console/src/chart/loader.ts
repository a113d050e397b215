/**
 * Fetches time series for charts: a few at a time, each question once, withdrawn when nobody waits for it any more.
 * What was answered is kept a while, so that going back to a range shows it at once.
 */
import type { SeriesResponse } from '@tidemark/protocol';
import type { Answer } from '../api/failure.ts';

export interface LoaderOptions {
  ask: (query: URLSearchParams, signal: AbortSignal) => Promise<Answer<SeriesResponse>>;
  now: () => number;
  /** Questions open at one time. */
  atOnce: number;
  /** Answers kept. */
  keep: number;
  /** How long an answer counts as fresh. */
  freshMs: number;
}

export interface Loader {
  /** Resolves with the answer, `aborted` when it was withdrawn before. */
  load(query: URLSearchParams, signal: AbortSignal): Promise<Answer<SeriesResponse>>;
  /** An answer that is at hand, however old. */
  kept(query: URLSearchParams): SeriesResponse | undefined;
}

const ABORTED: Answer<SeriesResponse> = { ok: false, failure: { kind: 'aborted' } };

export function createLoader(options: LoaderOptions): Loader {
  const answers = new Map<string, { at: number; value: SeriesResponse }>();
  const waiting: (() => void)[] = [];
  let open = 0;

  const turn = async (signal: AbortSignal): Promise<boolean> => {
    if (open >= options.atOnce) {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        signal.addEventListener('abort', () => {
          const place = waiting.indexOf(resolve);
          if (place >= 0) waiting.splice(place, 1);
          resolve();
        });
      });
    }
    if (signal.aborted) return false;
    open += 1;
    return true;
  };
  const remember = (key: string, value: SeriesResponse): void => {
    answers.delete(key);
    answers.set(key, { at: options.now(), value });
    for (const oldest of answers.keys()) {
      if (answers.size <= options.keep) break;
      answers.delete(oldest);
    }
  };

  return {
    kept: (query) => answers.get(query.toString())?.value,
    async load(query, signal) {
      const key = query.toString();
      const known = answers.get(key);
      if (known !== undefined && options.now() - known.at < options.freshMs) return { ok: true, value: known.value };
      if (signal.aborted || !(await turn(signal))) {
        // The turn that was given up goes to the next.
        if (open < options.atOnce) waiting.shift()?.();
        return ABORTED;
      }
      try {
        const answer = await options.ask(query, signal);
        if (answer.ok) remember(key, answer.value);
        return answer;
      } finally {
        open -= 1;
        waiting.shift()?.();
      }
    },
  };
}
