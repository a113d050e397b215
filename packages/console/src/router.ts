/** Where one is: the address bar is the only memory of it, so that a link, a reload and the back button all lead to the same page. */
import { computed, signal } from '@preact/signals';

export type Route = { page: 'fleet' } | { page: 'node'; name: string } | { page: 'nodes' } | { page: 'unknown' };

/** Reads a path. A name that is not valid percent-encoding leads nowhere. */
export function routeOf(path: string): Route {
  if (path === '/' || path === '/sign-in') return { page: 'fleet' };
  if (path === '/nodes') return { page: 'nodes' };
  const name = /^\/nodes\/([^/]+)$/.exec(path)?.[1];
  if (name === undefined) return { page: 'unknown' };
  try {
    return { page: 'node', name: decodeURIComponent(name) };
  } catch {
    return { page: 'unknown' };
  }
}

/** The address of a node's page. */
export function nodePath(name: string): string {
  return `/nodes/${encodeURIComponent(name)}`;
}

const path = signal(location.pathname);
export const route = computed(() => routeOf(path.value));

/** The query under which the fleet was last seen, so that "Fleet" leads back to the same filter. */
export const fleetQuery = signal(location.pathname === '/' ? location.search : '');

/** Goes to an address of the console. */
export function navigate(to: string): void {
  history.pushState(null, '', to);
  path.value = location.pathname;
  scrollTo(0, 0);
}

/** Puts the fleet's filter and order into the address without a step in the history. */
export function rememberFleetQuery(query: string): void {
  fleetQuery.value = query;
  if (location.pathname === '/' && location.search !== query) history.replaceState(null, '', `/${query}`);
}

/** Follows the back button and turns clicks on links of the console into steps without a reload. */
export function startRouter(): void {
  addEventListener('popstate', () => {
    path.value = location.pathname;
  });
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (link === null || link.origin !== location.origin || link.target !== '' || routeOf(link.pathname).page === 'unknown') return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}
