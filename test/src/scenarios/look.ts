/** One look at what is published, in the letters of one scenario. */
import type { ReplicationEvent } from '@tidemark/protocol';
import type { Look } from './conditions/index.ts';
import type { Published } from './world/collector.ts';
import type { World } from './world/world.ts';

/** `isOurs` says which events belong to the scenario: those from before its beginning do not. */
export function lookAt(world: World, { replication, alerts }: Published, isOurs: (event: ReplicationEvent) => boolean): Look {
  const cluster = replication.clusters.find(({ systemIdentifier }) => systemIdentifier === world.systemIdentifier);
  const nodes = new Set(world.letters.map((letter) => world.nodeOf(letter)));
  const instance: Look['instance'] = (letter) => cluster?.instances.find(({ node }) => node === world.nodeOf(letter));
  let primary: ReturnType<Look['primary']> | undefined;
  let metrics: ReturnType<Look['metrics']> | undefined;
  return {
    cluster,
    instance,
    slot: (name, letter) => cluster?.slots.find((slot) => slot.name === name && slot.instanceId === instance(letter)?.id),
    events: (cluster?.events ?? []).filter(isOurs).toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at)),
    alerts: alerts.filter(({ node }) => nodes.has(node)),
    letterOf: (node) => (node === null ? undefined : world.letterOf(node)),
    nodeOf: (letter) => world.nodeOf(letter),
    primary: () => (primary ??= world.collector.primaryOf(world.systemIdentifier)),
    metrics: () => (metrics ??= world.collector.metrics()),
  };
}
