/** Who is primary in every situation that makes one doubt it, and what is only a copy. */
import type { PostgresReplication } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { drawn, family, memberOf } from './topology-family-testing.ts';
import { World } from './topology-testing.ts';

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
