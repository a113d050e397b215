/**
 * The contract of a spool: a bounded queue of reports that outlives the process. A report stays until it is
 * settled (the collector committed it) or given up, and every report given up is counted.
 */
import type { Layout } from '@tidemark/protocol';

/** A report on its way into the spool: its wire form, and the layouts it follows. */
export interface NewReport {
  readonly bootId: string;
  readonly sequence: number;
  /** Wall time in milliseconds, as in the report. */
  readonly takenAt: number;
  readonly json: string;
  readonly layouts: readonly Layout[];
}

/** A report in the spool. Its body is not in memory. */
export interface SpooledReport {
  readonly bootId: string;
  readonly sequence: number;
  readonly takenAt: number;
  /** Bytes of its JSON. */
  readonly sizeBytes: number;
  /** Hashes of its layouts; undefined for a report of an earlier process. */
  readonly layouts: readonly string[] | undefined;
}

export interface SpoolState {
  readonly reports: number;
  /** Of the reports that wait. */
  readonly sizeBytes: number;
  readonly oldestTakenAt: number | undefined;
  /** Reports given up since the process started: pushed out, damaged on disk, or refused. */
  readonly lost: number;
  /** Why reports are kept in memory only just now, for people. */
  readonly trouble: string | undefined;
}

export interface Spool {
  /** Resolves when the report is safe on disk, or kept in memory because the disk fails; never rejects. */
  append(report: NewReport): Promise<void>;
  /** The report appended last, if it still waits. */
  newest(): SpooledReport | undefined;
  /** What waits, oldest first: at most `count` reports and `sizeBytes` bytes, but one report at least. */
  oldest(count: number, sizeBytes: number): SpooledReport[];
  /** The JSON of reports. One that cannot be read any more is given up, and undefined in the answer. */
  read(reports: readonly SpooledReport[]): Promise<(Buffer | undefined)[]>;
  /** The JSON of a layout that a waiting report follows. */
  layout(hash: string): Promise<Buffer | undefined>;
  /** They are committed: forget them. Unknown ones are ignored. */
  settle(bootId: string, sequences: readonly number[]): void;
  /** Forget them and count them as lost. */
  giveUp(reports: readonly SpooledReport[]): void;
  state(): SpoolState;
  close(): Promise<void>;
}

export interface SpoolBounds {
  readonly sizeBytesMax: number;
  /** Age at which a report is given up, counted while the agent runs: a wrong clock throws nothing away. */
  readonly ageMsMax: number;
}
