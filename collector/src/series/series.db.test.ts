/** Time series, nodes and whole reports read back from a real database, after coming in by the real way in. */
import { randomUUID } from 'node:crypto';
import { NodeDetail, SeriesResponse } from '@tidemark/protocol';
import Fastify from 'fastify';
import { Value } from 'typebox/value';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LiveView } from '../live/live-view.ts';
import type { ArrivedReport } from '../reports/intake.ts';
import type { AcceptedReport } from '../stream/stream.ts';
import { readQuestion } from './question.ts';
import { ReportReader } from './reread.ts';
import { restoreLiveView } from './restore.ts';
import { answer, nodeDetail, seriesRoutes } from './routes.ts';
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

async function ask(query: Record<string, string>): Promise<SeriesResponse> {
  const response = await answer(readQuestion({ metric: 'm', ...query }, NOW), { fleet, store });
  expect(Value.Check(SeriesResponse, response)).toBe(true);
  return response;
}

const one = blockOf('one', [{ labels: [['d', 'a']] }, { labels: [['d', 'b']] }, { name: 'c_total', type: 'counter', unit: '' }]);
const before = blockOf('before', [{ name: 'other' }, { name: 'other', labels: [['x', 'y']] }]);

describe('series', () => {
  test('come raw and in order of time, late ones too, with null and the words for what is no number', async () => {
    const node = await fleet.addNode('db1', 'north');
    await fleet.take(node, [
      { sequence: 4, at: NOW - 1_000, blocks: [[one, [4, null, 1]]] },
      { sequence: 3, at: NOW - 2_000, blocks: [[one, [3, 'NaN', 1]]] },
    ]);
    await fleet.take(node, [
      { sequence: 1, at: NOW - 4_000, blocks: [[one, [null, '+Inf', 1]]] },
      { sequence: 2, at: NOW - 3_000, blocks: [[one, [2, '-Inf', 1]]] },
    ]);
    const points = (values: unknown[]) => values.map((value, i) => [NOW - 4_000 + i * 1_000, value]);
    expect(await ask({})).toEqual({
      from: '2026-06-01T11:00:00.000Z',
      to: '2026-06-01T12:00:00.000Z',
      stepSeconds: null,
      truncated: false,
      series: [
        { metric: 'm', labels: { node: 'db1', site: 'north', d: 'a' }, unit: 'bytes', type: 'gauge', points: points([null, 2, 3, 4]) },
        {
          metric: 'm',
          labels: { node: 'db1', site: 'north', d: 'b' },
          unit: 'bytes',
          type: 'gauge',
          points: points(['+Inf', '-Inf', 'NaN', null]),
        },
      ],
    });
  });

  test('are found wherever the blocks around them move them', async () => {
    const node = await fleet.addNode('db1');
    await fleet.take(node, [
      { sequence: 1, at: NOW - 4_000, blocks: [[one, [1, 10, 0]]] },
      {
        sequence: 2,
        at: NOW - 3_000,
        blocks: [
          [before, [7, 8]],
          [one, [2, 20, 0]],
        ],
      },
      { sequence: 3, at: NOW - 2_000, blocks: [[before, [7, 8]]] },
      { sequence: 4, at: NOW - 1_000, blocks: [[blockOf('one', [{ labels: [['d', 'b']] }, { labels: [['d', 'a']] }]), [40, 4]]] },
    ]);
    const { series } = await ask({ 'label.d': 'b' });
    expect(series.map(({ points }) => points)).toEqual([
      [
        [NOW - 4_000, 10],
        [NOW - 3_000, 20],
        [NOW - 1_000, 40],
      ],
    ]);
  });

  test('are selected by node, site and labels, whatever a label says', async () => {
    const nasty = '\'; DROP TABLE reports; --"\n</script>👾\\';
    const [a, b] = [await fleet.addNode('a', 'north'), await fleet.addNode('b', 'south')];
    const odd = blockOf('odd', [
      {
        labels: [
          ['d', nasty],
          ['node', 'mine'],
          ['constructor', 'x'],
        ],
      },
    ]);
    for (const node of [a, b])
      await fleet.take(node, [
        {
          sequence: 1,
          at: NOW - 1_000,
          blocks: [
            [one, [1, 2, 3]],
            [odd, [node.id]],
          ],
        },
      ]);
    const labelsOf = async (query: Record<string, string>) => (await ask(query)).series.map(({ labels }) => labels);
    expect(await labelsOf({})).toHaveLength(6);
    expect(await labelsOf({ node: 'b', 'label.d': 'a' })).toEqual([{ node: 'b', site: 'south', d: 'a' }]);
    expect(await labelsOf({ 'label.site': 'north', 'label.d': 'a' })).toEqual([{ node: 'a', site: 'north', d: 'a' }]);
    expect(await labelsOf({ 'label.d': nasty, 'label.exported_node': 'mine', node: 'a' })).toEqual([
      { node: 'a', site: 'north', constructor: 'x', d: nasty, exported_node: 'mine' },
    ]);
    expect(await labelsOf({ metric: 'nobody_has_it' })).toEqual([]);
    expect(await labelsOf({ 'label.d': '%' })).toEqual([]);
    await expect(ask({ node: 'none' })).rejects.toMatchObject({ code: 'node_unknown' });
  });

  test('have no entry when there is no sample in the time', async () => {
    const node = await fleet.addNode('db1');
    await fleet.take(node, [{ sequence: 1, at: NOW - 2 * 3_600_000, blocks: [[one, [1, 2, 3]]] }]);
    expect((await ask({})).series).toEqual([]);
  });

  test('in steps: the mean of gauges, the last value of counters, aligned bins, null where a bin has none', async () => {
    const node = await fleet.addNode('db1');
    const at = (minute: number, second: number) => NOW - 10 * MINUTE + minute * MINUTE + second * 1_000;
    const taken: [number, number[] | (number | null)[]][] = [
      [at(0, 0), [1, 5, 100]],
      [at(0, 59), [2, 5, 110]],
      [at(1, 0), [3, 5, 3]],
      [at(1, 30), [null, null, null]],
      [at(4, 1), [10, null, 50]],
      [at(4, 31), [20, null, 40]],
    ];
    await fleet.take(
      node,
      taken.map(([time, values], i) => ({ sequence: i + 1, at: time, blocks: [[one, values]] as const })).toReversed(),
    );
    const gauge = await ask({ step: '60', 'label.d': 'a', from: String(at(0, 0) - 30_000) });
    expect(gauge.stepSeconds).toBe(60);
    expect(gauge.series[0]!.points).toEqual([
      [at(0, 0), 1.5],
      [at(1, 0), 3],
      [at(2, 0), null],
      [at(3, 0), null],
      [at(4, 0), 15],
    ]);
    const missing = await ask({ step: '60', 'label.d': 'b' });
    expect(missing.series[0]!.points.map(([, value]) => value)).toEqual([5, 5, null, null, null]);
    const counter = await ask({ metric: 'c_total', step: '60' });
    expect(counter.series[0]!.points).toEqual([
      [at(0, 0), 110],
      [at(1, 0), 3],
      [at(2, 0), null],
      [at(3, 0), null],
      [at(4, 0), 40],
    ]);
  });

  test('more than 200 are cut, and said to be', async () => {
    const node = await fleet.addNode('db1');
    const wide = blockOf(
      'wide',
      Array.from({ length: 201 }, (_, i) => ({ labels: [['i', `${i}`]] as [string, string][] })),
    );
    await fleet.take(node, [{ sequence: 1, at: NOW - 1_000, blocks: [[wide, wide.series.map((_, i) => i)]] }]);
    const { series, truncated } = await ask({});
    expect([series.length, truncated]).toEqual([200, true]);
  });

  test('too many points are refused with a step that will do; a day of one series is quick', async () => {
    const node = await fleet.addNode('db1');
    await fleet.take(node, [
      {
        sequence: 1,
        at: NOW - 1_000,
        blocks: [
          [before, [1, 2]],
          [one, [1, 2, 3]],
        ],
      },
    ]);
    await fleet.database.query(
      `INSERT INTO reports (node_id, boot, at, sequence, layout_set_id, values)
       SELECT node_id, boot, to_timestamp(($1::float8 - i * 3000) / 1000), 100 + i, layout_set_id, ARRAY[0, 0, i, 0, 0]
       FROM reports, generate_series(1, 14000) i WHERE node_id = $2 AND sequence = 1`,
      [NOW - 1_000, node.id],
    );
    await expect(ask({ 'label.d': 'a', from: String(NOW - 11.7 * 3_600_000) })).rejects.toMatchObject({ code: 'query_invalid' });
    const refusal = await ask({ 'label.d': 'a', from: String(NOW - 12 * 3_600_000) }).catch((error: unknown) => error);
    const step = /step of (\d+) seconds/.exec(String(refusal))![1]!;
    const { series } = await ask({ 'label.d': 'a', from: String(NOW - 12 * 3_600_000), step });
    expect(series[0]!.points.length).toBeGreaterThan(10_000);
    const raw = await ask({ 'label.d': 'a', from: String(NOW - 9 * 3_600_000) });
    expect(raw.series[0]!.points).toHaveLength(10_800);
    expect(raw.series[0]!.points.slice(0, 2)).toEqual([
      [NOW - 1_000 - 10_799 * 3_000, 10_799],
      [NOW - 1_000 - 10_798 * 3_000, 10_798],
    ]);
  });
});

describe('re-reading', () => {
  const reader = () => new ReportReader(fleet.database, (id) => fleet.byId(id));
  const read = async (reports: AsyncIterable<AcceptedReport>): Promise<AcceptedReport[]> => {
    const all: AcceptedReport[] = [];
    for await (const report of reports) all.push(report);
    return all;
  };

  test('gives what came in as it came in, of all nodes in order of time, from a time up to a time', async () => {
    const [a, b] = [await fleet.addNode('a'), await fleet.addNode('b')];
    const observations = [
      { kind: 'postgres.replication', version: 1, instance: 'main', document: { up: true, lsn: '0/FFFFFFFFFFFFFFFF' } },
    ];
    const empty = blockOf('empty', []);
    await fleet.take(a, [
      {
        sequence: 1,
        at: NOW - 50_000.25,
        blocks: [
          [before, [1, null]],
          [empty, []],
          [one, ['NaN', '-Inf', 3]],
        ],
        observations,
      },
      { sequence: 2, at: NOW - 30_000, blocks: [[one, [1, 2, 3]]] },
    ]);
    await fleet.take(b, [{ sequence: 1, at: NOW - 40_000, blocks: [[one, [4, 5, 6]]] }]);
    const ids = [a.id, b.id];
    const all = await read(reader().between(NOW - 60_000, NOW, ids));
    expect(all.map(({ node, sequence }) => [node.name, sequence])).toEqual([
      ['a', 1],
      ['b', 1],
      ['a', 2],
    ]);
    // Who stores it needs one moment; the exact one is for who compares nodes while reports arrive.
    const { steadyAt, ...sent } = fleet.published.find(({ node, sequence }) => node === a && sequence === 1)! as ArrivedReport;
    expect(steadyAt).toBeCloseTo(sent.at, -1);
    expect(all[0]!.at).toBeCloseTo(sent.at, 2);
    expect(all[0]).toEqual({ ...sent, at: all[0]!.at, receivedAt: all[0]!.at, live: true });
    expect(all[0]!.node).toBe(a);
    expect(all[1]!.blocks[0]!.layout, 'equal blocks of two nodes are one object').toBe(all[2]!.blocks[0]!.layout);
    expect((await read(reader().between(NOW - 40_000, NOW - 30_000, ids))).map(({ node }) => node.name)).toEqual(['b']);
    expect(await read(reader().between(NOW - 60_000, NOW, [b.id]))).toHaveLength(1);
    expect(await read(reader().between(NOW, NOW - 1, ids))).toEqual([]);
  });

  test('goes over many reports in slices, each once', async () => {
    const node = await fleet.addNode('a');
    await fleet.take(node, [{ sequence: 1, at: NOW - 1_000, blocks: [[one, [1, 2, 3]]] }]);
    await fleet.database.query(
      `INSERT INTO reports (node_id, boot, at, sequence, layout_set_id, values)
       SELECT node_id, boot, to_timestamp(($1::float8 - 1 - i * 2) / 1000), 100 + i, layout_set_id, ARRAY[i, 0, 0]
       FROM reports, generate_series(1, 25000) i WHERE node_id = $2 AND sequence = 1`,
      [NOW - 1_000, node.id],
    );
    let count = 0;
    let last = 0;
    for await (const { at } of reader().between(NOW - 86_400_000, NOW, [node.id])) {
      expect(at).toBeGreaterThan(last);
      last = at;
      count++;
    }
    expect(count).toBe(25_001);
  });

  test('restores the live view: values, slow blocks, observations with their since, and when each was last heard', async () => {
    const [a, long, never] = [await fleet.addNode('a'), await fleet.addNode('long'), await fleet.addNode('never')];
    const inventory = blockOf('inventory', [{ name: 'node_uname_info' }]);
    const removed = blockOf('postgres', [{ name: 'pg_up' }], 'removed');
    const observations = [{ kind: 'inventory', version: 1, instance: '', document: { os: 'Debian' } }];
    const start = NOW - 3_600_000;
    const run = Array.from({ length: 240 }, (_, i) => ({
      sequence: i + 1,
      at: start + (i + 1) * 15_000 - 5_000,
      blocks: [[one, [i, i, i]], ...(i === 0 ? [[inventory, [1]]] : []), ...(i < 10 ? [[removed, [1]]] : [])] as [typeof one, number[]][],
      observations: i === 0 ? observations : [],
    }));
    await fleet.take(a, [
      {
        sequence: 9,
        at: start - 60_000,
        blocks: [
          [one, [0, 0, 0]],
          [inventory, [0]],
        ],
        bootId: randomUUID(),
      },
      ...run,
    ]);
    await fleet.take(long, [{ sequence: 1, at: NOW - 3 * 86_400_000, blocks: [[one, [1, 2, 3]]] }]);
    const view = new LiveView(fleet.clock);
    expect(await restoreLiveView(view, reader(), fleet.all(), fleet.clock)).toEqual({ nodes: 1, reports: 5 });
    const node = view.node(a.id)!;
    expect(node.blocks.map(({ layout, values }) => [layout.probe + layout.instance, values])).toEqual([
      ['one', [239, 239, 239]],
      ['inventory', [1]],
    ]);
    expect(node.observations).toMatchObject([{ observation: observations[0]!, since: start + 10_000, restored: true }]);
    expect([node.lastSeenAt, view.node(long.id)!.lastSeenAt, view.node(never.id)]).toEqual([NOW - 5_000, NOW - 3 * 86_400_000, undefined]);
    expect([view.liveness(a), view.isCurrent(node), view.isCurrent(view.node(long.id)!)]).toEqual(['unknown', true, false]);
  });
});

test('a node in detail, with observations from the store when memory has none', async () => {
  const node = await fleet.addNode('db1', 'north');
  const observations = [{ kind: 'postgres.replication', version: 1, instance: 'main', document: { up: true } }];
  await fleet.take(node, [{ sequence: 1, at: NOW - 1_000, blocks: [[one, [1, 'NaN', null]]], observations }]);
  const view = new LiveView(fleet.clock);
  const fromStore = await nodeDetail(node, { view, store });
  const seen = { ...observations[0], at: '2026-06-01T11:59:59.000Z', since: '2026-06-01T11:59:59.000Z' };
  expect(fromStore).toMatchObject({ name: 'db1', lastSeenAt: null, up: false, lostReports: null, latest: [], observations: [seen] });
  for (const report of fleet.published) view.accept(report);
  view.heard(node, { lostReports: 2 }, 0);
  const detail = await nodeDetail(node, { view, store });
  expect(Value.Check(NodeDetail, detail)).toBe(true);
  expect(detail).toMatchObject({
    lastSeenAt: '2026-06-01T12:00:00.000Z',
    up: true,
    lostReports: 2,
    clockOffsetSeconds: 0,
    observations: [seen],
  });
  expect(detail.latest).toEqual([
    { metric: 'm', labels: [['d', 'a']], unit: 'bytes', type: 'gauge', value: 1 },
    { metric: 'm', labels: [['d', 'b']], unit: 'bytes', type: 'gauge', value: 'NaN' },
    { metric: 'c_total', labels: [], unit: '', type: 'counter', value: null },
  ]);
});

test('over HTTP', async () => {
  const name = 'db 1/ä';
  const node = await fleet.addNode(name, 'north');
  await fleet.take(node, [{ sequence: 1, at: NOW - 1_000, blocks: [[one, [1, 'NaN', null]]] }]);
  const app = Fastify();
  seriesRoutes(app, { fleet, view: new LiveView(fleet.clock), store, clock: fleet.clock });
  try {
    const found = await app.inject({ url: '/api/telemetry/series', query: { metric: 'm', node: name, 'label.d': 'b', step: '60' } });
    expect(found.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(found.json<SeriesResponse>().series[0]).toMatchObject({ labels: { d: 'b' }, points: [[NOW - MINUTE, 'NaN']] });
    expect((await app.inject({ url: '/api/telemetry/series', query: { metric: 'm', from: 'x' } })).body).toContain('From must be ISO 8601');
    const detail = await app.inject({ url: `/api/telemetry/nodes/${encodeURIComponent(name)}` });
    expect(detail.json<NodeDetail>()).toMatchObject({ name, site: 'north', latest: [] });
  } finally {
    await app.close();
  }
});

test('questions take turns, and too many are turned away', async () => {
  const node = await fleet.addNode('db1');
  await fleet.take(node, [{ sequence: 1, at: NOW - 1_000, blocks: [[one, [1, 2, 3]]] }]);
  const results = await Promise.allSettled(Array.from({ length: 110 }, () => ask({ 'label.d': 'a' })));
  const refused = results.filter((result) => result.status === 'rejected');
  expect(refused.map(({ reason }) => (reason as { code: string }).code)).toEqual(Array.from({ length: 8 }, () => 'overloaded'));
  expect(results.filter((result) => result.status === 'fulfilled' && result.value.series.length === 1)).toHaveLength(102);
  expect((await ask({ 'label.d': 'a' })).series).toHaveLength(1);
});
