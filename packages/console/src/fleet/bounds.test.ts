/** The bounds that figures are tinted by are those of the rules in force, and the shipped ones until they are known. */
import type { RuleView } from '@tidemark/protocol';
import { expect, test } from 'vitest';
import { SHIPPED, boundsOf, levelOf } from './bounds.ts';

const level = (trigger: NonNullable<RuleView['warning']>['trigger']) => ({
  trigger,
  clear: null,
  trueForSeconds: 0,
  ofLastSeconds: 0,
  clearAfterSeconds: 0,
});
const rule = (parts: Partial<RuleView>): RuleView => ({
  name: 'r',
  title: 'R',
  kind: 'threshold',
  metric: 'tidemark_cpu_usage_ratio',
  observation: null,
  labels: {},
  unit: 'ratio',
  where: {},
  warning: null,
  critical: null,
  suppressedBy: [],
  enabled: true,
  inactiveBecause: null,
  annotations: {},
  runbook: null,
  layers: [],
  ...parts,
});

test('without rules they are as shipped', () => expect(boundsOf([])).toEqual(SHIPPED));

test('a rule in force says them', () => {
  const bounds = boundsOf([rule({ warning: level({ above: 0.6 }), critical: level({ atLeast: 0.8 }) })]);
  expect(bounds.cpu).toEqual({ warning: 0.6, critical: 0.8 });
  expect(bounds.disk).toEqual(SHIPPED.disk);
});

test('a rule that is off, of another kind, about some series alone, or about what is too little says none', () => {
  const some = rule({ labels: { cpu: ['0'] }, warning: level({ above: 0.1 }) });
  const off = rule({ enabled: false, warning: level({ above: 0.1 }) });
  const state = rule({ kind: 'state', warning: level({ is: [1] }) });
  const below = rule({ warning: level({ below: 0.1 }) });
  for (const each of [off, state, below, some]) expect(boundsOf([each]).cpu).toEqual(SHIPPED.cpu);
});

test('of what runs out the bound is what is below it', () => {
  const metric = 'tidemark_replication_slot_disk_full_in_seconds';
  const runsOut = rule({ metric, warning: level({ below: 7_200 }), critical: level({ atMost: 600 }) });
  expect(boundsOf([runsOut]).diskFull).toEqual({ warning: 7_200, critical: 600 });
  expect(boundsOf([rule({ metric, warning: level({ above: 1 }) })]).diskFull).toEqual(SHIPPED.diskFull);
});

test('a rule that leaves some series out is for all others', () => {
  expect(boundsOf([rule({ labels: { cpu: ['!0'] }, warning: level({ above: 0.5 }) })]).cpu.warning).toBe(0.5);
});

test('a value on the bound is not beyond it', () => {
  expect([0.7, 0.701, 0.9, 0.901, null].map((value) => levelOf(value, SHIPPED.cpu))).toEqual([
    'normal',
    'warning',
    'warning',
    'critical',
    'normal',
  ]);
  expect(levelOf(104_857_601, SHIPPED.behind)).toBe('warning');
});
