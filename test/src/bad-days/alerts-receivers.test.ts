/** Receivers at their worst, side by side: none delays another, each is told in the end what is so, and told the end of what it was told. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChannelList, ChannelTest } from '@tidemark/protocol';
import { waitUntil } from '../postgres/cluster.ts';
import { MailReceiver } from '../telling/mail-receiver.ts';
import { WebhookReceiver, type Received } from '../telling/webhook-receiver.ts';
import { AlertingCollector, CROSSED, QUIET, report } from './alerting-collector.ts';
import type { RawAgent } from './raw-agent.ts';

const RETRY_AFTER_S = 3;
const directory = mkdtempSync(join(tmpdir(), 'tidemark-receivers-'));
let day: AlertingCollector;
let agent: RawAgent;
const hanging = new WebhookReceiver();
const failing = new WebhookReceiver();
const limiting = new WebhookReceiver();
const gone = new WebhookReceiver();
const greylisting = new MailReceiver();
const refusing = new MailReceiver();
const hooks = { hanging, failing, limiting, gone };

beforeAll(async () => {
  await Promise.all([...Object.values(hooks), greylisting, refusing].map((receiver) => receiver.start()));
  hanging.answer = () => (hanging.received.length === 1 ? 'hang' : { status: 204 });
  failing.answer = () => ({ status: failing.received.length <= 2 ? 500 : 204 });
  limiting.answer = () =>
    limiting.received.length === 1 ? { status: 429, headers: { 'retry-after': String(RETRY_AFTER_S) } } : { status: 204 };
  gone.answer = () => ({ status: 410 });
  let asked = 0;
  greylisting.refuse = () => (++asked <= 2 ? { code: 450, text: '4.2.0 Greylisted, come back later' } : undefined);
  refusing.refuse = () => ({ code: 550, text: '5.1.1 No such user here' });
  const secretFile = join(directory, 'secret');
  writeFileSync(secretFile, hanging.secret, { mode: 0o600 });
  const mail = (name: string, { port }: MailReceiver): object => ({
    name,
    kind: 'email',
    host: '127.0.0.1',
    port,
    tls: 'off',
    from: 'tidemark@example.org',
    to: ['ops@example.org'],
  });
  day = await new AlertingCollector({
    channels: [
      ...Object.entries(hooks).map(([name, { url }]) => ({ name, kind: 'webhook', url, secretFile })),
      mail('greylisting', greylisting),
      mail('refusing', refusing),
    ],
  }).start();
  [agent] = (await day.agents(['n1'])) as [RawAgent];
  await report(agent, QUIET);
});

afterAll(async () => {
  await day?.stop();
  await Promise.all([...Object.values(hooks), greylisting, refusing].map((receiver) => receiver.stop()));
  rmSync(directory, { recursive: true, force: true });
});

const taken = (receiver: WebhookReceiver): string[] => {
  const seen = new Set<string>();
  return receiver.received.flatMap(({ id, status, alerts }) => {
    if (status === undefined || status >= 300 || seen.has(id)) return [];
    seen.add(id);
    return alerts.map((alert) => alert.status);
  });
};
const channel = async (name: string): Promise<ChannelList['channels'][number]> =>
  (await day.collector.api<ChannelList>('GET', '/api/channels')).channels.find((one) => one.name === name)!;

test('each hears of it as soon as it can', async () => {
  await report(agent, CROSSED);
  await day.hook.until('at once', () => day.told('n1').length === 1, 5_000);
  await failing.until('it after two failures', (receiver) => taken(receiver).length === 1);
  await limiting.until('it after the time that it asked for', (receiver) => taken(receiver).length === 1);
  const [first, second] = limiting.received as [Received, Received];
  expect(second.at - first.at).toBeGreaterThanOrEqual(RETRY_AFTER_S * 1_000);
  await greylisting.until('it after the greylist', (mails) => mails.length === 1);
  await hanging.until('it again after the time-out', (receiver) => taken(receiver).length === 1, 60_000);
  for (const receiver of [failing, limiting, hanging]) {
    expect(new Set(receiver.received.map(({ id }) => id)).size, 'the same message under the same id').toBe(1);
    expect(receiver.received.every(({ signed }) => signed)).toBe(true);
  }
  expect(await channel('gone')).toMatchObject({ state: 'disabled', detail: expect.stringContaining('410') });
  await waitUntil(async () => (await channel('refusing')).detail.includes('No such user here'), { what: 'the refusal to be shown' });
});

test('whoever was told is told the end', async () => {
  await report(agent, QUIET);
  await day.hook.until('the end', () => day.told('n1').length === 2);
  for (const receiver of [failing, limiting, hanging])
    await receiver.until('the end', () => taken(receiver).join() === 'firing,resolved', 60_000);
  await greylisting.until('the end', (mails) => mails.length === 2);
  expect(greylisting.mails[1]!.subject).toMatch(/resolved/i);
  expect(gone.received).toHaveLength(1);
});

test('the test button shows what the other side says', async () => {
  const ask = (name: string): Promise<ChannelTest> => day.collector.api<ChannelTest>('POST', `/api/channels/${name}/test`);
  expect(await ask('failing')).toMatchObject({ delivered: true, answer: expect.stringContaining('204') });
  expect(await ask('refusing')).toMatchObject({ delivered: false, answer: expect.stringContaining('No such user here') });
  expect(await ask('gone')).toMatchObject({ delivered: false, answer: expect.stringContaining('410') });
  gone.answer = () => ({ status: 200 });
  expect(await ask('gone')).toMatchObject({ delivered: true });
  expect((await channel('gone')).state).not.toBe('disabled');
});
