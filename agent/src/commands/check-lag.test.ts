/** The lag that a replica alone can tell of: whatever happened on the primary, the truth lies between the bounds. */
import { formatLsn, type PostgresReplication } from '@tidemark/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { replicaStateOf } from './check-lag.ts';
import type { Look } from './check-look.ts';

const LOOKS_MS = [0, 1_000, 2_000];
const NOW_MS = 2_000;
const EPOCH_MS = Date.UTC(2026, 10, 21, 6);

interface History {
  /** When each transaction was committed; its WAL ends at 1,000 times its place. */
  readonly commits: readonly number[];
  /** When the sender last got anything through; keepalives go with every commit and each second before. */
  readonly cutMs: number;
  /** Transactions replayed at each look, of those received by then, as a share. */
  readonly replayed: readonly number[];
  readonly primarySkewMs: number;
  readonly replicaSkewMs: number;
}

const histories: fc.Arbitrary<History> = fc.record({
  commits: fc
    .array(fc.oneof(fc.integer({ min: -100_000, max: NOW_MS }), fc.integer({ min: -200, max: NOW_MS })), { minLength: 1, maxLength: 30 })
    .map((times) => times.toSorted((a, b) => a - b)),
  cutMs: fc.oneof(fc.constant(NOW_MS), fc.integer({ min: -40_000, max: NOW_MS })),
  replayed: fc.array(fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })), { minLength: 3, maxLength: 3 }),
  primarySkewMs: fc.integer({ min: -300_000, max: 300_000 }),
  replicaSkewMs: fc.integer({ min: -300_000, max: 300_000 }),
});

const iso = (ms: number): string => new Date(EPOCH_MS + ms).toISOString();
const lsnOf = (count: number): string => formatLsn(BigInt(1_000 * count) + 1n);

/** What the looks would have seen, and how many transactions were replayed at the last. */
function looksOf({ commits, cutMs, replayed, primarySkewMs, replicaSkewMs }: History): { looks: Look[]; done: number } {
  let done = 0;
  const looks = LOOKS_MS.map((atMs, i): Look => {
    const until = Math.min(atMs, cutMs);
    const received = commits.filter((time) => time <= until).length;
    done = Math.max(done, Math.floor(received * replayed[i]!));
    const receiver: PostgresReplication['receiver'] = {
      receiveLsn: lsnOf(received),
      replayLsn: lsnOf(done),
      lastReplayedTransactionAt: done === 0 ? null : iso(commits[done - 1]! + primarySkewMs),
      pauseState: 'not paused',
      status: 'streaming',
      senderHost: 'a',
      senderPort: 5432,
      slotName: null,
      receivedTimeline: 1,
      latestEndLsn: lsnOf(received),
      latestEndTime: received === 0 ? null : iso(commits[received - 1]! + primarySkewMs),
      pid: 1,
      lastMessageAgoMs: atMs - until,
    };
    const document = {
      role: 'replica',
      receiver,
      serverTime: iso(atMs + replicaSkewMs),
      insufficientPrivilege: false,
    } as PostgresReplication;
    return { atMs, document };
  });
  return { looks, done };
}

const truthMs = (commits: readonly number[], done: number, atMs: number): number => {
  const waiting = commits.find((time, i) => i >= done && time <= atMs);
  return waiting === undefined ? 0 : atMs - waiting;
};

test('the bounds contain the truth, whatever the clocks are set to', () => {
  fc.assert(
    fc.property(histories, (history) => {
      const { looks, done } = looksOf(history);
      const { lag, hearing } = replicaStateOf(looks);
      const truth = truthMs(history.commits, done, NOW_MS) / 1000;
      if (lag.lowerSeconds !== null) expect(lag.lowerSeconds).toBeLessThanOrEqual(truth + 0.001);
      const [, before, last] = looks.map(({ document }) => document.receiver!);
      const clocksAgree = history.primarySkewMs === history.replicaSkewMs || last!.latestEndLsn !== before!.latestEndLsn;
      if (lag.upperSeconds !== null && clocksAgree) expect(lag.upperSeconds).toBeGreaterThanOrEqual(truth - 0.001);
      if (lag.seconds === 0) expect(hearing === 'fresh' || lag.upperSeconds === 0).toBe(true);
      if (lag.wasAtLeastSeconds !== null) {
        const doneBefore = looksOf({ ...history, replayed: [history.replayed[0]!, history.replayed[1]!, 0] }).done;
        expect(lag.wasAtLeastSeconds).toBeLessThanOrEqual(truthMs(history.commits, doneBefore, 1_000) / 1000 + 0.001);
      }
    }),
    { numRuns: 5_000 },
  );
});

test('with clocks that agree, too', () => {
  fc.assert(
    fc.property(histories, (history) => {
      const { looks, done } = looksOf({ ...history, primarySkewMs: 0, replicaSkewMs: 0 });
      const { lag } = replicaStateOf(looks);
      const truth = truthMs(history.commits, done, NOW_MS) / 1000;
      if (lag.upperSeconds !== null) expect(lag.upperSeconds).toBeGreaterThanOrEqual(truth - 0.001);
      // Behind by what it received itself is never 0.
      if (truth > 0 && looks.at(-1)!.document.receiver!.receiveLsn !== lsnOf(done)) expect(lag.seconds).not.toBeNull();
    }),
    { numRuns: 5_000 },
  );
});

test('idle for hours, then a write that is being replayed: no hours of lag', () => {
  const { looks } = looksOf({
    commits: [-8 * 3_600_000, -100],
    cutMs: NOW_MS,
    replayed: [0.5, 0.5, 1],
    primarySkewMs: 0,
    replicaSkewMs: 0,
  });
  expect(replicaStateOf(looks).lag).toMatchObject({ seconds: 0, bytes: 0 });
  const waiting = looksOf({
    commits: [-8 * 3_600_000, -100],
    cutMs: NOW_MS,
    replayed: [0.5, 0.5, 0.5],
    primarySkewMs: 0,
    replicaSkewMs: 0,
  }).looks;
  expect(replicaStateOf(waiting).lag.lowerSeconds).toBeLessThan(3);
});

test('hours behind and catching up is known by what it replays', () => {
  const commits = Array.from({ length: 1_000 }, (_, i) => -7_200_000 + i * 7_200);
  const { lag, replaying } = replicaStateOf(
    looksOf({ commits, cutMs: NOW_MS, replayed: [0.01, 0.02, 0.03], primarySkewMs: 60_000, replicaSkewMs: 0 }).looks,
  );
  expect(replaying).toBe(true);
  expect(lag.wasAtLeastSeconds).toBeGreaterThan(6_900);
  expect(lag.upperSeconds).toBeLessThan(7_200);
});

test('a receiver that is gone says nothing, however equal the positions', () => {
  const { looks } = looksOf({ commits: [-1_000], cutMs: NOW_MS, replayed: [1, 1, 1], primarySkewMs: 0, replicaSkewMs: 0 });
  const gone = looks.map(({ atMs, document }) => ({
    atMs,
    document: {
      ...document,
      receiver: { ...document.receiver!, status: null, pid: null, latestEndLsn: null, latestEndTime: null, lastMessageAgoMs: null },
    },
  }));
  expect(replicaStateOf(gone)).toMatchObject({ hearing: 'none', lag: { seconds: null, lowerSeconds: null, upperSeconds: null } });
  // Before it went, it had told of more.
  const told = looksOf({ commits: [-1_000, 500], cutMs: NOW_MS, replayed: [1, 0.5, 0.5], primarySkewMs: 0, replicaSkewMs: 0 }).looks;
  expect(replicaStateOf([told[0]!, told[1]!, gone[2]!]).lag.lowerSeconds).toBeGreaterThan(0);
});
