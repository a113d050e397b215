/** Rules, samples and a whole evaluator for tests, with as few words as a test needs; time stands still unless told. */
import type { Bound } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import { pino } from 'pino';
import type { NodeRecord } from '../fleet/node.ts';
import type { Incident } from '../incidents/entry.ts';
import type { IncidentBook } from '../incidents/book.ts';
import type { Recorder } from '../incidents/recorder.ts';
import { countingBytes, memoryRecorder } from '../incidents/testing.ts';
import { LiveView } from '../live/live-view.ts';
import { START, layoutOf, nodeOf, reportOf, seriesOf } from '../live/testing.ts';
import type { Level, Rule, RuleSet, RuleSource } from '../rules/rule.ts';
import type { AcceptedReport, BlockLayout } from '../stream/stream.ts';
import { Evaluator } from './evaluator.ts';
import type { AlertState } from './state.ts';
import { step, type Effect, type Input } from './step.ts';

export const MINUTE = 60_000;

export function levelOf(trigger: Bound, more: Partial<Level> = {}): Level {
  const trueForMs = more.trueForMs ?? 0;
  return { trigger, clear: null, trueForMs, ofLastMs: trueForMs, clearAfterMs: 0, ...more };
}

export function ruleOf(more: Partial<Rule> = {}): Rule {
  const rule = {
    name: 'load',
    title: 'Load',
    kind: 'threshold' as const,
    metric: 'load',
    observation: null,
    labels: {},
    unit: '',
    where: {},
    warning: null,
    critical: null,
    suppressedBy: [],
    annotations: {},
    runbook: null,
    ...more,
  };
  const { kind, metric, observation, labels, warning, critical } = rule;
  return { ...rule, digest: JSON.stringify([kind, metric, observation, labels, warning, critical]) };
}

/** Rules that are in force for every node, until others are. */
export class TestRules implements RuleSource {
  readonly #listeners: ((rules: RuleSet) => void)[] = [];
  current: RuleSet;

  constructor(rules: readonly Rule[]) {
    this.current = setOf(() => rules);
  }

  set(rules: readonly Rule[] | ((node: Pick<NodeRecord, 'name' | 'site' | 'tags'>) => readonly Rule[])): void {
    this.current = setOf(typeof rules === 'function' ? rules : () => rules);
    for (const listener of this.#listeners) listener(this.current);
  }

  onChange(listener: (rules: RuleSet) => void): void {
    this.#listeners.push(listener);
  }
}

function setOf(rulesFor: RuleSet['for']): RuleSet {
  return { for: rulesFor, views: () => [], explain: () => undefined };
}

/** One alert, stepped by hand. Times are in seconds since the start. */
export class Stepper {
  state: AlertState | undefined;
  readonly told: string[] = [];
  readonly effects: Effect[] = [];
  rule: Rule;
  readonly bridgeMs: number;

  constructor(rule: Rule, bridgeMs = 50_000) {
    this.rule = rule;
    this.bridgeMs = bridgeMs;
  }

  /** What it led to: "opened warning", "closed recovered", "level critical", "data gone", "data back". */
  input(input: Input, seconds = 0): string[] {
    const { state, effects } = step(this.rule, this.state, input, START + seconds * 1_000);
    this.state = state;
    this.effects.push(...effects);
    const texts = effects.map((effect) => {
      if (effect.kind === 'opened' || effect.kind === 'level') return `${effect.kind} ${effect.level}`;
      return effect.kind === 'data' ? `data ${effect.noData ? 'gone' : 'back'}` : `closed ${effect.reason}`;
    });
    this.told.push(...texts);
    return texts;
  }

  sample(seconds: number, value: number | string | boolean, live = true): string[] {
    return this.input({ kind: 'sample', at: START + seconds * 1_000, value, live, bridgeMs: this.bridgeMs });
  }

  /** One value from a time up to another, each 15 s. */
  run(from: number, to: number, value: number | string | boolean): string[] {
    const told: string[] = [];
    for (let seconds = from; seconds <= to; seconds += 15) told.push(...this.sample(seconds, value));
    return told;
  }
}

export const loadLayout = layoutOf('load', [seriesOf('load')]);

export interface SceneOptions {
  rules?: readonly Rule[];
  nodes?: readonly NodeRecord[];
  dataDir?: string;
  clock?: ManualClock;
  book?: IncidentBook;
  /** Counts on over a restart, so that ids stay unique. */
  random?: (size: number) => Uint8Array;
  told?: string[];
  /** The number of the last report. */
  sequence?: number;
}

/** An evaluator with everything around it in memory. */
export class Scene {
  readonly clock: ManualClock;
  readonly rules: TestRules;
  readonly nodes: NodeRecord[];
  readonly view: LiveView;
  readonly recorder: Recorder;
  readonly evaluator: Evaluator;
  /** What was recorded: "opened warning db1", by incident. */
  readonly told: string[];
  /** Entries of each call to record. */
  readonly calls: number[] = [];
  sequence: number;
  readonly #dataDir: string | undefined;
  readonly #random: (size: number) => Uint8Array;

  constructor({ rules = [], nodes = [nodeOf(1, 'db1')], dataDir, clock, book, random, told, sequence }: SceneOptions = {}) {
    this.told = told ?? [];
    this.sequence = sequence ?? 0;
    this.#dataDir = dataDir;
    this.#random = random ?? countingBytes();
    this.clock = clock ?? new ManualClock(START);
    this.rules = new TestRules(rules);
    this.nodes = [...nodes];
    this.view = new LiveView(this.clock);
    this.recorder = memoryRecorder(this.clock, book === undefined ? {} : { book });
    this.recorder.onRecorded((entries) => {
      this.calls.push(entries.length);
      for (const entry of entries) {
        if (entry.kind === 'opened') this.told.push(`opened ${entry.opening.level} ${entry.opening.rule} ${entry.opening.nodeName}`);
        else if (entry.kind === 'level') this.told.push(`level ${entry.level}`);
        else if (entry.kind === 'data') this.told.push(entry.noData ? 'data gone' : 'data back');
        else if (entry.kind === 'closed') this.told.push(`closed ${entry.reason}`);
      }
    });
    this.evaluator = new Evaluator({
      rules: this.rules,
      recorder: this.recorder,
      view: this.view,
      fleet: { all: () => this.nodes.filter(({ state }) => state !== 'retired'), byId: (id) => this.nodes.find((node) => node.id === id) },
      clock: this.clock,
      random: this.#random,
      log: pino({ level: 'silent' }),
      dataDir,
    });
  }

  get node(): NodeRecord {
    return this.nodes[0]!;
  }

  /** A report of now, through view and evaluator; resolves when what it led to is recorded. */
  async report(
    blocks: readonly (readonly [BlockLayout, readonly (number | null)[]])[],
    more: Partial<AcceptedReport> & { from?: NodeRecord; aheadMs?: number; lost?: number } = {},
  ): Promise<string[]> {
    const { from = this.node, aheadMs = 0, lost = 0, ...rest } = more;
    const before = this.told.length;
    const now = this.clock.wallMs();
    this.view.heard(from, { lostReports: lost }, 0 - aheadMs);
    const report = reportOf(from, ++this.sequence, blocks, { at: now, receivedAt: now, ...rest });
    this.view.accept(report);
    this.evaluator.accept(report);
    await settle();
    return this.told.slice(before);
  }

  load(value: number | null, more: Parameters<Scene['report']>[1] = {}): Promise<string[]> {
    return this.report([[loadLayout, [value]]], more);
  }

  /** Time passes, then a report comes. */
  async after(seconds: number, value: number | null): Promise<string[]> {
    this.clock.advance(seconds * 1_000);
    return this.load(value);
  }

  /** Time passes without reports, a tick each second. */
  async pass(seconds: number): Promise<string[]> {
    const before = this.told.length;
    for (let i = 0; i < seconds; i++) {
      this.clock.advance(1_000);
      this.evaluator.tick();
    }
    await settle();
    return this.told.slice(before);
  }

  /** The collector is started again on what is on its disk: the journal's book, and the snapshot as it is now. */
  async restarted(rules: readonly Rule[]): Promise<Scene> {
    const { clock, nodes, told, sequence } = this;
    const again = new Scene({
      rules,
      nodes,
      clock,
      told,
      sequence,
      book: this.recorder.book,
      random: this.#random,
      ...(this.#dataDir === undefined ? {} : { dataDir: this.#dataDir }),
    });
    await again.evaluator.open();
    return again;
  }

  open(): Incident[] {
    return [...this.recorder.book.incidents()].filter(({ closedAt }) => closedAt === null);
  }
}

/** Everything that was recorded takes effect. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await Promise.resolve();
}
