/** The overview: headline figures out of whatever blocks carry them, null for what is not known, nothing of a silent node as if it were now. */
import { HEADLINE, Overview } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import { Value } from 'typebox/value';
import { beforeEach, expect, test } from 'vitest';
import { LiveView } from './live-view.ts';
import { FleetOverview } from './overview.ts';
import { START, fleetOf, layoutOf, nodeOf, reportOf, seriesOf } from './testing.ts';

const node = nodeOf(1, 'db1', { tags: { role: 'database' } });
const mount = (mountpoint: string, fstype: string) => {
  const labels: [string, string][] = [
    ['device', 'd'],
    ['fstype', fstype],
    ['mountpoint', mountpoint],
  ];
  return layoutOf(
    'filesystem',
    [
      HEADLINE.filesystemUsageRatio,
      HEADLINE.filesystemSizeBytes,
      HEADLINE.filesystemAvailableBytes,
      HEADLINE.filesystemReadOnly,
      HEADLINE.filesystemDeviceError,
    ].map((metric) => seriesOf(metric, labels)),
    mountpoint,
  );
};
const host = layoutOf(
  'host',
  [HEADLINE.cpuUsageRatio, HEADLINE.memoryUsageRatio, HEADLINE.memoryTotalBytes, HEADLINE.uptimeSeconds].map((metric) => seriesOf(metric)),
);
const pgUp = layoutOf('postgres', [seriesOf(HEADLINE.postgresUp)], 'main');
const replication = (document: unknown, instance = 'main') => [{ kind: 'postgres.replication', version: 1, instance, document }];

let clock: ManualClock;
let view: LiveView;
let overview: FleetOverview;

beforeEach(() => {
  clock = new ManualClock(START);
  view = new LiveView(clock);
  overview = new FleetOverview(view, fleetOf(node, nodeOf(2, 'app1', { state: 'pending' }), nodeOf(3, 'old', { state: 'retired' })), clock);
  clock.advance(100_000);
});

test('a node with everything', () => {
  view.heard(node, {}, 250);
  view.accept(
    reportOf(
      node,
      1,
      [
        [host, [0.25, 0.5, 8e9, 3_600]],
        [mount('/', 'ext4'), [0.4, 100, 60, 0, 0]],
        [mount('/iso', 'iso9660'), [1, 10, 0, 1, 0]],
        [mount('/nfs', 'nfs4'), [0.99, 10, 0, 0, 0]],
        [mount('/dead', 'ext4'), [null, null, null, null, 1]],
      ],
      {
        receivedAt: START + 100_000,
        observations: replication({
          up: true,
          role: 'primary',
          replicas: [
            { applicationName: 'standby1', state: 'streaming', bytesBehind: '104857600' },
            { clientAddr: '10.0.0.9', bytesBehind: null },
          ],
        }),
      },
    ),
  );
  const now = overview.now();
  expect(Value.Check(Overview, now)).toBe(true);
  expect(now.at).toBe('2026-01-01T00:01:40.000Z');
  expect(now.nodes.map(({ name, state, up, lastSeenAt }) => [name, state, up, lastSeenAt])).toEqual([
    ['app1', 'pending', false, null],
    ['db1', 'approved', true, '2026-01-01T00:01:40.000Z'],
  ]);
  const { cpu, memory, disk, uptimeSeconds, postgres, clockOffsetSeconds, tags, site } = now.nodes[1]!;
  expect({ cpu, memory, uptimeSeconds, clockOffsetSeconds, tags, site }).toEqual({
    cpu: { usageRatio: 0.25 },
    memory: { usageRatio: 0.5, totalBytes: 8e9 },
    uptimeSeconds: 3_600,
    clockOffsetSeconds: -0.25,
    tags: { role: 'database' },
    site: 'north',
  });
  expect(disk.usageRatio).toBe(0.4);
  expect(disk.mounts[0]).toEqual({
    mountpoint: '/',
    usageRatio: 0.4,
    sizeBytes: 100,
    availableBytes: 60,
    readOnly: false,
    deviceError: false,
  });
  expect(disk.mounts[3]).toEqual({
    mountpoint: '/dead',
    usageRatio: null,
    sizeBytes: null,
    availableBytes: null,
    readOnly: null,
    deviceError: true,
  });
  expect(postgres).toEqual([
    {
      instance: 'main',
      role: 'primary',
      up: true,
      replicas: [
        { name: 'standby1', state: 'streaming', bytesBehind: 104_857_600 },
        { name: '10.0.0.9', state: 'unknown', bytesBehind: null },
      ],
    },
  ]);
});

test('of a silent node nothing is said as if it were now', () => {
  view.accept(
    reportOf(
      node,
      1,
      [
        [host, [0.25, 0.5, 8e9, 3_600]],
        [pgUp, [1]],
      ],
      { observations: replication({ up: true, role: 'primary', replicas: [{}] }) },
    ),
  );
  clock.advance(50_001);
  expect(overview.now().nodes[1]).toMatchObject({
    up: false,
    cpu: { usageRatio: null },
    memory: { usageRatio: null, totalBytes: null },
    disk: { usageRatio: null, mounts: [] },
    postgres: [{ instance: 'main', role: 'primary', up: null, replicas: [] }],
  });
});

test('a server is listed from pg_up alone, and a newer pg_up 0 wins over what was seen of it before', () => {
  view.accept(reportOf(node, 1, [[pgUp, [1]]]));
  expect(overview.now().nodes[1]!.postgres).toEqual([{ instance: 'main', role: null, up: true, replicas: [] }]);
  view.accept(
    reportOf(node, 2, [[pgUp, [1]]], { observations: replication({ up: true, role: 'primary', replicas: [{ state: 'streaming' }] }) }),
  );
  expect(overview.now().nodes[1]!.postgres[0]!.replicas).toHaveLength(1);
  view.accept(reportOf(node, 3, [[pgUp, [0]]]));
  expect(overview.now().nodes[1]!.postgres).toEqual([{ instance: 'main', role: 'primary', up: false, replicas: [] }]);
});

test('an observation known from the store alone does not list a server that nobody watches', () => {
  const stored = (instance: string) => ({
    observation: replication({ up: true, role: 'replica', replicas: [] }, instance)[0]!,
    at: START,
    since: START,
  });
  view.restoreObservation(node, stored('removed'));
  view.restoreObservation(node, stored('main'));
  view.accept(reportOf(node, 1, [[pgUp, [1]]]));
  expect(overview.now().nodes[1]!.postgres.map(({ instance, role }) => [instance, role])).toEqual([['main', 'replica']]);
});

test.each([null, 'text', [], { replicas: 'none', up: 'yes', role: 'king' }, { replicas: [null, 3, { bytesBehind: 'many', pid: 7 }] }])(
  'a document of no known form is no obstacle: %j',
  (document) => {
    view.accept(reportOf(node, 1, [], { observations: replication(document) }));
    expect(Value.Check(Overview, overview.now())).toBe(true);
    expect(overview.now().nodes[1]!.postgres).toMatchObject([{ instance: 'main', role: null, up: null }]);
  },
);

test('servers that were found and that nobody watches are counted, while the node is heard of', () => {
  const found = (document: unknown) => [{ kind: 'postgres.discovered', version: 1, instance: '', document }];
  const server = (watched: boolean) => ({ address: '127.0.0.1:5433', how: 'port', watched, command: 'tidemark-agent postgres setup' });
  const counted = () => overview.now().nodes[1]!.postgresFound;
  view.accept(reportOf(node, 1, [], { observations: found({ servers: [server(false), server(true), server(false)] }) }));
  expect(counted()).toBe(2);
  expect(Value.Check(Overview, overview.now())).toBe(true);
  clock.advance(3_600_000);
  expect(counted()).toBeUndefined();
  const odd = [null, 'text', { servers: 'none' }, { servers: [null, 3, 'text'] }, { servers: [] }];
  odd.forEach((document, place) => {
    view.accept(reportOf(node, 2 + place, [], { observations: found(document) }));
    expect(counted()).toBeUndefined();
  });
  view.accept(reportOf(node, 9, [], { observations: found({ servers: [server(false)] }) }));
  expect(counted()).toBe(1);
});

test('NaN and the infinities are not known as headlines', () => {
  view.accept(reportOf(node, 1, [[host, [Number.NaN, Number.POSITIVE_INFINITY, null, 1]]]));
  expect(overview.now().nodes[1]).toMatchObject({
    cpu: { usageRatio: null },
    memory: { usageRatio: null, totalBytes: null },
    uptimeSeconds: 1,
  });
});

test('is written at most once a second', () => {
  const first = overview.json();
  view.accept(reportOf(node, 1, [[host, [0.25, 0.5, 8e9, 3_600]]]));
  expect(overview.json()).toBe(first);
  clock.advance(1_000);
  expect(overview.json()).not.toBe(first);
});
