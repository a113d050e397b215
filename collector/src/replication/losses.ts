/**
 * Losses of a primary, as one of the replicas tells them: who tells, and of which node, stays the same until some time
 * after it is over, so that what was begun to be told is told to its end by the same series. Whether there is a loss is
 * not decided here: it is one as long as its event says so, over a restart as well.
 */
import type { Ongoing } from './changes-memory.ts';
import type { ClusterTopology, InstanceId } from './model.ts';

/** For how long an end is told: longer than any rule waits for it. */
const TELL_END_MS = 60 * 60_000;
const LOSSES_MAX = 20;

interface Loss {
  readonly lostNode: string;
  readonly teller: InstanceId;
  /** When there last was anything to show that there is a primary. */
  since: number;
  overAt: number | undefined;
}

export class Losses {
  readonly #losses: Loss[] = [];

  /** Takes a look: its topology, and what its events say of a loss. */
  note(cluster: ClusterTopology, loss: Ongoing['loss'], now: number): void {
    const current = this.#losses.find(({ overAt }) => overAt === undefined);
    const isHere = cluster.members.some(({ id }) => id === current?.teller);
    if (current !== undefined && (loss === null || !isHere)) current.overAt = now;
    if (loss !== null && current !== undefined && isHere) current.since = loss.at;
    else if (loss !== null) this.#begin(cluster, loss);
    while (this.#losses.length > 0 && (this.#losses[0]!.overAt ?? now) < now - TELL_END_MS) this.#losses.shift();
    if (this.#losses.length > LOSSES_MAX) this.#losses.shift();
  }

  /** What a server has to tell, each lost node once. */
  toldBy(id: InstanceId, now: number): { lostNode: string; ms: number }[] {
    const told = new Map<string, number>();
    for (const { teller, lostNode, since, overAt } of this.#losses)
      if (teller === id) told.set(lostNode, overAt === undefined ? Math.max(0, now - since) : 0);
    return [...told].map(([lostNode, ms]) => ({ lostNode, ms }));
  }

  #begin(cluster: ClusterTopology, { lostId, lostName, at }: NonNullable<Ongoing['loss']>): void {
    // Nobody knows who was primary: there is nobody to tell of.
    if (lostId === null) return;
    // Whoever follows the lost one and is heard; the lost one itself may still report that it is down.
    const teller = cluster.members.find(
      ({ id, sighting, role }) => id !== lostId && sighting !== undefined && !sighting.silent && role === 'replica' && sighting.newest.up,
    );
    const lostNode = cluster.members.find(({ id }) => id === lostId)?.sighting?.nodeName ?? lostName;
    if (teller !== undefined) this.#losses.push({ lostNode, teller: teller.id, since: at, overAt: undefined });
  }
}
