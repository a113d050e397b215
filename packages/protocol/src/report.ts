/**
 * What an agent sends: `POST /api/telemetry/v1/reports`. Both sides ignore fields they do not know;
 * a later version adds fields and never changes or removes one (fixtures/v1 holds every form there was).
 */
import { Type, type Static } from 'typebox';
import { Layout } from './layout.ts';
import { LIMITS } from './limits.ts';

/** Wall time as milliseconds since 1970-01-01T00:00Z on the sender's clock. Any number: an absurd one is answered, not a parse error. */
const WallMs = Type.Number({ description: "Milliseconds since 1970, on the sender's clock." });

/** One probe's values for one instance, position for position as its layout says. */
export const ValueBlock = Type.Object({
  layout: Type.String({ minLength: 16, maxLength: 64, description: 'Hash of the layout block.' }),
  values: Type.Array(Type.Unknown(), {
    maxItems: LIMITS.seriesPerBlock,
    description: 'Numbers; null for "not measured"; "NaN", "+Inf", "-Inf" for the values that JSON has no number for.',
  }),
});
export type ValueBlock = Static<typeof ValueBlock>;

/** A typed, versioned document for what is not a number. LSNs and other 64-bit numbers are strings, never floats. */
export const Observation = Type.Object({
  kind: Type.String({ pattern: '^[a-z][a-z0-9.-]*$', maxLength: 64, description: 'For example "postgres.replication".' }),
  version: Type.Integer({ minimum: 1, maximum: 1_000 }),
  instance: Type.String({ maxLength: LIMITS.labelValueChars, description: 'What was observed, when there can be several; else empty.' }),
  document: Type.Unknown(),
});
export type Observation = Static<typeof Observation>;

export const BootId = Type.String({
  pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
  description: 'A random UUID that the agent makes at each of its starts.',
});

export const Report = Type.Object({
  bootId: BootId,
  sequence: Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'Counts the reports of this boot id, from 1.' }),
  takenAt: WallMs,
  monotonicMs: Type.Number({
    description: 'When it was taken on a clock that nobody sets, in milliseconds; comparable within one boot id.',
  }),
  urgent: Type.Optional(Type.Boolean({ description: 'Out of turn: something could not wait for the interval.' })),
  partial: Type.Optional(Type.Boolean({ description: 'Some probes are left out on purpose; what is missing says nothing.' })),
  blocks: Type.Array(ValueBlock, { maxItems: LIMITS.blocksPerReport }),
  observations: Type.Optional(Type.Array(Observation, { maxItems: LIMITS.observationsPerReport })),
});
export type Report = Static<typeof Report>;

export const TagName = Type.String({ pattern: '^[A-Za-z][A-Za-z0-9_.-]{0,62}$' });
export const TagValue = Type.String({ maxLength: 200 });
export const Tags = Type.Record(TagName, TagValue, { maxProperties: LIMITS.tagsPerNode });
export type Tags = Static<typeof Tags>;

/** What a node may be called: anything printable; no slash, which separates addresses, and nothing that a path would swallow. */
export const NodeName = Type.String({
  minLength: 1,
  maxLength: LIMITS.nodeNameChars,
  pattern: '^(?!\\.{1,2}$)[^\\s/\\u0000-\\u001f\\u007f]([^/\\u0000-\\u001f\\u007f]*[^\\s/\\u0000-\\u001f\\u007f])?$',
  description: '1 to 253 printable characters, no slash, no space at either end, and not "." or ".."',
});

/** The body of the request: who sends, when, and one report or a backlog of them. */
export const ReportRequest = Type.Object({
  agent: Type.Object({
    version: Type.String({ maxLength: 64 }),
    platform: Type.Optional(Type.String({ maxLength: 64 })),
    hostname: Type.Optional(Type.String({ maxLength: LIMITS.nodeNameChars })),
    site: Type.Optional(Type.String({ maxLength: 100 })),
    tags: Type.Optional(Tags),
    intervalSeconds: Type.Number({ minimum: 0.1, maximum: 86_400, description: 'How often it reports: silence is judged by it.' }),
    lostReports: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: 'Reports this agent has had to give up since its start: spool full or damaged, or refused.',
      }),
    ),
  }),
  bootId: BootId,
  sentAt: WallMs,
  sentMonotonicMs: Type.Number({ description: 'The moment of sending on the clock of monotonicMs.' }),
  layouts: Type.Optional(
    Type.Array(Layout, { maxItems: LIMITS.layoutsPerRequest, description: 'The blocks that the collector may not know yet.' }),
  ),
  reports: Type.Array(Report, { maxItems: LIMITS.reportsPerRequest }),
});
export type ReportRequest = Static<typeof ReportRequest>;
