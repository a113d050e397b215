/** What a silence covers: prefilled from what one stands before, shown in words, and counted before it is made. */
import type { AlertLevel, AlertView, Matcher } from '@tidemark/protocol';
import type { Group } from '../alerts/arrange.ts';

/** A part of a matcher that can be taken or left. */
export interface Part {
  /** "rule", "node", "site", "level" or "label NAME". */
  name: string;
  value: string;
  taken: boolean;
}

/** The narrowest matcher that covers an alert: this rule on this node, for this series. Wider ones are offered beside it. */
export function partsOfAlert(alert: AlertView): Part[] {
  return [
    { name: 'rule', value: alert.rule, taken: true },
    { name: 'node', value: alert.node, taken: true },
    ...Object.entries(alert.labels).map(([name, value]) => ({ name: `label ${name}`, value, taken: true })),
    ...(alert.site === '' ? [] : [{ name: 'site', value: alert.site, taken: false }]),
    { name: 'level', value: alert.level, taken: false },
  ];
}

/** For many of one rule: the rule, at their site when it is one; else the nodes would be all there are. */
export function partsOfGroup(group: Group): Part[] {
  return [
    { name: 'rule', value: group.rule, taken: true },
    ...(group.site === null || group.site === '' ? [] : [{ name: 'site', value: group.site, taken: true }]),
    { name: 'level', value: group.level, taken: false },
  ];
}

/** The matcher of what is taken, or null when nothing is: a silence over everything is not made. */
export function matcherOf(parts: readonly Part[]): Matcher | null {
  const matcher: Matcher = {};
  const labels: Record<string, string> = {};
  for (const { name, value, taken } of parts) {
    if (!taken || value === '') continue;
    if (name === 'rule' || name === 'node' || name === 'site') matcher[name] = value;
    else if (name === 'level') matcher.level = value as AlertLevel;
    else labels[name.slice('label '.length)] = value;
  }
  if (Object.keys(labels).length > 0) matcher.labels = labels;
  return Object.keys(matcher).length === 0 ? null : matcher;
}

/** `*` stands for any characters. */
export function fits(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return pattern === text;
  const last = rest.pop() ?? '';
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let from = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, from);
    if (found < 0 || found + part.length > text.length - last.length) return false;
    from = found + part.length;
  }
  return true;
}

/** Whether a matcher covers an alert, as the collector judges it. */
export function covers(matcher: Matcher, alert: AlertView): boolean {
  if (matcher.rule !== undefined && !fits(matcher.rule, alert.rule)) return false;
  if (matcher.node !== undefined && !fits(matcher.node, alert.node)) return false;
  if (matcher.site !== undefined && !fits(matcher.site, alert.site)) return false;
  if (matcher.level !== undefined && matcher.level !== alert.level) return false;
  return Object.entries(matcher.labels ?? {}).every(([name, value]) => fits(value, alert.labels[name] ?? ''));
}

/** The parts of a matcher as name and value, in the order people read them. */
export function matcherParts(matcher: Matcher): [string, string][] {
  const parts: [string, string][] = [];
  if (matcher.rule !== undefined) parts.push(['rule', matcher.rule]);
  if (matcher.node !== undefined) parts.push(['node', matcher.node]);
  if (matcher.site !== undefined) parts.push(['site', matcher.site]);
  if (matcher.level !== undefined) parts.push(['level', matcher.level]);
  return [...parts, ...Object.entries(matcher.labels ?? {})];
}
