/**
 * What the collector knows of replication, kept fresh while anything on the page shows it: it is asked again when the
 * stream says that something changed, at most once a second, and every few seconds besides. One question for all who show it.
 */
import { signal, type ReadonlySignal, type Signal } from '@preact/signals';
import type { Replication } from '@tidemark/protocol';
import { useEffect, useMemo } from 'preact/hooks';
import type { Api } from '../api/client.ts';
import type { Answer, Failure } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import type { Feed } from '../live/feed.ts';
import { pollingSource } from '../live/source.ts';

/** A lag that grows is no change of which the stream speaks. */
const STREAMING_EVERY_MS = 10_000;
const ALONE_EVERY_MS = 5_000;
const RETRY_MS = 2_000;
const LEAST_BETWEEN_MS = 1_000;
/** A document of a thousand instances is not one to fetch each second. */
const BETWEEN_MS_AN_INSTANCE = 10;
const MOST_BETWEEN_MS = 5_000;

/** A node that is in no cluster has none: no failure. */
const isUnknown = (answer: Answer<Replication>): boolean =>
  !answer.ok && answer.failure.kind === 'problem' && answer.failure.problem.status === 404;
const NONE: Replication = { at: new Date(0).toISOString(), clusters: [] };

/** How long to wait at least from one question to the next. */
export function leastBetweenMs(known: Replication | null): number {
  const instances = known?.clusters.reduce((sum, cluster) => sum + cluster.instances.length, 0) ?? 0;
  return Math.min(MOST_BETWEEN_MS, Math.max(LEAST_BETWEEN_MS, instances * BETWEEN_MS_AN_INSTANCE));
}

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

function follow(
  api: Pick<Api, 'replication'>,
  feed: Feed,
  of: string | undefined,
  { known, failure }: Pick<Shared, 'known' | 'failure'>,
): () => void {
  let askedMs = Number.NEGATIVE_INFINITY;
  let due: ReturnType<typeof setTimeout> | undefined;
  const source = pollingSource({
    async ask(withdrawn) {
      clearTimeout(due);
      due = undefined;
      askedMs = performance.now();
      const answer = await api.replication(of, withdrawn);
      return of !== undefined && isUnknown(answer) ? { ok: true, value: NONE } : answer;
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
    due = setTimeout(() => source.start(), Math.max(0, askedMs + leastBetweenMs(known.peek()) - performance.now()));
  });
  return () => {
    clearTimeout(due);
    unlisten();
    detach();
    known.value = null;
    failure.value = null;
  };
}

/** By whose question it is; '' for all clusters. */
const shared = new WeakMap<Feed, Map<string, Shared>>();

function sharedOf(api: Pick<Api, 'replication'>, feed: Feed, of: string | undefined): Shared {
  const all = shared.get(feed) ?? new Map<string, Shared>();
  shared.set(feed, all);
  const found = all.get(of ?? '');
  if (found !== undefined) return found;
  const state = { known: signal<Replication | null>(null), failure: signal<Failure | null>(null) };
  let users = 0;
  let end = (): void => {};
  const made: Shared = {
    ...state,
    join() {
      users += 1;
      if (users === 1) end = follow(api, feed, of, state);
      return () => {
        users -= 1;
        if (users > 0) return;
        end();
        all.delete(of ?? '');
      };
    },
  };
  all.set(of ?? '', made);
  return made;
}

/** @param of The clusters of one node; of all, without it. */
export function useReplication(of?: string): ReplicationKnown {
  const { api, feed } = useConsole();
  const mine = useMemo(() => sharedOf(api, feed, of), [api, feed, of]);
  useEffect(() => mine.join(), [mine]);
  return mine;
}
