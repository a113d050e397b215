/**
 * Nodes, their secrets and the claims on them as rows: each function is a statement or two of a transaction that holds the lock of
 * `locked`, under which nobody else gets or loses a name.
 */
import type { PoolClient } from 'pg';
import type { ClaimReason, NodeState, Tags } from '@tidemark/protocol';
import type { Database } from '../db/pool.ts';

/** "tide" and 5: any constant that no other program is likely to take. */
const LOCK_KEY = 0x746964650005;
/** How long a secret that was replaced holds when the new one is not used before. */
export const OVERLAP_MS = 24 * 3_600_000;
/**
 * The same when the node itself asked for the new one: only the use of that ends the old one. A rotation that broke off, with the new
 * secret lost on the node, must not lock it out a day later.
 */
export const UNTIL_USED_MS = 10 * 365 * 24 * 3_600_000;
/** Ended secrets that are remembered of a node: their holders are told so, in place of "unknown". */
const ENDED_KEPT = 50;

export interface NodeRow {
  id: number;
  name: string;
  state: NodeState;
  site: string;
  tags: Tags;
  machine: string | null;
  seen: boolean;
}

/** What is said of a node, by its agent, its operator or its enrolment token. */
export interface Described {
  readonly site: string;
  readonly tags: Tags;
}

export const NOTHING: Described = { site: '', tags: {} };

export interface ClaimRow {
  node_id: number;
  token_hash: Buffer;
  reason: ClaimReason;
  machine: string | null;
  address: string;
  site: string;
  tags: Tags;
  enrollment_id: number | null;
}

const NODE = `SELECT n.id, n.name, n.state, n.site, n.tags, coalesce(c.machine, n.machine) AS machine,
  (n.agent_version IS NOT NULL OR EXISTS (SELECT 1 FROM boots b WHERE b.node_id = n.id)) AS seen
  FROM nodes n LEFT JOIN node_claims c ON c.node_id = n.id AND n.state = 'pending'`;

/** Runs `work` in a transaction of its own while no other collector of the database does the like. */
export async function locked<T>(database: Database, work: (client: PoolClient) => Promise<T>): Promise<T> {
  return database.transaction(async (client) => {
    await client.query('SELECT pg_advisory_xact_lock($1)', [LOCK_KEY]);
    return work(client);
  });
}

export const nodeById = (client: PoolClient, id: number): Promise<NodeRow | undefined> => oneNode(client, 'n.id = $1', id);

/** A node that is not retired. */
export const nodeByName = (client: PoolClient, name: string): Promise<NodeRow | undefined> =>
  oneNode(client, "n.name = $1 AND n.state <> 'retired'", name);

async function oneNode(client: PoolClient, condition: string, value: unknown): Promise<NodeRow | undefined> {
  return (await client.query<NodeRow>(`${NODE} WHERE ${condition} FOR UPDATE OF n`, [value])).rows[0];
}

export async function claimOf(client: PoolClient, nodeId: number): Promise<ClaimRow | undefined> {
  return (await client.query<ClaimRow>('SELECT * FROM node_claims WHERE node_id = $1', [nodeId])).rows[0];
}

export async function addNode(
  client: PoolClient,
  { name, site, tags, state, machine }: { name: string; site: string; tags: Tags; state: NodeState; machine: string | null },
  now: Date,
): Promise<{ id: number; name: string; site: string }> {
  const { rows } = await client.query<{ id: number; name: string; site: string }>(
    `INSERT INTO nodes (name, site, tags, state, machine, created_at, state_changed_at) VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING id, name, site`,
    [name, site, JSON.stringify(tags), state, machine, now],
  );
  return rows[0]!;
}

export async function addToken(client: PoolClient, nodeId: number, hash: Buffer, now: Date): Promise<void> {
  await client.query('INSERT INTO node_tokens (token_hash, node_id, created_at) VALUES ($1, $2, $3)', [hash, nodeId, now]);
}

/** What the agent says stands over what was said of the node, and that over what its enrolment token says. */
export function described(...sayings: readonly Described[]): Described {
  return {
    site: sayings.find(({ site }) => site !== '')?.site ?? '',
    tags: sayings.find(({ tags }) => Object.keys(tags).length > 0)?.tags ?? {},
  };
}

/** Makes a machine the node. A claim that waits there is over, whosever it is. */
export async function admit(
  client: PoolClient,
  node: NodeRow,
  { hash, machine, own, given }: { hash: Buffer; machine: string | null; own: Described; given: Described },
  now: Date,
): Promise<void> {
  const { site, tags } = described(own, node, given);
  await client.query('DELETE FROM node_claims WHERE node_id = $1', [node.id]);
  await addToken(client, node.id, hash, now);
  await client.query('UPDATE nodes SET machine = $2, site = $3, tags = $4 WHERE id = $1', [node.id, machine, site, JSON.stringify(tags)]);
  await setState(client, node.id, 'approved', now);
  await forgetEnded(client, node.id);
}

/** Whoever may ask without a credential must not be able to leave rows behind. */
export async function deleteNeverApproved(client: PoolClient, nodeId: number): Promise<void> {
  await client.query(
    "DELETE FROM nodes n WHERE id = $1 AND state = 'pending' AND NOT EXISTS (SELECT 1 FROM node_tokens k WHERE k.node_id = n.id)",
    [nodeId],
  );
}

export async function setState(client: PoolClient, nodeId: number, state: NodeState, now: Date): Promise<void> {
  await client.query('UPDATE nodes SET state = $2, state_changed_at = $3 WHERE id = $1 AND state <> $2', [nodeId, state, now]);
}

export async function expireTokens(client: PoolClient, nodeId: number, at: Date): Promise<void> {
  await client.query('UPDATE node_tokens SET expires_at = least(coalesce(expires_at, $2), $2) WHERE node_id = $1 AND revoked_at IS NULL', [
    nodeId,
    at,
  ]);
}

export async function endTokens(
  client: PoolClient,
  nodeId: number,
  now: Date,
  as: 'denied' | 'replaced' | null,
  except: Buffer = Buffer.alloc(0),
): Promise<void> {
  await client.query(
    'UPDATE node_tokens SET revoked_at = $2, ended_as = $3 WHERE node_id = $1 AND revoked_at IS NULL AND token_hash <> $4',
    [nodeId, now, as, except],
  );
}

/** A node that asks for a new secret every minute must not fill the table. */
export async function forgetEnded(client: PoolClient, nodeId: number): Promise<void> {
  await client.query(
    `DELETE FROM node_tokens WHERE token_hash IN (
       SELECT token_hash FROM node_tokens WHERE node_id = $1 AND revoked_at IS NOT NULL
       ORDER BY created_at DESC OFFSET $2)`,
    [nodeId, ENDED_KEPT],
  );
}
