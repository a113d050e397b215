/** Losses of a primary as series: told by one replica, by the event's word, and to the end. */
import { expect, test } from 'vitest';
import type { Ongoing } from './changes-memory.ts';
import { Losses } from './losses.ts';
import type { ClusterTopology } from './model.ts';
import { World, type Server } from './topology-testing.ts';

function four(): { world: World; a: Server; b: Server; c: Server; look: () => ClusterTopology } {
  const world = new World();
  const a = world.add('a');
  const b = world.standby('b', a);
  const c = world.standby('c', a);
  world.round();
  world.round();
  return { world, a, b, c, look: () => world.round() };
}
const lossOf = (server: Server, at: number): Ongoing['loss'] => ({ lostId: server.id, lostName: server.name, at });
const tellers = (losses: Losses, servers: readonly Server[], now: number): string[] =>
  servers.flatMap(({ id, name }) => losses.toldBy(id, now).map(({ lostNode, ms }) => `${name}: ${lostNode} ${ms}`));

test('nothing is told while there is none, and of a primary that nobody watches', () => {
  const { world, a, b, c, look } = four();
  const losses = new Losses();
  losses.note(look(), null, world.now);
  losses.note(look(), { lostId: null, lostName: '10.0.0.9', at: world.now - 9_000 }, world.now);
  expect(tellers(losses, [a, b, c], world.now)).toEqual([]);
});

test('one replica tells it, the same one to the end, and its end for an hour', () => {
  const { world, a, b, c, look } = four();
  const losses = new Losses();
  const at = world.now;
  world.stop(a);
  losses.note(look(), lossOf(a, at), world.now);
  expect(tellers(losses, [a, b, c], world.now)).toEqual(['b: a 10000']);
  // A late report: it was there for longer than was thought.
  losses.note(look(), lossOf(a, at + 4_000), world.now);
  expect(tellers(losses, [a, b, c], world.now)).toEqual(['b: a 16000']);
  b.agent = false;
  for (let i = 0; i < 6; i++) losses.note(look(), lossOf(a, at), world.now);
  expect(tellers(losses, [a, b, c], world.now)).toEqual(['b: a 80000']);
  losses.note(look(), null, world.now);
  expect(tellers(losses, [a, b, c], world.now + 59 * 60_000)).toEqual(['b: a 0']);
  losses.note(world.look(), null, world.now + 61 * 60_000);
  expect(tellers(losses, [a, b, c], world.now)).toEqual([]);
});

test('when the teller is taken away another one goes on', () => {
  const { world, a, b, c, look } = four();
  const losses = new Losses();
  const at = world.now;
  world.stop(a);
  losses.note(look(), lossOf(a, at), world.now);
  world.servers.delete('b');
  losses.note(look(), lossOf(a, at), world.now);
  expect(tellers(losses, [a, c], world.now)).toEqual(['c: a 20000']);
  expect(tellers(losses, [b], world.now)).toEqual(['b: a 0']);
});

test('a second loss is told by its own node, and the first one as over', () => {
  const { world, a, b, c, look } = four();
  const losses = new Losses();
  world.stop(a);
  losses.note(look(), lossOf(a, world.now - 5_000), world.now);
  world.promote(b);
  world.follow(c, b);
  losses.note(look(), null, world.now);
  world.stop(b);
  losses.note(look(), lossOf(b, world.now - 5_000), world.now);
  expect(tellers(losses, [b], world.now)).toEqual(['b: a 0']);
  expect(tellers(losses, [c], world.now)).toEqual(['c: b 5000']);
});
