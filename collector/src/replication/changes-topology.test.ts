/** The same nights with the topology that is really found: what reports say goes in, and only what happened comes out. */
import { describe, expect, test } from 'vitest';
import { SYSTEM, World, idOf, kinds, only } from './changes-testing.ts';
import type { ClusterTopology, MemberMemory } from './model.ts';
import { clusterTopology } from './topology.ts';

const SEGMENT = 0x0300_0000n;
const WRITTEN = 0x1000n;

class RealWorld extends World {
  topologyMemory: Readonly<Record<string, MemberMemory>> = {};

  override topology(): ClusterTopology {
    const sightings = [...this.servers.values()].filter(({ watched }) => watched).map((server) => this.sightingOf(server));
    const { cluster, memory } = clusterTopology({ systemIdentifier: SYSTEM, sightings, memory: this.topologyMemory, now: this.now });
    this.topologyMemory = JSON.parse(JSON.stringify(memory)) as typeof memory;
    return cluster;
  }

  /** WAL goes to everyone who streams, at once. */
  write(name: string, bytes = WRITTEN): void {
    this.set(name, { lsn: this.server(name).lsn + bytes });
    for (const other of this.servers.values())
      if (other.upstream === name && other.connected && other.up) this.write(other.name, this.server(name).lsn - other.lsn);
  }

  /** Steps with writes on everyone who is a primary. */
  busy(count: number) {
    return Array.from({ length: count }, () => {
      for (const { name, role, up } of this.servers.values()) if (role === 'primary' && up) this.write(name);
      return this.step();
    }).flat();
  }
}

function usual(): RealWorld {
  const world = new RealWorld();
  world.add('a', { lsn: SEGMENT });
  world.add('b', { upstream: 'a', lsn: SEGMENT });
  world.add('c', { upstream: 'b', lsn: SEGMENT });
  world.add('d', { upstream: 'a', lsn: SEGMENT });
  world.busy(20);
  return world;
}

describe('A→B→C and D off A', () => {
  test('nothing happens', () => {
    const world = usual();
    expect(world.busy(100)).toEqual([]);
    expect(world.steps(100)).toEqual([]);
    expect(world.said).toEqual([]);
  });

  test('restarts of everyone', () => {
    const world = usual();
    for (const name of ['a', 'b', 'c', 'd']) {
      const followers = [...world.servers.values()].filter(({ upstream, connected }) => upstream === name && connected);
      world.stop(name);
      world.steps(2);
      world.start(name, { connected: world.server(name).role === 'replica' });
      for (const follower of followers) follower.connected = true;
      world.busy(10);
    }
    expect(world.said).toEqual([]);
  });

  test('rows 10 and 11: failover with loss, then the old primary comes back: split brain; rows 12 and 13: diverged, rewound, rejoined', () => {
    const world = usual();
    world.set('a', { lsn: world.server('a').lsn + 0x8000n });
    for (const name of ['b', 'd']) world.set(name, { connected: false });
    world.step();
    for (const name of ['b', 'd']) world.server(name).document!.receiver!.latestEndLsn = null;
    world.stop('a');
    world.steps(4);
    world.promote('b');
    world.follow('d', 'b');
    world.set('c', { timeline: 2 });
    world.busy(10);
    expect(kinds(world.said).toSorted()).toEqual(['failover', 'primary_lost', 'primary_lost', 'timeline_switch', 'timeline_switch']);
    expect(only(world.said, 'failover').details).toMatchObject({ formerPrimary: 'a', newPrimary: 'b', lostBytes: 0x8000 });
    world.said.length = 0;

    world.start('a');
    world.busy(5);
    const split = world.said.filter(({ kind }) => kind === 'split_brain');
    expect(new Set(split.map(({ key }) => key)).size).toBe(1);
    expect(split[0]).toMatchObject({ severity: 'critical', instanceId: idOf('a') });
    expect(kinds(world.said).filter((kind) => kind !== 'split_brain' && kind !== 'unexpected_primary')).toEqual([]);
    world.said.length = 0;

    world.stop('a');
    world.steps(1);
    world.start('a', { role: 'replica', upstream: 'b', connected: false });
    world.busy(10);
    only(world.said, 'split_brain_over');
    expect(only(world.said, 'diverged').instanceId).toBe(idOf('a'));
    expect(kinds(world.said)).toHaveLength(2);
    world.said.length = 0;

    world.stop('a');
    world.steps(1);
    world.follow('a', 'b');
    world.busy(10);
    expect(kinds(world.said)).toEqual(['rejoined']);
  });

  test('a planned switchover is one event and its timelines', () => {
    const world = usual();
    world.stop('a', { reason: 'stopping', detail: 'the database system is shutting down' });
    world.step();
    world.promote('b');
    world.set('c', { timeline: 2 });
    world.busy(1);
    world.follow('a', 'b');
    world.follow('d', 'b');
    world.busy(100);
    expect(new Set(kinds(world.said))).toEqual(new Set(['switchover', 'timeline_switch']));
    expect(new Set(world.said.filter(({ kind }) => kind === 'switchover').map(({ key }) => key)).size).toBe(1);
  });

  test.each([false, true])(
    'a switchover within a second, told by the old primary first (its replica at an unknown address: %s)',
    (isUnknown) => {
      const world = usual();
      const address = world.server('b').address;
      world.stop('a');
      world.promote('b');
      if (isUnknown) world.set('b', { address: '192.0.2.7' });
      world.follow('a', 'b');
      world.write('b', 0x5000n);
      world.now += 400;
      world.report(world.server('a'));
      world.look();
      world.now += 800;
      world.set('b', { address });
      world.report(world.server('b'));
      world.look();
      world.follow('c', 'b');
      world.follow('d', 'b');
      world.busy(100);
      expect(kinds(world.said)).not.toContain('failover');
      const switchover = world.said.filter(({ kind }) => kind === 'switchover').at(-1)!;
      expect(switchover.details).toMatchObject({ formerPrimary: 'a', newPrimary: 'b', lostBytes: 0 });
    },
  );

  test('row 8: D is promoted beside A; both write; D is given up and rewound', () => {
    const world = usual();
    world.promote('d');
    world.busy(4);
    const split = world.said.filter(({ kind }) => kind === 'split_brain');
    expect(new Set(split.map(({ key }) => key)).size).toBe(1);
    expect(split[0]!.instanceId).toBe(idOf('d'));
    expect(new Set(kinds(world.said))).toEqual(
      new Set(['promotion', 'split_brain', ...kinds(world.said).filter((kind) => kind === 'unexpected_primary')]),
    );
    world.said.length = 0;
    world.busy(20);
    // What each side has written is said again when it is of another order: under the same key.
    for (const change of world.said) expect(change).toMatchObject({ kind: 'split_brain', key: split[0]!.key });
    expect(world.said.length).toBeLessThanOrEqual(4);
    world.said.length = 0;
    world.stop('d');
    world.busy(6);
    const over = only(world.said, 'split_brain_over');
    expect(over.details['bytesWritten.d']).toBeGreaterThan(20 * Number(WRITTEN));
    expect(over.details['bytesWritten.a']).toBeGreaterThan(20 * Number(WRITTEN));
    world.follow('d', 'a', { timeline: 1 });
    world.busy(5);
    expect(kinds(world.said).slice(1)).toEqual(['rejoined']);
  });

  test('row 9: B and D are promoted apart after A is gone', () => {
    const world = usual();
    world.stop('a');
    world.steps(4);
    world.promote('b', 2);
    world.promote('d', 2);
    world.busy(6);
    expect(new Set(world.said.filter(({ key }) => key.startsWith('promotion:')).map(({ key }) => key)).size).toBe(2);
    expect(kinds(world.said)).toContain('split_brain');
  });

  test('row 32: a cold copy of A is started', () => {
    const world = usual();
    world.add('x', { lsn: world.server('a').lsn, startedAt: world.now });
    world.busy(20);
    expect(kinds(world.said)).toEqual(['clone_suspected']);
    expect(world.said[0]!.instanceId).toBe(idOf('x'));
  });

  test('a network that splits: the primary and its agent are cut off, then come back', () => {
    const world = usual();
    world.set('a', { silent: true });
    for (const name of ['b', 'd']) world.set(name, { connected: false });
    const changes = world.busy(10);
    expect(new Set(kinds(changes))).toEqual(new Set(['primary_lost']));
    world.set('a', { silent: false });
    for (const name of ['b', 'd']) world.set(name, { connected: true });
    expect(kinds(world.busy(10)).toSorted()).toEqual(['primary_back', 'primary_lost']);
  });

  test('a collector that restarts in the middle of it all says nothing twice', () => {
    const world = usual();
    world.stop('a');
    world.steps(4);
    world.promote('b');
    world.set('c', { timeline: 2 });
    world.follow('d', 'b');
    world.busy(3);
    const keys = new Set(world.said.map(({ key }) => key));
    world.said.length = 0;
    // Ten minutes later the same reports are looked at again, then everyone reports anew.
    world.now += 600_000;
    world.look();
    world.busy(30);
    for (const { key } of world.said) expect(keys).toContain(key);
  });
});
