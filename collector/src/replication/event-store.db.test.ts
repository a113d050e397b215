/** Events and memories against a real database: what is recorded comes back after a restart, once, in order, whatever the database did meanwhile. */
import { ManualClock } from '@tidemark/service';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { Database } from '../db/pool.ts';
import { createTestDatabase, type TestDatabase } from '../db/testing.ts';
import { ReplicationEvents } from './event-store.ts';
import type { MemberMemory, ReplicationChange } from './model.ts';

const NOW = Date.UTC(2026, 5, 1, 12);
const DAY_MS = 86_400_000;
const SHOP = '7300000000000000001';
const log = pino({ level: 'silent' });

const change = (key: string, more: Partial<ReplicationChange> = {}): ReplicationChange => ({
  kind: 'promotion',
  at: NOW,
  systemIdentifier: SHOP,
  instanceId: '1/main',
  instanceName: 'db1',
  severity: 'warning',
  text: `${key} happened.`,
  details: { lostBytes: 5, forkLsn: '0/3000000', known: true, timeline: null },
  key,
  ...more,
});

const member = (lastSeenAt: number): MemberMemory => ({
  name: 'db1',
  linked: true,
  lastUpstream: undefined,
  lastRole: 'primary',
  lastSeenAt,
  promotedAt: undefined,
  forkLsn: undefined,
  timeline: 1,
  lastLsn: '0/3000000',
});

/** A store as a collector would start it. */
async function started(database: Database, clock = new ManualClock(NOW), saveEveryMs = 3_600_000): Promise<ReplicationEvents> {
  const events = new ReplicationEvents({ database, clock, log, random: () => 0.5, saveEveryMs });
  await events.start();
  return events;
}

const rows = (database: Database) =>
  database.query<{ key: string; kind: string; text: string }>('SELECT key, kind, text FROM replication_events ORDER BY at, key');

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('it did not come to that in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('what was recorded and remembered is there after a restart', async () => {
  const { database } = await createTestDatabase();
  const events = await started(database);
  expect(events.memoryOf(SHOP)).toEqual({ topology: {}, changes: undefined });
  events.record([
    change('a'),
    change('b', { at: NOW + 1, kind: 'slot_lost', severity: 'critical', instanceId: undefined, instanceName: undefined }),
  ]);
  events.save(SHOP, { '1/main': member(NOW) }, { version: 1, primary: { id: '1/main' } });
  await events.stop();

  const again = await started(database);
  const recent = again.recent(SHOP, 10);
  expect(recent.map(({ kind, at, instance, instanceId }) => ({ kind, at, instance, instanceId }))).toEqual([
    { kind: 'slot_lost', at: new Date(NOW + 1).toISOString(), instance: null, instanceId: null },
    { kind: 'promotion', at: new Date(NOW).toISOString(), instance: 'db1', instanceId: '1/main' },
  ]);
  expect(recent[1]).toEqual(events.recent(SHOP, 10)[1]);
  expect(await again.list({ limit: 10 })).toEqual(recent);
  expect(again.memoryOf(SHOP)).toEqual({
    topology: { '1/main': JSON.parse(JSON.stringify(member(NOW))) as MemberMemory },
    changes: { version: 1, primary: { id: '1/main' } },
  });
  expect(again.clusterOf('1/main')).toBe(SHOP);
  expect(again.clusterOf('2/main')).toBeUndefined();
  expect(Object.fromEntries(again.counts(SHOP))).toEqual({ promotion: 1, slot_lost: 1 });
  await again.stop();
});

test('a key that comes again corrects and tells nobody anew, before and after a restart', async () => {
  const { database } = await createTestDatabase();
  const events = await started(database);
  const heard: string[] = [];
  events.onRecorded(({ kind }, how) => heard.push(`${how} ${kind}`));
  events.record([change('p'), change('p', { kind: 'failover', text: 'More is known.', at: NOW + 5_000 })]);
  await events.stop();
  expect(heard).toEqual(['new promotion', 'corrected failover']);
  expect(await rows(database)).toEqual([{ key: 'p', kind: 'failover', text: 'More is known.' }]);

  const again = await started(database);
  again.onRecorded(({ kind }, how) => heard.push(`${how} ${kind}`));
  again.record([change('p', { kind: 'failover', text: 'Even more is known.', details: { lostBytes: 7 } })]);
  await again.stop();
  expect(heard.at(-1)).toBe('corrected failover');
  const [event, ...others] = await again.list({ cluster: SHOP, limit: 10 });
  expect(others).toEqual([]);
  expect(event).toMatchObject({ text: 'Even more is known.', details: { lostBytes: 7 }, at: new Date(NOW).toISOString() });
  expect(Object.fromEntries(again.counts(SHOP))).toEqual({ promotion: 1, failover: 1 });
});

test('lists by cluster and kind, page by page, by time or by id', async () => {
  const { database } = await createTestDatabase();
  const events = await started(database);
  events.record(
    Array.from({ length: 25 }, (_, i) =>
      change(`k${i}`, {
        at: NOW + Math.floor(i / 5) * 1_000,
        kind: i % 2 === 0 ? 'promotion' : 'slot_lost',
        systemIdentifier: i % 5 === 0 ? 'other' : SHOP,
      }),
    ),
  );
  const all = await events.list({ limit: 100 });
  expect(all).toHaveLength(25);
  const times = all.map(({ at }) => at);
  expect(times).toEqual(times.toSorted().toReversed());
  expect(await events.list({ cluster: 'other', limit: 100 })).toHaveLength(5);
  expect((await events.list({ kind: 'slot_lost', limit: 100 })).every(({ kind }) => kind === 'slot_lost')).toBe(true);
  const paged: string[] = [];
  for (let before: string | undefined; ;) {
    const page = await events.list({ before, limit: 7 });
    if (page.length === 0) break;
    paged.push(...page.map(({ id }) => id));
    before = page.at(-1)!.id;
  }
  expect(paged).toEqual(all.map(({ id }) => id));
  expect(await events.list({ before: new Date(NOW + 2_000).toISOString(), limit: 100 })).toHaveLength(10);
  await events.stop();
});

test('while the database is away nothing is lost, and it follows in order when it is back', async () => {
  const store: TestDatabase = await createTestDatabase();
  const { database } = store;
  const events = await started(database);
  await store.stopServer();
  for (let i = 0; i < 700; i++) events.record([change(`k${i}`, { at: NOW + i })]);
  events.record([change('k3', { at: NOW + 3, text: 'Corrected.' })]);
  events.save(SHOP, {}, { version: 1, looks: 700 });
  await until(() => !database.state.up);
  expect(events.waiting).toBe(701);
  expect(events.recent(SHOP, 3).map(({ text }) => text)).toEqual(['k699 happened.', 'k698 happened.', 'k697 happened.']);
  await expect(events.list({ limit: 1 })).rejects.toMatchObject({ code: 'database_away' });
  await store.startServer();
  await until(() => events.waiting === 0);
  expect(events.trouble).toBeUndefined();
  const stored = await rows(database);
  expect(stored).toHaveLength(700);
  expect(stored[3]!.text).toBe('Corrected.');
  await events.stop();
  const again = await started(database);
  expect(again.memoryOf(SHOP).changes).toEqual({ version: 1, looks: 700 });
  expect(again.counts(SHOP).get('promotion')).toBe(700);
  await again.stop();
});

test('a memory is never ahead of the events of its look', async () => {
  const { database } = await createTestDatabase();
  const events = await started(database);
  // More than one batch: the memory comes with the last of them.
  for (let i = 0; i < 1_200; i++) events.record([change(`k${i}`)]);
  events.save(SHOP, {}, { version: 1, looks: 1 });
  const seen: { events: number; memories: number }[] = [];
  await until(async () => {
    const [row] = await database.query<{ events: number; memories: number }>(
      `SELECT (SELECT count(*) FROM replication_events)::int AS events, (SELECT count(*) FROM replication_memory WHERE changes IS NOT NULL)::int AS memories`,
    );
    seen.push(row!);
    return row!.memories === 1;
  });
  expect(seen.filter(({ events: count, memories }) => memories === 1 && count < 1_200)).toEqual([]);
  await events.stop();
});

test('memories alone are written every few seconds, once', async () => {
  const { database } = await createTestDatabase();
  const events = await started(database, new ManualClock(NOW), 50);
  for (let i = 0; i < 150; i++) events.save(`s${i}`, { [`${i}/main`]: member(NOW) }, { version: 1, i });
  const count = async (): Promise<number> =>
    (await database.query<{ n: number }>('SELECT count(*)::int AS n FROM replication_memory'))[0]!.n;
  await until(async () => (await count()) === 150);
  await events.stop();
  const again = await started(database);
  expect(again.clusterOf('149/main')).toBe('s149');
  // An instance that was initialised anew belongs to the cluster in which it was seen last.
  again.save('anew', { '149/main': member(NOW + 1) }, { version: 1 });
  expect(again.clusterOf('149/main')).toBe('anew');
  again.save('s149', { '149/main': member(NOW) }, { version: 1 });
  expect(again.clusterOf('149/main')).toBe('anew');
  await again.stop();
});

test('what the database cannot hold as it is, is held without that', async () => {
  const { database } = await createTestDatabase();
  const events = await started(database);
  events.record([
    change('nul', { text: 'A\u0000B \ud800 C', details: { 'na\u0000me': 'x\udfff' }, instanceName: 'd\u0000b' }),
    change('fine'),
  ]);
  events.save(SHOP, { '1/\u0000': member(NOW) }, { version: 1, text: '\u0000' });
  await events.stop();
  expect((await rows(database)).map(({ key, text }) => [key, text])).toEqual([
    ['fine', 'fine happened.'],
    ['nul', 'A\ufffdB \ufffd C'],
  ]);
});

test('one that the database refuses keeps no other out', async () => {
  const { database } = await createTestDatabase();
  const events = await started(database);
  const refused = change('refused', { severity: 'unheard of' as ReplicationChange['severity'] });
  events.record([
    ...Array.from({ length: 20 }, (_, i) => change(`a${i}`)),
    refused,
    ...Array.from({ length: 20 }, (_, i) => change(`b${i}`)),
  ]);
  await until(() => events.waiting === 0);
  expect(await rows(database)).toHaveLength(40);
  expect(events.trouble).toBe('the database refused 1 events');
  await events.stop();
});

test('what is older than a year is dropped; counts do not fall', async () => {
  const { database } = await createTestDatabase();
  const clock = new ManualClock(NOW);
  const events = await started(database, clock);
  events.record([change('old', { at: NOW - 366 * DAY_MS }), change('new')]);
  await until(() => events.waiting === 0);
  await events.prune();
  expect((await rows(database)).map(({ key }) => key)).toEqual(['new']);
  await events.stop();
  const again = await started(database, clock);
  expect(again.counts(SHOP).get('promotion')).toBe(2);
  await again.stop();
});

test('memory holds the newest thousand, of a noisy cluster two hundred', async () => {
  const { database } = await createTestDatabase();
  const events = await started(database);
  events.record([change('quiet', { systemIdentifier: 'quiet', at: NOW + 1 })]);
  events.record(Array.from({ length: 3_000 }, (_, i) => change(`k${i}`, { at: NOW + i })));
  expect(events.recent(SHOP, 5_000)).toHaveLength(200);
  expect(events.recent(SHOP, 1)[0]!.text).toBe('k2999 happened.');
  expect(events.recent('quiet', 10)).toHaveLength(1);
  events.record(Array.from({ length: 2_000 }, (_, i) => change(`k${i}`, { systemIdentifier: `s${i}`, at: NOW + 10_000 + i })));
  expect(events.recent('s1999', 1)).toHaveLength(1);
  expect(events.recent('s5', 1)).toEqual([]);
  expect(events.recent(SHOP, 1)).toEqual([]);
  await events.stop();
  expect(await events.list({ cluster: SHOP, limit: 1_000 })).toHaveLength(1_000);
});
