/**
 * Options declared once: a flag, an environment variable, a line of the YAML file, the help text and the
 * reference page all come from one declaration. Precedence: flag, environment, file, default. All
 * mistakes are reported at once, each with where it stands.
 */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { LineCounter, isMap, isNode, isScalar, isSeq, parseDocument, visit, type Document, type Pair } from 'yaml';
import { EXIT, OperationalFailure, codeOf } from './failure.ts';
import { nearest } from './nearest.ts';
import type { Mistake } from './schema-mistakes.ts';

export interface OptionDeclaration<S extends TSchema = TSchema> {
  schema: S;
  description: string;
  /** What the flag's value is called in the help: "url", "seconds". Absent for a switch. */
  value?: string;
  default?: Static<S>;
  /** The flag may be given several times; in the environment the values are separated by spaces or commas. */
  list?: true;
  /** Values are `key=value` pairs collected into a record. */
  pairs?: true;
  /** Not offered as a flag (only file and environment). */
  flag?: false;
  /** Environment variables read besides TIDEMARK_<NAME>. */
  environment?: readonly string[];
  /** Never shown when the configuration is printed. */
  secret?: true;
  /** A sentence when this value may not stand on a command line, where every user of the machine can read it. */
  refuseAsFlag?: (value: string) => string | undefined;
  /** Says what is wrong with a value that has parts, better than its schema does; empty for nothing. */
  mistakesOf?: (value: unknown) => readonly Mistake[];
  /** Found in the file alone: no flag and no environment variable could say it. */
  fileOnly?: true;
  /** Says what is wrong with it beside the other options; asked when it is right by itself. Options that are not are left out. */
  check?: (values: Readonly<Record<string, unknown>>) => readonly Mistake[];
}

export type OptionDeclarations = Record<string, OptionDeclaration>;
/** The values of declared options: those with a default are always there. */
export type OptionValues<D extends OptionDeclarations> = {
  [K in keyof D]: D[K] extends { default: unknown } ? Static<D[K]['schema']> : Static<D[K]['schema']> | undefined;
};

/** Keeps the literal types of a declaration. */
export function declareOptions<const D extends OptionDeclarations>(declarations: D): D {
  return declarations;
}

const MISTAKES_SHOWN_MAX = 50;

const kebab = (key: string): string => key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
export const flagOf = (key: string): string => `--${kebab(key)}`;
export const environmentOf = (key: string): string => `TIDEMARK_${kebab(key).replaceAll('-', '_').toUpperCase()}`;

/** Adds the declared options, and `--config`, to a command. */
export function addOptions(command: Command, declarations: OptionDeclarations): Command {
  for (const [key, option] of Object.entries(declarations)) {
    if (option.flag === false || option.fileOnly) continue;
    const fallback =
      option.default === undefined || (Array.isArray(option.default) && option.default.length === 0) || typeof option.default === 'object'
        ? ''
        : ` (default ${JSON.stringify(option.default)})`;
    const text = `${option.description}${fallback}`;
    if (option.value === undefined) command.option(flagOf(key), text);
    else if (option.list || option.pairs)
      command.option(`${flagOf(key)} <${option.value}>`, text, (value: string, before: string[] | undefined) => [...(before ?? []), value]);
    else command.option(`${flagOf(key)} <${option.value}>`, text);
  }
  return command.option('--config <file>', 'YAML file with any of these options (environment: TIDEMARK_CONFIG)');
}

export interface OptionSources {
  /** What commander parsed: strings, lists of strings, or true. */
  flags: Record<string, unknown>;
  environment: Record<string, string | undefined>;
  /** Read when neither --config nor TIDEMARK_CONFIG names another; may be absent. */
  defaultFile?: string;
}

export interface LoadedOptions<V> {
  values: V;
  /** Where each value came from: "--flag", "TIDEMARK_X", "file:line" or "default". */
  sources: Record<string, string>;
  file: string | undefined;
  /** Where a part of an option stands ("file:line"), or what its option comes from. */
  placeOf: (key: string, path: readonly string[]) => string;
}

/** Reads, checks and merges all sources. Throws an OperationalFailure that lists every mistake. */
export function loadOptions<const D extends OptionDeclarations>(
  program: string,
  declarations: D,
  sources: OptionSources,
): LoadedOptions<OptionValues<D>> {
  const mistakes: string[] = [];
  const file = readOptionFile(sources, mistakes);
  const values: Record<string, unknown> = {};
  const origin: Record<string, string> = {};
  const wrong = new Set<string>();
  const placeOf = (key: string, path: readonly string[]): string =>
    file !== undefined && origin[key]?.startsWith(`${file.path}:`)
      ? `${file.path}:${lineOf(file, [key, ...path])}`
      : (origin[key] ?? 'default');
  if (file) reportUnknownKeys(file, declarations, mistakes);
  for (const [key, option] of Object.entries(declarations)) {
    const found = findValue(key, option, sources, file);
    if (found === undefined) {
      values[key] = option.default;
      origin[key] = 'default';
      continue;
    }
    origin[key] = found.source;
    if (found.refusal !== undefined) mistakes.push(`${found.source}: ${found.refusal}`);
    const value = found.raw === undefined ? fromFile(option, found.value) : coerce(option, found.raw);
    for (const { path, text } of errorsOf(option, value)) {
      wrong.add(key);
      mistakes.push(`${placeOf(key, path)}: ${found.source.startsWith('--') ? '' : `${key}: `}${text}`);
    }
    values[key] = value;
  }
  const right = Object.fromEntries(Object.entries(values).filter(([key]) => !wrong.has(key)));
  for (const [key, { check }] of Object.entries(declarations)) {
    if (check === undefined || wrong.has(key)) continue;
    for (const { path, text } of check(right)) mistakes.push(`${placeOf(key, path)}: ${key}: ${text}`);
  }
  if (mistakes.length > 0) {
    // A parser says some things twice.
    const different = [...new Set(mistakes)];
    const noun = different.length === 1 ? 'one mistake' : `${different.length} mistakes`;
    throw new OperationalFailure(`${noun} in the configuration:\n${shortList(different)}\nSee ${program} --help.`, EXIT.configuration);
  }
  return { values: values as OptionValues<D>, sources: origin, file: file?.path, placeOf };
}

/** Whoever has written a thousand mistakes has made one of them a thousand times. */
function shortList(mistakes: readonly string[]): string {
  const lines = mistakes.slice(0, MISTAKES_SHOWN_MAX).map((text) => `  ${text}`);
  return [...lines, ...(mistakes.length > lines.length ? [`  and ${mistakes.length - lines.length} more`] : [])].join('\n');
}

interface OptionFile {
  path: string;
  document: Document;
  line: (offset: number | undefined) => number;
  root: Record<string, unknown>;
}

function readOptionFile(sources: OptionSources, mistakes: string[]): OptionFile | undefined {
  const named = (sources.flags['config'] as string | undefined) ?? sources.environment['TIDEMARK_CONFIG'];
  const path = named ?? sources.defaultFile;
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (named === undefined && codeOf(error) === 'ENOENT') return undefined;
    mistakes.push(`${path}: cannot be read (${codeOf(error) ?? String(error)})`);
    return undefined;
  }
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false });
  const line = (offset: number | undefined): number => (offset === undefined ? 1 : counter.linePos(offset).line);
  const misread = misreadIn(document);
  for (const { offset, text: what } of misread) mistakes.push(`${path}:${line(offset)}: ${what}`);
  if (misread.length > 0) return undefined;
  let root: unknown;
  try {
    root = document.toJS();
  } catch (error) {
    mistakes.push(`${path}:1: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
  if (root === null || root === undefined) return { path, document, line, root: {} };
  if (typeof root !== 'object' || Array.isArray(root)) {
    mistakes.push(`${path}:1: the file must hold "option: value" lines`);
    return undefined;
  }
  return { path, document, line, root: root as Record<string, unknown> };
}

/** What YAML did not understand. "!" and "*" begin something else there than in a pattern, which is easily forgotten. */
function misreadIn(document: Document): { offset: number | undefined; text: string }[] {
  const misread: { offset: number | undefined; text: string }[] = document.errors.map(({ pos, message }) => ({
    offset: pos[0],
    text: message,
  }));
  for (const { pos, message } of document.warnings)
    misread.push({ offset: pos[0], text: `${message}; a text that begins with "!" has to stand in quotes: '!…'` });
  if (document.errors.length > 0) return misread;
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document) !== undefined) return;
      misread.push({ offset: alias.range?.[0], text: `*${alias.source}: a text that begins with "*" has to stand in quotes: '*…'` });
    },
  });
  return misread;
}

/** The line of what `path` leads to, or of the nearest thing around it that stands in the file. */
function lineOf(file: OptionFile, path: readonly string[]): number {
  let node: unknown = file.document.contents;
  let offset: number | undefined;
  for (const step of path) {
    if (isMap(node)) {
      const pair: Pair | undefined = node.items.find((item) => isScalar(item.key) && String(item.key.value) === step);
      if (pair === undefined || !isScalar(pair.key)) break;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      offset = isNode(node) ? (node.range?.[0] ?? offset) : offset;
    } else break;
  }
  return file.line(offset);
}

function reportUnknownKeys(file: OptionFile, declarations: OptionDeclarations, mistakes: string[]): void {
  for (const key of Object.keys(file.root)) {
    if (Object.hasOwn(declarations, key)) continue;
    const near = nearest(key, Object.keys(declarations));
    mistakes.push(`${file.path}:${lineOf(file, [key])}: ${key}: there is no such option${near ? `; did you mean ${near}?` : ''}`);
  }
}

interface FoundValue {
  source: string;
  /** Text from a flag or the environment, still to be coerced; `value` holds what the file said. */
  raw?: string | readonly string[] | true;
  value?: unknown;
  refusal?: string | undefined;
}

function findValue(key: string, option: OptionDeclaration, sources: OptionSources, file: OptionFile | undefined): FoundValue | undefined {
  const flag = option.flag === false || option.fileOnly ? undefined : (sources.flags[key] as string | string[] | true | undefined);
  if (flag !== undefined) {
    const texts = flag === true ? [] : Array.isArray(flag) ? flag : [flag];
    const refusal = texts.map((text) => option.refuseAsFlag?.(text)).find((sentence) => sentence !== undefined);
    return { source: flagOf(key), raw: flag, refusal };
  }
  for (const name of option.fileOnly ? [] : [environmentOf(key), ...(option.environment ?? [])]) {
    const text = sources.environment[name];
    if (text === undefined || text === '') continue;
    return { source: name, raw: option.list || option.pairs ? text.split(/[\s,]+/).filter(Boolean) : text };
  }
  // An option with nothing behind it ("site:") is as good as left out.
  if (file && Object.hasOwn(file.root, key) && file.root[key] !== null)
    return { source: `${file.path}:${lineOf(file, [key])}`, value: file.root[key] };
  return undefined;
}

function coerce(option: OptionDeclaration, raw: string | readonly string[] | true): unknown {
  if (raw === true) return true;
  if (option.pairs) {
    const record: Record<string, string> = {};
    for (const text of typeof raw === 'string' ? [raw] : raw) {
      const at = text.indexOf('=');
      // As text it is checked, and refused, as what it is.
      if (at < 0) return text;
      Object.defineProperty(record, text.slice(0, at), { value: text.slice(at + 1), enumerable: true, configurable: true, writable: true });
    }
    return record;
  }
  if (typeof raw !== 'string') return [...raw];
  const type = (option.schema as { type?: string }).type;
  if (type === 'number' || type === 'integer') return raw.trim() === '' ? raw : Number.isNaN(Number(raw)) ? raw : Number(raw);
  if (type === 'boolean')
    return ['true', '1', 'yes', 'on'].includes(raw.toLowerCase())
      ? true
      : ['false', '0', 'no', 'off'].includes(raw.toLowerCase())
        ? false
        : raw;
  return raw;
}

/** What YAML reads as a number may be meant as text, and one item needs no list. */
function fromFile(option: OptionDeclaration, value: unknown): unknown {
  if (option.list && !Array.isArray(value)) return [value];
  if (option.pairs && typeof value === 'object' && value !== null && !Array.isArray(value))
    return Object.fromEntries(
      Object.entries(value).map(([name, text]) => [
        name,
        typeof text === 'number' || typeof text === 'boolean' ? String(text) : (text as unknown),
      ]),
    );
  return value;
}

function errorsOf(option: OptionDeclaration, value: unknown): Mistake[] {
  const { schema } = option;
  if (option.mistakesOf !== undefined) return [...option.mistakesOf(value)];
  const isRight: boolean = Value.Check(schema, value);
  if (isRight) return [];
  const wanted = (schema as { wanted?: string }).wanted;
  if (wanted !== undefined) return [{ path: [], text: `must be ${wanted}${shown(option, value)}` }];
  // In a list, each item by itself: the reader wants to know which.
  const items = (schema as { items?: TSchema & { wanted?: string } }).items;
  if (Array.isArray(value) && items !== undefined) {
    const wrong = value.flatMap((item: unknown, i): Mistake[] => {
      if (Value.Check(items, item)) return [];
      const text = items.wanted === undefined ? (Value.Errors(items, item)[0]?.message ?? 'is not valid') : `must be ${items.wanted}`;
      return [{ path: [String(i)], text: `item ${i + 1} ${text}${shown(option, item)}` }];
    });
    if (wrong.length > 0) return wrong;
  }
  const errors = Value.Errors(schema, value).map(({ instancePath, message }) => {
    const path = instancePath.split('/').slice(1);
    return { path, text: `${path.length === 0 ? '' : `${path.join('.')}: `}${message}${path.length === 0 ? shown(option, value) : ''}` };
  });
  return errors.length === 0 ? [{ path: [], text: 'is not valid' }] : errors;
}

/** The wrong value itself, where that is short and no secret. */
function shown(option: OptionDeclaration, value: unknown): string {
  if (option.secret || (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean')) return '';
  return ` (got ${masked(JSON.stringify(value)).slice(0, 200)})`;
}

/** Without the passwords of URLs. */
function masked(text: string): string {
  return text.replace(/(:\/\/[^:/@"]*):[^@"]*@/g, '$1:***@').replace(/([?&]password=)[^&"]*/gi, '$1***');
}

/** One option as it is in force, for people: secrets and passwords in URLs are left out. */
export interface DescribedOption {
  name: string;
  value: string;
  /** "--flag", "TIDEMARK_X", "file:line" or "default". */
  source: string;
}

export function describeOptions(declarations: OptionDeclarations, loaded: LoadedOptions<Record<string, unknown>>): DescribedOption[] {
  return Object.entries(declarations).map(([name, option]) => {
    const value = loaded.values[name];
    const text = value === undefined ? '(not set)' : option.secret ? '(secret)' : masked(JSON.stringify(value));
    return { name, value: text, source: loaded.sources[name] ?? 'default' };
  });
}

const COLUMN_CHARS_MAX = 48;

/** The configuration as it is in force, for `config check`. */
export function printOptions(declarations: OptionDeclarations, loaded: LoadedOptions<Record<string, unknown>>): string {
  const rows = describeOptions(declarations, loaded);
  // A long list does not push what stands behind the others out of sight.
  const width = (column: 'name' | 'value'): number => Math.max(...rows.map((row) => Math.min(row[column].length, COLUMN_CHARS_MAX)));
  const [first, second] = [width('name'), width('value')];
  return rows.map(({ name, value, source }) => `${name.padEnd(first)}  ${value.padEnd(second)}  ${source}`).join('\n');
}
