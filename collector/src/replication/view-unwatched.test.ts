/** What the whole view says of servers that no agent watches there: once when they are gone, and by their name where they are watched elsewhere. */
import { expect, test } from 'vitest';
import { row } from './topology-testing.ts';
import { ViewWorld } from './view-testing.ts';

const LSN = '0/3000000';
const shown = (it: ViewWorld): [string, string][] =>
  it.view
    .page()
    .clusters.flatMap(({ instances }) =>
      instances.filter(({ watched }) => !watched).map(({ name, state }): [string, string] => [name, state]),
    );

function withStranger(): { it: ViewWorld; a: ReturnType<ViewWorld['world']['add']> } {
  const it = new ViewWorld();
  const a = it.world.add('a');
  it.world.standby('b', a);
  a.strangers = [row('far', '10.0.7.7', LSN)];
  return { it, a };
}

test('gone is told once, disconnected for ten minutes, and over a restart of the collector', () => {
  const { it, a } = withStranger();
  for (let i = 0; i < 20; i += 1) it.round();
  expect(shown(it)).toEqual([['far', 'streaming']]);
  a.strangers = [];
  for (let i = 0; i < 30; i += 1) {
    it.round();
    expect(shown(it)).toEqual([['far', 'disconnected']]);
    if (i === 10) it.restart();
  }
  for (let i = 0; i < 60; i += 1) it.round();
  expect(shown(it)).toEqual([]);
  expect([...it.keeper.events.values()].map(({ kind, instanceName }) => [kind, instanceName])).toEqual([['replica_gone', 'far']]);
});

test('one that flaps is told of once in ten minutes at most', () => {
  const { it, a } = withStranger();
  const far = a.strangers;
  for (let i = 0; i < 20; i += 1) it.round();
  for (let i = 0; i < 120; i += 1) {
    a.strangers = i % 10 < 5 ? [] : far;
    it.round();
    expect(shown(it)).toHaveLength(1);
  }
  const kinds = [...it.keeper.events.values()].map(({ kind }) => kind);
  // Twenty minutes.
  expect(kinds.filter((kind) => kind === 'replica_gone').length).toBeLessThanOrEqual(3);
  expect(kinds.length).toBeLessThanOrEqual(6);
});

test('a subscriber that is watched in a cluster of its own has its name at its publisher', () => {
  const it = new ViewWorld();
  const a = it.world.add('a');
  const sub = it.world.add('sub');
  sub.subscriptions = [
    {
      name: 'orders',
      database: 'shop',
      enabled: true,
      slotName: 'orders',
      workerPid: 99,
      receivedLsn: null,
      latestEndLsn: null,
      lastMessageAgoMs: 100,
      tablesNotReady: 0,
      publisherHost: a.addresses[0]!,
      publisherPort: '5432',
      applyErrors: 0,
      syncErrors: 0,
    },
  ];
  a.strangers = [{ ...row('orders', sub.addresses[0]!, LSN), slotName: 'orders', slotType: 'logical' }];
  const told = it.world.document.bind(it.world);
  it.world.document = (server) => ({ ...told(server), ...(server === sub && { systemIdentifier: '77' }) });
  it.round();
  it.round();
  const { instances } = it.view.find('a')[0]!;
  expect(instances.map(({ name, role, state, why }) => [name, role, state, why.split(';')[0]])).toContainEqual([
    'sub',
    'subscriber',
    'streaming',
    'Its own agent tells of it in another cluster',
  ]);
});
