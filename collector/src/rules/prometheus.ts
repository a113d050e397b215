/**
 * The rules in force as a rule file for Prometheus (2.42 or later, for keep_firing_for). What Prometheus cannot
 * express is said where it would stand, never left out in silence; the same rules and nodes make the same text.
 */
import { WITHOUT_PRIMARY, type RuleView } from '@tidemark/protocol';
import { boundText, boundValue, holdText, valueText } from './bound-text.ts';
import { durationText } from './duration.ts';
import type { NodeFacts } from './layers.ts';
import { STEP_SECONDS, expressionOf, type NodeChoice } from './promql.ts';
import type { Level, Rule, RuleSet } from './rule.ts';

export interface AlertingRulesInput {
  readonly rules: Pick<RuleSet, 'for' | 'views' | 'explain'>;
  /** Nodes whose overrides are to be heeded: the approved ones. */
  readonly nodes: Iterable<NodeFacts>;
  /** Runbooks that are pages of this collector are linked from here. */
  readonly baseUrl: string;
}

/** A rule for a part of the fleet. */
type Judged = Pick<Rule, 'name' | 'title' | 'kind' | 'metric' | 'labels' | 'unit' | 'annotations' | 'runbook' | 'warning' | 'critical'>;
interface Part {
  readonly rule: Judged;
  readonly nodes: NodeChoice;
  /** Which override made it: "site berlin"; empty for the rule as declared. */
  readonly override: string;
}

const LEVELS = ['warning', 'critical'] as const;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
/** What tells apart two alerts of one rule on one node, for people; those that a series has not say nothing. */
const SUBJECT_LABELS = ['mountpoint', 'server', 'application_name', 'client_addr', 'replica', 'slot_name', 'lost_node', 'endpoint'];
/** Of these, what an alert has that makes others moot. */
const SUPPRESSOR_LABELS = ['node', 'server', 'endpoint'];

/** The file's text. */
export function prometheusRules({ rules, nodes, baseUrl }: AlertingRulesInput): string {
  const views = rules.views();
  const fleet = [...nodes];
  const byName = judgedByName(rules, fleet);
  const blocks = views.map((view) => {
    if (view.observation !== null) return [comment(`${view.name}: judges an observation, which Prometheus does not have.`)];
    const parts = partsOf(view, byName.get(view.name) ?? new Map(), fleet, (node) => overrideOf(rules, view.name, node));
    if (parts.length === 0) return [comment(`${view.name}: ${whyNot(view)}`)];
    return parts.flatMap((part) => LEVELS.flatMap((name) => alert(part, name, baseUrl) ?? []));
  });
  return `${header(views)}
groups:
  - name: tidemark
    interval: ${STEP_SECONDS}s
    rules:
${blocks.some((block) => block.some((text) => text.includes('- alert:'))) ? '' : '      []\n'}${blocks.flat().join('')}`;
}

/** Of each rule what it is for each node that it judges anything on. Nodes with the same layers share one rule object. */
function judgedByName(rules: AlertingRulesInput['rules'], fleet: readonly NodeFacts[]): Map<string, Map<Rule, NodeFacts[]>> {
  const byName = new Map<string, Map<Rule, NodeFacts[]>>();
  for (const node of fleet) {
    for (const rule of rules.for(node)) {
      let variants = byName.get(rule.name);
      if (variants === undefined) byName.set(rule.name, (variants = new Map()));
      const nodes = variants.get(rule);
      if (nodes === undefined) variants.set(rule, [node]);
      else nodes.push(node);
    }
  }
  return byName;
}

/** The selectors of the overrides that a node's rule has over the rule as declared. */
function overrideOf(rules: AlertingRulesInput['rules'], name: string, node: NodeFacts): string {
  const layers = rules.explain(name, node)?.layers ?? [];
  return layers
    .filter(({ selector }) => selector !== '')
    .map(({ selector }) => selector)
    .join(' + ');
}

/** The rule as declared for the fleet, for nodes that come later as well, and beside it what overrides make of it. */
function partsOf(
  view: RuleView,
  variants: ReadonlyMap<Rule, readonly NodeFacts[]>,
  fleet: readonly NodeFacts[],
  overrideFor: (node: NodeFacts) => string,
): Part[] {
  const declared = textOf(judgedOf(view));
  const asDeclared = new Set<string>();
  const others: Part[] = [];
  for (const [rule, nodes] of variants) {
    if (isJudging(view) && textOf(rule) === declared) for (const { name } of nodes) asDeclared.add(name);
    else others.push({ rule, nodes: { only: namesOf(nodes) }, override: overrideFor(nodes[0]!) });
  }
  others.sort((a, b) => (a.override < b.override ? -1 : 1));
  if (!isJudging(view)) return others;
  const isForAll = Object.values(view.where).every((part) => part === undefined);
  if (!isForAll && asDeclared.size === 0) return others;
  const nodes = isForAll ? { without: namesOf(fleet.filter(({ name }) => !asDeclared.has(name))) } : { only: [...asDeclared].toSorted() };
  return [{ rule: judgedOf(view), nodes, override: '' }, ...others];
}

const namesOf = (nodes: readonly NodeFacts[]): string[] => nodes.map(({ name }) => name).toSorted();

const isJudging = ({ enabled, inactiveBecause, warning, critical }: RuleView): boolean =>
  enabled && inactiveBecause === null && (warning !== null || critical !== null);

function whyNot(view: RuleView): string {
  if (!view.enabled) return 'switched off.';
  if (view.inactiveBecause !== null) return `inactive. ${view.inactiveBecause}`;
  return view.warning === null && view.critical === null ? 'has no bound.' : 'no node is selected by it now.';
}

function judgedOf(view: RuleView): Judged {
  return { ...view, warning: levelOf(view.warning), critical: levelOf(view.critical) };
}

function levelOf(level: RuleView['warning']): Level | null {
  if (level === null) return null;
  const { trigger, clear } = level;
  const ms = (seconds: number): number => seconds * 1_000;
  return {
    trigger,
    clear,
    trueForMs: ms(level.trueForSeconds),
    ofLastMs: ms(level.ofLastSeconds),
    clearAfterMs: ms(level.clearAfterSeconds),
  };
}

/** What decides how it is judged and told: two rules with the same text are one. */
function textOf({ kind, metric, labels, warning, critical, title, annotations, runbook }: Judged): string {
  const level = (one: Level | null): unknown[] | null =>
    one === null ? null : [one.trigger, one.clear, one.trueForMs, one.ofLastMs, one.clearAfterMs];
  return JSON.stringify([kind, metric, labels, level(warning), level(critical), title, annotations, runbook]);
}

/** "cpu-usage" as TidemarkCpuUsage. */
export function alertName(rule: string): string {
  const words = rule.split(/[^a-zA-Z0-9]+/).filter((word) => word !== '');
  return `Tidemark${words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join('')}`;
}

function alert({ rule, nodes, override }: Part, severity: (typeof LEVELS)[number], baseUrl: string): string | undefined {
  const level = rule[severity];
  if (level === null) return undefined;
  const made = Object.keys(rule.labels).every((label) => LABEL_NAME.test(label)) ? expressionOf(rule, level, nodes) : undefined;
  if (made === undefined)
    return comment(`${rule.name} (${severity}): Prometheus has no such values: ${boundText(level.trigger, rule.unit)}.`);
  const lines = [
    `- alert: ${alertName(rule.name)}`,
    '  expr: |-',
    ...made.expr.split('\n').map((line) => `    ${line}`),
    ...(made.forSeconds > 0 ? [`  for: ${seconds(made.forSeconds)}`] : []),
    ...(made.keepFiringSeconds > 0 ? [`  keep_firing_for: ${seconds(made.keepFiringSeconds)}`] : []),
    '  labels:',
    `    severity: ${severity}`,
    `    tidemark_rule: ${JSON.stringify(rule.name)}`,
    ...(override === '' ? [] : [`    tidemark_override: ${JSON.stringify(plain(override))}`]),
    '  annotations:',
    ...Object.entries(annotationsOf(rule, level, baseUrl)).map(([key, text]) => `    ${key}: ${JSON.stringify(text)}`),
  ];
  return lines.map((line) => `      ${line}\n`).join('');
}

const seconds = (count: number): string => durationText(count * 1_000);

/** Annotations are templates: what people wrote is not to be taken for one. */
const plain = (text: string): string => text.replaceAll('{{', '{{ "{{" }}');

function annotationsOf(rule: Judged, level: Level, baseUrl: string): Record<string, string> {
  const { summary, description, ...others } = rule.annotations;
  const hold = holdText(level);
  const subject = `{{ $labels.node }}${SUBJECT_LABELS.map((label) => `{{ with $labels.${label} }} {{ . }}{{ end }}`).join('')}`;
  const kept = Object.entries(others).filter(([key]) => LABEL_NAME.test(key) && !['runbook_url', 'tidemark'].includes(key));
  return {
    summary: `${subject}: ${plain(rule.title)}${valueTemplate(rule, level)}, ${boundText(level.trigger, rule.unit)}${hold === '' ? '' : ` ${hold}`}`,
    ...(summary === undefined && description === undefined
      ? {}
      : { description: plain([summary, description].filter((part) => part !== undefined).join(' ')) }),
    ...Object.fromEntries(kept.map(([key, text]) => [key, plain(text)])),
    ...(rule.runbook === null ? {} : { runbook_url: plain(rule.runbook.startsWith('/') ? baseUrl + rule.runbook : rule.runbook) }),
    tidemark: differences(rule, level),
  };
}

/** The value at the time, as the rule's unit is read. */
function valueTemplate({ unit }: Judged, { trigger }: Level): string {
  if ('missing' in trigger || 'roseBy' in trigger || 'is' in trigger || 'isNot' in trigger) return '';
  if (unit === 'ratio') return ' {{ $value | humanizePercentage }}';
  if (unit === 'bytes') return ' {{ $value | humanize1024 }}B';
  if (unit === 'seconds') return ' {{ $value | humanizeDuration }}';
  return ' {{ $value | humanize }}';
}

/** Where Prometheus and Tidemark part. */
function differences({ unit }: Judged, level: Level): string {
  const looksBack = level.trueForMs !== level.ofLastMs;
  const limit = boundValue(level.trigger);
  const after = level.clearAfterMs === 0 ? '' : ` and has been for ${durationText(level.clearAfterMs)}`;
  const over =
    level.clear === null || level.clear === limit
      ? undefined
      : `Tidemark holds it open until the value is back at ${valueText(level.clear, unit)}${after}; Prometheus does so ${
          looksBack ? `only while the last ${durationText(level.ofLastMs)} still show the crossing` : 'not'
        }.`;
  const silent =
    'missing' in level.trigger ? undefined : 'When the node falls silent, Tidemark keeps it open without data; Prometheus ends it.';
  return [over, silent].filter((part) => part !== undefined).join(' ') || 'Judged alike.';
}

const comment = (text: string): string => `      # ${text.replaceAll(/\s+/g, ' ')}\n`;

function header(views: readonly RuleView[]): string {
  const inhibitions = new Map<string, string[]>();
  for (const { name, suppressedBy, enabled, observation, inactiveBecause } of views) {
    if (!enabled || observation !== null || inactiveBecause !== null) continue;
    for (const by of suppressedBy) inhibitions.set(by, [...(inhibitions.get(by) ?? []), alertName(name)]);
  }
  // A silent node makes everything of it moot, a server or an endpoint that is down only what is said of itself.
  const equalTo = (by: string): string => {
    const metric = views.find(({ name }) => name === by)?.metric;
    // A lost primary makes moot what its replicas say of themselves, on their own nodes.
    if (metric === WITHOUT_PRIMARY) return 'cluster';
    if (metric?.startsWith('tidemark_replication_slot_') === true) return 'node, server, slot_name';
    return metric == null ? 'node' : SUPPRESSOR_LABELS.join(', ');
  };
  const rules = [...inhibitions].map(
    ([by, targets]) => `#   - source_matchers: ['alertname="${alertName(by)}"']
#     target_matchers: ['alertname=~"${targets.join('|')}"']
#     equal: [${equalTo(by)}]`,
  );
  return `# Tidemark's rules in force, as alerting rules for Prometheus 2.42 or later. Fetch it again when rules, overrides or the
# tags of nodes change; how: docs/how-to/prometheus.md. Two alerts a rule, told apart by the label severity.
#
# Prometheus itself suppresses nothing. For Alertmanager:
#
#   inhibit_rules:
#   - source_matchers: ['severity="critical"']
#     target_matchers: ['severity="warning"']
#     equal: [alertname, node, ${SUBJECT_LABELS.join(', ')}]
${rules.join('\n')}`;
}
