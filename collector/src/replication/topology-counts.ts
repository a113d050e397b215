/**
 * How often it changed who is primary, counted by one server at each site, so that a rule can carry it to each site's
 * people: each change once, however often its event is corrected, and over a restart neither again nor not at all.
 */
import type { ClusterTopology, InstanceId, ReplicationChange } from './model.ts';

/** Kinds of events that say that somebody else is primary now. */
const KINDS: ReadonlySet<string> = new Set(['promotion', 'switchover', 'failover', 'split_brain', 'split_brain_over']);

export class TopologyCounts {
  readonly #counts = new Map<InstanceId, number>();
  /** Whose count was told since the start. */
  readonly #told = new Set<InstanceId>();

  /** Takes what is new at a look. The teller of a site is the first by name of those that are heard. */
  count(cluster: ClusterTopology, changes: readonly ReplicationChange[]): void {
    for (const { kind } of changes) {
      if (!KINDS.has(kind)) continue;
      const sites = new Set<string>();
      for (const { sighting } of cluster.members) {
        if (sighting === undefined || sighting.silent || sites.has(sighting.site)) continue;
        sites.add(sighting.site);
        this.#counts.set(sighting.id, (this.#counts.get(sighting.id) ?? 0) + 1);
      }
    }
  }

  /** To be told in a report of this server. It begins with 0 after a start: what comes next is a rise, whatever was counted before. */
  tell(id: InstanceId): number {
    if (this.#told.has(id)) return this.#counts.get(id) ?? 0;
    this.#told.add(id);
    return 0;
  }

  forget(id: InstanceId): void {
    this.#counts.delete(id);
    this.#told.delete(id);
  }
}
