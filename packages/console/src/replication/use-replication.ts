/**
 * What the collector knows of replication, kept fresh while anything on the page shows it: it is asked again when the
 * stream says that something changed, at most once a second, and every few seconds besides. One question for all who show it.
 */
import { signal, type ReadonlySignal, type Signal } from '@preact/signals';
import type { Replication } from '@tidemark/protocol';
import { useEffect, useMemo } from 'preact/hooks';
import type { Api } from '../api/client.ts';
import type { Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import type { Feed } from '../live/feed.ts';
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

interface Shared {
  known: Signal<Replication | null>;
  failure: Signal<Failure | null>;
  /** Begins with the first who joins, and ends with the last who leaves. */
  join(): () => void;
}

function follow(api: Pick<Api, 'replication'>, feed: Feed, { known, failure }: Pick<Shared, 'known' | 'failure'>): () => void {
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
    known.value = null;
    failure.value = null;
  };
}

const shared = new WeakMap<Feed, Shared>();

function sharedOf(api: Pick<Api, 'replication'>, feed: Feed): Shared {
  const found = shared.get(feed);
  if (found !== undefined) return found;
  const state = { known: signal<Replication | null>(null), failure: signal<Failure | null>(null) };
  let users = 0;
  let end = (): void => {};
  const made: Shared = {
    ...state,
    join() {
      users += 1;
      if (users === 1) end = follow(api, feed, state);
      return () => {
        users -= 1;
        if (users === 0) end();
      };
    },
  };
  shared.set(feed, made);
  return made;
}

export function useReplication(): ReplicationKnown {
  const { api, feed } = useConsole();
  const of = useMemo(() => sharedOf(api, feed), [api, feed]);
  useEffect(() => of.join(), [of]);
  return of;
}
