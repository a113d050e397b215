/** The options `rules` and `overrides` of the configuration file, with every mistake at its own line. */
import { schemaMistakes, type Mistake, type OptionDeclaration } from '@tidemark/service';
import { compileRules, type PlacedMistake } from './compile.ts';
import { OverridesForm, RulesForm, type OverrideForm, type RuleForm } from './schema.ts';

const NO_OVERRIDES: readonly OverrideForm[] = [];

/** Without rules nothing can be said of overrides; without overrides there is still much to say of rules. */
function together(key: PlacedMistake['key']): (values: Readonly<Record<string, unknown>>) => Mistake[] {
  return ({ rules, overrides }) => {
    if (rules === undefined) return [];
    return compileRules({ rules: rules as RuleForm[], overrides: (overrides as OverrideForm[] | undefined) ?? NO_OVERRIDES })
      .mistakes.filter((mistake) => mistake.key === key)
      .map(({ path, text }) => ({ path: [...path], text }));
  };
}

export const ruleOptions = {
  schema: RulesForm,
  description: 'rules of your own, and changes to shipped ones (docs/reference/rules.md)',
  fileOnly: true,
  default: [] as RuleForm[],
  mistakesOf: (value) => schemaMistakes(RulesForm, value),
  check: together('rules'),
} as const satisfies OptionDeclaration;

export const overrideOptions = {
  schema: OverridesForm,
  description: 'what rules say for a site, a tag or a node (docs/reference/rules.md)',
  fileOnly: true,
  default: [] as OverrideForm[],
  mistakesOf: (value) => schemaMistakes(OverridesForm, value),
  check: together('overrides'),
} as const satisfies OptionDeclaration;
