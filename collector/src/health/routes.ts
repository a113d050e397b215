/**
 * Three questions about the collector: may a balancer send here (`/health`), is all that is needed up
 * (`/api/health`), and how is each part (`/api/telemetry/health`). A dead database fails only the second:
 * reports can still be judged, and taking every collector out would help nobody.
 */
import { Health, TelemetryHealth } from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { Components } from './components.ts';

export interface HealthRoutesOptions {
  components: Components;
  clock: Clock;
  stopping: () => boolean;
}

export function healthRoutes(app: FastifyInstance, { components, clock, stopping }: HealthRoutesOptions): void {
  const startedMs = clock.monotonicMs();
  const tags = ['health'];
  app.get('/health', {
    config: { access: 'public' },
    schema: { tags, summary: '200 while reports can be accepted or judged', response: { 200: Type.String(), 503: Type.String() } },
    handler: async (_, reply) => {
      void reply.type('text/plain; charset=utf-8');
      return stopping() ? reply.code(503).send('stopping\n') : 'ok\n';
    },
  });
  app.get('/api/health', {
    config: { access: 'public' },
    schema: { tags, summary: '200 while everything needed is up, else 503 with the reasons', response: { 200: Health, 503: Health } },
    handler: async (_, reply) => {
      const reasons = stopping() ? ['the collector is stopping'] : components.reasons();
      const answer = { timestamp: new Date(clock.wallMs()).toISOString(), uptime: Math.round(clock.monotonicMs() - startedMs) / 1_000 };
      if (reasons.length === 0) return { status: 'healthy' as const, ...answer };
      return reply.code(503).send({ status: 'unhealthy' as const, ...answer, reasons });
    },
  });
  app.get('/api/telemetry/health', {
    config: { access: 'read' },
    schema: { tags, summary: 'The state of each component', response: { 200: TelemetryHealth } },
    handler: async () => components.read(),
  });
}
