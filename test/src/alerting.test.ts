/**
 * One incident from the crossing to the resolve, with everything real: an agent whose endpoint grows slow, a collector, a
 * webhook's receiver, an SMTP server, Chromium; and everything is killed and started again in between. What is told in
 * the end by API, console, journal, database, webhook and mail is one story, and the same one.
 */
/// <reference lib="dom" />
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AlertDetail, AlertList, AlertView, Overview } from '@tidemark/protocol';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitUntil } from './postgres/cluster.ts';
import { runToEnd, startAgent, startCollector, type Program, type RunningCollector } from './programs.ts';
import { MailReceiver } from './telling/mail-receiver.ts';
import { WebhookReceiver } from './telling/webhook-receiver.ts';

const directory = mkdtempSync(join(tmpdir(), 'tidemark-alerting-'));
const dataDir = join(directory, 'collector');
const configuration = join(directory, 'collector.yaml');
let hook: WebhookReceiver;
let mail: MailReceiver;
let service: Server;
let collector: RunningCollector;
let agent: Program;
let token: string;
let listen: string;
/** What the watched service takes for an answer, in milliseconds. */
let slownessMs = 0;

const startWatched = (): Promise<RunningCollector> =>
  startCollector({ dataDir, listen: listen ?? '127.0.0.1:0', arguments: ['--config', configuration] });
const launchAgent = (): Program =>
  startAgent({
    collectorUrl: `http://${listen}`,
    token,
    hostname: 'web1',
    directory: join(directory, 'agent'),
    intervalSeconds: 1,
    http: [{ url: `http://127.0.0.1:${(service.address() as AddressInfo).port}/`, name: 'shop' }],
  });

beforeAll(async () => {
  hook = await new WebhookReceiver().start();
  mail = await new MailReceiver().start();
  service = createServer((_, response) => void setTimeout(() => response.end('ok'), slownessMs));
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  writeFileSync(join(directory, 'secret'), hook.secret, { mode: 0o600 });
  const quick = { for: '3s', clearAfter: '2s' };
  writeFileSync(
    configuration,
    JSON.stringify({
      // The shipped rule and its shipped bounds; only nobody wants to wait ten minutes here.
      overrides: [{ rule: 'response-time', node: 'web1', warning: quick, critical: quick }],
      channels: [
        { name: 'hook', kind: 'webhook', url: hook.url, secretFile: join(directory, 'secret') },
        {
          name: 'mail',
          kind: 'email',
          host: '127.0.0.1',
          port: mail.port,
          tls: 'off',
          from: 'tidemark@example.org',
          to: ['ops@example.org'],
          only: { rules: ['response-time'] },
        },
      ],
    }),
    { mode: 0o600 },
  );
  collector = await startWatched();
  listen = new URL(collector.url).host;
  ({ token } = await collector.api<{ token: string }>('POST', '/api/telemetry/nodes', { name: 'web1' }));
  agent = launchAgent();
  await waitUntil(
    async () => {
      const { nodes } = await collector.api<Overview>('GET', '/api/telemetry/overview');
      return nodes[0]?.cpu.usageRatio !== null;
    },
    { what: 'the agent to report' },
  );
});

afterAll(async () => {
  await agent?.stop();
  await collector?.stop();
  await hook?.stop();
  await mail?.stop();
  service?.closeAllConnections();
  await new Promise((resolve) => (service === undefined ? resolve(undefined) : service.close(resolve)));
  rmSync(directory, { recursive: true, force: true });
});

const ours = async (state = 'open'): Promise<AlertView[]> =>
  (await collector.api<AlertList>('GET', `/api/alerts?state=${state}&rule=response-time`)).alerts;
const told = (): string[] =>
  hook.received
    .flatMap(({ alerts, possibleRepeat }) => alerts.map((alert) => ({ ...alert, possibleRepeat })))
    .filter(({ rule, possibleRepeat }) => rule === 'response-time' && !possibleRepeat)
    .map(({ status, level }) => `${status} ${level}`);

async function killEverything(): Promise<void> {
  collector.kill('SIGKILL');
  agent.kill('SIGKILL');
  await Promise.all([collector.exited, agent.exited]);
  collector = await startWatched();
  agent = launchAgent();
}

let id: string;

test('the crossing of a bound arrives by webhook and mail, and says what, where and why', async () => {
  slownessMs = 2_600;
  await hook.until('the warning', () => told().includes('firing warning'));
  await mail.until('the warning', (mails) => mails.length > 0);
  const [alert] = await ours();
  id = alert!.id;
  expect(alert).toMatchObject({ node: 'web1', level: 'warning', state: 'open', labels: { endpoint: 'shop' }, bound: { above: 2 } });
  expect(hook.received.every(({ signed }) => signed)).toBe(true);
  const said = hook.alerts.find(({ rule }) => rule === 'response-time')!;
  expect(said).toMatchObject({ id, node: 'web1', status: 'firing', level: 'warning' });
  expect(said.why).toMatch(/2\.\d+ s.*above 2 s/);
  const [first] = mail.mails;
  expect(first!.subject).toMatch(/warning.*web1/i);
  expect(first!.text).toMatch(/above 2 s/);
  expect(first!.text).toContain(`${collector.url.replace(/\/$/, '')}/alerts/${id}`);
  expect(first!.text).toContain('/runbooks/response-time');
});

test('somebody takes it, and it is still theirs after everything was killed', async () => {
  const { code, stderr } = await runToEnd('collector', [
    'alerts',
    'ack',
    id,
    '--note',
    'looking into it',
    '--server',
    collector.url,
    '--token-file',
    collector.ready.adminTokenFile,
  ]);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  expect((await ours())[0]!.acknowledged).toMatchObject({ note: 'looking into it' });
  const before = told();
  await killEverything();
  const [alert] = await ours();
  expect(alert).toMatchObject({ id, level: 'warning', acknowledged: { note: 'looking into it' } });
  await waitUntil(async () => (await ours())[0]!.value !== null && !(await ours())[0]!.noData, { what: 'the agent to be judged again' });
  expect(told()).toEqual(before);
});

test('it gets worse: told again in the same thread, and nobody has taken that yet', async () => {
  slownessMs = 5_400;
  await hook.until('that it is critical', () => told().includes('firing critical'), 60_000);
  await mail.until('the second mail', (mails) => mails.length >= 2);
  expect((await ours())[0]).toMatchObject({ id, level: 'critical', acknowledged: null, bound: { above: 5 } });
  const [first, second] = mail.mails;
  expect(second!.subject).toMatch(/critical/i);
  expect(second!.headers.get('references')).toContain(first!.headers.get('message-id'));
  await killEverything();
  expect((await ours())[0]).toMatchObject({ id, level: 'critical' });
});

test('it is over: told once, everywhere the same story of one incident', async () => {
  slownessMs = 0;
  await hook.until('the resolve', () => told().some((line) => line.startsWith('resolved')), 60_000);
  await mail.until('the resolve', (mails) => mails.some(({ subject }) => /resolved/i.test(subject)));
  expect(told()).toEqual(['firing warning', 'firing critical', 'resolved critical']);

  // API
  expect(await ours()).toEqual([]);
  const closed = await ours('closed');
  expect(closed.map((alert) => alert.id)).toEqual([id]);
  expect(closed[0]).toMatchObject({ state: 'closed', closeReason: 'recovered', levelMax: 'critical' });
  const detail = await collector.api<AlertDetail>('GET', `/api/alerts/${id}`);
  const kinds = detail.events.map(({ kind }) => kind);
  expect(kinds.filter((kind) => ['opened', 'acknowledged', 'level', 'closed'].includes(kind))).toEqual([
    'opened',
    'acknowledged',
    'level',
    'closed',
  ]);
  expect(detail.telling.map(({ channel }) => channel).toSorted()).toEqual(['hook', 'mail']);

  // Database
  const rows = await waitUntil(
    async () => {
      const found = await collector.sql<{ id: string; closed_at: Date | null; level_max: string }>(
        "SELECT id, closed_at, level_max FROM incidents WHERE rule = 'response-time'",
      );
      return found[0]?.closed_at != null && found;
    },
    { what: 'the database to know that it is over' },
  );
  expect(rows).toMatchObject([{ id, level_max: 'critical' }]);

  // Journal: what the database has confirmed may be gone from it; what is there agrees.
  const journal = join(dataDir, 'journal');
  const lines = readdirSync(journal).flatMap((name) => readFileSync(join(journal, name), 'utf8').split('\n'));
  const opened = lines.filter((line) => line.includes('"opened"') && line.includes('"response-time"'));
  expect(opened.every((line) => line.includes(id))).toBe(true);

  // Mail
  const resolved = mail.mails.find(({ subject }) => /resolved/i.test(subject))!;
  expect(resolved.headers.get('references')).toContain(mail.mails[0]!.headers.get('message-id'));
});

test('the console tells it as well', async () => {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run'],
  });
  try {
    const page = await browser.newPage();
    const signIn = await page.request.post(`${collector.url}/api/session`, { data: { token: collector.adminToken } });
    expect(signIn.ok()).toBe(true);
    await page.goto(`${collector.url}/alerts/${id}`);
    await page.getByText('Response time').first().waitFor();
    const text = await page.locator('main').innerText();
    expect(text).toContain('web1');
    expect(text).toMatch(/above (2|5) s/);
    await page
      .getByText(/looking into it/)
      .first()
      .waitFor();
  } finally {
    await browser.close();
  }
});
