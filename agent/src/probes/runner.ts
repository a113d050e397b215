/**
 * Runs the probes: all that are due at once, each within its time, each stamped with duration and
 * success. A probe that throws or hangs harms no other: what it recorded is left out, and while it still
 * hangs it is not started again.
 */
import type { Layout, Observation, WireValue } from '@tidemark/protocol';
import type { Clock, Log } from '@tidemark/service';
import { sentenceOf } from '@tidemark/service';
import { noData, type Probe, type ProbeContext } from './probe.ts';
import { BlockRecorder, metric, type RecordedBlock } from './recorder.ts';

const PROBE_TIMEOUT_MS = 5_000;
/** Timers may fire a little early; a probe due within this is due now. */
const EARLY_MS = 250;
/** A probe that runs once a day and fails is not left for a day. */
const RETRY_MS = 300_000;
/** What a probe may take to let go of its connections when the agent stops. */
const CLOSE_TIMEOUT_MS = 2_000;

const durationSeconds = metric('tidemark_probe_duration_seconds', 'gauge', 'seconds', 'How long the probe took at its last run.', [
  'probe',
]);
const success = metric(
  'tidemark_probe_success',
  'gauge',
  '',
  "1 when the probe's last run succeeded or found nothing of its kind here, 0 when it failed or hung.",
  ['probe'],
);

export interface Collection {
  blocks: RecordedBlock[];
  observations: Observation[];
}

export interface ProbeState {
  name: string;
  success: boolean;
  durationMs: number;
  /** Why it failed, for people. */
  trouble: string | undefined;
  lastRunAt: number | undefined;
}

interface Runnable {
  readonly probe: Probe;
  recorders: Map<string, BlockRecorder>;
  readonly state: ProbeState;
  startedMs: number;
  /** The run whose promise has not settled, be it in time or long after its time was up. */
  running: Run | undefined;
}

export class ProbeRunner {
  readonly #runnables: Runnable[];
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #own = new BlockRecorder('agent', '');
  #turn: Promise<unknown> = Promise.resolve();

  constructor(probes: readonly Probe[], clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
    this.#runnables = probes.map((probe) => ({
      probe,
      recorders: new Map(),
      state: { name: probe.name, success: true, durationMs: 0, trouble: undefined, lastRunAt: undefined },
      startedMs: Number.NEGATIVE_INFINITY,
      running: undefined,
    }));
  }

  /**
   * One collection. Takes as long as the slowest probe that is due, and never longer than its timeout.
   * Collections asked for at the same time follow each other: two at once would see each probe busy.
   * `takenMs`: the report's moment on the monotonic clock; now unless told.
   */
  collect(takenMs?: number): Promise<Collection> {
    const collected = this.#turn.then(() => this.#collect(takenMs ?? this.#clock.monotonicMs()));
    this.#turn = collected.catch(() => undefined);
    return collected;
  }

  states(): readonly ProbeState[] {
    return this.#runnables.map((r) => r.state);
  }

  /** Lets every probe let go, each within two seconds; one that cannot is left behind. */
  async close(): Promise<void> {
    await Promise.all(
      this.#runnables.map(async ({ probe, state }) => {
        const closed = (async () => probe.close?.())().then(
          () => 'closed',
          (error: unknown) => this.#log.warn({ probe: state.name, trouble: sentenceOf(error) }, 'probe could not be closed'),
        );
        await withinMs(closed, CLOSE_TIMEOUT_MS);
      }),
    );
  }

  async #collect(takenMs: number): Promise<Collection> {
    const collection: Collection = { blocks: [], observations: [] };
    const now = this.#clock.monotonicMs();
    const slow: Promise<void>[] = [];
    for (const runnable of this.#runnables) {
      if (now - runnable.startedMs < periodMs(runnable) - EARLY_MS) continue;
      const pending = this.#start(runnable, collection, takenMs);
      if (pending !== undefined) slow.push(pending);
    }
    await Promise.all(slow);
    for (const { state } of this.#runnables) {
      this.#own.add(durationSeconds, state.durationMs / 1000, state.name);
      this.#own.add(success, state.success ? 1 : 0, state.name);
    }
    const own = this.#own.take();
    if (own) collection.blocks.push(own);
    return collection;
  }

  /** Starts a probe. One that is done when it returns costs neither a promise nor a timer: most are. */
  #start(runnable: Runnable, collection: Collection, takenMs: number): Promise<void> | undefined {
    const { probe, state } = runnable;
    const now = this.#clock.monotonicMs();
    if (runnable.running !== undefined) {
      state.durationMs = now - runnable.startedMs;
      this.#failed(state, 'still busy with an earlier collection');
      return undefined;
    }
    runnable.startedMs = now;
    state.lastRunAt = this.#clock.wallMs();
    const run = new Run(probe.name, runnable.recorders, this.#clock, takenMs);
    try {
      const outcome = probe.collect(run);
      if (outcome instanceof Promise) return this.#wait(runnable, run, outcome, collection);
      this.#finish(runnable, run, outcome, collection);
    } catch (error) {
      this.#giveUp(runnable, run, sentenceOf(error));
    }
    return undefined;
  }

  async #wait(runnable: Runnable, run: Run, work: Promise<typeof noData | void>, collection: Collection): Promise<void> {
    runnable.running = run;
    const settled = (): void => {
      if (runnable.running === run) runnable.running = undefined;
    };
    work.then(settled, settled);
    const timeoutMs = runnable.probe.timeoutMs ?? PROBE_TIMEOUT_MS;
    try {
      const outcome = await withinMs(work, timeoutMs);
      if (outcome !== timeUp) return this.#finish(runnable, run, outcome, collection);
      // The hung run keeps its recorders, so that what it still records cannot spoil the next run's.
      runnable.recorders = new Map();
      this.#giveUp(runnable, run, `took longer than ${timeoutMs} ms`);
      run.abort();
    } catch (error) {
      this.#giveUp(runnable, run, sentenceOf(error));
    }
  }

  #finish(runnable: Runnable, run: Run, outcome: typeof noData | void, collection: Collection): void {
    const { state } = runnable;
    state.durationMs = this.#clock.monotonicMs() - runnable.startedMs;
    if (outcome === noData) run.discard();
    else run.deliver(collection);
    if (!state.success) this.#log.info({ probe: state.name }, 'probe works again');
    state.success = true;
    state.trouble = undefined;
  }

  #giveUp(runnable: Runnable, run: Run, trouble: string): void {
    runnable.state.durationMs = this.#clock.monotonicMs() - runnable.startedMs;
    run.discard();
    this.#failed(runnable.state, trouble);
  }

  #failed(state: ProbeState, trouble: string): void {
    if (state.success || state.trouble === undefined) this.#log.warn({ probe: state.name, trouble }, 'probe failed');
    state.success = false;
    state.trouble = trouble;
  }
}

/** What one run of a probe records. Once it is over, whatever still comes goes nowhere. */
class Run implements ProbeContext {
  readonly clock: Clock;
  readonly takenMs: number;
  readonly #probe: string;
  readonly #recorders: Map<string, BlockRecorder>;
  readonly #used = new Set<BlockRecorder>();
  readonly #observations: Observation[] = [];
  #abort: AbortController | undefined;
  #over = false;

  constructor(probe: string, recorders: Map<string, BlockRecorder>, clock: Clock, takenMs: number) {
    this.takenMs = takenMs;
    this.#probe = probe;
    this.#recorders = recorders;
    this.clock = clock;
  }

  block(instance = ''): BlockRecorder {
    if (this.#over) return new BlockRecorder(this.#probe, instance);
    let recorder = this.#recorders.get(instance);
    if (recorder === undefined) this.#recorders.set(instance, (recorder = new BlockRecorder(this.#probe, instance)));
    this.#used.add(recorder);
    return recorder;
  }

  observe(observation: Observation): void {
    if (!this.#over) this.#observations.push(observation);
  }

  get signal(): AbortSignal {
    return (this.#abort ??= new AbortController()).signal;
  }

  deliver(collection: Collection): void {
    this.#over = true;
    for (const recorder of this.#used) {
      const block = recorder.take();
      if (block) collection.blocks.push(block);
    }
    collection.observations.push(...this.#observations);
  }

  discard(): void {
    this.#over = true;
    for (const recorder of this.#used) recorder.discard();
  }

  /** Only when its time is up: aborting after success would cancel what a probe keeps open on purpose. */
  abort(): void {
    (this.#abort ??= new AbortController()).abort();
  }
}

const timeUp = Symbol('time is up');

/** The promise's outcome, or `timeUp`. Its timer never outlives the call. */
async function withinMs<T>(work: Promise<T>, ms: number): Promise<T | typeof timeUp> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      work,
      new Promise<typeof timeUp>((resolve) => {
        timer = setTimeout(resolve, ms, timeUp);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

function periodMs({ probe, state }: Runnable): number {
  const everyMs = probe.everyMs ?? 0;
  return state.success ? everyMs : Math.min(everyMs, RETRY_MS);
}

/** The blocks of a collection in the wire's form. */
export function wireBlocks(blocks: readonly RecordedBlock[]): { layout: string; values: WireValue[] }[] {
  return blocks.map((block) => ({ layout: block.layout.hash, values: block.values }));
}

export type { Layout };
