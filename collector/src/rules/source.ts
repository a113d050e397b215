/**
 * The rules in force, and how they are replaced. A configuration with mistakes changes nothing and is remembered, so
 * that it can be said for as long as it lies there; one that reads the same changes nothing either.
 */
import { OperationalFailure, EXIT, type Clock, type Log } from '@tidemark/service';
import { compileRules, type DeclaredRule, type RulesFragment } from './compile.ts';
import type { Layer } from './layers.ts';
import { LayeredRules, RuleInterner } from './rule-set.ts';
import type { RuleSet, RuleSource } from './rule.ts';

/** What of the configuration concerns rules, and where it stands. */
export interface RulesConfig extends RulesFragment {
  /** undefined when there is none. */
  readonly file: string | undefined;
  /** "collector.yaml:12" for a part of `rules` or `overrides`. */
  readonly placeOf: (key: string, path: readonly string[]) => string;
}

/** What a reload did to the rules, for the answer and the log. */
export interface RulesChange {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

export interface RulesState {
  readonly file: string | undefined;
  /** When the rules in force were read; milliseconds since 1970. */
  readonly loadedAt: number;
  /** The file as it lies there is not what is in force: its mistakes, each with its place. Undefined when it is. */
  readonly refused: { readonly at: number; readonly mistakes: string } | undefined;
}

export interface RuleSourceOptions {
  readonly config: RulesConfig;
  readonly clock: Pick<Clock, 'wallMs'>;
  readonly log: Pick<Log, 'info' | 'error'>;
}

export class RuleBook implements RuleSource {
  readonly #clock: Pick<Clock, 'wallMs'>;
  readonly #log: Pick<Log, 'info' | 'error'>;
  readonly #interner = new RuleInterner();
  readonly #listeners: ((rules: RuleSet) => void)[] = [];
  #current: LayeredRules;
  #declared: readonly DeclaredRule[];
  #state: RulesState;

  constructor({ config, clock, log }: RuleSourceOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#declared = declaredOf(config);
    this.#current = new LayeredRules(this.#declared, sourceOf(config), this.#interner);
    this.#state = { file: config.file, loadedAt: clock.wallMs(), refused: undefined };
  }

  get current(): LayeredRules {
    return this.#current;
  }

  state(): RulesState {
    return this.#state;
  }

  onChange(listener: (rules: RuleSet) => void): void {
    this.#listeners.push(listener);
  }

  /** Puts other rules in force. Throws an OperationalFailure, and changes nothing, when they have mistakes. */
  reload(config: RulesConfig): RulesChange {
    let declared: readonly DeclaredRule[];
    try {
      declared = declaredOf(config);
    } catch (error) {
      if (error instanceof OperationalFailure) this.refuse(error.message);
      throw error;
    }
    const change = difference(this.#declared, declared);
    const before = this.#current;
    this.#declared = declared;
    this.#current = new LayeredRules(declared, sourceOf(config), this.#interner);
    this.#state = { file: config.file, loadedAt: this.#clock.wallMs(), refused: undefined };
    if (change.added.length + change.changed.length + change.removed.length === 0) return change;
    this.#log.info({ ...change }, 'other rules are in force');
    for (const listener of this.#listeners) listener(this.#current);
    // Listeners have looked at the old ones by now; what only those had can go.
    this.#interner.keepOnly([...before.lists(), ...this.#current.lists()]);
    return change;
  }

  /** Remembers that the configuration was read again and has mistakes (also other ones than in its rules). */
  refuse(mistakes: string): void {
    this.#state = { ...this.#state, refused: { at: this.#clock.wallMs(), mistakes } };
    this.#log.error({ mistakes }, 'the configuration was read again and has mistakes: the rules stay as they are');
  }
}

/** Throws an OperationalFailure when the configuration's rules have mistakes. */
export function createRuleSource(options: RuleSourceOptions): RuleBook {
  return new RuleBook(options);
}

function sourceOf({ placeOf }: RulesConfig): (layer: Layer) => string {
  return ({ origin }) => (origin === undefined ? 'shipped' : placeOf(origin.key, [String(origin.index)]));
}

function declaredOf(config: RulesConfig): readonly DeclaredRule[] {
  const { declared, mistakes } = compileRules(config);
  if (mistakes.length === 0) return declared;
  const lines = mistakes.map(({ key, path, text }) => `  ${config.placeOf(key, path)}: ${key}: ${text}`);
  throw new OperationalFailure(`mistakes in the rules:\n${lines.join('\n')}`, EXIT.configuration);
}

/** By what the rules say, not by where: a comment or another order of the file is no change. */
function difference(before: readonly DeclaredRule[], after: readonly DeclaredRule[]): RulesChange {
  const texts = (declared: readonly DeclaredRule[]): Map<string, string> => new Map(declared.map((rule) => [rule.name, textOf(rule)]));
  const [old, now] = [texts(before), texts(after)];
  return {
    added: [...now.keys()].filter((name) => !old.has(name)),
    changed: [...now].filter(([name, text]) => old.has(name) && old.get(name) !== text).map(([name]) => name),
    removed: [...old.keys()].filter((name) => !now.has(name)),
  };
}

function textOf({ base, overrides }: DeclaredRule): string {
  return JSON.stringify([...base, ...overrides].map(({ selector, patch }) => [selector, sortedKeys(patch)]));
}

function sortedKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortedKeys);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sortedKeys(inner)]),
  );
}
