/**
 * What the collector knows of replication, kept fresh: it is asked again when the stream says that something changed, at
 * most once a second, and every few seconds besides; more often while no stream delivers.
 */
import { useSignal, type ReadonlySignal } from '@preact/signals';
import type { Replication } from '@tidemark/protocol';
import { useEffect } from 'preact/hooks';
import type { Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { pollingSource } from '../live/source.ts';

/** A lag that grows is no change of which the stream speaks. */
const STREAMING_EVERY_MS = 10_000;
const ALONE_EVERY_MS = 5_000;
const RETRY_MS = 2_000;
const LEAST_BETWEEN_MS = 1_000;

export interface ReplicationKnown {
  /** Null until it is known; old figures stay when a question fails. */
  known: ReadonlySignal<Replication | null>;
  /** Why the last question failed. */
  failure: ReadonlySignal<Failure | null>;
}

export function useReplication(): ReplicationKnown {
  const { api, feed } = useConsole();
  const known = useSignal<Replication | null>(null);
  const failure = useSignal<Failure | null>(null);
  useEffect(() => {
    let askedMs = Number.NEGATIVE_INFINITY;
    let due: ReturnType<typeof setTimeout> | undefined;
    const source = pollingSource({
      ask: (withdrawn) => {
        clearTimeout(due);
        due = undefined;
        askedMs = performance.now();
        return api.replication(withdrawn);
      },
      periodMs: () => (feed.streaming.peek() ? STREAMING_EVERY_MS : ALONE_EVERY_MS),
      retryMs: RETRY_MS,
      onAnswer: (answer) => {
        failure.value = answer.ok ? null : answer.failure;
        if (answer.ok) known.value = answer.value;
        feed.heard(answer);
      },
    });
    const detach = feed.attach(source);
    const unlisten = feed.listen((event) => {
      if (event.name !== 'changed' || event.data.what !== 'replication' || due !== undefined) return;
      due = setTimeout(() => source.start(), Math.max(0, askedMs + LEAST_BETWEEN_MS - performance.now()));
    });
    return () => {
      clearTimeout(due);
      unlisten();
      detach();
    };
  }, [api, feed, known, failure]);
  return { known, failure };
}
