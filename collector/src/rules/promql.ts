/**
 * A level of a rule as a PromQL expression. A fleet that Prometheus scrapes in two ways is judged once: what differs by
 * scrape (job, instance) is merged away before anything is compared.
 */
import type { Bound } from '@tidemark/protocol';
import { boundValue } from './bound-text.ts';
import { isWild } from './pattern.ts';
import type { Level, Rule } from './rule.ts';

/** How far apart the moments are that "10m of 15m" looks at; the default pace of agents. */
export const STEP_SECONDS = 15;
/** What an increase is looked for in. Several scrapes have to fit. */
export const INCREASE_SECONDS = 300;

export type JudgedRule = Pick<Rule, 'kind' | 'metric' | 'labels'>;

/** Which nodes a rule is for: all of them, these, or all but these. */
export type NodeChoice = { readonly only: readonly string[] } | { readonly without: readonly string[] };

/** What the collector works out about a node itself, in the terms of its metrics page. */
const DERIVED: Readonly<Record<string, (selector: string) => string>> = {
  tidemark_node_clock_error_seconds: (selector) => `abs(tidemark_node_clock_offset_seconds${selector})`,
  tidemark_node_lost_reports_total: (selector) => `tidemark_agent_reports_lost_total${selector}`,
};

/** A text within a PromQL string. */
const quoted = (text: string): string => JSON.stringify(text);
const escapeRegex = (text: string): string => text.replaceAll(/[$()*+.?[\\\]^{|}]/g, String.raw`\$&`);
const regexOf = (patterns: readonly string[]): string =>
  quoted(patterns.map((pattern) => pattern.split('*').map(escapeRegex).join('.*')).join('|'));

/** One label's matcher: nothing for no condition. */
function matcher(label: string, patterns: readonly string[], matches: boolean): string[] {
  if (patterns.length === 0) return [];
  if (patterns.length === 1 && !isWild(patterns[0]!)) return [`${label}${matches ? '=' : '!='}${quoted(patterns[0]!)}`];
  return [`${label}${matches ? '=~' : '!~'}${regexOf(patterns)}`];
}

/** Names of nodes are never patterns. */
function nodeMatcher(choice: NodeChoice): string[] {
  const names = 'only' in choice ? choice.only : choice.without;
  const matches = 'only' in choice;
  if (names.length === 1) return [`node${matches ? '=' : '!='}${quoted(names[0]!)}`];
  if (names.length === 0) return [];
  return [`node${matches ? '=~' : '!~'}${quoted(names.map(escapeRegex).join('|'))}`];
}

function selectorOf(labels: JudgedRule['labels'], nodes: NodeChoice): string {
  const matchers = Object.entries(labels).flatMap(([label, patterns]) => [
    ...matcher(
      label,
      patterns.filter((pattern) => !pattern.startsWith('!')),
      true,
    ),
    ...matcher(
      label,
      patterns.filter((pattern) => pattern.startsWith('!')).map((pattern) => pattern.slice(1)),
      false,
    ),
  ]);
  const all = [...nodeMatcher(nodes), ...matchers];
  return all.length === 0 ? '' : `{${all.join(',')}}`;
}

const merged = (vector: string): string => `max without (job, instance) (${vector})`;

/** The series a rule is about. */
function seriesOf({ metric, labels }: JudgedRule, nodes: NodeChoice): string {
  const name = metric ?? 'tidemark_node_up';
  const selector = selectorOf(labels, nodes);
  return DERIVED[name]?.(selector) ?? `${name}${selector}`;
}

/** A number as PromQL reads it. */
const number = (value: number): string => String(value);

/** Comparisons of which one (or each) has to hold, and what is to be done with several. Undefined for what is no number. */
function comparisons(bound: Bound): { operators: string[]; join: '+' | '*' } | undefined {
  if ('above' in bound) return { operators: [`> ${number(bound.above)}`], join: '+' };
  if ('atLeast' in bound) return { operators: [`>= ${number(bound.atLeast)}`], join: '+' };
  if ('below' in bound) return { operators: [`< ${number(bound.below)}`], join: '+' };
  if ('atMost' in bound) return { operators: [`<= ${number(bound.atMost)}`], join: '+' };
  if (!('is' in bound) && !('isNot' in bound)) return undefined;
  const values = 'is' in bound ? bound.is : bound.isNot;
  const numbers = values.map((value) => (typeof value === 'boolean' ? Number(value) : value));
  if (!numbers.every((value) => typeof value === 'number')) return undefined;
  return 'is' in bound
    ? { operators: numbers.map((value) => `== ${number(value)}`), join: '+' }
    : { operators: numbers.map((value) => `!= ${number(value)}`), join: '*' };
}

/** 1 where the bound is crossed and 0 where it is not. */
function crossedAsNumber(value: string, { operators, join }: NonNullable<ReturnType<typeof comparisons>>): string {
  const parts = operators.map((operator) => `${value} ${operator.replace(' ', ' bool ')}`);
  return parts.length === 1 ? parts[0]! : parts.map((part) => `(${part})`).join(` ${join} `);
}

/** The series where the bound is crossed. */
function crossed(value: string, { operators, join }: NonNullable<ReturnType<typeof comparisons>>): string {
  return operators.map((operator) => `${value} ${operator}`).join(join === '+' ? '\nor\n' : '\nand\n');
}

export interface Expression {
  readonly expr: string;
  /** Prometheus's `for`; 0 where the expression itself looks back. */
  readonly forSeconds: number;
  readonly keepFiringSeconds: number;
}

/** A level as Prometheus can judge it; undefined where it cannot (words are no values of series). */
export function expressionOf(rule: JudgedRule, level: Level, nodes: NodeChoice): Expression | undefined {
  const series = seriesOf(rule, nodes);
  const { trigger } = level;
  const keepFiringSeconds = level.clearAfterMs / 1_000;
  if ('roseBy' in trigger) {
    const expr = `${merged(`increase(${series}[${INCREASE_SECONDS}s])`)} >= ${number(trigger.roseBy)}`;
    // The expression is true for as long as it looks back.
    return { expr, forSeconds: level.trueForMs / 1_000, keepFiringSeconds: Math.max(0, keepFiringSeconds - INCREASE_SECONDS) };
  }
  if ('missing' in trigger) return missing(rule, level, nodes, series);
  const compared = comparisons(trigger);
  if (compared === undefined) return undefined;
  return { ...held(merged(series), compared, level), keepFiringSeconds };
}

/** A node that is silent, or a node that reports and has no such series. */
function missing(rule: JudgedRule, level: Level, nodes: NodeChoice, series: string): Expression {
  const up = merged(`tidemark_node_up${selectorOf({}, nodes)}`);
  const keepFiringSeconds = level.clearAfterMs / 1_000;
  if (rule.metric === null) return { ...held(up, { operators: ['== 0'], join: '+' }, level), keepFiringSeconds };
  const absent = `(${up} == 1) unless on (node) ${series}`;
  if (level.trueForMs === level.ofLastMs) return { expr: absent, forSeconds: level.trueForMs / 1_000, keepFiringSeconds };
  return { expr: `${absent}\nand\n${often(absent, level, 'count_over_time')}`, forSeconds: 0, keepFiringSeconds };
}

function held(value: string, compared: NonNullable<ReturnType<typeof comparisons>>, level: Level): Omit<Expression, 'keepFiringSeconds'> {
  if (level.trueForMs === level.ofLastMs) return { expr: crossed(value, compared), forSeconds: level.trueForMs / 1_000 };
  // It goes on until the value is back at the clear value, as far as the time looked at reaches.
  const still = level.clear === null ? compared : stillBeyond(level.trigger, level.clear);
  return {
    expr: `${bracketed(crossed(value, still))}\nand\n${often(crossedAsNumber(value, compared), level, 'sum_over_time')}`,
    forSeconds: 0,
  };
}

const bracketed = (expr: string): string => (expr.includes('\n') ? `(${expr})` : expr);

function stillBeyond(trigger: Bound, clear: number): NonNullable<ReturnType<typeof comparisons>> {
  const upwards = 'above' in trigger || 'atLeast' in trigger;
  // A clear value on the bound itself is no wider than the bound.
  if (boundValue(trigger) === clear) return comparisons(trigger)!;
  return { operators: [`${upwards ? '>' : '<'} ${number(clear)}`], join: '+' };
}

/** True at enough of the moments looked at. */
function often(expr: string, { trueForMs, ofLastMs }: Level, over: 'sum_over_time' | 'count_over_time'): string {
  const moments = Math.ceil(trueForMs / 1_000 / STEP_SECONDS);
  return `${over}((${expr})[${ofLastMs / 1_000}s:${STEP_SECONDS}s]) >= ${moments}`;
}
