/** Alerts of a node that this database does not have end at the start; all others go on. */
import { ManualClock } from '@tidemark/service';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { closeStrangers, countAlerting } from './alerting.ts';
import { memoryRecorder, openingOf } from './incidents/testing.ts';

test('a journal that was written beside another database keeps no alert open for ever', async () => {
  const clock = new ManualClock();
  const recorder = memoryRecorder(clock);
  const at = clock.wallMs();
  const opened = (incidentId: string, nodeId: number) => ({ kind: 'opened' as const, at, opening: openingOf(incidentId, { nodeId }) });
  await recorder.record([opened('ours', 1), opened('of-a-namesake', 2), opened('of-nobody', 3)]);
  const nodes = new Map([
    [1, { createdAt: at - 1 }],
    [2, { createdAt: at + 1 }],
  ]);
  clock.advance(60_000);
  await closeStrangers(recorder, { byId: (id) => nodes.get(id) }, clock.wallMs());
  const open = [...recorder.book.incidents()].filter(({ closedAt }) => closedAt === null);
  expect(open.map(({ incidentId }) => incidentId)).toEqual(['ours']);
  expect(recorder.book.incident('of-nobody')).toMatchObject({ closeReason: 'retired', closedAt: clock.wallMs() });
});

test('what is open, what changed and what was told is counted', async () => {
  const clock = new ManualClock();
  const recorder = memoryRecorder(clock);
  const registry = new Registry();
  countAlerting(registry, { recorder, channels: () => [{ ...CHANNEL, waiting: 2 }], waiting: () => 3 });
  const at = clock.wallMs();
  await recorder.record([
    { kind: 'opened', at, opening: openingOf('a', { rule: 'disk-usage', level: 'critical' }) },
    { kind: 'answered', at, deliveryId: 'd', channel: 'mail', attempt: 1, outcome: 'retry', answer: '451', retryAt: at },
  ]);
  const page = await registry.metrics();
  for (const line of [
    'tidemark_collector_alerts_open{rule="disk-usage",level="critical"} 1',
    'tidemark_collector_alert_transitions_total{kind="opened"} 1',
    'tidemark_collector_messages_total{channel="mail",outcome="retry"} 1',
    'tidemark_collector_messages_waiting{channel="mail"} 2',
    'tidemark_collector_journal_entries_waiting 3',
  ])
    expect(page).toContain(line);
  await recorder.record([{ kind: 'closed', at, incidentId: 'a', reason: 'recovered', value: null, why: '' }]);
  expect(await registry.metrics()).not.toContain('alerts_open{');
});

const CHANNEL = {
  name: 'mail',
  kind: 'email',
  destination: '',
  only: '',
  state: 'retrying',
  detail: '',
  lastDeliveredAt: null,
} as const;
