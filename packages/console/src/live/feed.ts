/**
 * The live fleet: asks while the page is in sight and somebody is signed in, and knows at each moment how old its figures are.
 * They come by server-sent events; while no stream delivers they are asked for. The only writer of the figures that every page reads.
 */
import { batch, computed, effect, signal, type ReadonlySignal } from '@preact/signals';
import type { Overview } from '@tidemark/protocol';
import type { Api } from '../api/client.ts';
import type { LiveEvent } from '../api/events.ts';
import type { Answer, Failure } from '../api/failure.ts';
import { renewTick, setTicking, tick } from './clock.ts';
import { mergeRows } from './deltas.ts';
import { judgeLink, type Link } from './link.ts';
import { pollingSource, type LiveSource } from './source.ts';
import { streamSource } from './stream-source.ts';

const FIGURES_EVERY_MS = 5_000;
const LIFE_EVERY_MS = 2_000;
const RETRY_MS = 1_500;
/** A stream that has not delivered by then is helped by asking: before the connection would count as lost. */
const PATIENCE_MS = 2_500;

/** What the collector said, and when it reached us. */
export interface Figures {
  overview: Overview;
  /** Monotonic. */
  receivedAtMs: number;
  /** The collector's clock at that moment: ages are counted on it, so that the viewer's clock may be wrong. */
  collectorAtMs: number;
}

/** When the figures shown were last known to be so: received, or not contradicted by a stream that delivers. */
export interface Freshness {
  /** Monotonic. */
  atMs: number;
  /** The viewer's clock at that moment, for showing. */
  wallAtMs: number;
}

export interface Feed {
  readonly figures: ReadonlySignal<Figures | null>;
  readonly freshness: ReadonlySignal<Freshness | null>;
  readonly link: ReadonlySignal<Link>;
  /** True while figures are shown that are not fresh. */
  readonly stale: ReadonlySignal<boolean>;
  /** Whether a stream delivers; while none does, nothing is told to those who listen. */
  readonly streaming: ReadonlySignal<boolean>;
  /** Another source that shall live and rest with the feed; returns how to end it. */
  attach(source: LiveSource): () => void;
  /** Hears each event of the stream; returns how to end it. */
  listen(listener: (event: LiveEvent) => void): () => void;
  /** Tells the feed of an answer that another source had. */
  heard(answer: Answer<unknown>): void;
}

export interface FeedOptions {
  api: Pick<Api, 'overview' | 'alive' | 'events'>;
  /** Whether there is a session. */
  active: ReadonlySignal<boolean>;
  onSignedOut: () => void;
}

/** Makes the feed of this page. There is one. */
export function createFeed(options: FeedOptions): Feed {
  const { api } = options;
  const figures = signal<Figures | null>(null);
  const freshness = signal<Freshness | null>(null);
  const failure = signal<Failure | null>(null);
  const answeredAtMs = signal<number | null>(null);
  const askingSinceMs = signal(performance.now());
  const visible = signal(document.visibilityState !== 'hidden');
  const streaming = signal(false);
  const others = new Set<LiveSource>();
  const listeners = new Set<(event: LiveEvent) => void>();
  let running = false;
  let asking = false;
  let patience: ReturnType<typeof setTimeout> | undefined;

  const take = (overview: Overview): void => {
    figures.value = { overview, receivedAtMs: performance.now(), collectorAtMs: Date.parse(overview.at) };
    failure.value = null;
  };
  const fresh = (): void => {
    freshness.value = { atMs: performance.now(), wallAtMs: Date.now() };
  };
  const heard = (answer: Answer<unknown>): void => {
    if (answer.ok || (answer.failure.kind !== 'unreachable' && answer.failure.kind !== 'aborted')) answeredAtMs.value = performance.now();
    if (!answer.ok && answer.failure.kind === 'signed-out') options.onSignedOut();
    renewTick();
  };

  const link = computed<Link>(() =>
    judgeLink({
      nowMs: tick.value,
      askingSinceMs: askingSinceMs.value,
      answeredAtMs: answeredAtMs.value,
      figuresAtMs: freshness.value?.atMs ?? null,
      failure: failure.value,
    }),
  );
  const figuresSource = pollingSource({
    ask: (withdrawn) => api.overview(withdrawn),
    periodMs: FIGURES_EVERY_MS,
    retryMs: RETRY_MS,
    onAnswer: (answer) =>
      batch(() => {
        if (answer.ok) {
          take(answer.value);
          fresh();
        } else failure.value = answer.failure;
        heard(answer);
      }),
  });
  const lifeSource = pollingSource({
    ask: (withdrawn) => api.alive(withdrawn),
    periodMs: LIFE_EVERY_MS,
    retryMs: RETRY_MS / 2,
    onAnswer: (answer) => {
      const wasLost = link.peek().kind === 'lost';
      heard(answer);
      if (!wasLost || !answer.ok) return;
      // Back: ask anew at once instead of waiting for questions that went into the void.
      for (const source of [stream, figuresSource, ...others]) source.start();
    },
  });

  const ask = (on: boolean): void => {
    clearTimeout(patience);
    if (on === asking) return;
    asking = on;
    for (const source of [figuresSource, lifeSource]) {
      if (on) source.start();
      else source.stop();
    }
  };
  const stream = streamSource({
    open: (onEvent, withdrawn) => api.events(onEvent, withdrawn),
    random: Math.random,
    onDelivering: (delivering, why) => {
      streaming.value = delivering;
      ask(!delivering);
      if (why !== null) heard({ ok: false, failure: why });
    },
    onEvent: (event) =>
      batch(() => {
        answeredAtMs.value = performance.now();
        if (event.name === 'overview') take(event.data);
        else if (event.name === 'nodes' && figures.value !== null) take(mergeRows(figures.value.overview, event.data));
        // What a stream that delivers does not speak of has not changed.
        fresh();
        renewTick();
        for (const listener of listeners) listener(event);
      }),
  });

  document.addEventListener('visibilitychange', () => {
    visible.value = document.visibilityState !== 'hidden';
  });
  effect(() => {
    const run = visible.value && options.active.value;
    if (run === running) return;
    running = run;
    batch(() => {
      if (!options.active.value) {
        figures.value = null;
        freshness.value = null;
        failure.value = null;
        answeredAtMs.value = null;
      }
      askingSinceMs.value = performance.now();
      streaming.value = false;
      setTicking(run);
    });
    ask(false);
    for (const source of [stream, ...others]) {
      if (run) source.start();
      else source.stop();
    }
    if (run)
      patience = setTimeout(() => {
        if (!streaming.peek()) ask(true);
      }, PATIENCE_MS);
  });

  return {
    figures,
    freshness,
    link,
    stale: computed(() => figures.value !== null && link.value.kind !== 'live'),
    streaming,
    attach(source) {
      others.add(source);
      if (running) source.start();
      return () => {
        others.delete(source);
        source.stop();
      };
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    heard,
  };
}
