/** A collector that is started again: what a real writer stored comes back, nothing is said twice, and nobody has to wait for it. */
import { formatLsn, type PostgresTrack } from '@tidemark/protocol';
import { ManualClock, type Clock } from '@tidemark/service';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { Partitions } from '../db/partitions.ts';
import type { Database } from '../db/pool.ts';
import { createTestDatabase } from '../db/testing.ts';
import type { NodeRecord } from '../fleet/node.ts';
import type { Liveness } from '../live/live-view.ts';
import { ReportIntake } from '../reports/intake.ts';
import { ReportWriter } from '../reports/writer.ts';
import { ReportStream } from '../stream/stream.ts';
import { ReplicationEvents } from './event-store.ts';
import { restoreHistory, restoreReplication } from './restore.ts';
import { SYSTEM_IDENTIFIER, World, type Server } from './topology-testing.ts';
import { Tracks } from './tracks.ts';
import { trackOf, valueOf } from './view-testing.ts';
import { ReplicationView } from './view.ts';

const log = pino({ level: 'silent' });
const NOW = Date.now();
const BOOT = '00000000-0000-4000-8000-00000000000';

/** Everything of a collector that keeps something of replication, on a database. */
class Collector {
  readonly tracks = new Tracks();
  readonly view: ReplicationView;
  readonly events: ReplicationEvents;
  readonly intake: ReportIntake;
  readonly told: string[] = [];
  readonly #heard = new Set<number>();
  readonly blocks = new Map<string, ReturnType<ReplicationView['accept']>>();
  readonly #writer: ReportWriter;
  readonly #database: Database;
  readonly #clock: ManualClock;
  readonly #nodeOf: (id: number) => NodeRecord | undefined;

  constructor(database: Database, nodeOf: (id: number) => NodeRecord | undefined, clock: ManualClock) {
    this.#database = database;
    this.#clock = clock;
    this.#nodeOf = nodeOf;
    this.events = new ReplicationEvents({ database, clock, log, random: () => 0.5, saveEveryMs: 3_600_000 });
    this.events.onRecorded(({ kind }, how) => how === 'new' && this.told.push(kind));
    this.view = new ReplicationView({
      clock,
      tracks: this.tracks,
      keeper: this.events,
      fleet: { byId: nodeOf },
      liveness: ({ id }): Liveness => (this.#heard.has(id) ? 'up' : 'unknown'),
    });
    const tables = (['reports', 'observations', 'tracks'] as const).map((name) => ({ name, keepDays: 30 }));
    this.#writer = new ReportWriter({
      database,
      partitions: new Partitions(database, tables, clock, log),
      clock,
      log,
      metrics: { batchCommitted: () => {} },
      onStoreChanged: () => this.intake.forgetStore(),
      gatherMs: 0,
    });
    this.intake = new ReportIntake({
      database,
      stream: new ReportStream(),
      writer: this.#writer,
      clock,
      log,
      metrics: { reports: () => {}, samples: () => {} },
      onHeard: ({ id }) => this.#heard.add(id),
      derive: (report) => {
        const blocks = this.view.accept(report);
        this.blocks.set(report.node.name, blocks);
        return blocks;
      },
    });
  }

  async start(): Promise<number> {
    await this.events.start();
    await restoreReplication(this.view, this.#database, this.#nodeOf);
    return await restoreHistory(this.tracks, this.#database, this.#clock, () => false);
  }

  async stop(): Promise<void> {
    await this.#writer.stop();
    await this.events.stop();
  }
}

class Place {
  readonly world = new World();
  readonly clock: ManualClock;
  readonly nodes = new Map<string, NodeRecord>();
  readonly database: Database;
  collector: Collector;
  #sequence = 0;

  constructor(database: Database, clock: ManualClock) {
    this.database = database;
    this.clock = clock;
    this.collector = this.#collector();
    this.world.now = clock.wallMs();
  }

  #collector(): Collector {
    return new Collector(this.database, (id) => [...this.nodes.values()].find((node) => node.id === id), this.clock);
  }

  async add(server: Server): Promise<void> {
    const { name } = server;
    await this.database.query(
      'INSERT INTO nodes (id, name, created_at, state_changed_at) OVERRIDING SYSTEM VALUE VALUES ($1, $2, now(), now())',
      [server.node.id, name],
    );
    this.nodes.set(name, {
      id: server.node.id,
      name,
      state: 'approved',
      site: '',
      tags: {},
      createdAt: NOW,
      agentVersion: '1',
      intervalSeconds: 10,
    });
  }

  /** Each agent reports once. */
  async round(ms = 10_000, spanMs = ms): Promise<void> {
    this.world.pass(ms);
    this.clock.advance(ms);
    for (const server of this.world.servers.values()) if (server.agent) await this.report(server, spanMs);
  }

  async report(server: Server, spanMs: number): Promise<void> {
    const at = this.clock.wallMs();
    const sequence = ++this.#sequence;
    const observe = (kind: string, document: unknown) => ({
      kind,
      version: 1,
      instance: 'main',
      document: JSON.parse(JSON.stringify(document)) as unknown,
    });
    const answer = await this.collector.intake.take(this.nodes.get(server.name)!, {
      agent: { version: '1', intervalSeconds: 10 },
      bootId: `${BOOT}${server.node.id}`,
      sentAt: at,
      sentMonotonicMs: at - NOW + 10_000_000,
      reports: [
        {
          bootId: `${BOOT}${server.node.id}`,
          sequence,
          takenAt: at,
          monotonicMs: at - NOW + 10_000_000,
          blocks: [],
          observations: [
            observe('postgres.replication', this.world.document(server)),
            ...(server.running ? [observe('postgres.track', trackOf(server, spanMs))] : []),
          ],
        },
      ],
    });
    if (!answer.committed.some(({ sequences }) => sequences.includes(sequence))) throw new Error('The report was not committed.');
  }

  async restart(awayMs = 5_000): Promise<number> {
    await this.collector.stop();
    this.world.pass(awayMs);
    this.clock.advance(awayMs);
    this.collector = this.#collector();
    return await this.collector.start();
  }

  get cluster() {
    return this.collector.view.find(SYSTEM_IDENTIFIER)[0]!;
  }
}

/** A primary and two standbys, known for two minutes. */
async function place(): Promise<{ it: Place; a: Server; b: Server; c: Server }> {
  const clock = new ManualClock(NOW);
  const { database } = await createTestDatabase(clock);
  const it = new Place(database, clock);
  const a = it.world.add('a');
  const b = it.world.standby('b', a);
  const c = it.world.standby('c', a);
  for (const server of [a, b, c]) await it.add(server);
  await it.collector.start();
  for (let i = 0; i < 12; i++) {
    it.world.write(a);
    await it.round();
  }
  return { it, a, b, c };
}

test('right after a restart the lag of a replica that stands still goes on, and is not unknown', async () => {
  const { it, a, b } = await place();
  const isPaused = b.lsn;
  for (let i = 0; i < 6; i++) {
    it.world.write(a);
    b.lsn = isPaused;
    await it.round();
  }
  const before = it.cluster.instances.find(({ name }) => name === 'b')!.lag!;
  expect(before.lowerSeconds).toBeGreaterThan(40);
  expect(await it.restart()).toBeGreaterThan(0);
  it.collector.view.tick();
  it.world.pass(5_000);
  it.clock.advance(5_000);
  // The replica is the first that reports.
  b.lsn = isPaused;
  await it.report(b, 10_000);
  const after = it.cluster.instances.find(({ name }) => name === 'b')!.lag!;
  expect(after.lowerSeconds).toBeGreaterThan(before.lowerSeconds - 3);
  expect(after.upperSeconds).not.toBeNull();
  await it.report(a, 10_000);
  b.lsn = isPaused;
  await it.round();
  expect(valueOf(it.collector.blocks.get('b'), 'tidemark_replication_lag_seconds_lower')).toBeGreaterThan(before.lowerSeconds + 10);
  expect(it.collector.told).toEqual([]);
});

test('an open split brain is the same one after a restart, and nobody forgets who followed whom', async () => {
  const { it, c } = await place();
  it.world.promote(c);
  for (let i = 0; i < 6; i++) await it.round();
  expect(it.cluster.splitBrain).toBe(true);
  expect(it.collector.told.filter((kind) => kind === 'split_brain')).toHaveLength(1);
  const { events } = it.cluster;
  await it.restart(30_000);
  for (let i = 0; i < 6; i++) {
    await it.round();
    expect(valueOf(it.collector.blocks.get('c'), 'tidemark_replication_split_brain')).toBe(1);
    expect(valueOf(it.collector.blocks.get('a'), 'tidemark_replication_split_brain')).toBe(0);
  }
  expect(it.collector.told).toEqual([]);
  expect(it.cluster.events.map(({ id, at }) => [id, at])).toEqual(events.map(({ id, at }) => [id, at]));
  expect(it.cluster.instances.find(({ name }) => name === 'b')!.upstream).toBe('a');
});

test('a server that was down all the time is what it was when it was up, however many times its agent has said since that it is down', async () => {
  const { it, b } = await place();
  it.world.stop(b);
  for (let i = 0; i < 5; i++) await it.round();
  await it.restart();
  it.collector.view.tick();
  expect(it.cluster.instances.find(({ name }) => name === 'b')).toMatchObject({ role: 'replica', state: 'down', version: '18.1' });
  await it.round();
  const found = it.cluster.instances.find(({ name }) => name === 'b')!;
  expect(found).toMatchObject({ role: 'replica', state: 'down', version: '18.1' });
  expect(it.collector.told).toEqual([]);
});

test('the questions at a start are answered by indexes', async () => {
  const { it } = await place();
  const asked: { text: string; values: unknown[] }[] = [];
  const listening = {
    query: async (text: string, values: unknown[]) => {
      if (asked.every((one) => one.text !== text)) asked.push({ text, values });
      return await it.database.query(text, values);
    },
  } as unknown as Database;
  await restoreReplication(it.collector.view, listening, (id) => [...it.nodes.values()].find((node) => node.id === id));
  await restoreHistory(new Tracks(), listening, it.clock, () => false);
  const plans = new Map<string, string>();
  await it.database.transaction(async (client) => {
    // The tables of a test are too small for an index to pay.
    await client.query('SET LOCAL enable_seqscan = off');
    await client.query('SET LOCAL enable_bitmapscan = off');
    await client.query('SET LOCAL enable_sort = off');
    for (const { text, values } of asked)
      plans.set(
        text,
        (await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${text}`, values)).rows.map((row) => row['QUERY PLAN']).join('\n'),
      );
  });
  const planOf = (table: RegExp): string => [...plans].find(([text]) => table.test(text))![1];
  const history = planOf(/FROM tracks/);
  expect(history).toMatch(/Index Scan (Backward )?using tracks_\d+_at_idx/);
  expect(history).not.toMatch(/Seq Scan|Sort/);
  const lastUp = planOf(/LATERAL/);
  expect(lastUp).toMatch(/Index Scan Backward using observations_\d+_node_id_kind_at_idx/);
  expect(lastUp).not.toMatch(/Seq Scan on observations_2/);
});

test('a day of history comes back in the background and keeps nobody waiting', { timeout: 60_000 }, async () => {
  const { it } = await place();
  const NODES = 20;
  const STEP_MS = 15_000;
  for (let node = 1; node <= NODES; node++) {
    const name = `n${node}`;
    await it.database.query(
      'INSERT INTO nodes (id, name, created_at, state_changed_at) OVERRIDING SYSTEM VALUE VALUES ($1, $2, now(), now())',
      [100 + node, name],
    );
    // Two hours, a minute of which is missing; every node at moments of its own.
    const ats = Array.from({ length: 480 }, (_, i) => it.clock.wallMs() - 7_200_000 + i * STEP_MS + node).filter(
      (_, i) => i < 100 || i > 104,
    );
    await it.database.query(
      "INSERT INTO tracks SELECT $1, to_timestamp(a / 1000), 'main', d::jsonb FROM unnest($2::float8[], $3::text[]) t (a, d)",
      [100 + node, ats, ats.map((at) => JSON.stringify(historyAt(at, node % 3 === 0)))],
    );
  }
  const tracks = new Tracks();
  // By a clock on which each row takes a millisecond: whoever else wants the process gets it every few rows.
  let rowsTaken = 0;
  let sinceTurn = 0;
  let most = 0;
  const counting = {
    acceptStored: (...row: Parameters<Tracks['acceptStored']>) => {
      rowsTaken++;
      most = Math.max(most, ++sinceTurn);
      tracks.acceptStored(...row);
    },
  } as unknown as Tracks;
  let isOver = false;
  const turn = (): void => {
    sinceTurn = 0;
    if (!isOver) setImmediate(turn);
  };
  turn();
  const clock: Clock = { wallMs: () => it.clock.wallMs(), monotonicMs: () => rowsTaken };
  const rows = await restoreHistory(counting, it.database, clock, () => false);
  isOver = true;
  expect(rows).toBeGreaterThanOrEqual(NODES * 475);
  for (let node = 1; node <= NODES; node++) {
    const { oldest, newest } = tracks.head(`${100 + node}/main`)!;
    expect(newest!.at - oldest!.at).toBeGreaterThan(7_100_000);
  }
  expect(most).toBeLessThan(25);
});

function historyAt(at: number, isPrimary: boolean): PostgresTrack {
  const samples = Array.from({ length: 8 }, (_, i): PostgresTrack['runs'][number]['samples'][number] => {
    const agoMs = (7 - i) * 2_000;
    const lsn = formatLsn(BigInt(Math.floor((at - agoMs) / 20) * 999));
    return [agoMs, lsn, isPrimary ? null : lsn, isPrimary ? null : lsn, isPrimary ? null : agoMs];
  });
  return { systemIdentifier: '7', errorMs: 3, runs: [{ role: isPrimary ? 'primary' : 'replica', timeline: 1, samples }] };
}
