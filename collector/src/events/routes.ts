/** `GET /api/events`: server-sent events for open pages. The stream ends when its credential does, and when the collector stops. */
import { ProblemError } from '@tidemark/protocol';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { EventHub } from './hub.ts';

/** How long a browser waits before it comes back by itself. */
const RETRY_MS = 2_000;

export function eventRoutes(app: FastifyInstance, { hub }: { hub: EventHub }): void {
  app.addHook('preClose', (done) => {
    hub.stop();
    done();
  });
  app.get('/api/events', {
    config: { access: 'read' },
    schema: {
      tags: ['live'],
      summary: 'What happens, as server-sent events',
      description:
        'First `overview` (the whole fleet), then `nodes` (rows that changed), `alert` (one that changed), `changed` (something to ask again about) and `life` every two seconds.',
      response: { 200: { content: { 'text/event-stream': { schema: Type.String() } } } },
    },
    handler: (request, reply) => {
      const { raw } = reply;
      const headers = reply.getHeaders() as Record<string, string>;
      let started = false;
      const leave = hub.join({
        write: (text) => {
          if (!started) {
            started = true;
            reply.hijack();
            // A proxy that gathers the answer would make it late (nginx honours the last line).
            raw.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' });
            raw.write(`retry: ${RETRY_MS}\n\n`);
          }
          raw.write(text);
          return raw.writableLength;
        },
        admitted: () => app.stillAdmits(request),
        end: () => raw.destroy(),
      });
      if (leave === false) throw new ProblemError('overloaded', 'Too many pages are open on this collector.', { retryAfterSeconds: 30 });
      raw.on('close', leave);
      raw.on('error', leave);
    },
  });
}
