/** What is read for the decision about a machine that asks, and what is written of it, in a transaction that holds the lock. */
import type { PoolClient } from 'pg';
import { ProblemError, machineCode, type ClaimReason, type EnrollRequest } from '@tidemark/protocol';
import {
  decideEnrolment,
  type EnrolmentDecision,
  type EnrolmentNode,
  type EnrolmentPolicy,
  type KnownSecret,
} from './enrolment-decision.ts';
import {
  OVERLAP_MS,
  UNTIL_USED_MS,
  addNode,
  addToken,
  admit,
  claimOf,
  deleteNeverApproved,
  endTokens,
  described,
  expireTokens,
  forgetEnded,
  nodeById,
  nodeByName,
  type Described,
  type NodeRow,
} from './node-store.ts';
import { storable, storableTags } from './storable.ts';
import { countUse, tokenVerdict, type FoundToken } from './token-store.ts';

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

/** Decides and does it. Throws a ProblemError with the refusal's code. */
export async function enroll(client: PoolClient, asking: EnrolmentAsking, now: Date): Promise<EnrolmentOutcome> {
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
  const named = await nodeByName(client, name);
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
        // Of the node's secrets the one that it shows is the one that it has; others were lost on the way.
        await endTokens(client, node.id, now, null, asking.bearerHash);
        await expireTokens(client, node.id, new Date(now.getTime() + UNTIL_USED_MS));
        await addToken(client, node.id, hash, now);
        await forgetEnded(client, node.id);
      }
      return { ...approved((await nodeById(client, node.id))!), ...(rename ? { formerName: node.name } : {}) };
    }
  }
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

function toNode({ id, name, state, machine, seen }: NodeRow, { heard }: Pick<EnrolmentAsking, 'heard'>): EnrolmentNode {
  return { id, name, state, machine, everSeen: seen || heard(id) };
}

async function putClaim(
  client: PoolClient,
  nodeId: number,
  reason: ClaimReason,
  { request, secretHash, address }: EnrolmentAsking,
  { site, tags, enrollmentId }: Described & { enrollmentId: number | null },
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
  const holder = await nodeByName(client, name);
  const claim = await claimOf(client, node.id);
  if (node.state === 'pending' && holder === undefined && claim?.reason === 'new') {
    await client.query('UPDATE nodes SET name = $2 WHERE id = $1', [node.id, name]);
    return;
  }
  await client.query('DELETE FROM node_claims WHERE node_id = $1', [node.id]);
  if (node.state === 'pending') await deleteNeverApproved(client, node.id);
}
