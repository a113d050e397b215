/**
 * The collector is killed, its database goes away, it stays away for more than a minute: what is known of a replica that is
 * behind goes on where it was, what is told is not told again, and what the agents kept fills the record and pages nobody.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { AlertList, Replication, ReplicationCluster, ReplicationInstance, SeriesResponse } from '@tidemark/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PostgresCluster, waitUntil, type PostgresInstance } from '../postgres/cluster.ts';
import { startAgent, startCollector, type Program, type RunningCollector } from '../programs.ts';

const RULES = [
  { name: 'replication-lag', warning: { above: '5s', clear: '1s', for: '2s', clearAfter: '2s' }, critical: { above: '1h', clear: '50m' } },
  { name: 'replication-disconnected', warning: { for: '3s' }, critical: { for: '4s' } },
  { name: 'primary-lost', critical: { above: '10s', clear: '0s', clearAfter: '2s' } },
];
/** Reports that are older when they come are late. */
const LATE_MS = 60_000;
const directory = mkdtempSync(join(tmpdir(), 'tidemark-replication-restart-'));
const agents: Program[] = [];
const postgres = new PostgresCluster();
let store: PostgresInstance;
let a: PostgresInstance;
let b: PostgresInstance;
let collector: RunningCollector;

async function start(listen: string): Promise<RunningCollector> {
  return await startCollector({
    dataDir: join(directory, 'collector'),
    listen,
    arguments: ['--config', join(directory, 'collector.yaml')],
    environment: { TIDEMARK_DATABASE_URL: store.url },
  });
}

beforeAll(async () => {
  writeFileSync(join(directory, 'collector.yaml'), JSON.stringify({ rules: RULES }), { mode: 0o600 });
  store = await postgres.startPrimary({ version: 18, name: 'store' });
  collector = await start('127.0.0.1:0');
  a = await postgres.startPrimary({ version: 18, name: 'a' });
  b = await postgres.addStandby(a, { name: 'b' });
  await postgres.sql(a, 'CREATE TABLE written (at timestamptz)');
  for (const server of [a, b]) {
    const { token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name: `db-${server.name}` });
    agents.push(
      startAgent({
        collectorUrl: collector.url,
        token,
        hostname: `db-${server.name}`,
        directory: join(directory, server.name),
        intervalSeconds: 1,
        postgres: [{ url: server.url, name: server.name }],
      }),
    );
  }
  await waitUntil(async () => (await states()) === 'db-a running, db-b streaming', { what: 'the pair to be seen', timeoutMs: 60_000 });
}, 150_000);

afterAll(async () => {
  await Promise.allSettled(agents.map((agent) => agent.stop()));
  await collector?.stop();
  await postgres.stopAll();
  rmSync(directory, { recursive: true, force: true });
});

async function cluster(): Promise<ReplicationCluster> {
  return (await collector.api<Replication>('GET', '/api/telemetry/replication')).clusters[0]!;
}
async function states(): Promise<string | undefined> {
  const { clusters } = await collector.api<Replication>('GET', '/api/telemetry/replication');
  return clusters[0]?.instances.map(({ name, state }) => `${name} ${state}`).join(', ');
}
async function replica(): Promise<ReplicationInstance> {
  return (await cluster()).instances.find(({ name }) => name === 'db-b')!;
}
/** The lag of a look at a report that was taken after a moment. */
async function lagAfter(atMs: number): Promise<NonNullable<ReplicationInstance['lag']>> {
  return await waitUntil(
    async () => {
      const { lag } = await replica();
      return lag !== null && Date.parse(lag.at) > atMs && lag;
    },
    { what: 'a lag of now', timeoutMs: 30_000 },
  );
}
/** Alerts about replication that were ever opened, open or not. */
async function opened(): Promise<string[]> {
  const { alerts } = await collector.api<AlertList>('GET', '/api/alerts?state=all');
  return alerts
    .filter(({ rule }) => /^(replication-|primary-|split-)/.test(rule))
    .map(({ id, rule, node, state }) => `${id} ${rule} ${node} ${state}`);
}
const write = async (): Promise<void> => void (await postgres.sql(a, 'INSERT INTO written VALUES (clock_timestamp())'));
async function kill(): Promise<string> {
  const listen = new URL(collector.url).host;
  collector.kill('SIGKILL');
  await collector.exited;
  return listen;
}

/** When the oldest write that is not replayed was made, on this machine's clock. */
let behindSince: number;
let alert: string;

test('killed while a replica is behind: it is behind as long as it was, and its alert is the same one', async () => {
  await postgres.pauseReplay(b);
  behindSince = Date.now();
  await write();
  alert = await waitUntil(async () => (await opened())[0], { what: 'the lag to be told', timeoutMs: 40_000 });
  await write();
  collector = await start(await kill());
  const startedAt = Date.now();
  const lag = await lagAfter(startedAt - 5_000);
  const truth = (Date.parse(lag.at) - behindSince) / 1_000;
  expect(lag.lowerSeconds, JSON.stringify(lag)).toBeGreaterThan(truth - 6);
  expect(lag.lowerSeconds).toBeLessThanOrEqual(truth + 0.5);
  await lagAfter(startedAt + 4_000);
  expect(await opened()).toEqual([alert]);
  expect((await replica()).state).toBe('paused');
}, 150_000);

test('while the database is away the lag goes on, and so does its alert', async () => {
  await postgres.stop(store, { mode: 'immediate' });
  const stoppedAt = Date.now();
  const lag = await lagAfter(stoppedAt + 4_000);
  const truth = (Date.parse(lag.at) - behindSince) / 1_000;
  expect(lag.lowerSeconds).toBeGreaterThan(truth - 6);
  expect(lag.lowerSeconds).toBeLessThanOrEqual(truth + 0.5);
  await postgres.start(store);
  await waitUntil(async () => (await fetch(`${collector.url}/api/health`)).status === 200, {
    what: 'the database to be found',
    timeoutMs: 40_000,
  });
  await lagAfter(Date.now());
  expect(await opened()).toEqual([alert]);
}, 150_000);

test('away for more than a minute: what the agents kept fills the record and pages nobody', async () => {
  const listen = await kill();
  const killedAt = Date.now();
  await pause(4_000);
  const resumedAt = Date.now();
  await postgres.resumeReplay(b);
  await pause(killedAt + LATE_MS + 8_000 - Date.now());
  collector = await start(listen);
  const startedAt = Date.now();
  await waitUntil(async () => (await states()) === 'db-a running, db-b streaming', {
    what: 'the pair to be seen again',
    timeoutMs: 75_000,
  });
  const over = alert.replace(/ open$/, ' closed');
  await waitUntil(async () => (await opened())[0] === over, { what: 'the alert to be over', timeoutMs: 20_000 });
  await lagAfter(startedAt + 4_000);
  expect(await opened()).toEqual([over]);
  expect((await cluster()).events).toEqual([]);

  const points = await waitUntil(
    async () => {
      const question = 'metric=tidemark_replication_lag_seconds_lower&node=db-b';
      const { series } = await collector.api<SeriesResponse>('GET', `/api/telemetry/series?${question}`);
      const kept = series
        .flatMap((one) => one.points)
        .filter(([at, value]) => value !== null && at > killedAt + 1_000 && at < startedAt - LATE_MS);
      return kept.length >= 3 && (kept as [number, number][]);
    },
    { what: 'the record to be filled', timeoutMs: 20_000 },
  );
  for (const [at, value] of points) {
    const truth = (at - behindSince) / 1_000;
    if (at < resumedAt - 1_500) expect(value, `${at - killedAt} ms after the kill`).toBeGreaterThan(truth - 7);
    expect(value).toBeLessThanOrEqual(at > resumedAt + 1_500 ? 1 : truth + 1);
  }
}, 240_000);

test('a switchover while nobody looked is one, and pages nobody', async () => {
  const before = await opened();
  const listen = await kill();
  await postgres.stop(a, { mode: 'fast' });
  await postgres.promote(b);
  const promotedAt = Date.now();
  await postgres.demote(a, b);
  await postgres.start(a);
  await pause(8_000);
  collector = await start(listen);
  await waitUntil(async () => (await states()) === 'db-a streaming, db-b running', { what: 'both to be seen again', timeoutMs: 75_000 });
  const told = await waitUntil(
    async () => {
      const { events } = await cluster();
      return events.some(({ kind }) => kind === 'switchover') && events;
    },
    { what: 'the switchover to be known', timeoutMs: 20_000 },
  );
  const takeovers = told.filter(({ kind }) => !['timeline_switch', 'rejoined', 'replica_added'].includes(kind));
  expect(takeovers.map(({ kind }) => kind)).toEqual(['switchover']);
  // It is placed where it was first seen: not before it was, and not after both were seen again.
  const at = Date.parse(takeovers[0]!.at);
  expect(at).toBeGreaterThan(promotedAt - 1_500);
  expect(at).toBeLessThanOrEqual(Date.now());
  expect((await cluster()).splitBrain).toBe(false);
  expect(await opened()).toEqual(before);
}, 150_000);
