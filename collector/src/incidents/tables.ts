/** Drizzle's view of the tables of alerts; the migrations make them. */
import { bigint, boolean, doublePrecision, integer, jsonb, pgTable, text, timestamp, uuid } from 'drizzle-orm/pg-core';
import type { AlertLevel, Bound, CloseReason, Labels, Matcher, RuleKind } from '@tidemark/protocol';
import type { DeliveryItem, Entry } from './entry.ts';

const time = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' });
/** Far below 2^53 for as long as anything runs. */
const counter = (name: string) => bigint(name, { mode: 'number' });

export const incidents = pgTable('incidents', {
  id: uuid('id').primaryKey(),
  rule: text('rule').notNull(),
  kind: text('kind').$type<RuleKind>().notNull(),
  title: text('title').notNull(),
  nodeId: integer('node_id').notNull(),
  nodeName: text('node_name').notNull(),
  site: text('site').notNull(),
  metric: text('metric'),
  labels: jsonb('labels').$type<Labels>().notNull(),
  unit: text('unit').notNull(),
  state: text('state').$type<'open' | 'closed'>().notNull(),
  level: text('level').$type<AlertLevel>().notNull(),
  levelMax: text('level_max').$type<AlertLevel>().notNull(),
  since: time('since').notNull(),
  openedAt: time('opened_at').notNull(),
  closedAt: time('closed_at'),
  closeReason: text('close_reason').$type<CloseReason>(),
  value: doublePrecision('value'),
  valueAtOpening: doublePrecision('value_at_opening'),
  bound: jsonb('bound').$type<Bound>().notNull(),
  why: text('why').notNull(),
  noData: boolean('no_data').notNull(),
  acknowledgedAt: time('acknowledged_at'),
  acknowledgedBy: text('acknowledged_by'),
  acknowledgedNote: text('acknowledged_note'),
  suppressedBy: text('suppressed_by').array().notNull(),
  annotations: jsonb('annotations').$type<Record<string, string>>().notNull(),
  runbook: text('runbook'),
  epoch: counter('epoch').notNull(),
  position: counter('position').notNull(),
});

export const incidentEntries = pgTable('incident_entries', {
  id: uuid('id').primaryKey(),
  incidentIds: uuid('incident_ids').array().notNull(),
  kind: text('kind').$type<Entry['kind']>().notNull(),
  at: time('at').notNull(),
  epoch: counter('epoch').notNull(),
  position: counter('position').notNull(),
  document: jsonb('document').$type<Record<string, unknown>>().notNull(),
});

export const silences = pgTable('silences', {
  id: uuid('id').primaryKey(),
  matcher: jsonb('matcher').$type<Matcher>().notNull(),
  reason: text('reason').notNull(),
  author: text('author').notNull(),
  createdAt: time('created_at').notNull(),
  endsAt: time('ends_at').notNull(),
  endedAt: time('ended_at'),
  endedBy: text('ended_by'),
  epoch: counter('epoch').notNull(),
  position: counter('position').notNull(),
});

export const told = pgTable('told', {
  incidentId: uuid('incident_id').notNull(),
  channel: text('channel').notNull(),
  status: text('status').$type<'firing' | 'resolved'>().notNull(),
  level: text('level').$type<AlertLevel>().notNull(),
  deliveryId: uuid('delivery_id').notNull(),
  thread: text('thread').notNull(),
  at: time('at').notNull(),
  confirmed: boolean('confirmed').notNull(),
});

export const deliveries = pgTable('deliveries', {
  id: uuid('id').primaryKey(),
  channel: text('channel').notNull(),
  thread: text('thread').notNull(),
  items: jsonb('items').$type<DeliveryItem[]>().notNull(),
  state: text('state').$type<'under_way' | 'waiting' | 'delivered' | 'refused' | 'gone' | 'given_up'>().notNull(),
  attempt: integer('attempt').notNull(),
  attemptedAt: time('attempted_at').notNull(),
  retryAt: time('retry_at'),
  answeredAt: time('answered_at'),
  answer: text('answer'),
  epoch: counter('epoch').notNull(),
  position: counter('position').notNull(),
});

export const goneChannels = pgTable('gone_channels', {
  channel: text('channel').primaryKey(),
  at: time('at').notNull(),
  answer: text('answer').notNull(),
  configuration: text('configuration'),
  epoch: counter('epoch').notNull(),
  position: counter('position').notNull(),
});

export const evaluators = pgTable('evaluators', {
  name: text('name').primaryKey(),
  owner: uuid('owner').notNull(),
  epoch: counter('epoch').notNull(),
  takenAt: time('taken_at').notNull(),
  position: counter('position').notNull(),
  state: text('state'),
  savedAt: time('saved_at'),
});
