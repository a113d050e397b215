/**
 * One server that is watched twice (by localhost and by a virtual address, by two agents): it counts once, under the name
 * that it was known by first. Two servers never begin to run at the same microsecond of one clock, so the moment at which a
 * server says that it began tells them apart whatever address leads to it.
 */
import type { InstanceId, Sighting } from './model.ts';

export interface Watched {
  /** One for each server. */
  readonly sightings: readonly Sighting[];
  /** By the one that stands for it: who else watches the same server. */
  readonly others: ReadonlyMap<InstanceId, readonly Sighting[]>;
}

/** A moment to the second is many servers': a whole rack comes back after a power cut. */
const EXACT = /\.\d{4,}/;
/** After a restart of the server one of the two says so first; the other has so many reports, and at least that time. */
const REPORTS = 3;
const AGREE_MS_MIN = 60_000;

/** Of one cluster. */
export class Doubles {
  /** Who was left out for whom, and when the two last agreed. */
  readonly #twins = new Map<InstanceId, { of: InstanceId; at: number }>();

  /** `firstSeenAt` says since when an instance is known; what is known longest stands for the server as long as it can be heard. */
  oncePerServer(sightings: readonly Sighting[], firstSeenAt: (id: InstanceId) => number | undefined, now: number): Watched {
    const others = new Map<InstanceId, Sighting[]>();
    const left = new Set<InstanceId>();
    for (const same of sameServers(sightings)) {
      const [first, ...rest] = same.toSorted(
        (a, b) =>
          Number(isHeard(b)) - Number(isHeard(a)) ||
          (firstSeenAt(a.id) ?? Infinity) - (firstSeenAt(b.id) ?? Infinity) ||
          (a.id < b.id ? -1 : 1),
      );
      this.#twins.delete(first!.id);
      for (const other of rest) {
        this.#twins.set(other.id, { of: first!.id, at: now });
        left.add(other.id);
      }
      others.set(first!.id, rest);
    }
    for (const [id, { of, at }] of this.#twins) {
      if (left.has(id)) continue;
      const [one, other] = [sightings.find((sighting) => sighting.id === id), sightings.find((sighting) => sighting.id === of)];
      if (
        one === undefined ||
        other === undefined ||
        now - at > Math.max(AGREE_MS_MIN, REPORTS * one.intervalMs, REPORTS * other.intervalMs)
      ) {
        this.#twins.delete(id);
        continue;
      }
      left.add(id);
      others.set(of, [...(others.get(of) ?? []), one]);
    }
    return { sightings: left.size === 0 ? sightings : sightings.filter(({ id }) => !left.has(id)), others };
  }
}

function sameServers(sightings: readonly Sighting[]): Sighting[][] {
  const servers = new Map<string, Sighting[]>();
  for (const sighting of sightings) {
    const startedAt = sighting.document?.startedAt ?? undefined;
    if (startedAt === undefined || !EXACT.test(startedAt)) continue;
    const same = servers.get(startedAt);
    if (same === undefined) servers.set(startedAt, [sighting]);
    else same.push(sighting);
  }
  return [...servers.values()].filter(({ length }) => length > 1);
}

const isHeard = ({ silent, newest }: Sighting): boolean => !silent && newest.up;

/** For people: what is wrong and what to do. */
export function twiceText(others: readonly Sighting[]): string {
  const names = others.slice(0, 5).map(({ nodeName, instance }) => `${instance} on ${nodeName}`);
  return `It is watched twice, also as ${names.join(', ')}: one server, counted once; take one of them out of its agent's configuration.`;
}
