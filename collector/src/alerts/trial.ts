/** A scene that is driven through whatever can happen, for tests: every entry it records is held against what was promised. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Entry } from '../incidents/entry.ts';
import type { Rule } from '../rules/rule.ts';
import { MINUTE, Scene, levelOf, ruleOf, settle } from './testing.ts';

/** What can happen. `seconds` pass before it. */
export type Action =
  | { kind: 'sample'; seconds: number; value: number | null }
  | { kind: 'late'; ago: number; count: number; value: number }
  | { kind: 'silence'; seconds: number }
  | { kind: 'edit'; rules: number }
  | { kind: 'retire' }
  | { kind: 'restart'; seconds: number; loses: boolean }
  | { kind: 'clock'; hours: number };

const FOR_MS = 2 * MINUTE;
const LOAD = ruleOf({
  warning: levelOf({ above: 60 }, { clear: 50, trueForMs: FOR_MS, ofLastMs: 4 * MINUTE, clearAfterMs: MINUTE }),
  critical: levelOf({ above: 80 }, { clear: 70, trueForMs: FOR_MS, clearAfterMs: MINUTE }),
});
const SILENT = ruleOf({
  name: 'node-silent',
  kind: 'absent',
  metric: null,
  critical: levelOf({ missing: true }, { trueForMs: MINUTE, clearAfterMs: 10_000 }),
});
export const RULE_SETS: readonly (readonly Rule[])[] = [
  [LOAD, SILENT],
  [ruleOf({ ...LOAD, warning: levelOf({ above: 75 }, { trueForMs: FOR_MS }) }), SILENT],
  [ruleOf({ ...LOAD, critical: null }), SILENT],
  [SILENT],
];

/** Drives a scene through actions and looks at every entry that is recorded. */
export class Trial {
  scene: Scene;
  readonly entries: Entry[] = [];
  #rules = 0;
  /** For how long on a clock that nobody sets; when a value beyond was first seen since none was. */
  #badSinceMs: number | undefined;
  #lastAction = '';
  readonly #open = new Map<string, string>();

  constructor(dataDir: string) {
    this.scene = new Scene({ rules: RULE_SETS[0]!, dataDir });
    this.#listen();
  }

  async act(action: Action): Promise<void> {
    const { clock } = this.scene;
    this.#lastAction = action.kind;
    switch (action.kind) {
      case 'sample': {
        await this.scene.pass(action.seconds);
        this.#lastAction = action.value === null ? 'nothing measured' : 'sample';
        if (action.value !== null && action.value > 60) this.#badSinceMs ??= clock.monotonicMs();
        await this.scene.load(action.value);
        return;
      }
      case 'late':
        if (action.value > 60)
          this.#badSinceMs = Math.min(this.#badSinceMs ?? Number.POSITIVE_INFINITY, clock.monotonicMs() - action.ago * 1_000);
        for (let i = 0; i < action.count; i++) {
          const at = clock.wallMs() - (action.ago - i * 15) * 1_000;
          if (at < clock.wallMs()) await this.scene.load(action.value, { live: false, at });
        }
        return;
      case 'silence':
        await this.scene.pass(action.seconds);
        return;
      case 'edit':
        this.#rules = action.rules;
        this.scene.rules.set(RULE_SETS[action.rules]!);
        return settle();
      case 'retire':
        this.scene.node.state = 'retired';
        await this.scene.pass(1);
        promised(this.scene.open().length === 0, 'nothing stays open');
        this.scene.node.state = 'approved';
        return;
      case 'restart':
        return this.restart(action);
      case 'clock':
        clock.setWall(clock.wallMs() + action.hours * 3_600_000);
        return;
    }
  }

  /** `loses`: killed, and the snapshot is as old as it may be. */
  async restart({ seconds, loses }: { seconds: number; loses: boolean }): Promise<void> {
    if (!loses) await this.scene.evaluator.stop();
    this.scene.clock.advance(seconds * 1_000);
    this.scene = await this.scene.restarted(RULE_SETS[this.#rules]!);
    this.#listen();
  }

  #listen(): void {
    this.scene.recorder.onRecorded((entries) => entries.forEach((entry) => this.#check(entry)));
  }

  #check(entry: Entry): void {
    this.entries.push(entry);
    switch (entry.kind) {
      case 'opened': {
        const { incidentId, rule } = entry.opening;
        promised(![...this.#open.values()].includes(rule), 'what is open does not open');
        this.#open.set(incidentId, rule);
        // Nothing opens but by a sample, or, of silence, by time; and not before it was true for so long.
        promised(this.#lastAction === 'sample' || rule === 'node-silent', 'a value opens it');
        promised(rule !== 'load' || this.scene.clock.monotonicMs() - this.#badSinceMs! >= FOR_MS, 'it was true for so long');
        return;
      }
      case 'level':
      case 'data':
        promised(this.#open.has(entry.incidentId), 'what happens to an alert happens while it is open');
        return;
      case 'closed': {
        const rule = this.#open.get(entry.incidentId);
        promised(rule !== undefined, 'what closes was open');
        this.#open.delete(entry.incidentId);
        // Missing data ends nothing: what recovered was measured, or heard.
        promised(entry.reason !== 'recovered' || rule !== 'load' || this.#lastAction === 'sample', 'missing data ends nothing');
        promised(!entry.reason.startsWith('rule_') || ['edit', 'sample', 'silence'].includes(this.#lastAction), 'an edit ends it');
        promised(entry.reason !== 'gone', 'nothing was said to be gone');
        promised((entry.reason === 'retired') === (this.#lastAction === 'retire'), 'retiring ends it');
        return;
      }
      default:
        throw new Error(`an evaluator does not record ${entry.kind}`);
    }
  }

  /** Everything is well for long enough: nothing stays open, nothing is remembered. */
  async end(): Promise<void> {
    for (let i = 0; i < 60; i++) await this.act({ kind: 'sample', seconds: 15, value: 10 });
    await this.scene.pass(15);
    promised(this.scene.open().length === 0, 'nothing stays open');
    promised(this.scene.evaluator.counts.remembered === 0, 'nothing is remembered of what is calm');
    await this.scene.evaluator.stop();
  }

  static async run(actions: readonly Action[]): Promise<Trial> {
    const directory = mkdtempSync(join(tmpdir(), 'tidemark-model-'));
    try {
      const trial = new Trial(directory);
      for (const action of actions) await trial.act(action);
      await trial.end();
      return trial;
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

function promised(isKept: boolean, promise: string): void {
  if (!isKept) throw new Error(`a promise was broken: ${promise}`);
}
