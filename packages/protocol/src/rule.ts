/**
 * Rules as the collector serves them: what is judged, by which bounds, and from which layer each part comes.
 * Durations are seconds here; in the configuration file they are written as "90s", "5m" or "10m of 15m".
 */
import { Type, type Static } from 'typebox';

const Maybe = <T extends import('typebox').TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const closed = { additionalProperties: false };

export const AlertLevel = Type.Union([Type.Literal('warning'), Type.Literal('critical')]);
export type AlertLevel = Static<typeof AlertLevel>;

/**
 * - threshold: a series beyond a bound.
 * - absent: a series, or the node altogether, that is not there.
 * - state: a series or a field of an observation that has one of some values.
 * - event: a counter that rose.
 */
export const RuleKind = Type.Union([Type.Literal('threshold'), Type.Literal('absent'), Type.Literal('state'), Type.Literal('event')]);
export type RuleKind = Static<typeof RuleKind>;

/** One comparison. `above` and `below` are strict: a value exactly on the bound is not beyond it. */
export const Bound = Type.Union([
  Type.Object({ above: Type.Number() }, closed),
  Type.Object({ atLeast: Type.Number() }, closed),
  Type.Object({ below: Type.Number() }, closed),
  Type.Object({ atMost: Type.Number() }, closed),
  /** One of these values. */
  Type.Object({ is: Type.Array(Type.Union([Type.Number(), Type.String(), Type.Boolean()]), { minItems: 1 }) }, closed),
  Type.Object({ isNot: Type.Array(Type.Union([Type.Number(), Type.String(), Type.Boolean()]), { minItems: 1 }) }, closed),
  /** The series, or the node, is not there. */
  Type.Object({ missing: Type.Literal(true) }, closed),
  /** The counter rose by at least this much since the value before. */
  Type.Object({ roseBy: Type.Number({ exclusiveMinimum: 0 }) }, closed),
]);
export type Bound = Static<typeof Bound>;

export const RuleLevel = Type.Object({
  trigger: Bound,
  clear: Maybe(
    Type.Number({ description: 'The value at which it is over (back at or inside it); without it, as soon as it is no longer beyond.' }),
  ),
  trueForSeconds: Type.Number({ description: 'It has to have been true for so long …' }),
  ofLastSeconds: Type.Number({ description: '… of the last so many seconds. Both the same: without interruption.' }),
  clearAfterSeconds: Type.Number({ description: 'It is over when the clear value has held for so long.' }),
});
export type RuleLevel = Static<typeof RuleLevel>;

/** Which nodes; absent parts say nothing. `*` stands for any characters; several values mean any of them. */
export const NodeSelection = Type.Object({
  nodes: Type.Optional(Type.Array(Type.String())),
  sites: Type.Optional(Type.Array(Type.String())),
  tags: Type.Optional(Type.Record(Type.String(), Type.String())),
});
export type NodeSelection = Static<typeof NodeSelection>;

export const RuleView = Type.Object({
  name: Type.String(),
  title: Type.String({ description: 'For people: "CPU usage".' }),
  kind: RuleKind,
  metric: Maybe(Type.String({ description: 'null for rules about the node itself and about observations.' })),
  observation: Maybe(Type.Object({ kind: Type.String(), field: Type.String() })),
  labels: Type.Record(Type.String(), Type.Array(Type.String()), {
    description: 'Labels a series has to have; `*` stands for any characters, "!" before a value excludes it.',
  }),
  unit: Type.String({ description: 'ratio, bytes, seconds or empty' }),
  where: NodeSelection,
  warning: Maybe(RuleLevel),
  critical: Maybe(RuleLevel),
  suppressedBy: Type.Array(Type.String({ description: 'Name of a rule whose open alert on the same node makes this one moot.' })),
  enabled: Type.Boolean(),
  inactiveBecause: Maybe(Type.String({ description: 'Why an enabled rule judges nothing yet.' })),
  annotations: Type.Record(Type.String(), Type.String()),
  runbook: Maybe(Type.String({ description: 'A link.' })),
  layers: Type.Array(
    Type.Object({
      layer: Type.Union([Type.Literal('shipped'), Type.Literal('file'), Type.Literal('site'), Type.Literal('tag'), Type.Literal('node')]),
      source: Type.String({ description: '"shipped", or file:line' }),
      selector: Type.String({ description: 'What it is for: "site berlin", "tag role=db", "node db-1"; empty for all.' }),
      sets: Type.Array(Type.String({ description: 'What it sets: "warning.above = 0.8".' })),
    }),
    { description: 'From the least to the most specific; the last one that sets a thing wins.' },
  ),
});
export type RuleView = Static<typeof RuleView>;
export const RuleList = Type.Object({
  file: Maybe(Type.String()),
  loadedAt: Type.String(),
  rules: Type.Array(RuleView),
});
export type RuleList = Static<typeof RuleList>;
