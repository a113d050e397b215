/** A collector for tests: a real HTTP server whose answers a test scripts, one after the other; without a script it commits everything. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { ENROLL_PATH, problem, REPORTS_PATH, type Acknowledgement, type ProblemCode, type ReportRequest } from '@tidemark/protocol';

export interface ReceivedRequest {
  readonly body: ReportRequest;
  readonly headers: IncomingHttpHeaders;
  readonly path: string;
  /** Bytes as they travelled. */
  readonly wireBytes: number;
  readonly atMs: number;
  readonly sequences: number[];
}

/** Answers a request in its own way. */
export type Script = (request: ReceivedRequest, response: ServerResponse) => void;

export interface TestingCollector {
  readonly url: URL;
  readonly requests: ReceivedRequest[];
  /** "bootId sequence" of everything committed, in order, repetitions included. */
  readonly committed: string[];
  /** The next request is answered by this; several wait in a row. */
  next(...scripts: Script[]): void;
  /** Every request without a script of its own. */
  always(script: Script): void;
  /** Resolves once so many requests were received. */
  received(count: number): Promise<void>;
  /** Resolves as soon as `check` holds; it is asked after every request. */
  until(check: () => boolean): Promise<void>;
  /** Stops listening and cuts every connection; `reopen` listens on the same port. */
  shut(): Promise<void>;
  reopen(): Promise<void>;
  /** TCP connections there were. */
  connections(): number;
}

/** The acknowledgement that commits `sequences`, or all reports of the request. */
export function acknowledge({ body }: ReceivedRequest, changes: Partial<Acknowledgement> = {}): Acknowledgement {
  return {
    serverTime: Date.now(),
    node: { name: 'test', state: 'approved', site: '' },
    committed: body.reports.map(({ bootId, sequence }) => ({ bootId, sequences: [sequence] })),
    refused: [],
    layoutsMissing: [],
    thresholds: [],
    newAddress: null,
    ...changes,
  };
}

export function answer(status: number, body: unknown, headers: Record<string, string> = {}): Script {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  };
}

export function refuse(code: ProblemCode, headers: Record<string, string> = {}): Script {
  const document = problem(code, `because of ${code}`);
  return answer(document.status, document, { 'content-type': 'application/problem+json', ...headers });
}

export async function startTestingCollector(): Promise<TestingCollector> {
  const scripts: Script[] = [];
  const requests: ReceivedRequest[] = [];
  const committed: string[] = [];
  const watchers = new Set<() => void>();
  const sockets = new Set<Socket>();
  let connections = 0;
  const commit: Script = (request, response) => {
    for (const { bootId, sequence } of request.body.reports) committed.push(`${bootId} ${sequence}`);
    answer(200, acknowledge(request))(request, response);
  };
  let otherwise = commit;
  const server = createServer((request, response) => {
    if (request.url?.endsWith(ENROLL_PATH) === true) {
      // As an older collector: it knows no enrolment.
      request.resume();
      const document = problem('not_found', 'nothing here');
      response.writeHead(document.status, { 'content-type': 'application/problem+json' });
      return void response.end(JSON.stringify(document));
    }
    void buffer(request).then(
      (wire) => {
        const plain = request.headers['content-encoding'] === 'gzip' ? gunzipSync(wire) : wire;
        const body = JSON.parse(plain.toString()) as ReportRequest;
        const received: ReceivedRequest = {
          body,
          headers: request.headers,
          path: request.url ?? '',
          wireBytes: wire.length,
          atMs: performance.now(),
          sequences: body.reports.map(({ sequence }) => sequence),
        };
        requests.push(received);
        (scripts.shift() ?? otherwise)(received, response);
        for (const watcher of watchers) watcher();
      },
      () => undefined,
    );
  });
  server.on('connection', (socket) => {
    connections++;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const listen = (port: number): Promise<void> => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const until = async (check: () => boolean): Promise<void> => {
    if (check()) return;
    await new Promise<void>((resolve) => {
      const watcher = (): void => {
        if (!check()) return;
        watchers.delete(watcher);
        resolve();
      };
      watchers.add(watcher);
    });
  };
  return {
    url: new URL(`http://127.0.0.1:${port}`),
    requests,
    committed,
    next: (...more) => void scripts.push(...more),
    always: (script) => void (otherwise = script),
    received: (count) => until(() => requests.length >= count),
    until,
    shut: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    reopen: () => listen(port),
    connections: () => connections,
  };
}

export { REPORTS_PATH };
