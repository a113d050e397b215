/** The API described: OpenAPI from the routes' own schemas, and a page to read it on that needs nothing from outside. */
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import { Problem } from '@tidemark/protocol';
import type { FastifyInstance, FastifySchema } from 'fastify';
import { accessOf, type Access } from './authenticate.ts';
import { DOCUMENTATION_SCRIPT, DOCUMENTATION_STYLE, documentationPage } from './documentation-page.ts';

const TAGS = [
  { name: 'fleet', description: 'Nodes, and how they are now.' },
  { name: 'series', description: 'The past.' },
  { name: 'replication', description: 'PostgreSQL clusters: who follows whom, how far behind, what happened.' },
  { name: 'prometheus', description: 'For Prometheus.' },
  { name: 'alerts', description: 'What is wrong, what was, and who was told.' },
  { name: 'rules', description: 'What is judged, and by which bounds.' },
  { name: 'channels', description: 'Whom it is told to.' },
  { name: 'live', description: 'As it happens.' },
  { name: 'grafana', description: 'For Grafana.' },
  { name: 'settings', description: 'What is in force.' },
  { name: 'health', description: 'The collector itself.' },
  { name: 'session', description: 'Signing in, for the console.' },
  { name: 'tokens', description: 'Credentials of programs.' },
  { name: 'enrolment', description: 'How machines become nodes.' },
  { name: 'agents', description: 'What agents speak. Versioned in its path; fields are added and never changed.' },
];

const SECURITY: Readonly<Record<Access, { [scheme: string]: [] }[]>> = {
  public: [],
  agent: [{ agentToken: [] }],
  read: [{ token: [] }, { session: [] }],
  admin: [{ adminToken: [] }, { session: [] }],
};

const bearer = (description: string) => ({ type: 'http' as const, scheme: 'bearer', description });

/** The form of every refusal, beside the answers that a route declares itself. */
const REFUSAL = {
  description: 'A problem document (RFC 9457) with a stable code.',
  content: { 'application/problem+json': { schema: Problem } },
};

function swaggerOptions(version: string): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Tidemark',
        version,
        description:
          'Times are ISO 8601 in UTC or milliseconds since 1970; units are in the names; what is not known is null. Every refusal is a problem document with a stable code. Send "Authorization: Bearer TOKEN".',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      tags: TAGS,
      components: {
        securitySchemes: {
          token: bearer('A token of a program (tidemark-collector tokens add), role read or admin, or the admin token.'),
          adminToken: bearer('A token of a program with role admin, or the admin token.'),
          agentToken: bearer('The token of a node (tidemark-collector nodes add).'),
          session: { type: 'apiKey', in: 'cookie', name: 'tidemark_session' },
        },
      },
    },
    hideUntagged: true,
    convertConstToEnum: false,
    transform: ({ schema, url, route }) => {
      const access = accessOf({ routeOptions: { config: route.config ?? {} }, method: [route.method].flat()[0]! });
      const described = schema as FastifySchema & { response?: object };
      return { url, schema: { ...described, security: SECURITY[access], response: { ...described.response, default: REFUSAL } } };
    },
    transformObject: (document) => ('openapiObject' in document ? modernTuples(document.openapiObject) : document.swaggerObject),
  };
}

/** Writes tuples as JSON Schema 2020-12, and so OpenAPI 3.1, has them: the schemas' own form is the older one, which Ajv reads. */
function modernTuples<T>(part: T): T {
  if (Array.isArray(part)) return part.map(modernTuples) as T;
  if (typeof part !== 'object' || part === null) return part;
  const entries = Object.entries(part).map(([key, value]) => [key, modernTuples(value)] as const);
  const items = (part as { items?: unknown }).items;
  if (!Array.isArray(items)) return Object.fromEntries(entries) as T;
  return Object.fromEntries(
    entries.flatMap(([key, value]) =>
      key === 'items'
        ? [
            ['prefixItems', value],
            ['items', false],
          ]
        : key === 'additionalItems'
          ? []
          : [[key, value]],
    ),
  ) as T;
}

/** For those who may read: nothing about the collector is told to anybody else. */
function routes(app: FastifyInstance, prefix: string): void {
  const options = { config: { access: 'read' as const }, schema: { hide: true } };
  app.get('/api/openapi.json', {
    ...options,
    handler: async (_, reply) => reply.type('application/json; charset=utf-8').send(JSON.stringify(app.swagger())),
  });
  const files: [string, string, string][] = [
    ['/api/docs', 'text/html; charset=utf-8', documentationPage(prefix)],
    ['/api/docs/page.js', 'text/javascript; charset=utf-8', DOCUMENTATION_SCRIPT],
    ['/api/docs/page.css', 'text/css; charset=utf-8', DOCUMENTATION_STYLE],
  ];
  for (const [url, type, content] of files) app.get(url, { ...options, handler: async (_, reply) => reply.type(type).send(content) });
}

export const documentation = { swaggerOptions, routes };
