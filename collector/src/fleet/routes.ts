/** Nodes and the tokens of programs: who belongs to the fleet. Every change is in force when its answer is sent. */
import { LIMITS, NodeList, NodeName, NodeSummary, ProblemError, TagName } from '@tidemark/protocol';
import type { FastifyInstance } from 'fastify';
import { Type, type Static } from 'typebox';
import type { FleetDirectory } from './directory.ts';
import type { EnrolmentStore } from './enrolment-store.ts';
import type { NodeRecord } from './node.ts';
import type { FleetStore } from './store.ts';
import { hashToken, newToken } from '../http/token.ts';

export interface FleetRoutesOptions {
  directory: FleetDirectory;
  store: FleetStore;
  enrolments: EnrolmentStore;
  /** A node as the API shows it, with what the live view knows of it. */
  summarise: (node: NodeRecord) => NodeSummary;
}
const Site = Type.String({ maxLength: 100, pattern: '^[^\\u0000-\\u001f\\u007f]*$', description: 'at most 100 printable characters' });
const NodeTags = Type.Record(TagName, Type.String({ maxLength: 200, pattern: '^[^\\u0000]*$', description: 'at most 200 characters' }), {
  maxProperties: LIMITS.tagsPerNode,
  additionalProperties: false,
});
const AddNode = Type.Object({ name: NodeName, site: Type.Optional(Site), tags: Type.Optional(NodeTags) }, { additionalProperties: false });
const WithToken = Type.Object({ node: NodeSummary, token: Type.String({ description: 'Shown once; the collector keeps its hash.' }) });
const NodeParams = Type.Object({ name: Type.String() });
const TokenName = Type.String({
  minLength: 1,
  maxLength: 100,
  pattern: '^(?!\\.{1,2}$)[^/\\u0000-\\u001f\\u007f]+$',
  description: '1 to 100 printable characters, no slash, and not "." or ".."',
});
const AddToken = Type.Object({ name: TokenName, role: Type.Union([Type.Literal('read'), Type.Literal('admin')]) });
const TokenView = Type.Object({ name: Type.String(), role: Type.String(), createdAt: Type.String() });

const NewToken = Type.Union([
  Type.Object(
    {
      overlapSeconds: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: 30 * 86_400,
          description: 'How long the old one holds when the new one is not used before; 0 unless told.',
        }),
      ),
    },
    { additionalProperties: false },
  ),
  Type.Null(),
]);

/** Steps of a node's life; to let one in is with enrolment. */
const STEPS = {
  revoke: "Take a node's credential away; its history stays",
  retire: 'Take a node out for good; its history stays, its name is free',
} as const;

export function fleetRoutes(app: FastifyInstance, options: FleetRoutesOptions): void {
  const { directory, store, enrolments, summarise } = options;
  const tags = ['fleet'];
  const nodeOf = (name: string): NodeRecord => {
    const node = directory.byName(name);
    if (node === undefined) throw new ProblemError('node_unknown', `There is no node ${JSON.stringify(name)}.`);
    return node;
  };

  app.get('/api/telemetry/nodes', {
    config: { access: 'read' },
    schema: { tags, summary: 'All nodes, retired ones too', response: { 200: NodeList } },
    handler: async () => ({ nodes: [...directory.everyone()].map(summarise) }),
  });

  app.post<{ Body: Static<typeof AddNode> }>('/api/telemetry/nodes', {
    config: { access: 'admin' },
    schema: { tags, summary: 'Add a node and make its token', body: AddNode, response: { 201: WithToken } },
    handler: async (request, reply) => {
      const { name, site = '', tags: nodeTags = {} } = request.body;
      const token = newToken('agent');
      const { id } = await store.addNode({ name, site, tags: nodeTags, state: 'approved', tokenHash: hashToken(token) }, directory.now());
      await directory.changed();
      return reply.code(201).send({ node: summarise(directory.byId(id)!), token });
    },
  });

  app.post<{ Params: { name: string }; Body: Static<typeof NewToken> }>('/api/telemetry/nodes/:name/token', {
    config: { access: 'admin' },
    schema: {
      tags,
      summary: 'Make a new token for a node',
      description: 'The old one ends at once; with an overlap when the new one is first used, at the latest when the overlap is over.',
      params: NodeParams,
      body: NewToken,
      response: { 201: WithToken },
    },
    handler: async (request, reply) => {
      const node = nodeOf(request.params.name);
      const token = newToken('agent');
      await enrolments.replaceToken(node.id, hashToken(token), (request.body?.overlapSeconds ?? 0) * 1_000, directory.now());
      await directory.changed();
      return reply.code(201).send({ node: summarise(node), token });
    },
  });

  app.post<{ Params: { name: string }; Body: { name: string } }>('/api/telemetry/nodes/:name/rename', {
    config: { access: 'admin' },
    schema: {
      tags,
      summary: 'Give a node another name; its id and history stay',
      params: NodeParams,
      body: Type.Object({ name: NodeName }),
      response: { 200: NodeSummary },
    },
    handler: async (request) => {
      const node = nodeOf(request.params.name);
      await store.rename(node.id, request.body.name);
      await directory.changed();
      return summarise(node);
    },
  });

  for (const [step, summary] of Object.entries(STEPS) as [keyof typeof STEPS, string][]) {
    app.post<{ Params: { name: string } }>(`/api/telemetry/nodes/:name/${step}`, {
      config: { access: 'admin' },
      schema: { tags, summary, params: NodeParams, response: { 200: NodeSummary } },
      handler: async (request) => {
        const node = nodeOf(request.params.name);
        await enrolments[step](node.id, directory.now());
        await directory.changed();
        return summarise(node);
      },
    });
  }

  tokenRoutes(app, options);
}

function tokenRoutes(app: FastifyInstance, { directory, store }: FleetRoutesOptions): void {
  const tags = ['tokens'];
  app.get('/api/tokens', {
    config: { access: 'admin' },
    schema: { tags, summary: 'Tokens of programs', response: { 200: Type.Object({ tokens: Type.Array(TokenView) }) } },
    handler: async () => ({
      tokens: directory.apiTokens().map(({ name, role, createdAt }) => ({ name, role, createdAt: new Date(createdAt).toISOString() })),
    }),
  });
  app.post<{ Body: Static<typeof AddToken> }>('/api/tokens', {
    config: { access: 'admin' },
    schema: {
      tags,
      summary: 'Make a token for a program',
      body: AddToken,
      response: { 201: Type.Object({ name: Type.String(), role: Type.String(), token: Type.String() }) },
    },
    handler: async (request, reply) => {
      const token = newToken('api');
      await store.addApiToken({ ...request.body, tokenHash: hashToken(token) }, directory.now());
      await directory.changed();
      return reply.code(201).send({ ...request.body, token });
    },
  });
  app.delete<{ Params: { name: string } }>('/api/tokens/:name', {
    config: { access: 'admin' },
    schema: { tags, summary: "End a program's token", params: NodeParams, response: { 204: Type.Null() } },
    handler: async (request, reply) => {
      if (!(await store.removeApiToken(request.params.name)))
        throw new ProblemError('token_unknown', `There is no token ${JSON.stringify(request.params.name)}.`);
      await directory.changed();
      return reply.code(204).send(null);
    },
  });
}
