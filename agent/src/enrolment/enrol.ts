/**
 * Everything that comes before the first report of a new node, in order: the authority that its enrolment string pins is fetched and
 * checked, then the collector is asked over a connection that trusts it alone.
 */
import { looksLikeEnrolment, parseEnrolment, type EnrollAnswer, type EnrollRequest, type EnrolmentString } from '@tidemark/protocol';
import { EXIT, OperationalFailure, writeFileAtomically } from '@tidemark/service';
import { readToken, type AgentConfig } from '../config.ts';
import type { Route } from '../uplink/connections.ts';
import { fetchAuthority, hasAuthority } from './authority.ts';
import { askOnce, patiently, withConnections, type Patience } from './exchange.ts';
import { readMove } from './moved.ts';
import { hashOf } from './secret.ts';

/** Certificates are public, and the agent's user reads what root wrote. */
const AUTHORITY_MODE = 0o644;

/** What a machine says of itself when it asks to join. */
export type Applicant = Omit<EnrollRequest, 'secretHash' | 'token'>;

export interface Enrolment {
  readonly server: URL;
  readonly route: Route;
  readonly applicant: Applicant;
  readonly secret: string;
  /** The collector may know this secret already: it is shown as the credential, so that a new name renames. */
  readonly known: boolean;
  /** The secret that is used so far, when `secret` is to replace it. */
  readonly credential?: string | undefined;
  readonly string: EnrolmentString | undefined;
  readonly patience: Patience;
}

/** Asks until there is an answer or patience ends. Throws an OperationalFailure with the exit code of what went wrong. */
export async function enrol({ server, route, applicant, secret, known, credential, string, patience }: Enrolment): Promise<EnrollAnswer> {
  const token = string?.token;
  const request: EnrollRequest = { ...applicant, secretHash: hashOf(secret), ...(token === undefined ? {} : { token }) };
  return withConnections(server, route, async (connections) => {
    const asked = await patiently(() => askOnce({ server, request, secret: known ? secret : credential, connections }), patience);
    if (asked.kind === 'answered') return asked.answer;
    throw new Refusal(asked.code, `The collector does not take this machine in: ${asked.detail}`);
  });
}

/** The collector's own no, by its code. */
export class Refusal extends OperationalFailure {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message, EXIT.credentialRejected);
    this.name = 'Refusal';
    this.code = code;
  }
}

export interface PinnedAuthority {
  /** The file to trust. */
  readonly caFile: string;
  /** It was fetched just now. */
  readonly fetched: boolean;
}

/**
 * Makes sure of the authority that a string pins: the configured file when that has it, else it is fetched into `file`.
 * Undefined when the string pins none. Throws an OperationalFailure when it is not to be had, or another.
 */
export async function pinAuthority(
  { server, route, string, patience }: Pick<Enrolment, 'server' | 'route' | 'string' | 'patience'>,
  file: string,
): Promise<PinnedAuthority | undefined> {
  const fingerprint = fingerprintFor(server, string);
  if (fingerprint === undefined) return undefined;
  for (const known of [route.caFile, file])
    if (known !== undefined && hasAuthority(known, fingerprint)) return { caFile: known, fetched: false };
  const { pem } = await patiently(() => fetchAuthority(server, fingerprint, route), patience);
  keepAuthority(file, pem);
  return { caFile: file, fetched: true };
}

/** What a token file holds: an enrolment string, or the credential of a node. Throws an OperationalFailure when it is neither. */
export function tokenIn(file: string): EnrolmentString | string {
  const text = readToken(file);
  if (!looksLikeEnrolment(text)) return text;
  const string = parseEnrolment(text);
  if (string !== undefined) return string;
  throw new OperationalFailure(
    `The enrolment string in ${file} is not whole: copy all of it, from tme1. to the end of the address.`,
    EXIT.configuration,
  );
}

/** Where the collector is: where the configured one has moved to, unless somebody has just brought a string. Undefined when nothing says. */
export function serverKnown({ server, dataDir }: AgentConfig, string: EnrolmentString | undefined): URL | undefined {
  const move = string === undefined ? readMove(dataDir, server) : undefined;
  if (move !== undefined) return new URL(move.to);
  return server ?? (string === undefined ? undefined : new URL(string.url));
}

/** What a string pins, where there is TLS to pin. */
export function fingerprintFor(server: URL, string: EnrolmentString | undefined): string | undefined {
  return server.protocol === 'https:' ? string?.fingerprint : undefined;
}

/**
 * Throws an OperationalFailure when a string names an authority and the collector would be reached without TLS: its token would go
 * to whoever answers there.
 */
export function refuseUnpinned(server: URL, string: EnrolmentString | undefined): void {
  if (string?.fingerprint === undefined || server.protocol === 'https:') return;
  throw new OperationalFailure(
    `The enrolment string is for ${string.url} and says whom to trust there; the configured server is ${server.href}, which is not encrypted. Set server to ${string.url}, or make a string for the other: tidemark-collector enroll --url ${server.href}`,
    EXIT.configuration,
  );
}

/** Throws an OperationalFailure when the file cannot be written. */
export function keepAuthority(file: string, pem: string): void {
  try {
    writeFileAtomically(file, pem.endsWith('\n') ? pem : `${pem}\n`, AUTHORITY_MODE);
  } catch (error) {
    throw new OperationalFailure(`The collector's authority cannot be kept in ${file}: ${String(error)}.`, EXIT.noRights, { cause: error });
  }
}
