/** The newest replication events in memory: found by their key, listed by cluster, bounded in all. */
import type { StoredEvent } from './event-tables.ts';

const EVENTS_MAX = 1_000;
/** A cluster whose slots come and go does not push out everybody else's. */
const CLUSTER_EVENTS_MAX = 200;
/** For longer it is known that they were recorded. */
const KEYS_MAX = 10_000;

/** What is kept of an event that is no longer in memory. */
export type KnownEvent = Pick<StoredEvent, 'id' | 'at' | 'kind'>;

export class RecentEvents {
  readonly max = EVENTS_MAX;
  /** By cluster, then by key; in the order of recording. */
  readonly #clusters = new Map<string, Map<string, StoredEvent>>();
  readonly #known = new Map<string, KnownEvent>();
  #count = 0;

  find(systemIdentifier: string, key: string): KnownEvent | undefined {
    return this.#known.get(`${systemIdentifier} ${key}`);
  }

  /** Adds it, or puts it in the place of the one with its key. */
  put(event: StoredEvent): void {
    let events = this.#clusters.get(event.systemIdentifier);
    if (events === undefined) {
      events = new Map();
      this.#clusters.set(event.systemIdentifier, events);
    }
    const name = `${event.systemIdentifier} ${event.key}`;
    this.#known.delete(name);
    this.#known.set(name, { id: event.id, at: event.at, kind: event.kind });
    if (this.#known.size > KEYS_MAX) this.#known.delete(this.#known.keys().next().value!);
    if (!events.has(event.key)) this.#count++;
    events.set(event.key, event);
    if (events.size > CLUSTER_EVENTS_MAX) this.#dropFirst(event.systemIdentifier, events);
    if (this.#count > EVENTS_MAX) this.#dropOldest();
  }

  /** The newest first. */
  of(systemIdentifier: string, limit: number): StoredEvent[] {
    const events = [...(this.#clusters.get(systemIdentifier)?.values() ?? [])];
    return events.toSorted((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1)).slice(0, limit);
  }

  #dropFirst(systemIdentifier: string, events: Map<string, StoredEvent>): void {
    const [first] = events.keys();
    events.delete(first!);
    this.#count--;
    if (events.size === 0) this.#clusters.delete(systemIdentifier);
  }

  #dropOldest(): void {
    let oldest: { id: string; events: Map<string, StoredEvent>; at: number } | undefined;
    for (const [id, events] of this.#clusters) {
      const [first] = events.values();
      if (oldest === undefined || first!.at < oldest.at) oldest = { id, events, at: first!.at };
    }
    this.#dropFirst(oldest!.id, oldest!.events);
  }
}
