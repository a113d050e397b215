/**
 * Alerts as people and programs see them. An alert is one rule crossed on one node (and one label set); while it is
 * open and after it is over it is one incident with one id, given by the evaluator.
 */
import { Type, type Static } from 'typebox';
import type { Overview, OverviewNode } from './query.ts';
import { AlertLevel, Bound, RuleKind } from './rule.ts';

const Maybe = <T extends import('typebox').TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Time = Type.String({ description: 'ISO 8601, UTC' });

/**
 * Why an alert ended. `recovered` and `gone` (what it was about is no longer there, as its probe says) are the node's;
 * `retired`, `rule_removed` and `rule_changed` the operators' doing; `closed_by_hand` somebody's decision.
 */
export const CloseReason = Type.Union([
  Type.Literal('recovered'),
  Type.Literal('gone'),
  Type.Literal('retired'),
  Type.Literal('rule_removed'),
  Type.Literal('rule_changed'),
  Type.Literal('closed_by_hand'),
]);
export type CloseReason = Static<typeof CloseReason>;

/** What one channel was last told of an alert. */
export const ToldView = Type.Object({
  channel: Type.String(),
  status: Type.Union([Type.Literal('firing'), Type.Literal('resolved')]),
  level: AlertLevel,
  at: Time,
  confirmed: Type.Boolean({ description: 'False: an attempt was made and its outcome is not known, or it failed and will be repeated.' }),
});
export type ToldView = Static<typeof ToldView>;

export const AlertView = Type.Object({
  id: Type.String(),
  rule: Type.String(),
  kind: RuleKind,
  title: Type.String(),
  node: Type.String(),
  site: Type.String(),
  metric: Maybe(Type.String()),
  labels: Type.Record(Type.String(), Type.String()),
  unit: Type.String(),
  state: Type.Union([Type.Literal('open'), Type.Literal('closed')]),
  level: AlertLevel,
  levelMax: AlertLevel,
  since: Type.String({ description: 'When the bound was first crossed, by the samples. ISO 8601, UTC' }),
  openedAt: Time,
  closedAt: Maybe(Time),
  closeReason: Maybe(CloseReason),
  value: Maybe(Type.Number({ description: 'The last one judged.' })),
  valueAtOpening: Maybe(Type.Number()),
  bound: Bound,
  why: Type.String({ description: 'One sentence: the value, the bound, for how long.' }),
  noData: Type.Boolean({ description: 'Nothing has been measured of late: it stays open, and nobody knows.' }),
  acknowledged: Maybe(Type.Object({ by: Type.String(), at: Time, note: Type.String() })),
  silencedBy: Maybe(Type.String({ description: 'Id of a silence.' })),
  suppressedBy: Maybe(Type.String({ description: 'Id of the open alert that makes this one moot.' })),
  annotations: Type.Record(Type.String(), Type.String()),
  runbook: Maybe(Type.String()),
  told: Type.Array(ToldView),
});
export type AlertView = Static<typeof AlertView>;

export const AlertList = Type.Object({
  at: Time,
  alerts: Type.Array(AlertView),
  more: Type.Boolean({ description: 'There are older ones: ask again with `before` = the last id.' }),
});
export type AlertList = Static<typeof AlertList>;

/** One line of an alert's story. */
export const AlertEvent = Type.Object({
  id: Type.String(),
  at: Time,
  kind: Type.String({ description: 'opened, level, data, closed, acknowledged, unacknowledged, attempted or answered' }),
  text: Type.String({ description: 'One sentence.' }),
});
export type AlertEvent = Static<typeof AlertEvent>;
export const AlertDetail = Type.Object({
  alert: AlertView,
  events: Type.Array(AlertEvent),
  /** For every channel, why it was told or not. */
  telling: Type.Array(Type.Object({ channel: Type.String(), text: Type.String() })),
});
export type AlertDetail = Static<typeof AlertDetail>;

export const Acknowledge = Type.Object({
  note: Type.Optional(Type.String({ maxLength: 1_000 })),
  by: Type.Optional(Type.String({ minLength: 1, maxLength: 100, description: 'Who; a person at the console types a name once.' })),
});
export type Acknowledge = Static<typeof Acknowledge>;

/** All parts that are given have to fit. `*` stands for any characters. At least one has to be given. */
export const Matcher = Type.Object(
  {
    rule: Type.Optional(Type.String({ minLength: 1, maxLength: 253 })),
    node: Type.Optional(Type.String({ minLength: 1, maxLength: 253 })),
    site: Type.Optional(Type.String({ minLength: 1, maxLength: 253 })),
    level: Type.Optional(AlertLevel),
    labels: Type.Optional(Type.Record(Type.String({ maxLength: 200 }), Type.String({ maxLength: 1_000 }), { maxProperties: 32 })),
  },
  { minProperties: 1, additionalProperties: false },
);
export type Matcher = Static<typeof Matcher>;

export const NewSilence = Type.Object({
  matcher: Matcher,
  reason: Type.String({ minLength: 1, maxLength: 1_000 }),
  author: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
  seconds: Type.Integer({ minimum: 60, maximum: 31_536_000, description: 'How long, from now.' }),
});
export type NewSilence = Static<typeof NewSilence>;
export const SilenceView = Type.Object({
  id: Type.String(),
  matcher: Matcher,
  reason: Type.String(),
  author: Type.String(),
  createdAt: Time,
  endsAt: Time,
  active: Type.Boolean(),
  alerts: Type.Integer({ description: 'Open alerts it covers now.' }),
});
export type SilenceView = Static<typeof SilenceView>;
export const SilenceList = Type.Object({ silences: Type.Array(SilenceView) });
export type SilenceList = Static<typeof SilenceList>;

export const ChannelView = Type.Object({
  name: Type.String(),
  kind: Type.String({ description: 'webhook, email' }),
  destination: Type.String({ description: 'For people, without secrets: a host, addresses.' }),
  only: Type.String({ description: 'What it is told, in words; empty for everything.' }),
  state: Type.Union([Type.Literal('working'), Type.Literal('retrying'), Type.Literal('disabled'), Type.Literal('unused')]),
  detail: Type.String({ description: 'The last answer of the other side, or why it is disabled.' }),
  waiting: Type.Integer({ description: 'Messages not delivered yet.' }),
  lastDeliveredAt: Maybe(Time),
});
export type ChannelView = Static<typeof ChannelView>;
export const ChannelList = Type.Object({ channels: Type.Array(ChannelView) });
export type ChannelList = Static<typeof ChannelList>;
export const ChannelTest = Type.Object({
  delivered: Type.Boolean(),
  answer: Type.String({ description: "The other side's answer, as it came." }),
  milliseconds: Type.Number(),
});
export type ChannelTest = Static<typeof ChannelTest>;

/** Read-only truth for the console's settings page. */
export const Settings = Type.Object({
  version: Type.String(),
  configurationFile: Maybe(Type.String()),
  publicUrl: Maybe(Type.String()),
  retention: Type.Object({ reportDays: Type.Integer(), observationDays: Type.Integer() }),
  storage: Type.Object({
    database: Type.String({ description: '"embedded" or the host' }),
    usedBytes: Maybe(Type.Number()),
    reportsBytesPerDay: Maybe(Type.Number({ description: 'Over the last full days.' })),
    expectedBytes: Maybe(Type.Number({ description: 'Used when the retention is full, at this rate.' })),
    diskAvailableBytes: Maybe(Type.Number({ description: 'Only known for the embedded database.' })),
    fullInDays: Maybe(Type.Number({ description: 'null when it is not going to be full.' })),
  }),
  options: Type.Array(Type.Object({ name: Type.String(), value: Type.String(), source: Type.String() })),
});
export type Settings = Static<typeof Settings>;

/**
 * A label of a series that one node tells about another one: that node's name. Where an alert about such a series makes others
 * moot, it does so on the node it names, and on every node for those that are about the same `cluster`.
 */
export const LOST_NODE = 'lost_node';

/**
 * Server-sent events of `GET /api/events` (event name → JSON data). `life` comes at least every two seconds.
 * overview: the whole fleet, first and after a gap. nodes: rows that changed. alert: one that changed. rules: in force anew.
 */
export interface LiveEvents {
  life: { at: string };
  overview: Overview;
  nodes: { at: string; nodes: OverviewNode[]; removed: string[] };
  alert: AlertView;
  /** Something about these changed: ask again. */
  changed: { what: 'silences' | 'channels' | 'rules' | 'nodes' | 'replication' };
}
