/** Rates, sums and extremes worked out by the database, over reports that came in by the real way in. */
import { SeriesResponse } from '@tidemark/protocol';
import { Value } from 'typebox/value';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readQuestion } from './question.ts';
import { answer } from './routes.ts';
import { SeriesStore } from './store.ts';
import { NOW, StoredFleet, blockOf } from './testing.ts';

const MINUTE = 60_000;
let fleet: StoredFleet;
let store: SeriesStore;

beforeEach(async () => {
  fleet = await StoredFleet.create();
  store = new SeriesStore(fleet.database);
});
afterEach(() => fleet.close());

async function ask(query: Record<string, string>): Promise<SeriesResponse['series']> {
  const response = await answer(readQuestion({ from: String(NOW - 10 * MINUTE), ...query }, NOW), { fleet, store });
  expect(Value.Check(SeriesResponse, response)).toBe(true);
  return response.series;
}
const cpu = (name: string, mode: string) => ({
  name: 's_total',
  type: 'counter' as const,
  unit: 'seconds',
  labels: [
    ['cpu', name],
    ['mode', mode],
  ] as [string, string][],
});
const block = blockOf('cpu', [cpu('0', 'user'), cpu('0', 'idle'), cpu('1', 'user'), cpu('1', 'idle'), { name: 'g', unit: 'ratio' }]);
const rounded = (points: SeriesResponse['series'][number]['points']) =>
  points.map(([ms, value]) => [(ms - NOW) / MINUTE, typeof value === 'number' ? Math.round(value * 1_000) / 1_000 : value]);

test('rates count a reset once, ignore jitter, are exact over bins, and leave a gap where nobody looked', async () => {
  const node = await fleet.addNode('db1');
  const at = (second: number, user: number | null, idle: number, sequence: number) => ({
    sequence,
    at: NOW - 10 * MINUTE + second * 1_000,
    blocks: [[block, [user, idle, user, idle, 0.5]]] as const,
  });
  await fleet.take(node, [
    at(-30, 94, 1_000, 1), // before the range: what the first bin rises from
    at(0, 97, 1_000, 2),
    at(30, 100, 999.9, 3), // idle steps back a little
    at(60, 106, 1_000, 4),
    at(90, 3, 1_030, 5), // user begins anew
    at(150, 9, 1_060, 6),
    // nothing in minutes 3 and 4
    at(330, 90, 1_200, 7),
    at(390, 96, 1_260, 8),
  ]);
  const [user, idle] = await ask({ metric: 's_total', step: '60', rate: 'true', by: 'mode' }).then((series) => series.toReversed());
  expect(user).toMatchObject({ labels: { node: 'db1', mode: 'user' }, unit: 'ratio', type: 'gauge' });
  expect(rounded(user!.points)).toEqual([
    [-10, 0.2], // 94 → 100 in 60 s, two CPUs
    [-9, 0.1], // 100 → 3: began anew, 3 in 60 s
    [-8, 0.2],
    [-7, null],
    [-6, null],
    [-5, null], // seen, but after three minutes of nothing
    [-4, 0.2],
  ]);
  expect(rounded(idle!.points).slice(0, 3)).toEqual([
    [-10, 0],
    [-9, 1.003],
    [-8, 1],
  ]);
  const each = await ask({ metric: 's_total', step: '60', rate: 'true', 'label.mode': 'user' });
  expect(each.map(({ labels }) => labels['cpu'])).toEqual(['0', '1']);
  expect(rounded(each[0]!.points)[0]).toEqual([-10, 0.1]);
});

test('gauges are added up by their means, and extremes stand beside the mean', async () => {
  const node = await fleet.addNode('db1');
  const sizes = blockOf('disk', [
    { name: 'size', labels: [['d', 'a']] },
    { name: 'size', labels: [['d', 'b']] },
    { name: 'free', labels: [['d', 'a']] },
  ]);
  await fleet.take(
    node,
    [1, 2, 9].map((value, i) => ({ sequence: i + 1, at: NOW - MINUTE + i * 1_000, blocks: [[sizes, [value, 100, 5]]] as const })),
  );
  expect(await ask({ metric: 'size', step: '60', by: '' })).toMatchObject([{ labels: { node: 'db1' }, points: [[NOW - MINUTE, 104]] }]);
  const both = await ask({ metric: 'free,size', step: '60', extremes: 'true', 'label.d': 'a' });
  expect(both).toMatchObject([
    { metric: 'free', points: [[NOW - MINUTE, 5]], extremes: [[5, 5]] },
    { metric: 'size', points: [[NOW - MINUTE, 4]], extremes: [[1, 9]] },
  ]);
});

test('counters are not added up as they are: a reset of one would make nonsense of the sum', async () => {
  const node = await fleet.addNode('db1');
  await fleet.take(node, [{ sequence: 1, at: NOW - 1_000, blocks: [[block, [1, 1, 1, 1, 1]]] }]);
  await expect(ask({ metric: 's_total', step: '60', by: 'mode' })).rejects.toMatchObject({ code: 'query_invalid' });
});
