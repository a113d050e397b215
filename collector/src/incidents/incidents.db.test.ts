/** The whole of it over a real PostgreSQL: what is recorded is in the journal, the book and the database, through restarts, absences and take-overs. */
import { randomUUID } from 'node:crypto';
import { ManualClock } from '@tidemark/service';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createTestDatabase } from '../db/testing.ts';
import type { Database } from '../db/pool.ts';
import { temporaryDirectory } from '../testing.ts';
import type { BookState } from './book.ts';
import { openIncidents, type Incidents } from './open.ts';
import { openingOf } from './testing.ts';

const log = pino({ level: 'silent' });

async function open(database: Database, dataDir: string, clock: ManualClock): Promise<Incidents> {
  const incidents = await openIncidents({ dataDir, database, clock, log });
  onTestFinished(() => incidents.stop());
  return incidents;
}

const mirrored = async (incidents: Incidents): Promise<void> => {
  while (incidents.waiting() > 0) await new Promise((done) => setTimeout(done, 5));
};

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
