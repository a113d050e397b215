/**
 * The HTTP server as everything else sees it: bounded, authenticated, with one form of error and strict
 * headers. Features add their routes to it; nothing here knows what they do.
 */
import cookie from '@fastify/cookie';
import rateLimit from '@fastify/rate-limit';
import swagger from '@fastify/swagger';
import { LIMITS, ProblemError } from '@tidemark/protocol';
import type { Log } from '@tidemark/service';
import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  type FastifyServerFactory,
} from 'fastify';
import { accessOf, authenticate, isHttps, type AuthenticateOptions } from './authenticate.ts';
import { jsonBodies } from './body.ts';
import { answerBrokenRequest } from './broken-request.ts';
import { documentation } from './documentation.ts';
import { prefixOf, withoutPrefix } from './prefix.ts';
import { problemReplies, unroutable } from './problem-reply.ts';
import { securityHeaders } from './security-headers.ts';
import { sessionRoutes } from './session-routes.ts';
import { askForCertificates } from './tls-clients.ts';
import { httpsServer } from './tls-server.ts';
import type { ServedTls } from './tls.ts';

export interface ServerOptions extends AuthenticateOptions {
  log: Log;
  version: string;
  /** HTTPS is spoken with it; without it plain HTTP. */
  tls?: ServedTls | undefined;
  /** Addresses and networks whose word is taken for where a request came from. */
  trustedProxies?: readonly string[] | undefined;
  /** Called after each answer, with what a metric wants to know. */
  onAnswered?: (request: FastifyRequest, status: number, seconds: number) => void;
}

/** A person's browser asks every few seconds. Behind a proxy this is for all people together. */
const REQUESTS_PER_MINUTE = 3_000;
/** Prometheus may scrape each of some thousand nodes on its own, several times a minute. */
const PROGRAM_REQUESTS_PER_MINUTE = 60_000;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const TIMEOUT_CHECK_MS = 5_000;
const KEEP_ALIVE_MS = 650_000;

/** Builds the server with what every route shares. Routes are added by the caller, before `ready`. */
export async function buildServer(options: ServerOptions): Promise<FastifyInstance> {
  const loggerInstance: FastifyBaseLogger = options.log;
  const prefix = prefixOf(options.publicUrl);
  const https = options.tls === undefined ? undefined : httpsFactory(options.tls);
  const app: FastifyInstance = Fastify({
    loggerInstance,
    ...(https === undefined ? {} : { serverFactory: https.factory }),
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: options.trustedProxies === undefined || options.trustedProxies.length === 0 ? false : [...options.trustedProxies],
    rewriteUrl: ({ url = '/' }) => withoutPrefix(url, prefix),
    bodyLimit: LIMITS.bodyBytes,
    // What comes slower than this is cut: a slow client must not hold a connection for ever.
    http: { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS, connectionsCheckingInterval: TIMEOUT_CHECK_MS },
    requestTimeout: REQUEST_TIMEOUT_MS,
    clientErrorHandler: answerBrokenRequest,
    // Agents report every few seconds to minutes and keep their connection in between.
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: 'idle',
    // A problem document says so instead (below).
    return503OnClosing: false,
    frameworkErrors: unroutable,
    routerOptions: { maxParamLength: LIMITS.nodeNameChars * 12, ignoreTrailingSlash: true },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, allErrors: false, verbose: true } },
  });
  problemReplies(app);
  jsonBodies(app);
  await app.register(cookie);
  setHeaders(app, securityHeaders(isHttps(options.publicUrl), prefix !== ''));
  refuseWhileClosing(app);
  if (https !== undefined) app.addHook('preClose', (done) => (https.dropUnspoken(), done()));
  if (options.tls?.clientsAreAsked) askForCertificates(app, options.tls);
  authenticate(app, options);
  await limitRates(app);
  await app.register(swagger, documentation.swaggerOptions(options.version));
  if (options.onAnswered !== undefined) {
    const { onAnswered } = options;
    app.addHook('onResponse', (request, reply, done) => {
      onAnswered(request, reply.statusCode, reply.elapsedTime / 1_000);
      done();
    });
  }
  sessionRoutes(app, options);
  documentation.routes(app, prefix);
  return app;
}

function httpsFactory(tls: ServedTls): { factory: FastifyServerFactory; dropUnspoken: () => void } {
  let dropUnspoken = (): void => {};
  const factory: FastifyServerFactory = (handler) => {
    const made = httpsServer(handler, tls, {
      headersTimeoutMs: HEADERS_TIMEOUT_MS,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      keepAliveMs: KEEP_ALIVE_MS,
      connectionsCheckMs: TIMEOUT_CHECK_MS,
    });
    dropUnspoken = made.dropUnspoken;
    return made.server;
  };
  return { factory, dropUnspoken: () => dropUnspoken() };
}

/** Routes may replace them. Agents look at none of the browsers', and ask by far the most often. */
function setHeaders(app: FastifyInstance, headers: Readonly<Record<string, string>>): void {
  const forAgents = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };
  const forOthers = { 'cache-control': 'no-store', ...headers };
  app.addHook('onRequest', (request, reply, done) => {
    void reply.headers(accessOf(request) === 'agent' ? forAgents : forOthers);
    done();
  });
}

/** A balancer and the agents go elsewhere, or come back: what is under way is finished first. */
function refuseWhileClosing(app: FastifyInstance): void {
  let closing = false;
  app.addHook('preClose', (done) => {
    closing = true;
    done();
  });
  app.addHook('onRequest', (request, _, done) => {
    if (closing && accessOf(request) !== 'public')
      throw new ProblemError('shutting_down', 'Try again in a few seconds.', { retryAfterSeconds: 5 });
    done();
  });
}

async function limitRates(app: FastifyInstance): Promise<void> {
  app.addHook('onRoute', (route) => {
    // Agents are limited one by one where they are authenticated, which costs less; files are read from memory.
    const access = route.config?.access;
    if (access === 'agent' || (access === 'public' && route.method !== 'POST')) route.config = { ...route.config, rateLimit: false };
  });
  await app.register(rateLimit, {
    global: true,
    hook: 'preHandler',
    timeWindow: '1 minute',
    max: ({ principal }) => (principal?.kind === 'program' ? PROGRAM_REQUESTS_PER_MINUTE : REQUESTS_PER_MINUTE),
    // Behind a proxy all people have its address; a program is known by its token.
    keyGenerator: ({ principal, ip }) => (principal?.kind === 'program' ? `program ${principal.name}` : ip),
  });
}
