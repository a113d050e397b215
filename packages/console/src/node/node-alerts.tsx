/** The alerts of one node: the open ones at its head, and all of them as marks in the charts they are about. */
import { useComputed, useSignal, type ReadonlySignal } from '@preact/signals';
import type { AlertView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { LevelShape } from '../alerts/marks.tsx';
import { openByNode } from '../alerts/open-alerts.ts';
import type { ChartMark } from '../chart/group.ts';
import { useConsole } from '../context.ts';
import { pollingSource } from '../live/source.ts';
import { Ago } from '../look/moment.tsx';
import { alertPath } from '../router.ts';

const EVERY_MS = 60_000;
const RETRY_MS = 5_000;
const MOST = 200;

/** The alerts of a node: the open ones as they are now, and the newest past ones; none until they are known. */
export function useNodeAlerts(name: string): ReadonlySignal<readonly AlertView[]> {
  const { api, feed } = useConsole();
  const past = useSignal<readonly AlertView[]>([]);
  useEffect(() => {
    const source = pollingSource({
      ask: (signal) => api.alerts({ state: 'closed', node: name, limit: MOST }, signal),
      periodMs: EVERY_MS,
      retryMs: RETRY_MS,
      onAnswer: (answer) => {
        if (answer.ok) past.value = answer.value.alerts;
      },
    });
    const detach = feed.attach(source);
    // One that was closed just now is no longer among the open ones.
    const deafen = feed.listen((event) => {
      if (event.name === 'alert' && event.data.node === name && event.data.state === 'closed')
        past.value = [event.data, ...past.peek().filter(({ id }) => id !== event.data.id)];
    });
    return () => {
      deafen();
      detach();
    };
  }, [api, feed, name, past]);
  return useComputed(() => [...(openByNode.value.get(name) ?? []), ...past.value]);
}

/** Whether an alert is about what a chart shows; one about the node itself is about every chart. */
export function concerns(alert: AlertView, metrics: readonly string[], labels: Readonly<Record<string, string>> = {}): boolean {
  if (alert.metric === null) return Object.keys(alert.labels).length === 0;
  if (!metrics.includes(alert.metric)) return false;
  return Object.entries(labels).every(([key, value]) => alert.labels[key] === undefined || alert.labels[key] === value);
}

export function marksOf(alerts: readonly AlertView[]): ChartMark[] {
  return alerts.map((alert) => ({
    fromMs: Date.parse(alert.openedAt),
    toMs: alert.closedAt === null ? null : Date.parse(alert.closedAt),
    level: alert.levelMax,
    title: `${alert.title}: ${alert.why}`,
    href: alertPath(alert.id),
  }));
}

/** What is wrong with this node now, critical first. */
export function OpenAlerts({ alerts }: { alerts: readonly AlertView[] }): JSX.Element | null {
  const open = alerts.filter(({ state }) => state === 'open');
  if (open.length === 0) return null;
  return (
    <ul class="node-alerts" aria-label="Open alerts">
      {open
        .toSorted((a, b) => a.level.localeCompare(b.level) || b.openedAt.localeCompare(a.openedAt))
        .map((alert) => (
          <li key={alert.id}>
            <a class={`node-alert node-alert-${alert.level}`} href={alertPath(alert.id)}>
              <LevelShape level={alert.level} />
              <span class="node-alert-title">
                <span class="unseen">{alert.level}: </span>
                {alert.title}
              </span>
              <span class="node-alert-why">{alert.why}</span>
              <span class="muted">
                <Ago at={alert.since} />
              </span>
            </a>
          </li>
        ))}
    </ul>
  );
}
