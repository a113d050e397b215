/**
 * The file's form of rules and overrides. Strict: an unknown key is a mistake. What one key alone can say wrongly is
 * refused here; what several say together is checked where they come together (check.ts).
 */
import { RuleKind } from '@tidemark/protocol';
import { Type, type Static } from 'typebox';
import { parseDuration, parseHold } from './duration.ts';
import { isQuantity, UNITS } from './quantity.ts';

export const RULE_LIMITS = {
  /** Rules, the shipped ones included. */
  rules: 500,
  overrides: 1_000,
  labels: 16,
  patternsPerLabel: 50,
  patternChars: 253,
  textChars: 2_000,
  holdMs: 24 * 3_600_000,
  clearAfterMs: 7 * 24 * 3_600_000,
} as const;

const strict = { additionalProperties: false };
const RULE_NAME = '^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$';

const RuleName = Type.String({
  pattern: RULE_NAME,
  maxLength: 63,
  wanted: 'a name of at most 63 small letters, digits and single hyphens, for example disk-usage',
});
const Quantity = Type.Union([Type.Number(), Type.Refine(Type.String(), (text) => isQuantity(text))], {
  wanted: 'a number, a percentage (70%), a size (100MiB) or a time (2s, 14d)',
});
const durationUpTo = (maxMs: number, wanted: string) =>
  Type.Refine(Type.String({ wanted }), (text) => (parseDuration(text) ?? Number.POSITIVE_INFINITY) <= maxMs);
const Hold = Type.Refine(
  Type.String({ wanted: 'a duration with its unit (90s, 5m, 1h30m), or "10m of 15m"; at most 24h' }),
  (text) =>
    (parseHold(text)?.trueForMs ?? Number.POSITIVE_INFINITY) <= RULE_LIMITS.holdMs && parseHold(text)!.ofLastMs <= RULE_LIMITS.holdMs,
);
const StateValue = Type.Union([Type.Number(), Type.String({ maxLength: 200 }), Type.Boolean()]);
const StateValues = Type.Union([StateValue, Type.Array(StateValue, { minItems: 1, maxItems: 50 })], {
  wanted: 'a value or a list of values',
});

/** One level as it is written. Which keys belong to it depends on the rule's kind. */
export const LevelForm = Type.Object(
  {
    above: Type.Optional(Quantity),
    atLeast: Type.Optional(Quantity),
    below: Type.Optional(Quantity),
    atMost: Type.Optional(Quantity),
    is: Type.Optional(StateValues),
    isNot: Type.Optional(StateValues),
    missing: Type.Optional(Type.Literal(true, { wanted: 'true' })),
    roseBy: Type.Optional(Quantity),
    clear: Type.Optional(Quantity),
    for: Type.Optional(Hold),
    clearAfter: Type.Optional(durationUpTo(RULE_LIMITS.clearAfterMs, 'a duration with its unit (90s, 5m, 1h30m), at most 7d')),
  },
  strict,
);
export type LevelForm = Static<typeof LevelForm>;
const LevelOrOff = Type.Union([LevelForm, Type.Literal('off'), Type.Literal(false)], {
  wanted: 'a bound such as {above: 80%, for: 5m}, or off',
});

const Pattern = Type.String({
  minLength: 1,
  maxLength: RULE_LIMITS.patternChars,
  wanted: `a text of at most ${RULE_LIMITS.patternChars} characters ("*" for any characters, "!" before it to exclude)`,
});
const Patterns = Type.Union([Pattern, Type.Array(Pattern, { minItems: 1, maxItems: RULE_LIMITS.patternsPerLabel })], {
  wanted: `a value or a list of at most ${RULE_LIMITS.patternsPerLabel}`,
});
const LabelName = '^[a-zA-Z_][a-zA-Z0-9_]*$';
const LabelsForm = Type.Unsafe<Record<string, Static<typeof Patterns>>>({
  ...Type.Record(Type.String({ pattern: LabelName, maxLength: 100 }), Patterns, {
    maxProperties: RULE_LIMITS.labels,
    additionalProperties: false,
  }),
});
const TagValue = Type.Union([Type.String({ maxLength: 200 }), Type.Number(), Type.Boolean()], {
  wanted: 'a text of at most 200 characters',
});
const WhereForm = Type.Object(
  {
    nodes: Type.Optional(Patterns),
    sites: Type.Optional(Patterns),
    tags: Type.Optional(Type.Record(Type.String({ maxLength: 100 }), TagValue, { maxProperties: 32 })),
  },
  strict,
);
const RuleNames = Type.Union([RuleName, Type.Array(RuleName, { maxItems: 20 })], { wanted: 'names of rules' });
const AnnotationsForm = Type.Record(
  Type.String({ maxLength: 100 }),
  Type.String({ maxLength: RULE_LIMITS.textChars, wanted: `a text of at most ${RULE_LIMITS.textChars} characters` }),
  { maxProperties: 16 },
);
const Runbook = Type.String({ pattern: '^(https?://|/)[^\\s]+$', maxLength: 500, wanted: 'an http:// or https:// link' });
const Enabled = Type.Boolean({ wanted: 'true or false' });

/** What a rule and an override of it can both say. */
const sharedForm = {
  labels: Type.Optional(LabelsForm),
  warning: Type.Optional(LevelOrOff),
  critical: Type.Optional(LevelOrOff),
  suppressedBy: Type.Optional(RuleNames),
  annotations: Type.Optional(AnnotationsForm),
  runbook: Type.Optional(Runbook),
  enabled: Type.Optional(Enabled),
};

export const RuleForm = Type.Object(
  {
    name: RuleName,
    kind: Type.Optional(Type.Union([...RuleKind.anyOf], { wanted: 'threshold, absent, state or event' })),
    title: Type.Optional(Type.String({ minLength: 1, maxLength: 100, wanted: 'a text of at most 100 characters' })),
    metric: Type.Optional(Type.String({ pattern: '^[a-zA-Z_:][a-zA-Z0-9_:]*$', maxLength: 200, wanted: "a metric's name" })),
    observation: Type.Optional(
      Type.Object(
        {
          kind: Type.String({ minLength: 1, maxLength: 200 }),
          field: Type.String({
            pattern: '^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z0-9_]+)*$',
            maxLength: 200,
            wanted: 'a dotted path, for example receiver.status',
          }),
        },
        strict,
      ),
    ),
    of: Type.Optional(Type.Literal('node', { wanted: 'node' })),
    unit: Type.Optional(
      Type.Union(
        UNITS.map((unit) => Type.Literal(unit)),
        { wanted: 'ratio, bytes, seconds or ""' },
      ),
    ),
    where: Type.Optional(WhereForm),
    ...sharedForm,
  },
  strict,
);
export type RuleForm = Static<typeof RuleForm>;

const Selector = Type.String({
  pattern: '^[^!]',
  maxLength: RULE_LIMITS.patternChars,
  wanted: `a text of at most ${RULE_LIMITS.patternChars} characters, "*" in it for any characters`,
});

export const OverrideForm = Type.Object(
  {
    rule: RuleName,
    site: Type.Optional(Selector),
    tag: Type.Optional(Type.String({ pattern: '^[A-Za-z][A-Za-z0-9_.-]*=.*$', maxLength: 320, wanted: 'key=value, for example role=db' })),
    node: Type.Optional(Selector),
    ...sharedForm,
  },
  strict,
);
export type OverrideForm = Static<typeof OverrideForm>;

export const RulesForm = Type.Array(RuleForm, { maxItems: RULE_LIMITS.rules, wanted: 'a list of rules: - {name: …}' });
export const OverridesForm = Type.Array(OverrideForm, {
  maxItems: RULE_LIMITS.overrides,
  wanted: 'a list of overrides: - {rule: …, site: …}',
});
