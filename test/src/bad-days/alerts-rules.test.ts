/**
 * What may happen to a rule and to what it judges: edited while its alert is open, a file with mistakes, a value exactly
 * on the bound, flapping around it, a report from last week, a node that comes back under another name, or is retired.
 */
import type { RuleList } from '@tidemark/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitUntil } from '../postgres/cluster.ts';
import { runToEnd } from '../programs.ts';
import { AlertingCollector, CROSSED, LOAD_RULE, QUIET, report } from './alerting-collector.ts';
import { LOAD_METRIC, type RawAgent } from './raw-agent.ts';

let day: AlertingCollector;

beforeAll(async () => {
  day = await new AlertingCollector().start();
});
afterAll(async () => day?.stop());

async function agentOf(name: string): Promise<RawAgent> {
  const [agent] = await day.agents([name]);
  await report(agent!, QUIET);
  return agent!;
}
const reason = async (node: string): Promise<string | null | undefined> =>
  (await day.alerts(`state=closed&rule=load&node=${node}`))[0]?.closeReason;
const firing = (name: string): Promise<void> => day.hook.until(`of ${name}`, () => day.told(name).at(-1) === 'firing critical');
const over = (name: string): Promise<void> => day.hook.until(`that ${name} is over`, () => day.told(name).at(-1) === 'resolved critical');

async function reloaded(changes: Parameters<AlertingCollector['configure']>[0]): Promise<void> {
  const before = (await day.collector.api<RuleList>('GET', '/api/rules')).loadedAt;
  day.configure(changes);
  day.collector.kill('SIGHUP');
  await waitUntil(async () => (await day.collector.api<RuleList>('GET', '/api/rules')).loadedAt !== before, {
    what: 'the rules to be read',
  });
}

test('a value exactly on the bound is not beyond it; exactly on the clear value it is over', async () => {
  const agent = await agentOf('bound');
  await report(agent, 90);
  await report(agent, 90.000_001);
  await firing('bound');
  expect((await day.alerts('state=open&node=bound'))[0]).toMatchObject({ value: 90.000_001 });
  await report(agent, 80.000_001);
  await report(agent, 80);
  await over('bound');
  expect(day.told('bound')).toEqual(['firing critical', 'resolved critical']);
});

test('flapping around the bound is one alert', async () => {
  const agent = await agentOf('flaps');
  for (let i = 0; i < 30; i++) await report(agent, i % 2 === 0 ? 91 : 89);
  await firing('flaps');
  await report(agent, QUIET);
  await over('flaps');
  expect(day.told('flaps')).toEqual(['firing critical', 'resolved critical']);
});

test('a report from last week pages nobody', async () => {
  const agent = await agentOf('late');
  const weekMs = 6.9 * 86_400_000;
  const { layout } = agent;
  await agent.post({
    layouts: [layout],
    reports: [
      {
        bootId: agent.bootId,
        sequence: 1_000_000,
        takenAt: Date.now() - weekMs,
        monotonicMs: performance.now() - weekMs,
        blocks: [{ layout: layout.hash, values: [CROSSED, 1] }],
      },
    ],
  });
  await report(agent, QUIET);
  // Another node's page is the proof that telling works meanwhile.
  const other = await agentOf('proof');
  await report(other, CROSSED);
  await firing('proof');
  await report(other, QUIET);
  await over('proof');
  expect(day.told('late')).toEqual([]);
  expect(await day.alerts('state=all&node=late')).toEqual([]);
});

test('a rule edited while its alert is open is judged anew, and says that it was changed', async () => {
  const agent = await agentOf('edited');
  await report(agent, CROSSED);
  await firing('edited');
  await reloaded({ rules: [{ ...LOAD_RULE, critical: { above: 99, clear: 98, for: '0s', clearAfter: '0s' } }] });
  await over('edited');
  expect(await reason('edited')).toBe('rule_changed');
  await reloaded({ rules: [LOAD_RULE] });
  await report(agent, CROSSED);
  await day.hook.until('it again', () => day.told('edited').length === 3);
  await reloaded({ rules: [] });
  await day.hook.until('that it is over', () => day.told('edited').length === 4);
  expect(await reason('edited')).toBe('rule_removed');
  await reloaded({ rules: [LOAD_RULE] });
  await report(agent, QUIET);
});

test('a file with mistakes changes nothing, and is said', async () => {
  const agent = await agentOf('spoilt');
  const before = await day.collector.api<RuleList>('GET', '/api/rules');
  day.spoil('rules:\n  - name: load\n    kind: threshold\n    metric: x\n    critical: {abov: 90}\n');
  day.collector.kill('SIGHUP');
  await waitUntil(() => day.collector.output().includes('collector.yaml:5'), { what: 'the log to name the line' });
  const answer = await fetch(`${day.collector.url}/api/reload`, {
    method: 'POST',
    headers: { authorization: `Bearer ${day.collector.adminToken}` },
  });
  expect(answer.status).toBe(409);
  expect(await answer.json()).toMatchObject({ code: 'configuration_invalid', detail: expect.stringContaining('collector.yaml:5') });
  expect(await day.collector.api<RuleList>('GET', '/api/rules')).toEqual(before);
  await report(agent, CROSSED);
  await firing('spoilt');
  await report(agent, QUIET);
  await over('spoilt');
  day.configure({});
  const { code, stdout } = await runToEnd('collector', [
    'reload',
    '--server',
    day.collector.url,
    '--token-file',
    day.collector.ready.adminTokenFile,
  ]);
  expect([code, stdout]).toEqual([0, 'Rules as before. Channels: hook.\n']);
});

test('a node that gets another name keeps its alert', async () => {
  const agent = await agentOf('old-name');
  await report(agent, CROSSED);
  await firing('old-name');
  const [open] = await day.alerts('state=open&node=old-name');
  await day.collector.api('POST', '/api/telemetry/nodes/old-name/rename', { name: 'new-name' });
  await report(agent, CROSSED);
  expect(await day.alerts('state=open&node=new-name')).toMatchObject([{ id: open!.id, node: 'new-name' }]);
  await report(agent, QUIET);
  await over('new-name');
  expect(day.hook.alerts.filter(({ id }) => id === open!.id).map(({ status }) => status)).toEqual(['firing', 'resolved']);
});

test('retiring a node closes its alerts for that reason; one of the same name begins anew', async () => {
  const agent = await agentOf('retired');
  await report(agent, CROSSED);
  await firing('retired');
  await day.collector.api('POST', '/api/telemetry/nodes/retired/retire');
  await over('retired');
  expect((await day.alerts('state=closed&rule=load')).find(({ node }) => node === 'retired')?.closeReason).toBe('retired');
  const again = await agentOf('retired');
  expect(await day.alerts('state=open&node=retired')).toEqual([]);
  await report(again, CROSSED);
  await day.hook.until('of the new one', () => day.told('retired').length === 3);
  await report(again, QUIET);
  await day.hook.until('that it is over', () => day.told('retired').length === 4);
  expect(new Set(day.hook.alerts.filter(({ node }) => node === 'retired').map(({ id }) => id)).size).toBe(2);
});

test('series that are not there have no alert, however the rule is called', async () => {
  expect((await day.alerts('state=all')).every(({ metric }) => metric === LOAD_METRIC || metric === null)).toBe(true);
});
