/** A collector stops, whatever its clients do. */
import { createConnection, type Socket } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { expect, onTestFinished, test } from 'vitest';
import { listenOn, stopListening } from './listen.ts';

async function listening(app: FastifyInstance): Promise<(request: string) => Promise<Socket>> {
  const port = await listenOn(app, { host: '127.0.0.1', port: 0 });
  onTestFinished(async () => {
    app.server.closeAllConnections();
    await app.close();
  });
  return (request) =>
    new Promise((resolve, reject) => {
      const socket = createConnection({ host: '127.0.0.1', port }, () => {
        // It never reads.
        socket.pause();
        socket.write(request, () => resolve(socket));
      });
      socket.on('error', reject);
      onTestFinished(() => void socket.destroy());
    });
}

test('a client that takes no answer, and one that never finishes its question, keep nobody from stopping', async () => {
  const app = Fastify({ forceCloseConnections: 'idle' });
  let asked = (): void => {};
  const isAsked = new Promise<void>((resolve) => (asked = resolve));
  app.get('/large', (_, reply) => {
    asked();
    return reply.send(Buffer.alloc(64 * 1024 * 1024));
  });
  const connect = await listening(app);
  await connect('GET /large HTTP/1.1\r\nhost: x\r\n\r\n');
  await connect('GET /la');
  await isAsked;
  await stopListening(app, 100);
  expect(app.server.listening).toBe(false);
});

test('what is under way is answered first', async () => {
  const app = Fastify({ forceCloseConnections: 'idle' });
  let finish = (): void => {};
  let asked = (): void => {};
  const isAsked = new Promise<void>((resolve) => (asked = resolve));
  app.get('/slow', async () => {
    asked();
    await new Promise<void>((resolve) => (finish = resolve));
    return 'done';
  });
  const connect = await listening(app);
  const socket = await connect('GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  await isAsked;
  const stopped = stopListening(app, 30_000);
  finish();
  await stopped;
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  expect(text).toMatch(/done$/);
});
