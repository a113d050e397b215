/** Layers of rules: the most specific wins field by field, whatever the order, and what reads the same is the same object. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileRules, type RulesFragment } from './compile.ts';
import { SHIPPED_RULES } from './default-rules.ts';
import { LayeredRules, RuleInterner } from './rule-set.ts';
import type { Rule } from './rule.ts';

const sourceOf = (): string => 'test';

function rulesOf(fragment: Partial<RulesFragment>, interner = new RuleInterner()): LayeredRules {
  const { declared, mistakes } = compileRules({ rules: [], overrides: [], ...fragment });
  expect(mistakes).toEqual([]);
  return new LayeredRules(declared, sourceOf, interner);
}
const node = (name: string, site = '', tags: Record<string, string> = {}) => ({ name, site, tags });
const rule = (set: LayeredRules, name: string, where = node('n')): Rule | undefined => set.for(where).find((one) => one.name === name);

describe('shipped', () => {
  test('to the letter', () => {
    const bounds = rulesOf({})
      .views()
      .map(({ name, warning, critical }) => [name, warning?.trigger, critical?.trigger]);
    expect(Object.fromEntries(bounds.map(([name, ...rest]) => [name, rest]))).toMatchObject({
      'cpu-usage': [{ above: 0.7 }, { above: 0.9 }],
      'memory-usage': [{ above: 0.75 }, { above: 0.9 }],
      'disk-usage': [{ above: 0.7 }, { above: 0.85 }],
      'response-time': [{ above: 2 }, { above: 5 }],
      'error-rate': [{ above: 0.01 }, { above: 0.05 }],
      'replication-bytes-behind': [{ above: 104_857_600 }, undefined],
      'replication-lag': [{ above: 60 }, { above: 300 }],
      'certificate-expiry': [{ below: 14 * 86_400 }, { below: 3 * 86_400 }],
    });
  });

  test('all but the change of topology are judged everywhere', () => {
    const names = rulesOf({})
      .for(node('any'))
      .map(({ name }) => name);
    expect(names).toEqual(SHIPPED_RULES.map(({ name }) => name).filter((name) => name !== 'replication-topology-changed'));
    expect(rulesOf({}).explain('replication-topology-changed', node('any'))).toMatchObject({ enabled: false, applies: false });
  });
});

describe('layers', () => {
  const overrides: RulesFragment['overrides'] = [
    { rule: 'cpu-usage', node: 'db-1', warning: { above: '85%' } },
    { rule: 'cpu-usage', node: 'db-*', warning: { above: 0.82, clearAfter: '9m' } },
    { rule: 'cpu-usage', tag: 'role=db', critical: 'off' },
    { rule: 'cpu-usage', site: 'berlin', warning: { above: '80%', clear: '60%' }, critical: { for: '7m' } },
  ];

  test.each([
    ['nobody', node('web'), 0.7, 0.65, 300_000, 0.9],
    ['the site', node('web', 'berlin'), 0.8, 0.6, 300_000, 0.9],
    ['site and tag', node('web', 'berlin', { role: 'db' }), 0.8, 0.6, 300_000, undefined],
    ['a pattern', node('db-2', 'berlin'), 0.82, 0.6, 540_000, 0.9],
    ['the name', node('db-1', 'berlin', { role: 'db' }), 0.85, 0.6, 540_000, undefined],
  ])('%s', (_, where, above, clear, clearAfterMs, critical) => {
    for (const order of [overrides, overrides.toReversed()]) {
      const found = rule(rulesOf({ overrides: order }), 'cpu-usage', where);
      expect(found?.warning).toMatchObject({ trigger: { above }, clear, clearAfterMs });
      expect(found?.critical?.trigger).toEqual(critical === undefined ? undefined : { above: critical });
    }
  });

  test('which layers apply can be asked', () => {
    const view = rulesOf({ overrides }).explain('cpu-usage', node('db-1', 'berlin'));
    expect(view?.layers.map(({ layer, selector }) => [layer, selector])).toEqual([
      ['shipped', ''],
      ['site', 'site berlin'],
      ['node', 'node db-*'],
      ['node', 'node db-1'],
    ]);
    expect(view?.layers[1]?.sets).toEqual(['warning.above = 80%', 'warning.clear = 60%', 'critical.for = 7m']);
  });
});

describe('identity', () => {
  test('nodes and reloads share what reads the same', () => {
    const interner = new RuleInterner();
    const before = rulesOf({ overrides: [{ rule: 'cpu-usage', node: 'odd', warning: { above: '85%' } }] }, interner);
    expect(before.for(node('a', 'x'))).toBe(before.for(node('b', 'y', { role: 'db' })));
    expect(before.for(node('odd'))).not.toBe(before.for(node('a')));
    const after = rulesOf({ overrides: [{ rule: 'cpu-usage', node: 'odd', warning: { above: '86%' } }] }, interner);
    expect(after.for(node('a'))).toBe(before.for(node('a')));
    expect(rule(after, 'memory-usage', node('odd'))).toBe(rule(before, 'memory-usage', node('odd')));
    expect(rule(after, 'cpu-usage', node('odd'))?.digest).not.toBe(rule(before, 'cpu-usage', node('odd'))?.digest);
  });

  test('a node that is moved is looked at again', () => {
    const set = rulesOf({ overrides: [{ rule: 'cpu-usage', site: 'berlin', enabled: false }] });
    const moving = node('n', 'bonn');
    expect(rule(set, 'cpu-usage', moving)).toBeDefined();
    moving.site = 'berlin';
    expect(rule(set, 'cpu-usage', moving)).toBeUndefined();
  });
});

test('any order of overrides for different things gives the same', () => {
  const distinct = [
    { rule: 'cpu-usage', site: 'berlin' },
    { rule: 'cpu-usage', tag: 'role=db' },
    { rule: 'cpu-usage', node: 'd*' },
    { rule: 'cpu-usage', node: 'db-*' },
    { rule: 'cpu-usage', node: 'db-1' },
    { rule: 'cpu-usage', site: 'berlin', tag: 'role=db' },
  ];
  const field = fc.record({
    warning: fc.option(fc.record({ above: fc.double({ min: 0.7, max: 0.9, noNaN: true }) }), { nil: undefined }),
    enabled: fc.option(fc.boolean(), { nil: undefined }),
  });
  const strip = ({ warning, enabled }: { warning: { above: number } | undefined; enabled: boolean | undefined }) => ({
    ...(warning === undefined ? {} : { warning }),
    ...(enabled === undefined ? {} : { enabled }),
  });
  fc.assert(
    fc.property(
      fc.array(field, { minLength: 6, maxLength: 6 }),
      fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 }),
      (fields, order) => {
        const overrides = distinct.map((selector, i) => ({ ...selector, ...strip(fields[i]!) }));
        const where = node('db-1', 'berlin', { role: 'db' });
        const plain = rulesOf({ overrides }).explain('cpu-usage', where);
        const mixed = rulesOf({ overrides: order.map((i) => overrides[i]!) }).explain('cpu-usage', where);
        expect(mixed).toEqual(plain);
        // From the most specific: the name, the longer pattern, the shorter, two selectors, one.
        const winner = [4, 3, 2, 5, 1, 0].map((i) => fields[i]!.warning?.above).find((above) => above !== undefined);
        expect(plain?.warning?.trigger).toEqual({ above: winner ?? 0.7 });
      },
    ),
  );
});
