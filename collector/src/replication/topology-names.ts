/**
 * What a cluster is called. A name that people gave it comes first; else it is called by its first primary, and goes on
 * being so whoever is primary, comes or goes: a name that changes with every replica is none.
 */
import type { InstanceId, MemberMemory } from './model.ts';
import { settingOf, type Subject } from './topology-subject.ts';

/** cluster_name where all agree that have been seen up; else the name of the member that it was called by first. Notes in the memory who that is. */
export function clusterNameOf(
  subjects: readonly Subject[],
  { memory, primary, clones }: { memory: Record<InstanceId, MemberMemory>; primary: InstanceId | undefined; clones: readonly Subject[] },
): string {
  const namer = namerOf(memory, primary, new Set(clones.map(({ id }) => id)));
  const seen = subjects.filter(({ document }) => document !== undefined);
  const told = new Set(seen.map(({ document, sighting }) => document?.clusterName ?? settingOf(sighting, 'cluster_name') ?? ''));
  const [only] = told;
  if (told.size === 1 && only !== undefined && only !== '') return only;
  if (namer !== undefined) return subjects.find(({ id }) => id === namer)?.name ?? memory[namer]!.name;
  return subjects.map(({ name }) => name).sort()[0] ?? '';
}

/** The one that it is called by; the primary, when there is none yet, or when that one turned out to be a copy. */
function namerOf(
  memory: Record<InstanceId, MemberMemory>,
  primary: InstanceId | undefined,
  clones: ReadonlySet<InstanceId>,
): InstanceId | undefined {
  const named = Object.keys(memory)
    .filter((id) => memory[id]!.namesCluster === true)
    .sort();
  const namer = named.find((id) => !clones.has(id)) ?? (primary !== undefined && memory[primary] !== undefined ? primary : undefined);
  for (const id of named) {
    if (id === namer) continue;
    const { namesCluster: _, ...rest } = memory[id]!;
    memory[id] = rest;
  }
  if (namer !== undefined && memory[namer]!.namesCluster !== true) memory[namer] = { ...memory[namer]!, namesCluster: true };
  return namer;
}
