/**
 * From what the configuration says to declared rules: the shipped ones, the file's changes to them and its own, and
 * the overrides of each. Every mistake is found at load, also those that only two overrides together make.
 */
import { nearest } from '@tidemark/service';
import { completeRule, type RuleMistake } from './check.ts';
import { SHIPPED_RULES } from './default-rules.ts';
import { bySpecificity, fileLayer, mayMeet, merge, overrideLayer, shippedLayer, type Layer, type Patch } from './layers.ts';
import { RULE_LIMITS, type OverrideForm, type RuleForm } from './schema.ts';

/** Pairs of overrides that are looked at together; beyond that the check at run time has to do. */
const PAIRS_MAX = 5_000;

export interface RulesFragment {
  readonly rules: readonly RuleForm[];
  readonly overrides: readonly OverrideForm[];
}

/** One rule with all its layers. */
export interface DeclaredRule {
  readonly name: string;
  /** For the whole fleet: shipped, file. */
  readonly base: readonly Layer[];
  /** From the least to the most specific. */
  readonly overrides: readonly Layer[];
}

/** A mistake and where it stands: the option, and the steps from it to the key. */
export interface PlacedMistake {
  readonly key: 'rules' | 'overrides';
  readonly path: readonly string[];
  readonly text: string;
}

export interface Compiled {
  readonly declared: readonly DeclaredRule[];
  readonly mistakes: readonly PlacedMistake[];
}

/** The last result for a list of rules: checking a configuration and using it is one work. */
const compiledBefore = new WeakMap<RulesFragment['rules'], { overrides: RulesFragment['overrides']; compiled: Compiled }>();

/** Never throws for what the fragment says; with mistakes `declared` is of no use. The lists are not to be changed afterwards. */
export function compileRules({ rules, overrides }: RulesFragment): Compiled {
  const before = compiledBefore.get(rules);
  if (before?.overrides === overrides) return before.compiled;
  const compiled = compileAll({ rules, overrides });
  compiledBefore.set(rules, { overrides, compiled });
  return compiled;
}

function compileAll({ rules, overrides }: RulesFragment): Compiled {
  const mistakes: PlacedMistake[] = [];
  const say = (key: PlacedMistake['key'], path: readonly (string | number)[], text: string): void => {
    mistakes.push({ key, path: path.map(String), text });
  };
  const bases = new Map<string, Layer[]>(SHIPPED_RULES.map(({ name, ...patch }) => [name, [shippedLayer(shippedPatch(name, patch))]]));
  const shippedNames = SHIPPED_RULES.map(({ name }) => name);
  const named = new Map<string, number>();
  /** Of these nothing more can be said than was. */
  const unclear = new Set<string>();
  rules.forEach((form, i) => {
    const before = named.get(form.name);
    if (before !== undefined)
      return say('rules', [i, 'name'], `${form.name}: there are two of this name (items ${before + 1} and ${i + 1}): keep one`);
    named.set(form.name, i);
    const base = bases.get(form.name);
    if (base === undefined && form.kind === undefined) {
      const near = nearest(form.name, shippedNames);
      const hint = near === undefined ? 'threshold, absent, state or event' : `or did you mean the shipped rule ${near}?`;
      unclear.add(form.name);
      say('rules', [i, 'name'], `${form.name}: kind is missing for a rule of your own: ${hint}`);
    }
    if (base === undefined) bases.set(form.name, [fileLayer(form, i)]);
    else if (form.kind !== undefined && form.kind !== base[0]!.patch.kind)
      say('rules', [i, 'kind'], `${form.name}: the shipped rule of this name is a ${base[0]!.patch.kind!}: give yours another name`);
    else base.push(fileLayer(form, i));
  });
  if (bases.size > RULE_LIMITS.rules)
    say('rules', [], `${bases.size} rules with the ${SHIPPED_RULES.length} shipped ones: at most ${RULE_LIMITS.rules}`);

  const byRule = new Map<string, Layer[]>();
  overrides.forEach((override, i) => {
    if (!bases.has(override.rule)) return say('overrides', [i, 'rule'], unknownRule(override.rule, bases.keys()));
    if (override.site === undefined && override.tag === undefined && override.node === undefined)
      return say('overrides', [i], `${override.rule}: for which site, tag or node? What is for all belongs under rules:`);
    byRule.set(override.rule, [...(byRule.get(override.rule) ?? []), overrideLayer(override, i)]);
  });
  const declared = [...bases].map(([name, base]): DeclaredRule => ({
    name,
    base,
    overrides: (byRule.get(name) ?? []).toSorted(bySpecificity),
  }));
  for (const rule of declared) {
    if (unclear.has(rule.name)) continue;
    for (const { key, path, text } of [...repetitions(rule), ...senseless(rule), ...suppressors(rule, bases)]) say(key, path, text);
  }
  for (const { key, path, text } of cycles(declared)) say(key, path, text);
  return { declared, mistakes: withoutRepetitions(mistakes) };
}

function shippedPatch(name: string, patch: Patch): Patch {
  return { runbook: `/runbooks/${name}`, ...patch };
}

function unknownRule(name: string, known: Iterable<string>): string {
  const near = nearest(name, [...known]);
  return `there is no rule ${name}${near === undefined ? '; all of them: tidemark-collector rules list' : `; did you mean ${near}?`}`;
}

/** Two overrides for exactly the same nodes that set the same thing: one of them was forgotten. */
function repetitions({ name, overrides }: DeclaredRule): PlacedMistake[] {
  const seen = new Map<string, number>();
  return overrides.flatMap((layer) =>
    [...merge([layer]).setBy.keys()].flatMap((field) => {
      const key = `${layer.selector}\n${field}`;
      const before = seen.get(key);
      const index = layer.origin!.index;
      seen.set(key, index);
      if (before === undefined) return [];
      const text = `${name}: ${field.replace('.trigger', "'s bound")} for ${layer.selector} is set twice (items ${before + 1} and ${index + 1}): keep one`;
      return [{ key: 'overrides' as const, path: [String(index)], text }];
    }),
  );
}

/** What the rule by itself, each override on it, and each two of them that may meet make wrong. Each check looks at two fields, so two layers are enough. */
function senseless({ name, base, overrides }: DeclaredRule): PlacedMistake[] {
  const found = (layers: readonly Layer[]): PlacedMistake[] => completeRule(name, merge(layers), layers).mistakes.flatMap(placed);
  const ofBase = found(base);
  // What is wrong with the rule is wrong in every combination.
  if (ofBase.length > 0) return ofBase;
  const single = overrides.map((layer) => ({ layer, mistakes: found([...base, layer]) }));
  const mistakes = single.flatMap((one) => one.mistakes);
  const right = single
    .filter((one) => one.mistakes.length === 0)
    .flatMap(({ layer }) => {
      const fields = levelFields(layer);
      return fields.length === 0 ? [] : [{ layer, fields }];
    });
  let pairs = 0;
  const looked = new Set<string>();
  for (let i = 0; i < right.length; i++) {
    for (let j = i + 1; j < right.length && pairs < PAIRS_MAX; j++) {
      const [{ layer: a, fields }, { layer: b, fields: winning }] = [right[i]!, right[j]!];
      // Where the more specific one says all that the other does, it is as if it stood alone.
      if (!mayMeet(a, b) || fields.every((field) => winning.includes(field))) continue;
      const key = `${levelsText(a.patch)}\n${levelsText(b.patch)}`;
      if (looked.has(key)) continue;
      looked.add(key);
      pairs++;
      for (const mistake of found([...base, a, b]))
        mistakes.push({ ...mistake, text: `${mistake.text} (for a node of ${a.selector} and ${b.selector})` });
    }
  }
  return mistakes;
}

const levelFields = (layer: Layer): string[] => [...merge([layer]).setBy.keys()].filter((field) => /^(warning|critical)\b/.test(field));
const levelsText = ({ warning, critical }: Patch): string => JSON.stringify([warning, critical]);

function placed({ layer, path, text }: RuleMistake): PlacedMistake[] {
  if (layer.origin === undefined) throw new Error(`a shipped rule has a mistake: ${text}`);
  return [{ key: layer.origin.key, path: [String(layer.origin.index), ...path], text }];
}

const namesOf = (patch: Patch): readonly string[] =>
  typeof patch.suppressedBy === 'string' ? [patch.suppressedBy] : (patch.suppressedBy ?? []);

function suppressors({ name, base, overrides }: DeclaredRule, known: ReadonlyMap<string, unknown>): PlacedMistake[] {
  return [...base, ...overrides].flatMap(({ origin, patch }) =>
    namesOf(patch).flatMap((suppressor) => {
      if (known.has(suppressor) || origin === undefined) return [];
      return [
        {
          key: origin.key,
          path: [String(origin.index), 'suppressedBy'],
          text: `${name}: suppressedBy: ${unknownRule(suppressor, known.keys())}`,
        },
      ];
    }),
  );
}

/** Rules that make each other moot would both be silent. */
function cycles(declared: readonly DeclaredRule[]): PlacedMistake[] {
  const edges = new Map(
    declared.map(({ name, base, overrides }) => [name, new Set([...base, ...overrides].flatMap(({ patch }) => namesOf(patch)))]),
  );
  const settled = new Set<string>();
  const mistakes: PlacedMistake[] = [];
  const visit = (name: string, path: readonly string[]): void => {
    const at = path.indexOf(name);
    if (at !== -1) {
      const circle = [...path.slice(at), name];
      const where = circle.flatMap((one) => declared.find((rule) => rule.name === one) ?? []);
      const layer = where
        .flatMap(({ base, overrides }) => [...base, ...overrides])
        .find(({ origin, patch }) => origin !== undefined && namesOf(patch).length > 0);
      if (layer === undefined) throw new Error(`shipped rules suppress each other: ${circle.join(' → ')}`);
      const text = `suppressedBy goes round in a circle (${circle.join(' → ')}), and nobody would be told of any: take one out`;
      mistakes.push({ key: layer.origin!.key, path: [String(layer.origin!.index), 'suppressedBy'], text });
      return;
    }
    if (settled.has(name)) return;
    for (const next of edges.get(name) ?? []) visit(next, [...path, name]);
    settled.add(name);
  };
  for (const name of edges.keys()) visit(name, []);
  return mistakes;
}

function withoutRepetitions(mistakes: readonly PlacedMistake[]): PlacedMistake[] {
  const seen = new Set<string>();
  return mistakes.filter((mistake) => {
    const key = JSON.stringify(mistake);
    return !seen.has(key) && seen.add(key) !== undefined;
  });
}
