/** `npx vite` in this package shows the console over a fake fleet: no collector needed. Token: "tidemark". */
import type { Plugin } from 'vite';
import { mockApi } from './mock-api.ts';

/** Serves the fake interface beside the development server. */
export function mockApiPlugin(): Plugin {
  return {
    name: 'tidemark-mock-api',
    apply: 'serve',
    configureServer(server) {
      const api = mockApi({ nodes: 1_000, seed: 7, awkward: true, unwatched: 3, token: 'tidemark', alerts: 'fleet', replication: 'mixed' });
      server.middlewares.use((request, response, next) => {
        if (!api.handle(request, response)) next();
      });
    },
  };
}
