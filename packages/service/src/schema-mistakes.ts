/**
 * What is wrong with a value of many parts, each mistake at its own place and in its own words: which key is not
 * known and which was meant, which is missing, and what a value has to be. Empty exactly when the schema takes it.
 */
import type { TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { nearest } from './nearest.ts';

export interface Mistake {
  /** Steps from the option's value to what is wrong. */
  path: string[];
  text: string;
}

/** The parts of a JSON schema that are looked into; `wanted` says for people what fits. */
interface Shape {
  type?: string;
  wanted?: string;
  anyOf?: TSchema[];
  items?: TSchema;
  properties?: Record<string, TSchema>;
  patternProperties?: Record<string, TSchema>;
  required?: string[];
  additionalProperties?: boolean | TSchema;
  minItems?: number;
  maxItems?: number;
  minProperties?: number;
  maxProperties?: number;
  const?: unknown;
}

const KEYS_SHOWN_MAX = 20;

/** Every mistake in `value`; texts name the way to the part ("item 2: warning: abvoe: …"). */
export function schemaMistakes(schema: TSchema, value: unknown): Mistake[] {
  return within(schema, value).map(({ path, text }) => ({ path, text: `${wayOf(path)}${text}` }));
}

function wayOf(path: readonly string[]): string {
  return path.map((step) => (/^\d+$/.test(step) ? `item ${Number(step) + 1}: ` : `${step}: `)).join('');
}

function within(schema: TSchema, value: unknown): Mistake[] {
  if (Value.Check(schema, value)) return [];
  const shape = schema as Shape;
  const found = shape.anyOf !== undefined ? ofUnion(shape.anyOf, value) : ofParts(shape, value);
  if (found.length > 0) return found;
  if (shape.wanted !== undefined) return [{ path: [], text: `must be ${shape.wanted}${got(value)}` }];
  return [{ path: [], text: `${Value.Errors(schema, value)[0]?.message ?? 'is not valid'}${got(value)}` }];
}

/** Of alternatives with parts, those that have the value's form; of several the one that its fixed keys name, or that is nearest. */
function ofUnion(alternatives: readonly TSchema[], value: unknown): Mistake[] {
  const fitting = alternatives.filter((one) => {
    const { type } = one as Shape;
    return (type === 'object' && isRecord(value)) || (type === 'array' && Array.isArray(value));
  });
  const named = fitting.filter((one) => namedBy(one as Shape, value));
  const [best] = (named.length > 0 ? named : fitting).map((one) => within(one, value)).toSorted((a, b) => a.length - b.length);
  return best ?? [];
}

/** Whether a key that can have one value only (a "kind") has it. */
function namedBy({ properties = {} }: Shape, value: unknown): boolean {
  return (
    isRecord(value) &&
    Object.entries(properties).some(([key, schema]) => (schema as Shape).const !== undefined && (schema as Shape).const === value[key])
  );
}

function ofParts(shape: Shape, value: unknown): Mistake[] {
  if (shape.type === 'array' && Array.isArray(value)) return ofItems(shape, value);
  if (shape.type === 'object' && isRecord(value)) return ofKeys(shape, value);
  return [];
}

function ofItems({ items, minItems = 0, maxItems = Number.POSITIVE_INFINITY }: Shape, value: readonly unknown[]): Mistake[] {
  if (value.length > maxItems) return [{ path: [], text: `has ${value.length} items, and may have ${maxItems}` }];
  if (value.length < minItems) return [{ path: [], text: `needs at least ${minItems === 1 ? 'one item' : `${minItems} items`}` }];
  return items === undefined ? [] : value.flatMap((item, i) => below(String(i), within(items, item)));
}

function ofKeys(shape: Shape, value: Record<string, unknown>): Mistake[] {
  const { properties = {}, patternProperties = {}, required = [], minProperties = 0, maxProperties = Number.POSITIVE_INFINITY } = shape;
  const keys = Object.keys(value);
  if (keys.length > maxProperties) return [{ path: [], text: `has ${keys.length} keys, and may have ${maxProperties}` }];
  const patterns = Object.entries(patternProperties);
  const mistakes = keys.flatMap((key): Mistake[] => {
    const schema = Object.hasOwn(properties, key)
      ? properties[key]
      : (patterns.find(([pattern]) => new RegExp(pattern, 'u').test(key))?.[1] ?? shape.additionalProperties);
    if (typeof schema === 'object') return below(key, within(schema, value[key]));
    return schema === false ? [{ path: [key], text: unknownKey(key, Object.keys(properties), patterns[0]?.[0]) }] : [];
  });
  for (const key of required) {
    if (Object.hasOwn(value, key)) continue;
    const { wanted } = (properties[key] ?? {}) as Shape;
    mistakes.push({ path: [], text: `${key} is missing${wanted === undefined ? '' : `: ${wanted}`}` });
  }
  if (mistakes.length === 0 && keys.length < minProperties) return [{ path: [], text: 'says nothing: give it a key' }];
  return mistakes;
}

function unknownKey(key: string, known: readonly string[], pattern: string | undefined): string {
  const near = nearest(key, known);
  if (near !== undefined) return `there is no such key; did you mean ${near}?`;
  if (known.length === 0 && pattern !== undefined) return `is no name that fits here (${pattern})`;
  return `there is no such key${known.length > 0 && known.length <= KEYS_SHOWN_MAX ? `; there are ${known.join(', ')}` : ''}`;
}

function below(step: string, mistakes: readonly Mistake[]): Mistake[] {
  return mistakes.map(({ path, text }) => ({ path: [step, ...path], text }));
}

/** The wrong value itself, where it is short. */
function got(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? ` (got ${JSON.stringify(value).slice(0, 100)})`
    : '';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
