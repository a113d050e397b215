/**
 * What is told of a cluster, with everything real: a planned switchover tells nobody anything, a lost primary is told once
 * and its end once, a split brain at once. Only the waiting times of the shipped rules are shortened.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AlertList, AlertView, Replication, ReplicationCluster, ReplicationEvent } from '@tidemark/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PostgresCluster, waitUntil, type PostgresInstance } from './postgres/cluster.ts';
import { startAgent, startCollector, type Program, type RunningCollector } from './programs.ts';
import { WebhookReceiver } from './telling/webhook-receiver.ts';

const directory = mkdtempSync(join(tmpdir(), 'tidemark-replication-alerts-'));
const agents: Program[] = [];
const postgres = new PostgresCluster();
let hook: WebhookReceiver;
let collector: RunningCollector;
let a: PostgresInstance;
let b: PostgresInstance;
let c: PostgresInstance;

const QUICK = [
  { name: 'primary-lost', critical: { above: '7s', clear: '0s', clearAfter: '5s' } },
  { name: 'postgres-down', warning: { for: '12s', clearAfter: '1s' }, critical: { for: '20s', clearAfter: '1s' } },
  { name: 'replication-disconnected', warning: { for: '12s', clearAfter: '1s' }, critical: { for: '20s', clearAfter: '1s' } },
  { name: 'replication-diverged', critical: { for: '12s', clearAfter: '1s' } },
  { name: 'split-brain', critical: { clearAfter: '1s' } },
];

beforeAll(async () => {
  hook = await new WebhookReceiver().start();
  writeFileSync(join(directory, 'secret'), hook.secret, { mode: 0o600 });
  writeFileSync(
    join(directory, 'collector.yaml'),
    JSON.stringify({
      rules: QUICK,
      channels: [
        {
          name: 'hook',
          kind: 'webhook',
          url: hook.url,
          secretFile: join(directory, 'secret'),
          // The machine of a test is busy, and its disk may be full.
          only: { rules: ['primary-lost', 'postgres-*', 'node-silent', 'replication-*', 'split-brain', 'sync-*'] },
        },
      ],
    }),
    { mode: 0o600 },
  );
  collector = await startCollector({
    dataDir: join(directory, 'collector'),
    listen: '127.0.0.1:0',
    arguments: ['--config', join(directory, 'collector.yaml')],
  });
  a = await postgres.startPrimary({ version: 18, name: 'a' });
  b = await postgres.addStandby(a, { name: 'b' });
  c = await postgres.addStandby(a, { name: 'c' });
  for (const server of [a, b, c]) {
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
  await waitUntil(async () => (await states()) === 'db-a running 1, db-b streaming 1, db-c streaming 1', {
    what: 'the cluster to be seen',
  });
}, 120_000);

afterAll(async () => {
  await Promise.allSettled(agents.map((agent) => agent.stop()));
  await collector?.stop();
  await hook?.stop();
  await postgres.stopAll();
  rmSync(directory, { recursive: true, force: true });
});

async function cluster(): Promise<ReplicationCluster> {
  return (await collector.api<Replication>('GET', '/api/telemetry/replication')).clusters[0]!;
}
async function states(): Promise<string> {
  return (await cluster()).instances.map(({ name, state, timeline }) => `${name} ${state} ${timeline}`).join(', ');
}
const open = async (): Promise<AlertView[]> => (await collector.api<AlertList>('GET', '/api/alerts?state=open')).alerts;
const ruleAndNode = ({ rule, node }: { rule: string; node: string }): string => `${rule} ${node}`;

/** Every message that the hook has taken, in order. */
const told = (): string[] => {
  const seen = new Set<string>();
  return hook.received.flatMap(({ id, status, alerts }) => {
    if (status === undefined || status >= 300 || seen.has(id)) return [];
    seen.add(id);
    return alerts.map((alert) => `${alert.status} ${alert.level} ${alert.rule} ${alert.node}`);
  });
};
async function event(kind: string): Promise<ReplicationEvent> {
  return await waitUntil(async () => (await cluster()).events.find((one) => one.kind === kind), { what: `the event ${kind}` });
}

test('a planned switchover tells nobody anything', async () => {
  await postgres.stop(a, { mode: 'fast' });
  await postgres.promote(b);
  await postgres.demote(a, b);
  await postgres.start(a);
  await postgres.configure(c, { primary_conninfo: `host=${b.host} port=${b.port} user=postgres application_name=c` });
  await waitUntil(async () => (await states()) === 'db-a streaming 2, db-b running 2, db-c streaming 2', { what: 'all to follow b' });
  expect((await event('switchover')).details).toMatchObject({ lostBytes: 0 });
  expect((await cluster()).primary).toMatchObject({ name: 'db-b', certainty: 'sure' });
  expect(told()).toEqual([]);
}, 60_000);

test('a lost primary is told once, and its end once', async () => {
  await postgres.kill(b);
  await waitUntil(() => told().length > 0, { what: 'the loss to be told' });
  // What follows from it opens, too, and is kept back.
  await waitUntil(
    async () => {
      const rules = (await open()).map(ruleAndNode);
      return ['postgres-down db-b', 'replication-disconnected db-a', 'replication-disconnected db-c'].every((one) => rules.includes(one));
    },
    { what: 'what follows from the loss', timeoutMs: 40_000 },
  );
  const lost = (await open()).find(({ rule }) => rule === 'primary-lost')!;
  for (const alert of await open())
    if (['postgres-down', 'replication-disconnected'].includes(alert.rule)) expect(alert.suppressedBy, ruleAndNode(alert)).toBe(lost.id);
  expect(lost.labels).toMatchObject({ lost_node: 'db-b' });
  expect((await cluster()).primary.certainty).not.toBe('sure');

  await postgres.demote(b, a);
  await postgres.start(b);
  await postgres.configure(c, { primary_conninfo: `host=${a.host} port=${a.port} user=postgres application_name=c` });
  await waitUntil(async () => (await open()).every(({ rule }) => rule !== 'postgres-down'), { what: 'b to be back' });
  await postgres.promote(a);
  await waitUntil(async () => (await states()) === 'db-a running 3, db-b streaming 3, db-c streaming 3', { what: 'all to follow a' });
  await waitUntil(async () => (await open()).length === 0, { what: 'everything to be over', timeoutMs: 30_000 });
  await waitUntil(() => told().length === 2, { what: 'the end to be told' });
  expect(told().map((message) => message.replace(/ db-\w$/, ''))).toEqual([
    'firing critical primary-lost',
    'resolved critical primary-lost',
  ]);
}, 120_000);

test('a split brain is told at once, in words, and its end', async () => {
  const before = told().length;
  await postgres.promote(c);
  await waitUntil(() => told().length > before, { what: 'the split brain to be told' });
  expect(told().slice(before)).toEqual(['firing critical split-brain db-c']);
  expect((await open())[0]!.why).toMatch(/db-c and db-a|db-a and db-c/);
  expect((await cluster()).splitBrain).toBe(true);
  const answer = await fetch(`${collector.url}/api/telemetry/replication/primary`, {
    headers: { authorization: `Bearer ${collector.adminToken}` },
  });
  expect([answer.status, await answer.text()]).toEqual([503, expect.stringMatching(/ disputed\n$/)]);
  await postgres.stop(c);
  await waitUntil(() => told().slice(before).includes('resolved critical split-brain db-c'), { what: 'its end to be told' });
  expect(await event('split_brain_over')).toMatchObject({ details: { forkLsn: expect.any(String) as string } });
}, 60_000);
