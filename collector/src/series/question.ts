/**
 * A question for time series, checked before it costs anything: what to select, over which time, how
 * fine. Everything that could make an answer endless has its bound here.
 */
import { LabelName, MetricName, ProblemError } from '@tidemark/protocol';
import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';

export const SERIES_LIMITS = {
  seriesPerAnswer: 200,
  /** As many as Prometheus gives, and more than any screen is wide. */
  pointsPerSeries: 11_000,
  pointsPerAnswer: 250_000,
  rangeMs: 400 * 86_400_000,
  metricsPerQuestion: 10,
  /** Series that may be added up into the series of an answer: the CPUs of a large machine by their modes. */
  seriesAddedUp: 5_000,
} as const;

const DEFAULT_RANGE_MS = 3_600_000;
const TIME = 'ISO 8601 with its offset, or milliseconds since 1970';

export const SeriesQuery = Type.Object(
  {
    metric: Type.String({ description: 'The name of the metric; several are separated by commas.' }),
    node: Type.Optional(Type.String({ description: 'Only this node; else all.' })),
    from: Type.Optional(Type.String({ description: `${TIME}. One hour before \`to\` unless given.` })),
    to: Type.Optional(Type.String({ description: `${TIME}. Now unless given.` })),
    step: Type.Optional(
      Type.String({
        description:
          'Seconds. Gives one point per bin that begins at a multiple of it since 1970: the mean of a gauge, the last value of a counter. Without it every sample is given.',
      }),
    ),
    rate: Type.Optional(
      Type.String({
        description:
          '`true` gives counters as their rise per second, resets taken into account; no value where the counter was not seen before. Needs `step`.',
      }),
    ),
    by: Type.Optional(
      Type.String({
        description:
          'Names of labels, separated by commas: series of one node that agree in them are added up, such as the CPUs by their `mode`. Needs `step`; of counters only with `rate=true`.',
      }),
    ),
    extremes: Type.Optional(
      Type.String({
        description: '`true` gives the least and the greatest sample of each bin of a gauge beside its mean. Needs `step`, not with `by`.',
      }),
    ),
  },
  { additionalProperties: true, description: '`label.NAME=VALUE`, any number of times, selects series by their labels.' },
);
export type SeriesQuery = Static<typeof SeriesQuery>;

export interface SeriesQuestion {
  metrics: string[];
  node: string | undefined;
  site: string | undefined;
  /** Labels of the agent's own, as they are stored. */
  labels: Record<string, string>;
  fromMs: number;
  toMs: number;
  stepMs: number | undefined;
  rate: boolean;
  /** Labels by which series are added up; undefined leaves each by itself. */
  by: string[] | undefined;
  extremes: boolean;
}

/** Reads a query string. Throws ProblemError `query_invalid` with what is wrong and how it should be. */
export function readQuestion(query: Readonly<Record<string, unknown>>, nowMs: number): SeriesQuestion {
  const metrics = [...new Set((textOf(query, 'metric') ?? '').split(','))];
  if (!metrics.every((metric) => Value.Check(MetricName, metric))) throw invalid('metric must be the name of a metric, such as node_load1');
  if (metrics.length > SERIES_LIMITS.metricsPerQuestion) {
    throw invalid(`at most ${SERIES_LIMITS.metricsPerQuestion} metrics may be asked for at once`);
  }
  const toMs = timeOf(query, 'to') ?? nowMs;
  const fromMs = timeOf(query, 'from') ?? toMs - DEFAULT_RANGE_MS;
  if (fromMs >= toMs) throw invalid('from must be before to');
  if (toMs - fromMs > SERIES_LIMITS.rangeMs) throw invalid('from and to may be at most 400 days apart');
  const question: SeriesQuestion = {
    metrics,
    node: textOf(query, 'node'),
    site: undefined,
    labels: {},
    fromMs,
    toMs,
    stepMs: stepOf(query, toMs - fromMs),
    rate: flagOf(query, 'rate'),
    by: byOf(query),
    extremes: flagOf(query, 'extremes'),
  };
  const { stepMs, rate, by, extremes } = question;
  if (stepMs === undefined && (rate || extremes || by !== undefined)) throw invalid('rate, by and extremes need a step');
  if (extremes && by !== undefined) throw invalid('extremes cannot be told of series that are added up; leave out by');
  for (const key of Object.keys(query)) if (key.startsWith('label.')) addLabel(question, key.slice('label.'.length), textOf(query, key)!);
  return question;
}

/** Labels are named as answers and the metrics page name them: `node` and `site` are the collector's. */
function addLabel(question: SeriesQuestion, name: string, value: string): void {
  const isLabel: boolean = Value.Check(LabelName, name);
  if (!isLabel) throw invalid(`label.${name} does not name a label`);
  if (name === 'site') question.site = value;
  else if (name === 'node') {
    if (question.node !== undefined && question.node !== value) throw invalid('node and label.node name different nodes');
    question.node = value;
  } else question.labels[name === 'exported_node' || name === 'exported_site' ? name.slice('exported_'.length) : name] = value;
}

function textOf(query: Readonly<Record<string, unknown>>, key: string): string | undefined {
  const value = query[key];
  if (value === undefined || typeof value === 'string') return value;
  throw invalid(`${key} may be given once only`);
}

function flagOf(query: Readonly<Record<string, unknown>>, key: string): boolean {
  const text = textOf(query, key);
  if (text !== undefined && text !== 'true' && text !== 'false') throw invalid(`${key} must be true or false`);
  return text === 'true';
}

function byOf(query: Readonly<Record<string, unknown>>): string[] | undefined {
  const text = textOf(query, 'by');
  if (text === undefined) return undefined;
  const names = [...new Set(text.split(',').filter((name) => name !== ''))];
  for (const name of names) {
    const isLabel: boolean = Value.Check(LabelName, name);
    if (!isLabel) throw invalid(`by: ${name} does not name a label`);
  }
  return names;
}

function timeOf(query: Readonly<Record<string, unknown>>, key: string): number | undefined {
  const text = textOf(query, key);
  if (text === undefined) return undefined;
  if (/^\d{1,15}(\.\d+)?$/.test(text)) return Number(text);
  // A "+" that was not written as %2B arrives as a space.
  const match = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)(Z|[+ -]\d{2}:\d{2}))?$/i.exec(text);
  const ms =
    match === null
      ? Number.NaN
      : Date.parse(match[2] === undefined ? text : `${match[1]!}T${match[2]}${match[3]!.replace(' ', '+').toUpperCase()}`);
  if (Number.isNaN(ms)) throw invalid(`${key} must be ${TIME}, such as 2026-01-31T12:00:00Z`);
  return ms;
}

function stepOf(query: Readonly<Record<string, unknown>>, rangeMs: number): number | undefined {
  const text = textOf(query, 'step');
  if (text === undefined) return undefined;
  const stepMs = Math.round(Number(text) * 1_000);
  if (!/^\d+(\.\d+)?$/.test(text) || !(stepMs >= 1)) throw invalid('step must be a number of seconds above 0');
  if (rangeMs / stepMs > SERIES_LIMITS.pointsPerSeries - 1) {
    throw invalid(
      `this step would give more than ${SERIES_LIMITS.pointsPerSeries} points a series; ${coarseEnough(rangeMs)} seconds or more will do`,
    );
  }
  return stepMs;
}

/** The finest whole step in seconds that a range can be asked for with. */
export function coarseEnough(rangeMs: number): number {
  return Math.ceil(rangeMs / 1_000 / (SERIES_LIMITS.pointsPerSeries - 1));
}

export function invalid(what: string): ProblemError {
  return new ProblemError('query_invalid', `${what[0]!.toUpperCase()}${what.slice(1)}.`);
}
