/**
 * Live figures by server-sent events: one open stream, opened again when it ends, with a growing pause. It "delivers"
 * from the first whole fleet until it ends or falls silent; whoever needs figures meanwhile has to ask for them.
 */
import type { LiveEvent } from '../api/events.ts';
import type { Answer, Failure } from '../api/failure.ts';
import type { LiveSource } from './source.ts';

/** A sign of life comes every two seconds; a stream without any for so long is given up (a proxy keeps it back, or it is dead). */
export const SILENCE_MOST_MS = 5_000;
const PAUSE_FIRST_MS = 1_000;
const PAUSE_MOST_MS = 30_000;
/** Where streams are kept back it is not worth trying often. */
const PAUSE_KEPT_BACK_MS = 60_000;

export interface StreamOptions {
  open: (onEvent: (event: LiveEvent) => void, signal: AbortSignal) => Promise<Answer<void>>;
  onEvent: (event: LiveEvent) => void;
  /** Told when delivering begins and ends; with why it ended, when that was said. */
  onDelivering: (delivering: boolean, failure: Failure | null) => void;
  /** 0 to 1: pages that lost the same collector shall not all come back at once. */
  random: () => number;
}

/** How long to wait before trying again, after `failures` in a row. */
export function pauseMs(failures: number, failure: Failure | null, random: number): number {
  if (failure?.kind === 'limited') return failure.retryAfterMs;
  if (failure?.kind === 'problem' && failure.retryAfterMs !== undefined) return failure.retryAfterMs;
  return Math.min(PAUSE_MOST_MS, PAUSE_FIRST_MS * 2 ** Math.min(10, failures - 1)) * (0.5 + random / 2);
}

export function streamSource(options: StreamOptions): LiveSource {
  let open: AbortController | undefined;
  let again: ReturnType<typeof setTimeout> | undefined;
  let silence: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;

  const close = (): void => {
    const withdrawn = open;
    open = undefined;
    clearTimeout(again);
    clearTimeout(silence);
    withdrawn?.abort();
  };

  const connect = async (): Promise<void> => {
    const mine = new AbortController();
    open = mine;
    let heard = false;
    let delivering = false;
    const fell = (failure: Failure | null, waitMs?: number): void => {
      close();
      failures += 1;
      options.onDelivering(false, failure);
      // onDelivering may have stopped the source, or started it anew.
      if (open === undefined && running) again = setTimeout(() => void connect(), waitMs ?? pauseMs(failures, failure, options.random()));
    };
    const watch = (): void => {
      clearTimeout(silence);
      silence = setTimeout(() => fell(null, heard ? undefined : PAUSE_KEPT_BACK_MS), SILENCE_MOST_MS);
    };
    watch();
    const answer = await options.open((event) => {
      if (open !== mine) return;
      heard = true;
      watch();
      // Before the whole fleet, a row or a sign of life says nothing about the figures shown.
      if (!delivering && event.name !== 'overview') return;
      if (!delivering) {
        delivering = true;
        failures = 0;
        options.onDelivering(true, null);
      }
      options.onEvent(event);
    }, mine.signal);
    if (open === mine) fell(answer.ok ? null : answer.failure);
  };

  let running = false;
  return {
    start() {
      close();
      running = true;
      failures = 0;
      void connect();
    },
    stop() {
      running = false;
      close();
    },
  };
}
