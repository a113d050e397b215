/** How long a value holds when no newer one comes. Beyond that nobody knows; the one place where this is decided. */

const INTERVALS = 3;
/** What a report may need to be collected and to travel. */
const TRAVEL_MS = 5_000;
const INTERVAL_SECONDS_DEFAULT = 15;
/** Samples that the collector makes itself, each second, of a node that is silent. */
export const OWN_BRIDGE_MS = 10_000;

/** For a node that reports every `intervalSeconds`; null: it has not said. */
export function bridgeMs(intervalSeconds: number | null): number {
  return INTERVALS * (intervalSeconds ?? INTERVAL_SECONDS_DEFAULT) * 1_000 + TRAVEL_MS;
}

/** For a series with a pace of its own, slower than its node's. */
export function slowBridgeMs(paceMs: number): number {
  return INTERVALS * paceMs + TRAVEL_MS;
}
