/** Where one is: the address bar is the only memory of it, so that a link, a reload and the back button all lead to the same page. */
import { computed, signal } from '@preact/signals';
import { addressOf, placeOf } from './base.ts';

export type AlertsTab = 'open' | 'past' | 'silences';

export type Route =
  | { page: 'fleet' }
  | { page: 'node'; name: string }
  | { page: 'nodes' }
  | { page: 'add-node' }
  | { page: 'alerts'; tab: AlertsTab }
  | { page: 'alert'; id: string }
  | { page: 'replication' }
  | { page: 'settings' }
  | { page: 'unknown' };

const FIXED: Readonly<Record<string, Route>> = {
  '/': { page: 'fleet' },
  '/sign-in': { page: 'fleet' },
  '/nodes': { page: 'nodes' },
  // Not below /nodes: there every word may be a node's name.
  '/add-node': { page: 'add-node' },
  '/alerts': { page: 'alerts', tab: 'open' },
  '/alerts/past': { page: 'alerts', tab: 'past' },
  '/alerts/silences': { page: 'alerts', tab: 'silences' },
  '/replication': { page: 'replication' },
  '/settings': { page: 'settings' },
};

/** Reads a path. A name that is not valid percent-encoding leads nowhere. */
export function routeOf(path: string): Route {
  const fixed = FIXED[path];
  if (fixed !== undefined) return fixed;
  const [, kind, word] = /^\/(nodes|alerts)\/([^/]+)$/.exec(path) ?? [];
  if (kind === undefined || word === undefined) return { page: 'unknown' };
  try {
    const named = decodeURIComponent(word);
    return kind === 'nodes' ? { page: 'node', name: named } : { page: 'alert', id: named };
  } catch {
    return { page: 'unknown' };
  }
}

/** The address of a node's page. */
export function nodePath(name: string): string {
  return addressOf(`/nodes/${encodeURIComponent(name)}`);
}

/** The address of an alert's page. */
export function alertPath(id: string): string {
  return addressOf(`/alerts/${encodeURIComponent(id)}`);
}

/** The page's path below the prefix. One that is not below it is none of the console's. */
const here = (): string => placeOf(location.pathname) ?? '';

const path = signal(here());
export const route = computed(() => routeOf(path.value));

/** Grows with every step to an address: a page that reads its query reads it anew. */
export const step = signal(0);

/** The query under which the fleet was last seen, so that "Fleet" leads back to the same filter. */
export const fleetQuery = signal(here() === '/' ? location.search : '');

function arrive(): void {
  path.value = here();
  step.value += 1;
}

/** Goes to an address of the console. */
export function navigate(to: string): void {
  history.pushState(null, '', to);
  arrive();
  scrollTo(0, 0);
}

/** Puts a page's filter into the address without a step in the history; `place` is the page's own path, without a prefix. */
export function rememberQuery(place: string, query: string): void {
  if (here() === place && location.search !== query) history.replaceState(null, '', `${location.pathname}${query}`);
}

/** Puts the fleet's filter and order into the address without a step in the history. */
export function rememberFleetQuery(query: string): void {
  fleetQuery.value = query;
  rememberQuery('/', query);
}

/** Follows the back button and turns clicks on links of the console into steps without a reload. */
export function startRouter(): void {
  addEventListener('popstate', arrive);
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (link === null || link.origin !== location.origin || link.target !== '') return;
    if (routeOf(placeOf(link.pathname) ?? '').page === 'unknown') return;
    // Within a page the browser itself goes there.
    if (link.hash !== '' && link.pathname === location.pathname && link.search === location.search) return;
    event.preventDefault();
    navigate(link.pathname + link.search + link.hash);
  });
}
