/** What is said of replicas, slots, synchronous standbys and archives, and at the first look, of a cluster A→B→C and D off A. */
import { describe, expect, test } from 'vitest';
import { World, idOf, kinds, only, slot, usualWorld } from './changes-testing.ts';

const SEGMENT = 0x0300_0000n;

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

  test('one that nobody watches moves to the new primary after a failover: nothing came and nothing went', () => {
    const world = usualWorld();
    world.add('stranger', { upstream: 'a', watched: false });
    only(world.steps(10), 'replica_added');
    const { address } = world.server('stranger');
    world.stop('a');
    world.steps(4);
    world.promote('b');
    world.servers.delete('stranger');
    // Another id: it is known by its upstream.
    const moved = world.add('moved', { upstream: 'b', watched: false, address });
    world.applicationNames.set(moved.name, 'stranger');
    world.steps(20);
    world.follow('a', 'b');
    world.steps(30);
    expect(kinds(world.said).filter((kind) => kind.startsWith('replica_'))).toEqual(['replica_added']);
  });

  test('an agent that comes to watch a known one changes nothing', () => {
    const world = usualWorld();
    world.add('e', { upstream: 'a', watched: false });
    only(world.steps(10), 'replica_added');
    const { lsn, address } = world.server('e');
    world.servers.delete('e');
    world.add('e2', { upstream: 'a', lsn, address });
    // Its upstream calls it as before.
    world.applicationNames.set('e2', 'e');
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

  test('they are back when nobody is waited for any more, and not when that is not known', () => {
    const world = usualWorld();
    world.synchronous = { required: 1, present: 0, waiting: 0 };
    only(world.steps(3), 'sync_standby_missing');
    world.synchronous = undefined;
    expect(world.steps(5)).toEqual([]);
    world.standbyNames = '';
    expect(only(world.steps(5), 'sync_standby_back').text).toMatch(/^a no longer waits for synchronous standbys, after \d+ s; no commit/);
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
