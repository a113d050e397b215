/**
 * A layout block: what the positions of one probe's values mean, for one instance. Blocks are hashed
 * one by one, so that a database more on a node changes one block and leaves the others known. Agents
 * bring their own catalogue this way: the collector keeps no list of metrics, and versions may differ.
 */
import { createHash } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { LIMITS } from './limits.ts';

/** A metric's name in Prometheus's grammar (without colons, which are for recording rules). */
export const MetricName = Type.String({ pattern: '^[a-zA-Z_][a-zA-Z0-9_]*$', maxLength: LIMITS.metricNameChars });
/** A label's name in Prometheus's grammar. Names that begin with two underscores are reserved. */
export const LabelName = Type.String({ pattern: '^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$', maxLength: LIMITS.labelNameChars });
/** Any text at all: quotes, newlines, emoji. It is escaped where it is shown. */
export const LabelValue = Type.String({ maxLength: LIMITS.labelValueChars });
export const Labels = Type.Array(Type.Tuple([LabelName, LabelValue]), {
  maxItems: LIMITS.labelsPerSeries,
  description: 'Label names and values as pairs, so that no name ("__proto__") can mean anything to a parser.',
});
export type Labels = Static<typeof Labels>;

/** `counter` only grows but for resets, `gauge` goes both ways. */
export const MetricType = Type.Union([Type.Literal('gauge'), Type.Literal('counter')]);
export type MetricType = Static<typeof MetricType>;

export const SeriesDescription = Type.Object({
  name: MetricName,
  labels: Labels,
  unit: Type.String({ maxLength: 40, description: 'Base unit: "seconds", "bytes", "ratio"; empty for a plain count.' }),
  type: MetricType,
  help: Type.String({ maxLength: LIMITS.helpChars }),
});
export type SeriesDescription = Static<typeof SeriesDescription>;

export const Layout = Type.Object({
  hash: Type.String({ pattern: '^[0-9a-f]{16,64}$', description: 'Names this block within its node. See layoutHash.' }),
  probe: Type.String({ minLength: 1, maxLength: 64 }),
  instance: Type.String({
    maxLength: LIMITS.labelValueChars,
    description: 'What the probe looked at, when it can look at several; else empty.',
  }),
  series: Type.Array(SeriesDescription, { maxItems: LIMITS.seriesPerBlock }),
});
export type Layout = Static<typeof Layout>;

/**
 * The hash by which an agent names a block: SHA-256 over the JSON of
 * `[probe, instance, [[name, labels, unit, type, help], …]]`, its first 32 hex digits.
 * The collector takes it as an opaque name that holds for this node alone, so a later version may
 * add fields to a block without breaking anyone.
 */
export function layoutHash(layout: Omit<Layout, 'hash'>): string {
  const series = layout.series.map((s) => [s.name, s.labels, s.unit, s.type, s.help]);
  return createHash('sha256')
    .update(JSON.stringify([layout.probe, layout.instance, series]))
    .digest('hex')
    .slice(0, 32);
}
