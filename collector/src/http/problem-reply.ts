/** One form for every error that leaves the collector: RFC 9457 with a stable code. What was not expected is logged whole and told as "internal". */
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify';
import { PROBLEMS, ProblemError, problem, type ProblemCode } from '@tidemark/protocol';

/** Fastify's own error codes, in our words. */
const FASTIFY_CODES: Readonly<Record<string, ProblemCode>> = {
  FST_ERR_CTP_EMPTY_JSON_BODY: 'body_malformed',
  FST_ERR_CTP_INVALID_JSON_BODY: 'body_malformed',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'body_malformed',
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'media_type_unsupported',
  FST_ERR_BAD_URL: 'query_invalid',
  FST_ERR_MAX_PARAM_LENGTH: 'query_invalid',
};

export function sendProblem(reply: FastifyReply, code: ProblemCode, detail: string, retryAfterSeconds?: number): FastifyReply {
  if (retryAfterSeconds !== undefined) void reply.header('retry-after', String(retryAfterSeconds));
  if (code === 'credential_missing' || code === 'credential_unknown') void reply.header('www-authenticate', 'Bearer realm="tidemark"');
  return reply.code(PROBLEMS[code].status).type('application/problem+json; charset=utf-8').serializer(JSON.stringify).send(problem(code, detail));
}

export function problemReplies(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const known = asProblem(error);
    if (known === undefined) {
      request.log.error({ err: error, route: request.routeOptions.url }, 'a request failed');
      return sendProblem(reply, 'internal', `It has been logged with request id ${request.id}.`);
    }
    return sendProblem(reply, known.code, known.message, known.retryAfterSeconds);
  });
  app.setNotFoundHandler((request, reply) => {
    const { pathname } = new URL(request.url, 'http://x');
    const methods = app.supportedMethods.filter((method) => method !== request.method && app.findRoute({ url: pathname, method: method as 'GET' }) !== null);
    if (methods.length > 0) {
      void reply.header('allow', methods.join(', '));
      return sendProblem(reply, 'method_not_allowed', `${pathname} takes ${methods.join(', ')}.`);
    }
    return sendProblem(reply, 'not_found', `There is nothing at ${pathname}.`);
  });
}

function asProblem(error: FastifyError): ProblemError | undefined {
  if (error instanceof ProblemError) return error;
  if (error.validation !== undefined) {
    const [first] = error.validation;
    const where = `${error.validationContext ?? 'body'}${(first?.instancePath ?? '').replaceAll('/', '.')}`;
    const extra = first?.params === undefined ? '' : ` (${JSON.stringify(first.params).slice(0, 120)})`;
    return new ProblemError(error.validationContext === 'body' ? 'body_invalid' : 'query_invalid', `${where}: ${first?.message ?? 'not valid'}${extra}.`);
  }
  const code = FASTIFY_CODES[error.code];
  if (code !== undefined) return new ProblemError(code, `${error.message}.`);
  if (error instanceof SyntaxError && error.statusCode === 400) return new ProblemError('body_malformed', `${error.message}.`);
  if (error.statusCode === 429) return new ProblemError('rate_limited', error.message, { retryAfterSeconds: 30 });
  return undefined;
}
