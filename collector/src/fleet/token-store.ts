/** Enrolment tokens as rows, and what one is worth at a moment. */
import type { PoolClient } from 'pg';
import type { Tags } from '@tidemark/protocol';
import type { TokenVerdict } from './enrolment-decision.ts';

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

export const ENROLLMENT = `id, created_at AS "createdAt", expires_at AS "expiresAt", uses, used, site, tags, revoked_at AS "revokedAt"`;

export interface FoundToken {
  verdict: TokenVerdict;
  id: number | null;
  site: string;
  tags: Tags;
}

export async function tokenVerdict(client: PoolClient, hash: Buffer | undefined, now: Date): Promise<FoundToken> {
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

export async function countUse(client: PoolClient, { id }: FoundToken): Promise<void> {
  if (id !== null) await client.query('UPDATE enrollments SET used = used + 1 WHERE id = $1', [id]);
}
