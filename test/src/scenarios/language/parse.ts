/**
 * Reads a scenario file. Every mistake is reported at once, each as file:line with what is allowed there; what is read is
 * whole, so that nothing is found wrong while servers are already running.
 */
import { basename } from 'node:path';
import { matchForm, tokensOf, type Form, type Naming } from './forms.ts';
import { VERSIONS, type Said, type Scenario, type ServerPlan, type Statement } from './scenario.ts';
import { parseDuration } from './units.ts';

/** What the file's lines may say. */
export interface Vocabulary<V extends Form, C extends Form> {
  readonly verbs: readonly (V & { readonly makes?: string })[];
  readonly conditions: readonly C[];
}

const DEFAULT_SERVERS = 'A, B from A slot b, C from B slot c, D from A';
const DEFAULT_INTERVAL_MS = 2_000;
const HEADERS = ['design', 'versions', 'servers', 'settings', 'interval', 'needs', 'compare', 'unscaled'] as const;
const STATEMENTS =
  'at <time> VERB, then VERB, expect within <time> CONDITION, detect within <time> CONDITION, hold for <time> CONDITION, never CONDITION';

/** Reads the text of `file`. Throws an Error with one line for every mistake. */
export function parseScenario<V extends Form, C extends Form>(file: string, text: string, vocabulary: Vocabulary<V, C>): Scenario<V, C> {
  return new Reader(file, vocabulary).read(text);
}

class Reader<V extends Form, C extends Form> {
  readonly #file: string;
  readonly #vocabulary: Vocabulary<V, C>;
  readonly #mistakes: string[] = [];
  readonly #statements: Statement<V, C>[] = [];
  #title = '';
  #numbers: number[] = [];
  #versions = [...VERSIONS];
  #servers: Omit<ServerPlan, 'settings'>[] = [];
  #settings: { of: string; settings: Record<string, string> }[] = [];
  #intervalMs = DEFAULT_INTERVAL_MS;
  #needs: string[] = [];
  #compare: string | undefined;
  #unscaled = false;
  /** Names that lines may use so far. */
  #naming: Naming & { servers: Set<string> } = { servers: new Set() };

  constructor(file: string, vocabulary: Vocabulary<V, C>) {
    this.#file = file;
    this.#vocabulary = vocabulary;
  }

  read(text: string): Scenario<V, C> {
    this.#setServers(DEFAULT_SERVERS);
    text.split(/\r?\n/).forEach((line, index) => {
      try {
        this.#line(line.trim(), index + 1);
      } catch (error) {
        this.#mistakes.push(`${this.#file}:${index + 1}: ${(error as Error).message}`);
      }
    });
    this.#whole();
    if (this.#mistakes.length > 0) throw new Error(this.#mistakes.join('\n'));
    const settingsOf = (name: string): Record<string, string> =>
      Object.assign({}, ...this.#settings.filter(({ of }) => of === 'all' || of === name).map(({ settings }) => settings)) as Record<
        string,
        string
      >;
    return {
      name: basename(this.#file).replace(/\.scenario$/, ''),
      file: this.#file,
      title: this.#title,
      numbers: this.#numbers,
      versions: this.#versions,
      servers: this.#servers.map((server) => ({ ...server, settings: settingsOf(server.name) })),
      intervalMs: this.#intervalMs,
      needs: this.#needs,
      compare: this.#compare ?? this.#servers[1]?.name ?? this.#servers[0]!.name,
      unscaled: this.#unscaled,
      statements: this.#statements,
    };
  }

  #whole(): void {
    const wrong = (text: string): void => void this.#mistakes.push(`${this.#file}:1: ${text}`);
    if (this.#title === '') wrong('The first line is a comment that says what happens: # Replay paused on B while A writes');
    if (this.#statements.length === 0 && this.#mistakes.length === 0) wrong('Nothing is done and nothing expected here');
    if (this.#statements.filter(({ kind }) => kind === 'detect').length > 1)
      wrong('One line at most begins with "detect": the one whose seconds are reported');
    for (const { of } of this.#settings)
      if (of !== 'all' && !this.#naming.servers.has(of)) wrong(`"settings of ${of}": there is no server ${of}`);
    if (this.#compare !== undefined && !this.#naming.servers.has(this.#compare))
      wrong(`"compare: ${this.#compare}": there is no such server`);
  }

  #line(line: string, number: number): void {
    if (line.startsWith('#')) {
      if (this.#title === '') this.#title = line.replace(/^#+\s*/, '');
      return;
    }
    if (line === '') return;
    const header = /^([a-z]+)(?: of (\w+))?:\s*(.*)$/.exec(line);
    if (header !== null && (HEADERS as readonly string[]).includes(header[1]!)) {
      if (this.#statements.length > 0) throw new Error(`"${header[1]}:" has to stand before what is done and expected`);
      this.#header(header[1] as (typeof HEADERS)[number], header[2], header[3]!);
      return;
    }
    const tokens = tokensOf(line);
    const at = { line: number, text: line };
    switch (tokens[0]) {
      case 'at':
        this.#statements.push({ kind: 'do', ...at, atMs: duration(tokens[1]), verb: this.#verb(tokens.slice(2)) });
        break;
      case 'then':
        this.#statements.push({ kind: 'do', ...at, atMs: undefined, verb: this.#verb(tokens.slice(1)) });
        break;
      case 'expect':
      case 'detect':
        if (tokens[1] !== 'within')
          throw new Error(`"${tokens[0]}" goes on with "within <time>": ${tokens[0]} within 10s state of B is paused`);
        this.#statements.push({ kind: tokens[0], ...at, withinMs: duration(tokens[2]), conditions: this.#conditions(tokens.slice(3)) });
        break;
      case 'hold':
        if (tokens[1] !== 'for') throw new Error('"hold" goes on with "for <time>": hold for 10s lag of B is below 1s');
        this.#statements.push({ kind: 'hold', ...at, forMs: duration(tokens[2]), conditions: this.#conditions(tokens.slice(3)) });
        break;
      case 'never':
        this.#statements.push({ kind: 'never', ...at, conditions: this.#conditions(tokens.slice(1)) });
        break;
      default:
        throw new Error(
          header === null ? `A line begins with one of: ${STATEMENTS}` : `"${header[1]}:" is not known; there are ${HEADERS.join(', ')}`,
        );
    }
  }

  #verb(tokens: string[]): Said<V> {
    const { form, values } = matchForm(tokens, this.#vocabulary.verbs, this.#naming);
    if (form.makes !== undefined) this.#naming.servers.add(values.text(form.makes));
    return { form, values, text: tokens.join(' ') };
  }

  /** Conditions are parted by `;` and by `and`. */
  #conditions(tokens: string[]): Said<C>[] {
    const groups: string[][] = [[]];
    for (const token of tokens) {
      if (token === ';' || token === 'and') groups.push([]);
      else groups.at(-1)!.push(token);
    }
    // `expect within 10s …; never …` on one line would hide half of what is meant.
    return groups
      .filter((group, index) => group.length > 0 || index === 0)
      .map((group) => {
        if (group.length === 0) throw new Error('A condition is missing');
        const { form, values } = matchForm(group, this.#vocabulary.conditions, this.#naming);
        return { form, values, text: group.join(' ') };
      });
  }

  #header(key: (typeof HEADERS)[number], of: string | undefined, value: string): void {
    const words = value.split(/[\s,]+/).filter((word) => word !== '');
    if (of !== undefined && key !== 'settings') throw new Error(`"${key} of ${of}:" is not known; only settings are of a server`);
    switch (key) {
      case 'design':
        this.#numbers = words.map(Number);
        if (this.#numbers.some((number) => !Number.isInteger(number)))
          throw new Error('"design:" takes numbers of the design\'s list: design: 2');
        break;
      case 'versions':
        this.#versions = VERSIONS.filter((version) => words.includes(String(version)));
        if (this.#versions.length !== words.length) throw new Error(`"versions:" takes some of ${VERSIONS.join(' ')}`);
        break;
      case 'servers':
        this.#setServers(value);
        break;
      case 'settings':
        this.#settings.push({ of: of ?? 'all', settings: readSettings(value) });
        break;
      case 'interval':
        this.#intervalMs = parseDuration(value);
        break;
      case 'needs':
        if (words.some((word) => word !== 'pg_rewind')) throw new Error('"needs:" knows pg_rewind');
        this.#needs = words;
        break;
      case 'compare':
        this.#compare = value;
        break;
      case 'unscaled':
        this.#unscaled = value === 'yes';
        break;
    }
  }

  #setServers(text: string): void {
    this.#servers = text.split(',').map((part) => {
      const match = /^\s*([A-Z])(?:\s+from\s+([A-Z])(?:\s+slot\s+([a-z_][a-z0-9_]*))?)?\s*$/.exec(part);
      if (match === null)
        throw new Error(`${JSON.stringify(part.trim())} is no server; they are written like this: servers: ${DEFAULT_SERVERS}`);
      return { name: match[1]!, from: match[2], slot: match[3] };
    });
    const known = new Set<string>();
    for (const { name, from } of this.#servers) {
      if (known.has(name)) throw new Error(`There are two servers ${name}`);
      if (from !== undefined && !known.has(from)) throw new Error(`${name} is from ${from}, which has to stand before it`);
      if ((from === undefined) !== (known.size === 0))
        throw new Error('The first server is the primary, and all others are from one before');
      known.add(name);
    }
    this.#naming = { servers: known };
  }
}

function duration(token: string | undefined): number {
  if (token === undefined) throw new Error('A time is missing (2s, 500ms, 1min)');
  return parseDuration(token);
}

/** name=value, with quotes where the value has blanks. */
function readSettings(text: string): Record<string, string> {
  const settings: Record<string, string> = {};
  const rest = text.replace(/([a-z_]+)=(?:'([^']*)'|(\S+))/g, (_, name: string, quoted: string | undefined, bare: string | undefined) => {
    settings[name] = quoted ?? bare ?? '';
    return '';
  });
  if (rest.trim() !== '' || Object.keys(settings).length === 0)
    throw new Error(`Settings are written name=value or name='two words'; ${JSON.stringify(rest.trim())} is not`);
  return settings;
}
