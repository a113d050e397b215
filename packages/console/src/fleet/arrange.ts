/** Which nodes are shown and in which order. Pure, and quick enough to be done anew at every refresh of 1,000 nodes. */
import type { AlertView, OverviewNode } from '@tidemark/protocol';
import { CONDITION_WORDS, bytesBehind, callingLevel, conditionOf, fullness, urgency } from './standing.ts';

export type SortKey = 'state' | 'name' | 'site' | 'cpu' | 'memory' | 'disk' | 'postgres' | 'behind' | 'uptime' | 'seen';
export interface Sort {
  key: SortKey;
  descending: boolean;
}
/** What is wrong first. */
export const DEFAULT_SORT: Sort = { key: 'state', descending: false };
const KEYS: readonly string[] = [
  'state',
  'name',
  'site',
  'cpu',
  'memory',
  'disk',
  'postgres',
  'behind',
  'uptime',
  'seen',
] satisfies SortKey[];

/** Numbers begin with the largest, words with the first of the alphabet. */
export const BEGINS_DESCENDING: ReadonlySet<SortKey> = new Set<SortKey>(['cpu', 'memory', 'disk', 'behind', 'uptime']);

export interface View {
  query: string;
  /** Null for all sites. */
  site: string | null;
  sort: Sort;
}

const words = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** The word under which a node's PostgreSQL is shown and sorted; empty for a node without. */
export function postgresWord(node: OverviewNode): string {
  const [first] = node.postgres;
  if (first === undefined) return '';
  if (node.postgres.some((server) => server.up === false)) return 'down';
  return node.postgres.find((server) => server.role === 'primary')?.role ?? first.role ?? 'unknown';
}

/** The open alerts of each node, by its name. */
export type AlertsByNode = ReadonlyMap<string, readonly AlertView[]>;
const NO_ALERTS: AlertsByNode = new Map();

type Value = number | string | null;
const VALUES: Record<SortKey, (node: OverviewNode, alerts: readonly AlertView[] | undefined) => Value> = {
  state: urgency,
  name: (node) => node.name,
  site: (node) => node.site,
  cpu: (node) => node.cpu.usageRatio,
  memory: (node) => node.memory.usageRatio,
  disk: (node) => node.disk.usageRatio,
  postgres: (node) => postgresWord(node) || null,
  behind: bytesBehind,
  uptime: (node) => node.uptimeSeconds,
  // Oldest last: "ascending" reads as the shortest time ago.
  seen: (node) => (node.lastSeenAt === null ? null : -Date.parse(node.lastSeenAt)),
};

function compareValues(a: Value, b: Value, sign: 1 | -1): number {
  // What was not measured comes last whichever way one looks.
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  if (typeof a === 'string' || typeof b === 'string') return sign * words.compare(String(a), String(b));
  return sign * (a - b);
}

interface Entry {
  node: OverviewNode;
  value: Value;
  urgency: number;
  percentFull: number;
}

/**
 * Sorts without changing its input. By state, equals are told apart by fullness in whole percent (so that they keep
 * still); within a site what is wrong comes first; then by name.
 */
export function sortNodes(nodes: readonly OverviewNode[], sort: Sort, alerts: AlertsByNode = NO_ALERTS): OverviewNode[] {
  const read = VALUES[sort.key];
  const sign = sort.descending ? -1 : 1;
  const bySite = sort.key === 'site';
  const byFullness = bySite || sort.key === 'state';
  const entries: Entry[] = nodes.map((node) => ({
    node,
    value: read(node, alerts.get(node.name)),
    urgency: bySite ? urgency(node, alerts.get(node.name)) : 0,
    percentFull: Math.round(fullness(node) * 100),
  }));
  entries.sort(
    (a, b) =>
      compareValues(a.value, b.value, sign) ||
      a.urgency - b.urgency ||
      (byFullness ? b.percentFull - a.percentFull : 0) ||
      words.compare(a.node.name, b.node.name) ||
      (a.node.name < b.node.name ? -1 : 1),
  );
  return entries.map((entry) => entry.node);
}

/** The words of a query: all must be found. */
export function termsOf(query: string): string[] {
  return query.toLowerCase().split(/\s+/).filter(Boolean);
}

/** Whether each term is in the name, the site, a tag ("key=value"), the state or an open alert. */
export function matches(node: OverviewNode, terms: readonly string[], alerts: readonly AlertView[] = []): boolean {
  if (terms.length === 0) return true;
  const fields = [node.name.toLowerCase(), node.site.toLowerCase(), CONDITION_WORDS[conditionOf(node)].toLowerCase()];
  for (const [key, value] of Object.entries(node.tags)) fields.push(`${key}=${value}`.toLowerCase());
  const role = postgresWord(node);
  if (role !== '') fields.push(`postgres=${role}`);
  const calling = callingLevel(alerts);
  if (calling !== null) fields.push(calling);
  for (const alert of alerts) fields.push(`alert ${alert.title}`.toLowerCase());
  return terms.every((term) => fields.some((field) => field.includes(term)));
}

/** Filters, then sorts. */
export function arrange(nodes: readonly OverviewNode[], view: View, alerts: AlertsByNode = NO_ALERTS): OverviewNode[] {
  const terms = termsOf(view.query);
  const kept = nodes.filter((node) => (view.site === null || node.site === view.site) && matches(node, terms, alerts.get(node.name)));
  return sortNodes(kept, view.sort, alerts);
}

/** The given order for the nodes it names, the others after them: rows keep still under a pointer that is about to click. */
export function keepOrder(nodes: readonly OverviewNode[], names: readonly string[]): OverviewNode[] {
  const place = new Map(names.map((name, index) => [name, index]));
  return nodes
    .map((node, index) => ({ node, place: place.get(node.name) ?? names.length + index }))
    .toSorted((a, b) => a.place - b.place)
    .map((entry) => entry.node);
}

/** The view as an address' query; what is as usual is left out. */
export function queryOf(view: View): string {
  const query = new URLSearchParams();
  if (view.query !== '') query.set('q', view.query);
  if (view.site !== null) query.set('site', view.site);
  const { key, descending } = view.sort;
  if (key !== DEFAULT_SORT.key || descending !== DEFAULT_SORT.descending) query.set('sort', descending ? `-${key}` : key);
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

/** Reads what `queryOf` wrote; what it does not know it takes as usual. */
export function viewOf(search: string): View {
  const query = new URLSearchParams(search);
  const sort = query.get('sort') ?? '';
  const key = sort.replace(/^-/, '');
  return {
    query: query.get('q') ?? '',
    site: query.get('site'),
    sort: KEYS.includes(key) ? { key: key as SortKey, descending: sort.startsWith('-') } : DEFAULT_SORT,
  };
}
