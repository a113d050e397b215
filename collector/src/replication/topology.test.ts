/** Topology held against a world whose truth is known: the scenarios of failures, promotions and comings back. */
import { parseLsn, type PostgresReplication } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { drawn, memberOf, World, type Server } from './topology-testing.ts';

const SUBSCRIPTION: NonNullable<PostgresReplication['subscriptions']>[number] = {
  name: 'upgrade',
  database: 'app',
  enabled: true,
  slotName: 'upgrade',
  workerPid: 77,
  receivedLsn: null,
  latestEndLsn: null,
  lastMessageAgoMs: 1,
  tablesNotReady: 0,
  publisherHost: null,
  publisherPort: null,
  applyErrors: 0,
  syncErrors: 0,
};

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

describe('who is primary', () => {
  test('a switchover: at no moment two, and nobody has parted', () => {
    const { world, a, b, d } = family();
    world.round();
    world.stop(a);
    world.promote(b);
    world.report(b);
    expect(world.look().splitBrain).toBeUndefined();
    world.start(a, { follow: b });
    world.follow(d, b);
    for (let i = 0; i < 3; i += 1) {
      const cluster = world.round();
      expect(cluster.splitBrain).toBeUndefined();
      expect(drawn(cluster)).toBe('a<b c<b d<b');
      expect(cluster.primary).toMatchObject({ id: b.id, certainty: 'sure' });
      expect(cluster.members.every(({ diverged }) => diverged === undefined)).toBe(true);
    }
  });

  test('one that is silent is likely it as long as anybody streams from it, and is no rival', () => {
    const { world, a, b } = family();
    world.round();
    a.agent = false;
    for (let i = 0; i < 5; i += 1) world.round();
    const cut = world.look();
    expect(cut.primary).toEqual({ id: a.id, certainty: 'likely', why: 'a was primary when last seen, and 3 replicas stream from it.' });
    expect(cut.primaryEvidenceAt).toBe(world.now);
    world.promote(b);
    world.round();
    const cluster = world.round();
    // It may well write. Nobody has seen it since, and a page says what was seen.
    expect(cluster.splitBrain).toBeUndefined();
    expect(cluster.primary).toEqual({
      id: b.id,
      certainty: 'sure',
      why: 'b reports as primary, and a, which was one before, is not heard.',
    });
  });

  test('one that was cut off while another was promoted, and comes back, is the one that should not be', () => {
    const { world, a, b, d } = family();
    world.round();
    a.agent = false;
    world.round();
    world.promote(b);
    for (let i = 0; i < 6; i += 1) world.round();
    a.agent = true;
    world.round();
    const cluster = world.round();
    expect(cluster.splitBrain?.primaries).toEqual([a.id, b.id]);
    expect(memberOf(cluster, d).root).toBe(a.id);
  });

  test('when everybody has moved to the new one, it is meant, though the old one never stopped', () => {
    const { world, a, b, d } = family();
    world.round();
    world.promote(b);
    world.round();
    world.follow(d, b);
    world.round();
    const cluster = world.round();
    expect(cluster.splitBrain?.primaries).toEqual([a.id, b.id]);
    expect(cluster.splitBrain?.why).toContain('b was promoted while a was one, and the replicas follow b');
    expect(cluster.primary).toMatchObject({ id: b.id, certainty: 'disputed' });
  });

  test('a primary that is lost: since when nothing has shown that there is one', () => {
    const { world, a } = family();
    world.round();
    const last = world.now;
    world.pass(2_000);
    const word = world.now;
    world.report(world.servers.get('b')!);
    world.stop(a);
    for (let i = 0; i < 4; i += 1) world.round();
    const cluster = world.look();
    expect(cluster.primary).toEqual({
      id: undefined,
      certainty: 'unknown',
      why: 'a was the last primary, and its server is down (refused).',
    });
    expect([last, word]).toContain(cluster.primaryEvidenceAt);
  });

  test('nobody was ever one', () => {
    const { world, a } = family();
    world.servers.delete('a');
    a.agent = false;
    const cluster = world.round();
    expect(cluster.primary).toMatchObject({ id: undefined, certainty: 'unknown' });
    expect(cluster.primary.why).toMatch(/^[bd] streams from 10\.0\.0\.1:5432, which no agent watches\.$/);
    expect(cluster.primaryEvidenceAt).toBe(world.now);
  });

  test('two that streamed from one stranger are linked by it', () => {
    const world = new World();
    const a = world.add('a');
    const b = world.standby('b', a);
    const d = world.standby('d', a);
    world.servers.delete('a');
    world.round();
    world.promote(b);
    world.promote(d);
    world.round();
    expect(world.round().splitBrain?.primaries.toSorted()).toEqual([b.id, d.id]);
  });

  test('a promoted standby that subscribes to its old primary is a subscriber, and no rival', () => {
    const { world, a, d } = family();
    world.round();
    world.promote(d);
    const said = world.document.bind(world);
    world.document = (server): PostgresReplication => {
      const document = said(server);
      if (server === a) {
        const slot = { name: 'upgrade', type: 'logical', active: true, restartLsn: null, confirmedFlushLsn: null, walStatus: 'reserved' };
        return { ...document, slots: [...document.slots, slot] };
      }
      return server === d ? { ...document, subscriptions: [SUBSCRIPTION] } : document;
    };
    world.round();
    const cluster = world.round();
    expect(cluster.splitBrain).toBeUndefined();
    expect(memberOf(cluster, d)).toMatchObject({
      role: 'subscriber',
      upstream: { id: a.id, by: 'subscription', connected: true },
      root: d.id,
    });
    expect(cluster.primary).toMatchObject({ id: a.id, certainty: 'sure' });
  });
});

describe('copies', () => {
  test('a copy that has replicas of its own is a clone with replicas', () => {
    const { world, a } = family();
    const p = world.add('p', { clusterName: 'p' });
    const q = world.standby('q', p, {}, { clusterName: 'q' });
    world.round();
    const cluster = world.round();
    expect(cluster.clones).toEqual([p.id]);
    expect(cluster.splitBrain).toBeUndefined();
    expect(memberOf(cluster, q).root).toBe(p.id);
    expect(cluster.primary).toMatchObject({ id: a.id, certainty: 'sure' });
    world.promote(q);
    world.round();
    // Two of the copy's kin; the cluster is not concerned.
    expect(world.round().splitBrain).toBeUndefined();
  });

  test('of two that are alone, the copy is the one that was started later', () => {
    const world = new World();
    const copy = world.add('copy');
    copy.startedAt = world.now;
    const a = world.add('a');
    const cluster = world.round();
    expect([cluster.clones, cluster.primary.id]).toEqual([[copy.id], a.id]);
  });

  test('a copy that begins to follow is one no more', () => {
    const { world, a } = family();
    const copy = world.add('copy');
    world.round();
    expect(world.round().clones).toEqual([copy.id]);
    world.stop(copy);
    world.start(copy, { follow: a });
    const cluster = world.round();
    expect(cluster.clones).toEqual([]);
    expect(memberOf(cluster, copy)).toMatchObject({ role: 'replica', root: a.id });
    world.promote(copy);
    world.round();
    expect(world.round().splitBrain?.primaries).toEqual([copy.id, a.id]);
  });
});

describe('parted histories', () => {
  test('a standby that had more than the one that was promoted', () => {
    const { world, a, b, d } = family();
    world.round();
    world.follow(b, undefined, { via: '10.0.0.1', viaPort: 1 });
    world.write(a, 700);
    world.round();
    world.stop(a);
    world.promote(b);
    world.follow(d, b);
    const cluster = world.round();
    expect(memberOf(cluster, d)).toMatchObject({ upstream: { id: b.id, connected: false }, diverged: { forkLsn: b.recoveryEnd } });
    expect(memberOf(cluster, d).diverged?.why).toBe(
      `d is on timeline 1 and has 700 bytes beyond 0/3000000, where timeline 2, which b writes, began.`,
    );
  });

  test('one promoted by mistake, as a standby again and not rewound', () => {
    const { world, a, d } = family();
    world.round();
    world.promote(d);
    world.write(d);
    world.round();
    world.round();
    world.stop(d);
    world.start(d, { follow: a });
    const cluster = world.round();
    expect(memberOf(cluster, d)).toMatchObject({ role: 'replica', diverged: { forkLsn: d.history[0]!.at } });
    world.stop(d);
    world.rewind(d, a);
    world.start(d, { follow: a });
    expect(memberOf(world.round(), d).diverged).toBeUndefined();
  });

  test('where they part was not seen: it stands still on the old timeline beside a server that it could stream from', () => {
    const { world, a, b } = family();
    const agentsOfOld = [a, b];
    for (const one of agentsOfOld) one.isOld = true;
    world.round();
    world.follow(b, undefined, { via: '10.0.0.1', viaPort: 1 });
    world.write(a, 5_000);
    world.round();
    world.stop(a);
    world.promote(b);
    world.round();
    world.stop(b);
    world.start(b);
    world.start(a, { follow: b });
    for (const one of agentsOfOld) one.isOld = false;
    for (let i = 0; i < 3; i += 1) world.round();
    expect(memberOf(world.look(), a).diverged).toBeUndefined();
    for (let i = 0; i < 5; i += 1) world.round();
    expect(memberOf(world.look(), a).diverged).toMatchObject({ forkLsn: undefined });
  });

  test('a standby that is started without its signal file writes on, on the same timeline', () => {
    const { world, a, d } = family();
    world.round();
    world.stop(d);
    world.round();
    world.start(d);
    d.role = 'primary';
    world.write(d);
    world.round();
    world.round();
    const cluster = world.round();
    expect(memberOf(cluster, d).timeline).toBe(1);
    expect(cluster.splitBrain).toMatchObject({ primaries: [d.id, a.id], forkLsn: undefined });
    world.stop(d);
    world.start(d, { follow: a });
    expect(memberOf(world.round(), d)).toMatchObject({ role: 'replica' });
  });

  test('a server of which only little is understood begins no branch', () => {
    const { world, d } = family();
    world.round();
    world.promote(d);
    const said = world.document.bind(world);
    world.document = (server): PostgresReplication =>
      server === d ? { ...said(server), timeline: null, recoveryEndLsn: null } : said(server);
    world.round();
    expect(world.memory[d.id]).toMatchObject({ lastRole: 'primary', branches: [] });
    world.document = said;
    world.round();
    expect(world.memory[d.id]?.branches).toEqual([{ timeline: 2, forkLsn: '0/3000000', by: d.id }]);
  });

  test('a replica that crashes on the new timeline, of which the control file does not know yet', () => {
    const { world, a, b, c } = family();
    world.round();
    world.stop(a);
    world.promote(b);
    world.write(b, 9_000);
    world.round();
    expect(memberOf(world.look(), c).timeline).toBe(2);
    world.stop(c);
    world.start(c);
    world.follow(c, undefined, { via: '10.0.0.2', viaPort: 1 });
    c.timeline = 1;
    expect(memberOf(world.round(), c).diverged).toBeUndefined();
  });
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
