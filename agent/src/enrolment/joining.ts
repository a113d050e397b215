/**
 * How an agent that runs becomes a node by itself: with a secret of its own in its data directory, and with the enrolment string of its
 * token file where there is one. The string is used once; its file is deleted as soon as the collector has answered it.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { EnrolmentString } from '@tidemark/protocol';
import { EXIT, OperationalFailure, sentenceOf, type Log } from '@tidemark/service';
import { readToken, type AgentConfig } from '../config.ts';
import type { Route } from '../uplink/connections.ts';
import type { Joined, Joining } from '../uplink/join.ts';
import { fetchAuthority, hasAuthority } from './authority.ts';
import { fingerprintFor, keepAuthority, refuseUnpinned, serverKnown, tokenIn, type Applicant } from './enrol.ts';
import { askOnce, type Asked } from './exchange.ts';
import { keepMove } from './moved.ts';
import { hashOf, keepSecret, makeSecret, writeSecret } from './secret.ts';

export interface Membership {
  /** Where reports go first. */
  readonly server: URL;
  readonly route: Route;
  /** The file that holds the credential. */
  readonly secretFile: string;
  readonly joining: Joining;
}

export interface MembershipOptions {
  readonly config: AgentConfig;
  readonly applicant: () => Promise<Applicant>;
  readonly log: Log;
}

/** The collector as this agent reaches it now, wherever it has moved to. Throws an OperationalFailure when none is known. */
export function membershipServer(config: AgentConfig): Pick<Membership, 'server' | 'route'> {
  const server = serverOf(config, undefined);
  return { server, route: { ...config.route, caFile: caFileOf(config, server, undefined) } };
}

/** Finds out as what this agent reports, and to whom. Its data directory must be there. Throws an OperationalFailure when that cannot be told. */
export function membershipOf({ config, applicant, log }: MembershipOptions): Membership {
  const { dataDir, tokenFile } = config;
  const ownFile = join(dataDir, 'token');
  // The token file that an enrolment string stood in is gone once it was used.
  const useOwn = tokenFile === undefined || (!existsSync(tokenFile) && existsSync(ownFile));
  const given = useOwn ? undefined : tokenIn(tokenFile);
  const string = typeof given === 'object' ? given : undefined;
  const own = useOwn || string !== undefined;
  const secretFile = own ? ownFile : tokenFile;
  const { made } = own ? keepSecret(secretFile) : { made: false };
  const server = serverOf(config, string);
  refuseUnpinned(server, string);
  const caFile = caFileOf(config, server, string);
  const route = { ...config.route, caFile };
  const ask = async (at: URL, connections: Parameters<Joining['ask']>[1]): Promise<Joined> => {
    const trouble = await pinned(at, route, string);
    if (trouble !== undefined) return trouble;
    const asking = { ...(await applicant()), ...(string === undefined ? {} : { token: string.token }) };
    const once = async (): Promise<Joined> =>
      meaning(await askOnce({ server: at, request: { ...asking, secretHash: hashOf(readToken(secretFile)) }, connections }));
    let joined = await once();
    if (string !== undefined && joined.kind === 'refused' && joined.code.startsWith('node_')) {
      // A secret that has ended is not taken back by any token; whoever brings one wants this machine to be a node again.
      writeSecret(secretFile, makeSecret());
      joined = await once();
    }
    if (joined.kind === 'approved' || joined.kind === 'pending') used(config, server, string, log);
    return joined;
  };
  return { server, route, secretFile, joining: { first: made || string !== undefined, ask } };
}

function serverOf(config: AgentConfig, string: EnrolmentString | undefined): URL {
  const server = serverKnown(config, string);
  if (server !== undefined) return server;
  throw new OperationalFailure(
    'Which collector? Name it with --server http://HOST:5000, TIDEMARK_SERVER, or server: in the configuration file, or give an enrolment string with --token-file.',
    EXIT.usage,
  );
}

/** The configured authorities, unless a string pins another, or one has done so. */
function caFileOf({ route, dataDir }: AgentConfig, server: URL, string: EnrolmentString | undefined): string | undefined {
  const kept = join(dataDir, 'ca.pem');
  const fingerprint = fingerprintFor(server, string);
  if (fingerprint !== undefined) return hasAuthority(route.caFile, fingerprint) ? route.caFile : kept;
  return route.caFile ?? (server.protocol === 'https:' && existsSync(kept) ? kept : undefined);
}

/** Makes sure of the authority that the string pins. Undefined when that is so. */
async function pinned(server: URL, route: Route, string: EnrolmentString | undefined): Promise<Joined | undefined> {
  const fingerprint = fingerprintFor(server, string);
  if (fingerprint === undefined || route.caFile === undefined || hasAuthority(route.caFile, fingerprint)) return undefined;
  const fetched = await fetchAuthority(server, fingerprint, route);
  if (fetched.kind === 'trouble') return { kind: 'trouble', detail: fetched.detail, retryAfterSeconds: fetched.retryAfterSeconds };
  try {
    keepAuthority(route.caFile, fetched.pem);
  } catch (error) {
    return { kind: 'trouble', detail: sentenceOf(error) };
  }
  return undefined;
}

function meaning(asked: Asked): Joined {
  switch (asked.kind) {
    case 'answered': {
      const { state, node, ...claim } = asked.answer;
      return state === 'approved' ? { kind: 'approved', name: node.name } : { kind: 'pending', name: node.name, claim };
    }
    case 'refused':
      return asked;
    case 'trouble':
      return { kind: 'trouble', detail: asked.detail, retryAfterSeconds: asked.retryAfterSeconds };
  }
}

/** The string has done what it is for. */
function used({ tokenFile, dataDir, server: configured }: AgentConfig, server: URL, string: EnrolmentString | undefined, log: Log): void {
  if (string === undefined) return;
  try {
    // Nothing else knows the address when the string is gone.
    if (configured === undefined) keepMove(dataDir, { from: '', to: server.href });
    rmSync(tokenFile!, { force: true });
  } catch (error) {
    log.warn({ tokenFile, trouble: sentenceOf(error) }, 'the enrolment string was used, and its file cannot be deleted: delete it');
  }
}
