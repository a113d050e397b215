/**
 * Options declared once: a flag, an environment variable, a line of the YAML file, the help text and the
 * reference page all come from one declaration. Precedence: flag, environment, file, default. All
 * mistakes are reported at once, each with where it stands.
 */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { LineCounter, isMap, isScalar, parseDocument, type Document } from 'yaml';
import { EXIT, OperationalFailure, codeOf } from './failure.ts';

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

const kebab = (key: string): string => key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
export const flagOf = (key: string): string => `--${kebab(key)}`;
export const environmentOf = (key: string): string => `TIDEMARK_${kebab(key).replaceAll('-', '_').toUpperCase()}`;

/** Adds the declared options, and `--config`, to a command. */
export function addOptions(command: Command, declarations: OptionDeclarations): Command {
  for (const [key, option] of Object.entries(declarations)) {
    if (option.flag === false) continue;
    const fallback =
      option.default === undefined || (Array.isArray(option.default) && option.default.length === 0) || typeof option.default === 'object'
        ? ''
        : ` (default ${JSON.stringify(option.default)})`;
    const text = `${option.description}${fallback}`;
    if (option.value === undefined) command.option(flagOf(key), text);
    else if (option.list || option.pairs)
      command.option(`${flagOf(key)} <${option.value}>`, text, (value: string, before: string[] = []) => [...before, value]);
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
    const value = found.raw === undefined ? found.value : coerce(option, found.raw);
    const wrong = firstError(option.schema, value);
    if (wrong !== undefined) mistakes.push(`${found.source}: ${found.source.startsWith('-') ? '' : `${key}: `}${wrong}`);
    values[key] = value;
  }
  if (mistakes.length > 0) {
    const noun = mistakes.length === 1 ? 'one mistake' : `${mistakes.length} mistakes`;
    throw new OperationalFailure(
      `${noun} in the configuration:\n${mistakes.map((m) => `  ${m}`).join('\n')}\nSee ${program} --help.`,
      EXIT.configuration,
    );
  }
  return { values: values as OptionValues<D>, sources: origin, file: file?.path };
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
  for (const error of document.errors) mistakes.push(`${path}:${line(error.pos[0])}: ${error.message}`);
  if (document.errors.length > 0) return undefined;
  const root = document.toJS() as unknown;
  if (root === null || root === undefined) return { path, document, line, root: {} };
  if (typeof root !== 'object' || Array.isArray(root)) {
    mistakes.push(`${path}:1: the file must hold "option: value" lines`);
    return undefined;
  }
  return { path, document, line, root: root as Record<string, unknown> };
}

function keyLine(file: OptionFile, key: string): number {
  const contents = file.document.contents;
  if (!isMap(contents)) return 1;
  const pair = contents.items.find((item) => isScalar(item.key) && item.key.value === key);
  return file.line(pair && isScalar(pair.key) ? pair.key.range?.[0] : undefined);
}

function reportUnknownKeys(file: OptionFile, declarations: OptionDeclarations, mistakes: string[]): void {
  for (const key of Object.keys(file.root)) {
    if (Object.hasOwn(declarations, key)) continue;
    const near = Object.keys(declarations).find((known) => known.toLowerCase() === key.replace(/[-_]/g, '').toLowerCase());
    mistakes.push(`${file.path}:${keyLine(file, key)}: ${key}: there is no such option${near ? `; did you mean ${near}?` : ''}`);
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
  const flag = option.flag === false ? undefined : (sources.flags[key] as string | string[] | true | undefined);
  if (flag !== undefined) {
    const texts = flag === true ? [] : Array.isArray(flag) ? flag : [flag];
    const refusal = texts.map((text) => option.refuseAsFlag?.(text)).find((sentence) => sentence !== undefined);
    return { source: flagOf(key), raw: flag, refusal };
  }
  for (const name of [environmentOf(key), ...(option.environment ?? [])]) {
    const text = sources.environment[name];
    if (text === undefined || text === '') continue;
    return { source: name, raw: option.list || option.pairs ? text.split(/[\s,]+/).filter(Boolean) : text };
  }
  if (file && Object.hasOwn(file.root, key)) return { source: `${file.path}:${keyLine(file, key)}`, value: file.root[key] };
  return undefined;
}

function coerce(option: OptionDeclaration, raw: string | readonly string[] | true): unknown {
  if (raw === true) return true;
  if (option.pairs) {
    const record: Record<string, string> = {};
    for (const text of typeof raw === 'string' ? [raw] : raw) {
      const at = text.indexOf('=');
      record[at < 0 ? text : text.slice(0, at)] = at < 0 ? '' : text.slice(at + 1);
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

function firstError(schema: TSchema, value: unknown): string | undefined {
  if (Value.Check(schema, value)) return undefined;
  const shown =
    typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? ` (got ${JSON.stringify(value)})` : '';
  const wanted = (schema as { wanted?: string }).wanted;
  if (wanted !== undefined) return `must be ${wanted}${shown}`;
  const [error] = Value.Errors(schema, value);
  const where = error?.instancePath ? `${error.instancePath.slice(1).replaceAll('/', '.')}: ` : '';
  return `${where}${error?.message ?? 'is not valid'}${shown}`;
}

/** The configuration as it is in force, for `config check`: secrets and passwords in URLs are left out. */
export function printOptions(declarations: OptionDeclarations, loaded: LoadedOptions<Record<string, unknown>>): string {
  const rows = Object.entries(declarations).map(([key, option]) => {
    const value = loaded.values[key];
    const text =
      value === undefined ? '(not set)' : option.secret ? '(secret)' : JSON.stringify(value).replace(/(:\/\/[^:/@"]*):[^@"]*@/g, '$1:***@');
    return [key, text, loaded.sources[key] ?? 'default'];
  });
  const width = (column: number): number => Math.max(...rows.map((row) => row[column]!.length));
  const [first, second] = [width(0), width(1)];
  return rows.map(([key, text, source]) => `${key!.padEnd(first)}  ${text!.padEnd(second)}  ${source!}`).join('\n');
}
