/** The live view's rules: what replaces what, what ends when, and who is silent. */
import { ManualClock } from '@tidemark/service';
import { beforeEach, describe, expect, test } from 'vitest';
import { LiveView, graceMs } from './live-view.ts';
import { watchForStalls } from './stall-watch.ts';
import { START, layoutOf, nodeOf, reportOf, seriesOf } from './testing.ts';

const cpu = layoutOf('cpu', [seriesOf('cpu')]);
const disk = layoutOf('disk', [seriesOf('disk', [['device', 'sda']])]);
const biggerDisk = layoutOf('disk', [seriesOf('disk', [['device', 'sda']]), seriesOf('disk', [['device', 'sdb']])]);
const inventory = layoutOf('inventory', [seriesOf('node_uname_info')]);
const DAY_MS = 86_400_000;

let clock: ManualClock;
let view: LiveView;
const node = nodeOf(1, 'db1');
/** Probe and values of every block the view has of the node. */
const shown = (): Record<string, readonly (number | null)[]> =>
  Object.fromEntries(view.node(1)!.blocks.map((block) => [block.layout.probe + block.layout.instance, block.values]));

beforeEach(() => {
  clock = new ManualClock(START);
  view = new LiveView(clock);
});

describe('what replaces what', () => {
  test('back-fill and older reports never overwrite newer values, in whatever order they come', () => {
    view.accept(reportOf(node, 30, [[cpu, [30]]]));
    view.accept(reportOf(node, 10, [[cpu, [10]]], { live: false }));
    view.accept(reportOf(node, 29, [[cpu, [29]]]));
    expect(shown()).toEqual({ cpu: [30] });
  });

  test('within one run the sequence decides, even when the clock was set back', () => {
    view.accept(reportOf(node, 1, [[cpu, [1]]], { at: START + 60_000 }));
    view.accept(reportOf(node, 2, [[cpu, [2]]], { at: START + 15_000 }));
    expect(shown()).toEqual({ cpu: [2] });
  });

  test('after a restart of the agent, time decides', () => {
    view.accept(reportOf(node, 500, [[cpu, [1]]], { at: START + 10_000, bootId: 'a' }));
    view.accept(reportOf(node, 1, [[cpu, [2]]], { at: START + 20_000, bootId: 'b' }));
    view.accept(reportOf(node, 499, [[cpu, [0]]], { at: START + 9_000, bootId: 'a' }));
    expect(shown()).toEqual({ cpu: [2] });
  });

  test('an urgent partial report touches only what it brings', () => {
    view.accept(
      reportOf(node, 1, [
        [cpu, [1]],
        [disk, [5]],
      ]),
    );
    view.accept(reportOf(node, 2, [[disk, [6]]], { partial: true }));
    expect(shown()).toEqual({ cpu: [1], disk: [6] });
  });

  test('a changed layout takes the place of the block it continues', () => {
    view.accept(
      reportOf(node, 1, [
        [cpu, [1]],
        [disk, [5]],
      ]),
    );
    view.accept(
      reportOf(node, 2, [
        [cpu, [1]],
        [biggerDisk, [5, 6]],
      ]),
    );
    expect(shown()).toEqual({ cpu: [1], disk: [5, 6] });
    expect([...view.layouts()]).toEqual([cpu, biggerDisk]);
    expect(view.seriesCount()).toBe(3);
  });

  test('blocks of one probe stay apart by instance, and two of one name in a report stay two', () => {
    const [a, b] = [layoutOf('postgres', [seriesOf('pg_up')], 'a'), layoutOf('postgres', [seriesOf('pg_up')], 'b')];
    view.accept(
      reportOf(node, 1, [
        [a, [1]],
        [b, [0]],
        [cpu, [1]],
        [cpu, [2]],
      ]),
    );
    view.accept(
      reportOf(node, 2, [
        [b, [1]],
        [a, [0]],
        [cpu, [3]],
        [cpu, [4]],
      ]),
    );
    expect(view.node(1)!.blocks.map((block) => [block.layout.instance, block.values[0]])).toEqual([
      ['a', 0],
      ['b', 1],
      ['', 3],
      ['', 4],
    ]);
  });
});

describe('what ends', () => {
  const run = (from: number, to: number, brings: (sequence: number) => Parameters<typeof reportOf>[2]): void => {
    for (let sequence = from; sequence <= to; sequence++) {
      clock.advance(15_000);
      view.accept(reportOf(node, sequence, brings(sequence), { at: clock.wallMs() }));
    }
  };

  test('a block that came with every report is gone after three that lack it', () => {
    run(1, 2, () => [
      [cpu, [1]],
      [disk, [2]],
    ]);
    run(3, 5, () => [[cpu, [1]]]);
    expect(Object.keys(shown())).toEqual(['cpu', 'disk']);
    run(6, 6, () => [[cpu, [1]]]);
    expect(Object.keys(shown())).toEqual(['cpu']);
    expect([...view.layouts()]).toHaveLength(1);
  });

  test('partial reports end nothing', () => {
    run(1, 2, () => [
      [cpu, [1]],
      [disk, [2]],
    ]);
    for (let sequence = 3; sequence < 40; sequence++) {
      clock.advance(15_000);
      view.accept(reportOf(node, sequence, [[cpu, [1]]], { at: clock.wallMs(), partial: true }));
    }
    expect(Object.keys(shown())).toEqual(['cpu', 'disk']);
  });

  test('a probe that runs once a day keeps its block between, and a restart of the agent does not shorten that', () => {
    view.accept(
      reportOf(
        node,
        1,
        [
          [cpu, [1]],
          [inventory, [1]],
        ],
        { bootId: 'z', at: START - 30_000 },
      ),
    );
    view.accept(
      reportOf(
        node,
        1,
        [
          [cpu, [1]],
          [inventory, [1]],
        ],
        { at: START },
      ),
    );
    for (let hour = 1; hour <= 24; hour++) {
      clock.advance(3_600_000);
      view.accept(reportOf(node, 1 + hour, [[cpu, [1]]], { at: clock.wallMs() }));
    }
    expect(Object.keys(shown())).toEqual(['cpu', 'inventory']);
    view.accept(
      reportOf(
        node,
        100,
        [
          [inventory, [1]],
          [cpu, [1]],
        ],
        { at: clock.wallMs() },
      ),
    );
    clock.advance(2.9 * DAY_MS);
    view.accept(reportOf(node, 101, [[cpu, [1]]], { at: clock.wallMs() }));
    expect(Object.keys(shown())).toContain('inventory');
    clock.advance(0.2 * DAY_MS);
    view.accept(reportOf(node, 102, [[cpu, [1]]], { at: clock.wallMs() }));
    expect(Object.keys(shown())).toEqual(['cpu']);
  });

  test('a backlog does not bring back what has ended', () => {
    run(10, 11, () => [[cpu, [1]]]);
    for (let sequence = 9; sequence > 0; sequence--) {
      view.accept(
        reportOf(
          node,
          sequence,
          [
            [cpu, [1]],
            [disk, [2]],
          ],
          { at: START - 3_600_000 + sequence * 15_000, live: false },
        ),
      );
    }
    run(12, 12, () => [[cpu, [1]]]);
    expect(Object.keys(shown())).toEqual(['cpu']);
  });

  test('an observation ends likewise', () => {
    const seen = { kind: 'postgres.replication', version: 1, instance: 'main', document: { up: true } };
    for (const sequence of [1, 2])
      view.accept(reportOf(node, sequence, [[cpu, [1]]], { at: START + sequence * 15_000, observations: [seen] }));
    expect(view.node(1)!.observations).toHaveLength(1);
    view.accept(reportOf(node, 9, [[cpu, [1]]], { at: START + 9 * 15_000 }));
    expect(view.node(1)!.observations).toEqual([]);
  });

  test('a retired node is forgotten with its layouts', () => {
    run(1, 1, () => [[cpu, [1]]]);
    view.forget(1);
    expect(view.node(1)).toBeUndefined();
    expect([...view.layouts()]).toEqual([]);
  });
});

describe('observations', () => {
  const of = (document: unknown) => [{ kind: 'postgres.replication', version: 1, instance: 'main', document }];
  const latest = () => view.node(1)!.observations[0]!;

  test('keep since when the document is what it is', () => {
    view.accept(reportOf(node, 1, [], { observations: of({ up: true, replicas: [{ name: 'x' }] }) }));
    view.accept(reportOf(node, 2, [], { observations: of({ replicas: [{ name: 'x' }], up: true }) }));
    expect(latest()).toMatchObject({ at: START + 2_000, since: START + 1_000 });
    view.accept(reportOf(node, 3, [], { observations: of({ up: false, replicas: [] }) }));
    expect(latest()).toMatchObject({ at: START + 3_000, since: START + 3_000 });
    view.accept(reportOf(node, 2, [], { observations: of({ up: true, replicas: [] }), live: false }));
    expect(latest().observation.document).toEqual({ up: false, replicas: [] });
  });

  test('out of the store give way to what was heard, and keep its since', () => {
    view.restoreObservation(node, { observation: of({ up: true })[0]!, at: START - 9_000, since: START - DAY_MS });
    expect(latest().restored).toBe(true);
    view.accept(reportOf(node, 1, [], { observations: of({ up: true }) }));
    expect(latest()).toMatchObject({ restored: false, since: START - DAY_MS, at: START + 1_000 });
    view.restoreObservation(node, { observation: of({ up: false })[0]!, at: START, since: START });
    expect(latest().observation.document).toEqual({ up: true });
  });
});

describe('who is silent', () => {
  test('grace is three reports and their travel, and at least half a minute', () => {
    expect(graceMs(nodeOf(1, 'a', { intervalSeconds: 15 }))).toBe(50_000);
    expect(graceMs(nodeOf(1, 'a', { intervalSeconds: 1 }))).toBe(30_000);
    expect(graceMs(nodeOf(1, 'a', { intervalSeconds: null }))).toBe(50_000);
  });

  test('a node is up within its grace, whatever its reports and the wall clock say of the time', () => {
    clock.advance(60_000);
    view.accept(reportOf(node, 1, [[cpu, [1]]], { at: START - 3_600_000 }));
    clock.setWall(START + DAY_MS);
    expect(view.liveness(node)).toBe('up');
    clock.advance(50_000);
    expect(view.liveness(node)).toBe('up');
    clock.advance(1);
    expect(view.liveness(node)).toBe('silent');
  });

  test('a request without a new report is a sign of life', () => {
    clock.advance(60_000);
    view.heard(node, { lostReports: 3 }, -250);
    expect(view.liveness(node)).toBe('up');
    expect(view.node(1)).toMatchObject({ lostReports: 3, agentAheadMs: 250, lastSeenAt: START + 60_000 });
  });

  test('after the start nobody is called silent before its grace is over', () => {
    view.restore(reportOf(node, 1, [[cpu, [1]]], { at: START - 20_000 }));
    expect(view.liveness(node)).toBe('unknown');
    expect(view.liveness(nodeOf(2, 'never heard'))).toBe('unknown');
    expect(view.node(1)!.lastSeenAt).toBe(START - 20_000);
    clock.advance(50_001);
    expect(view.liveness(node)).toBe('silent');
  });

  test('restored values are current only as long as they would have been', () => {
    view.restore(reportOf(node, 1, [[cpu, [1]]], { at: START - 20_000 }));
    expect(view.isCurrent(view.node(1)!)).toBe(true);
    clock.advance(31_000);
    expect(view.isCurrent(view.node(1)!)).toBe(false);
  });

  test('a report that arrives before older ones are restored stays', () => {
    view.accept(reportOf(node, 9, [[cpu, [9]]]));
    view.restore(reportOf(node, 8, [[cpu, [8]]]));
    view.restoreLastSeen(node, START + 3_600_000);
    expect(shown()).toEqual({ cpu: [9] });
    expect(view.node(1)!.lastSeenAt).toBe(START + 9_000);
  });

  test("time in which the collector did not run is nobody's silence", () => {
    const stalls: number[] = [];
    const watch = watchForStalls(clock, (lostMs) => {
      stalls.push(lostMs);
      view.settle();
    });
    try {
      clock.advance(60_000);
      watch.look();
      view.accept(reportOf(node, 1, [[cpu, [1]]]));
      clock.advance(1_000);
      watch.look();
      clock.advance(3_600_000);
      watch.look();
      expect(stalls).toEqual([59_000, 3_599_000]);
      expect(view.liveness(node)).toBe('unknown');
      clock.advance(50_001);
      expect(view.liveness(node)).toBe('silent');
    } finally {
      watch.stop();
    }
  });
});
