/**
 * The collector's metrics about itself, all in one registry of its own: what it takes in, how long the
 * store needs, what waits, and the process. Counting must cost next to nothing: it runs for every report.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export const REPORT_RESULTS = ['committed', 'duplicate', 'not_stored', 'layout_missing', 'refused'] as const;
export type ReportResult = (typeof REPORT_RESULTS)[number];

/** Read when somebody asks, not counted along the way. */
export interface OwnGauges {
  databaseUp(): boolean;
  /** Reports that wait to be stored or are being stored. */
  reportsWaiting(): number;
  liveSeries(): number;
}

export interface OwnMetricsOptions {
  version: string;
  gauges: OwnGauges;
  /** Off in tests that compare pages. */
  processMetrics?: boolean;
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export class OwnMetrics {
  readonly registry = new Registry();
  readonly #reports: Counter<'result'>;
  readonly #samples: Counter;
  readonly #batchReports: Histogram;
  readonly #commitSeconds: Histogram;
  readonly #ackSeconds: Histogram;
  readonly #requests: Counter<'method' | 'route' | 'status'>;
  readonly #requestSeconds: Histogram<'route'>;
  readonly #stalls: Counter;

  constructor({ version, gauges, processMetrics = true }: OwnMetricsOptions) {
    const registers = [this.registry];
    this.#reports = new Counter({
      name: 'tidemark_collector_reports_total',
      help: 'Reports that agents sent, by what became of them.',
      labelNames: ['result'],
      registers,
    });
    for (const result of REPORT_RESULTS) this.#reports.inc({ result }, 0);
    this.#samples = new Counter({ name: 'tidemark_collector_samples_total', help: 'Values in the reports that were taken in.', registers });
    this.#batchReports = new Histogram({
      name: 'tidemark_collector_batch_reports',
      help: 'Reports that were committed together.',
      buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000],
      registers,
    });
    this.#commitSeconds = new Histogram({
      name: 'tidemark_collector_commit_duration_seconds',
      help: 'How long the database took to commit a batch.',
      buckets: SECONDS,
      registers,
    });
    this.#ackSeconds = new Histogram({
      name: 'tidemark_collector_acknowledgement_duration_seconds',
      help: "From an agent's request to the answer to it.",
      buckets: SECONDS,
      registers,
    });
    this.#requests = new Counter({
      name: 'tidemark_collector_http_requests_total',
      help: 'Requests answered.',
      labelNames: ['method', 'route', 'status'],
      registers,
    });
    this.#requestSeconds = new Histogram({
      name: 'tidemark_collector_http_request_duration_seconds',
      help: 'How long requests took, but for those of agents, which have a metric of their own.',
      labelNames: ['route'],
      buckets: SECONDS,
      registers,
    });
    this.#stalls = new Counter({
      name: 'tidemark_collector_stalls_total',
      help: 'How often the collector did not run for seconds; silence of nodes is counted anew after each.',
      registers,
    });
    new Gauge({ name: 'tidemark_collector_build_info', help: 'Always 1; the label tells.', labelNames: ['version'], registers }).set(
      { version },
      1,
    );
    const read = (name: string, help: string, value: () => number): void => {
      const gauge: Gauge = new Gauge({ name: `tidemark_collector_${name}`, help, collect: () => gauge.set(value()), registers });
    };
    read('database_up', '1 when the database can be reached.', () => (gauges.databaseUp() ? 1 : 0));
    read('reports_waiting', 'Reports that wait to be stored or are being stored.', () => gauges.reportsWaiting());
    read('live_series', 'Series in the live view.', () => gauges.liveSeries());
    if (processMetrics) {
      collectDefaultMetrics({ register: this.registry });
      // Gauges under counters' names: promtool objects, and the same figures are there by type.
      for (const kind of ['handles', 'requests', 'resources']) this.registry.removeSingleMetric(`nodejs_active_${kind}_total`);
    }
  }

  reports(result: ReportResult, count: number): void {
    this.#reports.inc({ result }, count);
  }

  samples(count: number): void {
    this.#samples.inc(count);
  }

  batchCommitted(reports: number, _values: number, seconds: number): void {
    this.#batchReports.observe(reports);
    this.#commitSeconds.observe(seconds);
  }

  acknowledged(seconds: number): void {
    this.#ackSeconds.observe(seconds);
  }

  /** `route` is the route's pattern, never the address that was asked for: that could be anything. */
  requestAnswered(method: string, route: string, status: number, seconds?: number): void {
    this.#requests.inc({ method, route, status });
    if (seconds !== undefined) this.#requestSeconds.observe({ route }, seconds);
  }

  stalled(): void {
    this.#stalls.inc();
  }
}
