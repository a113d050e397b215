/** `GET /prometheus/rules.yml`: the rules in force as Prometheus judges them, for who pages by Alertmanager. */
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { NodeRecord } from '../fleet/node.ts';
import { prometheusRules } from './prometheus.ts';
import type { RuleSource } from './rule.ts';

export interface PrometheusRuleRoutesOptions {
  readonly source: Pick<RuleSource, 'current'>;
  readonly fleet: { all(): Iterable<NodeRecord> };
  /** Where this collector is reached from outside. */
  readonly baseUrl: () => URL;
}

export function prometheusRuleRoutes(app: FastifyInstance, { source, fleet, baseUrl }: PrometheusRuleRoutesOptions): void {
  app.get('/prometheus/rules.yml', {
    config: { access: 'read' },
    schema: {
      tags: ['prometheus'],
      summary: 'The rules in force as alerting rules for Prometheus',
      description:
        'Two alerts a rule, told apart by the label severity; overrides name the nodes they are for. For Prometheus 2.42 or later. What it cannot express is said in comments and annotations.',
      response: { 200: { content: { 'application/yaml': { schema: Type.String() } } } },
    },
    handler: async (_, reply) =>
      reply.type('application/yaml; charset=utf-8').send(
        prometheusRules({
          rules: source.current,
          nodes: [...fleet.all()].filter(({ state }) => state === 'approved'),
          baseUrl: baseUrl().href.replace(/\/+$/, ''),
        }),
      ),
  });
}
