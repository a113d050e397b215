/**
 * Which open alerts are shown and in which order: critical before warning, newest first, and many of one rule as one
 * group ("Node silent on 41 nodes at porto"), because at night the cause matters and not its forty copies.
 */
import type { AlertLevel, AlertView } from '@tidemark/protocol';

/** From so many on they are one line. */
export const GROUP_FROM = 4;

export interface Filter {
  text: string;
  level: AlertLevel | null;
  site: string | null;
  rule: string | null;
}
export const EVERYTHING: Filter = { text: '', level: null, site: null, rule: null };

export interface Group {
  /** The same for the same group after a change, so that one that was opened stays so. */
  key: string;
  level: AlertLevel;
  rule: string;
  title: string;
  /** null when they are of several sites. */
  site: string | null;
  sites: number;
  nodes: number;
  /** Newest first; never empty. */
  alerts: AlertView[];
}
export type Entry = { kind: 'alert'; alert: AlertView } | { kind: 'group'; group: Group };

/** Reads a filter from an address. */
export function filterOf(query: string): Filter {
  const given = new URLSearchParams(query);
  const level = given.get('level');
  return {
    text: given.get('q') ?? '',
    level: level === 'critical' || level === 'warning' ? level : null,
    site: given.get('site'),
    rule: given.get('rule'),
  };
}

/** Writes a filter for an address; empty when it lets everything through. */
export function filterQuery(filter: Filter): string {
  const parts = new URLSearchParams();
  if (filter.text !== '') parts.set('q', filter.text);
  if (filter.level !== null) parts.set('level', filter.level);
  if (filter.site !== null) parts.set('site', filter.site);
  if (filter.rule !== null) parts.set('rule', filter.rule);
  const text = parts.toString();
  return text === '' ? '' : `?${text}`;
}

/** Labels as they are read: `mountpoint=/var`. */
export function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join('  ');
}

/** Whether an alert is let through: every word has to be found somewhere. */
export function passes(alert: AlertView, filter: Filter): boolean {
  if (filter.level !== null && alert.level !== filter.level) return false;
  if (filter.site !== null && alert.site !== filter.site) return false;
  if (filter.rule !== null && alert.rule !== filter.rule) return false;
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const held = [alert.acknowledged === null ? '' : `acknowledged ${alert.acknowledged.by}`, alert.silencedBy === null ? '' : 'silenced'];
  const all = [alert.title, alert.rule, alert.node, alert.site, alert.level, alert.why, labelsText(alert.labels), ...held]
    .join('\n')
    .toLowerCase();
  return words.every((word) => all.includes(word));
}

const newestFirst = (a: AlertView, b: AlertView): number =>
  a.openedAt === b.openedAt ? (a.id < b.id ? 1 : -1) : a.openedAt < b.openedAt ? 1 : -1;

function groupOf(alerts: AlertView[], key: string): Group {
  const first = alerts[0]!;
  const sites = new Set(alerts.map((alert) => alert.site));
  return {
    key,
    level: first.level,
    rule: first.rule,
    title: first.title,
    site: sites.size === 1 ? first.site : null,
    sites: sites.size,
    nodes: new Set(alerts.map((alert) => alert.node)).size,
    alerts,
  };
}

function parted(alerts: readonly AlertView[], keyOf: (alert: AlertView) => string): { large: Map<string, AlertView[]>; rest: AlertView[] } {
  const parts = new Map<string, AlertView[]>();
  for (const alert of alerts) {
    const key = keyOf(alert);
    const part = parts.get(key);
    if (part === undefined) parts.set(key, [alert]);
    else part.push(alert);
  }
  const large = new Map([...parts].filter(([, part]) => part.length >= GROUP_FROM));
  return { large, rest: [...parts.values()].filter((part) => part.length < GROUP_FROM).flat() };
}

/** Puts alerts in order and groups them: first those of one site, as a site that goes is a cause; then of one rule wherever. */
export function arrangeAlerts(alerts: readonly AlertView[]): Entry[] {
  const ordered = alerts.toSorted(newestFirst);
  const bySite = parted(ordered, (alert) => JSON.stringify([alert.level, alert.rule, alert.site]));
  const byRule = parted(bySite.rest, (alert) => JSON.stringify([alert.level, alert.rule]));
  const entries: Entry[] = byRule.rest.map((alert) => ({ kind: 'alert', alert }));
  for (const [key, part] of [...bySite.large, ...byRule.large]) entries.push({ kind: 'group', group: groupOf(part, key) });
  const newest = (entry: Entry): AlertView => (entry.kind === 'alert' ? entry.alert : entry.group.alerts[0]!);
  return entries.sort((a, b) => {
    const [one, other] = [newest(a), newest(b)];
    if (one.level !== other.level) return one.level === 'critical' ? -1 : 1;
    return newestFirst(one, other);
  });
}
