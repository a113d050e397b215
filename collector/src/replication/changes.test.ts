/** What is said of a cluster, kind by kind, over the nights of a cluster A→B→C and D off A. */
import { describe, expect, test } from 'vitest';
import type { ReplicationChange } from './model.ts';
import { INTERVAL_MS, World, idOf, slot, usualWorld } from './changes-testing.ts';

const kinds = (changes: readonly ReplicationChange[]): string[] => changes.map(({ kind }) => kind);
const only = (changes: readonly ReplicationChange[], kind: string): ReplicationChange => {
  const found = changes.filter((change) => change.kind === kind);
  expect(found, `${kind} once among ${kinds(changes).join(', ')}`).toHaveLength(1);
  return found[0]!;
};
const SEGMENT = 0x0300_0000n;

test('a quiet cluster says nothing, from the first look on', () => {
  expect(usualWorld().said).toEqual([]);
  expect(usualWorld().steps(200)).toEqual([]);
});

describe('the primary', () => {
  test('a restart of a few seconds is no event', () => {
    const world = usualWorld();
    world.stop('a');
    expect(world.steps(2)).toEqual([]);
    world.set('a', { up: true, reason: null });
    for (const name of ['b', 'd']) world.set(name, { connected: true });
    expect(world.steps(10)).toEqual([]);
  });

  test('lost for longer than two intervals, and back', () => {
    const world = usualWorld();
    const lastSeen = world.server('a').upAt!;
    world.rpoBytes = 4096;
    world.stop('a');
    const lost = only(world.steps(4), 'primary_lost');
    expect(lost).toMatchObject({ at: lastSeen, instanceId: idOf('a'), instanceName: 'a', severity: 'critical' });
    expect(lost.details).toMatchObject({ lostInstance: 'a', rpoBytes: 4096, lastSeenAt: new Date(lastSeen).toISOString(), endedAt: null });
    expect(lost.text).toContain('its server is down (refused), b and d receive nothing');
    expect(lost.text).toContain('4 KiB of what it wrote are on no replica');
    expect(kinds(world.steps(10)).filter((kind) => kind !== 'replica_gone')).toEqual([]);
    world.set('a', { up: true, reason: null });
    for (const name of ['b', 'd']) world.set(name, { connected: true });
    const changes = world.steps(3);
    expect(only(changes, 'primary_back').text).toMatch(/^shop has a primary again: a, after 1 min/);
    const corrected = only(changes, 'primary_lost');
    expect(corrected.key).toBe(lost.key);
    expect(corrected.details['withoutPrimarySeconds']).toBeGreaterThan(60);
    expect(world.steps(20)).toEqual([]);
  });

  test('a node that is not heard while its replicas stream is no lost primary; all of them unheard is nobody to say so', () => {
    const world = usualWorld();
    world.set('a', { silent: true });
    expect(world.steps(20)).toEqual([]);
    for (const name of ['b', 'c', 'd']) world.set(name, { silent: true });
    expect(world.steps(20)).toEqual([]);
  });

  test('a slow agent is waited for before it is said', () => {
    const world = usualWorld();
    world.set('a', { intervalMs: 60_000 });
    // Both replicas are cut off; nobody but A itself could say that it is well.
    for (const name of ['b', 'd']) world.set(name, { connected: false });
    const slow = world.server('a');
    for (let i = 1; i <= 36; i++) {
      world.now += INTERVAL_MS;
      for (const server of world.servers.values()) if (server !== slow || i % 12 === 0) world.report(server);
      world.look();
    }
    expect(kinds(world.said)).toEqual([]);
  });

  test('after a pause of the collector everyone is given the time to report', () => {
    const world = usualWorld();
    world.now += 3_600_000;
    world.report(world.server('c'));
    expect(world.look()).toEqual([]);
    expect(world.steps(5)).toEqual([]);
  });

  test('a late report moves when it was last seen, under the same key', () => {
    const world = usualWorld();
    world.stop('a');
    const lost = only(world.steps(4), 'primary_lost');
    world.server('a').upAt = lost.at + 3_000;
    const corrected = only(world.look(), 'primary_lost');
    expect(corrected.key).toBe(lost.key);
    expect(corrected.at).toBe(lost.at + 3_000);
  });
});

describe('promotions (rows 8, 9, 10)', () => {
  test('stopped under load and replaced: one failover, with what is lost and for how long there was no primary', () => {
    const world = usualWorld();
    world.set('a', { lsn: SEGMENT + 0x9000n });
    world.step();
    for (const name of ['b', 'd']) world.server(name).document!.receiver!.latestEndLsn = null;
    const lastSeen = world.server('a').upAt!;
    world.stop('a');
    world.steps(4);
    world.promote('b');
    const failover = only(world.step(), 'failover');
    expect(failover).toMatchObject({
      key: `promotion:${idOf('b')}:2`,
      instanceId: idOf('b'),
      severity: 'critical',
      at: world.server('b').upAt,
    });
    expect(failover.details).toMatchObject({
      formerPrimary: 'a',
      newPrimary: 'b',
      timeline: 2,
      lostBytes: 0x8000,
      forkLsn: '0/3001000',
      formerLsn: '0/3009000',
      withoutPrimarySeconds: (world.server('b').upAt! - lastSeen) / 1_000,
    });
    expect(failover.text).toContain('32 KiB that a had written are missing');
    const after = world.steps(200);
    expect(kinds(after)).not.toContain('promotion');
    expect(kinds(after)).not.toContain('failover');
    expect(kinds(after)).not.toContain('primary_back');
    expect(only(world.said.slice(-after.length - 2), 'primary_lost').text).toContain('b took over');
  });

  test('a late report of the old primary corrects what is lost, once', () => {
    const world = usualWorld();
    world.stop('a');
    world.set('a', { silent: true });
    world.steps(4);
    world.promote('b');
    const failover = only(world.step(), 'failover');
    expect(failover.details['lostBytes']).toBe(0);
    const old = world.server('a');
    old.document = { ...old.document!, flushLsn: '0/3002000' };
    old.upAt = old.upAt! + 2_000;
    const corrected = only(world.step(), 'failover');
    expect(corrected.key).toBe(failover.key);
    expect(corrected.details['lostBytes']).toBe(0x1000);
    expect(kinds(world.steps(30))).not.toContain('failover');
  });

  test('stopped in order, replaced, and back as a replica: a switchover, and nothing else', () => {
    const world = usualWorld();
    world.stop('a', { reason: 'stopping', detail: 'the database system is shutting down' });
    world.step();
    world.promote('b');
    world.follow('c', 'b');
    const switchover = only(world.step(), 'switchover');
    expect(switchover).toMatchObject({ severity: 'info', instanceId: idOf('b'), details: { lostBytes: 0, formerPrimary: 'a' } });
    world.follow('a', 'b');
    world.follow('d', 'b');
    const after = world.steps(100);
    expect(new Set(kinds(after))).toEqual(new Set(['switchover', 'timeline_switch']));
    expect(only(after, 'switchover').text).toContain('a now follows as a replica');
  });

  test('without a word of how it ended, a quick return as a replica makes it a switchover', () => {
    const world = usualWorld();
    world.stop('a');
    world.promote('b');
    world.follow('c', 'b', { timeline: 1 });
    const promotion = only(world.step(), 'promotion');
    world.follow('a', 'b');
    const switchover = only(world.step(), 'switchover');
    expect(switchover.key).toBe(promotion.key);
    expect(kinds(world.steps(100))).not.toContain('rejoined');
  });

  test('an old primary that stays down is a failover after a while; when it comes back it has rejoined', () => {
    const world = usualWorld();
    world.stop('a');
    world.promote('b');
    only(world.step(), 'promotion');
    const failover = only(world.steps(10), 'failover');
    expect(failover.key).toBe(`promotion:${idOf('b')}:2`);
    expect(failover.text).toContain('Nothing is known to be missing');
    world.steps(100);
    world.follow('a', 'b');
    expect(only(world.steps(5), 'rejoined').instanceId).toBe(idOf('a'));
  });

  test('a crash is a failover even when nothing is missing and it follows at once', () => {
    const world = usualWorld();
    world.stop('a', { reason: 'disconnected', detail: 'terminating connection due to immediate shutdown command' });
    world.step();
    world.promote('b');
    only(world.step(), 'failover');
    world.follow('a', 'b');
    expect(kinds(world.steps(5))).toEqual(['rejoined']);
  });

  test('row 8: promoted beside a living primary: a stray primary at once, then split brain, then its end with bytes of each side', () => {
    const world = usualWorld();
    world.promote('d');
    const first = world.step();
    expect(kinds(first)).toEqual(['promotion']);
    world.set('a', { lsn: SEGMENT + 0x2000n });
    const stray = only(world.step(), 'unexpected_primary');
    expect(stray).toMatchObject({ severity: 'critical', instanceId: idOf('d'), details: { primary: 'a', timeline: 2 } });
    expect(stray.text).toContain('it was a replica, and a is still a primary');
    world.splitBrain = { primaries: [idOf('d'), idOf('a')], forkLsn: SEGMENT + 0x1000n, why: 'both insert positions move' };
    world.set('d', { lsn: SEGMENT + 0x3000n });
    const split = only(world.step(), 'split_brain');
    expect(split).toMatchObject({ severity: 'critical', instanceId: idOf('d'), at: first[0]!.at });
    expect(split.details).toMatchObject({ primaries: 'a, d', forkLsn: '0/3001000', 'bytesWritten.a': 0x1000, 'bytesWritten.d': 0x2000 });
    world.set('d', { lsn: SEGMENT + 0x5000n });
    expect(world.steps(10)).toEqual([]);
    const last = world.server('d').upAt!;
    world.splitBrain = undefined;
    world.stop('d');
    const over = only(world.steps(6), 'split_brain_over');
    expect(over.details).toMatchObject({
      'bytesWritten.a': 0x1000,
      'bytesWritten.d': 0x4000,
      windowSeconds: (last - first[0]!.at) / 1_000,
    });
    expect(over.text).toContain('d is down');
    expect(kinds(world.steps(100))).not.toContain('split_brain');
    expect(kinds(world.said).filter((kind) => kind === 'failover' || kind === 'switchover')).toEqual([]);
  });

  test('row 8, from the followers alone: the old primary has no agent', () => {
    const world = usualWorld();
    world.promote('d');
    world.set('a', { silent: true });
    world.step();
    expect(only(world.step(), 'unexpected_primary').text).toContain('b still streams from a');
  });

  test('row 9: two promoted apart have the same timeline and are two happenings', () => {
    const world = usualWorld();
    world.stop('a');
    world.steps(4);
    world.promote('b', 2);
    world.promote('d', 2);
    const changes = world.step();
    const keys = changes.filter(({ key }) => key.startsWith('promotion:')).map(({ key }) => key);
    expect(keys.toSorted()).toEqual([`promotion:${idOf('b')}:2`, `promotion:${idOf('d')}:2`]);
  });

  test('row 11 to 13: the old primary comes back as one, is stopped, diverged as a standby, and rewound', () => {
    const world = usualWorld();
    world.stop('a');
    world.steps(4);
    world.promote('b');
    world.follow('d', 'b');
    world.steps(3);
    world.said.length = 0;
    world.set('a', { up: true, role: 'primary', reason: null });
    const stray = only(world.step(), 'unexpected_primary');
    expect(stray.instanceId).toBe(idOf('a'));
    expect(stray.text).toContain('it is a primary again although b took over');
    world.splitBrain = { primaries: [idOf('b'), idOf('a')], forkLsn: SEGMENT + 0x1000n, why: 'A was the primary, B took over.' };
    world.set('a', { lsn: SEGMENT + 0x4000n });
    only(world.step(), 'split_brain');
    world.splitBrain = undefined;
    world.follow('a', 'b', {
      connected: false,
      diverged: { forkLsn: SEGMENT + 0x1000n, why: 'it went on to 0/3004000, beyond 0/3001000' },
      timeline: 1,
    });
    const changes = world.step();
    expect(only(changes, 'split_brain_over').details).toMatchObject({ 'bytesWritten.a': 0x3000 });
    const diverged = only(changes, 'diverged');
    expect(diverged).toMatchObject({ severity: 'critical', instanceId: idOf('a'), details: { forkLsn: '0/3001000' } });
    expect(kinds(world.steps(50))).toEqual([]);
    world.follow('a', 'b', { diverged: undefined });
    const resolved = world.steps(5);
    expect(only(resolved, 'rejoined').instanceId).toBe(idOf('a'));
    expect(kinds(resolved)).toEqual(['rejoined']);
    expect(world.steps(20)).toEqual([]);
  });

  test('row 32: a cold copy is a clone, once, and no promotion', () => {
    const world = usualWorld();
    world.clones.add('x');
    world.add('x');
    expect(only(world.step(), 'clone_suspected')).toMatchObject({ severity: 'warning', instanceId: idOf('x') });
    expect(world.steps(20)).toEqual([]);
  });

  test('a follower that goes along says its new timeline, once', () => {
    const world = usualWorld();
    world.stop('a', { reason: 'stopping' });
    world.promote('b');
    world.step();
    world.set('c', { timeline: 2 });
    expect(only(world.steps(5), 'timeline_switch')).toMatchObject({
      instanceId: idOf('c'),
      details: { timeline: 2, previousTimeline: 1, upstream: 'b' },
    });
  });
});

describe('replicas (rows 6, 7, 17)', () => {
  test('row 7: a restart of a few seconds is no event', () => {
    const world = usualWorld();
    world.stop('b');
    world.steps(3);
    world.follow('b', 'a');
    world.set('c', { connected: true });
    world.steps(5);
    expect(world.said).toEqual([]);
  });

  test('row 6: stopped for longer it is gone, and back', () => {
    const world = usualWorld();
    const lastSeen = world.server('b').upAt!;
    world.stop('b');
    const gone = only(world.steps(6), 'replica_gone');
    expect(gone).toMatchObject({ at: lastSeen, instanceId: idOf('b'), severity: 'warning', details: { upstream: 'a' } });
    expect(gone.text).toContain('its server is down (refused)');
    expect(world.steps(20)).toEqual([]);
    world.follow('b', 'a');
    const back = only(world.steps(2), 'replica_added');
    expect(back.text).toContain('b is back after');
    expect(back.details).toMatchObject({ isNew: false });
  });

  test('row 17: one that is up and cannot connect is not gone', () => {
    const world = usualWorld();
    world.set('d', { connected: false });
    expect(world.steps(50)).toEqual([]);
  });

  test('a node that is not heard: its upstream says whether it is gone', () => {
    const world = usualWorld();
    world.set('d', { silent: true });
    expect(world.steps(20)).toEqual([]);
    world.set('d', { connected: false });
    expect(only(world.steps(6), 'replica_gone').text).toContain('a no longer lists it and its node is not heard');
  });

  test('a new one is added, once', () => {
    const world = usualWorld();
    world.add('e', { upstream: 'a', lsn: SEGMENT });
    expect(only(world.steps(3), 'replica_added')).toMatchObject({
      instanceId: idOf('e'),
      severity: 'info',
      details: { isNew: true, upstream: 'a' },
    });
    expect(world.steps(20)).toEqual([]);
  });

  test('an unwatched one that flaps is told at most once in ten minutes, with how often', () => {
    const world = usualWorld();
    world.add('stranger', { upstream: 'a', watched: false });
    only(world.steps(10), 'replica_added');
    for (let i = 0; i < 20; i++) {
      world.set('stranger', { connected: false });
      world.steps(8);
      world.set('stranger', { connected: true });
      world.steps(8);
    }
    const spoken = world.said.slice(1);
    // 27 minutes.
    expect(kinds(spoken).filter((kind) => kind === 'replica_gone').length).toBeLessThanOrEqual(3);
    expect(kinds(spoken).filter((kind) => kind === 'replica_added').length).toBeLessThanOrEqual(3);
    const counted = spoken.filter(({ kind }) => kind === 'replica_gone').map(({ details }) => details['flaps'] as number);
    expect(Math.max(...counted)).toBeGreaterThan(3);
  });

  test('what streams for a moment is no replica, and a hundred strangers are ten', () => {
    const world = usualWorld();
    world.add('backup', { upstream: 'a', watched: false });
    world.steps(3);
    world.servers.delete('backup');
    world.steps(20);
    expect(world.said).toEqual([]);
    for (let i = 0; i < 100; i++) world.add(`s${i}`, { upstream: 'a', watched: false });
    world.steps(10);
    expect(world.said).toHaveLength(10);
  });

  test('an agent that comes to watch a known one changes nothing', () => {
    const world = usualWorld();
    world.add('e', { upstream: 'a', watched: false });
    only(world.steps(10), 'replica_added');
    const { lsn } = world.server('e');
    world.servers.delete('e');
    world.add('e2', { upstream: 'a', lsn });
    const original = world.topology.bind(world);
    // Its upstream calls it as before.
    world.topology = () => {
      const document = world.server('a').document!;
      world.server('a').document = {
        ...document,
        replicas: document.replicas.map((row) => (row.applicationName === 'e2' ? { ...row, applicationName: 'e' } : row)),
      };
      const cluster = original();
      const replica = world.server('a').document!.replicas.findIndex(({ applicationName }) => applicationName === 'e');
      return {
        ...cluster,
        members: cluster.members.map((one) => (one.name === 'e2' ? { ...one, seenBy: { upstream: idOf('a'), replica } } : one)),
      };
    };
    expect(world.steps(30)).toEqual([]);
  });
});

describe('slots (rows 14, 15, 16)', () => {
  test('row 14: made, not used, dropped', () => {
    const world = usualWorld();
    world.set('a', { slots: [slot('ghost', { active: false })] });
    world.slotFigures = [
      {
        instanceId: idOf('a'),
        name: 'ghost',
        usedBy: undefined,
        retainedBytes: 3 * 2 ** 30,
        held: undefined,
        lag: undefined,
        lostInMs: undefined,
        diskFullInMs: 7_200_000,
      },
    ];
    expect(only(world.step(), 'slot_created')).toMatchObject({ instanceId: idOf('a'), details: { slot: 'ghost', type: 'physical' } });
    const inactive = only(world.steps(7), 'slot_inactive');
    expect(inactive.text).toBe(
      'Nobody has used slot ghost on a for 30 s. It keeps 3 GiB of WAL; at the present rate the disk is full in about 2 h.',
    );
    expect(world.steps(30)).toEqual([]);
    world.set('a', { slots: [] });
    expect(kinds(world.steps(3))).toEqual(['slot_dropped']);
  });

  test('used again', () => {
    const world = usualWorld();
    world.set('a', { slots: [slot('b')] });
    world.step();
    world.set('a', { slots: [slot('b', { active: false })] });
    world.steps(4);
    world.set('a', { slots: [slot('b')] });
    world.steps(2);
    expect(kinds(world.said)).toEqual(['slot_created']);
    world.set('a', { slots: [slot('b', { active: false })] });
    only(world.steps(10), 'slot_inactive');
    world.set('a', { slots: [slot('b')] });
    expect(only(world.steps(2), 'slot_active').details['inactiveSeconds']).toBe(50);
  });

  test('row 15: extended, unreserved, lost', () => {
    const world = usualWorld();
    world.set('a', { slots: [slot('ghost')] });
    world.step();
    world.set('a', { slots: [slot('ghost', { walStatus: 'extended' })] });
    expect(world.step()).toEqual([]);
    world.set('a', { slots: [slot('ghost', { walStatus: 'unreserved' })] });
    expect(only(world.steps(5), 'slot_unreserved').severity).toBe('critical');
    world.set('a', { slots: [slot('ghost', { walStatus: 'lost', active: false, invalidationReason: 'wal_removed' })] });
    const lost = only(world.steps(20), 'slot_lost');
    expect(lost.text).toContain('WAL that it needs was removed (max_slot_wal_keep_size)');
    expect(kinds(world.said)).toEqual(['slot_created', 'slot_unreserved', 'slot_lost']);
  });

  test('row 16: invalidated for idleness', () => {
    const world = usualWorld();
    world.set('a', { slots: [slot('ghost')] });
    world.step();
    world.set('a', { slots: [slot('ghost', { walStatus: 'lost', active: false, invalidationReason: 'idle_timeout' })] });
    expect(only(world.step(), 'slot_lost')).toMatchObject({ details: { reason: 'idle_timeout' } });
  });

  test('the server knows for how long', () => {
    const world = usualWorld();
    world.set('a', { slots: [slot('ghost', { active: false, inactiveSince: new Date(world.now - 600_000).toISOString() })] });
    const inactive = only(world.step(), 'slot_inactive');
    expect(inactive.text).toContain('for 10 min');
  });

  test.each([
    ['temporary', slot('pg_basebackup_1', { temporary: true })],
    ['synchronised from elsewhere', slot('failover', { synced: true, active: false })],
    ["a table's first copy", slot('pg_16401_sync_16394_7300000000000000001')],
  ])('%s: not spoken of', (_, one) => {
    const world = usualWorld();
    world.set('a', { slots: [one] });
    world.steps(20);
    world.set('a', { slots: [] });
    world.steps(3);
    expect(world.said).toEqual([]);
  });

  test('what cannot be seen for a moment is not dropped', () => {
    const world = usualWorld();
    world.set('a', { slots: [slot('b')] });
    world.step();
    world.said.length = 0;
    world.stop('a');
    world.step();
    world.set('a', { up: true, reason: null });
    world.steps(2);
    expect(kinds(world.said)).toEqual([]);
  });
});

describe('row 18: synchronous standbys', () => {
  test('missing before commits hang, hanging, and back', () => {
    const world = usualWorld();
    world.synchronous = { required: 1, present: 1, waiting: 0 };
    world.steps(3);
    expect(world.said).toEqual([]);
    world.synchronous = { required: 1, present: 0, waiting: 0 };
    expect(world.step()).toEqual([]);
    expect(only(world.step(), 'sync_standby_missing').text).toBe(
      'a needs 1 synchronous standby to commit and has 0: the next commit will wait until one is back.',
    );
    world.synchronous = { required: 1, present: 0, waiting: 3 };
    expect(world.step()).toEqual([]);
    expect(only(world.step(), 'sync_commits_waiting')).toMatchObject({ severity: 'critical', details: { waiting: 3 } });
    expect(world.steps(20)).toEqual([]);
    world.synchronous = { required: 1, present: 1, waiting: 0 };
    expect(only(world.steps(3), 'sync_standby_back')).toMatchObject({ details: { waitingMax: 3, missingSeconds: 120 } });
  });

  test('reconnecting for a moment is no event, nor is a primary that is down', () => {
    const world = usualWorld();
    world.synchronous = { required: 1, present: 0, waiting: 1 };
    world.step();
    world.synchronous = { required: 1, present: 1, waiting: 0 };
    world.steps(3);
    expect(world.said).toEqual([]);
  });
});

describe('row 22: the archiver', () => {
  const failing = (world: World): void =>
    world.set('a', {
      archiver: {
        archivedCount: 10,
        failedCount: 3,
        lastArchivedAt: new Date(world.now - 60_000).toISOString(),
        lastFailedAt: new Date(world.now).toISOString(),
        lastFailedWal: '000000010000000000000007',
        waitingFiles: 4,
      },
    });

  test('fails, and works again', () => {
    const world = usualWorld();
    failing(world);
    const found = only(world.steps(5), 'archiver_failing');
    expect(found).toMatchObject({
      severity: 'warning',
      instanceId: idOf('a'),
      details: { waitingFiles: 4, lastFailedWal: '000000010000000000000007' },
    });
    expect(world.steps(10)).toEqual([]);
    world.set('a', {
      archiver: { ...world.server('a').archiver!, lastArchivedAt: new Date(world.now + 1_000).toISOString(), waitingFiles: 0 },
    });
    expect(kinds(world.steps(5))).toEqual(['archiver_recovered']);
  });

  test('one attempt that failed is no event', () => {
    const world = usualWorld();
    failing(world);
    world.step();
    world.set('a', {
      archiver: { ...world.server('a').archiver!, lastArchivedAt: new Date(world.now + 1_000).toISOString(), waitingFiles: 0 },
    });
    expect(world.steps(5)).toEqual([]);
  });
});

describe('the first look', () => {
  test('says what is wrong now and nothing else', () => {
    const world = new World();
    world.add('a', { slots: [slot('b'), slot('ghost', { walStatus: 'lost', active: false, invalidationReason: 'wal_removed' })] });
    world.add('b', { upstream: 'a' });
    world.add('d', { upstream: 'a', connected: false, diverged: { forkLsn: 1n, why: 'x' } });
    world.add('x');
    world.clones.add('x');
    expect(kinds(world.step()).toSorted()).toEqual(['clone_suspected', 'diverged', 'slot_lost']);
    expect(world.steps(30)).toEqual([]);
  });

  test('a split brain that is there already', () => {
    const world = new World();
    world.add('a');
    world.add('b');
    world.splitBrain = { primaries: [idOf('b'), idOf('a')], forkLsn: undefined, why: 'why' };
    expect(kinds(world.step())).toEqual(['split_brain']);
    expect(world.steps(5)).toEqual([]);
  });

  test('reports that trickle in are no new replicas', () => {
    const world = new World();
    world.add('a');
    world.add('b', { upstream: 'a', watched: false });
    world.steps(3);
    world.add('c', { upstream: 'a' });
    world.steps(30);
    expect(world.said).toEqual([]);
  });
});
