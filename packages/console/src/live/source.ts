/**
 * Where live figures come from, behind one small interface: by asking again and again here, by server-sent events in
 * `stream-source.ts`. A source never has two questions open at once and asks nothing while it is stopped.
 */
import type { Answer } from '../api/failure.ts';

export interface LiveSource {
  start(): void;
  /** Stops and withdraws an open question. */
  stop(): void;
}

export interface PollingOptions<T> {
  ask: (signal: AbortSignal) => Promise<Answer<T>>;
  onAnswer: (answer: Answer<T>) => void;
  /** From an answer to the next question. */
  periodMs: number | (() => number);
  /** The same after a failure: short, so that the collector's return is seen soon. */
  retryMs: number;
}

/** A source that asks, waits, and asks again. A "come back in N s" is honoured. */
export function pollingSource<T>(options: PollingOptions<T>): LiveSource {
  let open: AbortController | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const round = async (): Promise<void> => {
    const mine = new AbortController();
    open = mine;
    const answer = await options.ask(mine.signal);
    if (open !== mine) return;
    options.onAnswer(answer);
    // onAnswer may have stopped the source: a session that ended.
    if (open !== mine) return;
    const periodMs = typeof options.periodMs === 'function' ? options.periodMs() : options.periodMs;
    let waitMs = answer.ok ? periodMs : options.retryMs;
    if (!answer.ok && answer.failure.kind === 'limited') waitMs = answer.failure.retryAfterMs;
    timer = setTimeout(() => void round(), waitMs);
  };

  const stop = (): void => {
    const withdrawn = open;
    open = undefined;
    clearTimeout(timer);
    withdrawn?.abort();
  };
  return {
    start() {
      stop();
      void round();
    },
    stop,
  };
}
