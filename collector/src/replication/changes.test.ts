/** What is said of a primary and its successors, over the nights of a cluster A→B→C and D off A. */
import { describe, expect, test } from 'vitest';
import { INTERVAL_MS, idOf, kinds, only, usualWorld } from './changes-testing.ts';

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
    expect(only(changes, 'primary_back').text).toMatch(/^Cluster shop has a primary again: a, after 1 min/);
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

  test('an idle primary whose agent stops is heard of every thirty seconds, and is not lost', () => {
    const world = usualWorld();
    world.set('a', { silent: true });
    for (let second = 0; second < 600; second += 5) {
      for (const name of ['b', 'd']) world.set(name, { lastMessageAgoMs: (second % 30) * 1_000 });
      expect(world.step()).toEqual([]);
    }
  });

  test('a host that vanishes without a word is lost before its replicas give up', () => {
    const world = usualWorld();
    world.set('a', { silent: true });
    const changes = [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55].flatMap((second) => {
      for (const name of ['b', 'd']) world.set(name, { lastMessageAgoMs: second * 1_000 });
      return world.step();
    });
    expect(only(changes, 'primary_lost').text).toContain('its node is not heard');
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

  test('a collector that is away for twenty seconds does not take the first report, of a replica that is cut off, for the word of all', () => {
    const world = usualWorld();
    for (const name of ['b', 'c', 'd']) world.set(name, { connected: false });
    world.step();
    world.now += 20_000;
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

  test('a split brain is not over because nobody looked for a while and one side reports before the other', () => {
    const world = usualWorld();
    world.promote('d');
    world.step();
    world.splitBrain = { primaries: [idOf('d'), idOf('a')], forkLsn: SEGMENT + 0x1000n, why: 'both insert positions move' };
    only(world.step(), 'split_brain');
    const held = world.splitBrain;
    world.splitBrain = undefined;
    expect(kinds(world.step(90_000))).not.toContain('split_brain_over');
    world.splitBrain = held;
    expect(kinds(world.steps(5))).not.toContain('split_brain');
    world.splitBrain = undefined;
    only(world.steps(20), 'split_brain_over');
  });

  test('row 8, from the followers alone: the old primary has no agent', () => {
    const world = usualWorld();
    world.promote('d');
    world.set('a', { silent: true });
    world.step();
    expect(only(world.step(), 'unexpected_primary').text).toContain('b still streams from a');
  });

  test('a receiver whose sender has vanished without a word still looks connected, and is no second primary', () => {
    const world = usualWorld();
    world.set('a', { silent: true });
    for (let agoMs = 5_000; agoMs <= 20_000; agoMs += 5_000) {
      for (const name of ['b', 'd']) world.set(name, { lastMessageAgoMs: agoMs });
      world.step();
    }
    world.promote('b');
    for (let agoMs = 25_000; agoMs <= 60_000; agoMs += 5_000) {
      world.set('d', { lastMessageAgoMs: agoMs });
      world.step();
    }
    expect(kinds(world.said)).not.toContain('unexpected_primary');
    only(world.said, 'failover');
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
