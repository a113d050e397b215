/** Judging what reports bring: series, the collector's own series, observations, silence, rules and nodes that change. */
import { Value } from 'typebox/value';
import { describe, expect, test } from 'vitest';
import { layoutOf, nodeOf, reportOf, seriesOf, START } from '../live/testing.ts';
import { Snapshot } from './snapshot.ts';
import { MINUTE, Scene, levelOf, loadLayout, ruleOf, settle } from './testing.ts';

const LOAD = ruleOf({ warning: levelOf({ above: 70 }, { clear: 60 }), critical: levelOf({ above: 90 }, { clear: 85 }) });
const SILENT = ruleOf({
  name: 'node-silent',
  title: 'Node silent',
  kind: 'absent',
  metric: null,
  warning: levelOf({ missing: true }, { trueForMs: MINUTE, clearAfterMs: 30_000 }),
  critical: levelOf({ missing: true }, { trueForMs: 5 * MINUTE, clearAfterMs: 30_000 }),
});

describe('series', () => {
  test('one incident from the crossing to the end, with everything somebody needs to know', async () => {
    const scene = new Scene({ rules: [LOAD] });
    expect(await scene.after(15, 50)).toEqual([]);
    expect(await scene.after(15, 75)).toEqual(['opened warning load db1']);
    const [incident] = scene.open();
    expect(incident).toMatchObject({
      rule: 'load',
      nodeId: 1,
      nodeName: 'db1',
      site: 'north',
      value: 75,
      bound: { above: 70 },
      why: 'Load 75 is above 70.',
      since: START + 30_000,
      openedAt: START + 30_000,
    });
    expect(scene.evaluator.latest(incident!.incidentId)).toEqual({ value: 75, at: START + 30_000 });
    expect(await scene.after(15, 95)).toEqual(['level critical']);
    expect(scene.open()[0]).toMatchObject({ incidentId: incident!.incidentId, level: 'critical', why: 'Load 95 is above 90.' });
    expect(await scene.after(15, 50)).toEqual(['closed recovered']);
    expect(scene.recorder.book.incident(incident!.incidentId)).toMatchObject({ why: 'Load is 50, back at 85 or less.', value: 50 });
    expect(await scene.after(15, 75)).toEqual(['opened warning load db1']);
    expect(scene.open()[0]!.incidentId).not.toBe(incident!.incidentId);
  });

  test('each label set by itself, and only those a rule selects', async () => {
    const layout = layoutOf('disk', [
      seriesOf('usage', [
        ['mountpoint', '/'],
        ['fstype', 'ext4'],
      ]),
      seriesOf('usage', [
        ['fstype', 'ext4'],
        ['mountpoint', '/var'],
      ]),
      seriesOf('usage', [
        ['mountpoint', '/net'],
        ['fstype', 'nfs4'],
      ]),
    ]);
    const rule = ruleOf({
      name: 'disk',
      title: 'Disk usage',
      unit: 'ratio',
      metric: 'usage',
      labels: { fstype: ['!nfs*'] },
      warning: levelOf({ above: 0.7 }),
    });
    const scene = new Scene({ rules: [rule] });
    await scene.report([[layout, [0.93, 0.8, 0.99]]]);
    expect(scene.open().map(({ labels, why }) => [labels, why])).toEqual([
      [
        [
          ['fstype', 'ext4'],
          ['mountpoint', '/'],
        ],
        'Disk usage of / 93 % is above 70 %.',
      ],
      [
        [
          ['fstype', 'ext4'],
          ['mountpoint', '/var'],
        ],
        'Disk usage of /var 80 % is above 70 %.',
      ],
    ]);
    // In another order and with another one beside it, they are the same.
    scene.clock.advance(15_000);
    const other = layoutOf('disk', [...layout.series, seriesOf('usage', [['mountpoint', '/new']])].toReversed());
    expect(await scene.report([[other, [0.1, 0.99, 0.8, 0.5]]])).toEqual(['closed recovered']);
  });

  test('null and NaN are not measured: it is said after a bridge, and closes nothing', async () => {
    const scene = new Scene({ rules: [LOAD] });
    await scene.after(15, 75);
    expect([...(await scene.after(15, null)), ...(await scene.after(15, Number.NaN)), ...(await scene.after(15, null))]).toEqual([]);
    expect(await scene.after(15, null)).toEqual(['data gone']);
    expect(await scene.after(3_600, Number.NaN)).toEqual([]);
    expect(await scene.after(15, 76)).toEqual(['data back']);
    expect(scene.open()).toHaveLength(1);
  });

  test('a partial report says nothing about what it leaves out', async () => {
    const scene = new Scene({ rules: [LOAD] });
    await scene.after(15, 75);
    scene.clock.advance(120_000);
    expect(await scene.report([], { partial: true })).toEqual([]);
    expect(await scene.report([])).toEqual(['data gone']);
  });

  test('what its probe says is not there any more is closed for that reason; what a failing probe does not bring is not', async () => {
    const agentLayout = layoutOf('agent', [seriesOf('tidemark_probe_success', [['probe', 'load']])]);
    const other = layoutOf('load', [seriesOf('other')]);
    const scene = new Scene({ rules: [LOAD] });
    const turn = (blocks: Parameters<Scene['report']>[0]) => {
      scene.clock.advance(15_000);
      return scene.report(blocks);
    };
    for (let i = 0; i < 3; i++)
      await turn([
        [loadLayout, [75]],
        [agentLayout, [1]],
      ]);
    for (let i = 0; i < 60; i++) await turn([[agentLayout, [0]]]);
    expect(scene.told).toEqual(['opened warning load db1', 'data gone']);
    for (let i = 0; i < 42; i++)
      await turn([
        [other, [1]],
        [agentLayout, [1]],
      ]);
    expect(scene.told.at(-1)).toBe('closed gone');
    // The whole block is not there though its probe succeeds.
    for (let i = 0; i < 3; i++)
      await turn([
        [loadLayout, [75]],
        [agentLayout, [1]],
      ]);
    for (let i = 0; i < 42; i++) await turn([[agentLayout, [1]]]);
    expect(scene.told.slice(-2)).toEqual(['data gone', 'closed gone']);
  });

  test('what is not seen of a server that is down is not gone', async () => {
    const rule = ruleOf({ name: 'behind', metric: 'behind', warning: levelOf({ above: 70 }) });
    const whole = layoutOf('postgres', [seriesOf('pg_up'), seriesOf('behind', [['replica', 'b']])], 'main');
    const alone = layoutOf('postgres', [seriesOf('pg_up')], 'main');
    const scene = new Scene({ rules: [rule] });
    await scene.report([[whole, [1, 75]]]);
    const turns = async (up: number): Promise<void> => {
      for (let i = 0; i < 60; i++) {
        scene.clock.advance(15_000);
        await scene.report([[alone, [up]]]);
      }
    };
    await turns(0);
    expect(scene.told).toEqual(['opened warning behind db1', 'data gone']);
    await turns(1);
    expect(scene.told.at(-1)).toBe('closed gone');
  });

  test('a report of last week is ignored, late ones of today fill the history', async () => {
    const rule = ruleOf({ warning: levelOf({ above: 70 }, { trueForMs: 2 * MINUTE }) });
    const scene = new Scene({ rules: [rule] });
    const late = (secondsAgo: number) => scene.load(75, { live: false, at: scene.clock.wallMs() - secondsAgo * 1_000 });
    await late(7 * 86_400);
    expect(scene.evaluator.counts.remembered).toBe(0);
    for (let ago = 300; ago >= 15; ago -= 15) await late(ago);
    expect(scene.told).toEqual([]);
    expect(await scene.load(75)).toEqual(['opened warning load db1']);
    expect(scene.open()[0]!.since).toBe(scene.clock.wallMs() - 300_000);
  });

  test('nodes that are not approved are not judged', async () => {
    const scene = new Scene({ rules: [LOAD], nodes: [nodeOf(1, 'db1', { state: 'pending' })] });
    expect(await scene.after(15, 99)).toEqual([]);
    expect(await scene.pass(400)).toEqual([]);
  });
});

describe("the collector's own series", () => {
  test('a clock that is off, before or behind', async () => {
    const rule = ruleOf({
      name: 'clock-off',
      title: 'Clock off',
      unit: 'seconds',
      metric: 'tidemark_node_clock_error_seconds',
      warning: levelOf({ above: 2 }, { clear: 1 }),
    });
    const scene = new Scene({ rules: [rule] });
    await scene.load(1, { aheadMs: 2_000 });
    expect(scene.told).toEqual([]);
    scene.clock.advance(15_000);
    await scene.load(1, { aheadMs: -3_500 });
    expect(scene.open()[0]).toMatchObject({ value: 3.5, why: 'Clock off 3.5 s is above 2 s.' });
    scene.clock.advance(15_000);
    expect(await scene.load(1, { aheadMs: 900 })).toEqual(['closed recovered']);
  });

  test('lost reports: a rise is one, a value from before or a reset is none', async () => {
    const rule = ruleOf({
      name: 'losing',
      title: 'Agent losing reports',
      kind: 'event',
      metric: 'tidemark_node_lost_reports_total',
      warning: levelOf({ roseBy: 1 }, { clearAfterMs: 15 * MINUTE }),
    });
    const scene = new Scene({ rules: [rule] });
    const turn = (lost: number) => {
      scene.clock.advance(15_000);
      return scene.load(1, { lost });
    };
    expect([...(await turn(7)), ...(await turn(7)), ...(await turn(0))]).toEqual([]);
    expect(await turn(3)).toEqual(['opened warning losing db1']);
    expect(scene.open()[0]!.why).toBe('Agent losing reports: rose by 3.');
    for (let i = 0; i < 59; i++) expect(await turn(3)).toEqual([]);
    expect(await turn(3)).toEqual(['closed recovered']);
  });

  test("an agent's counter: compared within one run", async () => {
    const rule = ruleOf({ kind: 'event', warning: levelOf({ roseBy: 5 }, { clearAfterMs: MINUTE }) });
    const scene = new Scene({ rules: [rule] });
    const turn = (value: number, bootId: string) => {
      scene.clock.advance(15_000);
      return scene.load(value, { bootId });
    };
    await turn(100, 'a');
    await turn(104, 'a');
    await turn(200, 'b');
    expect(scene.told).toEqual([]);
    expect(await turn(205, 'b')).toEqual(['opened warning load db1']);
  });
});

describe('observations and absence', () => {
  test('a field of an observation, by its instance', async () => {
    const rule = ruleOf({
      name: 'receiver',
      title: 'WAL receiver',
      kind: 'state',
      metric: null,
      observation: { kind: 'postgres.replication', field: 'receiver.status' },
      critical: levelOf({ isNot: ['streaming'] }),
    });
    const scene = new Scene({ rules: [rule] });
    const turn = (document: unknown) => {
      scene.clock.advance(15_000);
      return scene.report([], { observations: [{ kind: 'postgres.replication', version: 1, instance: 'main', document }] });
    };
    expect(await turn({ receiver: { status: 'streaming' } })).toEqual([]);
    expect(await turn({ receiver: { status: 'stopping' } })).toEqual(['opened critical receiver db1']);
    expect(scene.open()[0]).toMatchObject({ labels: [['instance', 'main']], why: 'WAL receiver of main is stopping.', value: null });
    for (let i = 0; i < 4; i++) await turn({ receiver: null });
    expect(scene.told.at(-1)).toBe('data gone');
    expect(await turn({ receiver: { status: 'streaming' } })).toEqual(['data back', 'closed recovered']);
  });

  test('a series that is not there, and one with a pace of its own that is', async () => {
    const rule = ruleOf({ name: 'no-load', title: 'No load', kind: 'absent', warning: levelOf({ missing: true }, { trueForMs: MINUTE }) });
    const other = layoutOf('cpu', [seriesOf('cpu')]);
    const scene = new Scene({ rules: [rule] });
    const turn = (isThere: boolean) => {
      scene.clock.advance(15_000);
      return scene.report([[other, [1]], ...(isThere ? [[loadLayout, [1]] as const] : [])]);
    };
    // Each fourth report only: its pace.
    for (let i = 0; i < 40; i++) await turn(i % 4 === 0);
    expect(scene.told).toEqual([]);
    for (let i = 0; i < 30; i++) await turn(false);
    expect(scene.told).toEqual(['opened warning no-load db1']);
    expect(scene.open()[0]!.why).toBe('No load: no series load is there, for 1 min without interruption.');
    expect(await turn(true)).toEqual(['closed recovered']);
  });
});

describe('silence', () => {
  test('judged on arrival: freezes the other rules, ends when it reports again', async () => {
    const scene = new Scene({ rules: [LOAD, SILENT] });
    await scene.after(60, 75);
    // 50 s of grace, then a minute.
    expect(await scene.pass(50)).toEqual([]);
    expect(await scene.pass(2)).toEqual(['data gone']);
    expect(await scene.pass(58)).toEqual([]);
    expect(await scene.pass(2)).toEqual(['opened warning node-silent db1']);
    const silent = scene.open().find(({ rule }) => rule === 'node-silent')!;
    expect(silent.since).toBe(START + 60_000);
    expect(silent.why).toMatch(/^Nothing was heard from it for 1 min 5\d s\.$/);
    expect(await scene.pass(240)).toEqual(['level critical']);
    expect(await scene.load(75)).toEqual(['data back']);
    for (let i = 0; i < 3; i++) {
      await scene.pass(15);
      await scene.load(75);
    }
    expect(scene.told.at(-1)).toBe('closed recovered');
    expect(scene.open().map(({ rule }) => rule)).toEqual(['load']);
  });

  test('the collector has just started, or did not run: nobody is silent for that', async () => {
    const scene = new Scene({ rules: [SILENT] });
    await scene.load(1);
    await scene.pass(40);
    scene.clock.advance(3_600_000);
    scene.view.settle();
    expect(await scene.pass(49)).toEqual([]);
    await scene.load(1);
    expect(await scene.pass(40)).toEqual([]);
  });

  test('a wall clock that is set changes nothing', async () => {
    const scene = new Scene({ rules: [SILENT] });
    await scene.load(1);
    await scene.pass(90);
    scene.clock.setWall(scene.clock.wallMs() + 3_600_000);
    expect(await scene.pass(19)).toEqual([]);
    scene.clock.setWall(scene.clock.wallMs() - 7_200_000);
    expect(await scene.pass(3)).toEqual(['opened warning node-silent db1']);
  });

  test('a node that was added and never started has not fallen silent', async () => {
    const scene = new Scene({ rules: [SILENT], nodes: [nodeOf(1, 'new', { agentVersion: null, intervalSeconds: null })] });
    expect(await scene.pass(600)).toEqual([]);
    const heardBefore = new Scene({ rules: [SILENT] });
    expect(await heardBefore.pass(600)).toEqual(['opened warning node-silent db1', 'level critical']);
  });

  test('500 nodes at once are one call to the recorder', async () => {
    const nodes = Array.from({ length: 500 }, (_, i) => nodeOf(i + 1, `n${i}`));
    const scene = new Scene({ rules: [SILENT], nodes });
    for (const from of nodes) await scene.load(1, { from });
    await scene.pass(120);
    expect(scene.calls).toEqual([500]);
  });
});

describe('rules and nodes that change', () => {
  test('an edit that ends it, a rule that is gone, another that only reads differently', async () => {
    const scene = new Scene({ rules: [LOAD] });
    await scene.after(15, 95);
    scene.rules.set([{ ...LOAD, annotations: { summary: 'new' } }]);
    scene.rules.set([ruleOf({ critical: levelOf({ above: 99 }, { clear: 98 }) })]);
    await settle();
    expect(scene.told.slice(1)).toEqual(['closed rule_changed']);
    expect(scene.recorder.book.incident([...scene.recorder.book.past()][0]!.incidentId)!.why).toBe(
      'Load: its rule was changed. 95 is not beyond it (above 99).',
    );
    scene.rules.set([LOAD]);
    expect(await scene.after(15, 95)).toEqual(['opened critical load db1']);
    scene.rules.set([]);
    await settle();
    expect(scene.told.at(-1)).toBe('closed rule_removed');
  });

  test('other labels that leave it out, another metric under the same name', async () => {
    const layout = layoutOf('load', [seriesOf('load', [['cpu', '1']])]);
    const scene = new Scene({ rules: [LOAD] });
    await scene.report([[layout, [95]]]);
    scene.rules.set([ruleOf({ ...LOAD, labels: { cpu: ['2'] } })]);
    await settle();
    expect(scene.told.at(-1)).toBe('closed rule_changed');
    scene.rules.set([LOAD]);
    await scene.after(15, 95);
    scene.rules.set([ruleOf({ ...LOAD, metric: 'other' })]);
    await settle();
    expect(scene.told.at(-1)).toBe('closed rule_changed');
  });

  test('a node that rules do not select any more, by its own doing', async () => {
    const scene = new Scene();
    scene.rules.set((node) => (node.site === 'north' ? NORTH : NOWHERE));
    await scene.after(15, 95);
    scene.node.site = 'south';
    expect(await scene.after(15, 95)).toEqual(['closed rule_removed']);
  });

  test.each(['retired', 'revoked'] as const)('%s: everything of it is closed for that reason', async (state) => {
    const scene = new Scene({ rules: [LOAD, SILENT] });
    await scene.after(15, 95);
    await scene.pass(120);
    expect(scene.open()).toHaveLength(2);
    scene.node.state = state;
    expect(await scene.pass(1)).toEqual(['closed retired', 'closed retired']);
    expect(scene.evaluator.counts).toEqual({ remembered: 0, open: 0 });
    expect(await scene.pass(600)).toEqual([]);
  });

  test('closed by hand: it has to become true anew', async () => {
    const rule = ruleOf({ warning: levelOf({ above: 70 }, { trueForMs: MINUTE }) });
    const scene = new Scene({ rules: [rule] });
    for (let i = 0; i < 5; i++) await scene.after(15, 75);
    const { incidentId } = scene.open()[0]!;
    await scene.recorder.record([{ kind: 'closed', incidentId, reason: 'closed_by_hand', value: null, why: '', at: scene.clock.wallMs() }]);
    for (let i = 0; i < 4; i++) expect(await scene.after(15, 75)).toEqual([]);
    expect(await scene.after(15, 75)).toEqual(['opened warning load db1']);
  });

  test('another collector has taken over: nothing is decided any more', async () => {
    const scene = new Scene({ rules: [LOAD] });
    scene.recorder.supersede(2);
    expect(await scene.after(15, 95)).toEqual([]);
    expect(scene.evaluator.counts.remembered).toBe(0);
  });
});

describe('clocks that are set', () => {
  const rule = ruleOf({ warning: levelOf({ above: 70 }, { trueForMs: 5 * MINUTE, clearAfterMs: 5 * MINUTE }) });

  test.each([3_600_000, -3_600_000, -60_000])(
    'by %d ms while it is pending and while it clears: it takes as long as it takes',
    async (shift) => {
      const scene = new Scene({ rules: [rule] });
      for (const [value, told] of [
        [75, 'opened warning load db1'],
        [10, 'closed recovered'],
      ] as const) {
        for (let i = 0; i < 10; i++) expect(await scene.after(15, value)).toEqual([]);
        scene.clock.setWall(scene.clock.wallMs() + shift);
        for (let i = 10; i < 20; i++) expect(await scene.after(15, value), `${value} ${i}`).toEqual([]);
        expect([...(await scene.after(15, value)), ...(await scene.after(15, value)), ...(await scene.after(15, value))]).toEqual([told]);
      }
    },
  );

  test('an hour that reports came late is no clock that was set', async () => {
    const scene = new Scene({ rules: [ruleOf({ warning: levelOf({ above: 70 }, { trueForMs: 5 * MINUTE, ofLastMs: 10 * MINUTE }) })] });
    for (let i = 0; i < 16; i++) await scene.after(15, 75);
    // Nothing for an hour, but for a report in the middle of it that comes afterwards.
    scene.clock.advance(3_600_000);
    await scene.load(75, { live: false, at: scene.clock.wallMs() - 1_800_000 });
    expect(await scene.load(75)).toEqual([]);
    for (let i = 0; i < 19; i++) expect(await scene.after(15, 75)).toEqual([]);
    expect(await scene.after(15, 75)).toEqual(['opened warning load db1']);
  });
});

test('nothing is kept of what is calm', async () => {
  const scene = new Scene({ rules: [LOAD, SILENT] });
  for (let i = 0; i < 10; i++) {
    await scene.after(15, 50);
    scene.evaluator.tick();
  }
  expect(scene.evaluator.counts).toEqual({ remembered: 0, open: 0 });
  const snapshot: unknown = JSON.parse(scene.evaluator.export());
  expect(Value.Check(Snapshot, snapshot)).toBe(true);
  expect(snapshot).toMatchObject({ nodes: [], counters: [] });
});

test('a node with more series beyond than anybody can look at has an end of alerts, and those that are open go on', async () => {
  const layout = layoutOf(
    'many',
    Array.from({ length: 3_000 }, (_, i) => seriesOf('load', [['n', String(i)]])),
  );
  const scene = new Scene({ rules: [LOAD] });
  await scene.report([[layout, layout.series.map(() => 75)]]);
  expect(scene.open()).toHaveLength(2_000);
  scene.clock.advance(15_000);
  await scene.report([[layout, layout.series.map(() => 10)]]);
  expect(scene.open()).toHaveLength(0);
});

test('a report of the store is judged as a late one', async () => {
  const scene = new Scene({ rules: [LOAD] });
  scene.evaluator.replay(reportOf(scene.node, 1, [[loadLayout, [75]]], { live: true }));
  await settle();
  expect(scene.told).toEqual([]);
  expect(scene.evaluator.counts.remembered).toBe(1);
});

const NORTH = [LOAD];
const NOWHERE: readonly never[] = [];
