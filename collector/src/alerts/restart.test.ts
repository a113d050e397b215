/** A restart neither invents nor forgets an alert, timers included: snapshots, damaged ones, and the book alone. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock } from '@tidemark/service';
import { pino } from 'pino';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { IncidentBook } from '../incidents/book.ts';
import { countingBytes } from '../incidents/testing.ts';
import { LiveView } from '../live/live-view.ts';
import { START, nodeOf, reportOf } from '../live/testing.ts';
import { Evaluator } from './evaluator.ts';
import { SnapshotFile, readSnapshot } from './snapshot.ts';
import { MINUTE, Scene, TestRules, levelOf, loadLayout, ruleOf, settle } from './testing.ts';

const RULE = ruleOf({
  warning: levelOf({ above: 70 }, { clear: 60, trueForMs: 5 * MINUTE, ofLastMs: 10 * MINUTE, clearAfterMs: 5 * MINUTE }),
});
const SILENT = ruleOf({
  name: 'node-silent',
  kind: 'absent',
  metric: null,
  warning: levelOf({ missing: true }, { trueForMs: 2 * MINUTE }),
});
const LOST = ruleOf({ name: 'losing', kind: 'event', metric: 'tidemark_node_lost_reports_total', warning: levelOf({ roseBy: 1 }) });
let dataDir: string;
let file: string;

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'tidemark-evaluator-'));
  file = join(dataDir, 'alerts', 'evaluator.json');
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
});

describe('timers', () => {
  test('what is pending and what is clearing go on where they were', async () => {
    let scene = new Scene({ rules: [RULE], dataDir });
    for (let i = 0; i < 13; i++) await scene.after(15, 75);
    await scene.evaluator.stop();
    scene.clock.advance(20_000);
    scene = await scene.restarted([RULE]);
    for (let i = 0; i < 5; i++) expect(await scene.after(15, 75)).toEqual([]);
    expect([...(await scene.after(15, 75)), ...(await scene.after(15, 75))]).toEqual(['opened warning load db1']);
    expect(scene.open()[0]!.since).toBe(START + 15_000);

    for (let i = 0; i < 13; i++) expect(await scene.after(15, 10)).toEqual([]);
    await scene.evaluator.stop();
    scene = await scene.restarted([RULE]);
    for (let i = 0; i < 7; i++) expect(await scene.after(15, 10)).toEqual([]);
    expect(await scene.after(15, 10)).toEqual(['closed recovered']);
    expect(scene.told).toEqual(['opened warning load db1', 'closed recovered']);
  });

  test('of silence too; the time in which nobody listened is none', async () => {
    let scene = new Scene({ rules: [SILENT], dataDir });
    await scene.load(1);
    await scene.pass(50 + 100);
    await scene.evaluator.stop();
    scene.clock.advance(7_200_000);
    scene = await scene.restarted([SILENT]);
    expect(await scene.pass(50 + 15)).toEqual([]);
    expect(await scene.pass(10)).toEqual(['opened warning node-silent db1']);
    scene.clock.setWall(START);
    await scene.evaluator.stop();
    scene = await scene.restarted([SILENT]);
    expect(await scene.pass(100)).toEqual([]);
    await scene.load(1);
    expect(await scene.pass(2)).toEqual(['closed recovered']);
  });

  test('a rise while the collector was away is one', async () => {
    let scene = new Scene({ rules: [LOST], dataDir });
    await scene.load(1, { lost: 4 });
    await scene.evaluator.stop();
    scene.clock.advance(7_200_000);
    scene = await scene.restarted([LOST]);
    expect(await scene.load(1, { lost: 6 })).toEqual(['opened warning losing db1']);
  });

  test('reports that were stored after the snapshot fill the gap', async () => {
    let scene = new Scene({ rules: [RULE], dataDir });
    for (let i = 0; i < 10; i++) await scene.after(15, 75);
    await scene.evaluator.stop();
    const stored = Array.from({ length: 9 }, (_, i) =>
      reportOf(scene.node, 100 + i, [[loadLayout, [75]]], { at: START + (165 + 15 * i) * 1_000 }),
    );
    scene.clock.advance(135_000);
    scene = await scene.restarted([RULE]);
    for (const report of stored) scene.evaluator.replay(report);
    scene.sequence = 200;
    expect([...(await scene.after(15, 75)), ...(await scene.after(15, 75))]).toEqual(['opened warning load db1']);
  });
});

test('what led to an alert that is over, read out of the store again, opens nothing', async () => {
  let scene = new Scene({ rules: [RULE], dataDir });
  const stored = Array.from({ length: 44 }, (_, i) =>
    reportOf(scene.node, 1 + i, [[loadLayout, [i < 22 ? 75 : 10]]], { at: START + 15_000 * (i + 1) }),
  );
  for (let i = 0; i < 22; i++) await scene.after(15, 75);
  for (let i = 0; i < 22; i++) await scene.after(15, 10);
  expect(scene.told).toEqual(['opened warning load db1', 'closed recovered']);
  await scene.evaluator.stop();
  rmSync(file);
  scene = await scene.restarted([RULE]);
  for (const report of stored) scene.evaluator.replay(report);
  expect(scene.evaluator.counts.remembered).toBe(0);
  for (let i = 0; i < 10; i++) expect(await scene.after(15, 75)).toEqual([]);
});

describe('book and snapshot', () => {
  /** Killed: the snapshot is what was written at some time before, the book has everything. */
  async function killed(scene: Scene, change: () => Promise<unknown>): Promise<Scene> {
    scene.evaluator.tick();
    scene.clock.advance(6_000);
    scene.evaluator.tick();
    await expect.poll(() => existsSync(file)).toBe(true);
    const text = readFileSync(file, 'utf8');
    await change();
    await scene.evaluator.stop();
    writeFileSync(file, text);
    return scene.restarted([RULE]);
  }

  test('opened after the snapshot: open, and opened once', async () => {
    let scene = new Scene({ rules: [RULE], dataDir });
    for (let i = 0; i < 10; i++) await scene.after(15, 75);
    scene = await killed(scene, async () => {
      for (let i = 0; i < 12; i++) await scene.after(15, 75);
    });
    expect(scene.open()).toHaveLength(1);
    for (let i = 0; i < 40; i++) await scene.after(15, 75);
    expect(scene.told).toEqual(['opened warning load db1']);
    for (let i = 0; i < 22; i++) await scene.after(15, 10);
    expect(scene.told).toEqual(['opened warning load db1', 'closed recovered']);
  });

  test('closed after the snapshot: stays closed, and what led to it opens nothing', async () => {
    let scene = new Scene({ rules: [RULE], dataDir });
    for (let i = 0; i < 22; i++) await scene.after(15, 75);
    scene = await killed(scene, async () => {
      for (let i = 0; i < 22; i++) await scene.after(15, 10);
    });
    expect(scene.told).toEqual(['opened warning load db1', 'closed recovered']);
    for (let i = 0; i < 20; i++) expect(await scene.after(15, 75)).toEqual([]);
    expect([...(await scene.after(15, 75)), ...(await scene.after(15, 75))]).toEqual(['opened warning load db1']);
  });

  test('without a snapshot, with a damaged one, or with one that nobody may read: on from the book', async () => {
    let scene = new Scene({ rules: [RULE], dataDir });
    for (let i = 0; i < 22; i++) await scene.after(15, 75);
    for (const spoil of [
      () => rmSync(join(dataDir, 'alerts'), { recursive: true }),
      () => writeFileSync(file, '{"version":1,"nodes":[{'),
      () => writeFileSync(file, JSON.stringify({ version: 2 })),
      () => {
        rmSync(file);
        mkdirSync(file);
      },
    ]) {
      await scene.evaluator.stop();
      spoil();
      scene = await scene.restarted([RULE]);
      expect(scene.evaluator.counts).toEqual({ remembered: 1, open: 1 });
      for (let i = 0; i < 3; i++) expect(await scene.after(15, 75)).toEqual([]);
      rmSync(file, { recursive: true, force: true });
    }
    for (let i = 0; i < 22; i++) await scene.after(15, 10);
    expect(scene.told).toEqual(['opened warning load db1', 'closed recovered']);
  });

  test.each([
    ['the bound was changed', [ruleOf({ warning: levelOf({ above: 80 }) })], 'closed rule_changed'],
    ['the rule was removed', [], 'closed rule_removed'],
    ['its level is not judged any more', [ruleOf({ critical: levelOf({ above: 70 }, { trueForMs: MINUTE }) })], 'closed rule_changed'],
  ])('while it was away: %s', async (_, rules, told) => {
    for (const keepsSnapshot of [true, false]) {
      let scene = new Scene({ rules: [RULE], dataDir });
      for (let i = 0; i < 22; i++) await scene.after(15, 75);
      await scene.evaluator.stop();
      if (!keepsSnapshot) rmSync(file);
      scene = await scene.restarted(rules);
      await scene.after(15, 75);
      expect(scene.told).toEqual(['opened warning load db1', told]);
      await scene.evaluator.stop();
      rmSync(file, { force: true });
    }
  });

  test('while it was away: the node was retired', async () => {
    let scene = new Scene({ rules: [RULE], dataDir });
    for (let i = 0; i < 22; i++) await scene.after(15, 75);
    await scene.evaluator.stop();
    scene.node.state = 'retired';
    scene = await scene.restarted([RULE]);
    expect(await scene.pass(1)).toEqual(['closed retired']);
  });
});

describe('the file', () => {
  test('only its owner reads it; it is written when something has changed, at most every 5 s, and at the end', async () => {
    const scene = new Scene({ rules: [RULE], dataDir });
    await scene.load(75);
    scene.evaluator.tick();
    await expect.poll(() => existsSync(file)).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const savedAt = (): number => (JSON.parse(readFileSync(file, 'utf8')) as { savedAt: number }).savedAt;
    await scene.after(1, 76);
    await scene.pass(3);
    expect(savedAt()).toBe(START);
    await scene.pass(2);
    await expect.poll(savedAt).toBe(START + 5_000);
    await scene.pass(20);
    expect(savedAt()).toBe(START + 5_000);
    await scene.evaluator.stop();
    expect(savedAt()).toBe(scene.clock.wallMs());
  });

  test('it is never ahead of what is recorded', async () => {
    const clock = new ManualClock(START);
    const node = nodeOf(1, 'db1');
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const saved: string[] = [];
    const evaluator = new Evaluator({
      rules: new TestRules([ruleOf({ warning: levelOf({ above: 70 }) })]),
      recorder: { book: new IncidentBook(), epoch: 1, onRecorded: () => {}, record: () => held },
      view: new LiveView(clock),
      fleet: { all: () => [node], byId: () => node },
      clock,
      random: countingBytes(),
      log: pino({ level: 'silent' }),
      dataDir: undefined,
      elsewhere: { load: async () => undefined, save: async (text) => saved.push(text) > 0 },
    });
    const turn = async (sequence: number, value: number): Promise<void> => {
      clock.advance(6_000);
      evaluator.accept(reportOf(node, sequence, [[loadLayout, [value]]], { at: clock.wallMs() }));
      evaluator.tick();
      await settle();
    };
    await turn(1, 75);
    await turn(2, 75);
    expect(saved).toEqual([]);
    release();
    await settle();
    await turn(3, 75);
    expect(saved).toHaveLength(1);
    expect(readSnapshot(saved[0]!)!.nodes[0]!.instances).toMatchObject([{ rule: 'load', state: { level: 'warning' } }]);
    await evaluator.stop();
  });

  test('a directory that cannot be written to keeps nobody from judging', async () => {
    writeFileSync(join(dataDir, 'alerts'), 'in the way');
    const scene = new Scene({ rules: [RULE], dataDir });
    await scene.evaluator.open();
    for (let i = 0; i < 22; i++) {
      await scene.after(15, 75);
      scene.evaluator.tick();
    }
    expect(scene.open()).toHaveLength(1);
    await scene.evaluator.stop();
  });

  test('what is written is read back the same', async () => {
    chmodSync(dataDir, 0o700);
    const snapshots = new SnapshotFile(dataDir);
    expect(await snapshots.read()).toBeUndefined();
    await snapshots.write('{"a":1}');
    expect(await snapshots.read()).toBe('{"a":1}');
  });
});
