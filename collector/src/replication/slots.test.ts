/** Slots, what the loss of the primary would cost, and the synchronous standbys. */
import type { PostgresReplication } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import {
  cluster,
  lsnText,
  MIB,
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
import type { ClusterFigures, Member, Sighting, SlotFigures } from './model.ts';

const NOW = T0 + 400_000;
type Slot = PostgresReplication['slots'][number];

const slot = (more: Partial<Slot>): Slot => ({
  name: 'ghost',
  type: 'physical',
  active: false,
  restartLsn: lsnText(100),
  confirmedFlushLsn: null,
  walStatus: 'extended',
  safeWalBytes: null,
  ...more,
});

/** A writes 1 MiB a second; at 400 it is at 400 MiB. */
function tracksOf(b: (second: number) => number = (second) => second, a: (second: number) => number = (second) => second): TestTracks {
  const tracks = new TestTracks();
  tracks.fill('head', 'a', 0, 400, a);
  tracks.follow('b', 0, 400, b);
  return tracks;
}

function ofSlot(
  given: Slot,
  more: Partial<PostgresReplication> = {},
  { tracks = tracksOf(), usedBy }: { tracks?: TestTracks; usedBy?: string } = {},
): SlotFigures {
  const owner = primary('a', NOW, primaryDocument({ slots: [given], ...more }));
  const members = [
    { ...owner, slotUsers: new Map(usedBy === undefined ? [] : [[given.name, usedBy]]) },
    replica('b', 'a', 'a', sighting('b', replicaDocument(), NOW)),
  ];
  return figuresOf(cluster(members), tracks, NOW).slots[0]!;
}

const wal = (diskFreeBytes: number): Partial<PostgresReplication> => ({
  wal: { directoryBytes: null, segments: null, segmentBytes: null, diskFreeBytes, diskTotalBytes: null },
});

describe('a slot', () => {
  test('that nobody uses keeps what was written since, and how old that is', () => {
    const figures = ofSlot(slot({}));
    expect(figures).toMatchObject({ instanceId: 'a', name: 'ghost', usedBy: undefined, retainedBytes: 300 * MIB, lag: undefined });
    expect(figures.held!.lower).toBeGreaterThan(295_000);
    expect(figures.held!.upper).toBeLessThan(303_000);
  });
  test('is lost when what is safe is written', () =>
    expect(ofSlot(slot({ safeWalBytes: String(64 * MIB) })).lostInMs! / 1_000).toBeCloseTo(64, 0));
  test('fills the disk', () => {
    expect(ofSlot(slot({}), wal(600 * MIB)).diskFullInMs! / 1_000).toBeCloseTo(600, 0);
    expect(ofSlot(slot({}), wal(600 * MIB)).lostInMs).toBeUndefined();
  });
  test('that is given up before fills no disk', () =>
    expect(ofSlot(slot({ safeWalBytes: String(64 * MIB) }), wal(600 * MIB)).diskFullInMs).toBeUndefined());
  test('on an idle server is in no danger', () => {
    const idle = tracksOf(
      () => 400,
      () => 400,
    );
    expect(ofSlot(slot({ safeWalBytes: String(64 * MIB) }), wal(600 * MIB), { tracks: idle })).toMatchObject({
      lostInMs: undefined,
      diskFullInMs: undefined,
    });
  });
  test('whose consumer keeps up is in no danger', () =>
    expect(
      ofSlot(slot({ active: true, restartLsn: lsnText(399), safeWalBytes: String(64 * MIB) }), wal(600 * MIB), { usedBy: 'b' }),
    ).toMatchObject({
      usedBy: 'b',
      lostInMs: undefined,
      diskFullInMs: undefined,
    }));
  test('whose consumer falls behind loses by the difference', () => {
    const figures = ofSlot(
      slot({ active: true, restartLsn: lsnText(200), safeWalBytes: String(64 * MIB) }),
      {},
      { tracks: tracksOf((s) => s / 2), usedBy: 'b' },
    );
    expect(figures.lostInMs! / 1_000).toBeCloseTo(128, 0);
  });
  test('whose consumer catches up is in no danger', () => {
    const catching = tracksOf((s) => Math.max(0, 2 * s - 600));
    expect(
      ofSlot(slot({ active: true, restartLsn: lsnText(200), safeWalBytes: String(64 * MIB) }), {}, { tracks: catching, usedBy: 'b' })
        .lostInMs,
    ).toBeUndefined();
  });
  test('that is unreserved may go at any moment', () =>
    expect(ofSlot(slot({ walStatus: 'unreserved', safeWalBytes: '-5' })).lostInMs).toBe(0));
  test.each([
    ['lost', { walStatus: 'lost' }],
    ['temporary', { temporary: true, safeWalBytes: '1' }],
    ['synchronised', { synced: true, safeWalBytes: '1' }],
    ['never used', { restartLsn: null, safeWalBytes: '1' }],
  ])('that is %s is in no danger', (_, more) =>
    expect(ofSlot(slot(more), wal(1))).toMatchObject({ lostInMs: undefined, diskFullInMs: undefined }),
  );
  test('that is lost keeps nothing', () =>
    expect(ofSlot(slot({ walStatus: 'lost' }))).toMatchObject({ retainedBytes: undefined, held: undefined }));
  test('of a logical consumer has a lag', () => {
    const { lag } = ofSlot(slot({ type: 'logical', active: true, confirmedFlushLsn: lsnText(250) }));
    expect(lag!.lower).toBeGreaterThan(147_000);
    expect(lag!.upper).toBeLessThan(153_000);
    expect(lag).toMatchObject({ source: 'primary', bytes: 150 * MIB });
  });
  test('whose consumer has confirmed everything has none', () =>
    expect(ofSlot(slot({ type: 'logical', active: true, confirmedFlushLsn: lsnText(400) })).lag).toMatchObject({ value: 0, lower: 0 }));
  test('of a replica is measured by the primary', () => {
    const held = slot({ restartLsn: lsnText(100) });
    const members = [primary('a', NOW), replica('b', 'a', 'a', sighting('b', replicaDocument({}, { slots: [held] }), NOW))];
    const [figures] = figuresOf(cluster(members), tracksOf(), NOW).slots;
    expect(figures).toMatchObject({ instanceId: 'b', retainedBytes: 300 * MIB });
    expect(figures!.held!.lower).toBeGreaterThan(295_000);
  });
});

describe('what the loss of the primary would cost', () => {
  const of = (
    tracks: TestTracks,
    a: Partial<Sighting> = {},
    b: Partial<Sighting> = {},
    rows: PostgresReplication['replicas'] = [],
  ): ClusterFigures => {
    const seenBy = rows.length === 0 ? undefined : { upstream: 'a', replica: 0 };
    const members: Member[] = [
      primary('a', NOW, primaryDocument({ replicas: rows }), a),
      replica('b', 'a', 'a', sighting('b', replicaDocument(), NOW, b), { seenBy }),
    ];
    return figuresOf(cluster(members), tracks, NOW);
  };
  test('nothing, with one that has it all', () => expect(of(tracksOf()).rpoBytes).toBe(0));
  test('what none of them has', () => expect(of(tracksOf((s) => Math.min(s, 370))).rpoBytes).toBe(30 * MIB));
  test('written since the replica was asked is no loss', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 400, (s) => s);
    tracks.follow('b', 0, 390, (s) => s);
    expect(of(tracks).rpoBytes).toBe(0);
    // It stands still since: then it is.
    expect(of(tracks, {}, { silent: true }).rpoBytes).toBe(10 * MIB);
  });
  test('the primary is lost: its last known position', () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 300, (s) => s);
    tracks.follow('b', 0, 400, (s) => Math.min(s, 280));
    expect(of(tracks, { silent: true, reportedAt: T0 + 300_000 }).rpoBytes).toBe(20 * MIB);
  });
  test('what a replica got on a later timeline, of somebody who took over, is none of it', () => {
    const tracks = tracksOf((s) => Math.min(s, 280));
    tracks.follow('c', 0, 400, (s) => s);
    const members = [
      primary('a', NOW, primaryDocument(), { silent: true }),
      replica('b', 'a', 'a', sighting('b', replicaDocument(), NOW)),
      replica('c', 'b', 'a', sighting('c', replicaDocument(), NOW), { timeline: 2 }),
    ];
    expect(figuresOf(cluster(members), tracks, NOW).rpoBytes).toBe(120 * MIB);
  });
  test("by the primary's view where nobody else knows", () => {
    const tracks = new TestTracks();
    tracks.fill('head', 'a', 0, 400, (s) => s);
    expect(of(tracks, {}, {}, [row({ flushLsn: lsnText(398) })]).rpoBytes).toBe(2 * MIB);
  });
  test('nobody to take over: not known', () => expect(figuresOf(cluster([primary('a', NOW)]), tracksOf(), NOW).rpoBytes).toBeUndefined());
});

describe('synchronous standbys', () => {
  const of = (
    names: string,
    states: readonly (string | null)[],
    more: Partial<PostgresReplication> = {},
    others: readonly string[] = [],
  ): ClusterFigures['synchronous'] => {
    const replicas = states.map((syncState, i) => row({ syncState, applicationName: 'bcd'[i]! }));
    const document = primaryDocument({ replicas, waitingForSync: 0, ...more });
    const seen = { settings: settings([`synchronous_standby_names=${names}`, ...others]) };
    return figuresOf(cluster([primary('a', NOW, document, seen)]), tracksOf(), NOW).synchronous;
  };
  test('none are wanted', () => expect(of('', ['async'])).toBeUndefined());
  test.each([
    ['b', ['sync'], 1, 1],
    ['FIRST 2 (b, c, d)', ['sync', 'sync', 'potential'], 2, 2],
    ['FIRST 2 (b, c)', ['sync'], 2, 1],
    ['ANY 1 (b, c)', ['quorum', 'quorum'], 1, 2],
    ['FIRST 1 (x)', ['async'], 1, 0],
    ['FIRST 1 (B, c)', [null], 1, 1],
    ['*', [null, null], 1, 2],
  ])('%s with %j', (names, states, required, present) => expect(of(names, states)).toEqual({ required, present, waiting: 0 }));
  test('commits wait', () => expect(of('b', [], { waitingForSync: 3 })).toEqual({ required: 1, present: 0, waiting: 3 }));
  test('commits wait for nobody', () => expect(of('b', [], {}, ['synchronous_commit=local'])).toBeUndefined());
});
