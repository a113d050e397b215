/**
 * Which positions of a block which rules look at: worked out once for each pair of a layout and a list of rules, which
 * many nodes share, and kept for as long as both exist. What a report costs follows from how much of it is judged.
 */
import type { Labels } from '@tidemark/protocol';
import { compilePatterns } from '../rules/pattern.ts';
import type { Rule } from '../rules/rule.ts';
import type { BlockLayout, SeriesInfo } from '../stream/stream.ts';
import { KINDS, type Value } from './kinds/index.ts';
import { isCalm } from './step.ts';

/** Series that the collector makes, for each node, on arrival of a report. */
export const CLOCK_ERROR = 'tidemark_node_clock_error_seconds';
export const LOST_REPORTS = 'tidemark_node_lost_reports_total';
export const COLLECTOR_SERIES: readonly string[] = [CLOCK_ERROR, LOST_REPORTS];

/** One rule on one series. */
export interface Watch {
  readonly rule: Rule;
  /** In one order. */
  readonly labels: Labels;
  /** Names the alert within its node. */
  readonly key: string;
  /** Whether it is about the difference from the value before. */
  readonly isCounter: boolean;
  /** Whether a value by itself means that nothing is going on. */
  readonly isCalm: (value: Value) => boolean;
}

export interface SeriesWatch extends Watch {
  readonly position: number;
}

export interface BlockPlan {
  readonly watches: readonly SeriesWatch[];
  /** For each rule about the absence of series: at which positions one that fits is. Indexes of RulesPlan.absences. */
  readonly presences: readonly { readonly position: number; readonly absence: number }[];
}

export interface ObservationWatch {
  readonly rule: Rule;
  readonly kind: string;
  readonly path: readonly string[];
}

/** A list of rules, sorted by what they are about. */
export interface RulesPlan {
  readonly rules: readonly Rule[];
  readonly byName: ReadonlyMap<string, Rule>;
  readonly blocks: WeakMap<BlockLayout, BlockPlan>;
  readonly series: readonly SeriesRule[];
  /** On the collector's own series of the node. */
  readonly clockError: readonly Watch[];
  readonly lostReports: readonly Watch[];
  readonly observations: readonly ObservationWatch[];
  /** Of the node itself. */
  readonly silence: readonly Watch[];
  /** Of series. */
  readonly absences: readonly Watch[];
  /** Some rule is about how much a series rises. */
  readonly hasCounters: boolean;
}

interface SeriesRule {
  readonly rule: Rule;
  readonly fits: (series: Pick<SeriesInfo, 'labels'>) => boolean;
  /** Of a rule about absence: its index in `absences`. */
  readonly absence: number | undefined;
}

const plans = new WeakMap<readonly Rule[], RulesPlan>();

/** The plan of a list of rules. */
export function planOf(rules: readonly Rule[]): RulesPlan {
  let plan = plans.get(rules);
  if (plan === undefined) plans.set(rules, (plan = compile(rules)));
  return plan;
}

/** The plan of a block under a list of rules. */
export function blockPlanOf(plan: RulesPlan, layout: BlockLayout): BlockPlan {
  let block = plan.blocks.get(layout);
  if (block === undefined) plan.blocks.set(layout, (block = compileBlock(plan, layout)));
  return block;
}

export function keyOf(rule: string, labels: Labels): string {
  return labels.length === 0 ? rule : `${rule} ${JSON.stringify(labels)}`;
}

export function sorted(labels: Labels): Labels {
  return labels.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

export function watchOf(rule: Rule, labels: Labels): Watch {
  return {
    rule,
    labels,
    key: keyOf(rule.name, labels),
    isCounter: KINDS[rule.kind].isMomentary,
    isCalm: (value) => isCalm(rule, value),
  };
}

/** Whether what one rule has judged says anything by the other. */
export function isAboutTheSame(a: Rule, b: Rule): boolean {
  return a.kind === b.kind && a.metric === b.metric && JSON.stringify(a.observation) === JSON.stringify(b.observation);
}

/** Whether a rule is about a series with these labels. */
export function fitsLabels(rule: Pick<Rule, 'labels'>, labels: Labels): boolean {
  return Object.entries(rule.labels).every(([name, patterns]) =>
    compilePatterns(patterns)(labels.find(([label]) => label === name)?.[1] ?? ''),
  );
}

function compile(rules: readonly Rule[]): RulesPlan {
  const series: SeriesRule[] = [];
  const lists = { clockError: [] as Watch[], lostReports: [] as Watch[], silence: [] as Watch[], absences: [] as Watch[] };
  const observations: ObservationWatch[] = [];
  for (const rule of rules) {
    if (rule.observation !== null) observations.push({ rule, kind: rule.observation.kind, path: rule.observation.field.split('.') });
    else if (rule.metric === null) lists.silence.push(watchOf(rule, []));
    else if (rule.metric === CLOCK_ERROR) lists.clockError.push(watchOf(rule, []));
    else if (rule.metric === LOST_REPORTS) lists.lostReports.push(watchOf(rule, []));
    else {
      const patterns = Object.entries(rule.labels).map(([name, list]) => ({ name, fits: compilePatterns(list) }));
      const absence = rule.kind === 'absent' ? lists.absences.push(watchOf(rule, [])) - 1 : undefined;
      const fits: SeriesRule['fits'] = ({ labels }) =>
        patterns.every((one) => one.fits(labels.find(([label]) => label === one.name)?.[1] ?? ''));
      series.push({ rule, fits, absence });
    }
  }
  const byName = new Map(rules.map((rule) => [rule.name, rule]));
  return {
    rules,
    byName,
    blocks: new WeakMap(),
    series,
    observations,
    hasCounters: series.some(({ rule }) => KINDS[rule.kind].isMomentary),
    ...lists,
  };
}

function compileBlock({ series: rules }: RulesPlan, layout: BlockLayout): BlockPlan {
  const byMetric = new Map<string, SeriesRule[]>();
  for (const rule of rules) {
    const metric = rule.rule.metric!;
    byMetric.set(metric, [...(byMetric.get(metric) ?? []), rule]);
  }
  const watches: SeriesWatch[] = [];
  const presences: { position: number; absence: number }[] = [];
  layout.series.forEach((series, position) => {
    for (const { rule, fits, absence } of byMetric.get(series.metric) ?? []) {
      if (!fits(series)) continue;
      if (absence === undefined) watches.push({ ...watchOf(rule, sorted(series.labels)), position });
      else presences.push({ position, absence });
    }
  });
  return { watches, presences };
}

/** The value at a dotted path of a document; undefined when there is none that can be judged. */
export function fieldOf(document: unknown, path: readonly string[]): Value | undefined {
  let value = document;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  return typeof value === 'number' && !Number.isNaN(value) ? value : undefined;
}
