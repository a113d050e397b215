/** `GET /api/rules`: the rules in force; `GET /api/rules/applies`: how they stand for one node, and from which layers. */
import { ProblemError, RuleList, RuleView } from '@tidemark/protocol';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { NodeFacts } from './layers.ts';
import type { RuleBook } from './source.ts';

export interface RuleRoutesOptions {
  readonly source: Pick<RuleBook, 'current' | 'state'>;
  readonly fleet: { byName(name: string): NodeFacts | undefined };
}

const AppliesQuery = Type.Object({
  node: Type.String({ minLength: 1, maxLength: 253, description: "The node's name." }),
  rule: Type.Optional(Type.String({ minLength: 1, maxLength: 253, description: 'One rule; without it all of them.' })),
});
export const AppliedRules = Type.Object({
  node: Type.String(),
  rules: Type.Array(
    Type.Object({
      ...RuleView.properties,
      applies: Type.Boolean({ description: 'Whether it judges anything on this node: selected, enabled, not inactive, with a bound.' }),
    }),
  ),
});

export function ruleRoutes(app: FastifyInstance, { source, fleet }: RuleRoutesOptions): void {
  app.get('/api/rules', {
    config: { access: 'read' },
    schema: {
      tags: ['alerts'],
      summary: 'The rules in force',
      description: 'As they are for the whole fleet, with the layers they come from; overrides are listed as layers and not applied.',
      response: { 200: RuleList },
    },
    handler: (): RuleList => {
      const { file, loadedAt } = source.state();
      return { file: file ?? null, loadedAt: new Date(loadedAt).toISOString(), rules: [...source.current.views()] };
    },
  });

  app.get<{ Querystring: { node: string; rule?: string } }>('/api/rules/applies', {
    config: { access: 'read' },
    schema: {
      tags: ['alerts'],
      summary: 'Which rules apply to a node, and from which layers',
      description: 'Every rule with the layers that are in force for this node; the last one that sets a thing wins.',
      querystring: AppliesQuery,
      response: { 200: AppliedRules },
    },
    handler: ({ query }) => {
      const node = fleet.byName(query.node);
      if (node === undefined) throw new ProblemError('node_unknown', `There is no node "${query.node}".`);
      const rules = source.current;
      if (query.rule !== undefined) {
        const one = rules.explain(query.rule, node);
        if (one === undefined) throw new ProblemError('rule_unknown', `There is no rule "${query.rule}". All of them: GET /api/rules`);
        return { node: node.name, rules: [one] };
      }
      return { node: node.name, rules: rules.views().map(({ name }) => rules.explain(name, node)!) };
    },
  });
}
