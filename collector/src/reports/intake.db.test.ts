/** Intake, writer and store on a real database: stored once, acknowledged when committed, refused with a reason, and nothing lost when the database goes away. */
import { randomUUID } from 'node:crypto';
import { layoutHash, type Layout, type Report, type ReportRequest } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Partitions } from '../db/partitions.ts';
import type { Database } from '../db/pool.ts';
import { createTestDatabase } from '../db/testing.ts';
import type { NodeRecord } from '../fleet/node.ts';
import { ReportStream, type AcceptedReport } from '../stream/stream.ts';
import { ReportIntake, type IntakeOptions } from './intake.ts';
import { ReportWriter } from './writer.ts';

const log = pino({ level: 'silent' });
const NOW = Date.UTC(2026, 5, 1, 12);

function block(probe: string, count: number, label = 'a'): Layout {
  const layout = {
    probe,
    instance: '',
    series: Array.from({ length: count }, (_, i) => ({
      name: `m_${probe}_${i}`,
      labels: [['l', label]] as [string, string][],
      unit: 'bytes',
      type: 'gauge' as const,
      help: 'h',
    })),
  };
  return { hash: layoutHash(layout), ...layout };
}

const A = block('a', 3);
const B = block('b', 2);

interface World {
  database: Database;
  clock: ManualClock;
  intake: ReportIntake;
  writer: ReportWriter;
  published: AcceptedReport[];
  node: NodeRecord;
}

let world: World;

async function makeWorld(database: Database, more: Pick<IntakeOptions, 'movedTo'> = {}): Promise<World> {
  const clock = new ManualClock(NOW);
  const partitions = new Partitions(
    database,
    [
      { name: 'reports', keepDays: 30 },
      { name: 'observations', keepDays: 7 },
      { name: 'tracks', keepDays: 2 },
    ],
    clock,
    log,
  );
  const published: AcceptedReport[] = [];
  const stream = new ReportStream();
  stream.subscribe({ name: 'test', accept: (accepted) => void published.push(accepted) });
  const writer = new ReportWriter({
    database,
    partitions,
    clock,
    log,
    metrics: { batchCommitted() {} },
    onStoreChanged: () => intake.forgetStore(),
    gatherMs: 5,
  });
  const intake = new ReportIntake({ database, stream, writer, clock, log, metrics: { reports() {}, samples() {} }, onHeard() {}, ...more });
  const [row] = await database.query<{ id: number }>(
    'INSERT INTO nodes (name, created_at, state_changed_at) VALUES ($1, now(), now()) RETURNING id',
    [randomUUID()],
  );
  const node: NodeRecord = {
    id: row!.id,
    name: 'n',
    state: 'approved',
    site: '',
    tags: {},
    createdAt: NOW,
    agentVersion: null,
    intervalSeconds: 15,
  };
  return { database, clock, intake, writer, published, node };
}

const BOOT = randomUUID();

function report(sequence: number, over: Partial<Report> = {}): Report {
  return {
    bootId: BOOT,
    sequence,
    takenAt: NOW - 100,
    monotonicMs: 1_000,
    blocks: [{ layout: A.hash, values: [1, null, 'NaN'] }],
    ...over,
  };
}

function request(reports: Report[], over: Partial<ReportRequest> = {}): ReportRequest {
  return {
    agent: { version: '1', intervalSeconds: 15 },
    bootId: BOOT,
    sentAt: NOW,
    sentMonotonicMs: 1_100,
    layouts: [A, B],
    reports,
    ...over,
  };
}

const rows = async (): Promise<{ sequence: number; at: Date; values: (number | null)[] }[]> =>
  world.database.query('SELECT sequence, at, values FROM reports WHERE node_id = $1 ORDER BY sequence', [world.node.id]);

beforeEach(async () => {
  world = await makeWorld((await createTestDatabase()).database);
});

afterEach(async () => {
  await world.writer.stop();
  await world.database.close();
});

test('agents are told where the collector has moved to, when it has', async () => {
  expect(await world.intake.take(world.node, request([]))).toMatchObject({ newAddress: null });
  const moved = await makeWorld(world.database, { movedTo: 'https://new.example/tidemark' });
  expect(await moved.intake.take(world.node, request([report(1)]))).toMatchObject({
    newAddress: 'https://new.example/tidemark',
    committed: [{ sequences: [1] }],
  });
});

describe('stored once', () => {
  test('a report sent again, alone and beside others, in one request and by a second collector', async () => {
    const first = await world.intake.take(world.node, request([report(1), report(1), report(2)]));
    expect(first.committed[0]!.sequences.sort()).toEqual([1, 1, 2]);
    await world.intake.take(world.node, request([report(2), report(3)]));
    const second = await makeWorld(world.database);
    const answer = await second.intake.take(world.node, request([report(1), report(2), report(3), report(4)]));
    expect(answer.committed[0]!.sequences.sort()).toEqual([1, 2, 3, 4]);
    expect((await rows()).map((r) => r.sequence)).toEqual([1, 2, 3, 4]);
    expect(world.published.map((r) => r.sequence)).toEqual([1, 2, 3]);
    expect(
      second.published.map((r) => r.sequence),
      'what the store has does not pass again',
    ).toEqual([4]);
  });

  test('two collectors storing the same report at the same moment', async () => {
    const second = await makeWorld(world.database);
    for (let sequence = 1; sequence <= 30; sequence++) {
      await Promise.all([
        world.intake.take(world.node, request([report(sequence)])),
        second.intake.take(world.node, request([report(sequence)])),
      ]);
    }
    expect((await rows()).map((r) => r.sequence)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
  });
});

test('values come back as they were: numbers, missing, NaN and infinities', async () => {
  await world.intake.take(
    world.node,
    request([
      report(1, {
        blocks: [
          { layout: A.hash, values: [1.5, null, 'NaN'] },
          { layout: B.hash, values: ['+Inf', '-Inf'] },
        ],
      }),
    ]),
  );
  expect((await rows())[0]!.values).toEqual([1.5, null, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  expect(world.published[0]!.blocks[1]!.values).toEqual([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
});

test('layouts that are not known are asked for, and known ever after', async () => {
  const unknown = await world.intake.take(world.node, request([report(1)], { layouts: [] }));
  expect(unknown).toMatchObject({ committed: [], layoutsMissing: [A.hash] });
  expect(world.published).toEqual([]);
  await world.intake.take(world.node, request([report(1)]));
  const restarted = await makeWorld(world.database);
  const later = await restarted.intake.take(world.node, request([report(2)], { layouts: [] }));
  expect(later.committed).toEqual([{ bootId: BOOT, sequences: [2] }]);
  expect(restarted.published[0]!.blocks[0]!.layout.series.map((s) => s.metric)).toEqual(['m_a_0', 'm_a_1', 'm_a_2']);
});

test('a series keeps its id when the blocks around it change', async () => {
  const wider = { ...A, series: [...A.series, { ...B.series[0]! }] };
  const widened = { ...wider, hash: layoutHash(wider) };
  await world.intake.take(world.node, request([report(1)]));
  await world.intake.take(
    world.node,
    request([report(2, { blocks: [{ layout: widened.hash, values: [1, 2, 3, 4] }] })], { layouts: [widened] }),
  );
  const layouts = await world.database.query<{ series_ids: number[] }>('SELECT series_ids FROM layouts WHERE node_id = $1 ORDER BY id', [
    world.node.id,
  ]);
  expect(layouts[1]!.series_ids.slice(0, 3)).toEqual(layouts[0]!.series_ids);
});

describe('refused, each with its reason, and the rest stored', () => {
  test.each([
    ['layout_mismatch', { blocks: [{ layout: A.hash, values: [1] }] }],
    ['value_invalid', { blocks: [{ layout: A.hash, values: [1, 'nan', 2] }] }],
    ['value_invalid', { blocks: [{ layout: A.hash, values: [1, { $gt: 0 }, 2] }] }],
    ['time_absurd', { bootId: '00000000-0000-4000-8000-000000000000', takenAt: 0 }],
    ['time_absurd', { bootId: '00000000-0000-4000-8000-000000000000', takenAt: NOW + 10 * 365 * 86_400_000 }],
    ['observation_too_large', { observations: [{ kind: 'k', version: 1, instance: '', document: 'x'.repeat(300_000) }] }],
  ] as const)('%s', async (code, over) => {
    const bad = report(1, over as unknown as Partial<Report>);
    const answer = await world.intake.take(world.node, request([bad, report(2)]));
    expect(answer.refused).toMatchObject([{ sequence: 1, code }]);
    expect(answer.committed).toEqual([{ bootId: BOOT, sequences: [2] }]);
    const partitions = await world.database.query<{ n: number }>(
      "SELECT count(*)::int AS n FROM pg_inherits WHERE inhparent = 'reports'::regclass",
    );
    expect(partitions[0]!.n, 'an absurd time makes no partition').toBe(1);
  });

  test('more series than one node may have', async () => {
    const huge = Array.from({ length: 3 }, (_, i) => block(`huge${i}`, 8_000));
    const answer = await world.intake.take(
      world.node,
      request([report(1, { blocks: huge.map((h) => ({ layout: h.hash, values: h.series.map(() => 1) })) })], { layouts: huge }),
    );
    expect(answer.refused).toMatchObject([{ code: 'series_limit' }]);
  });
});

test('ten thousand series of one node are stored', async () => {
  const huge = block('huge', 10_000, 'line\n"quoted" \\ 🌊 </script>');
  const answer = await world.intake.take(
    world.node,
    request([report(1, { blocks: [{ layout: huge.hash, values: huge.series.map((_, i) => i) }] })], { layouts: [huge] }),
  );
  expect(answer.committed).toEqual([{ bootId: BOOT, sequences: [1] }]);
  expect((await rows())[0]!.values).toHaveLength(10_000);
});

test('a wrong clock is corrected in the store, and its reports are live', async () => {
  const hour = 3_600_000;
  await world.intake.take(world.node, request([report(1, { takenAt: NOW - hour - 100 })], { sentAt: NOW - hour }));
  expect((await rows())[0]!.at.getTime()).toBe(NOW - 100);
  expect(world.published[0]).toMatchObject({ live: true, at: NOW - 100 });
});

test('a day that has no partition yet gets one, within the bounds', async () => {
  await world.intake.take(
    world.node,
    request([report(1, { takenAt: NOW - 3 * 86_400_000, bootId: '00000000-0000-4000-8000-000000000000' })]),
  );
  expect((await rows())[0]!.at.getTime()).toBe(NOW - 3 * 86_400_000);
  expect(world.published[0]!.live).toBe(false);
});

describe('observations', () => {
  const seen = (document: unknown, sequence: number, takenAt = NOW + sequence): Report =>
    report(sequence, {
      takenAt,
      monotonicMs: 1_000 + sequence,
      observations: [{ kind: 'postgres.settings', version: 1, instance: 'db:5432', document }],
    });
  const history = async (): Promise<unknown[]> =>
    (await world.database.query<{ document: unknown }>('SELECT document FROM observations ORDER BY at')).map((r) => r.document);

  test('are stored when they changed', async () => {
    for (const [i, document] of [{ a: 1 }, { a: 1 }, { a: 2 }, { a: 2 }, { a: 1 }].entries()) {
      world.clock.advance(1_000);
      await world.intake.take(world.node, request([seen(document, i + 1)], { sentAt: NOW + i + 2 }));
    }
    expect(await history()).toEqual([{ a: 1 }, { a: 2 }, { a: 1 }]);
    expect(await world.database.query('SELECT document FROM observations_latest')).toEqual([{ document: { a: 1 } }]);
  });

  test('a late one goes into the history and not over the newest', async () => {
    await world.intake.take(world.node, request([seen({ a: 'new' }, 2)], { sentAt: NOW + 2 }));
    await world.intake.take(world.node, request([seen({ a: 'old' }, 1, NOW - 60_000)], { sentAt: NOW + 2 }));
    expect(await history()).toEqual([{ a: 'old' }, { a: 'new' }]);
    expect(await world.database.query('SELECT document FROM observations_latest')).toEqual([{ document: { a: 'new' } }]);
  });

  test('with characters that PostgreSQL cannot store', async () => {
    await world.intake.take(world.node, request([seen({ text: 'nul \u0000, half \ud83c, whole 🌊', path: 'C:\\u0000' }, 1)]));
    expect(await history()).toEqual([{ text: 'nul \uFFFD, half \uFFFD, whole 🌊', path: 'C:\\u0000' }]);
  });
});

test("a label value with NUL spoils no other node's report", async () => {
  const odd = block('odd', 1, 'a\u0000b');
  const other = await makeWorld(world.database);
  const [mine, theirs] = await Promise.all([
    world.intake.take(world.node, request([report(1, { blocks: [{ layout: odd.hash, values: [1] }] })], { layouts: [odd] })),
    world.intake.take(other.node, request([report(1, { bootId: randomUUID() })])),
  ]);
  expect(mine.committed).toHaveLength(1);
  expect(theirs.committed).toHaveLength(1);
});

test('while the database is away reports are judged and kept by the agent; when it is back they are stored once', async () => {
  await world.database.close();
  const { database, stopServer, startServer } = await createTestDatabase();
  world = await makeWorld(database);
  await world.intake.take(world.node, request([report(1)]));
  await stopServer();
  const away = await world.intake.take(world.node, request([report(2)]));
  expect(away).toMatchObject({ committed: [], notStored: { code: 'database_away' } });
  const again = await world.intake.take(world.node, request([report(2)]));
  expect(again.notStored?.code).toBe('database_away');
  expect(
    world.published.map((r) => r.sequence),
    'judged once',
  ).toEqual([1, 2]);
  const back = new Promise<void>((resolve) => world.database.onStateChange(({ up }) => up && resolve()));
  await startServer();
  await back;
  const stored = await world.intake.take(world.node, request([report(1), report(2)]));
  expect(stored.committed[0]!.sequences.sort()).toEqual([1, 2]);
  expect((await rows()).map((r) => r.sequence)).toEqual([1, 2]);
});

test('a database that lost what was registered in it acknowledges nothing it does not have', async () => {
  await world.intake.take(world.node, request([report(1)]));
  await world.database.query('TRUNCATE boots, layouts, layout_sets, series CASCADE');
  const refused = await world.intake.take(world.node, request([report(2)]));
  expect(refused).toMatchObject({ committed: [], notStored: { code: 'database_away' } });
  const answer = await world.intake.take(world.node, request([report(2)]));
  expect(answer.committed).toEqual([{ bootId: BOOT, sequences: [2] }]);
});
