/** Drizzle's view of the fleet's tables; the migrations make them. */
import { customType, doublePrecision, integer, jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core';
import type { ClaimReason, NodeState, Tags } from '@tidemark/protocol';

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });
const time = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' });

export const nodes = pgTable('nodes', {
  id: integer('id').primaryKey().generatedAlwaysAsIdentity(),
  name: text('name').notNull(),
  state: text('state').$type<NodeState>().notNull(),
  site: text('site').notNull(),
  tags: jsonb('tags').$type<Tags>().notNull(),
  createdAt: time('created_at').notNull(),
  stateChangedAt: time('state_changed_at').notNull(),
  agentVersion: text('agent_version'),
  intervalSeconds: doublePrecision('interval_seconds'),
  machine: text('machine'),
});

export const nodeTokens = pgTable('node_tokens', {
  tokenHash: bytea('token_hash').primaryKey(),
  nodeId: integer('node_id').notNull(),
  createdAt: time('created_at').notNull(),
  revokedAt: time('revoked_at'),
  expiresAt: time('expires_at'),
  endedAs: text('ended_as').$type<'denied' | 'replaced'>(),
});

export const nodeClaims = pgTable('node_claims', {
  nodeId: integer('node_id').primaryKey(),
  tokenHash: bytea('token_hash').notNull(),
  reason: text('reason').$type<ClaimReason>().notNull(),
  machine: text('machine'),
  address: text('address').notNull(),
  platform: text('platform'),
  agentVersion: text('agent_version').notNull(),
  askedAt: time('asked_at').notNull(),
  site: text('site').notNull(),
  tags: jsonb('tags').$type<Tags>().notNull(),
  enrollmentId: integer('enrollment_id'),
});

export const enrollments = pgTable('enrollments', {
  id: integer('id').primaryKey().generatedAlwaysAsIdentity(),
  tokenHash: bytea('token_hash').notNull(),
  createdAt: time('created_at').notNull(),
  expiresAt: time('expires_at').notNull(),
  uses: integer('uses').notNull(),
  used: integer('used').notNull().default(0),
  site: text('site').notNull(),
  tags: jsonb('tags').$type<Tags>().notNull(),
  revokedAt: time('revoked_at'),
});

export const apiTokens = pgTable('api_tokens', {
  name: text('name').primaryKey(),
  tokenHash: bytea('token_hash').notNull(),
  role: text('role').$type<'read' | 'admin'>().notNull(),
  createdAt: time('created_at').notNull(),
});
