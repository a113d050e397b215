import type { ReplicationCluster } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { mockReplication } from '../../dev/mock-replication.ts';
import { SHIPPED } from '../fleet/bounds.ts';
import { pictureOf, type Picture } from './picture.ts';

const NOW_MS = Date.parse('2026-11-21T14:05:00.000Z');
const CLUSTERS = mockReplication('mixed', NOW_MS).clusters;
const named = (name: string): ReplicationCluster => CLUSTERS.find((each) => each.name === name)!;
const drawn = (name: string): Picture => pictureOf(named(name), NOW_MS, SHIPPED.diskFull);
/** "name <- parent" of every part. */
const shape = (picture: Picture): string[][] =>
  picture.parts.map(({ items }) =>
    items.map(({ id, parent }) => `${id.replace('/main', '')}${parent === null ? '' : ` <- ${parent.replace('/main', '')}`}`),
  );

test('a cascade hangs on its upstream, and says how far it is behind the primary', () => {
  const picture = drawn('shop');
  expect(shape(picture)).toEqual([['shop-db-1', 'shop-db-2 <- shop-db-1', 'shop-db-3 <- shop-db-2', 'shop-db-4 <- shop-db-1']]);
  const cascades = [...picture.places.values()].filter((place) => place.kind === 'member' && place.isCascade).map(({ id }) => id);
  expect(cascades).toEqual(['shop-db-3/main']);
});

test('two that write stand apart, and what has diverged apart from both', () => {
  const picture = drawn('accounts');
  expect(shape(picture)).toEqual([['accounts-1', 'accounts-3 <- accounts-1'], ['accounts-2', 'accounts-4 <- accounts-2'], ['accounts-5']]);
  expect(picture.parts.map(({ caption }) => caption?.split(',')[0])).toEqual(['Writes on its own', 'Writes on its own', 'Diverged']);
});

test('a replica whose upstream nobody knows hangs on an empty place, never on an instance it does not follow', () => {
  expect(shape(drawn('payments'))).toEqual([
    ['payments-1', 'payments-3 <- payments-1'],
    ['ghost 10.20.4.250:5432', 'payments-2 <- ghost 10.20.4.250:5432'],
  ]);
  expect(shape(drawn('archive-fed'))[1]).toEqual(['ghost archive', 'maps-2 <- ghost archive']);
});

test('a primary that was, and is down, is not part of a split brain', () => {
  const cluster = named('ledger');
  const [old, replica] = cluster.instances;
  const after: ReplicationCluster = {
    ...cluster,
    primary: { ...cluster.primary, id: replica!.id, name: replica!.name },
    instances: [old!, { ...replica!, role: 'primary', state: 'running', upstreamId: null, timeline: 4 }],
  };
  const picture = pictureOf(after, NOW_MS, SHIPPED.diskFull);
  expect(shape(picture)).toEqual([['ledger-2'], ['ledger-1']]);
  expect(picture.parts[0]?.caption).toBeNull();
  expect(picture.parts[1]?.caption).toMatch(/^Was a primary, timeline 3; down since /);
});

test('a circle of replicas is drawn, each once', () => {
  const cluster = named('shop');
  const [a, b, c, d] = cluster.instances;
  const picture = pictureOf(
    { ...cluster, instances: [a!, { ...b!, upstreamId: c!.id }, { ...c!, upstreamId: b!.id }, d!] },
    NOW_MS,
    SHIPPED.diskFull,
  );
  expect(picture.layout.boxes.map(({ id }) => id).toSorted()).toEqual(cluster.instances.map(({ id }) => id).toSorted());
});

test('of many slots the worst are drawn and the rest counted', () => {
  const cluster = named('events');
  const more = Array.from({ length: 6 }, (_, place) => ({ ...cluster.slots[0]!, name: `fine_${place}`, diskFullInSeconds: null }));
  const primary = pictureOf({ ...cluster, slots: [...more, ...cluster.slots] }, NOW_MS, SHIPPED.diskFull).places.get('events-1/main');
  if (primary?.kind !== 'member') throw new Error('the primary is not drawn');
  expect(primary.slots.map(({ slot }) => slot.name)).toEqual(['ghost', 'events_2', 'old_reports']);
  expect(primary.moreSlots).toBe(6);
});
