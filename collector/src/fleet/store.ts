/** The fleet's SQL: nodes, their tokens, and the tokens of programs. */
import { asc, eq } from 'drizzle-orm';
import { ProblemError, type ClaimReason, type NodeState, type Tags } from '@tidemark/protocol';
import { codeOf } from '@tidemark/service';
import type { Database } from '../db/pool.ts';
import type { NodeRecord } from './node.ts';
import { apiTokens, nodeClaims, nodes, nodeTokens } from './tables.ts';

export interface NodeTokenRow {
  hash: Buffer;
  nodeId: number;
  revoked: boolean;
  endedAs: 'denied' | 'replaced' | null;
  /** Milliseconds since 1970. */
  expiresAt: number | undefined;
}

export interface ClaimRow {
  hash: Buffer;
  nodeId: number;
  reason: ClaimReason;
  machine: string | null;
  address: string;
  /** Milliseconds since 1970. */
  askedAt: number;
  platform: string | null;
  agentVersion: string;
}

export interface ApiTokenRow {
  name: string;
  role: 'read' | 'admin';
  hash: Buffer;
  createdAt: number;
}

export interface FleetRows {
  nodes: NodeRecord[];
  nodeTokens: NodeTokenRow[];
  claims: ClaimRow[];
  apiTokens: ApiTokenRow[];
}

const UNIQUE_VIOLATION = '23505';

export class FleetStore {
  readonly #database: Database;
  constructor(database: Database) {
    this.#database = database;
  }

  /** Everything there is to know about who may speak: a few thousand rows at the most. */
  async readAll(): Promise<FleetRows> {
    return this.#database.attempt(async () => {
      const { orm } = this.#database;
      const [nodeRows, tokenRows, claimRows, apiRows] = await Promise.all([
        orm.select().from(nodes).orderBy(asc(nodes.id)),
        orm.select().from(nodeTokens),
        orm.select().from(nodeClaims),
        orm.select().from(apiTokens).orderBy(asc(apiTokens.name)),
      ]);
      return {
        nodes: nodeRows.map(toRecord),
        nodeTokens: tokenRows.map((row) => ({
          hash: row.tokenHash,
          nodeId: row.nodeId,
          revoked: row.revokedAt !== null,
          endedAs: row.endedAs,
          expiresAt: row.expiresAt?.getTime(),
        })),
        claims: claimRows.map(({ tokenHash, askedAt, ...row }) => ({ ...row, hash: tokenHash, askedAt: askedAt.getTime() })),
        apiTokens: apiRows.map((row) => ({ name: row.name, role: row.role, hash: row.tokenHash, createdAt: row.createdAt.getTime() })),
      };
    });
  }

  /** Throws `name_taken` when a node that is not retired has the name. */
  async addNode(node: { name: string; site: string; tags: Tags; state: NodeState; tokenHash: Buffer }, now: Date): Promise<NodeRecord> {
    return this.#named(node.name, async () =>
      this.#database.orm.transaction(async (tx) => {
        const [row] = await tx
          .insert(nodes)
          .values({ name: node.name, site: node.site, tags: node.tags, state: node.state, createdAt: now, stateChangedAt: now })
          .returning();
        await tx.insert(nodeTokens).values({ tokenHash: node.tokenHash, nodeId: row!.id, createdAt: now });
        return toRecord(row!);
      }),
    );
  }

  async rename(nodeId: number, name: string): Promise<void> {
    await this.#named(name, async () => this.#database.orm.update(nodes).set({ name }).where(eq(nodes.id, nodeId)));
  }

  async saveAgent(
    nodeId: number,
    agent: { agentVersion: string | null; intervalSeconds: number | null; site: string; tags: Tags },
  ): Promise<void> {
    await this.#database.attempt(async () => this.#database.orm.update(nodes).set(agent).where(eq(nodes.id, nodeId)));
  }

  async addApiToken(token: { name: string; role: 'read' | 'admin'; tokenHash: Buffer }, now: Date): Promise<void> {
    await this.#named(token.name, async () => this.#database.orm.insert(apiTokens).values({ ...token, createdAt: now }));
  }

  /** Resolves with whether there was one. */
  async removeApiToken(name: string): Promise<boolean> {
    const removed = await this.#database.attempt(async () =>
      this.#database.orm.delete(apiTokens).where(eq(apiTokens.name, name)).returning({ name: apiTokens.name }),
    );
    return removed.length > 0;
  }

  async #named<T>(name: string, work: () => Promise<T>): Promise<T> {
    try {
      return await this.#database.attempt(work);
    } catch (error) {
      const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
      if (codeOf(cause) === UNIQUE_VIOLATION) throw new ProblemError('name_taken', `The name "${name}" is taken.`, { cause: error });
      throw error;
    }
  }
}

function toRecord(row: typeof nodes.$inferSelect): NodeRecord {
  return {
    id: row.id,
    name: row.name,
    state: row.state,
    site: row.site,
    tags: row.tags,
    createdAt: row.createdAt.getTime(),
    agentVersion: row.agentVersion,
    intervalSeconds: row.intervalSeconds,
    machine: row.machine,
  };
}
