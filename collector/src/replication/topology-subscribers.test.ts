/** A subscriber that is watched in a cluster of its own is called by its name at its publisher, where that is certain. */
import type { PostgresReplication, ReplicaView } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import type { Sighting } from './model.ts';
import { clusterTopology } from './topology.ts';
import { row, SYSTEM_IDENTIFIER, World, type Server } from './topology-testing.ts';

type Subscription = NonNullable<PostgresReplication['subscriptions']>[number];
const subscription = (over: Partial<Subscription> = {}): Subscription => ({
  name: 'orders',
  database: 'shop',
  enabled: true,
  slotName: 'orders',
  workerPid: 99,
  receivedLsn: null,
  latestEndLsn: null,
  lastMessageAgoMs: 100,
  tablesNotReady: 0,
  publisherHost: '10.0.0.1',
  publisherPort: '5432',
  applyErrors: 0,
  syncErrors: 0,
  ...over,
});

const sees = (address: string | null): ReplicaView => ({
  ...row('orders', address, '0/3000000'),
  slotName: 'orders',
  slotType: 'logical',
});

/** A publisher that sees a client, and watched servers elsewhere with a subscription each. */
function named(client: string | null, servers: readonly { name: string; address: string; has?: Partial<Subscription> }[]) {
  const world = new World();
  const publisher = world.add('publisher');
  publisher.strangers = [sees(client)];
  const elsewhere = new World();
  elsewhere.add('nobody');
  const subscribers = servers.map(({ name, address, has }): Sighting => {
    const server: Server = elsewhere.add(name, { addresses: [address] });
    server.subscriptions = [subscription(has)];
    return elsewhere.sightingOf(server);
  });
  world.report(publisher);
  const look = (): { name: string; sameAs: string | undefined }[] => {
    const { cluster, memory } = clusterTopology({
      systemIdentifier: SYSTEM_IDENTIFIER,
      sightings: [publisher.sighting!],
      memory: world.memory,
      now: world.now,
      subscribers,
    });
    world.memory = memory;
    return cluster.members.flatMap(({ name, sameAs, role }) => (role === 'subscriber' ? [{ name, sameAs }] : []));
  };
  return { world, publisher, look };
}

test.each([
  ['slot and address are its', '10.0.0.2', [{ name: 'sub', address: '10.0.0.2' }], 'sub'],
  ['its connection string has a name', '10.0.0.2', [{ name: 'sub', address: '10.0.0.2', has: { publisherHost: 'db.example' } }], 'sub'],
  ['its connection string may not be seen', '10.0.0.2', [{ name: 'sub', address: '10.0.0.2', has: { publisherHost: null } }], 'sub'],
  [
    'of two with such a slot, the one whose address it is',
    '10.0.0.2',
    [
      { name: 'sub', address: '10.0.0.2' },
      { name: 'other', address: '10.0.0.3' },
    ],
    'sub',
  ],
  ['another address', '10.0.0.9', [{ name: 'sub', address: '10.0.0.2' }], 'orders'],
  ['another publisher', '10.0.0.2', [{ name: 'sub', address: '10.0.0.2', has: { publisherHost: '10.9.9.9' } }], 'orders'],
  ['another slot', '10.0.0.2', [{ name: 'sub', address: '10.0.0.2', has: { slotName: 'other' } }], 'orders'],
  ['no worker', '10.0.0.2', [{ name: 'sub', address: '10.0.0.2', has: { workerPid: null } }], 'orders'],
  [
    'two fit',
    '10.0.0.2',
    [
      { name: 'sub', address: '10.0.0.2' },
      { name: 'twin', address: '10.0.0.2' },
    ],
    'orders',
  ],
  ['a socket of another machine', null, [{ name: 'sub', address: '10.0.0.2' }], 'orders'],
])('%s', (_what, client, servers, name) => {
  expect(named(client, servers).look()).toMatchObject([{ name }]);
});

test('the name stays while it is gone', () => {
  const { world, publisher, look } = named('10.0.0.2', [{ name: 'sub', address: '10.0.0.2' }]);
  for (let i = 0; i < 9; i += 1) {
    world.pass(10_000);
    world.report(publisher);
    expect(look()).toMatchObject([{ name: 'sub', sameAs: '2/main' }]);
  }
  publisher.strangers = [];
  publisher.slots.add('orders');
  world.pass(10_000);
  world.report(publisher);
  expect(look()).toMatchObject([{ name: 'sub', sameAs: '2/main' }]);
});
