/** Five hundred nodes fall silent at once, and come back: a handful of messages that name them all, every one of them closed. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitUntil } from '../postgres/cluster.ts';
import { AlertingCollector, QUIET } from './alerting-collector.ts';
import type { RawAgent } from './raw-agent.ts';

const NODES = 500;
/** What a person is spared: one message a node would be a thousand. */
const MESSAGES_MAX = 20;
let day: AlertingCollector;
let agents: RawAgent[];
const names = Array.from({ length: NODES }, (_, i) => `silent-${String(i).padStart(3, '0')}`);

beforeAll(async () => {
  day = await new AlertingCollector({
    overrides: [{ rule: 'node-silent', node: 'silent-*', warning: { for: '0s', clearAfter: '0s' } }],
  }).start();
  agents = await day.agents(names);
});
afterAll(async () => day?.stop());

const isSilent = ({ rule }: { rule: string }): boolean => rule === 'node-silent';
const toldOf = (status: string): Set<string> =>
  new Set(day.hook.taken.filter((alert) => isSilent(alert) && alert.status === status).map(({ node }) => node));

async function everyoneReports(): Promise<void> {
  for (let first = 0; first < NODES; first += 50) {
    await Promise.all(
      agents.slice(first, first + 50).map(async (agent) => {
        agent.take(QUIET);
        await waitUntil(async () => (await agent.send()) !== undefined, { what: 'an answer' });
      }),
    );
  }
}

test('all of them are told in few messages, and again when they are back', async () => {
  await everyoneReports();
  await day.hook.until('of every silent node', () => toldOf('firing').size === NODES, 120_000);
  const silentMessages = day.hook.received.filter(({ alerts }) => alerts.some(isSilent)).length;
  expect(silentMessages).toBeLessThanOrEqual(MESSAGES_MAX);
  expect((await day.alerts('state=open&rule=node-silent&limit=500')).length).toBe(NODES);

  await everyoneReports();
  await day.hook.until('that every node is back', () => toldOf('resolved').size === NODES, 60_000);
  for (const name of [names[0]!, names.at(-1)!]) {
    // Between the two rounds of reports some may have fallen silent again: every page is closed all the same.
    const story = day.told(name, isSilent);
    expect(story.filter((line) => line.startsWith('firing')).length).toBe(story.filter((line) => line.startsWith('resolved')).length);
  }
});

test('a collector that was not listening calls nobody silent', async () => {
  await everyoneReports();
  await waitUntil(async () => (await day.alerts('state=open&rule=node-silent&limit=500')).length === 0, { what: 'all to be up' });
  const before = day.hook.received.length;
  await day.kill();
  await day.launch();
  await everyoneReports();
  expect(await day.alerts('state=open&rule=node-silent')).toEqual([]);
  expect(day.hook.received.length).toBe(before);
});
