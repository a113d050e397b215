import { ManualClock } from '@tidemark/service';
import { describe, expect, test } from 'vitest';
import type { DeliveryItem, Happening, Outcome } from '../incidents/entry.ts';
import type { Recorder } from '../incidents/recorder.ts';
import { memoryRecorder, openingOf } from '../incidents/testing.ts';
import type { Only } from './only.ts';
import { MAX_ITEMS, planFor, type ChannelWork } from './plan.ts';

interface Scene {
  clock: ManualClock;
  recorder: Recorder;
  record: (...happenings: Happening[]) => Promise<void>;
  plan: (only?: Only, revivedAt?: number) => ChannelWork;
}

function scene(): Scene {
  const clock = new ManualClock(1_000_000);
  const recorder = memoryRecorder(clock);
  return {
    clock,
    recorder,
    record: (...happenings) => recorder.record(happenings.map((happening) => ({ ...happening, at: clock.wallMs() }))),
    plan: (only = {}, revivedAt = 0) =>
      planFor(
        recorder.book,
        { name: 'ops', only, revivedAt },
        { now: clock.wallMs(), nodeOf: (id) => ({ name: `n${id}`, site: 'north', tags: { role: 'db' } }) },
      ),
  };
}

const opened = (incidentId: string, more: Parameters<typeof openingOf>[1] = {}): Happening => ({
  kind: 'opened',
  opening: openingOf(incidentId, more),
});
const level = (incidentId: string, to: 'warning' | 'critical'): Happening => ({
  kind: 'level',
  incidentId,
  level: to,
  value: 1,
  bound: { above: 0.9 },
  why: '',
});
const closed = (incidentId: string): Happening => ({ kind: 'closed', incidentId, reason: 'recovered', value: 0, why: '' });
const firing = (incidentId: string, to: 'warning' | 'critical' = 'warning'): DeliveryItem => ({ incidentId, status: 'firing', level: to });
const attempted = (deliveryId: string, items: DeliveryItem[], attempt = 1, thread = deliveryId): Happening => ({
  kind: 'attempted',
  deliveryId,
  channel: 'ops',
  attempt,
  thread,
  items,
});
const answered = (deliveryId: string, outcome: Outcome, attempt = 1): Happening => ({
  kind: 'answered',
  deliveryId,
  channel: 'ops',
  attempt,
  outcome,
  answer: '',
  retryAt: outcome === 'retry' ? 2_000_000 : null,
});
const silenced = (matcher: object, endsAt: number): Happening => ({
  kind: 'silenced',
  silence: { silenceId: 's', matcher, reason: 'r', author: 'a', endsAt },
});

/** "thread: status level id …; …; repeat d1; held d2" */
function words({ fresh, repeats, held }: ChannelWork): string {
  return [
    ...fresh.map(({ thread, items, replaces }) => {
      const said = items.map((item) => `${item.status} ${item.level} ${item.incidentId}${item.late ? ' late' : ''}`).join(', ');
      return `${thread ?? 'new'}${replaces === null ? '' : ` for ${replaces.deliveryId}`}: ${said}`;
    }),
    ...repeats.map(({ deliveryId }) => `repeat ${deliveryId}`),
    ...held.map(({ deliveryId }) => `held ${deliveryId}`),
  ].join('; ');
}

describe('desired minus told', () => {
  const told = (outcome: Outcome | 'none', to: 'warning' | 'critical' = 'warning'): Happening[] => [
    opened('i1', { level: to }),
    attempted('d1', [firing('i1', to)]),
    ...(outcome === 'none' ? [] : [answered('d1', outcome)]),
  ];
  test.each<[string, Happening[], string]>([
    ['told nothing and open', [opened('i1')], 'new: firing warning i1'],
    ['told nothing and open, raised before', [opened('i1'), level('i1', 'critical')], 'new: firing critical i1'],
    ['over before any attempt', [opened('i1'), closed('i1')], ''],
    ['told', told('delivered'), ''],
    ['told a warning and critical now', [...told('delivered'), level('i1', 'critical')], 'd1: firing critical i1'],
    ['told critical and a warning now', [...told('delivered', 'critical'), level('i1', 'warning')], ''],
    ['told critical, lowered and raised again', [...told('delivered', 'critical'), level('i1', 'warning'), level('i1', 'critical')], ''],
    ['told and over', [...told('delivered'), closed('i1')], 'd1: resolved warning i1'],
    ['attempted, answer unknown', told('none'), 'repeat d1'],
    ['attempted, to be tried again', told('retry'), 'repeat d1'],
    ['attempted, answer unknown, over', [...told('none'), closed('i1')], 'd1 for d1: resolved warning i1 late'],
    ['attempted, to be tried again, over', [...told('retry'), closed('i1')], 'd1 for d1: resolved warning i1 late'],
    ['attempted, to be tried again, raised', [...told('retry'), level('i1', 'critical')], 'd1 for d1: firing critical i1'],
    ['attempted, to be tried again, lowered', [...told('retry', 'critical'), level('i1', 'warning')], 'd1 for d1: firing warning i1'],
    ['refused', told('refused'), ''],
    ['refused and raised', [...told('refused'), level('i1', 'critical')], 'd1: firing critical i1'],
    ['refused and over', [...told('refused'), closed('i1')], 'd1: resolved warning i1 late'],
    ['gone and over', [...told('gone'), closed('i1')], 'd1: resolved warning i1 late'],
    [
      'told that it is over',
      [
        ...told('delivered'),
        closed('i1'),
        attempted('d2', [{ incidentId: 'i1', status: 'resolved', level: 'warning' }], 1, 'd1'),
        answered('d2', 'delivered'),
      ],
      '',
    ],
    [
      'attempted to tell that it is over',
      [
        ...told('delivered'),
        closed('i1'),
        attempted('d2', [{ incidentId: 'i1', status: 'resolved', level: 'warning' }], 1, 'd1'),
        answered('d2', 'retry'),
      ],
      'repeat d2',
    ],
    ['silenced', [opened('i1'), silenced({ rule: 'cpu_*' }, 2_000_000)], ''],
    ['silenced by the name of now', [opened('i1', { nodeName: 'old' }), silenced({ node: 'n1' }, 2_000_000)], ''],
    ['silenced at another level', [opened('i1'), silenced({ level: 'critical' }, 2_000_000)], 'new: firing warning i1'],
    ['a silence that is over', [opened('i1'), silenced({ rule: 'cpu_*' }, 1_000_000)], 'new: firing warning i1'],
    ['told, silenced and raised', [...told('delivered'), silenced({ node: 'n1' }, 2_000_000), level('i1', 'critical')], ''],
    ['told, silenced and over', [...told('delivered'), silenced({ node: 'n1' }, 2_000_000), closed('i1')], 'd1: resolved warning i1'],
    ['to be tried again and silenced', [...told('retry'), silenced({ node: 'n1' }, 2_000_000)], 'held d1'],
    [
      'to be tried again, silenced and over',
      [...told('retry'), silenced({ node: 'n1' }, 2_000_000), closed('i1')],
      'd1 for d1: resolved warning i1 late',
    ],
    ['moot', [opened('p', { rule: 'node_silent' }), opened('i1', { suppressedBy: ['node_silent'] })], 'new: firing warning p'],
    [
      'moot no longer',
      [opened('p', { rule: 'node_silent' }), opened('i1', { suppressedBy: ['node_silent'] }), closed('p')],
      'new: firing warning i1',
    ],
    [
      'moot on another node',
      [opened('p', { rule: 'node_silent', nodeId: 2 }), opened('i1', { suppressedBy: ['node_silent'] })],
      'new: firing warning p; new: firing warning i1',
    ],
  ])('%s', async (_, happenings, wanted) => {
    const { record, plan } = scene();
    await record(...happenings);
    expect(words(plan())).toBe(wanted);
  });

  test.each<[string, Only, string]>([
    ['everything', {}, 'new: firing warning i1'],
    ['this level', { levels: ['warning'] }, 'new: firing warning i1'],
    ['another level', { levels: ['critical'] }, ''],
    ['this rule', { rules: ['disk_*', 'cpu_*'] }, 'new: firing warning i1'],
    ['another rule', { rules: ['disk_*'] }, ''],
    ['this site', { sites: ['n*h'] }, 'new: firing warning i1'],
    ['another site', { sites: ['south'] }, ''],
    ['this node', { nodes: ['n1'] }, 'new: firing warning i1'],
    ['another node', { nodes: ['db1'] }, ''],
    ['this tag', { tags: { role: 'd*' } }, 'new: firing warning i1'],
    ['another tag', { tags: { role: 'web' } }, ''],
    ['a tag it has not', { tags: { toString: '*' } }, ''],
  ])('a channel that is told only: %s', async (_, only, wanted) => {
    const { record, plan } = scene();
    await record(opened('i1'));
    expect(words(plan(only))).toBe(wanted);
  });

  test('who was told is told the end, though the channel is told only something else by now', async () => {
    const { record, plan } = scene();
    await record(...told('delivered'), closed('i1'));
    expect(words(plan({ levels: ['critical'], nodes: ['none'] }))).toBe('d1: resolved warning i1');
  });

  test('a channel for critical alerts hears of one when it becomes critical, and of its end', async () => {
    const { record, plan } = scene();
    await record(opened('i1'), level('i1', 'critical'));
    expect(words(plan({ levels: ['critical'] }))).toBe('new: firing critical i1');
    await record(attempted('d1', [firing('i1', 'critical')]), answered('d1', 'delivered'), level('i1', 'warning'), closed('i1'));
    expect(words(plan({ levels: ['critical'] }))).toBe('d1: resolved critical i1');
  });

  test('what was refused is tried again once the channel is another', async () => {
    const { record, plan, clock } = scene();
    await record(...told('refused'), opened('i2'), attempted('d2', [firing('i2')]), answered('d2', 'refused'));
    await record(
      closed('i2'),
      attempted('d3', [{ incidentId: 'i2', status: 'resolved', level: 'warning' }], 1, 'd2'),
      answered('d3', 'refused'),
    );
    expect(words(plan({}, clock.wallMs()))).toBe('');
    expect(words(plan({}, clock.wallMs() + 1))).toBe('d1: firing warning i1; d2: resolved warning i2');
  });

  test('it says when a silence ends that keeps something back', async () => {
    const { record, plan } = scene();
    expect(plan().wakeAt).toBeNull();
    await record(opened('i1'), silenced({ node: 'n1' }, 1_500_000));
    expect(plan().wakeAt).toBe(1_500_000);
    expect(plan().openCount).toBe(0);
  });
});

describe('messages', () => {
  test('new alerts of one rule go together, each rule by itself, the most urgent first', async () => {
    const { record, plan } = scene();
    await record(
      opened('i1', { rule: 'disk' }),
      opened('i2', { rule: 'cpu', nodeId: 1 }),
      opened('i3', { rule: 'cpu', nodeId: 2, level: 'critical' }),
      opened('i4', { rule: 'disk', nodeId: 3 }),
    );
    expect(words(plan())).toBe('new: firing critical i3, firing warning i2; new: firing warning i1, firing warning i4');
    expect(plan().openCount).toBe(4);
  });

  test('what follows goes to the thread it was told in', async () => {
    const { record, plan } = scene();
    await record(opened('i1'), opened('i2'), opened('i3'), attempted('d1', [firing('i1'), firing('i2')]), answered('d1', 'delivered'));
    await record(attempted('d2', [firing('i3')]), answered('d2', 'delivered'));
    await record(closed('i1'), level('i2', 'critical'), closed('i3'));
    expect(words(plan())).toBe('d1: firing critical i2, resolved warning i1; d2: resolved warning i3');
  });

  test('a message that is replaced says again all it said, as it is now', async () => {
    const { record, plan } = scene();
    await record(
      opened('i1'),
      opened('i2'),
      opened('i3'),
      attempted('d1', [firing('i1'), firing('i2'), firing('i3')]),
      answered('d1', 'retry'),
    );
    await record(closed('i2'));
    expect(words(plan())).toBe('d1 for d1: firing warning i1, firing warning i3, resolved warning i2 late');
  });

  test('and a repetition keeps what it said, though one of it is silenced by now', async () => {
    const { record, plan } = scene();
    await record(opened('i1'), opened('i2', { nodeId: 2 }), attempted('d1', [firing('i1'), firing('i2')]), answered('d1', 'retry'));
    await record(silenced({ node: 'n1' }, 2_000_000));
    expect(words(plan())).toBe('repeat d1');
  });

  test('a message has a hundred alerts at most', async () => {
    const { record, plan } = scene();
    await record(
      ...Array.from({ length: 2 * MAX_ITEMS + 1 }, (_, i) => opened(`i${i}`, { nodeId: i, level: i === 150 ? 'critical' : 'warning' })),
    );
    const { fresh } = plan();
    expect(fresh.map(({ items }) => items.length)).toEqual([MAX_ITEMS, MAX_ITEMS, 1]);
    expect(fresh[0]!.items[0]).toEqual(firing('i150', 'critical'));
    expect(new Set(fresh.flatMap(({ items }) => items.map(({ incidentId }) => incidentId))).size).toBe(2 * MAX_ITEMS + 1);
  });

  test('ten thousand open alerts are planned in no time', async () => {
    const { record, plan } = scene();
    await record(...Array.from({ length: 10_000 }, (_, i) => opened(`i${i}`, { nodeId: i, suppressedBy: ['node_silent'] })));
    const started = performance.now();
    expect(plan().fresh.length).toBe(100);
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  test('another channel’s deliveries are not its own', async () => {
    const { record, plan } = scene();
    await record(opened('i1'), { ...attempted('d1', [firing('i1')]), channel: 'mail' } as Happening);
    expect(words(plan())).toBe('new: firing warning i1');
  });
});
