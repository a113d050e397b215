/** The channels as the API shows them, and the button that sends a test through one of them. */
import { ChannelList, ChannelTest } from '@tidemark/protocol';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { Notifier } from './notifier.ts';

export function channelRoutes(app: FastifyInstance, { notifier }: { notifier: Notifier }): void {
  const tags = ['channels'];

  app.get('/api/channels', {
    config: { access: 'read' },
    schema: { tags, summary: 'Whom the collector tells of alerts, and how that goes', response: { 200: ChannelList } },
    handler: async () => ({ channels: notifier.views() }),
  });

  app.post<{ Params: { name: string } }>('/api/channels/:name/test', {
    config: { access: 'admin' },
    schema: {
      tags,
      summary: "Send a test message the real way, and answer with what the other side answered; within the attempt's time (30 s at most)",
      params: Type.Object({ name: Type.String() }),
      response: { 200: ChannelTest },
    },
    handler: async (request) => notifier.test(request.params.name),
  });
}
