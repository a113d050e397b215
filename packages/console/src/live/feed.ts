/**
 * The live fleet: starts with the session, rests while the page is out of sight, and knows how old its figures are.
 * The only writer of the figures that every page reads.
 */
import { batch, computed, effect, signal, type ReadonlySignal } from '@preact/signals';
import type { Overview } from '@tidemark/protocol';
import type { Api } from '../api/client.ts';
import type { Answer, Failure } from '../api/failure.ts';
import { renewTick, setTicking, tick } from './clock.ts';
import { judgeLink, type Link } from './link.ts';
import { pollingSource, type LiveSource } from './source.ts';

const FIGURES_EVERY_MS = 5_000;
const LIFE_EVERY_MS = 2_000;
const RETRY_MS = 1_500;

/** What the collector said, and when it reached us. */
export interface Figures {
  overview: Overview;
  /** Monotonic. */
  receivedAtMs: number;
  /** The collector's clock at that moment: ages are counted on it, so that the viewer's clock may be wrong. */
  collectorAtMs: number;
  /** The viewer's clock at that moment, for showing. */
  wallAtMs: number;
}

export interface Feed {
  readonly figures: ReadonlySignal<Figures | null>;
  readonly link: ReadonlySignal<Link>;
  /** True while figures are shown that are not fresh. */
  readonly stale: ReadonlySignal<boolean>;
  /** Another source that shall live and rest with the feed; returns how to end it. */
  attach(source: LiveSource): () => void;
  /** Tells the feed of an answer that another source had. */
  heard(answer: Answer<unknown>): void;
}

export interface FeedOptions {
  api: Api;
  /** Whether there is a session. */
  active: ReadonlySignal<boolean>;
  onSignedOut: () => void;
}

/** Makes the feed of this page. There is one. */
export function createFeed(options: FeedOptions): Feed {
  const { api } = options;
  const figures = signal<Figures | null>(null);
  const failure = signal<Failure | null>(null);
  const answeredAtMs = signal<number | null>(null);
  const askingSinceMs = signal(performance.now());
  const visible = signal(document.visibilityState !== 'hidden');
  const others = new Set<LiveSource>();
  let running = false;

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
      figuresAtMs: figures.value?.receivedAtMs ?? null,
      failure: failure.value,
    }),
  );
  const figuresSource = pollingSource({
    ask: (withdrawn) => api.overview(withdrawn),
    periodMs: FIGURES_EVERY_MS,
    retryMs: RETRY_MS,
    onAnswer: (answer) =>
      batch(() => {
        failure.value = answer.ok ? null : answer.failure;
        if (answer.ok) {
          const collectorAtMs = Date.parse(answer.value.at);
          figures.value = { overview: answer.value, receivedAtMs: performance.now(), collectorAtMs, wallAtMs: Date.now() };
        }
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
      for (const source of [figuresSource, ...others]) source.start();
    },
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
        failure.value = null;
        answeredAtMs.value = null;
      }
      askingSinceMs.value = performance.now();
      setTicking(run);
    });
    for (const source of [figuresSource, lifeSource, ...others]) {
      if (run) source.start();
      else source.stop();
    }
  });

  return {
    figures,
    link,
    stale: computed(() => figures.value !== null && link.value.kind !== 'live'),
    attach(source) {
      others.add(source);
      if (running) source.start();
      return () => {
        others.delete(source);
        source.stop();
      };
    },
    heard,
  };
}
