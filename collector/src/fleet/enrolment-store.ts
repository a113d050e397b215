/**
 * Enrolment in the database. Whatever decides who gets a name runs in one transaction under one lock, over all collectors of the
 * database: what was read is true until it is written, and of two machines that race for one use one wins.
 */
import { ProblemError, machineCode, type ClaimReason, type NodeState, type Tags } from '@tidemark/protocol';
import { codeOf } from '@tidemark/service';
import type { PoolClient } from 'pg';
import type { Database } from '../db/pool.ts';
import { enroll, type EnrolmentAsking, type EnrolmentOutcome } from './asking-store.ts';
import {
  NOTHING,
  OVERLAP_MS,
  admit,
  claimOf,
  deleteNeverApproved,
  endTokens,
  expireTokens,
  forgetEnded,
  locked,
  nodeById,
  setState,
  type ClaimRow,
  type Described,
  type NodeRow,
} from './node-store.ts';
import { ENROLLMENT, type Enrollment } from './token-store.ts';

const UNIQUE_VIOLATION = '23505';
/** Enrolment tokens that can no longer be used are shown this long. */
const ENROLLMENT_KEPT_MS = 30 * 86_400_000;

/** A claim that was approved or denied, for the log and for whoever decided. */
export interface SettledClaim {
  readonly reason: ClaimReason;
  readonly machineCode: string;
  readonly address: string;
}

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

  #locked<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    return locked(this.#database, work);
  }
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
