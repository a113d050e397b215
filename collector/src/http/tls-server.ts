/**
 * The HTTPS server: one port that speaks TLS, and that tells whoever speaks plain HTTP to it so, in one sentence, instead of
 * hanging up. The first byte decides: a TLS handshake begins with 0x16, a request with a letter.
 */
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { FastifyServerFactoryHandler } from 'fastify';
import type { ServedTls } from './tls.ts';

/** For the first byte, and for the handshake after it. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
const GOODBYE_TIMEOUT_MS = 2_000;

const SENTENCE = 'This port speaks HTTPS, and this request came as plain HTTP: write https:// in the address.\n';
const ANSWER = `HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(SENTENCE)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${SENTENCE}`;

export interface HttpsTimeouts {
  headersTimeoutMs: number;
  requestTimeoutMs: number;
  keepAliveMs: number;
  connectionsCheckMs: number;
}

/** Makes the server; `dropUnspoken` ends connections that have not said a byte yet, which nobody else knows of. */
export function httpsServer(
  handler: FastifyServerFactoryHandler,
  tls: ServedTls,
  { headersTimeoutMs, requestTimeoutMs, keepAliveMs, connectionsCheckMs }: HttpsTimeouts,
): { server: Server; dropUnspoken: () => void } {
  const server = createServer(
    {
      ...tls.serverOptions(),
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: connectionsCheckMs,
    },
    handler,
  );
  // A connection that failed to become one has nobody to read an answer.
  server.removeAllListeners('tlsClientError').on('tlsClientError', (_, socket) => void socket.destroy());
  tls.serve(server);
  const unspoken = new Set<Socket>();
  // To begin TLS on a connection whose first bytes were looked at, it is handed to whoever would have got it at once.
  const speakTls = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection').on('connection', (socket: Socket) => {
    unspoken.add(socket);
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_TIMEOUT_MS).unref();
    const forget = (): void => {
      clearTimeout(timer);
      unspoken.delete(socket);
    };
    const fail = (): void => void socket.destroy();
    socket.once('close', forget).on('error', fail);
    socket.once('readable', () => {
      const first = socket.read() as Buffer | null;
      forget();
      socket.off('close', forget).off('error', fail);
      if (first === null) return void socket.destroy();
      if (/[A-Za-z]/.test(String.fromCodePoint(first[0]!))) return turnAway(socket);
      socket.unshift(first);
      for (const speak of speakTls) speak.call(server, socket);
    });
  });
  return {
    server,
    dropUnspoken: () => {
      for (const socket of unspoken) socket.destroy();
    },
  };
}

function turnAway(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.setTimeout(GOODBYE_TIMEOUT_MS, () => socket.destroy());
  // What is still coming is let in and forgotten: a connection that is closed over it would lose the answer.
  socket.resume();
  socket.end(ANSWER);
}
