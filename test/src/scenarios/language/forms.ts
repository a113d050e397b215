/**
 * The forms that a line of a scenario can have: words that stand as they are, places for values, and parts that may be
 * left out. Whoever reads a line, and whoever lists what is allowed, reads the same forms.
 *
 *     write on <server:server> [at <rate:rate>]
 *
 * A place is <name:type>; the type is server, duration, size, rate, number, word, text (anything, in quotes where it has
 * blanks), or the words to choose from (<how:above|below>).
 */
import { nearest } from '@tidemark/service';
import { parseDuration, parseNumber, parseRate, parseSize } from './units.ts';

/** What stood in the places of a form. Asking for what a form does not have is a programmer's error. */
export class Values {
  readonly #values: ReadonlyMap<string, string | number>;

  constructor(values: ReadonlyMap<string, string | number>) {
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  text(name: string): string {
    const value = this.#values.get(name);
    if (typeof value !== 'string') throw new TypeError(`The form has no text ${name}`);
    return value;
  }

  /** Milliseconds, bytes, bytes a second or a plain number, by the place's type. */
  number(name: string): number {
    const value = this.#values.get(name);
    if (typeof value !== 'number') throw new TypeError(`The form has no number ${name}`);
    return value;
  }

  maybeText(name: string): string | undefined {
    return this.has(name) ? this.text(name) : undefined;
  }

  maybeNumber(name: string): number | undefined {
    return this.has(name) ? this.number(name) : undefined;
  }
}

export interface Form {
  readonly form: string;
}

/** What can be meant in a file: its servers, and those that a line before made. */
export interface Naming {
  readonly servers: ReadonlySet<string>;
}

type Part =
  | { kind: 'word'; word: string }
  | { kind: 'place'; name: string; type: string; choices: readonly string[] | undefined }
  | { kind: 'optional'; parts: readonly Part[] };

const parsed = new Map<string, readonly Part[]>();

/** Words, quoted texts without their quotes, and semicolons by themselves. "500 kB/s" is one word. */
export function tokensOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|;|\d+(?:\.\d+)?\s+(?:ms|s|min|h|B|kB|MB|GB)(?:\/s)?(?=[\s;]|$)|[^\s;]+/g)].map(
    (match) => match[1] ?? match[2] ?? match[0].replace(/\s+/, ''),
  );
}

/** Finds the form that the tokens have. Throws a sentence that says what is allowed when there is none. */
export function matchForm<F extends Form>(tokens: readonly string[], forms: readonly F[], naming: Naming): { form: F; values: Values } {
  let complaint: { at: number; text: string } | undefined;
  for (const form of forms) {
    const attempt = new Attempt(tokens, naming);
    const values = attempt.run(partsOf(form.form));
    if (values !== undefined) return { form, values: new Values(values) };
    const { at, text } = attempt.furthest;
    if (text !== '' && (complaint === undefined || at > complaint.at)) complaint = { at, text };
  }
  // A value that is wrong in a form that fits so far says more than a list.
  if (complaint !== undefined && complaint.at > 0) throw new Error(complaint.text);
  throw new Error(unknownForm(tokens, forms));
}

function unknownForm(tokens: readonly string[], forms: readonly Form[]): string {
  const [first = ''] = tokens;
  const written = tokens.join(' ');
  const alike = forms.filter(({ form }) => form.split(/\s+/)[0] === first);
  if (alike.length > 0) return `${JSON.stringify(written)} cannot be read. Allowed:${list(alike)}`;
  const meant = nearest(first, [...new Set(forms.map(({ form }) => form.split(/\s+/)[0]!))]);
  if (meant !== undefined) return `${JSON.stringify(first)} is not known; did you mean ${JSON.stringify(meant)}?`;
  return `${JSON.stringify(written)} cannot be read. Allowed:${list(forms)}`;
}

const list = (forms: readonly Form[]): string => forms.map(({ form }) => `\n      ${describeForm(form)}`).join('');

/** A form as people read it: places without their types, choices as they are. */
export function describeForm(form: string): string {
  return form.replace(/<(\w+):([^>]+)>/g, (_, name: string, type: string) => (type.includes('|') ? `(${type})` : `<${name}>`));
}

class Attempt {
  readonly #tokens: readonly string[];
  readonly #naming: Naming;
  /** The mistake furthest to the right. */
  readonly furthest = { at: -1, text: '' };

  constructor(tokens: readonly string[], naming: Naming) {
    this.#tokens = tokens;
    this.#naming = naming;
  }

  run(parts: readonly Part[]): ReadonlyMap<string, string | number> | undefined {
    return this.#from(parts, 0, new Map());
  }

  #from(
    parts: readonly Part[],
    at: number,
    values: ReadonlyMap<string, string | number>,
  ): ReadonlyMap<string, string | number> | undefined {
    const [part, ...rest] = parts;
    if (part === undefined) return at === this.#tokens.length ? values : undefined;
    if (part.kind === 'optional') {
      return this.#from([...part.parts, ...rest], at, values) ?? this.#from(rest, at, values);
    }
    const token = this.#tokens[at];
    if (token === undefined) return undefined;
    if (part.kind === 'word') return token === part.word ? this.#from(rest, at + 1, values) : undefined;
    try {
      return this.#from(rest, at + 1, new Map([...values, [part.name, this.#read(part, token)]]));
    } catch (error) {
      if (at > this.furthest.at) Object.assign(this.furthest, { at, text: (error as Error).message });
      return undefined;
    }
  }

  #read({ type, choices }: Extract<Part, { kind: 'place' }>, token: string): string | number {
    if (choices !== undefined) {
      if (!choices.includes(token)) throw new Error(`${JSON.stringify(token)} stands where one of these is meant: ${choices.join(', ')}`);
      return token;
    }
    switch (type) {
      case 'server':
        if (!this.#naming.servers.has(token))
          throw new Error(`${JSON.stringify(token)} is no server of this scenario; there are ${[...this.#naming.servers].join(', ')}`);
        return token;
      case 'duration':
        return parseDuration(token);
      case 'size':
        return parseSize(token);
      case 'rate':
        return parseRate(token);
      case 'number':
        return parseNumber(token);
      case 'word':
        if (!/^[\w.{}="*-]+$/.test(token)) throw new Error(`${JSON.stringify(token)} is not a name`);
        return token;
      case 'text':
        return token;
      default:
        throw new TypeError(`A form has a place of the unknown type ${type}`);
    }
  }
}

function partsOf(form: string): readonly Part[] {
  let parts = parsed.get(form);
  if (parts === undefined) {
    parts = readParts(form.match(/\[|\]|<[^>]+>|[^\s[\]]+/g) ?? []);
    parsed.set(form, parts);
  }
  return parts;
}

function readParts(pieces: string[]): Part[] {
  const parts: Part[] = [];
  for (let piece = pieces.shift(); piece !== undefined && piece !== ']'; piece = pieces.shift()) {
    const place = /^<(\w+):([^>]+)>$/.exec(piece);
    if (piece === '[') parts.push({ kind: 'optional', parts: readParts(pieces) });
    else if (place === null) parts.push({ kind: 'word', word: piece });
    else {
      const type = place[2]!;
      parts.push({ kind: 'place', name: place[1]!, type, choices: type.includes('|') ? type.split('|') : undefined });
    }
  }
  return parts;
}
