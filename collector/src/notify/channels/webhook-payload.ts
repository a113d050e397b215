/** What a webhook says, as one schema: the JSON body of every request, documented in docs/how-to/webhooks.md. Fields are added, never changed. */
import { AlertLevel, Bound, CloseReason } from '@tidemark/protocol';
import { Type, type Static } from 'typebox';
import type { Message, MessageItem } from './channel.ts';

const Maybe = <T extends import('typebox').TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Time = Type.String({ description: 'ISO 8601, UTC' });

export const WebhookAlert = Type.Object({
  id: Type.String({ description: 'Of the alert: the same from its first firing to its resolve.' }),
  status: Type.Union([Type.Literal('firing'), Type.Literal('resolved')]),
  level: AlertLevel,
  rule: Type.String({ description: 'Name of the rule.' }),
  title: Type.String({ description: 'Of the rule, for people.' }),
  node: Type.String({ description: 'What the node is called now.' }),
  site: Type.String(),
  metric: Maybe(Type.String()),
  labels: Type.Record(Type.String(), Type.String()),
  value: Maybe(Type.Number({ description: 'The last one judged; for a resolved alert the one that ended it.' })),
  unit: Type.String({ description: 'ratio, bytes, seconds or empty' }),
  bound: Bound,
  why: Type.String({ description: 'One sentence.' }),
  since: Type.String({ description: 'When the bound was first crossed. ISO 8601, UTC' }),
  openedAt: Time,
  closedAt: Maybe(Time),
  closeReason: Maybe(CloseReason),
  late: Type.Boolean({ description: 'It was over before its firing could be delivered: this message is about both.' }),
  url: Type.String({ description: "The alert's page in the console." }),
  runbook: Maybe(Type.String()),
  annotations: Type.Record(Type.String(), Type.String()),
});
export type WebhookAlert = Static<typeof WebhookAlert>;

export const WebhookPayload = Type.Object({
  type: Type.Union([Type.Literal('alert.firing'), Type.Literal('alert.resolved'), Type.Literal('alert.test')], {
    description: 'alert.firing when at least one of the alerts fires; each alert has its own status.',
  }),
  timestamp: Type.String({ description: 'When the message was made; the same for every attempt. ISO 8601, UTC' }),
  data: Type.Object({
    alerts: Type.Array(WebhookAlert, { maxItems: 100 }),
    thread: Type.String({ description: 'Groups what belongs together: the resolve of an alert has the thread of its firing.' }),
    openCount: Type.Integer({ description: 'Open alerts that this channel was told of, these included.' }),
    possibleRepeat: Type.Boolean({ description: 'An earlier attempt may have arrived.' }),
    test: Type.Boolean({ description: 'Somebody asked for this message, to see whether the way is open.' }),
    collector: Type.String({ description: 'Address of the collector.' }),
  }),
});
export type WebhookPayload = Static<typeof WebhookPayload>;

export function webhookPayload(message: Message): WebhookPayload {
  const { items, thread, openCount, possibleRepeat, test, collectorUrl } = message;
  return {
    type: test ? 'alert.test' : items.some(({ status }) => status === 'firing') ? 'alert.firing' : 'alert.resolved',
    timestamp: iso(timeOfId(message.id)),
    data: { alerts: items.map(alertOf), thread, openCount, possibleRepeat, test, collector: collectorUrl },
  };
}

function alertOf({ status, level, incident, node, url, runbook, late }: MessageItem): WebhookAlert {
  const { incidentId, rule, title, site, metric, labels, value, unit, bound, why, since, openedAt, closedAt, closeReason } = incident;
  return {
    id: incidentId,
    status,
    level,
    rule,
    title,
    node,
    site,
    metric,
    labels: Object.fromEntries(labels),
    value,
    unit,
    bound,
    why,
    since: iso(since),
    openedAt: iso(openedAt),
    closedAt: closedAt === null ? null : iso(closedAt),
    closeReason,
    late,
    url,
    runbook,
    annotations: { ...incident.annotations },
  };
}

const iso = (ms: number): string => new Date(ms).toISOString();

/** When a version 7 UUID was made. */
const timeOfId = (id: string): number => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
