/** The page for Prometheus: valid whatever agents send, each series once, silent nodes gone; judged by a parser of our own and by promtool. */
import { spawnSync } from 'node:child_process';
import {
  array,
  assert,
  asyncProperty,
  constant,
  constantFrom,
  double,
  integer,
  oneof,
  record as recordOf,
  string,
  tuple,
} from 'fast-check';
import { ManualClock } from '@tidemark/service';
import { beforeEach, describe, expect, test } from 'vitest';
import type { NodeRecord } from '../fleet/node.ts';
import type { AcceptedReport } from '../stream/stream.ts';
import { LiveView } from './live-view.ts';
import { MetricsPage } from './metrics-page.ts';
import { OwnMetrics } from './own-metrics.ts';
import { START, fleetOf, layoutOf, nodeOf, parsePage, reportOf, seriesOf, type Sample } from './testing.ts';

const db1 = nodeOf(1, 'db1');
const db2 = nodeOf(2, 'db2', { site: 'south' });

let clock: ManualClock;
let view: LiveView;
let own: OwnMetrics;

beforeEach(() => {
  clock = new ManualClock(START);
  view = new LiveView(clock);
  own = new OwnMetrics({
    version: '0.1.0',
    gauges: { databaseUp: () => true, reportsWaiting: () => 0, liveSeries: () => view.seriesCount() },
    processMetrics: false,
  });
  clock.advance(100_000);
});

async function pageOf(nodes: NodeRecord[], one?: NodeRecord): Promise<string> {
  const page = new MetricsPage(view, fleetOf(...nodes), own.registry);
  let text = '';
  for await (const piece of one === undefined ? page.all() : page.one(one)) text += piece;
  return text;
}
const fleetSamples = async (nodes: NodeRecord[]): Promise<Sample[]> =>
  parsePage(await pageOf(nodes)).samples.filter(({ name }) => !name.startsWith('tidemark_'));
const take = (...reports: AcceptedReport[]): void => {
  for (const report of reports) view.accept(report);
};

/** Runs promtool over a page; undefined when it is not installed. */
function promtool(page: string): { status: number | null; output: string } | undefined {
  const run = spawnSync('promtool', ['check', 'metrics'], { input: page, encoding: 'utf8' });
  if (run.error) return undefined;
  return { status: run.status, output: run.stdout + run.stderr };
}
const hasPromtool = promtool('') !== undefined;

describe('the page', () => {
  test('has node and site first, one group a metric over all nodes, and values in every form', async () => {
    const layout = layoutOf('x', [
      seriesOf('a_bytes', [['device', 'sda']], { help: 'Back\\slash\nand line.' }),
      seriesOf('b_total', [], { type: 'counter' }),
    ]);
    take(reportOf(db1, 1, [[layout, [Number.NaN, 12]]]), reportOf(db2, 1, [[layout, [Number.POSITIVE_INFINITY, null]]]));
    const text = await pageOf([db1, db2], undefined);
    expect(text.slice(text.indexOf('# HELP a_bytes'))).toBe(
      `# HELP a_bytes Back\\\\slash\\nand line.
# TYPE a_bytes gauge
a_bytes{node="db1",site="north",device="sda"} NaN
a_bytes{node="db2",site="south",device="sda"} +Inf
# HELP b_total Help of b_total.
# TYPE b_total counter
b_total{node="db1",site="north"} 12
`,
    );
  });

  test('keeps labels that nobody would choose', async () => {
    const nasty = [
      'say "hi"',
      'a\nb\\n\r\n',
      '</script><script>',
      '👾 ünïcödé',
      '\\',
      '"',
      "'; DROP TABLE",
      '__proto__',
      'a,b="c"} 1',
      ' ',
    ];
    const layout = layoutOf(
      'x',
      nasty.map((value) => seriesOf('thing', [['path', value]])),
    );
    const odd = nodeOf(3, 'a "quoted"\\node\n</script>', { site: 'site\\"' });
    take(reportOf(odd, 1, [[layout, nasty.map((_, i) => i)]]));
    const samples = await fleetSamples([odd]);
    expect(samples).toEqual(nasty.map((path, i) => ({ name: 'thing', labels: { node: odd.name, site: odd.site, path }, value: i })));
  });

  test("an agent's own node and site labels become exported ones", async () => {
    const layout = layoutOf('x', [
      seriesOf('thing', [
        ['site', 's'],
        ['node', 'n'],
        ['exported_node', 'e'],
        ['constructor', 'c'],
      ]),
    ]);
    take(reportOf(db1, 1, [[layout, [1]]]));
    expect(await fleetSamples([db1])).toEqual([
      {
        name: 'thing',
        labels: { node: 'db1', site: 'north', exported_site: 's', exported_exported_node: 'n', exported_node: 'e', constructor: 'c' },
        value: 1,
      },
    ]);
  });

  test('no series is there twice: not within a block, not from two blocks, not after renaming, not by the order of labels', async () => {
    const within = layoutOf('a', [
      seriesOf('thing', [
        ['x', '1'],
        ['y', '2'],
      ]),
      seriesOf('thing', [
        ['y', '2'],
        ['x', '1'],
      ]),
      seriesOf('thing', [
        ['x', '1'],
        ['y', '2'],
        ['z', ''],
      ]),
      seriesOf('thing', [['node', 'n']]),
      seriesOf('thing', [['exported_node', 'n']]),
      seriesOf('thing', [
        ['x', '9'],
        ['x', '1'],
        ['y', '2'],
      ]),
    ]);
    const other = layoutOf('b', [
      seriesOf('thing', [
        ['x', '1'],
        ['y', '2'],
      ]),
      seriesOf('thing', [['x', 'else']]),
    ]);
    take(
      reportOf(db1, 1, [
        [within, [1, 2, 3, 4, 5, 6]],
        [other, [7, 8]],
        [other, [9, 10]],
      ]),
    );
    expect((await fleetSamples([db1])).map(({ value }) => value)).toEqual([1, 4, 8]);
  });

  test('where versions disagree the first help counts, and a type that is disputed is none', async () => {
    take(
      reportOf(db1, 1, [[layoutOf('x', [seriesOf('thing', [], { help: 'First.' })]), [1]]]),
      reportOf(db2, 1, [[layoutOf('x', [seriesOf('thing', [], { help: 'Second.', type: 'counter' })]), [2]]]),
    );
    const { types, helps, samples } = parsePage(await pageOf([db1, db2]));
    expect([types['thing'], helps['thing'], samples.filter(({ name }) => name === 'thing').length]).toEqual(['untyped', 'First.', 2]);
  });

  test('an agent cannot speak for the collector', async () => {
    const layout = layoutOf('x', [
      seriesOf('tidemark_node_up'),
      seriesOf('tidemark_collector_reports_total'),
      seriesOf('tidemark_collector_commit_duration_seconds_bucket'),
      seriesOf('tidemark_collector_live_series'),
    ]);
    take(reportOf(db1, 1, [[layout, [7, 7, 7, 7]]]));
    const { samples } = parsePage(await pageOf([db1]));
    expect(samples.filter(({ value }) => value === 7)).toEqual([
      { name: 'tidemark_collector_live_series', labels: { node: 'db1', site: 'north' }, value: 7 },
    ]);
    expect(samples).toContainEqual({ name: 'tidemark_node_up', labels: { node: 'db1', site: 'north' }, value: 1 });
  });

  test("a silent node's series go after its grace, and it is said to be down", async () => {
    const layout = layoutOf('x', [seriesOf('thing')]);
    view.heard(db1, {}, 1_500);
    take(reportOf(db1, 1, [[layout, [1]]], { receivedAt: START + 100_000 }));
    const of = async (): Promise<Record<string, number>> =>
      Object.fromEntries(parsePage(await pageOf([db1], db1)).samples.map(({ name, value }) => [name, value]));
    clock.advance(50_000);
    const seen = { tidemark_node_last_seen_timestamp_seconds: START / 1_000 + 100 };
    expect(await of()).toEqual({ thing: 1, tidemark_node_up: 1, ...seen, tidemark_node_clock_offset_seconds: -1.5 });
    clock.advance(1);
    expect(await of()).toEqual({ tidemark_node_up: 0, ...seen });
    view.settle();
    expect(await of()).toEqual(seen);
  });

  test('only approved nodes are on it', async () => {
    const gone = nodeOf(3, 'gone', { state: 'revoked' });
    take(reportOf(gone, 1, [[layoutOf('x', [seriesOf('thing')]), [1]]]));
    expect((await pageOf([gone])).includes('gone')).toBe(false);
  });

  test('a rename and another site show at once', async () => {
    const record = nodeOf(4, 'old');
    take(reportOf(record, 1, [[layoutOf('x', [seriesOf('thing')]), [1]]]));
    expect((await fleetSamples([record]))[0]!.labels).toEqual({ node: 'old', site: 'north' });
    Object.assign(record, { name: 'new', site: 'west' });
    expect((await fleetSamples([record]))[0]!.labels).toEqual({ node: 'new', site: 'west' });
  });

  test("one node's page has that node alone, and none of the collector", async () => {
    const layout = layoutOf('x', [seriesOf('thing')]);
    take(reportOf(db1, 1, [[layout, [1]]]), reportOf(db2, 1, [[layout, [2]]]));
    const { samples } = parsePage(await pageOf([db1, db2], db2));
    expect(new Set(samples.map(({ labels }) => labels['node']))).toEqual(new Set(['db2']));
  });

  test('stays whole when nodes change under it', async () => {
    const nodes = Array.from({ length: 40 }, (_, i) => nodeOf(i + 1, `n${i}`));
    const layouts = [0, 1, 2, 3].map((n) =>
      layoutOf(
        'x',
        Array.from({ length: 300 }, (_, i) =>
          seriesOf(`metric_${i % 20}`, [
            ['i', `${i}`],
            ['v', `${n % 3}`],
          ]),
        ),
      ),
    );
    const values = Array.from({ length: 300 }, (_, i) => i);
    nodes.forEach((node, i) => take(reportOf(node, 1, [[layouts[i % 4]!, values]])));
    let sequence = 1;
    let text = '';
    for await (const piece of new MetricsPage(view, fleetOf(...nodes), own.registry).all()) {
      text += piece;
      sequence++;
      for (const node of nodes)
        take(
          reportOf(node, sequence, [
            [layouts[sequence % 4]!, values],
            [layouts[3]!, values],
            [layouts[3]!, values],
          ]),
        );
    }
    expect(parsePage(text).samples.length).toBeGreaterThan(40 * 300);
  });
});

describe('any layouts at all', () => {
  const name = constantFrom('a', 'b', 'node', 'site', 'exported_node', 'constructor', 'le');
  const labels = array(tuple(name, oneof(string({ unit: 'binary', maxLength: 8 }), constantFrom('', 'x', '"', '\\', '\n'))), {
    maxLength: 4,
  });
  const value = oneof(double(), integer(), constant(null));
  const series = recordOf({
    metric: constantFrom('m', 'm_total', 'm_sum', 'up'),
    labels,
    value,
    type: constantFrom('gauge' as const, 'counter' as const),
    help: string({ unit: 'binary', maxLength: 12 }),
  });

  test('every line parses back to a value that was sent, and every sent value is there under its labels', async () => {
    await assert(
      asyncProperty(
        array(array(series, { maxLength: 6 }), { maxLength: 4 }),
        string({ unit: 'binary', minLength: 1, maxLength: 6 }),
        async (blocks, nodeName) => {
          const node = nodeOf(1, nodeName, { site: '' });
          view = new LiveView(clock);
          take(
            reportOf(
              node,
              1,
              blocks.map(
                (block, i) =>
                  [
                    layoutOf(
                      `p${i}`,
                      block.map((s) => seriesOf(s.metric, s.labels as [string, string][], s)),
                    ),
                    block.map((s) => s.value),
                  ] as const,
              ),
            ),
          );
          const samples = await fleetSamples([node]);
          const sent = blocks.flat();
          const shown = (text: string): string => text.replaceAll('\0', '\uFFFD');
          for (const sample of samples) {
            expect(sample.labels['node']).toBe(shown(nodeName));
            expect(
              sent.some(
                (s) => s.metric === sample.name && s.value !== null && (Object.is(s.value + 0, sample.value) || s.value === sample.value),
              ),
            ).toBe(true);
          }
          for (const { metric, labels: given, value: v } of sent) {
            if (v === null || given.some(([n]) => n === 'node' || n === 'site')) continue;
            const wanted = new Map([...new Map(given)].filter(([, text]) => text !== '').map(([n, text]) => [n, shown(text)]));
            const isShown = (sample: Sample): boolean => {
              const { node: _node, site: _site, ...rest } = sample.labels;
              return (
                sample.name === metric && Object.keys(rest).length === wanted.size && [...wanted].every(([n, text]) => rest[n] === text)
              );
            };
            // Of several under one name the first may have had no value; then the series is rightly absent.
            const hasRival = sent.some((s) => s.metric === metric && s.value === null);
            expect(hasRival || samples.some(isShown)).toBe(true);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe.skipIf(!hasPromtool)('promtool check metrics', () => {
  test('finds no parse error, and remarks about inherited names alone', async () => {
    own = new OwnMetrics({ version: '0.1.0', gauges: { databaseUp: () => true, reportsWaiting: () => 0, liveSeries: () => 1 } });
    own.requestAnswered('GET', '/metrics', 200, 0.01);
    own.batchCommitted(50, 3_000, 0.004);
    own.acknowledged(0.1);
    const layout = layoutOf('x', [
      seriesOf('node_memory_MemAvailable_bytes'),
      seriesOf('node_filesystem_avail_bytes', [['mountpoint', '/a "b"\n\\ 👾 </script>']]),
      seriesOf('node_vmstat_pgfault', [], { type: 'counter' }),
      seriesOf(
        'tidemark_cpu_usage_ratio',
        [
          ['node', 'x'],
          ['job', 'y'],
        ],
        { help: 'Quotes " and \\ and\nlines.' },
      ),
      seriesOf('tidemark_nan_ratio'),
    ]);
    take(reportOf(nodeOf(1, 'a"\\\n👾'), 1, [[layout, [1, Number.NEGATIVE_INFINITY, 1e21, 1e-7, Number.NaN]]]));
    const page = await pageOf([view.node(1)!.record]);
    parsePage(page);
    const { status, output } = promtool(page)!;
    expect([0, 3]).toContain(status);
    expect(output).not.toMatch(/error/i);
    const remarks = output.split('\n').filter((line) => line !== '' && !/^(node|pg)_/.test(line));
    expect(remarks).toEqual([]);
  });

  test('would find a broken page', () => {
    expect(promtool('a{b="c} 1\n')!.status).toBe(1);
    expect(promtool('# TYPE a gauge\na 1\na 1\n')!.status).not.toBe(0);
  });
});
