/** Each state, by what is seen, and the sentence that says so. */
import type { ReplicationState } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import {
  cluster,
  down,
  lsn,
  lsnText,
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

const NOW = T0 + 400_000;
const seenBy = { upstream: 'a', replica: 0 };

/** A writes 1 MiB a second; B has received and replayed as told, in MiB at a second. */
function written(
  received: (second: number) => number,
  replayed = received,
  primarys: (second: number) => number = (second) => second,
): TestTracks {
  const tracks = new TestTracks();
  tracks.fill('head', 'a', 0, 400, primarys);
  tracks.fill('head', 'b', 0, 400, received);
  tracks.fill('replayed', 'b', 0, 400, replayed);
  return tracks;
}
const following = (): TestTracks => written((second) => second);
const idle = (): TestTracks =>
  written(
    () => 5,
    () => 5,
    () => 5,
  );

interface Case {
  readonly tracks?: TestTracks;
  readonly newest?: Sighting['newest'];
  readonly seen?: Partial<Sighting>;
  readonly member?: Partial<Member>;
  readonly rows?: readonly ReturnType<typeof row>[];
}

function look({ tracks = following(), newest = replicaDocument(), seen = {}, member = {}, rows = [row()] }: Case): MemberFigures {
  const members = [
    primary('a', NOW, primaryDocument({ replicas: [...rows] })),
    replica('b', 'a', 'a', sighting('b', newest, NOW, seen), { seenBy, ...member }),
  ];
  return figuresOf(cluster(members), tracks, NOW).members.get('b')!;
}

const noReceiver = { status: null, senderHost: null, senderPort: null, lastMessageAgoMs: null, latestEndLsn: null };
const upBefore = { upAt: NOW - 60_000, document: replicaDocument() };

const cases: readonly [string, ReplicationState, RegExp, Case][] = [
  ['connected and close', 'streaming', /^It streams from 10\.0\.0\.1:5432, nothing behind\.$/, {}],
  [
    'idle, with the last message half a minute old',
    'streaming',
    /nothing behind/,
    { tracks: idle(), newest: replicaDocument({ lastMessageAgoMs: 31_000 }) },
  ],
  ['a few bytes behind', 'streaming', /512 KiB behind/, { tracks: written((second) => second - 0.5) }],
  ['by a socket', 'streaming', /from \/run\/postgresql,/, { newest: replicaDocument({ senderHost: '/run/postgresql', senderPort: 5432 }) }],
  [
    'received late, moving',
    'catching_up',
    /^It is 5\d(\.\d)? s behind at least, streaming from 10\.0\.0\.1:5432: 60 MiB to be received\. At the present rates it never catches up\.$/,
    { tracks: written((second) => Math.max(0, second - 60)) },
  ],
  [
    'replayed late, moving',
    'catching_up',
    /60 MiB to be replayed/,
    {
      tracks: written(
        (second) => second,
        (second) => Math.max(0, second - 60),
      ),
    },
  ],
  ['its upstream says that it catches up', 'catching_up', /sends what is missing/, { rows: [row({ state: 'catchup' })] }],
  [
    'received and not replayed',
    'stalled',
    /nothing was replayed since 12:05:00 UTC, though 100 MiB are received and not replayed/,
    {
      tracks: written(
        (second) => second,
        (second) => Math.min(second, 300),
      ),
    },
  ],
  [
    'connected, and nothing comes',
    'stalled',
    /100 MiB have not come from 10\.0\.0\.1:5432/,
    { tracks: written((second) => Math.min(second, 300)) },
  ],
  [
    'flat for an hour, and something written just now',
    'streaming',
    /behind/,
    {
      tracks: written(
        () => 5,
        () => 5,
        (second) => (second < 398 ? 5 : 6),
      ),
    },
  ],
  [
    'paused',
    'paused',
    /^Replay is paused \(pg_wal_replay_pause\), and nothing was replayed since 12:05:00 UTC; 100 MiB received wait to be replayed; it is 1 min 3\d s behind at least\.$/,
    {
      tracks: written(
        (second) => second,
        (second) => Math.min(second, 300),
      ),
      newest: replicaDocument({ pauseState: 'paused' }),
    },
  ],
  ['a pause that is asked for is none yet', 'streaming', /streams/, { newest: replicaDocument({ pauseState: 'pause requested' }) }],
  [
    'paused, seen without pg_monitor',
    'paused',
    /paused/,
    { newest: replicaDocument({ ...noReceiver, pauseState: 'paused' }, { insufficientPrivilege: true }) },
  ],
  [
    'delayed, within its delay',
    'delayed',
    /^It replays 5 min after the primary's commits, as recovery_min_apply_delay says\.$/,
    {
      tracks: written(
        (second) => second,
        (second) => Math.max(0, second - 300),
      ),
      seen: { settings: settings(['recovery_min_apply_delay=300000 ms']) },
    },
  ],
  [
    'delayed, and late beyond that',
    'catching_up',
    /behind at least/,
    {
      tracks: written(
        (second) => second,
        (second) => Math.max(0, second - 300),
      ),
      seen: { settings: settings(['recovery_min_apply_delay=60000 ms']) },
    },
  ],
  [
    'delayed, and nothing is written',
    'streaming',
    /nothing behind/,
    { tracks: idle(), seen: { settings: settings(['recovery_min_apply_delay=300000 ms']) } },
  ],
  [
    'no receiver',
    'disconnected',
    /^No receiver runs: it should stream from 10\.0\.0\.9:5433\.$/,
    { newest: replicaDocument(noReceiver), seen: { settings: settings([], { host: '10.0.0.9', port: '5433' }) } },
  ],
  [
    'no receiver, primary idle, positions equal',
    'disconnected',
    /No receiver runs/,
    { tracks: idle(), newest: replicaDocument(noReceiver), seen: { settings: settings([]) } },
  ],
  [
    'no receiver, settings not known',
    'disconnected',
    /should stream from 10\.0\.0\.1:5432/,
    { tracks: idle(), newest: replicaDocument({ ...noReceiver, receiveLsn: '1/5' }) },
  ],
  [
    'no receiver and paused',
    'disconnected',
    /No receiver runs.*Replay is paused, too\.$/,
    { tracks: idle(), newest: replicaDocument({ ...noReceiver, pauseState: 'paused' }), seen: { settings: settings([]) } },
  ],
  [
    'a receiver that waits',
    'disconnected',
    /^Its receiver is "waiting", not streaming, from 10\.0\.0\.1:5432\.$/,
    { newest: replicaDocument({ status: 'waiting', senderHost: null }) },
  ],
  ['a receiver that cannot connect', 'disconnected', /"starting"/, { newest: replicaDocument({ status: 'starting' }) }],
  [
    'a receiver that is stopped',
    'disconnected',
    /no message from 10\.0\.0\.1:5432 since 12:05:35 UTC \(1 min 5 s; wal_receiver_timeout is 1 min\)/,
    { tracks: idle(), newest: replicaDocument({ lastMessageAgoMs: 65_000 }) },
  ],
  [
    'the timeout is longer there',
    'streaming',
    /streams/,
    {
      tracks: idle(),
      newest: replicaDocument({ lastMessageAgoMs: 65_000 }),
      seen: { settings: settings(['wal_receiver_timeout=300000 ms']) },
    },
  ],
  [
    'the timeout is off',
    'streaming',
    /streams/,
    { tracks: idle(), newest: replicaDocument({ lastMessageAgoMs: 900_000 }), seen: { settings: settings(['wal_receiver_timeout=0 ms']) } },
  ],
  [
    'fed from an archive alone',
    'archive_recovery',
    /^It has no primary_conninfo and replays what its archive gives it\.$/,
    {
      tracks: written((second) => Math.floor(second / 16) * 16),
      newest: replicaDocument(noReceiver),
      seen: { settings: settings([], null) },
    },
  ],
  [
    'fed from an archive that is dry',
    'archive_recovery',
    /nothing new has come since 12:03:20 UTC/,
    { tracks: written((second) => Math.min(second, 200)), newest: replicaDocument(noReceiver), seen: { settings: settings([], null) } },
  ],
  [
    'it should stream, and replays from its archive meanwhile',
    'archive_recovery',
    /no receiver runs, though it should stream from 10\.0\.0\.1:5432/,
    {
      tracks: written((second) => Math.floor(second / 16) * 16),
      newest: replicaDocument({ ...noReceiver, receiveLsn: lsnText(100), replayLsn: lsnText(384) }),
      seen: { settings: settings(['restore_command=cp %f']) },
    },
  ],
  [
    'it should stream, and its archive has no more',
    'disconnected',
    /No receiver runs/,
    {
      tracks: written((second) => Math.min(second, 200)),
      newest: replicaDocument({ ...noReceiver, receiveLsn: lsnText(100), replayLsn: lsnText(200) }),
      seen: { settings: settings(['restore_command=cp %f']) },
    },
  ],
  [
    'cut a moment ago, with an archive',
    'disconnected',
    /No receiver runs/,
    {
      newest: replicaDocument({ ...noReceiver, receiveLsn: lsnText(400), replayLsn: lsnText(400) }),
      seen: { settings: settings(['restore_command=cp %f']) },
    },
  ],
  [
    'parted',
    'diverged',
    /^It has 3 MiB beyond the fork\.$/,
    { member: { diverged: { forkLsn: lsn(3), why: 'It has 3 MiB beyond the fork' } } },
  ],
  [
    'without pg_monitor',
    'insufficient_privilege',
    /it lacks pg_monitor/,
    { newest: replicaDocument({ status: null }, { insufficientPrivilege: true, missingRights: ['pg_monitor'] }) },
  ],
  [
    'nothing may be seen',
    'insufficient_privilege',
    /GRANT pg_monitor TO it/,
    {
      newest: replicaDocument(null, {
        reason: 'privilege',
        detail: 'Role "t" may not see it: GRANT pg_monitor TO it.',
        insufficientPrivilege: true,
      }),
    },
  ],
  [
    'down',
    'down',
    /^No PostgreSQL listens on b:5432 \(ECONNREFUSED\)\. It was last seen up at 12:05:40 UTC\.$/,
    { newest: down('refused', 'No PostgreSQL listens on b:5432 (ECONNREFUSED).'), seen: upBefore, rows: [] },
  ],
  [
    'down since long',
    'down',
    /last seen up at 2026-11-19 12:06:40 UTC/,
    { newest: down('refused', 'No PostgreSQL listens on b:5432.'), seen: { ...upBefore, upAt: NOW - 2 * 86_400_000 }, rows: [] },
  ],
  [
    'starting',
    'starting',
    /takes no connections yet/,
    { newest: down('starting', 'b:5432 is starting or recovering and takes no connections yet (57P03).'), rows: [] },
  ],
  [
    'its password is refused',
    'unknown',
    /The server answers/,
    { newest: down('authentication', 'b:5432 does not take the password of role "t".'), rows: [] },
  ],
  [
    'its agent cannot reach it, its upstream does',
    'unknown',
    /cannot reach it, but a sees it streaming/,
    { newest: down('timeout', 'b:5432 did not answer in time.') },
  ],
  [
    'silent',
    'unknown',
    /^Its agent on b has not been heard since 12:03:20 UTC\. a still sees it streaming\.$/,
    { seen: { silent: true, reportedAt: NOW - 200_000 } },
  ],
  [
    'silent and not seen by anybody',
    'unknown',
    /since 12:03:20 UTC\.$/,
    { seen: { silent: true, reportedAt: NOW - 200_000 }, rows: [], member: { seenBy: undefined } },
  ],
];

describe('a replica', () => {
  test.each(cases)('%s: %s', (_, state, why, given) => {
    const figures = look(given);
    expect(figures.why).toMatch(why);
    expect(figures.state).toBe(state);
  });
});

test('WAL that it needs has been removed: said, once it is certain', () => {
  const of = (directoryBytes: string): MemberFigures => {
    const wal = { directoryBytes, segments: null, segmentBytes: null, diskFreeBytes: null, diskTotalBytes: null };
    const seen = sighting('b', replicaDocument(noReceiver), NOW, { settings: settings([]) });
    const members = [primary('a', NOW, primaryDocument({ wal })), replica('b', 'a', 'a', seen)];
    return figuresOf(
      cluster(members),
      written((second) => Math.min(second, 100)),
      NOW,
    ).members.get('b')!;
  };
  expect(of(String(100 * 1024 ** 2)).why).toMatch(/has been removed there \(it lacks 300 MiB, 100 MiB are kept\)/);
  // Kept when it was looked up it may be gone by now, and may not.
  expect(of(String(250 * 1024 ** 2)).why).not.toContain('removed');
});

describe('a primary', () => {
  const of = (document: Sighting['newest'], member: Partial<Member> = {}): MemberFigures =>
    figuresOf(cluster([{ ...primary('a', NOW, document), ...member }]), following(), NOW).members.get('a')!;

  test('runs', () => {
    expect(of(primaryDocument({ replicas: [row()] }))).toMatchObject({
      state: 'running',
      why: 'It takes writes on timeline 1; 1 replica streams from it.',
      lag: undefined,
      catchup: 'caught_up',
      catchupMs: undefined,
    });
    expect(of(primaryDocument()).walBytesPerSecond).toBeCloseTo(1024 * 1024, -3);
  });
  test('is down', () => expect(of(down('refused', 'Nobody listens'))).toMatchObject({ state: 'down', why: 'Nobody listens.' }));
  test('without pg_monitor', () => expect(of(primaryDocument({ insufficientPrivilege: true })).state).toBe('insufficient_privilege'));
});

describe('one that nobody watches', () => {
  const of = (rows: readonly ReturnType<typeof row>[]): MemberFigures => {
    const members = [primary('a', NOW, primaryDocument({ replicas: [...rows] })), replica('x', 'a', 'a', undefined, { seenBy })];
    return figuresOf(cluster(members), following(), NOW).members.get('x')!;
  };
  test.each([
    ['streaming', 'streaming', 'No agent watches it; a sees it streaming, how far behind nobody knows yet.'],
    ['catchup', 'catching_up', 'No agent watches it; a says "catchup".'],
    ['backup', 'unknown', 'No agent watches it; a says "backup".'],
  ])('%s', (state, expected, why) => expect(of([row({ state })])).toMatchObject({ state: expected, why }));
  test('and nobody may see', () => expect(of([row({ state: null })]).state).toBe('insufficient_privilege'));
  test('and that is gone', () =>
    expect(of([])).toMatchObject({ state: 'unknown', why: 'No agent watches it, and a does not see it now.' }));
  test('with the positions of its row', () =>
    expect(of([row({ flushLsn: lsnText(390), replayLsn: lsnText(380) })])).toMatchObject({
      transportBytes: 10 * 1024 ** 2,
      replayBytes: 10 * 1024 ** 2,
    }));
});

describe('a subscriber', () => {
  const of = (subscription: { enabled: boolean; workerPid: number | null }): MemberFigures => {
    const document = primaryDocument({
      subscriptions: [
        {
          name: 'orders',
          database: 'shop',
          slotName: 'orders',
          receivedLsn: null,
          latestEndLsn: null,
          lastMessageAgoMs: 100,
          tablesNotReady: 0,
          publisherHost: null,
          publisherPort: null,
          applyErrors: 0,
          syncErrors: 0,
          ...subscription,
        },
      ],
    });
    const publisher = primary(
      'a',
      NOW,
      primaryDocument({
        slots: [
          {
            name: 'orders',
            type: 'logical',
            active: true,
            restartLsn: lsnText(290),
            confirmedFlushLsn: lsnText(300),
            walStatus: 'reserved',
          },
        ],
      }),
    );
    const members = [
      { ...publisher, slotUsers: new Map([['orders', 's']]) },
      replica('s', 'a', 'a', sighting('s', document, NOW), { role: 'subscriber' }),
    ];
    return figuresOf(cluster(members), following(), NOW).members.get('s')!;
  };
  test('is behind by what its slot has not confirmed', () => {
    const figures = of({ enabled: true, workerPid: 1 });
    expect(figures.state).toBe('catching_up');
    expect(figures.lag!.lower).toBeGreaterThan(97_000);
    expect(figures.lag!.source).toBe('primary');
  });
  test('without a worker', () => expect(of({ enabled: true, workerPid: null })).toMatchObject({ state: 'disconnected' }));
  test('that is disabled', () =>
    expect(of({ enabled: false, workerPid: null })).toMatchObject({ state: 'paused', why: 'Its subscription "orders" is disabled.' }));
});
