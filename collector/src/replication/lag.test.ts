/** Lag by the LSN clock in every situation of the design: idle, cut, restarted, paused, unwatched, unreachable, promoted. */
import { describe, expect, test } from 'vitest';
import {
  cluster,
  down,
  lsn,
  primary,
  primaryDocument,
  replica,
  replicaDocument,
  row,
  settings,
  sighting,
  T0,
  TestTracks,
} from './figures-testing.ts';
import { figuresOf } from './figures.ts';
import type { Member, MemberFigures, Sighting } from './model.ts';

/** Between two samples, and what two clocks may be off. */
const RESOLUTION = 2_300;
const at = (second: number): number => T0 + second * 1_000;

interface Pair {
  readonly second: number;
  readonly a?: Partial<Sighting> & { readonly document?: Sighting['newest'] };
  readonly b?: Partial<Sighting> & { readonly document?: Sighting['newest'] };
  readonly member?: Partial<Member>;
}

/** B follows A, looked at in a second. */
function pair(tracks: TestTracks, { second, a = {}, b = {}, member = {} }: Pair): MemberFigures {
  const now = at(second);
  const { document: ofA = primaryDocument(), ...moreA } = a;
  const { document: ofB = replicaDocument(), ...moreB } = b;
  const members = [primary('a', now, ofA, moreA), replica('b', 'a', 'a', sighting('b', ofB, now, moreB), member)];
  return figuresOf(cluster(members), tracks, now).members.get('b')!;
}

describe('the primary is heard', () => {
  test('idle for ever: 0, and never more than that', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 3_600, () => 5);
    tracks.follow('b', 0, 3_600, () => 5);
    expect(pair(tracks, { second: 3_600 }).lag).toMatchObject({ value: 0, lower: 0, bytes: 0, source: 'primary', unknownSince: undefined });
    expect(pair(tracks, { second: 3_600 }).lag!.upper).toBeLessThanOrEqual(2_000);
    // Whoever has reported last.
    expect(pair(tracks, { second: 3_610 }).lag!.upper).toBeLessThanOrEqual(2_000);
  });

  test('the first write after eight idle hours begins at 0, not at eight hours', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 28_800, (second) => (second < 28_800 ? 5 : 6));
    tracks.follow('b', 0, 28_800, () => 5);
    expect(pair(tracks, { second: 28_800 }).lag).toMatchObject({ lower: 0 });
    expect(pair(tracks, { second: 28_800 }).lag!.upper).toBeLessThanOrEqual(RESOLUTION);
  });

  test('steady writing, followed closely: as wide as the samples are apart', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 600, (second) => second);
    for (let second = 1; second <= 600; second += 2)
      for (const what of ['head', 'replayed'] as const) tracks.add(what, 'b', at(second), lsn(second - 0.2));
    const { lag } = pair(tracks, { second: 600 });
    expect(lag!.lower).toBeLessThanOrEqual(200);
    expect(lag!.upper).toBeGreaterThanOrEqual(200);
    expect(lag!.upper - lag!.lower).toBeLessThanOrEqual(RESOLUTION);
  });

  test('a question that took long says where it stood, and not well when', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 400, (second) => second);
    // 100 s behind until 399; within the last question it replays all of that.
    for (const what of ['head', 'replayed'] as const) {
      tracks.add(what, 'b', at(398), lsn(298));
      tracks.add(what, 'b', at(400), lsn(400), 1_500);
    }
    expect(pair(tracks, { second: 400 }).lag!.upper).toBeGreaterThanOrEqual(100_000);
    const quick = new TestTracks();
    quick.fill('head', 'a', 0, 400, (second) => second);
    quick.follow('b', 0, 400, (second) => second - 100);
    expect(pair(quick, { second: 400 }).lag!.upper).toBeLessThanOrEqual(100_000 + RESOLUTION);
  });

  test('back after a stop, with nothing newer of the primary yet: as it is now, not as it was before', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 396, (second) => second);
    tracks.follow('b', 0, 300, (second) => second);
    tracks.follow('b', 398, 400, () => 300);
    const { lag } = pair(tracks, { second: 400 });
    expect(lag!.at).toBe(at(400));
    expect(lag!.lower).toBeGreaterThan(97_000);
    expect(lag!.upper).toBeLessThan(103_000);
  });

  test('the receiver is dead and both of its positions stand still: it grows as soon as the primary writes', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 2_400, (second) => (second <= 100 ? 5 : 5 + (second - 100)));
    tracks.follow('b', 0, 2_400, () => 5);
    const cut = { document: replicaDocument({ status: null, senderHost: null, senderPort: null, lastMessageAgoMs: null }) };
    const { lag } = pair(tracks, { second: 2_400, b: cut });
    expect(lag!.lower).toBeGreaterThan(2_295_000);
    expect(lag!.upper).toBeLessThan(2_303_000);
    expect(lag!.value).toBeGreaterThan(2_295_000);
    expect(lag!.bytes).toBe(2_300 * 1024 * 1024);
  });

  test('replay is paused, and before anything is written it is behind by nothing', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 300, (second) => (second <= 200 ? 5 : 7));
    tracks.fill('head', 'b', 0, 300, (second) => (second <= 200 ? 5 : 7));
    tracks.fill('replayed', 'b', 0, 300, () => 5);
    const early = pair(tracks, { second: 300 }).lag!;
    expect(early.lower).toBeGreaterThan(97_000);
    expect(early.upper).toBeLessThan(103_000);
  });

  test('older than all that is known of the primary: at least that, and nobody knows how much more', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 1_000, 1_100, (second) => 50 + second);
    tracks.follow('b', 1_000, 1_100, () => 5);
    const { lag } = pair(tracks, { second: 1_100 });
    expect(lag!.lower).toBeGreaterThanOrEqual(99_000);
    expect(lag).toMatchObject({ value: lag!.lower, upper: Infinity });
  });

  test('never replayed anything that is known: not known, not 0', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 100, () => 5);
    expect(pair(tracks, { second: 100 }).lag).toBeUndefined();
  });

  test('just restarted, nothing replayed since, the primary idle: well, by its position', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 100, () => 5);
    tracks.fill('replayed', 'b', 98, 100, () => 5);
    const restarted = { document: replicaDocument({ receiveLsn: null, lastReplayedTransactionAt: null }) };
    expect(pair(tracks, { second: 100, b: restarted })).toMatchObject({
      state: 'streaming',
      lag: { value: 0, lower: 0 },
      catchup: 'caught_up',
    });
  });

  test('recovery_min_apply_delay is lag in full, and only what exceeds it alarms', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 1_000, (second) => second);
    tracks.fill('head', 'b', 0, 1_000, (second) => second);
    tracks.fill('replayed', 'b', 300, 1_000, (second) => second - 300);
    const figures = pair(tracks, { second: 1_000, b: { settings: settings(['recovery_min_apply_delay=300000 ms']) } });
    expect(figures.lag!.lower).toBeGreaterThan(295_000);
    expect(figures.excess).toMatchObject({ lower: 0 });
    expect(figures.excess!.upper).toBeLessThanOrEqual(RESOLUTION + 1_000);
    expect(figures).toMatchObject({ state: 'delayed', delayMs: 300_000, catchup: 'caught_up' });
  });
});

describe('the primary is not heard', () => {
  const silent = { silent: true, reportedAt: at(100) };

  test('it may have written on: at least so much, unknown since then, and never 0', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 100, () => 5);
    tracks.follow('b', 0, 400, () => 5);
    const { lag } = pair(tracks, { second: 400, a: silent });
    expect(lag).toMatchObject({ lower: 0, unknownSince: at(100) });
    expect(lag!.value).toBeGreaterThan(0);
    expect(lag!.upper).toBeGreaterThanOrEqual(300_000);
  });

  test('what is known to be missing goes on growing', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 100, (second) => (second < 50 ? 5 : 9));
    tracks.follow('b', 0, 400, () => 5);
    const { lag } = pair(tracks, { second: 400, a: silent });
    expect(lag!.lower).toBeGreaterThan(347_000);
    expect(lag!.unknownSince).toBe(at(100));
  });

  test('its agent says that it is down: the same', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 100, () => 5);
    tracks.follow('b', 0, 160, () => 5);
    const { lag } = pair(tracks, { second: 160, a: { document: down('refused', null) } });
    expect(lag).toMatchObject({ lower: 0, unknownSince: at(100) });
    expect(lag!.upper).toBeGreaterThanOrEqual(60_000);
  });

  test('its messages to the replica say how it stands', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 100, () => 5);
    tracks.follow('b', 0, 400, (second) => (second < 300 ? 5 : 6));
    tracks.fill('sender', 'b', 0, 390, (second) => (second < 300 ? 5 : 6));
    const { lag } = pair(tracks, { second: 400, a: silent });
    expect(lag).toMatchObject({ value: 0, lower: 0, source: 'standby', unknownSince: undefined });
    expect(lag!.upper).toBeLessThan(13_000);
  });

  test('what another replica has, the primary had before', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 100, () => 5);
    tracks.follow('b', 0, 400, () => 5);
    tracks.follow('d', 0, 400, (second) => (second < 200 ? 5 : 6));
    const now = at(400);
    const members = [
      primary('a', now, primaryDocument(), silent),
      replica('b', 'a', 'a', sighting('b', replicaDocument({ status: null }), now)),
      replica('d', 'a', 'a', sighting('d', replicaDocument(), now)),
    ];
    const { lag } = figuresOf(cluster(members), tracks, now).members.get('b')!;
    expect(lag!.lower).toBeGreaterThan(197_000);
    expect(lag!.source).toBe('standby');
  });
});

describe('nobody watches the primary', () => {
  const alone = (tracks: TestTracks, second: number): MemberFigures => {
    const now = at(second);
    const members = [
      replica('b', undefined, undefined, sighting('b', replicaDocument(), now)),
      replica('c', 'b', undefined, sighting('c', replicaDocument(), now)),
    ];
    return figuresOf(cluster(members), tracks, now).members.get('b')!;
  };

  test('a standby alone, idle: as old as the last message at most', () => {
    const tracks = new TestTracks();
    tracks.follow('b', 0, 400, () => 5);
    tracks.fill('sender', 'b', 0, 380, () => 5);
    const { lag } = alone(tracks, 400);
    expect(lag).toMatchObject({ value: 0, lower: 0, source: 'standby', unknownSince: undefined });
    expect(lag!.upper).toBeLessThanOrEqual(23_000);
  });

  test('a standby alone that is paused', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'b', 0, 400, (second) => second);
    tracks.fill('replayed', 'b', 0, 400, (second) => Math.min(second, 100));
    tracks.fill('sender', 'b', 0, 400, (second) => second);
    const { lag } = alone(tracks, 400);
    expect(lag!.lower).toBeGreaterThan(295_000);
    expect(lag!.upper).toBeLessThan(305_000);
    expect(lag!.source).toBe('standby');
  });

  test('a message may have been on its way while the primary wrote on', () => {
    const tracks = new TestTracks();
    // Sent at 98.5, before the primary wrote at 98.6; it came at 100.
    tracks.add('sender', 'b', at(90), lsn(5));
    tracks.add('sender', 'b', at(100), lsn(5));
    tracks.follow('b', 0, 100, () => 5);
    expect(alone(tracks, 100).lag!.upper).toBeGreaterThanOrEqual(1_400);
  });

  test('its receiver is dead: unknown since the last message', () => {
    const tracks = new TestTracks();
    tracks.follow('b', 0, 400, () => 5);
    tracks.fill('sender', 'b', 0, 100, () => 5);
    const { lag } = alone(tracks, 400);
    expect(lag).toMatchObject({ lower: 0, unknownSince: at(100) });
    expect(lag!.value).toBeGreaterThanOrEqual(300_000);
  });

  test('a cascade is held against what the replica above it was told', () => {
    const tracks = new TestTracks();
    tracks.follow('b', 0, 400, (second) => second);
    tracks.fill('sender', 'b', 0, 400, (second) => second);
    tracks.follow('c', 0, 400, (second) => Math.min(second, 300));
    const now = at(400);
    const members = [
      replica('b', undefined, undefined, sighting('b', replicaDocument(), now)),
      replica('c', 'b', undefined, sighting('c', replicaDocument(), now)),
    ];
    const figures = figuresOf(cluster(members), tracks, now).members.get('c')!;
    expect(figures.lag!.lower).toBeGreaterThan(95_000);
    expect(figures.edgeLag!.lower).toBeGreaterThan(95_000);
    expect(figures.edgeLag).toMatchObject({ source: 'primary' });
  });
});

describe('a cascade', () => {
  test('is behind by as much as the one above, and by nothing behind that one', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 400, (second) => second);
    tracks.follow('b', 0, 400, (second) => Math.min(second, 200));
    tracks.follow('c', 0, 400, (second) => Math.min(second, 200));
    const now = at(400);
    const members = [
      primary('a', now),
      replica('b', 'a', 'a', sighting('b', replicaDocument({ status: null }), now)),
      replica('c', 'b', 'a', sighting('c', replicaDocument({ senderHost: '10.0.0.2' }), now)),
    ];
    const { members: figures } = figuresOf(cluster(members), tracks, now);
    expect(figures.get('b')!.edgeLag).toBe(figures.get('b')!.lag);
    expect(figures.get('c')!.lag!.lower).toBeGreaterThan(195_000);
    expect(figures.get('c')!.edgeLag).toMatchObject({ value: 0, lower: 0, bytes: 0 });
    expect(figures.get('c')!.state).toBe('streaming');
    expect(figures.get('c')!.why).toMatch(/missing \(3 min 2\d s\) is missing upstream|missing upstream/);
  });
});

describe("by its upstream's view", () => {
  const seenBy = { upstream: 'a', replica: 0 };

  test('a replica that nobody watches: the view is ten seconds old, and the bounds know it', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 400, (second) => second);
    // What it has replayed it says every ten seconds; in truth it stops at 300.
    tracks.fill('reported', 'x', 0, 400, (second) => Math.min(Math.floor(second / 10) * 10, 300));
    const now = at(400);
    const members = [primary('a', now, primaryDocument({ replicas: [row()] })), replica('x', 'a', 'a', undefined, { seenBy })];
    const { lag, state } = figuresOf(cluster(members), tracks, now).members.get('x')!;
    expect(lag!.source).toBe('sender');
    expect(lag!.at).toBeLessThanOrEqual(at(390));
    const truth = lag!.at - at(300);
    expect(lag!.lower).toBeLessThanOrEqual(truth);
    expect(lag!.upper).toBeGreaterThanOrEqual(truth);
    expect(lag!.lower).toBeGreaterThan(truth - 3_000);
    expect(state).toBe('catching_up');
  });

  test('caught up and idle: 0', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 400, () => 5);
    tracks.fill('reported', 'x', 0, 400, () => 5);
    const now = at(400);
    const members = [primary('a', now, primaryDocument({ replicas: [row()] })), replica('x', 'a', 'a', undefined, { seenBy })];
    expect(figuresOf(cluster(members), tracks, now).members.get('x')).toMatchObject({
      lag: { value: 0, lower: 0, source: 'sender' },
      state: 'streaming',
    });
  });

  test('its own agent is silent: the view goes on', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 400, (second) => second);
    tracks.follow('b', 0, 100, (second) => second);
    tracks.fill('reported', 'b', 0, 400, (second) => second - 5);
    const { lag, state } = pair(tracks, {
      second: 400,
      a: { document: primaryDocument({ replicas: [row()] }) },
      b: { silent: true, reportedAt: at(100) },
      member: { seenBy },
    });
    expect(lag!.at).toBeGreaterThan(at(380));
    expect(lag!.source).toBe('sender');
    expect(state).toBe('unknown');
  });
});

describe('the replica is not up', () => {
  test('what it has not replayed gets older; how far it came nobody knows', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 400, (second) => second);
    tracks.follow('b', 0, 100, (second) => second);
    const { lag } = pair(tracks, { second: 400, b: { document: down('refused', null) } });
    expect(lag!.lower).toBe(0);
    expect(lag!.value).toBeGreaterThan(295_000);
    expect(lag!.upper).toBeLessThan(303_000);
  });

  test('nothing was written since: nothing is missing', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 400, () => 5);
    tracks.follow('b', 0, 100, () => 5);
    expect(pair(tracks, { second: 400, b: { document: down('refused', null) } }).lag).toMatchObject({ value: 0, lower: 0 });
  });
});

test('a history that has parted has no lag', () => {
  const tracks = new TestTracks();
  tracks.fill('head', 'a', 0, 400, (second) => second);
  tracks.follow('b', 0, 400, () => 300);
  const diverged = { forkLsn: lsn(200), why: 'It has 100 MiB that the primary never had' };
  const figures = pair(tracks, { second: 400, member: { diverged } });
  expect(figures).toMatchObject({ state: 'diverged', lag: undefined, edgeLag: undefined, excess: undefined, transportBytes: undefined });
  expect(figures.catchupMs).toBeUndefined();
});

test.each([0, 400, 1_900])(
  'what is written between two samples is no backlog, when the replica was asked %d ms after its primary',
  (offMs) => {
    const tracks = new TestTracks();
    for (let second = 0; second <= 400; second += 2) {
      tracks.add('head', 'a', at(second), lsn(second));
      for (const what of ['head', 'replayed'] as const) tracks.add(what, 'b', at(second) + offMs, lsn(second + offMs / 1_000));
    }
    const { transportBytes, replayBytes, lag } = pair(tracks, { second: 402 });
    expect(lag!.lower).toBe(0);
    expect(transportBytes).toBe(0);
    expect(replayBytes).toBe(0);
  },
);

test('who is on a later timeline than the primary above it is not measured by that one, but by what it was told', () => {
  const tracks = new TestTracks();
  // A is gone at 200 with 100 MiB that nobody has; B was promoted and C follows it, which B's agent has not reported yet.
  tracks.fill('head', 'a', 0, 200, (second) => second);
  tracks.follow('b', 0, 208, (second) => Math.min(second, 100));
  tracks.follow('c', 0, 210, (second) => (second < 206 ? Math.min(second, 100) : 101 + (second - 206) / 2));
  tracks.add('sender', 'c', at(210), lsn(103));
  const members = [
    primary('a', at(200), primaryDocument(), { newest: down('refused', null), reportedAt: at(210) }),
    replica('b', 'a', 'a', sighting('b', replicaDocument({ status: null }), at(208))),
    replica('c', 'b', 'a', sighting('c', replicaDocument(), at(210)), { timeline: 2 }),
  ];
  const { members: figures } = figuresOf(cluster(members), tracks, at(211));
  expect(figures.get('c')!.lag!.lower).toBe(0);
  expect(figures.get('c')!.lag!.source).toBe('standby');
  expect(figures.get('b')!.lag!.lower).toBeGreaterThan(90_000);
});
