/**
 * The contract of a probe: one file that reads one thing and records it. A probe only reads; on Linux it
 * starts no child process. Its timeout, duration and success are the runner's business, so none can forget them.
 */
import type { Observation } from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { BlockRecorder } from './recorder.ts';

export interface ProbeContext {
  /** Where to record values; a probe that looks at several instances takes one block for each. */
  block(instance?: string): BlockRecorder;
  /** Records a document for what is not a number. */
  observe(observation: Observation): void;
  readonly clock: Clock;
  /** The report's own moment (its monotonicMs) on the clock that nobody sets: what was seen between two reports is placed by it. */
  readonly takenMs: number;
  /** Aborted when the probe's time is up; whatever it records afterwards is thrown away. */
  readonly signal: AbortSignal;
}

export interface Probe {
  /** As it appears in the `probe` label: "cpu", "postgres". */
  readonly name: string;
  /** Milliseconds; 5,000 unless told. */
  readonly timeoutMs?: number;
  /** For probes that need not run at every collection: at least this many milliseconds between two runs. */
  readonly everyMs?: number;
  /** Records what it sees. Throwing means failure; `noData` means there is nothing of this kind here. */
  collect(context: ProbeContext): Promise<typeof noData | void> | typeof noData | void;
  /** Lets go of connections. */
  close?(): Promise<void> | void;
}

/** Returned by a probe on a machine that has nothing of its kind (no pressure-stall files, say): not a failure. */
export const noData = Symbol('no data');
