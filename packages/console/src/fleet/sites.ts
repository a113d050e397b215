/** Each site in a few figures: how many nodes it has, and how many of them want attention. Pure. */
import type { OverviewNode } from '@tidemark/protocol';
import type { AlertsByNode } from './arrange.ts';
import { RANKS, urgency } from './standing.ts';

export interface SiteStanding {
  site: string;
  nodes: number;
  down: number;
  /** Up, and something is wrong with them that calls for somebody. */
  critical: number;
  warning: number;
}

/** The sites, by name. The same order at each refresh: one learns where one's own is. */
export function sitesOf(nodes: readonly OverviewNode[], alerts: AlertsByNode): SiteStanding[] {
  const sites = new Map<string, SiteStanding>();
  for (const node of nodes) {
    if (node.state === 'retired') continue;
    let site = sites.get(node.site);
    if (site === undefined) sites.set(node.site, (site = { site: node.site, nodes: 0, down: 0, critical: 0, warning: 0 }));
    site.nodes += 1;
    const rank = urgency(node, alerts.get(node.name));
    if (rank === RANKS.down) site.down += 1;
    else if (rank <= RANKS.critical) site.critical += 1;
    else if (rank <= RANKS.warning) site.warning += 1;
  }
  return [...sites.values()].toSorted((a, b) => a.site.localeCompare(b.site, 'en', { numeric: true }));
}
