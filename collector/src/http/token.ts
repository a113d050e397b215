/** Tokens: 256 random bits behind a prefix that says what they are for. Only their SHA-256 is ever kept; so much randomness needs no slow hash. */
import { hash, randomBytes } from 'node:crypto';

export const TOKEN_PREFIX = { agent: 'tma_', api: 'tmt_', admin: 'tmadm_', enrolment: 'tmen_' } as const;

export function newToken(kind: keyof typeof TOKEN_PREFIX): string {
  return TOKEN_PREFIX[kind] + randomBytes(32).toString('base64url');
}

export function hashToken(token: string): Buffer {
  // In one call: a fifth of what createHash costs, for every report.
  return hash('sha256', token, 'buffer');
}
