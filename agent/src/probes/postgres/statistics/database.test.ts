/** Many databases, and counters that fall: series last, and no ratio is made of what cannot be compared. */
import { expect, test } from 'vitest';
import { BlockRecorder } from '../../recorder.ts';
import { database } from './database.ts';
import type { ServerFacts } from './group.ts';

const FACTS: ServerFacts = { server: 'main', versionNumber: 180_000, role: 'primary', seesAll: true, database: 'postgres', local: false };

/** A row with 17 figures: sessions, commits, rollbacks, blocks read, blocks hit, ... */
function row(datid: number, figures: { read?: number; hit?: number } = {}): unknown[] {
  const values = Array.from({ length: 17 }, () => 0);
  values[3] = figures.read ?? 0;
  values[4] = figures.hit ?? 0;
  return [datid, `db${String(datid).padStart(3, '0')}`, ...values];
}

function read(part: ReturnType<typeof database>, rows: unknown[][] | null): { names: string[]; ratio: unknown } {
  const block = new BlockRecorder('postgres', 'main');
  part.read(rows, FACTS).record!(block);
  const { layout, values } = block.take()!;
  return {
    names: layout.series.filter(({ name }) => name === 'pg_stat_database_xact_commit').map(({ labels }) => labels[1]![1]),
    ratio: values[layout.series.findIndex(({ name }) => name === 'tidemark_postgres_cache_hit_ratio')],
  };
}

test('the busiest are followed, and stay so although others get busier; one that is dropped makes room', () => {
  const part = database();
  const ids = Array.from({ length: 80 }, (_, i) => i + 1);
  const first = read(
    part,
    ids.map((id) => row(id)),
  );
  expect(first.names).toHaveLength(50);
  expect(first.names[49]).toBe('db050');
  expect(
    read(
      part,
      ids.toReversed().map((id) => row(id)),
    ).names,
  ).toEqual(first.names);
  const dropped = read(
    part,
    ids
      .filter((id) => id !== 7)
      .toReversed()
      .map((id) => row(id)),
  );
  expect(dropped.names).toHaveLength(50);
  expect(dropped.names).not.toContain('db007');
  expect(dropped.names).toContain('db080');
});

test('the cache hit ratio is of what was needed since the reading before', () => {
  const part = database();
  expect(read(part, [row(1, { read: 1_000, hit: 1_000 })]).ratio).toBeNull();
  expect(read(part, [row(1, { read: 1_010, hit: 1_090 })]).ratio).toBe(0.9);
  expect(read(part, [row(1, { read: 1_010, hit: 1_090 })]).ratio).toBeNull();
  expect(read(part, [row(1, { read: 3, hit: 4 })]).ratio).toBeNull();
  expect(read(part, [row(1, { read: 3, hit: 8 })]).ratio).toBe(1);
  expect(read(part, null).names).toEqual([]);
});
