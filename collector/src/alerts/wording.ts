/** Why an alert opened, changed or ended: one sentence each, for somebody who is tired and reads it on a phone. */
import type { AlertLevel, Bound, Labels } from '@tidemark/protocol';
import { boundText, crossingText, holdText, valueText } from '../rules/bound-text.ts';
import type { Level, Rule } from '../rules/rule.ts';
import type { Value } from './kinds/index.ts';

/** Labels that by themselves say what is meant. */
const TELLING = ['mountpoint', 'endpoint', 'lost_node', 'slot_name', 'server', 'instance', 'interface', 'device'];

/** "CPU usage", "Disk usage of /var". */
export function subjectOf(rule: Pick<Rule, 'title'>, labels: Labels): string {
  if (labels.length === 0) return rule.title;
  const telling = TELLING.map((name) => labels.find(([label]) => label === name)).find((label) => label !== undefined);
  const what = telling?.[1] ?? labels.map(([name, value]) => `${name} ${value}`).join(', ');
  return `${rule.title} of ${what}`;
}

/** Why it is open at a level. `missingMs`: for how long a node has been silent. `explanation`: a sentence of who made the value. */
export function whyOpen(
  rule: Rule,
  labels: Labels,
  name: AlertLevel,
  { value, missingMs, explanation }: { value: Value | null; missingMs: number | undefined; explanation?: string | undefined },
): string {
  const level = rule[name]!;
  if (rule.kind === 'absent') return missing(rule, missingMs, level);
  const subject = subjectOf(rule, labels);
  if (explanation !== undefined) {
    // That a state "is 1" says nothing to anybody.
    const plain = whyOpen(rule, labels, name, { value, missingMs });
    const hold = holdText(level);
    return rule.kind === 'state' ? `${subject}${hold === '' ? '' : `, ${hold}`}: ${explanation}` : `${plain} ${explanation}`;
  }
  if (value === null) return `${subject} was last known to be beyond its bound (${boundText(level.trigger, rule.unit)}).`;
  if (rule.kind === 'event') return `${subject}: rose by ${amount(value, rule.unit)}.`;
  const hold = holdText(level);
  return `${subject} ${crossing(value, level.trigger, rule.unit)}${hold === '' ? '' : `, ${hold}`}.`;
}

function missing(rule: Rule, missingMs: number | undefined, level: Level): string {
  if (rule.metric === null)
    return missingMs === undefined ? 'Nothing was heard from it.' : `Nothing was heard from it for ${span(missingMs)}.`;
  const hold = holdText(level);
  return `${rule.title}: no series ${rule.metric} is there${hold === '' ? '' : `, ${hold}`}.`;
}

/** "93 % is above 90 %". */
function crossing(value: Value, bound: Bound, unit: string): string {
  if (typeof value !== 'number') return `is ${String(value)}`;
  const text = crossingText(value, bound, unit);
  return /^(is|missing|rose) /.test(text) ? text : text.replace(/ (above|at least|below|at most) /, ' is $1 ');
}

const amount = (value: Value, unit: string): string => (typeof value === 'number' ? valueText(value, unit) : String(value));
const span = (ms: number): string => valueText(Math.round(ms / 1_000), 'seconds');

/** Why it is over by itself. */
export function whyRecovered(rule: Rule, labels: Labels, level: AlertLevel, value: Value | null): string {
  const bounds = rule[level];
  if (rule.kind === 'absent') return rule.metric === null ? 'It reports again.' : `${rule.title}: ${rule.metric} is there again.`;
  const subject = subjectOf(rule, labels);
  const lasted = bounds === null || bounds.clearAfterMs === 0 ? '' : `, for ${span(bounds.clearAfterMs)}`;
  if (rule.kind === 'event') return `${subject}: no rise${lasted}.`;
  if (typeof value !== 'number' || bounds === null) return `${subject} is ${value === null ? 'back' : String(value)} again${lasted}.`;
  const rises = 'above' in bounds.trigger || 'atLeast' in bounds.trigger;
  const back = bounds.clear === null ? '' : `, back at ${valueText(bounds.clear, rule.unit)} or ${rises ? 'less' : 'more'}`;
  return `${subject} is ${valueText(value, rule.unit)}${back}${lasted}.`;
}

export function whyGone(rule: Rule, labels: Labels): string {
  return `${subjectOf(rule, labels)}: it is no longer there, as its agent says.`;
}

export function whyChanged(rule: Rule, labels: Labels, value: Value | null): string {
  const bound = rule.warning ?? rule.critical;
  const now =
    value === null || bound === null ? '' : ` ${amount(value, rule.unit)} is not beyond it (${boundText(bound.trigger, rule.unit)}).`;
  return `${subjectOf(rule, labels)}: its rule was changed.${now}`;
}

export function whyNoData(rule: Rule, labels: Labels, noData: boolean, nodeIsSilent: boolean): string {
  const subject = subjectOf(rule, labels);
  if (!noData) return `${subject} is measured again.`;
  return nodeIsSilent
    ? `${subject}: its node is silent, nobody knows how it is now.`
    : `${subject} is not measured any more; nobody knows how it is now.`;
}

export const WHY_RETIRED = 'The node was retired, or its access was taken away.';
export const WHY_RULE_REMOVED = 'Its rule was removed or turned off, or is no longer about this node.';
