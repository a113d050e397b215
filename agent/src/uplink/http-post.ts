/**
 * One request with node:http(s), which leaves half the memory behind that fetch does: bounded in time and in
 * the size of the answer, over a kept-alive connection. A connection that the other side closed while it
 * was idle is replaced once, silently: our requests may be repeated.
 */
import {
  type Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestOptions,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import { urlToHttpOptions } from 'node:url';
import { codeOf } from '@tidemark/service';
import { failure } from './connections.ts';

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

/** Posts to one address, or reads what is there, one request at a time. */
export class Poster {
  readonly #secure: boolean;
  readonly #target: RequestOptions;
  readonly #timeouts: PostTimeouts;
  #request: ClientRequest | undefined;
  #aborted = false;
  /** Rejects the request under way. */
  #giveUp: ((error: Error) => void) | undefined;

  constructor(url: URL, connections: HttpAgent, timeouts: PostTimeouts = POST_TIMEOUTS) {
    this.#secure = url.protocol === 'https:';
    // Taken apart once: node would do it with every request.
    const { protocol, hostname, port, path } = urlToHttpOptions(url);
    this.#target = { protocol, hostname, port, path, agent: connections };
    this.#timeouts = timeouts;
  }

  /**
   * Rejects with the system's error, or with one whose code is TIDEMARK_TIMEOUT (no connection), TIDEMARK_NO_ANSWER, TIDEMARK_ANSWER_TOO_LARGE,
   * TIDEMARK_PROXY, TIDEMARK_FILE or TIDEMARK_ABORTED.
   */
  post(headers: OutgoingHttpHeaders, body: Buffer): Promise<Answer> {
    return this.#ask('POST', { 'content-type': 'application/json', 'content-length': body.length, ...headers }, body);
  }

  /** Rejects as `post` does. */
  get(): Promise<Answer> {
    return this.#ask('GET', {}, undefined);
  }

  async #ask(method: string, headers: OutgoingHttpHeaders, body: Buffer | undefined): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(method, headers, body);
      } catch (error) {
        const code = codeOf(error);
        if (attempt > 1 || this.#request?.reusedSocket !== true || (code !== 'ECONNRESET' && code !== 'EPIPE')) throw error;
      }
    }
  }

  /** Gives up the request under way, and every later one. */
  abort(): void {
    this.#aborted = true;
    this.#giveUp?.(failure('TIDEMARK_ABORTED', 'given up'));
  }

  #once(method: string, headers: OutgoingHttpHeaders, body: Buffer | undefined): Promise<Answer> {
    return new Promise<Answer>((resolve, reject) => {
      if (this.#aborted) throw failure('TIDEMARK_ABORTED', 'given up');
      const send = this.#secure ? httpsRequest : httpRequest;
      const request = send({ ...this.#target, method, headers });
      this.#request = request;
      const late = (code: string, what: string): void => giveUp(failure(code, what));
      let timer = setTimeout(late, this.#timeouts.answerMs, 'TIDEMARK_NO_ANSWER', 'no answer');
      const fail = (error: Error): void => {
        clearTimeout(timer);
        reject(error);
      };
      // A request that still waits for its connection does not tell that it was destroyed.
      const giveUp = (error: Error): void => {
        request.destroy(error);
        fail(error);
      };
      this.#giveUp = giveUp;
      request.once('socket', (socket) => {
        if (request.reusedSocket || (!socket.connecting && !this.#secure)) return;
        clearTimeout(timer);
        timer = setTimeout(late, this.#timeouts.connectMs, 'TIDEMARK_TIMEOUT', 'no connection');
        socket.once(this.#secure ? 'secureConnect' : 'connect', () => {
          clearTimeout(timer);
          timer = setTimeout(late, this.#timeouts.answerMs, 'TIDEMARK_NO_ANSWER', 'no answer');
        });
      });
      request.once('error', fail);
      request.once('response', (response) => {
        const done = (answer: Answer): void => {
          clearTimeout(timer);
          resolve(answer);
        };
        readAnswer(response, done, fail);
      });
      request.end(body);
    });
  }
}

function readAnswer(response: IncomingMessage, done: (answer: Answer) => void, fail: (error: Error) => void): void {
  const chunks: Buffer[] = [];
  let size = 0;
  response.on('data', (chunk: Buffer) => {
    size += chunk.length;
    chunks.push(chunk);
    if (size > ANSWER_BYTES_MAX) response.destroy(failure('TIDEMARK_ANSWER_TOO_LARGE', 'the answer is too large to be one of a collector'));
  });
  // Cut off in the middle: "aborted", with the code of a reset.
  response.once('error', fail);
  response.once('end', () => {
    const { headers, statusCode = 0 } = response;
    const seconds = Number(headers['retry-after'] ?? Number.NaN);
    done({
      status: statusCode,
      retryAfterSeconds: seconds >= 0 && Number.isFinite(seconds) ? seconds : undefined,
      location: headers.location,
      text: Buffer.concat(chunks).toString('utf8'),
    });
  });
}
