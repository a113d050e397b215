/**
 * Connections to a collector: kept alive, over TLS with the authorities and the certificate that the options name, and through an
 * HTTP proxy where there is one. The files are read for every new connection, so that one that was renewed is in force with the next.
 */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type AgentOptions, type ClientRequestArgs } from 'node:http';
import { Agent as HttpsAgent, type RequestOptions } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { urlToHttpOptions } from 'node:url';
import { codeOf, sentenceOf } from '@tidemark/service';

/** What an answer to CONNECT may take. */
const TUNNEL_TIMEOUT_MS = 8_000;

/** How a collector is reached, beside its address. */
export interface Route {
  /** Authorities in place of the machine's own. */
  readonly caFile?: string | undefined;
  /** Certificate and private key of this agent. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly proxy?: URL | undefined;
  /** Whoever answers is believed: only to fetch what is then checked against a fingerprint. */
  readonly unverified?: boolean | undefined;
}

type Created = (error: Error | null, socket: Duplex) => void;

/**
 * Kept-alive connections to a collector: between two reports of any interval up to a minute or so a connection
 * stays, longer ones connect anew. `sockets` is for agents that share them.
 */
export function createConnections(server: URL, sockets = 1, route: Route = {}): HttpAgent {
  const options = { keepAlive: true, maxSockets: sockets, maxFreeSockets: sockets, scheduling: 'lifo' as const };
  const { proxy } = route;
  if (server.protocol !== 'https:') return proxy === undefined ? new HttpAgent(options) : new TunnelledConnections(options, proxy);
  const plain = proxy === undefined && route.caFile === undefined && route.certFile === undefined && route.unverified !== true;
  return plain ? new HttpsAgent(options) : new RoutedConnections(options, route);
}

class TunnelledConnections extends HttpAgent {
  readonly #proxy: URL;

  constructor(options: AgentOptions, proxy: URL) {
    super(options);
    this.#proxy = proxy;
  }

  override createConnection(options: ClientRequestArgs, created?: Created): undefined {
    tunnel(this.#proxy, options).then(
      (socket) => created?.(null, socket),
      (error: Error) => fail(created, error),
    );
    return undefined;
  }
}

class RoutedConnections extends HttpsAgent {
  readonly #route: Route;

  constructor(options: AgentOptions, route: Route) {
    // A resumed session would keep what an earlier certificate was good for.
    super({ ...options, maxCachedSessions: 0 });
    this.#route = route;
  }

  override createConnection(options: RequestOptions, created?: Created): Duplex | null | undefined {
    const secured = (more: { socket?: Socket }): Duplex | null | undefined =>
      super.createConnection({ ...options, ...materialOf(this.#route), ...more });
    const { proxy } = this.#route;
    try {
      if (proxy === undefined) return secured({});
    } catch (error) {
      fail(created, named(error, this.#route));
      return undefined;
    }
    tunnel(proxy, options)
      .then((socket) => created?.(null, secured({ socket })!))
      .catch((error: unknown) => fail(created, named(error, this.#route)));
    return undefined;
  }
}

function fail(created: Created | undefined, error: Error): void {
  // Node gives the socket no look when there is an error.
  (created as ((error: Error) => void) | undefined)?.(error);
}

function materialOf({ caFile, certFile, keyFile, unverified }: Route): RequestOptions {
  return {
    ...(caFile === undefined ? {} : { ca: pemIn(caFile, 'caFile', 'CERTIFICATE') }),
    ...(certFile === undefined ? {} : { cert: pemIn(certFile, 'certFile', 'CERTIFICATE') }),
    ...(keyFile === undefined ? {} : { key: pemIn(keyFile, 'keyFile', 'PRIVATE KEY') }),
    ...(unverified === true ? { rejectUnauthorized: false } : {}),
  };
}

/** The text of a PEM file. Throws an error of code TIDEMARK_FILE that says what is wrong with it. */
export function pemIn(file: string, option: string, kind: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw failure('TIDEMARK_FILE', `${option}: ${file} cannot be read (${codeOf(error) ?? sentenceOf(error)})`);
  }
  if (!new RegExp(`-----BEGIN [A-Z ]*${kind}-----`).test(text))
    throw failure('TIDEMARK_FILE', `${option}: ${file} holds no ${kind.toLowerCase()} as PEM`);
  return text;
}

/** What OpenSSL says of a certificate and a key names neither of the files. */
function named(error: unknown, { caFile, certFile, keyFile }: Route): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if (!(codeOf(error) ?? '').startsWith('ERR_OSSL')) return error;
  const files = [caFile, certFile, keyFile].filter((file) => file !== undefined).join(', ');
  const mismatch = codeOf(error) === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH';
  return failure(
    'TIDEMARK_FILE',
    mismatch ? `${certFile} and ${keyFile} do not belong together` : `${files} cannot be used: ${error.message}`,
  );
}

/** A connection to a host through an HTTP proxy. Rejects with an error of code TIDEMARK_PROXY that says what the proxy did. */
function tunnel(
  proxy: URL,
  { host, port }: { host?: string | null | undefined; port?: string | number | null | undefined },
): Promise<Socket> {
  const target = `${host?.includes(':') ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    const { hostname, port: proxyPort } = urlToHttpOptions(proxy);
    const request = httpRequest({
      host: hostname,
      port: proxyPort ?? 80,
      method: 'CONNECT',
      path: target,
      headers: { host: target },
      agent: false,
    });
    const refuse = (what: string): void => reject(failure('TIDEMARK_PROXY', `the proxy ${proxy.host} ${what}`));
    const timer = setTimeout(() => request.destroy(failure('ETIMEDOUT', 'timeout')), TUNNEL_TIMEOUT_MS);
    request.once('error', (error) => {
      clearTimeout(timer);
      refuse(proxyTrouble(codeOf(error), error.message));
    });
    request.once('connect', ({ statusCode = 0 }, socket, head) => {
      clearTimeout(timer);
      if (statusCode < 200 || statusCode >= 300) {
        socket.destroy();
        return refuse(
          `does not connect to ${target}: it answers with HTTP status ${statusCode}${statusCode === 407 ? ', that is, it asks for a password' : ''}`,
        );
      }
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    request.end();
  });
}

function proxyTrouble(code: string | undefined, message: string): string {
  switch (code) {
    case 'ECONNREFUSED':
      return 'does not accept connections';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'is not known to DNS';
    case 'ETIMEDOUT':
      return 'does not answer in time';
    case 'ECONNRESET':
      return 'closed the connection without an answer';
    default:
      return `cannot be used: ${message}`;
  }
}

export function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
