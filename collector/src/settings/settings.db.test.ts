/** Sizes as PostgreSQL itself knows them: whole days count towards the rate, the running one does not. */
import { ManualClock } from '@tidemark/service';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { Partitions } from '../db/partitions.ts';
import { createTestDatabase } from '../db/testing.ts';
import { SettingsStore } from './store.ts';

const DAY_MS = 86_400_000;

test('what is used, and what a day takes', async () => {
  const { database } = await createTestDatabase();
  const clock = new ManualClock(Date.UTC(2026, 5, 10, 12));
  const partitions = new Partitions(database, [{ name: 'reports', keepDays: 30 }], clock, pino({ level: 'silent' }));
  await partitions.maintain();
  const store = new SettingsStore(database);
  const empty = await store.storage('20260610');
  expect(empty.bytesPerDay).toBeNull();
  expect(empty.usedBytes).toBeGreaterThan(1e6);

  const fill = (at: number, rows: number) =>
    database.query(
      `INSERT INTO reports (node_id, boot, at, sequence, layout_set_id, values)
       SELECT 1, 1, to_timestamp($1), i, 1, array_fill(random(), ARRAY[50]) FROM generate_series(1, $2::int) i`,
      [at / 1_000, rows],
    );
  await fill(clock.wallMs() - DAY_MS, 2_000);
  const oneDay = await store.storage('20260610');
  expect(oneDay.bytesPerDay).toBeGreaterThan(2_000 * 400);
  await fill(clock.wallMs(), 20_000);
  expect((await store.storage('20260610')).bytesPerDay).toBe(oneDay.bytesPerDay);
});
