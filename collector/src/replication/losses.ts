/**
 * Losses of a primary, as one of the replicas tells them: who tells, and of which node, stays the same until some time
 * after it is over, so that what was begun to be told is told to its end by the same series.
 */
import type { ClusterTopology, InstanceId } from './model.ts';

/** For how long an end is told: longer than any rule waits for it. */
const TELL_END_MS = 60 * 60_000;
const LOSSES_MAX = 20;
/** Half of PostgreSQL's own wal_receiver_timeout: an idle primary is heard by its replicas that seldom, when they ask. */
const ASKED_MS = 30_000;
/** Two reports and their travel may be missing before anything is said. */
const INTERVALS_MISSED = 2;
const GRACE_MS = 3_000;

interface Loss {
  readonly lostNode: string;
  readonly teller: InstanceId;
  /** When there last was anything to show that there is a primary. */
  readonly since: number;
  overAt: number | undefined;
}

export class Losses {
  readonly #losses: Loss[] = [];
  /** The primary there last was, by its node. */
  #lastPrimary: string | undefined;

  /** Takes a look's topology. */
  note(cluster: ClusterTopology, now: number): void {
    const primary = cluster.members.find(({ id }) => id === cluster.primary.id);
    const { primaryEvidenceAt: evidenceAt } = cluster;
    const patience = patienceMs(cluster, primary?.sighting?.intervalMs ?? 0);
    const isLost = evidenceAt !== undefined && now - evidenceAt > patience;
    const current = this.#losses.find(({ overAt }) => overAt === undefined);
    if (!isLost) {
      if (current !== undefined) current.overAt = now;
      if (primary?.sighting !== undefined) this.#lastPrimary = primary.sighting.nodeName;
    } else if (current === undefined) this.#begin(cluster, evidenceAt);
    while (this.#losses.length > 0 && (this.#losses[0]!.overAt ?? now) < now - TELL_END_MS) this.#losses.shift();
    if (this.#losses.length > LOSSES_MAX) this.#losses.shift();
  }

  /** The one that is not over. */
  current(now: number): { readonly ms: number } | undefined {
    const loss = this.#losses.find(({ overAt }) => overAt === undefined);
    return loss === undefined ? undefined : { ms: now - loss.since };
  }

  /** What a server has to tell, each lost node once. */
  toldBy(id: InstanceId, now: number): { lostNode: string; ms: number }[] {
    const told = new Map<string, number>();
    for (const { teller, lostNode, since, overAt } of this.#losses)
      if (teller === id) told.set(lostNode, overAt === undefined ? now - since : 0);
    return [...told].map(([lostNode, ms]) => ({ lostNode, ms }));
  }

  #begin(cluster: ClusterTopology, since: number): void {
    // Whoever follows the lost one and is heard; the lost one itself may still report that it is down.
    const teller = cluster.members.find(
      ({ sighting, role }) => sighting !== undefined && !sighting.silent && role === 'replica' && sighting.newest.up,
    );
    if (teller !== undefined && this.#lastPrimary !== undefined)
      this.#losses.push({ lostNode: this.#lastPrimary, teller: teller.id, since, overAt: undefined });
  }
}

/** The slowest of those that would show a primary, and what may pass between two signs of it. */
function patienceMs({ members }: ClusterTopology, ofPrimaryMs: number): number {
  const heard = members.flatMap(({ sighting }) => (sighting === undefined || sighting.silent ? [] : [sighting]));
  const intervalMs = Math.max(ofPrimaryMs, ...heard.map((sighting) => sighting.intervalMs));
  const isAnyoneConnected = members.some(
    ({ sighting, role, upstream }) =>
      sighting?.silent === false && sighting.newest.up && role === 'replica' && upstream?.connected === true,
  );
  return Math.max(INTERVALS_MISSED * intervalMs, isAnyoneConnected ? ASKED_MS + intervalMs : 0) + GRACE_MS;
}
