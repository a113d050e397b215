/**
 * What the fleet's page shows, derived from the live figures: the filter and order live in the address, and the order
 * keeps still while a mouse moves over the rows, so that nobody clicks on a row that has just changed places.
 */
import { computed, effect, signal } from '@preact/signals';
import type { OverviewNode } from '@tidemark/protocol';
import { openByNode } from '../alerts/open-alerts.ts';
import type { Feed } from '../live/feed.ts';
import { fleetQuery, rememberFleetQuery } from '../router.ts';
import { BEGINS_DESCENDING, arrange, keepOrder, queryOf, viewOf, type SortKey, type View } from './arrange.ts';
import { sitesOf } from './sites.ts';
import { conditionOf } from './standing.ts';

const KEPT_MS = 5_000;
const NO_NODES: readonly OverviewNode[] = [];

export interface Counts {
  nodes: number;
  down: number;
  pending: number;
  sites: string[];
}

function count(nodes: readonly OverviewNode[]): Counts {
  const counts: Counts = { nodes: nodes.length, down: 0, pending: 0, sites: [] };
  const sites = new Set<string>();
  for (const node of nodes) {
    sites.add(node.site);
    const condition = conditionOf(node);
    if (condition === 'down') counts.down += 1;
    else if (condition === 'pending') counts.pending += 1;
  }
  counts.sites = [...sites].toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return counts;
}

/** Made once per page; see `fleet-page.tsx`. */
export function createFleetView(feed: Feed) {
  const view = signal<View>(viewOf(fleetQuery.peek()));
  const kept = signal<readonly string[] | null>(null);
  let timer: ReturnType<typeof setTimeout> | undefined;

  const nodes = computed(() => feed.figures.value?.overview.nodes ?? NO_NODES);
  const arranged = computed(() => arrange(nodes.value, view.value, openByNode.value));
  const rows = computed(() => (kept.value === null ? arranged.value : keepOrder(arranged.value, kept.value)));
  const release = (): void => {
    clearTimeout(timer);
    kept.value = null;
  };
  const change = (part: Partial<View>): void => {
    release();
    view.value = { ...view.value, ...part };
  };
  const stop = effect(() => rememberFleetQuery(queryOf(view.value)));
  return {
    view,
    nodes,
    rows,
    counts: computed(() => count(nodes.value)),
    sites: computed(() => sitesOf(nodes.value, openByNode.value)),
    change,
    /** A second time the other way round. */
    sortBy(key: SortKey): void {
      const { sort } = view.value;
      change({ sort: { key, descending: sort.key === key ? !sort.descending : BEGINS_DESCENDING.has(key) } });
    },
    keepStill(): void {
      if (kept.peek() === null) kept.value = rows.peek().map((node) => node.name);
      clearTimeout(timer);
      timer = setTimeout(release, KEPT_MS);
    },
    release,
    dispose(): void {
      release();
      stop();
    },
  };
}

export type FleetView = ReturnType<typeof createFleetView>;
