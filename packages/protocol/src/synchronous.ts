/**
 * Reads synchronous_standby_names as PostgreSQL's own grammar does (syncrep_gram.y, syncrep_scanner.l), so that agent
 * and collector agree with the server on how many standbys a commit waits for, and on which.
 */
export interface SynchronousStandbys {
  /** `first`: by the order of the names; `any`: a quorum of them. */
  readonly method: 'first' | 'any';
  /** Standbys that a commit waits for. May be more than there are names: then every commit waits for ever. */
  readonly required: number;
  /** Application names, unquoted; "*" is any. PostgreSQL compares them without regard to case. */
  readonly names: readonly string[];
}

type Token =
  | { readonly kind: 'number' | 'name'; readonly text: string }
  | { readonly kind: 'any' | 'first' | '(' | ')' | ','; readonly text: string };

const TOKEN =
  /[ \t\n\r\f\v]*(?:(?<number>[0-9]+)|(?<word>[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*)|"(?<quoted>(?:[^"]|"")*)"|(?<sign>[*,()]))/gy;
const TRAILING_SPACE = /[ \t\n\r\f\v]*$/y;

/** Undefined when no standby is synchronous (nothing is set), and for a text that the server would refuse. */
export function parseSynchronousStandbyNames(text: string): SynchronousStandbys | undefined {
  const tokens = tokensOf(text);
  if (tokens === undefined) return undefined;
  const [first, second, third] = tokens;
  const last = tokens.at(-1);
  if ((first?.kind === 'any' || first?.kind === 'first') && second?.kind === 'number' && third?.kind === '(' && last?.kind === ')')
    return standbys(first.kind, second.text, tokens.slice(3, -1));
  if (first?.kind === 'number' && second?.kind === '(' && last?.kind === ')') return standbys('first', first.text, tokens.slice(2, -1));
  return standbys('first', '1', tokens);
}

function standbys(method: 'first' | 'any', required: string, list: readonly Token[]): SynchronousStandbys | undefined {
  const names: string[] = [];
  // Names and commas take turns, and a name is at either end.
  if (list.length % 2 === 0) return undefined;
  for (const [i, { kind, text }] of list.entries()) {
    if (i % 2 === 1 ? kind !== ',' : kind !== 'name' && kind !== 'number') return undefined;
    if (i % 2 === 0) names.push(text);
  }
  return Number(required) > 0 ? { method, required: Number(required), names } : undefined;
}

function tokensOf(text: string): Token[] | undefined {
  const tokens: Token[] = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    at = match.index + match[0].length;
    const { number, word, quoted, sign } = match.groups!;
    if (number !== undefined) tokens.push({ kind: 'number', text: number });
    else if (quoted !== undefined) tokens.push({ kind: 'name', text: quoted.replaceAll('""', '"') });
    else if (word !== undefined) tokens.push(wordToken(word));
    else if (sign === '*') tokens.push({ kind: 'name', text: '*' });
    else tokens.push({ kind: sign as '(' | ')' | ',', text: sign! });
  }
  TRAILING_SPACE.lastIndex = at;
  return TRAILING_SPACE.test(text) ? tokens : undefined;
}

function wordToken(word: string): Token {
  const lower = word.toLowerCase();
  return lower === 'any' || lower === 'first' ? { kind: lower, text: word } : { kind: 'name', text: word };
}
