/**
 * The stream: every accepted report passes here once and in order of acceptance, before it is stored.
 * A live view, an evaluator, a second collector's evaluator fed from the store, and a re-reader of the
 * past all consume the same interface.
 */
import type { Labels, MetricType, Observation } from '@tidemark/protocol';
import type { NodeRecord } from '../fleet/node.ts';

/** What a series is. Nodes with the same block share one description object. */
export interface SeriesInfo {
  readonly metric: string;
  readonly labels: Labels;
  readonly unit: string;
  readonly type: MetricType;
  readonly help: string;
}

/** A block's meaning: shared between nodes, compared by identity. */
export interface BlockLayout {
  readonly probe: string;
  readonly instance: string;
  readonly series: readonly SeriesInfo[];
}

export interface AcceptedBlock {
  readonly layout: BlockLayout;
  /** Position for position as the layout says; null is "not measured". */
  readonly values: readonly (number | null)[];
}

export interface AcceptedReport {
  readonly node: NodeRecord;
  readonly bootId: string;
  readonly sequence: number;
  /** When it was taken: the agent's time, corrected by its measured clock offset. Milliseconds since 1970. */
  readonly at: number;
  /** When it arrived, on the collector's wall clock; for a re-reader the same as `at`. */
  readonly receivedAt: number;
  /** False for back-fill: it fills histories and never pages. */
  readonly live: boolean;
  /** Some probes were left out on purpose: what is missing says nothing. */
  readonly partial: boolean;
  readonly blocks: readonly AcceptedBlock[];
  readonly observations: readonly Observation[];
}

/** Consumes reports one after the other. It must not throw for what a report contains, nor take long: it runs on the way in. */
export interface ReportConsumer {
  readonly name: string;
  accept(report: AcceptedReport): void;
}

export class ReportStream {
  readonly #consumers: ReportConsumer[] = [];

  subscribe(consumer: ReportConsumer): void {
    this.#consumers.push(consumer);
  }

  publish(report: AcceptedReport): void {
    for (const consumer of this.#consumers) consumer.accept(report);
  }
}
