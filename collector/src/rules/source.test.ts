/** Rules are replaced whole or not at all, and what stays the same stays the same object; what is in force can be asked over HTTP. */
import { ManualClock, createLog } from '@tidemark/service';
import { expect, test, vi } from 'vitest';
import { READ_TOKEN, nodeRecord, testServer } from '../http/testing.ts';
import type { RulesFragment } from './compile.ts';
import { ruleRoutes } from './routes.ts';
import type { RuleSet } from './rule.ts';
import { createRuleSource, type RuleBook, type RulesConfig } from './source.ts';

const config = (fragment: Partial<RulesFragment> = {}): RulesConfig => ({
  rules: [],
  overrides: [],
  ...fragment,
  file: '/etc/tidemark/collector.yaml',
  placeOf: (key, path) => `FILE:${key}.${path.join('.')}`,
});
const clock = new ManualClock();
const source = (fragment: Partial<RulesFragment> = {}): RuleBook =>
  createRuleSource({ config: config(fragment), clock, log: createLog('test', 'silent') });
const node = { name: 'db-1', site: 'berlin', tags: {} };

test('a reload tells what changed, once', () => {
  const book = source({ rules: [{ name: 'own', kind: 'threshold', metric: 'm', warning: { above: 1 } }] });
  const heard = vi.fn<(rules: RuleSet) => void>();
  book.onChange(heard);
  const before = book.current.for(node);
  expect(book.reload(config({ overrides: [{ rule: 'cpu-usage', site: 'berlin', warning: { above: '80%' } }] }))).toEqual({
    added: [],
    changed: ['cpu-usage'],
    removed: ['own'],
  });
  expect(heard).toHaveBeenCalledExactlyOnceWith(book.current);
  const after = book.current.for(node);
  expect(after.find(({ name }) => name === 'memory-usage')).toBe(before.find(({ name }) => name === 'memory-usage'));
  expect(after.find(({ name }) => name === 'cpu-usage')?.warning?.trigger).toEqual({ above: 0.8 });
});

test('what reads the same is no change, and its lists stay', () => {
  const book = source({ overrides: [{ rule: 'cpu-usage', site: 'berlin', warning: { above: '80%', clear: '70%' } }] });
  const heard = vi.fn<(rules: RuleSet) => void>();
  book.onChange(heard);
  const before = book.current.for(node);
  clock.advance(1_000);
  const change = book.reload(config({ overrides: [{ warning: { clear: '70%', above: '80%' }, site: 'berlin', rule: 'cpu-usage' }] }));
  expect(change).toEqual({ added: [], changed: [], removed: [] });
  expect(heard).not.toHaveBeenCalled();
  expect(book.current.for(node)).toBe(before);
  expect(book.state().loadedAt).toBe(clock.wallMs());
});

test('mistakes change nothing, and are remembered until they are gone', () => {
  const book = source();
  const heard = vi.fn<(rules: RuleSet) => void>();
  book.onChange(heard);
  const rules = book.current;
  expect(() => book.reload(config({ overrides: [{ rule: 'cpu', site: 'x', enabled: false }] }))).toThrow(
    'mistakes in the rules:\n  FILE:overrides.0.rule: overrides: there is no rule cpu; all of them: tidemark-collector rules list',
  );
  expect(book.current).toBe(rules);
  expect(book.state().refused).toMatchObject({ at: clock.wallMs(), mistakes: expect.stringContaining('there is no rule cpu') as string });
  expect(heard).not.toHaveBeenCalled();
  book.reload(config());
  expect(book.state().refused).toBeUndefined();
});

test('over HTTP', async () => {
  const book = source({ overrides: [{ rule: 'cpu-usage', node: 'db-*', warning: { above: '80%' } }] });
  const { app } = await testServer({
    routes: (server) =>
      ruleRoutes(server, { source: book, fleet: { byName: (name) => (name === 'db-1' ? nodeRecord('db-1') : undefined) } }),
  });
  const ask = async (url: string) => (await app.inject({ url, headers: { authorization: `Bearer ${READ_TOKEN}` } })).json<unknown>();
  expect((await app.inject({ url: '/api/rules' })).statusCode).toBe(401);
  expect(await ask('/api/rules')).toMatchObject({ file: '/etc/tidemark/collector.yaml', rules: expect.arrayContaining([]) as unknown[] });
  expect(await ask('/api/rules/applies?node=db-1&rule=cpu-usage')).toMatchObject({
    node: 'db-1',
    rules: [
      {
        name: 'cpu-usage',
        applies: true,
        warning: { trigger: { above: 0.8 }, clear: 0.65, trueForSeconds: 600, ofLastSeconds: 900 },
        runbook: '/runbooks/cpu-usage',
        layers: [
          { layer: 'shipped', source: 'shipped' },
          { layer: 'node', source: 'FILE:overrides.0', selector: 'node db-*', sets: ['warning.above = 80%'] },
        ],
      },
    ],
  });
  const all = (await ask('/api/rules/applies?node=db-1')) as { rules: { name: string; applies: boolean }[] };
  expect(all.rules.filter(({ applies }) => !applies).map(({ name }) => name)).toEqual(['replication-topology-changed']);
  expect(await ask('/api/rules/applies?node=none')).toMatchObject({ code: 'node_unknown' });
  expect(await ask('/api/rules/applies?node=db-1&rule=none')).toMatchObject({ code: 'rule_unknown' });
});
