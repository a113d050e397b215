/**
 * Who may enter the embedded database: its owner, and a role for the agent beside it that may read
 * statistics and nothing else. Each password lies in one file of mode 0600; the file is the truth and
 * the server is made to agree with it.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type pg from 'pg';
import { codeOf, writeFileAtomically } from '@tidemark/service';

export const OWNER_ROLE = 'tidemark';
export const DATABASE_NAME = 'tidemark';
export const AGENT_ROLE = 'tidemark_agent';
const AGENT_CONNECTIONS_MAX = 3;

/** The password in the file; a new one is made and written when there is none. Passwords are base64url: no quoting anywhere. */
export function passwordIn(path: string): { password: string; made: boolean } {
  try {
    const password = readFileSync(path, 'utf8').trim();
    if (/^[\w-]{16,}$/.test(password)) return { password, made: false };
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  const password = randomBytes(24).toString('base64url');
  writeFileAtomically(path, `${password}\n`);
  return { password, made: true };
}

/** True when the password is the one that a SCRAM-SHA-256 verifier was made of. */
export function matchesVerifier(password: string, verifier: string): boolean {
  const [, iterations, salt, storedKey] = /^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):/.exec(verifier) ?? [];
  if (iterations === undefined || salt === undefined || storedKey === undefined) return false;
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const expected = Buffer.from(storedKey, 'base64');
  const actual = createHash('sha256').update(clientKey).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

/** Makes the database and the agent's role as they must be; changes nothing that is so already. */
export async function ensureRoles(client: pg.ClientBase, agentPassword: string): Promise<void> {
  const { rows: databases } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE_NAME]);
  if (databases.length === 0) await client.query(`CREATE DATABASE ${DATABASE_NAME}`);
  const { rows } = await client.query<{ rolpassword: string | null; monitors: boolean; as_wanted: boolean }>(
    `SELECT a.rolpassword, pg_has_role(a.oid, 'pg_monitor', 'USAGE') AS monitors,
            a.rolcanlogin AND NOT a.rolsuper AND a.rolconnlimit = $2 AS as_wanted
       FROM pg_authid a WHERE a.rolname = $1`,
    [AGENT_ROLE, AGENT_CONNECTIONS_MAX],
  );
  const role = rows[0];
  const attributes = `LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT ${AGENT_CONNECTIONS_MAX}`;
  if (role === undefined) await client.query(`CREATE ROLE ${AGENT_ROLE} ${attributes} PASSWORD '${agentPassword}'`);
  else if (!role.as_wanted || !matchesVerifier(agentPassword, role.rolpassword ?? '')) {
    await client.query(`ALTER ROLE ${AGENT_ROLE} ${attributes} PASSWORD '${agentPassword}'`);
  }
  if (role?.monitors !== true) await client.query(`GRANT pg_monitor TO ${AGENT_ROLE}`);
}
