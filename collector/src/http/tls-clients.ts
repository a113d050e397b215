/** Mutual TLS is for agents: what they report by and what they join by wants a certificate, nothing else does. Asked before any credential. */
import { ENROLL_PATH, ProblemError } from '@tidemark/protocol';
import type { FastifyInstance } from 'fastify';
import { accessOf } from './authenticate.ts';
import type { ServedTls } from './tls.ts';

const RETRY_SECONDS = 60;

export function askForCertificates(app: FastifyInstance, tls: Pick<ServedTls, 'problemWithClient'>): void {
  app.addHook('onRequest', (request, reply, done) => {
    const isAgents = accessOf(request) === 'agent' || request.routeOptions.url?.endsWith(ENROLL_PATH) === true;
    const wrong = isAgents ? tls.problemWithClient(request.raw.socket) : undefined;
    if (wrong === undefined) return done();
    if (wrong === 'outdated') {
      // As after any other cut the agent connects again, and is judged by the authorities that hold now.
      void reply.hijack();
      request.raw.socket.destroy();
      return;
    }
    throw new ProblemError('client_certificate_needed', `${wrong} Set certFile and keyFile on the agent.`, {
      retryAfterSeconds: RETRY_SECONDS,
    });
  });
}
