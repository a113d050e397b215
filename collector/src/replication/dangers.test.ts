/** A replica that does not catch up says what that comes to: its slot is lost, or a disk is full. One that keeps up says nothing. */
import type { PostgresReplication } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { cluster, lsnText, MIB, primary, primaryDocument, replica, replicaDocument, sighting, T0, TestTracks } from './figures-testing.ts';
import { figuresOf } from './figures.ts';
import type { MemberFigures, Sighting } from './model.ts';

const NOW = T0 + 400_000;

interface Given {
  readonly slot?: Partial<PostgresReplication['slots'][number]>;
  /** Of A's pg_wal, and of B's own. */
  readonly freeA?: number;
  readonly freeB?: number;
  readonly received?: (second: number) => number;
  readonly replayed?: (second: number) => number;
  readonly receiver?: Parameters<typeof replicaDocument>[0];
  readonly seen?: Partial<Sighting>;
}

const wal = (diskFreeBytes: number | undefined): Partial<PostgresReplication> =>
  diskFreeBytes === undefined
    ? {}
    : { wal: { directoryBytes: null, segments: null, segmentBytes: null, diskFreeBytes, diskTotalBytes: null } };

/** A writes 1 MiB a second for 400 seconds; B has slot b there. */
function figuresOfB({ slot, freeA, freeB, received = (s) => s, replayed = received, receiver = {}, seen = {} }: Given): MemberFigures {
  const tracks = new TestTracks();
  tracks.fill('head', 'a', 0, 400, (s) => s);
  tracks.fill('head', 'b', 0, 400, received);
  tracks.fill('replayed', 'b', 0, 400, replayed);
  const slots = [
    {
      name: 'b',
      type: 'physical',
      active: true,
      restartLsn: lsnText(received(400)),
      confirmedFlushLsn: null,
      walStatus: 'extended',
      safeWalBytes: null,
      ...slot,
    },
  ];
  const members = [
    { ...primary('a', NOW, primaryDocument({ slots, ...wal(freeA) })), slotUsers: new Map([['b', 'b']]) },
    replica('b', 'a', 'a', sighting('b', replicaDocument(receiver, wal(freeB)), NOW, seen)),
  ];
  return figuresOf(cluster(members), tracks, NOW).members.get('b')!;
}

const half = (second: number): number => second / 2;

describe('a replica', () => {
  test('that keeps up is in no danger, however little room there is', () => {
    const figures = figuresOfB({ slot: { safeWalBytes: String(MIB) }, freeA: MIB, freeB: MIB });
    expect(figures).toMatchObject({ state: 'streaming', slotLostInMs: undefined, diskFullInMs: undefined });
    expect(figures.why).not.toMatch(/never|lost|disk/);
  });
  test('that falls behind for ever: until its slot is lost', () => {
    const figures = figuresOfB({ received: half, slot: { safeWalBytes: String(64 * MIB) } });
    expect(figures).toMatchObject({ state: 'catching_up', catchup: 'never', diskFullInMs: undefined });
    expect(figures.slotLostInMs! / 1_000).toBeCloseTo(128, 0);
    expect(figures.why).toMatch(
      /At the present rates it never catches up: slot b on a, which keeps WAL for it, is lost in about 2 min( \d s)?\.$/,
    );
  });
  test('that falls behind for ever: until the disk of its upstream is full', () => {
    const figures = figuresOfB({ received: half, freeA: 600 * MIB });
    expect(figures).toMatchObject({ catchup: 'never', slotLostInMs: undefined });
    expect(figures.diskFullInMs! / 1_000).toBeCloseTo(1_200, 0);
    expect(figures.why).toMatch(/never catches up: the WAL that slot b on a keeps for it fills the disk there in about 20 min( \d s)?\.$/);
  });
  test('that falls behind for ever, and nobody knows of a limit', () =>
    expect(figuresOfB({ received: half }).why).toMatch(/At the present rates it never catches up\.$/));
  test('that is cut off: its slot is lost, as nobody takes anything from it', () => {
    const figures = figuresOfB({
      received: (s) => Math.min(s, 100),
      receiver: { status: null },
      slot: { active: false, safeWalBytes: String(60 * MIB) },
    });
    expect(figures.state).toBe('disconnected');
    expect(figures.slotLostInMs! / 1_000).toBeCloseTo(60, 0);
    expect(figures.why).toMatch(/At the present rates slot b on a, which keeps WAL for it, is lost in about (59 s|1 min( \d s)?)\.$/);
  });
  test('whose slot may go at any moment', () =>
    expect(figuresOfB({ received: half, slot: { walStatus: 'unreserved', safeWalBytes: '0' } }).why).toMatch(
      /the next checkpoint may remove the WAL that slot b on a keeps for it\.$/,
    ));
  test('that is paused goes on receiving, until its own disk is full', () => {
    const figures = figuresOfB({
      replayed: (s) => Math.min(s, 100),
      receiver: { pauseState: 'paused' },
      freeA: 10 * MIB,
      freeB: 900 * MIB,
    });
    expect(figures).toMatchObject({ state: 'paused', slotLostInMs: undefined });
    expect(figures.diskFullInMs! / 1_000).toBeCloseTo(900, 0);
    expect(figures.why).toMatch(/the WAL that it receives and does not replay fills its disk in about 15 min( \d s)?\.$/);
  });
  test('that replays what it has got is in no danger of its own disk', () =>
    expect(figuresOfB({ replayed: (s) => Math.min(s, 100 + Math.max(0, s - 250) * 2), freeB: MIB }).diskFullInMs).toBeUndefined());
  test('of which nothing is heard says nothing of its own disk', () =>
    expect(figuresOfB({ replayed: (s) => Math.min(s, 100), freeB: MIB, seen: { silent: true } }).diskFullInMs).toBeUndefined());
});
