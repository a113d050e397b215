/**
 * Why a PostgreSQL server could not be looked at: any error to a stable word, which alerts may rely on, and a
 * sentence for the person who has to do something. Neither ever holds a password.
 */
import { codeOf, sentenceOf } from '@tidemark/service';

export type FailureReason =
  | 'refused'
  | 'dns'
  | 'unreachable'
  | 'timeout'
  | 'disconnected'
  | 'authentication'
  | 'tls'
  | 'too_many_connections'
  | 'starting'
  | 'stopping'
  | 'database_missing'
  | 'privilege'
  | 'unsupported_version'
  | 'pooler'
  | 'duplicate'
  | 'error';

export interface Failure {
  readonly reason: FailureReason;
  readonly detail: string;
}

/** Whom we tried to reach, for the sentences. */
export interface Reached {
  /** "db1:5432", or the path of a socket. */
  readonly address: string;
  readonly user: string;
  readonly database: string;
}

/** Thrown by our own side of a connection when it knows the reason better than any error code could. */
export class Refusal extends Error {
  readonly reason: FailureReason;
  constructor(reason: FailureReason, message: string) {
    super(message);
    this.name = 'Refusal';
    this.reason = reason;
  }
}

const DETAIL_CHARS = 500;

/** The word and the sentence for whatever connecting or querying threw. */
export function failureOf(error: unknown, reached: Reached): Failure {
  const reason = reasonOf(error);
  return { reason, detail: sentence(reason, error, reached).slice(0, DETAIL_CHARS).toWellFormed() };
}

/** The connection is gone or of no more use, as opposed to a statement that failed. */
export function isConnectionLoss(error: unknown): boolean {
  const state = sqlState(error);
  return state === undefined || state.startsWith('08') || state.startsWith('57P');
}

/** Passing by nature: the role was just changing (55000), or recovery needed what we read (40001). */
export function isWorthRetrying(error: unknown): boolean {
  const state = sqlState(error);
  return state === '55000' || state === '40001';
}

/** The role lacks a right. */
export function isRefused(error: unknown): boolean {
  return sqlState(error) === '42501';
}

/** The server does not know, or does not allow, what was asked. It is well otherwise. */
export function isNotUnderstood(error: unknown): boolean {
  return ['42501', '42703', '42883', '42P01', '42704'].includes(sqlState(error) ?? '');
}

/** Text that cannot be turned into the encoding that was asked for, UTF-8. */
export function isUntranslatable(error: unknown): boolean {
  return ['22021', '22P05'].includes(sqlState(error) ?? '');
}

/** Somebody else gets our statements, or keeps our settings: there is a connection pooler in between. */
export function isPooler(error: unknown): boolean {
  const state = sqlState(error);
  // A prepared statement that is not there, or is there already, on a connection that is ours alone: it is not.
  if (state === '26000' || state === '42P05') return true;
  return state === '08P01' && /unsupported startup parameter/i.test(sentenceOf(error));
}

function reasonOf(error: unknown): FailureReason {
  if (error instanceof Refusal) return error.reason;
  if (isPooler(error)) return 'pooler';
  const state = sqlState(error);
  return state === undefined ? reasonOfSystemError(codeOf(error), sentenceOf(error)) : reasonOfSqlState(state, sentenceOf(error));
}

function reasonOfSqlState(state: string, message: string): FailureReason {
  switch (state) {
    case '28P01':
    case '28000':
      return 'authentication';
    case '53300':
      return 'too_many_connections';
    case '57P03':
      // The messages may be in any language; where they are not understood, "starting" is the usual one.
      return /shutting down/i.test(message) ? 'stopping' : 'starting';
    case '57P01':
    case '57P02':
    case '57P04':
    case '57P05':
      return 'disconnected';
    case '3D000':
      return 'database_missing';
    case '42501':
      return 'privilege';
    case '57014':
    case '55P03':
      return 'timeout';
    case '42703':
    case '42883':
    case '42P01':
    case '42704':
      return 'unsupported_version';
    default:
      return 'error';
  }
}

function reasonOfSystemError(code: string | undefined, message: string): FailureReason {
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
    case 'ENOTSOCK':
      return 'refused';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_FAIL':
    case 'EAI_NODATA':
      return 'dns';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EHOSTDOWN':
    case 'ENETDOWN':
    case 'EADDRNOTAVAIL':
      return 'unreachable';
    case 'ETIMEDOUT':
      return 'timeout';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'disconnected';
    case 'EACCES':
    case 'EPERM':
      return 'privilege';
    default:
  }
  if (/\bSSL\b|TLS/.test(message) || /CERT|^ERR_(TLS|SSL)|^EPROTO$|^UNABLE_TO_/.test(code ?? '')) return 'tls';
  if (message.startsWith('SASL')) return 'authentication';
  if (message.startsWith('Connection terminated')) return 'disconnected';
  return 'error';
}

function sentence(reason: FailureReason, error: unknown, { address, user, database }: Reached): string {
  const said = saidBy(error);
  switch (reason) {
    case 'refused':
      return address.startsWith('/')
        ? `No PostgreSQL listens on the socket ${address} (${said}): is it running, and is unix_socket_directories the same?`
        : `No PostgreSQL listens on ${address} (${said}): is it running, and does listen_addresses include this address?`;
    case 'dns':
      return `The name in ${address} cannot be resolved (${said}).`;
    case 'unreachable':
      return `There is no way to ${address} (${said}): look at the network and the firewall.`;
    case 'timeout':
      return `${address} did not answer in time (${said}).`;
    case 'disconnected':
      return `${address} closed the connection (${said}).`;
    case 'authentication':
      return authenticationSentence(error, said, address, user);
    case 'tls':
      return `No TLS connection to ${address} (${said}): set sslmode and sslrootcert in the URL as the server needs them; sslmode=no-verify takes any certificate.`;
    case 'too_many_connections':
      return tooManySentence(said, address, user);
    case 'starting':
      return `${address} is starting or recovering and takes no connections yet (${said}).`;
    case 'stopping':
      return `${address} is shutting down (${said}).`;
    case 'database_missing':
      return `${address} has no database "${database}": name one that exists in the URL, "postgres" usually does.`;
    case 'privilege':
      return `Role "${user}" may not see ${address} as it must (${said}): GRANT pg_monitor TO it.`;
    case 'pooler':
      return `Between this agent and PostgreSQL at ${address} there is a connection pooler (${said}): connect to PostgreSQL itself, usually port 5432.`;
    case 'duplicate':
      return said;
    case 'unsupported_version':
      return `${address} does not understand what was asked (${said}): PostgreSQL 15 to 18 are supported.`;
    case 'error':
    default:
      return `${address}: ${said}`;
  }
}

/** PostgreSQL says some things only in the line after the message: that hot standby is off, for example. */
function saidBy(error: unknown): string {
  const more = (error as { detail?: unknown } | null)?.detail;
  return typeof more === 'string' && more !== '' ? `${sentenceOf(error)}: ${more}` : sentenceOf(error);
}

function authenticationSentence(error: unknown, said: string, address: string, user: string): string {
  if (error instanceof Refusal) return said;
  // The server tells its log, and nobody else, whether the password is wrong, missing or has expired.
  if (sqlState(error) === '28P01')
    return `${address} does not take the password of role "${user}" (${said}): it is another one, or has expired (VALID UNTIL); the server's log says which. ALTER ROLE … PASSWORD '…' VALID UNTIL 'infinity' sets a new one.`;
  if (sqlState(error) === '28000') return refusedSentence(said, address, user);
  return `${address} and this agent cannot agree on the authentication of role "${user}" (${said}).`;
}

/** What pg_hba.conf, or the role itself, has against us. The line to add is as the server saw us, whatever the network in between does. */
function refusedSentence(said: string, address: string, user: string): string {
  const entry = /pg_hba\.conf.* for host "([^"]+)", user "([^"]+)", database "([^"]+)"(?:, (no encryption|SSL off))?/.exec(said);
  if (entry === null) return `${address} does not let role "${user}" in (${said}): look at pg_hba.conf, and that the role may log in.`;
  const [, host = '', role, database, open] = entry;
  const mask = host.includes(':') ? 128 : 32;
  const orTls = open === undefined ? '' : ', or, if it has a hostssl line for it, set sslmode=require in the URL';
  return `${address} does not let role "${user}" in (${said}): put "host ${database} ${role} ${host}/${mask} scram-sha-256" into its pg_hba.conf, before any line that refuses it, and reload${orTls}.`;
}

function tooManySentence(said: string, address: string, user: string): string {
  if (/for role/i.test(said))
    return `Role "${user}" has all the connections to ${address} that it may have (${said}): does a second agent use it? ALTER ROLE "${user}" CONNECTION LIMIT 3 is enough for one.`;
  return `${address} has no connection left for role "${user}" (${said}): since PostgreSQL 16, reserved_connections = 3 and GRANT pg_use_reserved_connections TO "${user}" keep one for it.`;
}

/** The five characters of an error that the server reported; system errors have codes of other forms. */
function sqlState(error: unknown): string | undefined {
  const code = codeOf(error);
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || !(error instanceof Error) || !('severity' in error)) return undefined;
  return code;
}
