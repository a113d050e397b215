/** Topology held against a world whose truth is known: the scenarios of failures, promotions and comings back. */
import { parseLsn } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { drawn, memberOf, World, type Server } from './topology-testing.ts';

interface Family {
  world: World;
  a: Server;
  b: Server;
  c: Server;
  d: Server;
}

/** A→B→C and D off A, each on a machine of its own. */
function family(named = true): Family {
  const world = new World();
  const name = (clusterName: string): { clusterName: string } | undefined => (named ? { clusterName } : undefined);
  const a = world.add('a', name('a'));
  const b = world.standby('b', a, { slot: 'b' }, name('b'));
  const c = world.standby('c', b, {}, name('c'));
  const d = world.standby('d', a, {}, name('d'));
  return { world, a, b, c, d };
}

describe('while all is well', () => {
  test('who follows whom is seen without configuration', () => {
    const { world, a, b, c, d } = family();
    const cluster = world.round();
    expect(drawn(cluster)).toBe('b<a c<b d<a');
    expect(cluster.members.map(({ role }) => role)).toEqual(['primary', 'replica', 'replica', 'replica']);
    expect(cluster.members.every(({ root, roleIsCurrent }) => root === a.id && roleIsCurrent)).toBe(true);
    expect(memberOf(cluster, b).upstream).toEqual({ id: a.id, by: 'slot', address: '10.0.0.1:5432', connected: true });
    expect(memberOf(cluster, c).seenBy).toEqual({ upstream: b.id, replica: 0 });
    expect(memberOf(cluster, d).seenBy).toEqual({ upstream: a.id, replica: 1 });
    expect(memberOf(cluster, a).slotUsers).toEqual(new Map([['b', b.id]]));
    expect(cluster.primary).toEqual({ id: a.id, certainty: 'sure', why: 'a reports as primary, and nobody else does.' });
    expect(cluster.primaryEvidenceAt).toBe(world.now);
    expect([cluster.splitBrain, cluster.clones, cluster.name]).toEqual([undefined, [], 'a, b, c, d']);
  });

  test('idle for a quarter of an hour changes nothing', () => {
    const { world } = family();
    const first = world.round();
    let last = first;
    for (let i = 0; i < 90; i += 1) last = world.round();
    expect(drawn(last)).toBe(drawn(first));
    expect(last.primary.certainty).toBe('sure');
  });
});

describe('failures', () => {
  test('a primary that stops and a standby that is promoted are a failover, at no moment a split brain', () => {
    const { world, a, b, c, d } = family();
    world.round();
    world.stop(a);
    world.pass(1_000);
    world.promote(b);
    world.pass(100);
    world.report(b);
    const early = world.look();
    expect(early.splitBrain).toBeUndefined();
    expect(early.primary).toMatchObject({ id: b.id, certainty: 'likely' });
    const late = world.round();
    expect(late.splitBrain).toBeUndefined();
    expect(late.primary).toMatchObject({ id: b.id, certainty: 'sure' });
    expect(drawn(late)).toBe('c<b d~a');
    expect(memberOf(late, c).root).toBe(b.id);
    expect(memberOf(late, a)).toMatchObject({ role: 'primary', roleIsCurrent: false });
    expect(memberOf(late, d).root).toBe(a.id);
  });

  test('the old primary that comes back after a failover is the one that should not be', () => {
    const { world, a, b } = family();
    world.round();
    world.stop(a);
    world.promote(b);
    world.round();
    world.round();
    world.start(a);
    world.round();
    world.write(a);
    world.write(b);
    const cluster = world.round();
    expect(cluster.splitBrain?.primaries).toEqual([a.id, b.id]);
    expect(cluster.splitBrain?.why).toContain('both have written since');
    expect(cluster.splitBrain?.forkLsn).toBe(b.recoveryEnd);
    expect(cluster.primary).toMatchObject({ id: b.id, certainty: 'disputed' });
    world.stop(a);
    expect(world.round().splitBrain).toBeUndefined();
  });

  test('a standby promoted beside its primary is the one that should not be, within two intervals', () => {
    const { world, a, d } = family();
    world.round();
    world.promote(d);
    expect(world.round().splitBrain).toBeUndefined();
    world.write(a);
    world.write(d);
    const cluster = world.round();
    expect(cluster.splitBrain?.primaries).toEqual([d.id, a.id]);
    expect(cluster.splitBrain?.forkLsn).toBe(d.recoveryEnd);
    expect(cluster.primary).toMatchObject({ id: a.id, certainty: 'disputed' });
  });

  test('two that are promoted apart have one timeline number and two branches', () => {
    const { world, a, b, d } = family();
    world.round();
    world.stop(a);
    world.round();
    world.promote(b);
    world.round();
    world.promote(d);
    world.write(d);
    world.round();
    const cluster = world.round();
    expect([memberOf(cluster, b).timeline, memberOf(cluster, d).timeline]).toEqual([2, 2]);
    expect(cluster.splitBrain?.primaries).toEqual([d.id, b.id]);
    expect(cluster.splitBrain?.forkLsn).toBe(b.recoveryEnd);
  });

  test('an old primary as a standby without rewind is diverged, until it is rewound', () => {
    const { world, a, b } = family();
    world.round();
    world.follow(b, a, { via: '10.0.0.1', viaPort: 1 });
    b.upstream = undefined;
    world.flow();
    world.write(a, 5_000);
    world.round();
    world.stop(a);
    world.promote(b);
    world.round();
    world.start(a, { follow: b });
    const parted = world.round();
    expect(memberOf(parted, a)).toMatchObject({ role: 'replica', diverged: { forkLsn: b.recoveryEnd } });
    expect(memberOf(parted, a).diverged?.why).toContain('5000 bytes beyond');
    expect(drawn(parted)).toContain('a~b');
    world.stop(a);
    world.round();
    world.rewind(a, b);
    world.start(a, { follow: b });
    const joined = world.round();
    expect(memberOf(joined, a).diverged).toBeUndefined();
    expect(drawn(joined)).toContain('a<b');
  });

  test('a cold copy that is started is a clone and no split brain, and stays one', () => {
    const { world, a } = family();
    world.round();
    const copy = world.add('copy', { clusterName: 'a' });
    copy.lsn = a.lsn;
    copy.startedAt = world.now;
    for (let i = 0; i < 5; i += 1) {
      world.write(a);
      world.write(copy);
      const cluster = world.round();
      expect(cluster.clones).toEqual([copy.id]);
      expect(cluster.splitBrain).toBeUndefined();
      expect(cluster.primary).toMatchObject({ id: a.id, certainty: 'sure' });
    }
  });

  test('with the receiver cut it is still known whom it followed', () => {
    const { world, a, b } = family();
    world.round();
    world.follow(b, undefined, { via: '127.0.0.1', viaPort: 1 });
    const cluster = world.round();
    expect(memberOf(cluster, b).upstream).toMatchObject({ id: a.id, by: 'slot', address: '127.0.0.1:1', connected: false });
    expect(memberOf(cluster, b).root).toBe(a.id);
    expect(drawn(cluster)).toBe('b~a c<b d<a');
  });

  test('a position is text in what is remembered', () => {
    const { world, d } = family();
    world.round();
    world.promote(d);
    world.round();
    expect(parseLsn(world.memory[d.id]!.forkLsn)).toBe(d.recoveryEnd);
    expect(world.memory[d.id]).toMatchObject({ linked: true, lastRole: 'primary', promotedAt: world.now, timeline: 2 });
  });
});
