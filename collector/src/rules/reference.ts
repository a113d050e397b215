/** The reference page of rules, written from the shipped rules and the schema of the file, so that it cannot say anything else. */
import type { RuleKind, RuleLevel, RuleView } from '@tidemark/protocol';
import type { TSchema } from 'typebox';
import { boundText, valueText } from './bound-text.ts';
import { CLEAR_AFTER_MS, OPERATORS_OF } from './check.ts';
import { compileRules } from './compile.ts';
import { durationText, holdForm } from './duration.ts';
import { LayeredRules } from './rule-set.ts';
import { LevelForm, OverrideForm, RULE_LIMITS, RuleForm } from './schema.ts';

const RULE_KEYS: Readonly<Record<keyof RuleForm, string>> = {
  name: 'what the rule is called; the name of a shipped rule changes that rule',
  kind: 'what is judged and how (below); may be left out for a shipped rule',
  title: 'for people; the name, when left out',
  metric: 'the metric whose series are judged, each by itself',
  observation: 'a field of a document that agents send, for the kind state: `{kind: postgres.replication, field: role}`',
  of: '`node`, for the kind absent: the node itself, when it is silent',
  unit: "of the bounds and in texts; told by the metric's name (`_ratio`, `_bytes`, `_seconds`) when left out",
  labels: 'which series: for each label a value or a list of them; `*` stands for any characters, `!` before a value excludes it',
  where: 'which nodes: `{nodes: …, sites: …, tags: {key: value}}`; all that is given has to fit, of a list any',
  warning: 'the bound of the warning, or `off`',
  critical: 'the bound of the critical level, or `off`',
  suppressedBy: 'rules whose open alert on the same node makes this one moot: it is not told as long as that one is open',
  annotations: 'texts that go with the alert; `summary` and `description` are shown',
  runbook: 'a link that goes with the alert',
  enabled: '`false`: nothing is judged',
};

const LEVEL_KEYS: Readonly<Record<keyof LevelForm, string>> = {
  above: 'more than this; exactly this is not',
  atLeast: 'this or more',
  below: 'less than this; exactly this is not',
  atMost: 'this or less',
  is: 'one of these values',
  isNot: 'none of these values',
  missing: 'it is not there',
  roseBy: 'the counter rose by this or more between two reports',
  clear: 'the value at which it is over; without it, as soon as the bound is no longer crossed',
  for: 'how long it has to be true: `5m` without interruption, `10m of 15m` for ten of the last fifteen minutes; at once when left out',
  clearAfter: 'how long it has to be over before the alert ends; for an event, how long after the last rise',
};

const OVERRIDE_KEYS: Readonly<Record<'rule' | 'site' | 'tag' | 'node', string>> = {
  rule: 'which rule',
  site: 'for nodes of this site',
  tag: 'for nodes with this tag: `role=db`',
  node: 'for this node',
};

const KINDS: Readonly<Record<RuleKind, string>> = {
  threshold: 'a number beyond a bound',
  state: 'a series, or a field of an observation, that has one of some values, or none of them',
  absent: 'a series, or the node, that is not there',
  event: 'a counter that rose',
};

const code = (text: string): string => `\`${text}\``;
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  return [heads, heads.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
}

function formOf(schema: TSchema): string {
  const { wanted, type } = schema as { wanted?: string; type?: string };
  return wanted ?? (type === 'object' ? 'keys and values' : type === 'array' ? 'list' : type === 'string' ? 'text' : '');
}

/** One row a key of the schema; a key without a meaning here does not compile. */
function keyTable(properties: Readonly<Record<string, TSchema>>, meanings: Readonly<Record<string, string>>): string {
  const keys = Object.keys(properties).filter((key) => Object.hasOwn(meanings, key));
  return table(
    ['key', 'form', 'meaning'],
    keys.map((key) => [code(key), formOf(properties[key]!), meanings[key]!]),
  );
}

function levelText(level: RuleLevel | null, unit: string): string {
  if (level === null) return '';
  const hold = holdForm({ trueForMs: level.trueForSeconds * 1_000, ofLastMs: level.ofLastSeconds * 1_000 });
  const over = level.clear === null ? 'over after' : `over at ${valueText(level.clear, unit)} for`;
  const time = level.trueForSeconds === 0 ? ' at once' : ` for ${hold}`;
  return `${boundText(level.trigger, unit)}${time}; ${over} ${durationText(level.clearAfterSeconds * 1_000)}`;
}

function subjectOf({ metric, observation, labels }: RuleView): string {
  const excluded = Object.entries(labels).map(([label, patterns]) => `${label}: ${patterns.join(' ')}`);
  const subject = metric ?? (observation === null ? 'the node' : `${observation.kind}, ${observation.field}`);
  return `${metric === null ? subject : code(subject)}${excluded.length === 0 ? '' : ` (${excluded.map(code).join(', ')})`}`;
}

/** Markdown, without the line that says that it is generated. */
export function rulesReference(): string {
  const shipped = new LayeredRules(compileRules({ rules: [], overrides: [] }).declared, () => 'shipped').views();
  return [
    '# Rules',
    `Rules say when a value is an alert. They stand in the collector's configuration file, under \`rules\` and \`overrides\`, and are read at start, on
SIGHUP and by \`tidemark-collector reload\`. A file with mistakes changes nothing; every mistake is named with its line. How to change one:
[Change a threshold](../how-to/thresholds.md). Why the shipped ones are as they are: [Default thresholds](../explanation/default-thresholds.md).`,
    '## Shipped rules',
    table(
      ['name', 'judges', 'warning', 'critical', 'moot while'],
      shipped.map((rule) => [
        `[${rule.name}](../runbooks/${rule.name}.md)`,
        subjectOf(rule),
        levelText(rule.warning, rule.unit),
        levelText(rule.critical, rule.unit),
        rule.suppressedBy.join(', '),
      ]),
    ),
    ...shipped.flatMap(({ name, inactiveBecause }) => (inactiveBecause === null ? [] : [`\`${name}\` is inactive. ${inactiveBecause}`])),
    `"Over at 65 % for 5m": the alert ends when the value has been at 65 % or better for 5 minutes.`,
    '## A rule',
    keyTable(RuleForm.properties, RULE_KEYS),
    '## Kinds',
    table(
      ['kind', 'judges', 'bound', '`clearAfter` when left out'],
      (Object.keys(KINDS) as RuleKind[]).map((kind) => [
        code(kind),
        KINDS[kind],
        OPERATORS_OF[kind].map(code).join(', '),
        durationText(CLEAR_AFTER_MS[kind]),
      ]),
    ),
    '## A level',
    `\`warning\` and \`critical\` each have one bound.`,
    keyTable(LevelForm.properties, LEVEL_KEYS),
    `A number is in the metric's base unit. A ratio can be written as \`70%\`, a size as \`100MiB\` (1,048,576 bytes) or \`100MB\` (1,000,000), a
time as \`1500ms\`, \`2s\` or \`14d\`. Durations (\`for\`, \`clearAfter\`) always have a unit: \`90s\`, \`5m\`, \`1h30m\`, \`2d\`.`,
    '## An override',
    keyTable(OverrideForm.properties, OVERRIDE_KEYS),
    `\`site\`, \`tag\` and \`node\` take \`*\` for any characters; with several of them all have to fit. Besides, an override sets what a rule has:
${Object.keys(OverrideForm.properties)
  .filter((key) => !Object.hasOwn(OVERRIDE_KEYS, key))
  .map(code)
  .join(', ')}.`,
    `The most specific wins, field by field: node before tag before site before the rule in the file before the shipped one. An exact name comes
before a pattern, and a longer pattern before a shorter one; of two that are equally specific the later one in the file wins.`,
    '## Limits',
    table(
      ['what', 'at most'],
      [
        ['rules, with the shipped ones', String(RULE_LIMITS.rules)],
        ['overrides', String(RULE_LIMITS.overrides)],
        ['labels in a rule', String(RULE_LIMITS.labels)],
        ['values for a label', String(RULE_LIMITS.patternsPerLabel)],
        ['`for`', durationText(RULE_LIMITS.holdMs)],
        ['`clearAfter`', durationText(RULE_LIMITS.clearAfterMs)],
      ],
    ),
  ].join('\n\n');
}
