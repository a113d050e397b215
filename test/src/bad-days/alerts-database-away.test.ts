/** The database goes away while bounds are crossed and come back: everybody is told in time, and afterwards the database has the same story. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PostgresCluster, waitUntil, type PostgresInstance } from '../postgres/cluster.ts';
import { AlertingCollector, CROSSED, QUIET, report } from './alerting-collector.ts';
import type { RawAgent } from './raw-agent.ts';

/** Long enough for every time-out on the way; ten minutes are the same, only longer, and are replayed in the unit tests. */
const AWAY_MS = 20_000;
let cluster: PostgresCluster;
let database: PostgresInstance;
let day: AlertingCollector;
let agents: RawAgent[];

beforeAll(async () => {
  cluster = new PostgresCluster();
  database = await cluster.startPrimary({ version: 18, name: 'store' });
  day = await new AlertingCollector({ environment: { TIDEMARK_DATABASE_URL: database.url } }).start();
  agents = await day.agents(['before', 'during', 'stays']);
  for (const agent of agents) await report(agent, QUIET);
});

afterAll(async () => {
  await day?.stop();
  await cluster?.stopAll();
});

test('told while it is away, in the database when it is back', async () => {
  const [before, during, stays] = agents as [RawAgent, RawAgent, RawAgent];
  await report(before, CROSSED);
  await day.hook.until('of the first', () => day.told('before').length === 1);
  await cluster.stop(database);
  const awayAt = Date.now();
  await report(during, CROSSED);
  await day.hook.until('of a crossing without a database', () => day.told('during').length === 1);
  await report(stays, CROSSED);
  await report(before, QUIET);
  await report(during, QUIET);
  await day.hook.until('that two are over', () => day.told('before').length === 2 && day.told('during').length === 2);
  expect((await day.alerts('state=open&rule=load')).map(({ node }) => node)).toEqual(['stays']);
  await day.collector.api('POST', `/api/alerts/${(await day.alerts('state=open&rule=load'))[0]!.id}/acknowledge`, { note: 'seen' });
  await pause(Math.max(0, AWAY_MS - (Date.now() - awayAt)));
  await cluster.start(database);
  const rows = await waitUntil(
    async () => {
      const found = await cluster.sql<{ id: string; node_name: string; closed: boolean }>(
        database,
        "SELECT id, node_name, closed_at IS NOT NULL AS closed FROM incidents WHERE rule = 'load' ORDER BY node_name",
      );
      return found.length === 3 && found[0]!.closed && found;
    },
    { what: 'the database to have it all', timeoutMs: 60_000 },
  );
  expect(rows.map(({ node_name, closed }) => [node_name, closed])).toEqual([
    ['before', true],
    ['during', true],
    ['stays', false],
  ]);
  expect(day.told('before')).toEqual(['firing critical', 'resolved critical']);
  expect(day.told('during')).toEqual(['firing critical', 'resolved critical']);
  expect(day.told('stays')).toEqual(['firing critical']);

  // Killed and started again, it reads what it has written.
  await day.kill();
  await day.launch();
  const [open] = await day.alerts('state=open&rule=load');
  expect(open).toMatchObject({ id: rows[2]!.id, node: 'stays', acknowledged: { note: 'seen' } });
  await report(stays, QUIET);
  await day.hook.until('that the last is over', () => day.told('stays').length === 2);
  expect(day.told('stays')).toEqual(['firing critical', 'resolved critical']);
});
