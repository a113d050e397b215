/**
 * Figures against the truth: random histories of a primary, a replica, a cascade below it and a replica that nobody watches,
 * with pauses, cuts, slow links, agents that are silent, reports that are lost or late, and times that are a little off.
 * Whatever happened, the truth at the published moment lies between the published bounds.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cluster, primary, primaryDocument, replica, replicaDocument, row, sighting, T0, TestTracks } from './figures-testing.ts';
import { figuresOf } from './figures.ts';
import type { Lag, Member } from './model.ts';
import { History, samplesOf, seeded, someHistory, type Random } from './track-testing.ts';

const RUNS = 60;
const MINUTES = 20;
const END = T0 + MINUTES * 60_000;
const STEP_MS = 50;
const INTERVAL_MS = 10_000;
/** What two agents' times are off against each other at most. */
const PLACED_MS = 40;

/** Times at which something is so, and is not, in turns. */
function spells(random: Random, share: number, meanMs: number): (at: number) => boolean {
  const changes: number[] = [];
  for (let at = T0; at < END;) {
    at += (-Math.log(1 - random()) * meanMs * (1 - share)) / share;
    changes.push(at);
    at += -Math.log(1 - random()) * meanMs;
    changes.push(at);
  }
  return (at) => changes.filter((change) => change <= at).length % 2 === 1;
}

interface Follower {
  readonly received: History;
  readonly replayed: History;
  /** When a message came, and where the upstream stood when it was sent. */
  readonly messages: { readonly at: number; readonly lsn: bigint }[];
}

/** Receives what the one above has, a little later, as fast as its link and its disk are, unless it is cut off or paused. */
function follow(upstream: History, random: Random): Follower {
  const latencyMs = 5 + 200 * random() ** 3;
  const [linkBytes, diskBytes] = [10 ** (4 + 5 * random()), 10 ** (4 + 5 * random())].map((rate) =>
    BigInt(Math.ceil((rate * STEP_MS) / 1_000)),
  );
  const isCut = spells(random, random() < 0.5 ? 0.001 : 0.2, 60_000);
  const isPaused = spells(random, random() < 0.5 ? 0.001 : 0.2, 60_000);
  const received = new History(upstream.first);
  const replayed = new History(upstream.first);
  const messages: Follower['messages'] = [];
  for (let at = T0; at < END; at += STEP_MS) {
    if (!isCut(at)) {
      const sent = upstream.at(at - latencyMs);
      const got = least(sent - received.last, linkBytes!);
      if (got > 0n) received.write(at, got);
      if (got > 0n || at - (messages.at(-1)?.at ?? -Infinity) >= 30_000) messages.push({ at, lsn: sent });
    }
    const done = isPaused(at) ? 0n : least(received.last - replayed.last, diskBytes!);
    if (done > 0n) replayed.write(at, done);
  }
  return { received, replayed, messages };
}

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);

interface Told {
  readonly arrivesAt: number;
  readonly takenAt: number;
  readonly give: (tracks: TestTracks) => void;
}

/** What an agent's reports bring: some are lost, some come minutes late; while it is silent none come. */
function reports(random: Random, give: (tracks: TestTracks, from: number, to: number) => void): Told[] {
  const isSilent = spells(random, random() < 0.6 ? 0.001 : 0.2, 120_000);
  const told: Told[] = [];
  let from = T0 - 3_000;
  for (let at = T0 + INTERVAL_MS * random(); at < END; at += INTERVAL_MS) {
    const since = from;
    from = at;
    if (isSilent(at)) continue;
    const luck = random();
    if (luck < 0.02) continue;
    const arrivesAt = at + 200 * random() + (luck < 0.06 ? 200_000 * random() : 0);
    told.push({ arrivesAt, takenAt: at, give: (tracks) => give(tracks, since - 2_500, at) });
  }
  return told;
}

interface Counts {
  all: number;
  exact: number;
  readonly widths: number[];
}

/** Lag at a moment, in truth. */
function truthAt(head: History, replayed: History, at: number): number {
  const position = replayed.at(at);
  return position >= head.at(at) ? 0 : at - head.passed(position);
}

/** The published moment is good to what two clocks are off and a question took: the truth of one within it has to lie between the bounds. */
function check(lag: Lag, head: History, replayed: History, counts: Counts, what: string): void {
  const around = [-150, -100, -50, 0, 50, 100, 150, 200].map((off) => truthAt(head, replayed, lag.at + off));
  const [lowest, highest] = [Math.min(...around), Math.max(...around)];
  expect(lag.lower, `${what}: lower ${JSON.stringify(around)}`).toBeLessThanOrEqual(highest);
  expect(lag.upper, `${what}: upper ${JSON.stringify(around)}`).toBeGreaterThanOrEqual(lowest);
  expect(lag.lower).toBeGreaterThanOrEqual(0);
  expect(lag.value).toBeGreaterThanOrEqual(lag.lower);
  expect(lag.value).toBeLessThanOrEqual(lag.upper);
  if (lag.upper === Infinity) expect(lag.lower, `${what}: says something`).toBeGreaterThan(0);
  if (lag.value === 0) expect(lag.unknownSince, `${what}: 0 is known`).toBeUndefined();
  const truth = around[3]!;
  counts.all++;
  if (truth >= lag.lower && truth <= lag.upper) counts.exact++;
}

/** A history, looked at now and then. */
function story(seed: number, counts: Counts): void {
  const random = seeded(seed);
  const written = someHistory(random, T0 - 60_000, END);
  const b = follow(written, random);
  const c = follow(b.received, random);
  const x = follow(written, random);
  const off = (): number => PLACED_MS * (random() - 0.5);
  const sampled = (history: History, shift: number) =>
    samplesOf(history, random, T0 - 2_000, END).map((seen) => ({ ...seen, at: seen.at + shift }));
  const [offA, offB, offC] = [off(), off(), off()];
  const ofA = sampled(written, offA);
  const give = (id: string, follower: Follower, shift: number) => {
    const [head, replayed] = [sampled(follower.received, shift), sampled(follower.replayed, shift)];
    return (tracks: TestTracks, from: number, to: number): void => {
      for (const seen of head) if (seen.at > from && seen.at + seen.errorMs < to) tracks.add('head', id, seen.at, seen.lsn, seen.errorMs);
      for (const seen of replayed)
        if (seen.at > from && seen.at + seen.errorMs < to) tracks.add('replayed', id, seen.at, seen.lsn, seen.errorMs);
      for (const message of follower.messages)
        if (message.at > from && message.at < to) tracks.add('sender', id, message.at + shift, message.lsn);
    };
  };
  const replyEvery = 1_000 + 9_000 * random();
  const told = new Map<string, Told[]>([
    [
      'a',
      reports(random, (tracks, from, to) => {
        for (const seen of ofA) if (seen.at > from && seen.at + seen.errorMs < to) tracks.add('head', 'a', seen.at, seen.lsn, seen.errorMs);
        // The row of the one that nobody watches: what it said last.
        const seenAt = to - 2_000 * random();
        tracks.add('reported', 'x', to + offA, x.replayed.at(seenAt - (seenAt % replyEvery)));
      }),
    ],
    ['b', reports(random, give('b', b, offB))],
    ['c', reports(random, give('c', c, offC))],
  ]);
  const isWatched = random() < 0.85;
  if (!isWatched) told.delete('a');

  for (let looks = 0; looks < 6; looks++) {
    const now = T0 + 60_000 + (END - T0 - 60_000) * random();
    const tracks = new TestTracks();
    const arrived = [...told.values()].flat().filter(({ arrivesAt }) => arrivesAt <= now);
    for (const report of arrived.toSorted((p, q) => p.arrivesAt - q.arrivesAt)) report.give(tracks);
    const newest = (id: string): { at: number; silent: boolean } => {
      const at = Math.max(T0, ...(told.get(id) ?? []).filter(({ arrivesAt }) => arrivesAt <= now).map(({ takenAt }) => takenAt));
      return { at, silent: now - at > 3 * INTERVAL_MS };
    };
    const { at: atA, silent } = newest('a');
    const isHeard = isWatched && !silent;
    const root = isWatched ? 'a' : undefined;
    const replicaOf = (id: string, upstream: string | undefined): Member => {
      const { at, silent: isSilent } = newest(id);
      return replica(id, upstream, root, sighting(id, replicaDocument(), at, { silent: isSilent, intervalMs: INTERVAL_MS }));
    };
    const members: Member[] = [replicaOf('b', root), replicaOf('c', 'b')];
    if (isWatched) {
      members.push(primary('a', atA, primaryDocument({ replicas: [row()] }), { silent, intervalMs: INTERVAL_MS }));
      members.push(replica('x', 'a', 'a', undefined, { seenBy: { upstream: 'a', replica: 0 } }));
    }
    const { members: figures } = figuresOf(cluster(members), tracks, now);
    const what = (id: string): string => `seed ${seed}, ${id} at ${now - T0}`;
    for (const [id, follower, upstream] of [
      ['b', b, written],
      ['c', c, b.received],
      ['x', x, written],
    ] as const) {
      const known = figures.get(id);
      if (known === undefined) continue;
      const { lag, edgeLag, catchup, catchupMs } = known;
      expect(known.why.length, what(id)).toBeGreaterThan(10);
      if (lag !== undefined) check(lag, written, follower.replayed, counts, what(id));
      if (edgeLag !== undefined && edgeLag !== lag) check(edgeLag, upstream, follower.replayed, counts, `${what(id)} (edge)`);
      if (lag !== undefined && isHeard && id !== 'x') counts.widths.push(lag.upper - lag.lower);
      if (catchup === 'converging') expect(catchupMs, what(id)).toBeGreaterThan(0);
      else expect(catchupMs, what(id)).toBe(catchup === 'caught_up' ? 0 : undefined);
      expect(known.transportBytes ?? 0, what(id)).toBeGreaterThanOrEqual(0);
      expect(known.replayBytes ?? 0, what(id)).toBeGreaterThanOrEqual(0);
    }
  }
}

test('the truth lies between the bounds, whatever happened', { timeout: 120_000 }, () => {
  const counts: Counts = { all: 0, exact: 0, widths: [] };
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => story(seed, counts)),
    { numRuns: RUNS, endOnFailure: true },
  );
  const share = counts.exact / counts.all;
  const median = counts.widths.toSorted((p, q) => p - q)[counts.widths.length >> 1]!;
  expect(counts.all).toBeGreaterThan(500);
  expect(share, `${counts.exact} of ${counts.all} at the very moment`).toBeGreaterThanOrEqual(0.995);
  expect(median).toBeLessThanOrEqual(2_500);
});
