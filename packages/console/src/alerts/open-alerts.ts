/**
 * The open alerts, in one place for all pages: asked for when the page begins, kept by the stream's events, and asked for
 * anew whenever the stream began anew. `null` is "not known", which no page may show as "none".
 */
import { batch, computed, effect, signal, type ReadonlySignal } from '@preact/signals';
import type { AlertView } from '@tidemark/protocol';
import type { Api } from '../api/client.ts';
import type { Answer, Failure } from '../api/failure.ts';
import type { Feed } from '../live/feed.ts';
import { pollingSource } from '../live/source.ts';

const PAGE = 500;
/** More open alerts than this say the same as this many. */
const PAGES_MOST = 20;
/** While a stream tells of changes, asking is only for what a page may have missed. */
const SELDOM_MS = 60_000;
const OFTEN_MS = 5_000;
const RETRY_MS = 2_500;

const known = signal<readonly AlertView[] | null>(null);
const trouble = signal<Failure | null>(null);

/** Every open alert, in the order they were opened; null while they are not known. */
export const openAlerts: ReadonlySignal<readonly AlertView[] | null> = known;
/** Why the open alerts could not be asked for; null when they could. */
export const openAlertsTrouble: ReadonlySignal<Failure | null> = trouble;

const NONE: readonly AlertView[] = [];

/** The open alerts of each node, by its name; empty while they are not known. */
export const openByNode: ReadonlySignal<ReadonlyMap<string, readonly AlertView[]>> = computed(() => {
  const byNode = new Map<string, AlertView[]>();
  for (const alert of known.value ?? NONE) {
    const of = byNode.get(alert.node);
    if (of === undefined) byNode.set(alert.node, [alert]);
    else of.push(alert);
  }
  return byNode;
});

/** The open alerts of one node. */
export function openAlertsOf(node: string): readonly AlertView[] {
  return openByNode.value.get(node) ?? NONE;
}

/** Whether an alert asks for somebody: nobody has taken it, and nothing says that it may wait. */
export function isCalling(alert: AlertView): boolean {
  return alert.acknowledged === null && alert.silencedBy === null && alert.suppressedBy === null;
}

export interface OpenCounts {
  open: number;
  critical: number;
  /** Those that ask for somebody. */
  calling: number;
}
export const openCounts: ReadonlySignal<OpenCounts | null> = computed(() => {
  if (known.value === null) return null;
  const counts: OpenCounts = { open: known.value.length, critical: 0, calling: 0 };
  for (const alert of known.value) {
    if (alert.level === 'critical') counts.critical += 1;
    if (isCalling(alert)) counts.calling += 1;
  }
  return counts;
});

/** Alerts that changed, put into a list of open ones. The same list when nothing in it changed. */
export function withChanges(open: readonly AlertView[], changes: readonly AlertView[]): readonly AlertView[] {
  if (changes.length === 0) return open;
  const byId = new Map(open.map((alert) => [alert.id, alert]));
  for (const alert of changes) {
    if (alert.state === 'open') byId.set(alert.id, alert);
    else byId.delete(alert.id);
  }
  return [...byId.values()];
}

/** Every page of the open alerts, one after another. */
async function askForAll(api: Pick<Api, 'alerts'>, signalOf: AbortSignal): Promise<Answer<AlertView[]>> {
  const all: AlertView[] = [];
  for (let page = 0; page < PAGES_MOST; page += 1) {
    const before = all.at(-1)?.id;
    const answer = await api.alerts({ state: 'open', limit: PAGE, ...(before === undefined ? {} : { before }) }, signalOf);
    if (!answer.ok) return answer;
    all.push(...answer.value.alerts);
    if (!answer.value.more || answer.value.alerts.length === 0) break;
  }
  return { ok: true, value: all };
}

let renew = (): void => {};

/** Asks for the open alerts now: after something was done to one of them. */
export function renewOpenAlerts(): void {
  renew();
}

/** Begins to keep the open alerts. Once a page. */
export function keepOpenAlerts(api: Pick<Api, 'alerts'>, feed: Feed, active: ReadonlySignal<boolean>): void {
  // What is told while a question is open may be newer than its answer.
  let told: AlertView[] = [];
  let streaming = false;
  const source = pollingSource({
    ask: (withdrawn) => {
      told = [];
      return askForAll(api, withdrawn);
    },
    // Which of the two it is may change while waiting; the effect below then starts it anew.
    periodMs: () => (streaming ? SELDOM_MS : OFTEN_MS),
    retryMs: RETRY_MS,
    onAnswer: (answer) => {
      batch(() => {
        trouble.value = answer.ok ? null : answer.failure;
        if (answer.ok) known.value = withChanges(answer.value, told);
      });
      feed.heard(answer);
    },
  });
  feed.attach(source);
  feed.listen((event) => {
    // Under another name, at another site or retired: what its alerts say of it changes too.
    if ((event.name === 'nodes' && event.data.removed.length > 0) || (event.name === 'changed' && event.data.what === 'nodes')) renew();
    if (event.name !== 'alert') return;
    told.push(event.data);
    if (known.value !== null) known.value = withChanges(known.value, [event.data]);
  });
  let due: ReturnType<typeof setTimeout> | undefined;
  // Many things done at once are followed by one question.
  renew = () => {
    clearTimeout(due);
    due = setTimeout(() => {
      if (active.peek()) source.start();
    }, 150);
  };
  effect(() => {
    streaming = feed.streaming.value;
    if (active.peek() && document.visibilityState !== 'hidden') source.start();
  });
  effect(() => {
    if (active.value) return;
    batch(() => {
      known.value = null;
      trouble.value = null;
    });
  });
}
