/**
 * Runs one scenario on fresh servers, line by line, and says what came of it. A scenario begins when every replica is
 * published as streaming; it ends with its last line or with the first that fails.
 */
import type { ReplicationEvent } from '@tidemark/protocol';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { waitUntil, type PostgresVersion } from '../postgres/cluster.ts';
import type { Condition, Judgement, Look } from './conditions/index.ts';
import type { Said, Scenario, Statement } from './language/scenario.ts';
import { lookAt } from './look.ts';
import { PeerWatch, type PeerSaid } from './peer/watch.ts';
import { PublishedLags, type TruthFigures, type WorstMoment } from './truth/figures.ts';
import type { Verb } from './verbs/index.ts';
import { hasProgram } from './verbs/servers.ts';
import type { Published, WatchedCollector } from './world/collector.ts';
import { World } from './world/world.ts';

/** Servers have come up and been heard by then, even on a busy machine. */
const BEGIN_TIMEOUT_MS = 45_000;
/** After the last line, for what must never be and for the truth of the last samples. */
const AFTERMATH_MS = 1_000;

export type AnyScenario = Scenario<Verb, Condition>;

export interface ScenarioResult {
  name: string;
  title: string;
  /** Of the design's list. */
  design: readonly number[];
  postgres: PostgresVersion;
  passed: boolean;
  /** Why it was not run. */
  skipped?: string;
  /** From the last thing done before the "detect" line to the moment that it was published. */
  detectedSeconds: number | null;
  /** What was done last before, what was expected, and what was published. */
  detected?: { after: string; expected: string; said: string };
  failure?: { line: number; text: string; why: string };
  /** From its beginning to its end. */
  seconds: number;
  truth: TruthFigures;
  /** What postgres_exporter said meanwhile. */
  peer?: PeerSaid;
  /** The moment at which the server that it is about was furthest behind in truth; null when it never was. */
  worst?: WorstMoment | null;
}

export interface RunOptions {
  scenario: AnyScenario;
  version: PostgresVersion;
  seed: number;
  collector: WatchedCollector;
  /** Asks an exporter as well. */
  compare: boolean;
  /** By how much longer than the file says may be waited for what has to come true, on a machine that has other things to do; 1 unless told. */
  patience?: number;
  /** Gives up: what was built is taken down, and the scenario has failed. */
  signal?: AbortSignal | undefined;
  /** A directory for everything that was published, as JSON lines. */
  trace?: string | undefined;
  progress: (text: string) => void;
}

/** Never rejects for what a scenario or its servers do: that is its failure. */
export async function runScenario(options: RunOptions): Promise<ScenarioResult> {
  const { scenario, version } = options;
  const result: ScenarioResult = {
    name: scenario.name,
    title: scenario.title,
    design: scenario.numbers,
    postgres: version,
    passed: false,
    detectedSeconds: null,
    seconds: 0,
    truth: { within: 0, outside: 0, idleWithin: 0, idleOutside: 0, undecided: 0, widthsSeconds: [], examples: [] },
  };
  const lacking = scenario.needs.find((program) => !hasProgram(program, version));
  if (lacking !== undefined) return { ...result, passed: true, skipped: `${lacking} of PostgreSQL ${version} is not here` };
  let world: World | undefined;
  try {
    options.progress('building');
    world = await World.build(options);
    await new Run(options, world, result).run();
  } catch (error) {
    result.passed = false;
    result.failure ??= { line: 0, text: 'the scenario itself', why: error instanceof Error ? error.message : String(error) };
  } finally {
    await world?.close();
  }
  options.progress(
    result.passed
      ? 'passed'
      : `FAILED: ${scenario.file}:${result.failure?.line ?? 0}: ${result.failure?.text}\n      ${result.failure?.why}`,
  );
  return result;
}

/** A line that did not come true. */
class LineFailure extends Error {}

class Run {
  readonly #options: RunOptions;
  readonly #world: World;
  readonly #result: ScenarioResult;
  readonly #lags: PublishedLags;
  readonly #nevers: Extract<Statement<Verb, Condition>, { kind: 'never' }>[] = [];
  #before = new Set<string>();
  #beganMs = 0;
  #lastDone = { at: 0, text: 'the beginning' };
  /** What must never be and was. */
  #broken: { statement: Statement<Verb, Condition>; why: string } | undefined;
  #judging: Promise<void> = Promise.resolve();

  constructor(options: RunOptions, world: World, result: ScenarioResult) {
    this.#options = options;
    this.#world = world;
    this.#result = result;
    this.#lags = new PublishedLags(world);
  }

  async run(): Promise<void> {
    const { scenario, collector, compare } = this.#options;
    const peer = compare ? await PeerWatch.start(this.#world, scenario.compare) : undefined;
    try {
      await this.#begin();
      const unsubscribe = collector.subscribe((published) => this.#watch(published));
      try {
        for (const statement of scenario.statements) await this.#perform(statement, peer);
        await pause(AFTERMATH_MS);
        await collector.next();
        await this.#judging;
        this.#checkNevers();
        this.#result.passed = true;
      } finally {
        unsubscribe();
      }
    } finally {
      this.#result.seconds = Math.round((performance.now() - this.#beganMs) / 100) / 10;
      this.#result.truth = this.#lags.figures(this.#beganMs);
      this.#result.worst = this.#lags.worst(scenario.compare, this.#beganMs, (at) => peer?.nearest(at) ?? null);
      if (peer !== undefined) this.#result.peer = await peer.stop();
    }
  }

  /** Resolves when everything is as it should be at first. */
  async #begin(): Promise<void> {
    const { scenario, collector } = this.#options;
    const replicas = scenario.servers.filter(({ from }) => from !== undefined).map(({ name }) => name);
    let states = '';
    try {
      const published = await waitUntil(
        async () => {
          const next = await collector.next();
          const look = lookAt(this.#world, next, () => true);
          states = this.#world.letters.map((letter) => `${letter} ${look.instance(letter)?.state ?? 'unknown'}`).join(', ');
          return replicas.every((letter) => look.instance(letter)?.state === 'streaming') && next;
        },
        { timeoutMs: BEGIN_TIMEOUT_MS, what: 'every replica to be published as streaming' },
      );
      this.#before = new Set(lookAt(this.#world, published, () => true).events.map(({ id }) => id));
    } catch (error) {
      throw new Error(`A scenario begins when every replica is published as streaming; published is ${states}`, { cause: error });
    }
    this.#beganMs = performance.now();
    this.#lastDone = { at: this.#beganMs, text: 'the beginning' };
  }

  #look(published: Published): Look {
    return lookAt(this.#world, published, ({ id }: ReplicationEvent) => !this.#before.has(id));
  }

  #watch(published: Published): void {
    const look = this.#look(published);
    this.#lags.take(look.cluster);
    this.#trace(look);
    this.#judging = this.#judging.then(async () => {
      for (const statement of this.#nevers) {
        const judged = await Promise.all(statement.conditions.map((condition) => judgeOne(condition, look)));
        if (judged.every(({ holds }) => holds)) this.#broken ??= { statement, why: judged.map(({ seen }) => seen).join('; ') };
      }
    });
  }

  #trace({ cluster, alerts }: Look): void {
    const { trace, scenario, version } = this.#options;
    if (trace === undefined) return;
    const seconds = Math.round(performance.now() - this.#beganMs) / 1000;
    const line = this.#world.inLetters(JSON.stringify({ seconds, wall: new Date().toISOString(), cluster, alerts }));
    appendFileSync(join(trace, `${scenario.name}-${version}.jsonl`), `${line}\n`);
  }

  async #perform(statement: Statement<Verb, Condition>, peer: PeerWatch | undefined): Promise<void> {
    try {
      this.#options.signal?.throwIfAborted();
      this.#checkNevers();
      switch (statement.kind) {
        case 'do':
          await this.#do(statement);
          break;
        case 'never':
          this.#nevers.push(statement);
          break;
        case 'hold':
          await this.#hold(statement);
          break;
        case 'expect':
        case 'detect': {
          const said = await this.#expect(statement);
          if (statement.kind === 'expect') break;
          this.#result.detectedSeconds = Math.round((performance.now() - this.#lastDone.at) / 100) / 10;
          this.#result.detected = {
            after: this.#lastDone.text,
            expected: statement.conditions.map(({ text }) => text).join('; '),
            said: this.#world.inLetters(said),
          };
          peer?.mark();
          break;
        }
      }
    } catch (error) {
      this.#result.failure ??= {
        line: statement.line,
        text: statement.text,
        why: this.#world.inLetters(error instanceof Error ? error.message : String(error)),
      };
      throw error;
    }
  }

  #checkNevers(): void {
    if (this.#broken === undefined) return;
    const { statement, why } = this.#broken;
    this.#result.failure ??= { line: statement.line, text: statement.text, why: this.#world.inLetters(why) };
    throw new LineFailure(why);
  }

  async #do({ atMs, verb, text }: Extract<Statement<Verb, Condition>, { kind: 'do' }>): Promise<void> {
    if (atMs !== undefined) await pause(Math.max(0, this.#beganMs + atMs - performance.now()), undefined, { signal: this.#options.signal });
    this.#options.progress(text);
    this.#lastDone = { at: performance.now(), text: verb.text };
    await verb.form.run(this.#world, verb.values);
  }

  /** Resolves with what was published when it came true. */
  async #expect({ withinMs, conditions, text }: Extract<Statement<Verb, Condition>, { kind: 'expect' | 'detect' }>): Promise<string> {
    const deadline = performance.now() + withinMs * (this.#options.patience ?? 1);
    for (;;) {
      this.#options.signal?.throwIfAborted();
      const look = this.#look(await this.#options.collector.next());
      const judged = await Promise.all(conditions.map((condition) => judgeOne(condition, look)));
      const seen = [...new Set(judged.map((judgement) => judgement.seen))].join('; ');
      if (judged.every(({ holds }) => holds)) {
        this.#options.progress(`${text}  ✓ ${this.#world.inLetters(seen)}`);
        return seen;
      }
      this.#checkNevers();
      if (performance.now() > deadline)
        throw new LineFailure(
          judged
            .filter(({ holds }) => !holds)
            .map((judgement) => judgement.seen)
            .join('; '),
        );
    }
  }

  async #hold({ forMs, conditions, text }: Extract<Statement<Verb, Condition>, { kind: 'hold' }>): Promise<void> {
    this.#options.progress(text);
    const until = performance.now() + forMs;
    while (performance.now() < until) {
      this.#options.signal?.throwIfAborted();
      const look = this.#look(await this.#options.collector.next());
      const judged = await Promise.all(conditions.map((condition) => judgeOne(condition, look)));
      const wrong = judged.filter(({ holds }) => !holds);
      if (wrong.length > 0)
        throw new LineFailure(
          `${Math.round((until - performance.now()) / 100) / 10} s before its end: ${wrong.map(({ seen }) => seen).join('; ')}`,
        );
      this.#checkNevers();
    }
  }
}

async function judgeOne({ form, values }: Said<Condition>, look: Look): Promise<Judgement> {
  try {
    return await form.test(look, values);
  } catch (error) {
    return { holds: false, seen: error instanceof Error ? error.message : String(error) };
  }
}
