/**
 * Puts options into a YAML file that people also write in: what is given is changed, everything else stays with its
 * comments, and a file that would not be understood is never written.
 */
import { chmodSync, chownSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { isMap, parseDocument } from 'yaml';
import { EXIT, OperationalFailure } from './failure.ts';
import { writeFileAtomically } from './files.ts';
import { loadOptions, type OptionDeclarations } from './options.ts';

export interface OptionChange {
  option: string;
  /** What stood in the file; undefined for nothing. */
  before: unknown;
  after: unknown;
}

export interface MergedText {
  text: string;
  changed: OptionChange[];
}

/**
 * The text with these options in it. A record is merged key by key, a list replaced (what only grows keeps its items as they are written),
 * undefined removed.
 * Throws an OperationalFailure when the text is not "option: value" lines.
 */
export function mergeOptions(text: string, changes: Readonly<Record<string, unknown>>): MergedText {
  const document = parseDocument(text);
  const { contents } = document;
  if (document.errors.length > 0 || (contents !== null && !isMap(contents)))
    throw new OperationalFailure(
      `the file must hold "option: value" lines${document.errors[0] === undefined ? '' : `: ${document.errors[0].message}`}`,
      EXIT.configuration,
    );
  const present = (document.toJS() ?? {}) as Record<string, unknown>;
  const changed: OptionChange[] = [];
  for (const [option, wanted] of Object.entries(changes)) {
    const before = present[option];
    const after = isRecord(wanted) && isRecord(before) ? { ...before, ...wanted } : wanted;
    if (isDeepStrictEqual(before, after)) continue;
    changed.push({ option, before, after });
    if (after === undefined) document.delete(option);
    else if (isRecord(wanted) && isRecord(before)) for (const [key, value] of Object.entries(wanted)) document.setIn([option, key], value);
    else if (isLonger(before, after))
      for (const item of (after as unknown[]).slice(before.length)) document.addIn([option], document.createNode(item));
    else document.set(option, after);
  }
  // Written again only when something changed: the writer sets spaces in its own way.
  return { text: changed.length === 0 ? text : document.toString({ lineWidth: 0 }), changed };
}

export interface ConfigureFileOptions {
  file: string;
  /** What commander parsed; `config` in it is ignored. */
  flags: Readonly<Record<string, unknown>>;
  /** Of a file that has to be made; one that is there keeps its own, and its owner. */
  mode: number;
  /** Comment at the top of a file that has to be made. */
  header: string;
  /** Lists to which what is given is added, told apart by address; other lists are replaced. */
  grow?: readonly string[];
  /** Options to take out. */
  unset?: readonly string[];
  /** Values in the form they have in the file, beside those that flags can say. */
  set?: Readonly<Record<string, unknown>>;
}

/**
 * Changes the options given as flags in the file, which is made when it is missing, and says what changed.
 * Throws an OperationalFailure with every mistake, of the flags and of the file; nothing is written then.
 */
export function configureFile(
  program: string,
  declarations: OptionDeclarations,
  { file, flags, mode, header, grow = [], unset = [], set = {} }: ConfigureFileOptions,
): OptionChange[] {
  const isThere = existsSync(file);
  const given = Object.fromEntries(Object.entries(flags).filter(([key]) => key !== 'config' && Object.hasOwn(declarations, key)));
  const { values, sources } = loadOptions(program, declarations, {
    flags: isThere ? { ...given, config: file } : given,
    environment: {},
  });
  const old = isThere ? readFileSync(file, 'utf8') : header;
  const changes: Record<string, unknown> = Object.fromEntries(unset.map((key) => [key, undefined]));
  for (const key of Object.keys(given)) {
    if (!sources[key]?.startsWith('--')) continue;
    const value = (values as Record<string, unknown>)[key];
    changes[key] = value;
  }
  Object.assign(changes, set);
  for (const key of grow) if (Array.isArray(changes[key])) changes[key] = grown(old, key, changes[key] as unknown[]);
  const { text, changed } = mergeOptions(old, changes);
  if (changed.length === 0 && isThere) return [];
  // What the merge made is read back by the eyes that will read it later.
  proveReadable(program, declarations, file, text);
  if (isThere) replaceKeepingOwner(file, text);
  else writeFileAtomically(file, text, mode);
  return changed;
}

/** The list of an option with more in it: what has an address that is there already is not added again. */
function grown(text: string, option: string, more: readonly unknown[]): unknown[] {
  const present = ((parseDocument(text).toJS() ?? {}) as Record<string, unknown>)[option];
  const list: unknown[] = present === undefined || present === null ? [] : Array.isArray(present) ? [...(present as unknown[])] : [present];
  const addressOf = (item: unknown): unknown => (isRecord(item) ? item['url'] : item);
  for (const item of more) if (!list.some((known) => isDeepStrictEqual(addressOf(known), addressOf(item)))) list.push(item);
  return list;
}

function isLonger(before: unknown, after: unknown): before is unknown[] {
  return (
    Array.isArray(before) &&
    Array.isArray(after) &&
    after.length > before.length &&
    isDeepStrictEqual(before, after.slice(0, before.length))
  );
}

function proveReadable(program: string, declarations: OptionDeclarations, file: string, text: string): void {
  const trial = `${file}.${process.pid}.trial`;
  writeFileSync(trial, text, { mode: 0o600 });
  try {
    loadOptions(program, declarations, { flags: { config: trial }, environment: {} });
  } catch (error) {
    throw error instanceof OperationalFailure ? new OperationalFailure(error.message.replaceAll(trial, file), error.exitCode) : error;
  } finally {
    rmSync(trial, { force: true });
  }
}

/** Replaces a file's content as a whole; owner, group and mode stay. */
export function replaceKeepingOwner(file: string, text: string): void {
  const { uid, gid, mode } = statSync(file);
  const fresh = `${file}.${process.pid}.new`;
  writeFileAtomically(fresh, text, 0o600);
  try {
    const made = statSync(fresh);
    if (made.uid !== uid || made.gid !== gid) chownSync(fresh, uid, gid);
    chmodSync(fresh, mode & 0o7777);
    renameSync(fresh, file);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
