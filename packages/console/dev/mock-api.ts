/**
 * The collector's interface as the console sees it, over a fake fleet: same addresses, same problem documents.
 * Whoever drives it can make it wrong in each way the console has to show.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import type { Problem, ProblemCode } from '@tidemark/protocol';
import { fakeFleet, type FakeFleet, type FakeFleetOptions } from './fleet.ts';

/** `hang` takes requests and never answers; `cut` closes the connection; a problem answers with its document. */
export type MockTrouble =
  | { kind: 'none' }
  | { kind: 'hang' }
  | { kind: 'cut' }
  | { kind: 'problem'; status: number; code: ProblemCode; detail: string; retryAfterSeconds?: number; only?: string };

export interface MockApiOptions extends FakeFleetOptions {
  token: string;
  /** Without it the session comes from signing in. */
  signedIn?: boolean;
  now?: () => number;
}

export interface MockApi {
  /** Answers a request to the interface; false when the address is not one of its. */
  handle(request: IncomingMessage, response: ServerResponse): boolean;
  setTrouble(trouble: MockTrouble): void;
  setFleet(options: FakeFleetOptions): void;
  /** Forgets every session, as a restart with a new secret would. */
  endSessions(): void;
  readonly overviewsServed: number;
}

const SESSION_MS = 12 * 3_600_000;

function sendProblem(response: ServerResponse, status: number, code: ProblemCode, detail: string, retryAfterSeconds?: number): void {
  const body: Problem = { type: `urn:tidemark:problem:${code}`, title: code.replaceAll('_', ' '), status, code, detail };
  const retry = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
  response.writeHead(status, { 'content-type': 'application/problem+json', ...retry }).end(JSON.stringify(body));
}

function sendJson(request: IncomingMessage, response: ServerResponse, body: unknown): void {
  const text = JSON.stringify(body);
  const packed = text.length > 1_024 && /\bgzip\b/.test(request.headers['accept-encoding']?.toString() ?? '');
  const encoding = packed ? { 'content-encoding': 'gzip' } : {};
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store', ...encoding });
  response.end(packed ? gzipSync(text, { level: 1 }) : text);
}

function readBody(request: IncomingMessage, done: (text: string) => void): void {
  const chunks: Buffer[] = [];
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length < 65_536) chunks.push(chunk);
  });
  request.on('end', () => done(Buffer.concat(chunks).toString('utf8')));
}

/** Makes the fake interface. Its sessions live as long as it does. */
export function mockApi(options: MockApiOptions): MockApi {
  const now = options.now ?? Date.now;
  const sessions = new Set<string>();
  let everyone = options.signedIn === true;
  let fleet: FakeFleet = fakeFleet(options, now());
  let trouble: MockTrouble = { kind: 'none' };
  let overviewsServed = 0;

  const signedIn = (request: IncomingMessage): boolean => {
    const cookie = /(?:^|;\s*)tidemark_session=([0-9a-f]+)/.exec(request.headers.cookie ?? '')?.[1];
    return everyone || (cookie !== undefined && sessions.has(cookie));
  };

  const signIn = (request: IncomingMessage, response: ServerResponse): void =>
    readBody(request, (text) => {
      let token: unknown;
      try {
        token = (JSON.parse(text) as { token?: unknown }).token;
      } catch {
        return sendProblem(response, 400, 'body_malformed', 'The body is not valid JSON.');
      }
      if (token !== options.token) return sendProblem(response, 401, 'credential_unknown', 'This token is not known here.');
      const id = randomBytes(16).toString('hex');
      sessions.add(id);
      response.writeHead(204, { 'set-cookie': `tidemark_session=${id}; HttpOnly; SameSite=Strict; Path=/` }).end();
    });

  const answer = (request: IncomingMessage, response: ServerResponse, path: string): void => {
    if (path === '/health') return sendJson(request, response, { status: 'ok' });
    if (path === '/api/session' && request.method === 'POST') return signIn(request, response);
    if (!signedIn(request)) return sendProblem(response, 401, 'credential_missing', 'Sign in first.');
    if (path === '/api/session' && request.method === 'DELETE') {
      sessions.clear();
      everyone = false;
      response.writeHead(204, { 'set-cookie': 'tidemark_session=; Max-Age=0; Path=/' }).end();
      return;
    }
    if (path === '/api/session')
      return sendJson(request, response, { role: 'admin', expiresAt: new Date(now() + SESSION_MS).toISOString() });
    if (path === '/api/telemetry/overview') {
      overviewsServed += 1;
      return sendJson(request, response, fleet.overview(now()));
    }
    const name = /^\/api\/telemetry\/nodes\/([^/]+)$/.exec(path)?.[1];
    const detail = name === undefined ? undefined : fleet.detail(decodeURIComponent(name), now());
    if (detail !== undefined) return sendJson(request, response, detail);
    sendProblem(response, 404, name === undefined ? 'not_found' : 'node_unknown', 'There is no such node.');
  };

  return {
    handle(request, response) {
      const path = new URL(request.url ?? '/', 'http://mock').pathname;
      if (!path.startsWith('/api/') && path !== '/health') return false;
      if (trouble.kind === 'hang') return true;
      if (trouble.kind === 'cut') {
        request.socket.destroy();
        return true;
      }
      if (trouble.kind === 'problem' && (trouble.only === undefined || trouble.only === path))
        sendProblem(response, trouble.status, trouble.code, trouble.detail, trouble.retryAfterSeconds);
      else answer(request, response, path);
      return true;
    },
    setTrouble(next) {
      trouble = next;
    },
    setFleet(next) {
      fleet = fakeFleet(next, now());
    },
    endSessions() {
      sessions.clear();
      everyone = false;
    },
    get overviewsServed() {
      return overviewsServed;
    },
  };
}
