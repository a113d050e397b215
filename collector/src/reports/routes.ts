/** `POST /api/telemetry/v1/reports`: the one address that agents speak to. */
import { Acknowledgement, ProblemError, REPORTS_PATH, ReportRequest } from '@tidemark/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { NodeRecord } from '../fleet/node.ts';
import type { ReportIntake } from './intake.ts';

export interface ReportRoutesOptions {
  intake: ReportIntake;
  /** The node whose credential the request carries; the HTTP layer has checked it. */
  nodeOf: (request: FastifyRequest) => NodeRecord | undefined;
}

export function reportRoutes(app: FastifyInstance, { intake, nodeOf }: ReportRoutesOptions): void {
  app.route<{ Body: ReportRequest }>({
    method: 'POST',
    url: REPORTS_PATH,
    config: { access: 'agent' },
    schema: {
      tags: ['agents'],
      summary: 'Reports of an agent',
      description:
        '200 when everything was committed or settled, 202 when some of it could not be stored just now and is to be sent again.',
      body: ReportRequest,
      response: { 200: Acknowledgement, 202: Acknowledgement },
    },
    handler: async (request, reply) => {
      const node = nodeOf(request);
      if (node === undefined) throw new ProblemError('credential_missing', 'Reports are taken from agents only.');
      const acknowledgement = await intake.take(node, request.body);
      if (acknowledgement.notStored === undefined) return acknowledgement;
      return reply.code(202).header('retry-after', String(acknowledgement.retryAfterSeconds)).send(acknowledgement);
    },
  });
}
