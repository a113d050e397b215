/** The page: what it says of lags, and what it costs where very many clusters are watched. */
import { Replication } from '@tidemark/protocol';
import { Value } from 'typebox/value';
import { expect, test } from 'vitest';
import type { Lag } from './model.ts';
import { lagView } from './page.ts';
import { ViewWorld, observation } from './view-testing.ts';

const AT = Date.UTC(2026, 5, 1);
const lag: Lag = {
  value: 1_234.5678,
  lower: 1_000,
  upper: Infinity,
  at: AT,
  bytes: undefined,
  source: 'primary',
  unknownSince: AT - 1_000,
};

test('a lag in seconds, to the millisecond; what nobody knows is null and never 0', () => {
  expect(lagView(undefined)).toBeNull();
  expect(lagView(lag)).toEqual({
    seconds: 1.235,
    lowerSeconds: 1,
    upperSeconds: null,
    bytes: null,
    source: 'primary',
    at: '2026-06-01T00:00:00.000Z',
    unknownSince: '2026-05-31T23:59:59.000Z',
  });
  expect(lagView({ ...lag, upper: 2_000, bytes: 0, unknownSince: undefined })).toMatchObject({
    upperSeconds: 2,
    bytes: 0,
    unknownSince: null,
  });
});

test('two hundred clusters of five are a page within moments', () => {
  const it = new ViewWorld();
  const a = it.world.add('a');
  for (const name of ['b', 'c', 'd', 'e']) it.world.standby(name, a);
  for (let cluster = 0; cluster < 200; cluster++)
    for (const server of it.world.servers.values()) {
      const plain = it.recordOf(server);
      const record = { ...plain, id: plain.id + 10 * cluster, name: `${plain.name}${cluster}` };
      it.records.set(record.id, record);
      const document = { ...it.world.document(server), systemIdentifier: String(7_000_000_000 + cluster) };
      it.view.accept({
        ...it.reportOf(server, 10_000, { observations: [observation('postgres.replication', 'main', document)] }),
        node: record,
      });
    }
  expect(it.view.counts).toEqual({ instances: 1_000, clusters: 200 });
  for (let i = 0; i < 3; i++) it.view.page();
  const cpu = process.cpuUsage();
  const page = it.view.page();
  const { user, system } = process.cpuUsage(cpu);
  expect(page.clusters).toHaveLength(200);
  expect(page.clusters.flatMap(({ instances }) => instances)).toHaveLength(1_000);
  expect(Value.Check(Replication, page)).toBe(true);
  // Milliseconds of CPU; it is asked for by people and every few seconds by pages.
  expect((user + system) / 1_000).toBeLessThan(60);
});
