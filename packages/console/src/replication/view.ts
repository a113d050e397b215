/** What is looked for on the replication page: one cluster, a text, a kind of event. The address is its only memory. Pure. */
import { addressOf } from '../base.ts';
import type { ReplicationCluster } from '@tidemark/protocol';

export interface View {
  cluster: string | null;
  text: string;
  kind: string | null;
}

/** Reads the address' query. */
export function viewOf(search: string): View {
  const query = new URLSearchParams(search);
  return { cluster: query.get('cluster'), text: query.get('q') ?? '', kind: query.get('kind') };
}

/** Writes what `viewOf` reads. */
export function viewQuery({ cluster, text, kind }: View): string {
  const query = new URLSearchParams();
  if (cluster !== null) query.set('cluster', cluster);
  if (text !== '') query.set('q', text);
  if (kind !== null) query.set('kind', kind);
  const written = query.toString();
  return written === '' ? '' : `?${written}`;
}

/** Whether every word is found in the names, sites, roles or states of a cluster. */
export function matches(cluster: ReplicationCluster, text: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const where = [
    cluster.name,
    cluster.systemIdentifier,
    ...cluster.instances.flatMap(({ name, site, role, state }) => [name, site, role, state.replaceAll('_', ' ')]),
  ]
    .join('\n')
    .toLowerCase();
  return words.every((word) => where.includes(word));
}

/** The address of one cluster. */
export const clusterPath = (systemIdentifier: string): string =>
  addressOf(`/replication${viewQuery({ cluster: systemIdentifier, text: '', kind: null })}`);
