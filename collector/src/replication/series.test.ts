/** Derived series: no two alike, bounded in number and length, and a layout that lasts. */
import { LIMITS, Layout, layoutHash } from '@tidemark/protocol';
import { Value } from 'typebox/value';
import { expect, test } from 'vitest';
import { REPLICATION_SERIES } from './series.ts';
import { SYSTEM_IDENTIFIER, row, type Server } from './topology-testing.ts';
import { ViewWorld, observation, valueOf } from './view-testing.ts';

const STATE = 'tidemark_replication_state';
const LEFT_OUT = 'tidemark_replication_left_out';

function alone(): { it: ViewWorld; a: Server } {
  const it = new ViewWorld();
  const a = it.world.add('a');
  it.round();
  return { it, a };
}
const stranger = (n: number, name: string, address: string) => ({ ...row(name, address, '0/3000000'), pid: 500 + n });

function blockOf(it: ViewWorld, a: Server, more: object = {}) {
  it.pass(10_000);
  const document = { ...it.world.document(a), ...more };
  const [block] = it.view.accept(it.reportOf(a, 10_000, { observations: [observation('postgres.replication', 'main', document)] }));
  return block!;
}

test('every block is a layout as an agent would have to send it, under its own hash', () => {
  const { it, a } = alone();
  a.strangers.push(stranger(1, 'far', '192.0.2.1'));
  a.slots.add('one');
  const { layout, values } = blockOf(it, a);
  expect([...Value.Errors(Layout, layout)]).toEqual([]);
  const { hash, ...described } = layout;
  expect(hash).toBe(layoutHash(described));
  expect(values).toHaveLength(layout.series.length);
  const declared = new Set(REPLICATION_SERIES.map(({ name }) => name));
  for (const { name, labels } of layout.series) {
    expect(declared.has(name), name).toBe(true);
    expect(labels[0]).toEqual(['cluster', SYSTEM_IDENTIFIER]);
  }
});

test('replicas that nothing tells apart are two series all the same', () => {
  const { it, a } = alone();
  a.strangers.push(stranger(1, 'walreceiver', '192.0.2.1'), stranger(2, 'walreceiver', '192.0.2.1'), stranger(3, 'far', '192.0.2.2'));
  const { layout } = blockOf(it, a);
  const identities = layout.series.map(({ name, labels }) => JSON.stringify([name, labels]));
  expect(new Set(identities).size).toBe(identities.length);
  const names = new Set(layout.series.flatMap(({ labels }) => labels.filter(([label]) => label === 'replica').map(([, name]) => name)));
  expect(names.size).toBe(3);
  for (const replica of names)
    expect(
      it.view.explain(a.node.id, STATE, [
        ['cluster', SYSTEM_IDENTIFIER],
        ['replica', replica],
        ['server', 'main'],
      ]),
      replica,
    ).toBeTypeOf('string');
});

test('of very many replicas and slots as many as a report can bear, and how many more there are', () => {
  const { it, a } = alone();
  for (let i = 0; i < 130; i++) a.strangers.push(stranger(i, `r${String(i).padStart(3, '0')}`, '192.0.2.1'));
  for (let i = 0; i < 230; i++) a.slots.add(`s${i}`);
  const block = blockOf(it, a);
  expect(valueOf([block], LEFT_OUT)).toBe(60);
  expect(block.layout.series.length).toBeLessThan(LIMITS.seriesPerBlock);
  expect(it.cluster.instances).toHaveLength(131);
  expect(it.cluster.slots).toHaveLength(230);
  expect(valueOf([blockOf(it, a, { replicas: [], slots: [] })], LEFT_OUT)).toBeUndefined();
});

test('what copies a table for a subscription has no series: it comes and goes under ever new names', () => {
  const { it, a } = alone();
  a.slots.add('pg_16402_sync_16394_7301234567890123456');
  a.slots.add('__proto__');
  a.strangers.push(stranger(1, 'pg_16402_sync_16394_7301234567890123456', '192.0.2.1'));
  const text = JSON.stringify(blockOf(it, a).layout);
  expect(text).not.toMatch(/_sync_16394/);
  expect(text).toMatch(/"slot_name","__proto__"/);
});

test('names of any length and any characters stay within what a label may hold', () => {
  const { it, a } = alone();
  const long = `${'☃'.repeat(3_000)}\n"\\`;
  a.strangers.push(stranger(1, long, '192.0.2.1'), stranger(2, `${long}2`, '192.0.2.1'));
  const block = blockOf(it, a, {
    slots: [{ name: long, type: 'physical', active: false, restartLsn: null, confirmedFlushLsn: null, walStatus: null }],
  });
  expect([...Value.Errors(Layout, block.layout)]).toEqual([]);
  const identities = block.layout.series.map(({ name, labels }) => JSON.stringify([name, labels]));
  expect(new Set(identities).size).toBe(identities.length);
});
