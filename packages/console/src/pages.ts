/** The pages that are not part of the first load. One line a page. */
import { lazyPage } from './lazy-page.tsx';

export const alertsPage = lazyPage(() => import('./alerts/alerts-page.tsx').then((module) => module.AlertsPage));
export const alertPage = lazyPage(() => import('./alerts/alert-page.tsx').then((module) => module.AlertPage));
export const nodesPage = lazyPage(() => import('./nodes/nodes-page.tsx').then((module) => module.NodesPage));
export const addNodePage = lazyPage(() => import('./nodes/add-page.tsx').then((module) => module.AddPage));
export const replicationPage = lazyPage(() => import('./replication/replication-page.tsx').then((module) => module.ReplicationPage));
export const settingsPage = lazyPage(() => import('./settings/settings-page.tsx').then((module) => module.SettingsPage));

/** A part of a node's page, for nodes with PostgreSQL. */
export const serverStanding = lazyPage(() => import('./replication/server-standing.tsx').then((module) => module.ServerStanding), true);

/** Fetches all of them while nothing else is to do: at night, with the collector gone, they are wanted. */
export function fetchPages(): void {
  const fetch = (): void => {
    for (const page of [alertsPage, alertPage, replicationPage, serverStanding, nodesPage, addNodePage, settingsPage]) page.fetch();
  };
  // Safari has no requestIdleCallback.
  if (typeof requestIdleCallback === 'function') requestIdleCallback(fetch, { timeout: 5_000 });
  else setTimeout(fetch, 1_500);
}
