/** The options `rules` and `overrides` of the configuration file, with every mistake at its own line. */
import { schemaMistakes, type Mistake, type OptionDeclaration } from '@tidemark/service';
import { compileRules, type PlacedMistake } from './compile.ts';
import { OverridesForm, RulesForm, type OverrideForm, type RuleForm } from './schema.ts';

function together(key: PlacedMistake['key']): (values: Readonly<Record<string, unknown>>) => Mistake[] {
  return (values) =>
    compileRules({ rules: values['rules'] as RuleForm[], overrides: values['overrides'] as OverrideForm[] })
      .mistakes.filter((mistake) => mistake.key === key)
      .map(({ path, text }) => ({ path: [...path], text }));
}

export const ruleOptions = {
  schema: RulesForm,
  description: 'rules of your own, and changes to shipped ones (docs/reference/rules.md)',
  fileOnly: true,
  default: [] as RuleForm[],
  mistakesOf: (value) => schemaMistakes(RulesForm, value),
  check: { beside: ['overrides'], mistakes: together('rules') },
} as const satisfies OptionDeclaration;

export const overrideOptions = {
  schema: OverridesForm,
  description: 'what rules say for a site, a tag or a node (docs/reference/rules.md)',
  fileOnly: true,
  default: [] as OverrideForm[],
  mistakesOf: (value) => schemaMistakes(OverridesForm, value),
  check: { beside: ['rules'], mistakes: together('overrides') },
} as const satisfies OptionDeclaration;
