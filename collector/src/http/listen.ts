/** Listening on an address: what stands against it is one sentence that says what to do. */
import { createServer } from 'node:net';
import { EXIT, OperationalFailure, codeOf, sentenceOf } from '@tidemark/service';
import type { FastifyInstance } from 'fastify';

export interface ListenAddress {
  host: string;
  /** 0: any free one. */
  port: number;
}

/**
 * Rejects when nobody could listen there, before hours of work (or the first start's minutes of making a
 * database) are spent on a collector that cannot be reached. The port is free again when this resolves.
 */
export async function ensureListenable(address: ListenAddress): Promise<void> {
  const { host, port } = address;
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen({ host, port, exclusive: true }, resolve));
  } catch (error) {
    throw listenFailure(error, address);
  }
  await new Promise((resolve) => server.close(resolve));
}

/** Listens, and resolves with the port. */
export async function listenOn(app: FastifyInstance, address: ListenAddress): Promise<number> {
  try {
    await app.listen({ ...address });
  } catch (error) {
    throw listenFailure(error, address);
  }
  const bound = app.server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : address.port;
}

/** Longer than the database may take for an answer, shorter than a service manager's patience. */
const CLOSE_GRACE_MS = 10_000;

/**
 * Stops listening. What is under way may end within `graceMs` milliseconds; then whoever takes no answer, or never finishes a question,
 * is cut off: no client keeps a collector from stopping.
 */
export async function stopListening(app: FastifyInstance, graceMs = CLOSE_GRACE_MS): Promise<void> {
  const cut = setTimeout(() => app.server.closeAllConnections(), graceMs);
  try {
    await app.close();
  } finally {
    clearTimeout(cut);
  }
}

function listenFailure(error: unknown, { host, port }: ListenAddress): unknown {
  const at = (other: number): string => `${host.includes(':') ? `[${host}]` : host}:${other}`;
  const fail = (sentence: string, code: number): OperationalFailure => new OperationalFailure(sentence, code, { cause: error });
  switch (codeOf(error)) {
    case 'EADDRINUSE': {
      const other = at(port < 65_535 ? port + 1 : port - 1);
      return fail(
        `Another program listens on ${at(port)} already. Choose another port: --listen ${other}, or TIDEMARK_LISTEN=${other} npm start.`,
        EXIT.portInUse,
      );
    }
    case 'EACCES':
      return fail(`This user may not listen on ${at(port)}. Choose a port above 1023 with --listen.`, EXIT.portInUse);
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAFNOSUPPORT':
    case 'EINVAL':
      return fail(`This machine has no address ${host}. Listen on one that it has: --listen 0.0.0.0:${port}.`, EXIT.configuration);
    case undefined:
      return error;
    default:
      return fail(`Cannot listen on ${at(port)}: ${sentenceOf(error)}.`, EXIT.portInUse);
  }
}
