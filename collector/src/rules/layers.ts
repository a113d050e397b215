/**
 * Layers of a rule: shipped, file, and overrides by site, tag and node. The more specific layer wins, field by
 * field; of two that are equally specific the later one in the file.
 */
import type { RuleView } from '@tidemark/protocol';
import type { NodeRecord } from '../fleet/node.ts';
import { compilePattern, isWild, literalLength } from './pattern.ts';
import type { LevelForm, OverrideForm, RuleForm } from './schema.ts';

export type NodeFacts = Pick<NodeRecord, 'name' | 'site' | 'tags'>;
export type LayerKind = RuleView['layers'][number]['layer'];
/** What a layer sets: a rule or an override without what it is for. */
export type Patch = Omit<RuleForm, 'name'> & { readonly inactiveBecause?: string };

/** Where a layer stands in the configuration; undefined for shipped ones. */
export interface Origin {
  readonly key: 'rules' | 'overrides';
  readonly index: number;
}

export interface Layer {
  readonly kind: LayerKind;
  readonly origin: Origin | undefined;
  /** For people: "site berlin, tag role=db"; empty for all nodes. */
  readonly selector: string;
  /** How specific it is, compared from the left: node, tag, site. */
  readonly rank: readonly number[];
  readonly applies: (node: NodeFacts) => boolean;
  readonly patch: Patch;
  readonly override: OverrideForm | undefined;
}

const everywhere = (): boolean => true;

export function shippedLayer(patch: Patch): Layer {
  return { kind: 'shipped', origin: undefined, selector: '', rank: [0, 0, 0, 0], applies: everywhere, patch, override: undefined };
}

export function fileLayer(form: RuleForm, index: number): Layer {
  const { name: _, ...patch } = form;
  return {
    kind: 'file',
    origin: { key: 'rules', index },
    selector: '',
    rank: [0, 0, 0, 1],
    applies: everywhere,
    patch,
    override: undefined,
  };
}

/** An exact name says more than any pattern, a pattern as much as it has letters. */
function weight(pattern: string | undefined): number {
  return pattern === undefined ? 0 : isWild(pattern) ? 1 + literalLength(pattern) : 10_000;
}

export function overrideLayer(override: OverrideForm, index: number): Layer {
  const { rule: _, site, tag, node, ...patch } = override;
  const selectors: string[] = [];
  const tests: ((facts: NodeFacts) => boolean)[] = [];
  if (node !== undefined) {
    selectors.push(`node ${node}`);
    const fits = compilePattern(node);
    tests.push((facts) => fits(facts.name));
  }
  if (tag !== undefined) {
    selectors.push(`tag ${tag}`);
    const [key, value] = splitTag(tag);
    const fits = compilePattern(value);
    tests.push(({ tags }) => Object.hasOwn(tags, key) && fits(tags[key]!));
  }
  if (site !== undefined) {
    selectors.push(`site ${site}`);
    const fits = compilePattern(site);
    tests.push((facts) => fits(facts.site));
  }
  return {
    kind: node !== undefined ? 'node' : tag !== undefined ? 'tag' : 'site',
    origin: { key: 'overrides', index },
    selector: selectors.join(', '),
    rank: [weight(node), tag === undefined ? 0 : weight(splitTag(tag)[1]), weight(site), 1],
    applies: (facts) => tests.every((test) => test(facts)),
    patch,
    override,
  };
}

/** The key and the value of "role=db". */
export function splitTag(tag: string): [string, string] {
  const at = tag.indexOf('=');
  return [tag.slice(0, at), tag.slice(at + 1)];
}

/** From the least to the most specific. */
export function bySpecificity(a: Layer, b: Layer): number {
  for (let i = 0; i < a.rank.length; i++) if (a.rank[i] !== b.rank[i]) return a.rank[i]! - b.rank[i]!;
  return (a.origin?.index ?? 0) - (b.origin?.index ?? 0);
}

/** False when no node can ever be meant by both: other sites, other names, other values of one tag. */
export function mayMeet({ override: a }: Layer, { override: b }: Layer): boolean {
  if (a === undefined || b === undefined) return true;
  const apart = (x: string | undefined, y: string | undefined): boolean =>
    x !== undefined && y !== undefined && !isWild(x) && !isWild(y) && x !== y;
  if (apart(a.node, b.node) || apart(a.site, b.site)) return false;
  if (a.tag === undefined || b.tag === undefined) return true;
  const [[keyA, valueA], [keyB, valueB]] = [splitTag(a.tag), splitTag(b.tag)];
  return keyA !== keyB || !apart(valueA, valueB);
}

/** The operators of which a level has one. */
export const OPERATORS = ['above', 'atLeast', 'below', 'atMost', 'is', 'isNot', 'missing', 'roseBy'] as const;
export type Operator = (typeof OPERATORS)[number];

/** A level put together; parts are as they are written. */
export interface LevelDraft {
  readonly off: boolean;
  readonly trigger: { readonly operator: Operator; readonly written: NonNullable<LevelForm[Operator]> } | undefined;
  readonly clear: LevelForm['clear'];
  readonly for: LevelForm['for'];
  readonly clearAfter: LevelForm['clearAfter'];
}

/** A rule put together out of its layers; `setBy` tells for each field which layer set it last. */
export interface Draft {
  readonly patch: Omit<Patch, 'warning' | 'critical'>;
  readonly warning: LevelDraft | undefined;
  readonly critical: LevelDraft | undefined;
  readonly setBy: ReadonlyMap<string, Layer>;
}

/** Puts layers together; they come from the least to the most specific. */
export function merge(layers: readonly Layer[]): Draft {
  let patch: Omit<Patch, 'warning' | 'critical'> = {};
  let warning: LevelDraft | undefined;
  let critical: LevelDraft | undefined;
  const setBy = new Map<string, Layer>();
  for (const layer of layers) {
    const { warning: w, critical: c, labels, annotations, ...plain } = layer.patch;
    patch = { ...patch, ...plain };
    if (labels !== undefined) patch = { ...patch, labels: { ...patch.labels, ...labels } };
    if (annotations !== undefined) patch = { ...patch, annotations: { ...patch.annotations, ...annotations } };
    if (w !== undefined) warning = mergeLevel(warning, w);
    if (c !== undefined) critical = mergeLevel(critical, c);
    for (const field of fieldsOf(layer.patch)) setBy.set(field, layer);
  }
  return { patch, warning, critical, setBy };
}

function mergeLevel(before: LevelDraft | undefined, level: LevelForm | 'off' | false): LevelDraft {
  const base = before ?? { off: false, trigger: undefined, clear: undefined, for: undefined, clearAfter: undefined };
  if (level === 'off' || level === false) return { ...base, off: true };
  const operator = OPERATORS.find((one) => level[one] !== undefined);
  return {
    // Who says something about a level wants it.
    off: false,
    trigger: operator === undefined ? base.trigger : { operator, written: level[operator]! },
    clear: level.clear ?? base.clear,
    for: level.for ?? base.for,
    clearAfter: level.clearAfter ?? base.clearAfter,
  };
}

/** The names of the fields a patch sets; all operators of a level are one field. */
function fieldsOf(patch: Patch): string[] {
  return Object.entries(patch).flatMap(([name, value]) => {
    if (name !== 'warning' && name !== 'critical') return [name];
    if (value === 'off' || value === false) return [name];
    return Object.keys(value as LevelForm).map((part) => `${name}.${(OPERATORS as readonly string[]).includes(part) ? 'trigger' : part}`);
  });
}

/** What a layer sets, for people: "warning.above = 80%". */
export function setsOf(patch: Patch): string[] {
  const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
  return Object.entries(patch).flatMap(([name, value]) => {
    if (name === 'inactiveBecause') return [];
    const nested = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!nested) return [`${name} = ${value === false && (name === 'warning' || name === 'critical') ? 'off' : shown(value)}`];
    return Object.entries(value as Record<string, unknown>).map(([part, inner]) => `${name}.${part} = ${shown(inner)}`);
  });
}
