/**
 * Runs the probes: all that are due at once, each within its time, each stamped with duration and
 * success. A probe that throws or hangs harms no other: what it recorded is left out, and while it still
 * hangs it is not started again.
 */
import type { Layout, Observation, WireValue } from '@tidemark/protocol';
import type { Clock, Log } from '@tidemark/service';
import { sentenceOf } from '@tidemark/service';
import { noData, type Probe } from './probe.ts';
import { BlockRecorder, metric, type RecordedBlock } from './recorder.ts';

const PROBE_TIMEOUT_MS = 5_000;
/** Timers may fire a little early; a probe due within this is due now. */
const EARLY_MS = 250;

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
  probe: Probe;
  recorders: Map<string, BlockRecorder>;
  state: ProbeState;
  startedMs: number;
  running: Promise<void> | undefined;
}

export class ProbeRunner {
  readonly #runnables: Runnable[];
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #own = new BlockRecorder('agent', '');

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

  /** One collection. Takes as long as the slowest probe that is due, and never longer than its timeout. */
  async collect(): Promise<Collection> {
    const collection: Collection = { blocks: [], observations: [] };
    const now = this.#clock.monotonicMs();
    const due = this.#runnables.filter((r) => now - r.startedMs >= (r.probe.everyMs ?? 0) - EARLY_MS);
    await Promise.all(due.map((runnable) => this.#run(runnable, collection)));
    for (const { state } of this.#runnables) {
      this.#own.add(durationSeconds, state.durationMs / 1000, state.name);
      this.#own.add(success, state.success ? 1 : 0, state.name);
    }
    const own = this.#own.take();
    if (own) collection.blocks.push(own);
    return collection;
  }

  states(): readonly ProbeState[] {
    return this.#runnables.map((r) => r.state);
  }

  async close(): Promise<void> {
    await Promise.all(this.#runnables.map(async (r) => r.probe.close?.()));
  }

  async #run(runnable: Runnable, collection: Collection): Promise<void> {
    const { probe, state } = runnable;
    if (runnable.running !== undefined) return this.#failed(runnable, 'still busy with an earlier collection');
    const started = this.#clock.monotonicMs();
    runnable.startedMs = started;
    state.lastRunAt = this.#clock.wallMs();
    const abort = new AbortController();
    const observations: Observation[] = [];
    const used = new Set<BlockRecorder>();
    const context = {
      clock: this.#clock,
      signal: abort.signal,
      block: (instance = '') => {
        if (abort.signal.aborted) return new BlockRecorder(probe.name, instance);
        let recorder = runnable.recorders.get(instance);
        if (recorder === undefined) runnable.recorders.set(instance, (recorder = new BlockRecorder(probe.name, instance)));
        used.add(recorder);
        return recorder;
      },
      observe: (observation: Observation) => void observations.push(observation),
    };
    const timeoutMs = probe.timeoutMs ?? PROBE_TIMEOUT_MS;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<'timeout'>((resolve) => {
      timer = setTimeout(resolve, timeoutMs, 'timeout');
    });
    try {
      const work = (async () => probe.collect(context))();
      const settled = work.then(
        () => {},
        () => {},
      );
      runnable.running = settled.finally(() => (runnable.running = undefined));
      const outcome = await Promise.race([work, timeout]);
      state.durationMs = this.#clock.monotonicMs() - started;
      if (outcome === 'timeout') {
        // The hung run keeps its recorders; the next run gets fresh ones.
        runnable.recorders = new Map();
        return this.#failed(runnable, `took longer than ${timeoutMs} ms`);
      }
      if (outcome !== noData) {
        for (const recorder of used) {
          const block = recorder.take();
          if (block) collection.blocks.push(block);
        }
        collection.observations.push(...observations);
      }
      this.#succeeded(runnable);
    } catch (error) {
      state.durationMs = this.#clock.monotonicMs() - started;
      for (const recorder of used) recorder.take();
      this.#failed(runnable, sentenceOf(error));
    } finally {
      clearTimeout(timer);
      abort.abort();
    }
  }

  #succeeded({ state }: Runnable): void {
    if (!state.success) this.#log.info({ probe: state.name }, 'probe works again');
    state.success = true;
    state.trouble = undefined;
  }

  #failed({ state }: Runnable, trouble: string): void {
    if (state.success) this.#log.warn({ probe: state.name, trouble }, 'probe failed');
    state.success = false;
    state.trouble = trouble;
  }
}

/** The blocks of a collection in the wire's form. */
export function wireBlocks(blocks: readonly RecordedBlock[]): { layout: string; values: WireValue[] }[] {
  return blocks.map((block) => ({ layout: block.layout.hash, values: block.values }));
}

export type { Layout };
