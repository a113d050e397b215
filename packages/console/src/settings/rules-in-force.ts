/** The rules in force, in one place for all pages that speak of bounds; asked for anew when they changed. */
import { effect, signal, type ReadonlySignal } from '@preact/signals';
import type { RuleList } from '@tidemark/protocol';
import type { Api } from '../api/client.ts';
import type { Failure } from '../api/failure.ts';
import type { Feed } from '../live/feed.ts';
import { pollingSource } from '../live/source.ts';

/** A change is told by an event; this is for what a page may have missed. */
const SELDOM_MS = 10 * 60_000;
const RETRY_MS = 10_000;

const known = signal<RuleList | null>(null);
const trouble = signal<Failure | null>(null);

/** null while they are not known. */
export const rulesInForce: ReadonlySignal<RuleList | null> = known;
export const rulesTrouble: ReadonlySignal<Failure | null> = trouble;

/** Begins to keep the rules. Once a page. */
export function keepRules(api: Pick<Api, 'rules'>, feed: Feed, active: ReadonlySignal<boolean>): void {
  const source = pollingSource({
    ask: (withdrawn) => api.rules(withdrawn),
    periodMs: SELDOM_MS,
    retryMs: RETRY_MS,
    onAnswer: (answer) => {
      trouble.value = answer.ok ? null : answer.failure;
      if (answer.ok) known.value = answer.value;
      feed.heard(answer);
    },
  });
  feed.attach(source);
  feed.listen((event) => {
    if (event.name === 'changed' && event.data.what === 'rules') source.start();
  });
  effect(() => {
    if (!active.value) known.value = null;
  });
}
