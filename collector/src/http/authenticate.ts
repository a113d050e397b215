/**
 * Whose credential a request carries, and whether the route lets that in. Every route says who may use it
 * (`config: { access }`); one that says nothing is for readers, or for administrators when it changes something.
 */
import type { FastifyContextConfig, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ProblemError, approveCommand, notApproved, replacedBy, shellWord } from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { NodeRecord } from '../fleet/node.ts';
import type { AdminToken } from './admin-token.ts';
import { NodeRates } from './node-rates.ts';
import { prefixOf } from './prefix.ts';
import { SESSION_COOKIE, SESSION_IDLE_MS, openSession, renewed, sealSession, type Session } from './session.ts';

export type Access = 'public' | 'agent' | 'read' | 'admin';

export type Principal =
  | { readonly kind: 'agent'; readonly node: NodeRecord }
  | { readonly kind: 'program'; readonly name: string; readonly role: 'read' | 'admin' }
  | { readonly kind: 'person'; readonly role: 'admin'; readonly session: Session };

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
  }
  interface FastifyRequest {
    principal: Principal | undefined;
  }
  interface FastifyInstance {
    /** Whether a request that was let in would be let in still: for answers that go on for hours. */
    stillAdmits(request: FastifyRequest): boolean;
  }
}

/** An agent's secret, and what it is worth. */
export interface AgentCredential {
  readonly node: NodeRecord;
  readonly revoked: boolean;
  /** Why it was revoked, when that was not plainly done. */
  readonly endedAs?: 'denied' | 'replaced';
  /** It is of a machine that asks to be the node, and waits for a person. */
  readonly asks?: boolean;
}

/** Who is known by which token; the fleet's directory is one. */
export interface Credentials {
  findByToken(token: string): AgentCredential | undefined;
  /** Told of each request with an agent's credential, also of one that lets nobody in. */
  agentCame?(credential: AgentCredential): void;
  findApiToken(token: string): { name: string; role: 'read' | 'admin' } | undefined;
}

export interface AuthenticateOptions {
  credentials: Credentials;
  adminToken: AdminToken;
  clock: Clock;
  /** What the collector is called from outside. With https browsers are told to stay with it, and cookies are marked Secure. */
  publicUrl: URL | undefined;
}

export const isHttps = (publicUrl: URL | undefined): boolean => publicUrl?.protocol === 'https:';

const AGENT_RETRY_SECONDS = 60;
/** Far above any interval, urgent reports and a backlog together; what is beyond is a fault, and is told to wait. */
const AGENT_REQUESTS_PER_MINUTE = 1_200;

export function accessOf(request: { readonly routeOptions: { readonly config: FastifyContextConfig }; readonly method: string }): Access {
  return request.routeOptions.config.access ?? (request.method === 'GET' || request.method === 'HEAD' ? 'read' : 'admin');
}

export function authenticate(app: FastifyInstance, options: AuthenticateOptions): void {
  const agentRates = new NodeRates(AGENT_REQUESTS_PER_MINUTE, options.clock);
  app.decorateRequest('principal', undefined);
  app.decorate('stillAdmits', (request) => {
    try {
      const principal = bearerPrincipal(request, options) ?? sessionOf(request, options);
      if (principal === undefined) return false;
      admit(accessOf(request), principal);
      return true;
    } catch (error) {
      if (error instanceof ProblemError) return false;
      throw error;
    }
  });
  app.addHook('onRequest', (request, reply, done) => {
    const access = accessOf(request);
    if (access === 'public') return done();
    const principal = bearerPrincipal(request, options) ?? sessionPrincipal(request, reply, options);
    if (principal === undefined) throw new ProblemError('credential_missing', 'Sign in, or send "Authorization: Bearer TOKEN".');
    // That an address does not exist is told to everyone who is known here, and to nobody else.
    if (!request.is404) admit(access, principal);
    if (principal.kind === 'agent') agentRates.count(principal.node);
    request.principal = principal;
    done();
  });
}

function admit(access: Access, principal: Principal): void {
  if (access === 'agent') {
    if (principal.kind !== 'agent') throw new ProblemError('role_insufficient', "Only agents report; this is not an agent's token.");
    return;
  }
  if (principal.kind === 'agent') throw new ProblemError('role_insufficient', "An agent's token may report, and nothing else.");
  if (access === 'admin' && principal.role !== 'admin')
    throw new ProblemError('role_insufficient', 'This token may read, and this would change something.');
}

function bearerPrincipal(request: FastifyRequest, { credentials, adminToken }: AuthenticateOptions): Principal | undefined {
  const header = request.headers.authorization;
  if (header === undefined) return undefined;
  const token = /^Bearer +(\S+)$/i.exec(header)?.[1];
  if (token === undefined) throw new ProblemError('credential_missing', 'The Authorization header has to be "Bearer TOKEN".');
  const agent = credentials.findByToken(token);
  if (agent !== undefined) {
    credentials.agentCame?.(agent);
    return agentPrincipal(agent);
  }
  const program = credentials.findApiToken(token);
  if (program !== undefined) return { kind: 'program', name: program.name, role: program.role };
  if (adminToken.matches(token)) return { kind: 'program', name: 'admin token', role: 'admin' };
  throw new ProblemError(
    'credential_unknown',
    'No node, program or person has this token here. Was it made by another collector, or replaced?',
  );
}

function agentPrincipal({ node, revoked, endedAs, asks }: AgentCredential): Principal {
  const wait = { retryAfterSeconds: AGENT_RETRY_SECONDS };
  const name = JSON.stringify(node.name);
  if (endedAs === 'denied') throw new ProblemError('node_revoked', notApproved(node.name), wait);
  if (node.state === 'retired') throw new ProblemError('node_retired', `${name} has been retired. To bring it back, add it again.`, wait);
  if (endedAs === 'replaced') throw new ProblemError('node_revoked', replacedBy(node.name), wait);
  if (asks === true && node.state !== 'pending')
    throw new ProblemError(
      'node_pending',
      `This machine asks to be ${name}, which is a node already, and waits to be approved: tidemark-collector nodes list`,
      wait,
    );
  if (revoked || (node.state === 'revoked' && asks !== true))
    throw new ProblemError(
      'node_revoked',
      `The token of ${name} has been revoked. A new one: tidemark-collector nodes token ${shellWord(node.name)}`,
      wait,
    );
  if (node.state === 'pending') throw new ProblemError('node_pending', `${name} waits to be approved: ${approveCommand(node.name)}`, wait);
  return { kind: 'agent', node };
}

function sessionOf(request: FastifyRequest, options: AuthenticateOptions): Extract<Principal, { kind: 'person' }> | undefined {
  const cookie = request.cookies[SESSION_COOKIE];
  if (cookie === undefined) return undefined;
  const session = openSession(cookie, options.adminToken.sessionKey(), options.clock.wallMs());
  if (session === undefined || session === 'expired') throw new ProblemError('session_expired', 'Sign in again.');
  return { kind: 'person', role: 'admin', session };
}

function sessionPrincipal(request: FastifyRequest, reply: FastifyReply, options: AuthenticateOptions): Principal | undefined {
  const principal = sessionOf(request, options);
  if (principal === undefined) return undefined;
  if (request.method !== 'GET' && request.method !== 'HEAD') requireSameOrigin(request, options.publicUrl);
  const longer = renewed(principal.session, options.clock.wallMs());
  if (longer === undefined) return principal;
  setSessionCookie(reply, longer, options);
  return { ...principal, session: longer };
}

/** A page of another site can make a browser send the cookie along; the browser says where the request comes from. */
export function requireSameOrigin(request: FastifyRequest, publicUrl: URL | undefined): void {
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined) {
    if (site !== 'same-origin' && site !== 'none') throw new ProblemError('origin_foreign', "This request came from another site's page.");
    return;
  }
  const { origin, host } = request.headers;
  if (origin === undefined) return;
  if (origin === publicUrl?.origin) return;
  if (!URL.canParse(origin) || new URL(origin).host !== host)
    throw new ProblemError('origin_foreign', "This request came from another site's page.");
}

/** Below a path, what else stands on the host is not shown the session. */
export const cookiePath = (publicUrl: URL | undefined): string => prefixOf(publicUrl) || '/';

export function setSessionCookie(reply: FastifyReply, session: Session, { adminToken, publicUrl }: AuthenticateOptions): void {
  void reply.setCookie(SESSION_COOKIE, sealSession(session, adminToken.sessionKey()), {
    path: cookiePath(publicUrl),
    httpOnly: true,
    sameSite: 'strict',
    secure: isHttps(publicUrl) || reply.request.protocol === 'https',
    maxAge: SESSION_IDLE_MS / 1_000,
  });
}
