/**
 * From a rule's merged layers to the rule that is judged: units, durations, and whether its parts make sense
 * together. It always gives a rule that can be judged; what is senseless is named, and mended in the calm direction.
 */
import type { Bound, NodeSelection, RuleKind } from '@tidemark/protocol';
import { boundText, boundValue, valueText } from './bound-text.ts';
import { durationText, parseDuration, parseHold } from './duration.ts';
import { OPERATORS, type Draft, type Layer, type LevelDraft, type Operator } from './layers.ts';
import { toBaseUnit, unitOfMetric, type RuleUnit } from './quantity.ts';
import type { Level, Rule } from './rule.ts';
import type { LevelForm, RuleForm } from './schema.ts';

/** What is wrong, and in which layer at which key. */
export interface RuleMistake {
  readonly layer: Layer;
  readonly path: readonly string[];
  readonly text: string;
}

export interface CompletedRule {
  readonly rule: Omit<Rule, 'digest'>;
  readonly enabled: boolean;
  readonly inactiveBecause: string | null;
  readonly mistakes: readonly RuleMistake[];
}

/** The bounds that belong to a kind. */
export const OPERATORS_OF: Readonly<Record<RuleKind, readonly Operator[]>> = {
  threshold: ['above', 'atLeast', 'below', 'atMost'],
  state: ['is', 'isNot'],
  absent: ['missing'],
  event: ['roseBy'],
};
/** How long it is over before the alert ends, where a rule does not say. */
export const CLEAR_AFTER_MS: Readonly<Record<RuleKind, number>> = { threshold: 60_000, state: 60_000, absent: 60_000, event: 15 * 60_000 };

const SUBJECT_FIELDS = ['metric', 'unit', 'of', 'observation'];

type LevelName = 'warning' | 'critical';

/** `layers` are those the draft was merged from, from the least to the most specific. */
export function completeRule(name: string, draft: Draft, layers: readonly Layer[]): CompletedRule {
  const { patch } = draft;
  const mistakes: RuleMistake[] = [];
  const top = layers[layers.length - 1]!;
  /** Names the most specific of the layers that set the fields; what was right as shipped was made wrong by another subject or unit. */
  const say = (fields: readonly string[], text: string): void => {
    const setBy = (names: readonly string[]) => layers.findLast((one) => names.some((field) => draft.setBy.get(field) === one));
    const direct = setBy(fields);
    const blamed = fields.length === 0 || direct?.origin !== undefined ? fields : SUBJECT_FIELDS;
    const layer = setBy(blamed) ?? top;
    const field = blamed.find((one) => draft.setBy.get(one) === layer);
    mistakes.push({ layer, path: field === undefined ? [] : keyPath(field, layer), text: `${name}: ${text}` });
  };

  const kind = patch.kind ?? 'threshold';
  if (patch.kind === undefined) say([], 'kind is missing: threshold, absent, state or event');
  checkSubject(patch, kind, say);
  const metric = patch.metric ?? null;
  const unit: RuleUnit = patch.unit ?? unitOfMetric(metric);
  const context = { kind, unit, draft, say };
  const warning = completeLevel('warning', draft.warning, context);
  const critical = completeLevel('critical', draft.critical, context);
  if (draft.warning === undefined && draft.critical === undefined) say([], 'it has neither a warning nor a critical bound: give it one');
  if (warning !== null && critical !== null) checkOrder(warning, critical, context);
  return {
    rule: {
      name,
      title: patch.title ?? name,
      kind,
      metric,
      observation: patch.observation ?? null,
      labels: sortedEntries(patch.labels ?? {}, listOf),
      unit,
      where: selectionOf(patch.where),
      warning,
      critical,
      suppressedBy: listOf(patch.suppressedBy ?? []),
      annotations: sortedEntries(patch.annotations ?? {}, (text) => text),
      runbook: patch.runbook ?? null,
    },
    enabled: patch.enabled ?? true,
    inactiveBecause: patch.inactiveBecause ?? null,
    mistakes,
  };
}

type Say = (fields: readonly string[], text: string) => void;
interface LevelContext {
  readonly kind: RuleKind;
  readonly unit: RuleUnit;
  readonly draft: Draft;
  readonly say: Say;
}

/** The keys that lead to a field in what a layer wrote. */
function keyPath(field: string, layer: Layer): string[] {
  const [first, part] = field.split('.') as [string, string | undefined];
  if (part !== 'trigger') return part === undefined ? [first] : [first, part];
  const level = layer.patch[first as LevelName] as LevelForm | undefined;
  const operator = OPERATORS.find((one) => level?.[one] !== undefined);
  return operator === undefined ? [first] : [first, operator];
}

function checkSubject(patch: Draft['patch'], kind: RuleKind, say: Say): void {
  const given = (['metric', 'observation', 'of'] as const).filter((key) => patch[key] !== undefined);
  const choice: Record<RuleKind, string> = {
    threshold: 'a metric',
    event: 'a metric',
    state: 'a metric or an observation',
    absent: 'a metric, or "of: node"',
  };
  const fits = (key: (typeof given)[number]): boolean =>
    key === 'metric' || (key === 'observation' && kind === 'state') || (key === 'of' && kind === 'absent');
  const [first] = given;
  if (given.length !== 1 || !fits(first!))
    say(
      given,
      `a rule of the kind ${kind} is about ${choice[kind]}${first === undefined ? ': say which' : `, not about ${given.join(' and ')}`}`,
    );
  if (patch.labels !== undefined && patch.metric === undefined) say(['labels'], 'only a metric has labels');
}

function completeLevel(name: LevelName, level: LevelDraft | undefined, context: LevelContext): Level | null {
  const { kind, say } = context;
  if (level === undefined || level.off) return null;
  const trigger = triggerOf(name, level, context);
  if (trigger === undefined) return null;
  if (level.clear !== undefined && kind !== 'threshold') say([`${name}.clear`], `${name}.clear: only a threshold has a clear value`);
  if (level.for !== undefined && kind === 'event')
    say([`${name}.for`], `${name}.for: an event has no duration; say with clearAfter how long it stays open`);
  const hold = (kind === 'event' ? undefined : parseHold(level.for ?? '0s')) ?? { trueForMs: 0, ofLastMs: 0 };
  if (hold.ofLastMs < hold.trueForMs)
    say(
      [`${name}.for`],
      `${name}.for: ${durationText(hold.trueForMs)} do not fit into ${durationText(hold.ofLastMs)}: the longer time comes last`,
    );
  return {
    trigger,
    clear: kind === 'threshold' ? clearOf(name, level, trigger, context) : null,
    trueForMs: Math.min(hold.trueForMs, hold.ofLastMs),
    ofLastMs: hold.ofLastMs,
    clearAfterMs: level.clearAfter === undefined ? CLEAR_AFTER_MS[kind] : (parseDuration(level.clearAfter) ?? CLEAR_AFTER_MS[kind]),
  };
}

function triggerOf(name: LevelName, level: LevelDraft, { kind, unit, draft, say }: LevelContext): Bound | undefined {
  const field = `${name}.trigger`;
  const possible = OPERATORS_OF[kind];
  const layer = draft.setBy.get(field);
  const given = layer === undefined ? [] : OPERATORS.filter((one) => (layer.patch[name] as LevelForm)[one] !== undefined);
  if (given.length > 1) say([field], `${name}: ${given.join(' and ')} at once: keep one, and make a second rule for the other`);
  if (level.trigger === undefined) {
    if (kind === 'absent') return { missing: true };
    say([`${name}.for`, `${name}.clear`, `${name}.clearAfter`], `${name}: it has no bound: give it ${possible.join(', ')}`);
    return undefined;
  }
  const { operator, written } = level.trigger;
  if (!possible.includes(operator)) {
    say([field], `${name}.${operator} does not belong to the kind ${kind}: use ${possible.join(', ')}`);
    return undefined;
  }
  if (operator === 'missing') return { missing: true };
  if (operator === 'is' || operator === 'isNot') {
    const values = listOf(written as LevelForm['is'] & {});
    if (draft.patch.metric !== undefined && values.some((value) => typeof value !== 'number'))
      say([field], `${name}.${operator}: the values of a metric are numbers: write them without quotes`);
    return operator === 'is' ? { is: values } : { isNot: values };
  }
  const number = toBaseUnit(written as number | string, unit);
  if ('mistake' in number) {
    say([field], `${name}.${operator}: ${number.mistake}`);
    return undefined;
  }
  const { value } = number;
  if (operator === 'roseBy') {
    if (value > 0) return { roseBy: value };
    say([field], `${name}.roseBy: must be more than 0`);
    return undefined;
  }
  return operator === 'above'
    ? { above: value }
    : operator === 'atLeast'
      ? { atLeast: value }
      : operator === 'below'
        ? { below: value }
        : { atMost: value };
}

/** Null when there is none, or when it is still beyond the trigger: then it is over when it is no longer beyond. */
function clearOf(name: LevelName, level: LevelDraft, trigger: Bound, { unit, draft, say }: LevelContext): number | null {
  if (level.clear === undefined) return null;
  const field = `${name}.clear`;
  const number = toBaseUnit(level.clear, unit);
  if ('mistake' in number) {
    say([field], `${field}: ${number.mistake}`);
    return null;
  }
  if (!isBeyond(number.value, trigger)) return number.value;
  const own = draft.setBy.get(field) === draft.setBy.get(`${name}.trigger`);
  const from = draft.setBy.get(field)?.kind;
  const rises = 'above' in trigger || 'atLeast' in trigger;
  say(
    [field, `${name}.trigger`],
    `${field}: ${own ? '' : `the one in force (${from ?? ''}), `}${valueText(number.value, unit)}, is itself ${boundText(trigger, unit)}: ${own ? 'it' : 'say clear too; it'} has to be ${rises ? 'lower' : 'higher'}`,
  );
  return null;
}

/** Whether a number is on the far side of a bound that compares. */
function isBeyond(value: number, bound: Bound): boolean {
  if ('above' in bound) return value > bound.above;
  if ('atLeast' in bound) return value >= bound.atLeast;
  if ('below' in bound) return value < bound.below;
  if ('atMost' in bound) return value <= bound.atMost;
  return false;
}

/** A warning that is stricter than the critical level would never be seen, or last longer than anybody expects. */
function checkOrder(warning: Level, critical: Level, { kind, unit, say }: LevelContext): void {
  const fields = ['warning.trigger', 'critical.trigger'];
  if (kind === 'threshold') {
    const rises = (bound: Bound): boolean => 'above' in bound || 'atLeast' in bound;
    const [low, high] = [boundValue(warning.trigger)!, boundValue(critical.trigger)!];
    const both = `warning ${boundText(warning.trigger, unit)}, critical ${boundText(critical.trigger, unit)}`;
    if (rises(warning.trigger) !== rises(critical.trigger)) say(fields, `${both}: both have to be on the same side; make two rules of it`);
    else if (rises(warning.trigger) ? low > high : low < high) say(fields, `${both}: the warning has to come first; change one of them`);
  }
  if (kind === 'event' && 'roseBy' in warning.trigger && 'roseBy' in critical.trigger && warning.trigger.roseBy > critical.trigger.roseBy)
    say(fields, `warning rises by ${warning.trigger.roseBy}, critical by ${critical.trigger.roseBy}: the warning has to come first`);
  if (kind === 'absent' && warning.trueForMs > critical.trueForMs)
    say(
      ['warning.for', 'critical.for'],
      `warning after ${durationText(warning.trueForMs)}, critical after ${durationText(critical.trueForMs)}: the warning has to come first`,
    );
}

function listOf<T>(value: T | readonly T[]): T[] {
  return Array.isArray(value) ? [...(value as readonly T[])] : [value as T];
}

/** In one order, so that what says the same is the same. */
function sortedEntries<V, R>(record: Readonly<Record<string, V>>, convert: (value: V) => R): Record<string, R> {
  return Object.fromEntries(
    Object.entries(record)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => [name, convert(value)]),
  );
}

function selectionOf(where: RuleForm['where']): NodeSelection {
  if (where === undefined) return {};
  const { nodes, sites, tags } = where;
  return {
    ...(nodes === undefined ? {} : { nodes: listOf(nodes) }),
    ...(sites === undefined ? {} : { sites: listOf(sites) }),
    ...(tags === undefined ? {} : { tags: sortedEntries(tags, String) }),
  };
}
