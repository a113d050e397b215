/** One form for every error that leaves the collector: RFC 9457 with a stable code. What was not expected is logged whole and told as "internal". */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { FastifySchemaValidationError } from 'fastify/types/schema.js';
import { PROBLEMS, ProblemError, problem, type ProblemCode } from '@tidemark/protocol';

declare module 'fastify' {
  interface FastifyInstance {
    /** The methods that each address (as a pattern) takes. */
    readonly methodsByUrl: ReadonlyMap<string, ReadonlySet<string>>;
  }
}

/** Fastify's own error codes, in our words. */
const FASTIFY_CODES: Readonly<Record<string, ProblemCode>> = {
  FST_ERR_CTP_EMPTY_JSON_BODY: 'body_malformed',
  FST_ERR_CTP_INVALID_JSON_BODY: 'body_malformed',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'body_malformed',
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'media_type_unsupported',
  FST_ERR_BAD_URL: 'query_invalid',
  FST_ERR_MAX_PARAM_LENGTH: 'query_invalid',
  FST_ERR_ASYNC_CONSTRAINT: 'query_invalid',
};

export function sendProblem(reply: FastifyReply, code: ProblemCode, detail: string, retryAfterSeconds?: number): FastifyReply {
  if (retryAfterSeconds !== undefined) void reply.header('retry-after', String(retryAfterSeconds));
  if (code === 'credential_missing' || code === 'credential_unknown') void reply.header('www-authenticate', 'Bearer realm="tidemark"');
  return reply
    .code(PROBLEMS[code].status)
    .type('application/problem+json; charset=utf-8')
    .serializer(JSON.stringify)
    .send(problem(code, detail));
}

/** For requests that reach no route: an address that cannot be decoded, or that is longer than any of ours. */
export function unroutable(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  sendProblem(reply, FASTIFY_CODES[error.code] ?? 'query_invalid', 'The address cannot be decoded, or is too long.');
}

/** To be called before any route is added: what methods an address takes is learned from the routes. */
export function problemReplies(app: FastifyInstance): void {
  const routes = new Map<string, Set<string>>();
  app.decorate('methodsByUrl', routes);
  app.addHook('onRoute', ({ url, method }) => {
    const methods = routes.get(url) ?? new Set();
    for (const one of [method].flat()) methods.add(one);
    routes.set(url, methods);
  });
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const known = asProblem(error);
    if (known === undefined) {
      request.log.error({ err: error, route: request.routeOptions.url }, 'a request failed');
      return sendProblem(reply, 'internal', `It has been logged with request id ${request.id}.`);
    }
    return sendProblem(reply, known.code, known.message, known.retryAfterSeconds);
  });
  app.setNotFoundHandler((request, reply) => {
    const pathname = request.url.split('?', 1)[0]!;
    const methods = [...routes].filter(([pattern]) => matches(pattern, pathname)).flatMap(([, taken]) => [...taken]);
    if (methods.length > 0) {
      void reply.header('allow', methods.join(', '));
      return sendProblem(reply, 'method_not_allowed', `${pathname} takes ${methods.join(', ')}.`);
    }
    return sendProblem(reply, 'not_found', `There is nothing at ${pathname}.`);
  });
}

/** Whether an address is one that a route's pattern (`/nodes/:name`, `/assets/*`) stands for. */
function matches(pattern: string, pathname: string): boolean {
  const wanted = pattern.split('/');
  const given = pathname.replace(/\/+$/, '').split('/');
  if (wanted.at(-1) !== '*' && wanted.length !== given.length) return false;
  return wanted.every(
    (part, i) => part === '*' || part === given[i] || (part.startsWith(':') && given[i] !== undefined && given[i] !== ''),
  );
}

function asProblem(error: FastifyError): ProblemError | undefined {
  if (error instanceof ProblemError) return error;
  if (error.validation !== undefined) {
    const code = error.validationContext === 'body' ? 'body_invalid' : 'query_invalid';
    return new ProblemError(code, invalidSentence(error.validationContext ?? 'body', error.validation[0]));
  }
  const code = FASTIFY_CODES[error.code];
  if (code !== undefined) return new ProblemError(code, `${error.message}.`);
  if (error instanceof SyntaxError && error.statusCode === 400) return new ProblemError('body_malformed', `${error.message}.`);
  // Nobody is there to read it any more; it is no failure of the collector's.
  if (error.code === 'ECONNRESET' && error.statusCode === 400)
    return new ProblemError('body_malformed', 'The connection was cut before the body was whole.');
  // The limiter has set Retry-After already.
  if (error.statusCode === 429) return new ProblemError('rate_limited', `${error.message}.`);
  return undefined;
}

/** Which field, and what was expected there; never what was sent, which may be a secret. */
function invalidSentence(part: string, found: FastifySchemaValidationError | undefined): string {
  if (found === undefined) return `The ${part} does not have the documented form.`;
  const where = `${part}${found.instancePath.replaceAll('/', '.')}`;
  const wanted = (found as { parentSchema?: { description?: string } }).parentSchema?.description;
  if (found.keyword === 'pattern' && wanted !== undefined) return `${where} must be ${wanted}.`;
  if (found.keyword === 'const' || found.keyword === 'enum') return `${where} must be ${JSON.stringify(Object.values(found.params)[0])}.`;
  if (found.keyword === 'additionalProperties')
    return `${where} has a field "${String(found.params['additionalProperty'])}" that is not known.`;
  return `${where} ${found.message ?? 'is not valid'}.`;
}
