/** What is found is told at every run, in the log once, and no longer when it has gone. */
import { POSTGRES_DISCOVERED, PostgresDiscovered } from '@tidemark/protocol';
import type { Log } from '@tidemark/service';
import { Value } from 'typebox/value';
import { expect, test } from 'vitest';
import { record } from '../recorded.ts';
import { discoveryProbe } from './discovery-probe.ts';
import type { DiscoveredServer } from './discovery.ts';

const on = (port: number): DiscoveredServer => ({ address: `127.0.0.1:${port}`, how: 'port', endpoints: [{ host: '127.0.0.1', port }] });

test('servers nobody watches, each in the log once', async () => {
  let there = [on(5432), on(5433), on(5434)];
  const logged: unknown[] = [];
  const log = { info: (what: unknown) => logged.push(what) } as unknown as Log;
  const probe = discoveryProbe({
    platform: 'linux',
    watched: [{ url: 'postgres://me@localhost:5433/x' }],
    log,
    discover: () => Promise.resolve(there),
  });
  const told = async (): Promise<unknown> => {
    const { observations } = await record(probe);
    expect(observations).toMatchObject([{ kind: POSTGRES_DISCOVERED, version: 1, instance: '' }]);
    const [{ document } = { document: {} }] = observations;
    expect(Value.Check(PostgresDiscovered, document)).toBe(true);
    return (document as PostgresDiscovered).servers.map(({ address }) => address);
  };
  expect(await told()).toEqual(['127.0.0.1:5432', '127.0.0.1:5434']);
  expect(await told()).toEqual(['127.0.0.1:5432', '127.0.0.1:5434']);
  expect(logged).toEqual(
    [5432, 5434].map((port) => ({
      address: `127.0.0.1:${port}`,
      command: `tidemark-agent postgres setup --url 'postgresql://postgres@127.0.0.1:${port}/postgres'`,
    })),
  );
  there = [];
  expect(await told()).toEqual([]);
  there = [on(5435)];
  expect(await told()).toEqual(['127.0.0.1:5435']);
  expect(logged).toHaveLength(3);
  expect(probe.everyMs).toBe(600_000);
});
