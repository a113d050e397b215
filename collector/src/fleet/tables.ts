/** Drizzle's view of the fleet's tables; the migrations make them. */
import { customType, doublePrecision, integer, jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core';
import type { NodeState, Tags } from '@tidemark/protocol';

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
});

export const nodeTokens = pgTable('node_tokens', {
  tokenHash: bytea('token_hash').primaryKey(),
  nodeId: integer('node_id').notNull(),
  createdAt: time('created_at').notNull(),
  revokedAt: time('revoked_at'),
});

export const apiTokens = pgTable('api_tokens', {
  name: text('name').primaryKey(),
  tokenHash: bytea('token_hash').notNull(),
  role: text('role').$type<'read' | 'admin'>().notNull(),
  createdAt: time('created_at').notNull(),
});
