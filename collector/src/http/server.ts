/**
 * The HTTP server as everything else sees it: bounded, authenticated, with one form of error and strict
 * headers. Features add their routes to it; nothing here knows what they do.
 */
import cookie from '@fastify/cookie';
import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import swagger from '@fastify/swagger';
import { LIMITS } from '@tidemark/protocol';
import type { Log } from '@tidemark/service';
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance, type FastifyRequest } from 'fastify';
import { authenticate, type AuthenticateOptions } from './authenticate.ts';
import { jsonBodies } from './body.ts';
import { documentation } from './documentation.ts';
import { problemReplies } from './problem-reply.ts';
import { sessionRoutes } from './session-routes.ts';

export interface ServerOptions extends AuthenticateOptions {
  log: Log;
  version: string;
  /** https when people reach the collector that way: then browsers are told to stay there. */
  publicUrl: URL | undefined;
  /** Called after each answer, with what a metric wants to know. */
  onAnswered?: (request: FastifyRequest, status: number, seconds: number) => void;
}

/** A person's browser asks every few seconds; a script may ask faster. Agents are bounded by their tokens. */
const REQUESTS_PER_MINUTE = 3_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 650_000;

/** Builds the server with what every route shares. Routes are added by the caller, before `ready`. */
export async function buildServer(options: ServerOptions): Promise<FastifyInstance> {
  const app: FastifyInstance = Fastify({
    loggerInstance: options.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: false,
    bodyLimit: LIMITS.bodyBytes,
    // Reads slower than this are cut: a slow client must not hold a connection for ever.
    requestTimeout: REQUEST_TIMEOUT_MS,
    // Agents report every few seconds to minutes and keep their connection in between.
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    routerOptions: { maxParamLength: LIMITS.nodeNameChars * 12, ignoreTrailingSlash: true },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, allErrors: false } },
  });
  problemReplies(app);
  jsonBodies(app);
  await app.register(cookie);
  await app.register(helmet, helmetOptions(options.publicUrl));
  authenticate(app, options);
  await app.register(rateLimit, {
    global: true,
    hook: 'preHandler',
    max: REQUESTS_PER_MINUTE,
    timeWindow: '1 minute',
    allowList: (request) => request.principal?.kind === 'agent' || request.routeOptions.config.access === 'public' && request.method === 'GET',
    keyGenerator: (request) => request.ip,
  });
  await app.register(swagger, documentation.swaggerOptions(options.version));
  app.addHook('onSend', (_, reply, payload, done) => {
    if (!reply.hasHeader('cache-control')) void reply.header('cache-control', 'no-store');
    done(null, payload);
  });
  if (options.onAnswered !== undefined) {
    const { onAnswered } = options;
    app.addHook('onResponse', (request, reply, done) => {
      onAnswered(request, reply.statusCode, reply.elapsedTime / 1_000);
      done();
    });
  }
  sessionRoutes(app, options);
  documentation.routes(app);
  return app;
}

function helmetOptions(publicUrl: URL | undefined): object {
  return {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'", 'data:'],
        connectSrc: ["'self'"],
        fontSrc: ["'self'"],
        manifestSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
      },
    },
    hsts: publicUrl?.protocol === 'https:' ? { maxAge: 31_536_000 } : false,
    referrerPolicy: { policy: 'no-referrer' },
    // These only mean something on https, and browsers complain about them on http.
    crossOriginOpenerPolicy: publicUrl?.protocol === 'https:',
    originAgentCluster: publicUrl?.protocol === 'https:',
  };
}
