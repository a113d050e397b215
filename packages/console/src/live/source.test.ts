/** A polling source: one question at a time, none while stopped. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Answer } from '../api/failure.ts';
import { pollingSource } from './source.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const problem = { type: '', title: '', status: 429, code: 'rate_limited', detail: '' };

function setUp(replies: Answer<number>[]) {
  const signals: AbortSignal[] = [];
  const answers: Answer<number>[] = [];
  const source = pollingSource<number>({
    ask: async (signal) => {
      signals.push(signal);
      return replies.shift() ?? new Promise<never>(() => {});
    },
    onAnswer: (answer) => void answers.push(answer),
    periodMs: 5_000,
    retryMs: 2_000,
  });
  return { source, signals, answers };
}

test('asks at once, then after each period, then sooner after a failure', async () => {
  const { source, signals } = setUp([
    { ok: true, value: 1 },
    { ok: false, failure: { kind: 'unreachable' } },
  ]);
  source.start();
  await vi.advanceTimersByTimeAsync(0);
  expect(signals).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(4_999);
  expect(signals).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(signals).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(signals).toHaveLength(3);
});

test('comes back when it was told to', async () => {
  const { source, signals } = setUp([{ ok: false, failure: { kind: 'limited', problem, retryAfterMs: 30_000 } }]);
  source.start();
  await vi.advanceTimersByTimeAsync(29_999);
  expect(signals).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(signals).toHaveLength(2);
});

test('an unanswered question is never joined by a second', async () => {
  const { source, signals } = setUp([]);
  source.start();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(signals).toHaveLength(1);
});

test('starting anew withdraws the open question; stopping too, and nothing more is heard', async () => {
  const { source, signals, answers } = setUp([]);
  source.start();
  source.start();
  expect(signals.map((signal) => signal.aborted)).toEqual([true, false]);
  source.stop();
  expect(signals[1]?.aborted).toBe(true);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(signals).toHaveLength(2);
  expect(answers).toEqual([]);
});
