/** The API described: OpenAPI from the routes' own schemas, and a page to read it on that needs nothing from outside. */
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { DOCUMENTATION_PAGE, DOCUMENTATION_SCRIPT, DOCUMENTATION_STYLE } from './documentation-page.ts';

function swaggerOptions(version: string): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Tidemark',
        version,
        description:
          'Times are ISO 8601 in UTC or milliseconds since 1970; units are in the names. Errors are RFC 9457 problem documents with a stable `code`. Send `Authorization: Bearer TOKEN`.',
      },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
    hideUntagged: true,
  };
}

function routes(app: FastifyInstance): void {
  const hidden = { config: { access: 'public' as const }, schema: { hide: true } };
  app.get('/api/openapi.json', {
    ...hidden,
    handler: async (_, reply) => reply.type('application/json; charset=utf-8').send(JSON.stringify(app.swagger())),
  });
  app.get('/api/docs', { ...hidden, handler: async (_, reply) => reply.type('text/html; charset=utf-8').send(DOCUMENTATION_PAGE) });
  app.get('/api/docs/page.js', {
    ...hidden,
    handler: async (_, reply) => reply.type('text/javascript; charset=utf-8').send(DOCUMENTATION_SCRIPT),
  });
  app.get('/api/docs/page.css', {
    ...hidden,
    handler: async (_, reply) => reply.type('text/css; charset=utf-8').send(DOCUMENTATION_STYLE),
  });
}

export const documentation = { swaggerOptions, routes };
