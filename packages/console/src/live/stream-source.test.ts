/** A stream that ends, falls silent, is held back or refused: each is seen, and tried again in its own time. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LiveEvent } from '../api/events.ts';
import type { Answer, Failure } from '../api/failure.ts';
import { SILENCE_MOST_MS, pauseMs, streamSource } from './stream-source.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const OVERVIEW: LiveEvent = { name: 'overview', data: { at: '2026-01-01T00:00:00Z', nodes: [] } };
const LIFE: LiveEvent = { name: 'life', data: { at: '2026-01-01T00:00:00Z' } };
const problem = { type: '', title: '', status: 503, code: 'overloaded', detail: '' };

function setUp() {
  const streams: { tell: (event: LiveEvent) => void; end: (answer: Answer<void>) => void; signal: AbortSignal }[] = [];
  const events: string[] = [];
  const states: [boolean, Failure | null][] = [];
  const source = streamSource({
    open: (tell, signal) => new Promise((end) => streams.push({ tell, end, signal })),
    onEvent: (event) => void events.push(event.name),
    onDelivering: (delivering, failure) => void states.push([delivering, failure]),
    random: () => 1,
  });
  source.start();
  return { source, streams, events, states };
}
const settle = () => vi.advanceTimersByTimeAsync(0);

test('delivers from the first whole fleet on, not before', () => {
  const { streams, events, states } = setUp();
  streams[0]?.tell(LIFE);
  expect([events, states]).toEqual([[], []]);
  streams[0]?.tell(OVERVIEW);
  streams[0]?.tell(LIFE);
  expect(events).toEqual(['overview', 'life']);
  expect(states).toEqual([[true, null]]);
});

test('an end is told at once and tried again after a pause that grows until it delivers', async () => {
  const { streams, states } = setUp();
  streams[0]?.tell(OVERVIEW);
  streams[0]?.end({ ok: true, value: undefined });
  await settle();
  expect(states).toEqual([
    [true, null],
    [false, null],
  ]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(streams).toHaveLength(2);
  streams[1]?.end({ ok: false, failure: { kind: 'unreachable' } });
  await vi.advanceTimersByTimeAsync(1_999);
  expect(streams).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1);
  expect(streams).toHaveLength(3);
  streams[2]?.tell(OVERVIEW);
  streams[2]?.end({ ok: true, value: undefined });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(streams).toHaveLength(4);
});

test('silence ends a stream that delivered; its late words are not heard', async () => {
  const { streams, events, states } = setUp();
  streams[0]?.tell(OVERVIEW);
  await vi.advanceTimersByTimeAsync(SILENCE_MOST_MS - 1);
  streams[0]?.tell(LIFE);
  await vi.advanceTimersByTimeAsync(SILENCE_MOST_MS - 1);
  expect(states).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(states.at(-1)).toEqual([false, null]);
  expect(streams[0]?.signal.aborted).toBe(true);
  streams[0]?.tell(LIFE);
  expect(events).toEqual(['overview', 'life']);
});

test('where a proxy keeps the stream back it is tried once a minute', async () => {
  const { streams, states } = setUp();
  await vi.advanceTimersByTimeAsync(SILENCE_MOST_MS);
  expect(states).toEqual([[false, null]]);
  await vi.advanceTimersByTimeAsync(59_999);
  expect(streams).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(streams).toHaveLength(2);
});

test('a refusal says why, and "come back in 30 s" is kept', async () => {
  const { streams, states } = setUp();
  const failure: Failure = { kind: 'problem', problem, retryAfterMs: 30_000 };
  streams[0]?.end({ ok: false, failure });
  await vi.advanceTimersByTimeAsync(29_999);
  expect(states).toEqual([[false, failure]]);
  expect(streams).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(streams).toHaveLength(2);
});

test('stopped, it is withdrawn and comes back no more; also when it is stopped by what it told', async () => {
  const { source, streams } = setUp();
  source.stop();
  expect(streams[0]?.signal.aborted).toBe(true);
  await vi.advanceTimersByTimeAsync(600_000);
  expect(streams).toHaveLength(1);

  const opened = vi.fn<() => Promise<Answer<void>>>(async () => ({ ok: false, failure: { kind: 'signed-out', problem } }));
  const ended = streamSource({ open: opened, onEvent: () => {}, onDelivering: () => ended.stop(), random: () => 0 });
  ended.start();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(opened).toHaveBeenCalledTimes(1);
});

test('pauses grow, have an end, and differ', () => {
  expect([1, 2, 3, 20].map((failures) => pauseMs(failures, null, 1))).toEqual([1_000, 2_000, 4_000, 30_000]);
  expect(pauseMs(20, null, 0)).toBe(15_000);
});
