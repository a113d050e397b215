/**
 * One POST with node:http(s), which leaves half the memory behind that fetch does: bounded in time and in
 * the size of the answer, over a kept-alive connection. A connection that the other side closed while it
 * was idle is replaced once, silently: our requests may be repeated.
 */
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { codeOf } from '@tidemark/service';

/** Until a connection stands, its TLS included, and until the whole answer is here. */
const CONNECT_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 20_000;
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

export interface Answer {
  status: number;
  retryAfterSeconds: number | undefined;
  location: string | undefined;
  text: string;
}

export interface PostTimeouts {
  connectMs: number;
  answerMs: number;
}

export const POST_TIMEOUTS: PostTimeouts = { connectMs: CONNECT_TIMEOUT_MS, answerMs: ANSWER_TIMEOUT_MS };

/** A connection is kept between two reports of any interval up to a minute; longer ones connect anew. */
export function createConnections(server: URL): HttpAgent {
  const options = { keepAlive: true, maxSockets: 1, maxFreeSockets: 1, scheduling: 'lifo' as const };
  return server.protocol === 'https:' ? new HttpsAgent(options) : new HttpAgent(options);
}

/** Posts `body`. Rejects with the system's error, or with one whose code is TIDEMARK_TIMEOUT or TIDEMARK_ANSWER_TOO_LARGE. */
export async function post(
  url: URL,
  connections: HttpAgent,
  headers: OutgoingHttpHeaders,
  body: Buffer,
  timeouts: PostTimeouts,
  signal: AbortSignal,
): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    const reused = { yes: false };
    try {
      return await postOnce(url, connections, headers, body, timeouts, signal, reused);
    } catch (error) {
      const code = codeOf(error);
      if (attempt > 1 || !reused.yes || (code !== 'ECONNRESET' && code !== 'EPIPE')) throw error;
    }
  }
}

function postOnce(
  url: URL,
  connections: HttpAgent,
  headers: OutgoingHttpHeaders,
  body: Buffer,
  timeouts: PostTimeouts,
  signal: AbortSignal,
  reused: { yes: boolean },
): Promise<Answer> {
  return new Promise<Answer>((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request: ClientRequest = send(url, {
      method: 'POST',
      agent: connections,
      headers: { 'content-type': 'application/json', 'content-length': body.length, ...headers },
      signal,
    });
    const late = (what: string): void => void request.destroy(timeoutError(what));
    let timer = setTimeout(late, timeouts.connectMs, 'no connection');
    const connected = (): void => {
      clearTimeout(timer);
      timer = setTimeout(late, timeouts.answerMs, 'no answer');
    };
    request.once('socket', (socket) => {
      reused.yes = request.reusedSocket;
      const secure = url.protocol === 'https:';
      if (reused.yes || (!socket.connecting && !secure)) connected();
      else socket.once(secure ? 'secureConnect' : 'connect', connected);
    });
    request.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    request.once('response', (response) => {
      readAnswer(response)
        .then(resolve, reject)
        .finally(() => clearTimeout(timer));
    });
    request.end(body);
  });
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > ANSWER_BYTES_MAX) {
      response.destroy();
      throw Object.assign(new Error('the answer is too large to be a collector’s'), { code: 'TIDEMARK_ANSWER_TOO_LARGE' });
    }
    chunks.push(chunk);
  }
  const seconds = Number(response.headers['retry-after']);
  return {
    status: response.statusCode ?? 0,
    retryAfterSeconds: response.headers['retry-after'] !== undefined && Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined,
    location: response.headers.location,
    text: Buffer.concat(chunks).toString('utf8'),
  };
}

function timeoutError(what: string): Error {
  return Object.assign(new Error(what), { code: 'TIDEMARK_TIMEOUT' });
}
