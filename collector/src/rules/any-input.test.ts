/** Whatever stands in the file: a mistake is named or it is taken, nothing throws, and what is taken can be judged. */
import { schemaMistakes } from '@tidemark/service';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Value } from 'typebox/value';
import { compileRules } from './compile.ts';
import { boundValue } from './bound-text.ts';
import { LayeredRules } from './rule-set.ts';
import { OverridesForm, RulesForm, type OverrideForm, type RuleForm } from './schema.ts';
import type { Level } from './rule.ts';

const NAMES = ['cpu-usage', 'disk-usage', 'node-silent', 'own', 'other'];
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined, freq: 2 });
const present = (record: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));

const quantity = fc.constantFrom<unknown>(0, 0.5, 0.7, 0.9, 1, 2, 70, '50%', '80%', '95%', '100MiB', '2s', '1h', 'x', true);
const hold = fc.constantFrom<unknown>('0s', '5m', '10m of 15m', '15m of 10m', '2d', 300, '5');
const level = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom<unknown>('off', false, true, null, 3) },
  {
    weight: 8,
    arbitrary: fc
      .record({
        above: optional(quantity),
        atLeast: optional(fc.constantFrom<unknown>(undefined, 0.5)),
        below: optional(fc.constantFrom<unknown>(undefined, undefined, 0.5)),
        is: optional(fc.constantFrom<unknown>(undefined, undefined, 0, 'a', [1, 2])),
        missing: optional(fc.constantFrom<unknown>(undefined, undefined, true, false)),
        roseBy: optional(fc.constantFrom<unknown>(undefined, undefined, 1, 0)),
        clear: optional(quantity),
        for: optional(hold),
        clearAfter: optional(hold),
        abvoe: optional(fc.constantFrom<unknown>(undefined, undefined, undefined, 1)),
      })
      .map(present),
  },
);
const shared = {
  warning: optional(level),
  critical: optional(level),
  suppressedBy: optional(fc.oneof(fc.constantFrom<unknown>(...NAMES, 'none'), fc.subarray(NAMES))),
  enabled: optional(fc.boolean()),
  labels: optional(fc.constantFrom<unknown>({ a: 'x' }, { a: ['x*', '!y'] }, { 'a-b': 'x' }, 'x')),
};
const rule = fc
  .record({
    name: fc.constantFrom<unknown>(...NAMES, 'Not A Name'),
    kind: optional(fc.constantFrom('threshold', 'absent', 'state', 'event', 'other')),
    metric: optional(fc.constantFrom('x_ratio', 'x', 'x_bytes')),
    of: optional(fc.constantFrom<unknown>(undefined, undefined, 'node')),
    where: optional(fc.constantFrom<unknown>({ sites: 'a' }, { tags: { k: 1 } }, { nodes: ['!n*'] }, {})),
    ...shared,
  })
  .map(present);
const override = fc
  .record({
    rule: fc.constantFrom<unknown>(...NAMES, 'none'),
    site: optional(fc.constantFrom('a', 'b*')),
    tag: optional(fc.constantFrom('k=1', 'k=*', 'kk')),
    node: optional(fc.constantFrom('n', 'n*', '!n')),
    ...shared,
  })
  .map(present);

test('the schema says something exactly when it refuses', () => {
  const anything = fc.oneof(fc.array(rule, { maxLength: 3 }), fc.anything({ maxDepth: 3 }));
  fc.assert(
    fc.property(anything, fc.oneof(fc.array(override, { maxLength: 3 }), fc.anything({ maxDepth: 3 })), (rules, overrides) => {
      for (const [form, value] of [
        [RulesForm, rules],
        [OverridesForm, overrides],
      ] as const) {
        const mistakes = schemaMistakes(form, value);
        expect(mistakes.length === 0).toBe(Value.Check(form, value));
        for (const { text } of mistakes) expect(text).not.toBe('');
      }
    }),
    { numRuns: 1_000 },
  );
});

const isSensible = ({ trigger, clear, trueForMs, ofLastMs, clearAfterMs }: Level): boolean => {
  const bound = boundValue(trigger);
  const rises = 'above' in trigger || 'atLeast' in trigger;
  const isClearRight = clear === null || (bound !== undefined && (rises ? clear <= bound : clear >= bound));
  return isClearRight && trueForMs >= 0 && ofLastMs >= trueForMs && clearAfterMs >= 0;
};

/** Mostly right, so that what is taken is looked at often enough. */
const right = {
  warning: optional(fc.record({ above: fc.constantFrom(0.7, '80%') })),
  critical: optional(
    fc.constantFrom({ for: '5m of 7m' }, { above: '90%', clear: '60%' }, 'off', { clearAfter: '0s' }, { above: 0.75, clear: 0.7 }),
  ),
  enabled: optional(fc.boolean()),
};
const rightOverride = fc
  .record({
    rule: fc.constantFrom('cpu-usage', 'own'),
    site: fc.constantFrom('a', 'b*'),
    node: optional(fc.constantFrom('n', 'n*')),
    ...right,
  })
  .map(present);
const rightRule = fc
  .record({ where: optional(fc.constantFrom({ sites: 'a' }, { tags: { k: 1 } }, { nodes: ['!n*'] })), enabled: optional(fc.boolean()) })
  .map((rest) =>
    present({ name: 'own', kind: 'threshold', metric: 'x_ratio', warning: { above: 0.7 }, critical: { above: 0.9 }, ...rest }),
  );

test('what the schema takes is refused or can be judged, on every node', () => {
  const taken = fc.record({
    rules: fc.oneof(
      rightRule.map((one) => [one]),
      fc.array(
        rule.filter((one) => Value.Check(RulesForm, [one])),
        { maxLength: 4 },
      ),
    ),
    overrides: fc.oneof(
      fc.array(rightOverride, { maxLength: 3 }),
      fc.array(
        override.filter((one) => Value.Check(OverridesForm, [one])),
        { maxLength: 5 },
      ),
    ),
  });
  let judged = 0;
  fc.assert(
    fc.property(taken, ({ rules, overrides }) => {
      const { declared, mistakes } = compileRules({ rules: rules as RuleForm[], overrides: overrides as OverrideForm[] });
      for (const { key, path, text } of mistakes) {
        expect(Number(path[0])).toBeLessThan(key === 'rules' ? rules.length : overrides.length);
        expect(text).not.toMatch(/undefined|\[object|NaN/);
      }
      if (mistakes.length > 0) return;
      judged++;
      const set = new LayeredRules(declared, () => 'test');
      for (const site of ['a', 'bb', ''])
        for (const tags of [{}, { k: '1' }] as Record<string, string>[])
          for (const name of ['n', 'nn', 'm']) {
            const node = { name, site, tags };
            const found = set.for(node);
            for (const { warning, critical } of found) {
              expect(warning ?? critical).not.toBeNull();
              for (const one of [warning, critical]) expect(one === null || isSensible(one)).toBe(true);
            }
            const applying = set.views().filter((view) => set.explain(view.name, node)!.applies);
            expect(found.map((one) => one.name)).toEqual(applying.map((view) => view.name));
          }
    }),
    { numRuns: 300 },
  );
  // Or nothing was shown.
  expect(judged).toBeGreaterThan(50);
});
