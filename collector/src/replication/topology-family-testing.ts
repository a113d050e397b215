/** Four servers to begin with, and what tests ask of a topology. */
import type { ClusterTopology, Member } from './model.ts';
import { World, type Server } from './topology-testing.ts';

export interface Family {
  world: World;
  a: Server;
  b: Server;
  c: Server;
  d: Server;
}

/** A→B→C and D off A, each on a machine of its own. */
export function family(named = true): Family {
  const world = new World();
  const name = (clusterName: string): { clusterName: string } | undefined => (named ? { clusterName } : undefined);
  const a = world.add('a', name('a'));
  const b = world.standby('b', a, { slot: 'b' }, name('b'));
  const c = world.standby('c', b, {}, name('c'));
  const d = world.standby('d', a, {}, name('d'));
  return { world, a, b, c, d };
}

/** Of a member, by its server or by its id. */
export function memberOf(cluster: ClusterTopology, of: Server | string): Member {
  const id = typeof of === 'string' ? of : of.id;
  const found = cluster.members.find((member) => member.id === id);
  if (found === undefined) throw new Error(`No member ${id} among ${cluster.members.map((member) => member.id).join(', ')}`);
  return found;
}

/** Who follows whom, by names: "b<a c<b d<a". */
export function drawn(cluster: ClusterTopology): string {
  const names = new Map(cluster.members.map(({ id, name }) => [id, name]));
  return cluster.members
    .filter(({ upstream }) => upstream !== undefined)
    .map(
      ({ name, upstream }) =>
        `${name}${upstream!.connected ? '<' : '~'}${upstream!.id === undefined ? '?' : (names.get(upstream!.id) ?? '!')}`,
    )
    .join(' ');
}
