/** Topology held against a world whose truth is known: failures, cut links, and what is remembered. */
import { parseLsn, type PostgresReplication } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { drawn, family, memberOf } from './topology-family-testing.ts';
import { World } from './topology-testing.ts';

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
    expect([cluster.splitBrain, cluster.clones, cluster.name]).toEqual([undefined, [], 'a']);
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
    expect(cluster.splitBrain?.why).toBe(
      'a and b are primaries of one history at the same time: a came back after b had been promoted; their histories part at 0/3000000, and both have written since.',
    );
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
    expect(cluster.splitBrain?.why).toContain(
      'd was promoted while a was one; their histories part at 0/3000000, and both have written since.',
    );
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

describe('links that are cut', () => {
  test('a receiver that is stopped where it stands: WAL flows no more once its timeout is over', () => {
    const { world, a, b } = family();
    world.round();
    const frozen = b.heardAt;
    const said = world.document.bind(world);
    world.document = (server): PostgresReplication => {
      const document = said(server);
      return server === b ? { ...document, receiver: { ...document.receiver!, lastMessageAgoMs: world.now - frozen } } : document;
    };
    for (let i = 0; i < 5; i += 1) world.round();
    expect(memberOf(world.look(), b).upstream).toMatchObject({ id: a.id, connected: true });
    world.round();
    world.round();
    expect(memberOf(world.look(), b).upstream).toMatchObject({ id: a.id, connected: false });
    expect(memberOf(world.look(), b).root).toBe(a.id);
  });

  test('a standby in the middle that is killed leaves its own standby behind it', () => {
    const { world, a, b, c } = family();
    world.round();
    world.stop(b);
    const cluster = world.round();
    expect(drawn(cluster)).toBe('b~a c~b d<a');
    expect(memberOf(cluster, c)).toMatchObject({ root: a.id, roleIsCurrent: true });
    expect(memberOf(cluster, b)).toMatchObject({ role: 'replica', roleIsCurrent: false });
    expect(memberOf(cluster, a).slotUsers.get('b')).toBe(b.id);
    world.start(b);
    expect(drawn(world.round())).toBe('b<a c<b d<a');
  });

  test('one that is fed from the archive follows the one primary that there is, and has not parted', () => {
    const { world, a } = family();
    const e = world.add('e', { clusterName: 'e' });
    e.role = 'replica';
    e.lsn = a.lsn - 100n;
    for (let i = 0; i < 20; i += 1) {
      const cluster = world.round();
      expect(memberOf(cluster, e)).toMatchObject({ upstream: undefined, root: a.id, diverged: undefined });
    }
  });

  test('one that cannot catch up because the WAL is gone has not parted', () => {
    const { world, a, d } = family();
    world.round();
    world.stop(d);
    world.write(a, 500_000_000);
    world.round();
    world.start(d);
    world.follow(d, undefined, { via: '10.0.0.1' });
    for (let i = 0; i < 20; i += 1) world.round();
    expect(memberOf(world.look(), d)).toMatchObject({ upstream: { id: a.id, connected: false }, diverged: undefined, root: a.id });
  });

  test('clocks that are set wrong change nothing', () => {
    const world = new World();
    const a = world.add('a', { clusterName: 'a', clockMs: 300_000 });
    const b = world.standby('b', a, {}, { clusterName: 'b', clockMs: -300_000 });
    const d = world.standby('d', a, {}, { clockMs: 86_400_000 });
    expect(drawn(world.round())).toBe('b<a d<a');
    a.options = { ...a.options, clockMs: -300_000 };
    expect(drawn(world.round())).toBe('b<a d<a');
    world.promote(d);
    world.round();
    expect(world.round().splitBrain?.primaries).toEqual([d.id, a.id]);
    expect(memberOf(world.look(), b).root).toBe(a.id);
  });
});

test('two that stream from each other have WAL from nobody, and show no primary', () => {
  const { world, a, b } = family();
  world.round();
  world.stop(a);
  world.start(a, { follow: b });
  const evidence = world.round().primaryEvidenceAt;
  for (let i = 0; i < 6; i += 1) world.round();
  expect([a.connected, b.connected]).toEqual([true, true]);
  const cluster = world.look();
  expect(cluster.primaryEvidenceAt).toBe(evidence);
  expect(cluster.primary.certainty).toBe('unknown');
  expect([a, b].map((one) => memberOf(cluster, one).upstream?.connected).toSorted()).toEqual([false, true]);
});

describe('what is remembered', () => {
  test('an older document never undoes newer knowledge', () => {
    const { world, d } = family();
    world.round();
    const old = d.sighting!;
    world.promote(d);
    world.round();
    world.round();
    const memory = world.memory[d.id]!;
    d.sighting = old;
    const cluster = world.look();
    expect(memberOf(cluster, d)).toMatchObject({ role: 'primary', roleIsCurrent: false, timeline: 2 });
    expect(world.memory[d.id]).toEqual(memory);
  });

  test('who is not seen for a week is forgotten, and of many the longest gone', () => {
    const world = new World();
    const a = world.add('a');
    const b = world.standby('b', a);
    world.round();
    world.servers.delete('b');
    world.pass(6 * 86_400_000);
    world.round();
    expect(Object.keys(world.memory)).toEqual([a.id, b.id]);
    world.pass(2 * 86_400_000);
    world.round();
    expect(Object.keys(world.memory)).toEqual([a.id]);
    const known = world.memory[a.id]!;
    world.memory = Object.fromEntries([...Array(500).keys()].map((i) => [`gone/${i}`, { ...known, lastSeenAt: world.now - i }]));
    world.round();
    expect(Object.keys(world.memory)).toHaveLength(100);
    expect(world.memory['gone/98']).toBeDefined();
  });

  test('links outlive a restart of the collector', () => {
    const { world, a, d } = family();
    world.round();
    world.promote(d);
    for (const one of world.servers.values()) one.sighting = undefined;
    world.pass(600_000);
    world.round();
    expect(world.round().splitBrain?.primaries).toEqual([d.id, a.id]);
  });
});
