/** Every way a server can refuse, as the error looks where it is caught, to the word that alerts rely on. */
import { DatabaseError } from 'pg';
import { expect, test } from 'vitest';
import { failureOf, isConnectionLoss, isNotUnderstood, isWorthRetrying, Refusal } from './failure.ts';

const REACHED = { address: 'db1:5432', user: 'monitor', database: 'postgres' };

function sqlError(code: string, message: string): DatabaseError {
  const error = new DatabaseError(message, message.length, 'error');
  error.code = code;
  error.severity = 'FATAL';
  return error;
}

function systemError(code: string, message = `connect ${code}`): Error {
  return Object.assign(new Error(message), { code });
}

test.each([
  ['refused', systemError('ECONNREFUSED')],
  ['refused', new AggregateError([systemError('ECONNREFUSED'), systemError('ECONNREFUSED')])],
  ['refused', systemError('ENOENT', 'connect ENOENT /run/.s.PGSQL.5432')],
  ['dns', systemError('ENOTFOUND')],
  ['dns', systemError('EAI_AGAIN')],
  ['unreachable', systemError('EHOSTUNREACH')],
  ['unreachable', systemError('ENETUNREACH')],
  ['timeout', systemError('ETIMEDOUT')],
  ['timeout', new Refusal('timeout', 'no answer within 4000 ms')],
  ['timeout', sqlError('57014', 'canceling statement due to statement timeout')],
  ['disconnected', systemError('ECONNRESET')],
  ['disconnected', new Error('Connection terminated unexpectedly')],
  ['disconnected', sqlError('57P01', 'terminating connection due to administrator command')],
  ['authentication', sqlError('28P01', 'password authentication failed for user "monitor"')],
  ['authentication', sqlError('28000', 'no pg_hba.conf entry for host "10.0.0.9", user "monitor", database "postgres", no encryption')],
  ['authentication', new Error('SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string')],
  ['too_many_connections', sqlError('53300', 'sorry, too many clients already')],
  ['starting', sqlError('57P03', 'the database system is starting up')],
  ['starting', sqlError('57P03', 'das Datenbanksystem startet')],
  ['stopping', sqlError('57P03', 'the database system is shutting down')],
  ['database_missing', sqlError('3D000', 'database "postgres" does not exist')],
  ['pooler', sqlError('08P01', 'unsupported startup parameter: options')],
  ['pooler', sqlError('26000', 'prepared statement "tidemark_3" does not exist')],
  ['pooler', sqlError('42P05', 'prepared statement "tidemark_1" already exists')],
  ['tls', new Error('The server does not support SSL connections')],
  ['tls', systemError('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate')],
  ['tls', systemError('ERR_TLS_CERT_ALTNAME_INVALID')],
  ['privilege', sqlError('42501', 'permission denied for function pg_control_system')],
  ['privilege', systemError('EACCES', 'connect EACCES /run/.s.PGSQL.5432')],
  ['unsupported_version', sqlError('42883', 'function pg_get_wal_replay_pause_state() does not exist')],
  ['error', sqlError('XX000', 'cache lookup failed')],
  ['error', new Error('whatever')],
])('%s: %s', (reason, error) => {
  const failure = failureOf(error, REACHED);
  expect(failure.reason).toBe(reason);
  expect(failure.detail).toMatch(/\S.{15,}/);
});

test('the sentence says which server and what it said', () => {
  expect(failureOf(sqlError('28P01', 'password authentication failed for user "monitor"'), REACHED).detail).toBe(
    `db1:5432 does not take the password of role "monitor" (password authentication failed for user "monitor"): it is another one, or has expired (VALID UNTIL); the server's log says which. ALTER ROLE … PASSWORD '…' VALID UNTIL 'infinity' sets a new one.`,
  );
  expect(failureOf(sqlError('3D000', 'database "postgres" does not exist'), REACHED).detail).toContain(
    'db1:5432 has no database "postgres"',
  );
});

test('what a person has to do is in the sentence, as the server sees things', () => {
  const detail = (code: string, message: string): string => failureOf(sqlError(code, message), REACHED).detail;
  expect(detail('28000', 'no pg_hba.conf entry for host "10.0.0.9", user "monitor", database "app", no encryption')).toMatch(
    /put "host app monitor 10\.0\.0\.9\/32 scram-sha-256" into its pg_hba\.conf.*or.*hostssl.*sslmode=require/,
  );
  const encrypted = detail('28000', 'pg_hba.conf rejects connection for host "fd00::9", user "monitor", database "app", SSL encryption');
  expect(encrypted).toContain('"host app monitor fd00::9/128 scram-sha-256"');
  expect(encrypted).not.toContain('sslmode');
  expect(detail('28000', 'role "monitor" is not permitted to log in')).toContain('the role may log in');
  expect(detail('53300', 'too many connections for role "monitor"')).toContain('ALTER ROLE "monitor" CONNECTION LIMIT 3');
  expect(detail('53300', 'sorry, too many clients already')).toContain('reserved_connections');
  expect(detail('08P01', 'unsupported startup parameter: options')).toContain('connect to PostgreSQL itself');
});

test('a message without end is cut, and never in the middle of a character', () => {
  const { detail } = failureOf(sqlError('XX000', '😀'.repeat(1_000)), REACHED);
  expect(detail.length).toBeLessThanOrEqual(500);
  expect(detail.isWellFormed()).toBe(true);
});

test('what takes the connection with it is told from what fails one statement', () => {
  expect(isConnectionLoss(systemError('ECONNRESET'))).toBe(true);
  expect(isConnectionLoss(new Error('Connection terminated unexpectedly'))).toBe(true);
  expect(isConnectionLoss(sqlError('57P01', 'terminating connection'))).toBe(true);
  expect(isConnectionLoss(sqlError('57014', 'statement timeout'))).toBe(false);
  expect(isConnectionLoss(sqlError('42501', 'permission denied'))).toBe(false);
  expect(isWorthRetrying(sqlError('55000', 'recovery is in progress'))).toBe(true);
  expect(isWorthRetrying(sqlError('40001', 'canceling statement due to conflict with recovery'))).toBe(true);
  expect(isWorthRetrying(sqlError('42501', 'permission denied'))).toBe(false);
  expect(isNotUnderstood(sqlError('42703', 'column does not exist'))).toBe(true);
  expect(isNotUnderstood(systemError('EPIPE'))).toBe(false);
});
