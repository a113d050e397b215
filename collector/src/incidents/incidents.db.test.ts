/** The whole of it over a real PostgreSQL: what is recorded is in the journal, the book and the database, through restarts, absences and take-overs. */
import { randomUUID } from 'node:crypto';
import { ProblemError } from '@tidemark/protocol';
import { ManualClock, systemClock } from '@tidemark/service';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createTestDatabase } from '../db/testing.ts';
import { Database, type DatabaseState } from '../db/pool.ts';
import { IncidentBook, type BookState } from './book.ts';
import type { Happening } from './entry.ts';
import { FaultyFiles } from './faulty-files.ts';
import { deleteExpired } from './mirror-store.ts';
import { openIncidents, type Incidents, type IncidentsOptions } from './open.ts';
import { recordCall } from './story.ts';
import { openingOf } from './testing.ts';

const log = pino({ level: 'silent' });

async function open(database: Database, dataDir: string, clock: ManualClock, more: Partial<IncidentsOptions> = {}): Promise<Incidents> {
  const incidents = await openIncidents({ dataDir, database, clock, log, ...more });
  onTestFinished(() => incidents.stop());
  return incidents;
}

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-incidents-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Waits until the database has everything. */
async function mirrored(incidents: Incidents): Promise<void> {
  for (const end = Date.now() + 10_000; incidents.waiting() > 0;) {
    if (Date.now() > end) throw new Error(`${incidents.waiting()} entries are still not in the database: ${incidents.health().detail}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}

/** A state without order and without which run wrote it. */
const comparable = ({ incidents, silences, deliveries, goneChannels }: BookState) => ({
  incidents: incidents.toSorted((a, b) => (a.incidentId < b.incidentId ? -1 : 1)),
  silences: silences.toSorted((a, b) => (a.silenceId < b.silenceId ? -1 : 1)),
  deliveries: deliveries.toSorted((a, b) => (a.deliveryId < b.deliveryId ? -1 : 1)),
  goneChannels: goneChannels.toSorted((a, b) => (a.channel < b.channel ? -1 : 1)),
});

describe('a life', () => {
  test('opened, told, acknowledged, risen, closed, told: the same in book and database, and after a restart from either alone', async () => {
    const { database } = await createTestDatabase();
    const clock = new ManualClock();
    const dataDir = temporaryDirectory();
    const first = await open(database, dataDir, clock);
    const [a, b, d1, d2, s1] = Array.from({ length: 5 }, () => randomUUID());
    const at = clock.wallMs();
    await first.recorder.record([
      { kind: 'opened', at, opening: openingOf(a!, { labels: [['mountpoint', '/var']], annotations: { note: 'ä\0🦫' } }) },
      { kind: 'opened', at, opening: openingOf(b!, { nodeId: 2, suppressedBy: ['node_silent'], value: Number.NaN }) },
    ]);
    await first.recorder.record([
      {
        kind: 'attempted',
        at: at + 1,
        deliveryId: d1!,
        channel: 'ops',
        attempt: 1,
        thread: 't',
        items: [
          { incidentId: a!, status: 'firing', level: 'warning' },
          { incidentId: b!, status: 'firing', level: 'warning' },
        ],
      },
    ]);
    await first.recorder.record([
      { kind: 'answered', at: at + 2, deliveryId: d1!, channel: 'ops', attempt: 1, outcome: 'delivered', answer: '200', retryAt: null },
      { kind: 'acknowledged', at: at + 3, incidentId: a!, by: 'kim', note: 'mine' },
      {
        kind: 'silenced',
        at: at + 3,
        silence: { silenceId: s1!, matcher: { node: 'db*' }, reason: 'work', author: 'kim', endsAt: at + 9e6 },
      },
      { kind: 'level', at: at + 4, incidentId: a!, level: 'critical', value: 0.95, bound: { above: 0.9 }, why: 'worse' },
      { kind: 'closed', at: at + 5, incidentId: b!, reason: 'recovered', value: 0.1, why: 'over' },
      {
        kind: 'attempted',
        at: at + 6,
        deliveryId: d2!,
        channel: 'ops',
        attempt: 1,
        thread: 't',
        items: [{ incidentId: b!, status: 'resolved', level: 'warning' }],
      },
    ]);
    expect(first.recorder.book.incident(a!)).toMatchObject({ level: 'critical', levelMax: 'critical', acknowledged: null });
    await mirrored(first);
    const before = comparable(first.recorder.book.state());
    await first.stop();

    const stories = (await first.store.entriesOf(b!)).map(({ kind }) => kind);
    expect(stories).toEqual(['opened', 'attempted', 'answered', 'closed', 'attempted']);
    const fromDatabase = await open(database, temporaryDirectory(), clock);
    expect(comparable(fromDatabase.recorder.book.state())).toEqual(before);
    await fromDatabase.stop();
    const fromBoth = await open(database, dataDir, clock);
    expect(comparable(fromBoth.recorder.book.state())).toEqual(before);
    expect(fromBoth.recorder.epoch).toBe(3);
    await fromBoth.stop();

    const empty = await createTestDatabase();
    const fromJournal = await open(empty.database, dataDir, clock);
    expect(comparable(fromJournal.recorder.book.state()), 'another database, with nothing in it').toEqual(before);
    await mirrored(fromJournal);
    await fromJournal.stop();
    expect(fromJournal.recorder.epoch, 'it only grows').toBe(4);
    const again = await open(empty.database, temporaryDirectory(), clock);
    expect(comparable(again.recorder.book.state()), 'the database was made whole').toEqual(before);
  });
});

/** A database that can be taken away, and that can die with what is asked of it done or not done. */
class SwitchedDatabase extends Database {
  #isAway = false;
  #death: 'before' | 'after' | undefined;
  readonly #heard: ((state: DatabaseState) => void)[] = [];
  /** What was under way when it died: over when this is. */
  last: Promise<unknown> = Promise.resolve();

  constructor(real: Database) {
    super({ address: { url: 'postgresql://nobody@127.0.0.1:1/none' }, clock: systemClock, log });
    // One pool for all of them: a server takes a while to see that a connection is gone.
    Object.assign(this, { pool: real.pool, orm: real.orm });
  }

  override get state(): DatabaseState {
    return this.#isAway ? { up: false, since: 0, detail: 'taken away' } : super.state;
  }

  override onStateChange(listener: (state: DatabaseState) => void): void {
    this.#heard.push(listener);
  }

  set isAway(isAway: boolean) {
    this.#isAway = isAway;
    for (const listener of this.#heard) listener(this.state);
  }

  /** From now on nothing is answered; the next thing asked is done all the same, or not. */
  die(when: 'before' | 'after'): void {
    this.#death = when;
  }

  override async attempt<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isAway) throw new ProblemError('database_away', 'Taken away.');
    if (this.#death === 'before') return new Promise(() => {});
    const death = this.#death;
    this.#death &&= 'before';
    const result = super.attempt(work);
    this.last = result.catch(() => {});
    const answer = await result;
    return death === undefined && this.#death === undefined ? answer : new Promise(() => {});
  }
}

const TABLES = 'incidents, incident_entries, silences, told, deliveries, gone_channels, evaluators';
const stamped = (happenings: readonly Happening[], at: number): (Happening & { at: number })[] => happenings.map((one) => ({ ...one, at }));
const opened = (id: string): Happening => ({ kind: 'opened', opening: openingOf(id) });

/** What is so before, and after each happening of a call. */
function prefixesOf({ recorder }: Incidents, call: readonly Happening[], at: number): ReturnType<typeof comparable>[] {
  const book = IncidentBook.from(recorder.book.state());
  const states = [comparable(book.state())];
  let { position } = book.mark;
  for (const entry of stamped(call, at)) {
    book.apply({ ...entry, id: '', epoch: recorder.epoch, position: ++position });
    states.push(comparable(book.state()));
  }
  return states;
}

describe('nothing lost, nothing invented', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: recordCall.map((call) => ({ do: 'record' as const, call })) },
    { weight: 2, arbitrary: fc.constant({ do: 'away' as const }) },
    { weight: 2, arbitrary: fc.constant({ do: 'back' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'settle' as const }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('crash' as const),
        power: fc.boolean(),
        when: fc.constantFrom('before' as const, 'after' as const),
        call: recordCall,
        turns: fc.integer({ min: 0, max: 12 }),
      }),
    },
  );

  test('whatever happens, whenever it is killed and the database is away: the book is what it was, and the database becomes it', async () => {
    const { database: own } = await createTestDatabase();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), fc.infiniteStream(fc.nat()), async (steps, chance) => {
        await own.query(`TRUNCATE ${TABLES}`);
        const clock = new ManualClock();
        const choose = (max: number): number => Number(chance.next().value) % (max + 1);
        let files = new FaultyFiles();
        let database = new SwitchedDatabase(own);
        const begin = (): Promise<Incidents> =>
          openIncidents({ dataDir: '/nowhere', database, clock, log, files, bounds: { segmentBytes: 1_500 } });
        let run = await begin();
        try {
          for (const one of steps) {
            clock.advance(1_000);
            if (one.do === 'record') await run.recorder.record(stamped(one.call, clock.wallMs()));
            else if (one.do === 'away') database.isAway = true;
            else if (one.do === 'back') database.isAway = false;
            else if (one.do === 'settle') {
              if (database.state.up) await mirrored(run);
            } else {
              const possible = prefixesOf(run, one.call, clock.wallMs());
              let isAnswered = false;
              void run.recorder.record(stamped(one.call, clock.wallMs())).then(() => (isAnswered = true));
              for (let turn = 0; turn < one.turns; turn++) await Promise.resolve();
              const answered = isAnswered;
              database.die(one.when);
              files.kill();
              await database.last;
              files = one.power ? files.afterPowerCut(choose) : files.afterKill();
              const wasAway = !database.state.up;
              database = new SwitchedDatabase(own);
              database.isAway = wasAway;
              run = await begin();
              const found = comparable(run.recorder.book.state());
              // Not answered for: all of it, the beginning of it, or nothing may have reached the disk.
              expect(answered ? possible.slice(-1) : possible).toContainEqual(found);
            }
          }
          database.isAway = false;
          await mirrored(run);
          const book = comparable(run.recorder.book.state());
          const rows = await own.query<{ position: string }>('SELECT position FROM incident_entries ORDER BY position');
          expect(
            rows.map(({ position }) => Number(position)),
            'the history has every line once',
          ).toEqual(Array.from({ length: run.recorder.book.mark.position }, (_, i) => i + 1));
          await run.stop();
          const other = await openIncidents({ dataDir: '/elsewhere', database, clock, log, files: new FaultyFiles() });
          expect(comparable(other.recorder.book.state()), 'from the database alone').toEqual(book);
          await other.stop();
        } finally {
          database.isAway = true;
          files.kill();
          await database.last;
        }
      }),
      { numRuns: 25 },
    );
  }, 180_000);
});

describe('the database', () => {
  test('while it is away alerts are kept, told and found again; when it is back it catches up', async () => {
    const { database: real } = await createTestDatabase();
    const database = new SwitchedDatabase(real);
    const clock = new ManualClock();
    const dataDir = temporaryDirectory();
    const first = await open(database, dataDir, clock);
    const id = randomUUID();
    await first.recorder.record(stamped([opened(id)], clock.wallMs()));
    await mirrored(first);
    database.isAway = true;
    const later = randomUUID();
    await first.recorder.record(stamped([opened(later), { kind: 'acknowledged', incidentId: id, by: 'kim', note: '' }], clock.wallMs()));
    expect(first.health()).toMatchObject({ status: 'degraded', detail: expect.stringContaining('2 entries wait') as string });
    await first.stop();

    const second = await open(database, dataDir, clock);
    expect(second.recorder.book.incident(id)).toMatchObject({ acknowledged: { by: 'kim' } });
    expect(second.recorder.book.incident(later)).toBeDefined();
    expect(second.recorder.epoch).toBeGreaterThan(first.recorder.epoch);
    expect((await second.localEntries()).map(({ kind }) => kind)).toContain('acknowledged');
    database.isAway = false;
    await mirrored(second);
    expect((await second.store.list({ limit: 10 })).map(({ incidentId }) => incidentId).sort()).toEqual([id, later].sort());
    expect(second.health().status).toBe('healthy');
  });

  test('away at the first start, with no journal either, it is said', async () => {
    const { database: real } = await createTestDatabase();
    const database = new SwitchedDatabase(real);
    database.isAway = true;
    await expect(open(database, temporaryDirectory(), new ManualClock())).rejects.toMatchObject({ code: 'database_away' });
  });

  test('a line it refuses is set aside and said; it keeps nothing else out, after a restart neither', async () => {
    const { database } = await createTestDatabase();
    const clock = new ManualClock();
    const dataDir = temporaryDirectory();
    const first = await open(database, dataDir, clock);
    const [a, b, c] = [randomUUID(), randomUUID(), randomUUID()];
    await first.recorder.record(stamped([opened(a), opened('not a uuid'), opened(b)], clock.wallMs()));
    await mirrored(first);
    expect((await first.store.list({ limit: 10 })).map(({ incidentId }) => incidentId).sort()).toEqual([a, b].sort());
    expect(first.health().status).toBe('degraded');
    expect(first.health().detail).toContain('things that it refused: 1');
    await first.stop();
    const second = await open(database, dataDir, clock);
    await second.recorder.record(stamped([opened(c)], clock.wallMs()));
    await mirrored(second);
    expect(await second.store.incident(c)).toBeDefined();
  });

  test('emptied, or put back to an earlier day, while the collector runs: it is made whole', async () => {
    const { database } = await createTestDatabase();
    const clock = new ManualClock();
    const incidents = await open(database, temporaryDirectory(), clock);
    const [a, b, c, d] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    const tell = async (id: string): Promise<void> => {
      await incidents.recorder.record(stamped([opened(id)], clock.wallMs()));
      await mirrored(incidents);
    };
    const stored = async (): Promise<string[]> => (await incidents.store.list({ limit: 10 })).map(({ incidentId }) => incidentId).sort();
    await tell(a);
    const [before] = await database.query<{ position: string }>('SELECT position FROM evaluators');
    await tell(b);
    await database.query('DELETE FROM incidents WHERE id = $1', [b]);
    await database.query('UPDATE evaluators SET position = $1', [before!.position]);
    await tell(c);
    await vi.waitFor(async () => expect(await stored()).toEqual([a, b, c].sort()));
    await database.query(`TRUNCATE ${TABLES}`);
    await tell(d);
    await vi.waitFor(async () => expect(await stored()).toEqual([a, b, c, d].sort()));
    expect(incidents.health().status).toBe('healthy');
  });

  test('more than is kept in memory is read from the journal', async () => {
    const { database: real } = await createTestDatabase();
    const database = new SwitchedDatabase(real);
    const clock = new ManualClock();
    const incidents = await open(database, temporaryDirectory(), clock, { bounds: { segmentBytes: 100_000 } });
    database.isAway = true;
    const id = randomUUID();
    await incidents.recorder.record(stamped([opened(id)], clock.wallMs()));
    const change: Happening = { kind: 'data', incidentId: id, noData: false, why: 'x' };
    for (let i = 0; i < 60; i++)
      await incidents.recorder.record(
        stamped(
          Array.from({ length: 200 }, () => change),
          clock.wallMs(),
        ),
      );
    expect(incidents.waiting()).toBe(12_001);
    database.isAway = false;
    await mirrored(incidents);
    const [row] = await database.query<{ count: string }>('SELECT count(*) FROM incident_entries');
    expect(Number(row!.count)).toBe(12_001);
    expect((await incidents.store.entriesOf(id)).length).toBe(1_000);
  });

  test('what is older than the retention goes, a part at a time; what is open stays, with its story', async () => {
    const { database } = await createTestDatabase();
    const clock = new ManualClock();
    const incidents = await open(database, temporaryDirectory(), clock);
    const [old, openOne] = [randomUUID(), randomUUID()];
    const at = clock.wallMs();
    await incidents.recorder.record(
      stamped([opened(old), opened(openOne), { kind: 'closed', incidentId: old, reason: 'recovered', value: 0, why: '' }], at),
    );
    await mirrored(incidents);
    expect(await deleteExpired(database, at - 1, 100)).toBe(0);
    expect(await deleteExpired(database, at + 1, 100)).toBe(3);
    expect((await incidents.store.list({ limit: 10 })).map(({ incidentId }) => incidentId)).toEqual([openOne]);
    expect(await incidents.store.entriesOf(openOne)).toHaveLength(1);
  });
});

describe('two collectors', () => {
  test('the one that was there first records nothing any more, and says so', async () => {
    const { database } = await createTestDatabase();
    const clock = new ManualClock();
    const first = await open(database, temporaryDirectory(), clock);
    const [mine, theirs, late] = [randomUUID(), randomUUID(), randomUUID()];
    await first.recorder.record(stamped([opened(mine)], clock.wallMs()));
    await mirrored(first);
    const second = await open(database, temporaryDirectory(), clock);
    expect(second.recorder.book.incident(mine)).toBeDefined();
    await second.recorder.record(stamped([opened(theirs)], clock.wallMs()));
    await first.recorder.record(stamped([opened(late)], clock.wallMs()));
    await vi.waitFor(() => expect(first.recorder.supersededBy).toBe(second.recorder.epoch));
    expect(first.health()).toMatchObject({
      status: 'unhealthy',
      detail: expect.stringContaining('another collector has taken over') as string,
    });
    await first.recorder.record(stamped([{ kind: 'closed', incidentId: mine, reason: 'recovered', value: 0, why: '' }], clock.wallMs()));
    expect(first.recorder.book.incident(mine)!.closedAt).toBeNull();
    expect(await first.evaluatorState.save('stale')).toBe(false);
    expect(await second.evaluatorState.save('fresh')).toBe(true);
    expect(await first.evaluatorState.load()).toBe('fresh');
    await mirrored(second);
    const ids = (await second.store.list({ limit: 10 })).map(({ incidentId }) => incidentId);
    expect(ids.sort()).toEqual([mine, theirs].sort());
  });
});
