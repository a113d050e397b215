/** Signing in and out: the admin token against a session cookie. */
import { Type } from 'typebox';
import type { FastifyInstance } from 'fastify';
import { ProblemError } from '@tidemark/protocol';
import { cookiePath, requireSameOrigin, setSessionCookie, type AuthenticateOptions } from './authenticate.ts';
import { SESSION_COOKIE, newSession } from './session.ts';

const SignIn = Type.Object({ token: Type.String({ minLength: 1, maxLength: 200 }) });
const SessionView = Type.Object({
  role: Type.String({ description: 'read or admin' }),
  expiresAt: Type.Union([Type.String(), Type.Null()], { description: 'ISO 8601, UTC; null for a token, which does not expire.' }),
});

const SIGN_INS_PER_MINUTE = 10;

export function sessionRoutes(app: FastifyInstance, options: AuthenticateOptions): void {
  app.post<{ Body: { token: string } }>('/api/session', {
    // Anybody may send something here: it is bounded by what a token needs.
    bodyLimit: 4_096,
    config: { access: 'public', rateLimit: { max: SIGN_INS_PER_MINUTE, timeWindow: '1 minute' } },
    schema: { tags: ['session'], summary: 'Sign in with the admin token', body: SignIn, response: { 204: Type.Null() } },
    handler: async (request, reply) => {
      requireSameOrigin(request, options.publicUrl);
      if (!options.adminToken.matches(request.body.token.trim()))
        throw new ProblemError('credential_unknown', 'This is not the admin token.');
      setSessionCookie(reply, newSession(options.clock.wallMs()), options);
      return reply.code(204).send(null);
    },
  });
  app.get('/api/session', {
    schema: { tags: ['session'], summary: 'Who is signed in', response: { 200: SessionView } },
    handler: async ({ principal }) => {
      if (principal === undefined || principal.kind === 'agent') throw new ProblemError('credential_missing', 'Sign in.');
      return { role: principal.role, expiresAt: principal.kind === 'person' ? new Date(principal.session.expiresAt).toISOString() : null };
    },
  });
  app.delete('/api/session', {
    config: { access: 'read' },
    schema: { tags: ['session'], summary: 'Sign out', response: { 204: Type.Null() } },
    handler: async (_, reply) =>
      reply
        .clearCookie(SESSION_COOKIE, { path: cookiePath(options.publicUrl) })
        .code(204)
        .send(null),
  });
}
