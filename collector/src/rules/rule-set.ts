/**
 * The rules in force at one moment. Nodes that the same layers apply to share one array and its rules, and rules
 * that read the same are the same object, also across reloads: what others derive from one they keep by identity.
 */
import type { RuleView } from '@tidemark/protocol';
import { completeRule, type CompletedRule } from './check.ts';
import type { DeclaredRule } from './compile.ts';
import { merge, setsOf, type Layer, type NodeFacts } from './layers.ts';
import { compilePatterns, compilePattern } from './pattern.ts';
import type { Level, Rule, RuleSet } from './rule.ts';

/** Far beyond what a fleet needs; then everything is made anew. */
const NODES_REMEMBERED_MAX = 50_000;
const COMBINATIONS_MAX = 20_000;

/** Keeps one object for all rules, and for all lists of rules, that read the same. */
export class RuleInterner {
  #rules = new Map<string, Rule>();
  #lists = new Map<string, readonly Rule[]>();
  readonly #numbers = new WeakMap<Rule, number>();
  #next = 0;

  rule(made: Omit<Rule, 'digest'>): Rule {
    const key = JSON.stringify(made);
    const known = this.#rules.get(key);
    if (known !== undefined) return known;
    if (this.#rules.size >= COMBINATIONS_MAX) this.#rules = new Map();
    const rule: Rule = Object.freeze({ ...made, digest: digestOf(made) });
    this.#rules.set(key, rule);
    this.#numbers.set(rule, this.#next++);
    return rule;
  }

  list(rules: readonly Rule[]): readonly Rule[] {
    const key = rules.map((rule) => this.#numbers.get(rule)).join(' ');
    const known = this.#lists.get(key);
    if (known !== undefined) return known;
    if (this.#lists.size >= COMBINATIONS_MAX) this.#lists = new Map();
    const list = Object.freeze([...rules]);
    this.#lists.set(key, list);
    return list;
  }

  /** Forgets all but what is in use, so that reloads do not pile up. */
  keepOnly(lists: Iterable<readonly Rule[]>): void {
    const kept = new Set(lists);
    const rules = new Set([...kept].flat());
    this.#lists = new Map([...this.#lists].filter(([, list]) => kept.has(list)));
    this.#rules = new Map([...this.#rules].filter(([, rule]) => rules.has(rule)));
  }
}

function digestOf({ kind, metric, observation, labels, warning, critical }: Omit<Rule, 'digest'>): string {
  return JSON.stringify([kind, metric, observation, labels, warning, critical]);
}

interface Prepared {
  readonly declared: DeclaredRule;
  readonly selects: (node: NodeFacts) => boolean;
}

/** Where a layer stands, for people: "collector.yaml:12". */
export type SourceOf = (layer: Layer) => string;

export class LayeredRules implements RuleSet {
  readonly #rules: readonly Prepared[];
  readonly #sourceOf: SourceOf;
  readonly #interner: RuleInterner;
  /** By what applies: the indexes of the selecting rules and matching overrides. */
  #byCombination = new Map<string, readonly Rule[]>();
  #byName = new Map<string, { site: string; tags: NodeFacts['tags']; rules: readonly Rule[] }>();
  #views: readonly RuleView[] | undefined;

  constructor(declared: readonly DeclaredRule[], sourceOf: SourceOf, interner: RuleInterner = new RuleInterner()) {
    this.#sourceOf = sourceOf;
    this.#interner = interner;
    this.#rules = declared.map((one) => ({ declared: one, selects: selectorOf(merge(one.base).patch.where) }));
  }

  for(node: NodeFacts): readonly Rule[] {
    const known = this.#byName.get(node.name);
    // A node's tags are replaced when they change, never written into.
    if (known !== undefined && known.site === node.site && known.tags === node.tags) return known.rules;
    const rules = this.#rulesOf(node);
    if (this.#byName.size >= NODES_REMEMBERED_MAX) this.#byName = new Map();
    this.#byName.set(node.name, { site: node.site, tags: node.tags, rules });
    return rules;
  }

  views(): readonly RuleView[] {
    this.#views ??= this.#rules.map(({ declared: { name, base, overrides } }) =>
      this.#view(completeRule(name, merge(base), base), [...base, ...overrides]),
    );
    return this.#views;
  }

  explain(name: string, node: NodeFacts): (RuleView & { readonly applies: boolean }) | undefined {
    const prepared = this.#rules.find(({ declared }) => declared.name === name);
    if (prepared === undefined) return undefined;
    const layers = layersFor(prepared.declared, node);
    const completed = completeRule(name, merge(layers), layers);
    return { ...this.#view(completed, layers), applies: prepared.selects(node) && judges(completed) };
  }

  /** Every list that has been given out. */
  lists(): Iterable<readonly Rule[]> {
    return this.#byCombination.values();
  }

  #rulesOf(node: NodeFacts): readonly Rule[] {
    let combination = '';
    const applying: { name: string; layers: readonly Layer[] }[] = [];
    this.#rules.forEach(({ declared, selects }, i) => {
      if (!selects(node)) return;
      const layers = layersFor(declared, node);
      applying.push({ name: declared.name, layers });
      combination += `${i}:`;
      for (const { origin } of layers.slice(declared.base.length)) combination += `${origin!.index},`;
    });
    const known = this.#byCombination.get(combination);
    if (known !== undefined) return known;
    const rules = applying.flatMap(({ name, layers }) => {
      const completed = completeRule(name, merge(layers), layers);
      return judges(completed) ? [this.#interner.rule(completed.rule)] : [];
    });
    const list = this.#interner.list(rules);
    if (this.#byCombination.size >= COMBINATIONS_MAX) this.#byCombination = new Map();
    this.#byCombination.set(combination, list);
    return list;
  }

  #view({ rule, enabled, inactiveBecause }: CompletedRule, layers: readonly Layer[]): RuleView {
    const { name, title, kind, metric, observation, labels, unit, where, suppressedBy, annotations, runbook } = rule;
    return {
      name,
      title,
      kind,
      metric,
      observation: observation === null ? null : { ...observation },
      labels: Object.fromEntries(Object.entries(labels).map(([label, patterns]) => [label, [...patterns]])),
      unit,
      where,
      warning: levelView(rule.warning),
      critical: levelView(rule.critical),
      suppressedBy: [...suppressedBy],
      enabled,
      inactiveBecause,
      annotations: { ...annotations },
      runbook,
      layers: layers.map((layer) => ({
        layer: layer.kind,
        source: this.#sourceOf(layer),
        selector: layer.selector,
        sets: setsOf(layer.patch),
      })),
    };
  }
}

/** Whether anything is judged by it. */
function judges({ rule, enabled, inactiveBecause }: CompletedRule): boolean {
  return enabled && inactiveBecause === null && (rule.warning !== null || rule.critical !== null);
}

function layersFor({ base, overrides }: DeclaredRule, node: NodeFacts): readonly Layer[] {
  const matching = overrides.filter((layer) => layer.applies(node));
  return matching.length === 0 ? base : [...base, ...matching];
}

function levelView(level: Level | null): RuleView['warning'] {
  if (level === null) return null;
  return {
    trigger: level.trigger,
    clear: level.clear,
    trueForSeconds: level.trueForMs / 1_000,
    ofLastSeconds: level.ofLastMs / 1_000,
    clearAfterSeconds: level.clearAfterMs / 1_000,
  };
}

function selectorOf(where: DeclaredRule['base'][number]['patch']['where']): (node: NodeFacts) => boolean {
  if (where === undefined) return () => true;
  const list = (value: string | readonly string[]): readonly string[] => (typeof value === 'string' ? [value] : value);
  const nodes = where.nodes === undefined ? undefined : compilePatterns(list(where.nodes));
  const sites = where.sites === undefined ? undefined : compilePatterns(list(where.sites));
  const tags = Object.entries(where.tags ?? {}).map(([key, value]) => ({ key, fits: compilePattern(String(value)) }));
  return (node) =>
    (nodes === undefined || nodes(node.name)) &&
    (sites === undefined || sites(node.site)) &&
    tags.every(({ key, fits }) => Object.hasOwn(node.tags, key) && fits(node.tags[key]!));
}
