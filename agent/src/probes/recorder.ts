/**
 * Records one block: the values of a probe for one instance, and the layout they follow. While a probe
 * records the same series in the same order as the time before, the layout and its hash are kept and a
 * collection allocates little more than its numbers.
 */
import { layoutHash, LIMITS, toWireValue, type Labels, type Layout, type MetricType, type WireValue } from '@tidemark/protocol';

/** A metric, declared once beside the probe that measures it. Names and units follow node_exporter and postgres_exporter where they have one. */
export interface Metric {
  readonly name: string;
  readonly help: string;
  /** Base unit ("seconds", "bytes", "ratio"), or empty for a plain count. */
  readonly unit: string;
  readonly type: MetricType;
  readonly labels: readonly string[];
}

const declared = new Map<string, Metric>();

export function metric(name: string, type: MetricType, unit: string, help: string, labels: readonly string[] = []): Metric {
  const one = { name, type, unit, help, labels };
  if (!declared.has(name)) declared.set(name, one);
  return one;
}

/** Every metric declared so far, by name, for the reference page. Those named after what a kernel has come with a collection. */
export function declaredMetrics(): Metric[] {
  return [...declared.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

interface Position {
  readonly metric: Metric;
  readonly labelValues: readonly string[];
}

/** A finished block: the wire's form of its values and the layout they belong to. */
export interface RecordedBlock {
  readonly layout: Layout;
  readonly values: WireValue[];
}

export class BlockRecorder {
  readonly #probe: string;
  readonly #instance: string;
  readonly #extraLabels: Labels;
  #positions: Position[] = [];
  #layout: Layout | undefined;
  #values: WireValue[] = [];
  #changed = false;

  /** `extraLabels` are put on every series of the block, for example the PostgreSQL server it is about. */
  constructor(probe: string, instance: string, extraLabels: Labels = []) {
    this.#probe = probe;
    this.#instance = instance;
    this.#extraLabels = extraLabels;
  }

  /**
   * Records a value; null, and a value that could not be read, are "not measured". Label values are given in
   * the order of the metric's labels. Throws when the block is full: half a block would be taken for a whole one.
   */
  add(metricOf: Metric, value: number | null | undefined, ...labelValues: string[]): void {
    const at = this.#values.length;
    if (at >= LIMITS.seriesPerBlock) throw new Error(`more than ${LIMITS.seriesPerBlock} series in one block`);
    const known = this.#positions[at];
    if (known === undefined || known.metric !== metricOf || !sameStrings(known.labelValues, labelValues)) {
      if (labelValues.length !== metricOf.labels.length)
        throw new Error(`${metricOf.name} takes ${metricOf.labels.length} labels, got ${labelValues.length}`);
      this.#positions[at] = { metric: metricOf, labelValues };
      this.#changed = true;
    }
    this.#values.push(toWireValue(value));
  }

  /** Takes what was recorded since the last call, or undefined when that was nothing. */
  take(): RecordedBlock | undefined {
    const values = this.#values;
    this.#values = [];
    if (values.length === 0) return undefined;
    if (this.#changed || this.#layout === undefined || values.length !== this.#positions.length) {
      this.#positions.length = values.length;
      this.#layout = this.#describe();
      this.#changed = false;
    }
    return { layout: this.#layout, values };
  }

  /** Forgets what was recorded since the last take, and keeps the layout known so far. */
  discard(): void {
    this.#values = [];
  }

  #describe(): Layout {
    const series = this.#positions.map(({ metric: m, labelValues }) => ({
      name: m.name,
      labels: [...m.labels.map((label, i): [string, string] => [label, fitting(labelValues[i]!)]), ...this.#extraLabels],
      unit: m.unit,
      type: m.type,
      help: m.help,
    }));
    const layout = { probe: this.#probe, instance: this.#instance, series };
    return { hash: layoutHash(layout), ...layout };
  }
}

/** One path too long must not make the collector refuse the whole report. Lone surrogates would not survive the wire. */
function fitting(labelValue: string): string {
  return labelValue.slice(0, LIMITS.labelValueChars).toWellFormed();
}

function sameStrings(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
