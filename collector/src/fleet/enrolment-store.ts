/**
 * Enrolment in the database. Whatever decides who gets a name runs in one transaction under one lock, over all collectors of the
 * database: what was read is true until it is written, and of two machines that race for one use one wins.
 */
import type { PoolClient } from 'pg';
import { ProblemError, machineCode, type ClaimReason, type EnrollRequest, type NodeState, type Tags } from '@tidemark/protocol';
import { codeOf } from '@tidemark/service';
import type { Database } from '../db/pool.ts';
import {
  decideEnrolment,
  type EnrolmentDecision,
  type EnrolmentNode,
  type EnrolmentPolicy,
  type KnownSecret,
  type TokenVerdict,
} from './enrolment-decision.ts';
import { storable, storableTags } from './storable.ts';

/** "tide" and 5: any constant that no other program is likely to take. */
const LOCK_KEY = 0x746964650005;
const UNIQUE_VIOLATION = '23505';
/** How long a secret that was replaced holds when the new one is not used before. */
export const OVERLAP_MS = 24 * 3_600_000;
/** Ended secrets that are remembered of a node: their holders are told so, in place of "unknown". */
const ENDED_KEPT = 50;
/** Enrolment tokens that can no longer be used are shown this long. */
const ENROLLMENT_KEPT_MS = 30 * 86_400_000;

/** A request to join, with what the HTTP layer knows of it. */
export interface EnrolmentAsking {
  readonly request: EnrollRequest;
  /** SHA-256 of the agent's secret. */
  readonly secretHash: Buffer;
  /** SHA-256 of the enrolment token. */
  readonly tokenHash: Buffer | undefined;
  /** SHA-256 of the secret that the request was sent with. */
  readonly bearerHash: Buffer | undefined;
  readonly address: string;
  readonly policy: EnrolmentPolicy;
  /** Whether a report of the node was heard; the store learns that later. */
  readonly heard: (nodeId: number) => boolean;
}

export interface EnrolmentOutcome {
  readonly decision: Exclude<EnrolmentDecision, { kind: 'refuse' }>['kind'];
  readonly state: 'approved' | 'pending';
  readonly reason: ClaimReason | null;
  readonly node: { readonly id: number; readonly name: string; readonly site: string };
  /** What the node was called before. */
  readonly formerName: string | undefined;
  /** The machine whose claim this one replaced. */
  readonly displaced: string | undefined;
}

/** A claim that was approved or denied, for the log and for whoever decided. */
export interface SettledClaim {
  readonly reason: ClaimReason;
  readonly machineCode: string;
  readonly address: string;
}

export interface Enrollment {
  readonly id: number;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly uses: number;
  readonly used: number;
  readonly site: string;
  readonly tags: Tags;
  readonly revokedAt: Date | null;
}

interface NodeRow {
  id: number;
  name: string;
  state: NodeState;
  site: string;
  tags: Tags;
  machine: string | null;
  seen: boolean;
}

/** What is said of a node, by its agent, its operator or its enrolment token. */
interface Described {
  readonly site: string;
  readonly tags: Tags;
}

const NOTHING: Described = { site: '', tags: {} };

interface ClaimRow {
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
const ENROLLMENT = `id, created_at AS "createdAt", expires_at AS "expiresAt", uses, used, site, tags, revoked_at AS "revokedAt"`;

export class EnrolmentStore {
  readonly #database: Database;
  constructor(database: Database) {
    this.#database = database;
  }

  /** Decides and does it. Throws a ProblemError with the refusal's code; nothing is written then. */
  async enroll(asking: EnrolmentAsking, now: Date): Promise<EnrolmentOutcome> {
    try {
      return await this.#locked((client) => enroll(client, asking, now));
    } catch (error) {
      // Somebody gave a node the name without the lock (`nodes add`, `nodes rename`): decided again with that known.
      if (codeOf(error) !== UNIQUE_VIOLATION) throw error;
      return this.#locked((client) => enroll(client, asking, now));
    }
  }

  /**
   * Lets a node report, and takes in the machine that asks to be it. Resolves with what that was.
   * Throws `state_conflict` when another machine than `wanted` asks, and when nobody says which machine is meant where that matters.
   */
  async approve(nodeId: number, wanted: string | undefined, now: Date): Promise<SettledClaim | undefined> {
    return this.#locked(async (client) => {
      const node = await nodeById(client, nodeId);
      const claim = await claimOf(client, nodeId);
      if (node === undefined || node.state === 'retired') throw new ProblemError('state_conflict', 'The node has been retired.');
      requireClaim(node, claim, wanted);
      if (claim === undefined) {
        await setState(client, nodeId, 'approved', now);
        return undefined;
      }
      if (wanted === undefined && (claim.reason === 'clone-or-replacement' || node.state === 'revoked'))
        throw new ProblemError(
          'state_conflict',
          `A machine asks to be ${JSON.stringify(node.name)}, which is a node already. Say that it is this machine (${machineCode(claim.machine ?? undefined)}) that is meant, or deny it.`,
        );
      // The same machine's old agent may go on until the new one speaks; of two machines only one is the node.
      if (claim.reason === 'same-machine') await expireTokens(client, nodeId, new Date(now.getTime() + OVERLAP_MS));
      else await endTokens(client, nodeId, now, 'replaced');
      const [given] = (
        await client.query<Described>('UPDATE enrollments SET used = least(used + 1, uses) WHERE id = $1 RETURNING site, tags', [
          claim.enrollment_id,
        ])
      ).rows;
      await admit(client, node, { hash: claim.token_hash, machine: claim.machine, own: claim, given: given ?? NOTHING }, now);
      return settled(claim);
    });
  }

  /** Sends away the machine that asks. A node that was never approved is retired, and its name is free. */
  async deny(nodeId: number, wanted: string | undefined, now: Date): Promise<SettledClaim | undefined> {
    return this.#locked(async (client) => {
      const node = await nodeById(client, nodeId);
      const claim = await claimOf(client, nodeId);
      if (node === undefined || (claim === undefined && node.state !== 'pending'))
        throw new ProblemError('state_conflict', 'No machine asks to be approved there.');
      requireClaim(node, claim, wanted);
      if (claim !== undefined) {
        await client.query(
          "INSERT INTO node_tokens (token_hash, node_id, created_at, revoked_at, ended_as) VALUES ($1, $2, $3, $3, 'denied')",
          [claim.token_hash, nodeId, now],
        );
        await client.query('DELETE FROM node_claims WHERE node_id = $1', [nodeId]);
      }
      if (node.state === 'pending') {
        await endTokens(client, nodeId, now, 'denied');
        await setState(client, nodeId, 'retired', now);
      }
      return claim === undefined ? undefined : settled(claim);
    });
  }

  /** Retires a node; a machine that asked to be it may ask for the name as anyone. */
  async retire(nodeId: number, now: Date): Promise<void> {
    await this.#locked(async (client) => {
      await client.query('DELETE FROM node_claims WHERE node_id = $1', [nodeId]);
      await setState(client, nodeId, 'retired', now);
    });
  }

  /** Takes the node's credential away. One that waited for its first approval waits no longer; it can still be approved. */
  async revoke(nodeId: number, now: Date): Promise<void> {
    await this.#locked(async (client) => {
      await client.query(
        `INSERT INTO node_tokens (token_hash, node_id, created_at)
         SELECT c.token_hash, c.node_id, $2 FROM node_claims c JOIN nodes n ON n.id = c.node_id WHERE n.id = $1 AND n.state = 'pending'`,
        [nodeId, now],
      );
      await client.query("DELETE FROM node_claims c USING nodes n WHERE n.id = c.node_id AND n.id = $1 AND n.state = 'pending'", [nodeId]);
      await setState(client, nodeId, 'revoked', now);
    });
  }

  /** Gives a node another secret. Those it had end at once, or after the overlap. */
  async replaceToken(nodeId: number, hash: Buffer, overlapMs: number, now: Date): Promise<void> {
    await this.#locked(async (client) => {
      if (overlapMs > 0) await expireTokens(client, nodeId, new Date(now.getTime() + overlapMs));
      else await endTokens(client, nodeId, now, null);
      await client.query('INSERT INTO node_tokens (token_hash, node_id, created_at) VALUES ($1, $2, $3)', [hash, nodeId, now]);
      await forgetEnded(client, nodeId);
    });
  }

  /** Ends secrets whose successor was used. */
  async endTokens(hashes: readonly Buffer[], now: Date): Promise<void> {
    await this.#database.query('UPDATE node_tokens SET revoked_at = $2 WHERE token_hash = ANY ($1) AND revoked_at IS NULL', [hashes, now]);
  }

  /** Notes that machines that wait were heard of. */
  async noteAsked(hashes: readonly Buffer[], now: Date): Promise<void> {
    await this.#database.query('UPDATE node_claims SET asked_at = $2 WHERE token_hash = ANY ($1) AND asked_at < $2', [hashes, now]);
  }

  /** Drops what waits and was not heard of since. Nodes that were never approved go with it: they have no history. */
  async dropSilent(since: Date): Promise<{ name: string; reason: ClaimReason }[]> {
    return this.#locked(async (client) => {
      const { rows } = await client.query<{ id: number; name: string; reason: ClaimReason; state: NodeState }>(
        `DELETE FROM node_claims c USING nodes n WHERE n.id = c.node_id AND c.asked_at < $1
         RETURNING n.id, n.name, c.reason, n.state`,
        [since],
      );
      for (const { id, state } of rows) if (state === 'pending') await deleteNeverApproved(client, id);
      return rows.map(({ name, reason }) => ({ name, reason }));
    });
  }

  async addEnrollment(
    enrollment: { tokenHash: Buffer; ttlMs: number; uses: number; site: string; tags: Tags },
    now: Date,
  ): Promise<Enrollment> {
    const [row] = await this.#database.query<Enrollment>(
      `INSERT INTO enrollments (token_hash, created_at, expires_at, uses, site, tags) VALUES ($1, $2, $3, $4, $5, $6) RETURNING ${ENROLLMENT}`,
      [
        enrollment.tokenHash,
        now,
        new Date(now.getTime() + enrollment.ttlMs),
        enrollment.uses,
        enrollment.site,
        JSON.stringify(enrollment.tags),
      ],
    );
    return row!;
  }

  /** Newest first. Those that ended long ago are deleted on the way. */
  async enrollments(now: Date): Promise<Enrollment[]> {
    const [, rows] = await this.#database.transaction(async (client) => [
      await client.query('DELETE FROM enrollments WHERE expires_at < $1', [new Date(now.getTime() - ENROLLMENT_KEPT_MS)]),
      (await client.query<Enrollment>(`SELECT ${ENROLLMENT} FROM enrollments ORDER BY id DESC LIMIT 1000`)).rows,
    ]);
    return rows;
  }

  /** Resolves with whether there is one. */
  async revokeEnrollment(id: number, now: Date): Promise<boolean> {
    const rows = await this.#database.query('UPDATE enrollments SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1 RETURNING id', [
      id,
      now,
    ]);
    return rows.length > 0;
  }

  async #locked<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    return this.#database.transaction(async (client) => {
      await client.query('SELECT pg_advisory_xact_lock($1)', [LOCK_KEY]);
      return work(client);
    });
  }
}

async function enroll(client: PoolClient, asking: EnrolmentAsking, now: Date): Promise<EnrolmentOutcome> {
  const { request } = asking;
  const name = request.name;
  let known = await knownSecret(client, asking.secretHash, asking, now);
  const proven = asking.bearerHash?.equals(asking.secretHash) === true;
  const formerName = known?.node.name;
  if (known?.standing === 'asks' && proven && known.node.name !== name) {
    await withdraw(client, known.node, name);
    known = await knownSecret(client, asking.secretHash, asking, now);
  }
  const bearer = asking.bearerHash === undefined ? undefined : await knownSecret(client, asking.bearerHash, asking, now);
  const named = await oneNode(client, `${NODE} WHERE n.name = $1 AND n.state <> 'retired' FOR UPDATE OF n`, [name]);
  const token = await tokenVerdict(client, asking.tokenHash, now);
  const [{ count }] = (await client.query<{ count: number }>("SELECT count(*)::int AS count FROM nodes WHERE state = 'pending'")).rows as [
    { count: number },
  ];
  const decision = decideEnrolment({
    name,
    machine: request.machine,
    policy: asking.policy,
    token: token.verdict,
    named: named === undefined ? undefined : toNode(named, asking),
    known,
    bearer: bearer?.standing === 'active' && bearer.node.state === 'approved' ? bearer.node : undefined,
    pendingCount: count,
  });
  if (decision.kind === 'refuse') throw new ProblemError(decision.code, decision.detail);
  return { formerName: formerName === name ? undefined : formerName, ...(await carryOut(client, decision, asking, token, now)) };
}

type Carried = Omit<EnrolmentOutcome, 'formerName'> & { formerName?: string };

async function carryOut(
  client: PoolClient,
  decision: Exclude<EnrolmentDecision, { kind: 'refuse' }>,
  asking: EnrolmentAsking,
  token: FoundToken,
  now: Date,
): Promise<Carried> {
  const { request, secretHash: hash } = asking;
  const own = { site: storable(request.site ?? ''), tags: storableTags(request.tags ?? {}) };
  const { site, tags } = described(own, token);
  const machine = request.machine ?? null;
  const approved = (node: { id: number; name: string; site: string }): Carried => ({
    decision: decision.kind,
    state: 'approved',
    reason: null,
    node,
    displaced: undefined,
  });
  switch (decision.kind) {
    case 'already':
      return approved((await nodeById(client, decision.node.id))!);
    case 'waits':
      return { ...(await noteAgain(client, decision.node.id, asking, now)), decision: 'waits' };
    case 'add': {
      const node = await addNode(client, { name: request.name, site, tags, state: 'approved', machine }, now);
      await addToken(client, node.id, hash, now);
      await countUse(client, token);
      return approved(node);
    }
    case 'pend': {
      const node = await addNode(client, { name: request.name, site, tags, state: 'pending', machine: null }, now);
      await putClaim(client, node.id, 'new', asking, { ...own, enrollmentId: null }, now);
      return { ...approved(node), state: 'pending', reason: 'new' };
    }
    case 'take': {
      await expireTokens(client, decision.node.id, new Date(now.getTime() + OVERLAP_MS));
      const node = await nodeById(client, decision.node.id);
      await admit(client, node!, { hash, machine, own, given: token }, now);
      await countUse(client, token);
      return approved((await nodeById(client, decision.node.id))!);
    }
    case 'claim': {
      const before = await claimOf(client, decision.node.id);
      await putClaim(client, decision.node.id, decision.reason, asking, { ...own, enrollmentId: token.id }, now);
      const node = await nodeById(client, decision.node.id);
      const displaced = before === undefined ? undefined : machineCode(before.machine ?? undefined);
      return { ...approved(node!), state: 'pending', reason: decision.reason, displaced };
    }
    case 'change': {
      const { node, rename, rotate } = decision;
      if (rename) await client.query('UPDATE nodes SET name = $2 WHERE id = $1', [node.id, request.name]);
      await client.query('UPDATE nodes SET machine = coalesce(machine, $2) WHERE id = $1', [node.id, machine]);
      if (rotate) {
        await expireTokens(client, node.id, new Date(now.getTime() + OVERLAP_MS));
        await addToken(client, node.id, hash, now);
        await forgetEnded(client, node.id);
      }
      return { ...approved((await nodeById(client, node.id))!), ...(rename ? { formerName: node.name } : {}) };
    }
  }
}

interface FoundToken {
  verdict: TokenVerdict;
  id: number | null;
  site: string;
  tags: Tags;
}

async function tokenVerdict(client: PoolClient, hash: Buffer | undefined, now: Date): Promise<FoundToken> {
  const none = { id: null, site: '', tags: {} };
  if (hash === undefined) return { verdict: 'absent', ...none };
  const { rows } = await client.query<Enrollment>(`SELECT ${ENROLLMENT} FROM enrollments WHERE token_hash = $1 FOR UPDATE`, [hash]);
  const row = rows[0];
  if (row === undefined) return { verdict: 'unknown', ...none };
  const state = enrollmentState(row, now);
  return { verdict: state === 'open' ? 'valid' : state, id: row.id, site: row.site, tags: row.tags };
}

export function enrollmentState({ revokedAt, used, uses, expiresAt }: Enrollment, now: Date): 'open' | 'expired' | 'used-up' | 'revoked' {
  if (revokedAt !== null) return 'revoked';
  if (used >= uses) return 'used-up';
  return expiresAt <= now ? 'expired' : 'open';
}

async function countUse(client: PoolClient, { id }: FoundToken): Promise<void> {
  if (id !== null) await client.query('UPDATE enrollments SET used = used + 1 WHERE id = $1', [id]);
}

async function knownSecret(
  client: PoolClient,
  hash: Buffer,
  asking: Pick<EnrolmentAsking, 'heard'>,
  now: Date,
): Promise<KnownSecret | undefined> {
  const { rows: tokens } = await client.query<{ node_id: number; ended: boolean; ended_as: 'denied' | 'replaced' | null }>(
    'SELECT node_id, (revoked_at IS NOT NULL OR expires_at <= $2) AS ended, ended_as FROM node_tokens WHERE token_hash = $1',
    [hash, now],
  );
  if (tokens[0] !== undefined) {
    const { node_id: id, ended, ended_as: endedAs } = tokens[0];
    const node = toNode((await nodeById(client, id))!, asking);
    return { node, standing: ended ? (endedAs ?? 'revoked') : 'active' };
  }
  const { rows: claims } = await client.query<{ node_id: number }>('SELECT node_id FROM node_claims WHERE token_hash = $1', [hash]);
  if (claims[0] === undefined) return undefined;
  return { node: toNode((await nodeById(client, claims[0].node_id))!, asking), standing: 'asks' };
}

const nodeById = (client: PoolClient, id: number): Promise<NodeRow | undefined> =>
  oneNode(client, `${NODE} WHERE n.id = $1 FOR UPDATE OF n`, [id]);

async function oneNode(client: PoolClient, text: string, values: unknown[]): Promise<NodeRow | undefined> {
  return (await client.query<NodeRow>(text, values)).rows[0];
}

function toNode({ id, name, state, machine, seen }: NodeRow, { heard }: Pick<EnrolmentAsking, 'heard'>): EnrolmentNode {
  return { id, name, state, machine, everSeen: seen || heard(id) };
}

async function claimOf(client: PoolClient, nodeId: number): Promise<ClaimRow | undefined> {
  return (await client.query<ClaimRow>('SELECT * FROM node_claims WHERE node_id = $1', [nodeId])).rows[0];
}

async function addNode(
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

async function addToken(client: PoolClient, nodeId: number, hash: Buffer, now: Date): Promise<void> {
  await client.query('INSERT INTO node_tokens (token_hash, node_id, created_at) VALUES ($1, $2, $3)', [hash, nodeId, now]);
}

/** What the agent says stands over what was said of the node, and that over what its enrolment token says. */
function described(...sayings: readonly Described[]): Described {
  return {
    site: sayings.find(({ site }) => site !== '')?.site ?? '',
    tags: sayings.find(({ tags }) => Object.keys(tags).length > 0)?.tags ?? {},
  };
}

/** Makes a machine the node. A claim that waits there is over, whosever it is. */
async function admit(
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

async function putClaim(
  client: PoolClient,
  nodeId: number,
  reason: ClaimReason,
  { request, secretHash, address }: EnrolmentAsking,
  { site, tags, enrollmentId }: { site: string; tags: Tags; enrollmentId: number | null },
  now: Date,
): Promise<void> {
  await client.query('DELETE FROM node_claims WHERE node_id = $1', [nodeId]);
  await client.query(
    `INSERT INTO node_claims (node_id, token_hash, reason, machine, address, platform, agent_version, asked_at, site, tags, enrollment_id)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    [
      nodeId,
      secretHash,
      reason,
      request.machine ?? null,
      address,
      request.platform === undefined ? null : storable(request.platform),
      storable(request.version),
      now,
      site,
      JSON.stringify(tags),
      enrollmentId,
    ],
  );
}

/** One that waits asked again. The machine stays the one that the operator sees. */
async function noteAgain(
  client: PoolClient,
  nodeId: number,
  { address, request }: EnrolmentAsking,
  now: Date,
): Promise<Omit<Carried, 'decision'>> {
  const { rows } = await client.query<{ reason: ClaimReason }>(
    'UPDATE node_claims SET asked_at = $2, address = $3, agent_version = $4 WHERE node_id = $1 RETURNING reason',
    [nodeId, now, address, storable(request.version)],
  );
  const node = await nodeById(client, nodeId);
  return { state: 'pending', reason: rows[0]?.reason ?? 'new', node: node!, displaced: undefined };
}

/** One that waits wants another name: when that is free it waits under it, else it asks there as anyone. */
async function withdraw(client: PoolClient, node: EnrolmentNode, name: string): Promise<void> {
  const { rows } = await client.query("SELECT 1 FROM nodes WHERE name = $1 AND state <> 'retired'", [name]);
  const claim = await claimOf(client, node.id);
  if (node.state === 'pending' && rows.length === 0 && claim?.reason === 'new') {
    await client.query('UPDATE nodes SET name = $2 WHERE id = $1', [node.id, name]);
    return;
  }
  await client.query('DELETE FROM node_claims WHERE node_id = $1', [node.id]);
  if (node.state === 'pending') await deleteNeverApproved(client, node.id);
}

/** Whoever may ask without a credential must not be able to leave rows behind. */
async function deleteNeverApproved(client: PoolClient, nodeId: number): Promise<void> {
  await client.query(
    "DELETE FROM nodes n WHERE id = $1 AND state = 'pending' AND NOT EXISTS (SELECT 1 FROM node_tokens k WHERE k.node_id = n.id)",
    [nodeId],
  );
}

async function setState(client: PoolClient, nodeId: number, state: NodeState, now: Date): Promise<void> {
  await client.query('UPDATE nodes SET state = $2, state_changed_at = $3 WHERE id = $1 AND state <> $2', [nodeId, state, now]);
}

async function expireTokens(client: PoolClient, nodeId: number, at: Date): Promise<void> {
  await client.query('UPDATE node_tokens SET expires_at = least(coalesce(expires_at, $2), $2) WHERE node_id = $1 AND revoked_at IS NULL', [
    nodeId,
    at,
  ]);
}

async function endTokens(client: PoolClient, nodeId: number, now: Date, as: 'denied' | 'replaced' | null): Promise<void> {
  await client.query('UPDATE node_tokens SET revoked_at = $2, ended_as = $3 WHERE node_id = $1 AND revoked_at IS NULL', [nodeId, now, as]);
}

/** A node that asks for a new secret every minute must not fill the table. */
async function forgetEnded(client: PoolClient, nodeId: number): Promise<void> {
  await client.query(
    `DELETE FROM node_tokens WHERE token_hash IN (
       SELECT token_hash FROM node_tokens WHERE node_id = $1 AND (revoked_at IS NOT NULL OR expires_at IS NOT NULL)
       ORDER BY created_at DESC OFFSET $2)`,
    [nodeId, ENDED_KEPT],
  );
}

function requireClaim(node: NodeRow, claim: ClaimRow | undefined, wanted: string | undefined): void {
  if (wanted === undefined) return;
  const asks = claim === undefined ? undefined : machineCode(claim.machine ?? undefined);
  if (asks === wanted.toUpperCase() || asks === wanted) return;
  // Approved a moment ago by somebody else, or by a click that was sent twice.
  if (claim === undefined && node.state === 'approved' && machineCode(node.machine ?? undefined) === wanted.toUpperCase()) return;
  throw new ProblemError(
    'state_conflict',
    asks === undefined
      ? `No machine asks to be ${JSON.stringify(node.name)} any more.`
      : `Another machine (${asks}) asks to be ${JSON.stringify(node.name)} by now. Look again before you decide.`,
  );
}

const settled = ({ reason, machine, address }: ClaimRow): SettledClaim => ({
  reason,
  machineCode: machineCode(machine ?? undefined),
  address,
});
