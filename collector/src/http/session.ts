/**
 * Sessions of people: a signed cookie and nothing on the server, so that they hold while the database is
 * away and end, all of them, when the admin token is reset.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

export const SESSION_COOKIE = 'tidemark_session';
const DAY_MS = 86_400_000;
/** Ends after this long without a request, and at the latest this long after the sign-in. */
export const SESSION_IDLE_MS = 7 * DAY_MS;
const SESSION_MAX_MS = 30 * DAY_MS;
/** A session in use is extended when this much of its idle time has passed. */
const RENEW_AFTER_MS = DAY_MS / 2;

export interface Session {
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly expiresAt: number;
}

const sign = (payload: string, key: Buffer): string => createHmac('sha256', key).update(payload).digest('base64url');

/** Writes a session as a cookie's value. */
export function sealSession(session: Session, key: Buffer): string {
  const payload = `${session.startedAt}.${session.expiresAt}.${randomBytes(9).toString('base64url')}`;
  return `${payload}.${sign(payload, key)}`;
}

export function newSession(now: number): Session {
  return { startedAt: now, expiresAt: now + SESSION_IDLE_MS };
}

/** Reads a cookie's value: undefined when it is not ours, "expired" when it was. */
export function openSession(value: string, key: Buffer, now: number): Session | 'expired' | undefined {
  const at = value.lastIndexOf('.');
  const payload = value.slice(0, Math.max(at, 0));
  const given = Buffer.from(value.slice(at + 1));
  const right = Buffer.from(sign(payload, key));
  if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
  const [startedAt, expiresAt] = payload.split('.').map(Number);
  if (!(expiresAt! > now) || now - startedAt! > SESSION_MAX_MS) return 'expired';
  return { startedAt: startedAt!, expiresAt: expiresAt! };
}

/** The same session with its idle time counted from now, or undefined when it is not yet worth a new cookie. */
export function renewed(session: Session, now: number): Session | undefined {
  const expiresAt = Math.min(now + SESSION_IDLE_MS, session.startedAt + SESSION_MAX_MS);
  return expiresAt - session.expiresAt > RENEW_AFTER_MS ? { ...session, expiresAt } : undefined;
}
