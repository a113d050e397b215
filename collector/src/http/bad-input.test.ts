/** Bad requests at the address agents report to, over real sockets: each is refused with its reason, nothing reaches the intake, and the server goes on. */
import { connect, type AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { Acknowledgement, LIMITS, PROBLEMS, REPORTS_PATH, type Problem, type ProblemCode, type ReportRequest } from '@tidemark/protocol';
import type { NodeRecord } from '../fleet/node.ts';
import type { ReportIntake } from '../reports/intake.ts';
import { reportRoutes } from '../reports/routes.ts';
import { describe, expect, test } from 'vitest';
import { AGENT_TOKEN, testServer } from './testing.ts';

const BOOT = '01234567-89ab-cdef-0123-456789abcdef';
const good = (): ReportRequest => ({
  agent: { version: '1', intervalSeconds: 15 },
  bootId: BOOT,
  sentAt: 1,
  sentMonotonicMs: 1,
  reports: [{ bootId: BOOT, sequence: 1, takenAt: 1, monotonicMs: 1, blocks: [{ layout: '0123456789abcdef', values: [1, null, 'NaN'] }] }],
});

interface Listening {
  port: number;
  taken: ReportRequest[];
  logged: () => string;
}

/** The real routes, with an intake that only counts what reaches it. */
async function listen(): Promise<Listening> {
  const taken: ReportRequest[] = [];
  const acknowledgement: Acknowledgement = {
    serverTime: 1,
    node: { name: 'db1', state: 'approved', site: '' },
    committed: [],
    refused: [],
    layoutsMissing: [],
    thresholds: [],
    newAddress: null,
  };
  const intake: Pick<ReportIntake, 'take'> = {
    take: async (_: NodeRecord, request: ReportRequest) => {
      taken.push(request);
      return acknowledgement;
    },
  };
  const { app, logged } = await testServer({
    routes: (fastify) =>
      reportRoutes(fastify, {
        intake: intake as ReportIntake,
        nodeOf: ({ principal }) => (principal?.kind === 'agent' ? principal.node : undefined),
      }),
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  return { port: (app.server.address() as AddressInfo).port, taken, logged };
}

/** The head of a request with these lines. */
const start = (...headers: string[]): string =>
  `POST ${REPORTS_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${AGENT_TOKEN}\r\n${headers.map((line) => `${line}\r\n`).join('')}\r\n`;

type Body = string | Buffer | undefined;

/** One request, byte for byte: `content-length` and the rest are what the test says. Resolves with everything that came until the end. */
function raw(port: number, head: string, body?: Body, cutAfter = Number.POSITIVE_INFINITY): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.on('close', () => resolve(text));
    // A server that has answered may close while the rest is still being sent.
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EPIPE' || error.code === 'ECONNRESET' ? resolve(text) : reject(error),
    );
    socket.write(head);
    const bytes = Buffer.from(body ?? '').subarray(0, cutAfter);
    if (Number.isFinite(cutAfter)) socket.end(bytes);
    else socket.write(bytes);
  });
}

async function post(port: number, body: Body, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}${REPORTS_PATH}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${AGENT_TOKEN}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : new Uint8Array(body) }),
  });
}

async function expectProblem(answer: Response, code: ProblemCode, detail: RegExp): Promise<void> {
  expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
  const document = (await answer.json()) as Problem;
  expect(document).toMatchObject({ code, status: PROBLEMS[code].status });
  expect(answer.status).toBe(PROBLEMS[code].status);
  expect(document.detail).toMatch(detail);
}

/** The good request with one thing changed. */
const spoilt = (spoil: (request: Record<string, unknown>, report: Record<string, unknown>) => void): string => {
  const request = structuredClone(good()) as unknown as Record<string, unknown>;
  spoil(request, (request['reports'] as Record<string, unknown>[])[0]!);
  return JSON.stringify(request);
};
const nested = (depth: number): string => JSON.stringify(good()).replace('"NaN"', '['.repeat(depth) + ']'.repeat(depth));

const CASES: readonly [string, ProblemCode, RegExp, Body, Record<string, string>?][] = [
  ['JSON cut off', 'body_malformed', /JSON/, JSON.stringify(good()).slice(0, -5)],
  ['no body', 'body_malformed', /empty/, ''],
  ['null', 'body_invalid', /^body must be object/, 'null'],
  ['a list', 'body_invalid', /^body must be object/, '[]'],
  ['a number', 'body_invalid', /^body must be object/, '42'],
  ['text', 'body_invalid', /^body must be object/, '"reports"'],
  ['an object with nothing in it', 'body_invalid', /required property/, '{}'],
  ['XML', 'media_type_unsupported', /./, '<a/>', { 'content-type': 'text/xml' }],
  ['JSON that says it is text', 'media_type_unsupported', /./, JSON.stringify(good()), { 'content-type': 'text/plain' }],
  ['bytes that are not UTF-8', 'body_malformed', /UTF-8/, Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
  ['half a character at the end', 'body_malformed', /UTF-8/, Buffer.from('{"a":"é"}').subarray(0, 7)],
  ['UTF-16', 'body_malformed', /UTF-8|JSON/, Buffer.from(`\ufeff${JSON.stringify(good())}`, 'utf16le')],
  ['5 MB', 'body_too_large', /too large/, Buffer.alloc(5 * 1024 * 1024, ' ')],
  [
    'a bomb',
    'body_too_large',
    /inflates to more than 16777216 bytes/,
    gzipSync(Buffer.alloc(64 * 1024 * 1024)),
    { 'content-encoding': 'gzip' },
  ],
  ['gzip cut off', 'encoding_invalid', /cut off/, gzipSync(JSON.stringify(good())).subarray(0, 60), { 'content-encoding': 'gzip' }],
  ['gzip of nothing', 'body_malformed', /empty/, gzipSync(''), { 'content-encoding': 'gzip' }],
  ['no gzip', 'encoding_invalid', /not gzip/, JSON.stringify(good()), { 'content-encoding': 'gzip' }],
  ['another encoding', 'media_type_unsupported', /"zstd"/, JSON.stringify(good()), { 'content-encoding': 'zstd' }],
  ['a number as text', 'body_invalid', /^body\.sentAt must be number/, spoilt((request) => (request['sentAt'] = '17'))],
  ['a sequence as text', 'body_invalid', /^body\.reports\.0\.sequence must be integer/, spoilt((_, report) => (report['sequence'] = '1'))],
  ['a sequence of 0', 'body_invalid', /^body\.reports\.0\.sequence must be >= 1/, spoilt((_, report) => (report['sequence'] = 0))],
  [
    'a sequence and a half',
    'body_invalid',
    /^body\.reports\.0\.sequence must be integer/,
    spoilt((_, report) => (report['sequence'] = 1.5)),
  ],
  ['a boot id that is none', 'body_invalid', /^body\.reports\.0\.bootId must be /, spoilt((_, report) => (report['bootId'] = '1'))],
  [
    'values that are no list',
    'body_invalid',
    /^body\.reports\.0\.blocks\.0\.values must be array/,
    spoilt((_, report) => (report['blocks'] = [{ layout: '0123456789abcdef', values: {} }])),
  ],
  [
    '10,001 values in a block',
    'body_invalid',
    /^body\.reports\.0\.blocks\.0\.values must NOT have more than 10000 items/,
    spoilt((_, report) => (report['blocks'] = [{ layout: '0123456789abcdef', values: Array.from({ length: 10_001 }, () => 1) }])),
  ],
  [
    '501 reports',
    'body_invalid',
    /^body\.reports must NOT have more than 500 items/,
    spoilt((request, report) => (request['reports'] = Array.from({ length: 501 }, () => report))),
  ],
  [
    'an interval that overflows',
    'body_invalid',
    /^body\.agent\.intervalSeconds must be/,
    JSON.stringify(good()).replace('"intervalSeconds":15', '"intervalSeconds":1e999'),
  ],
  ['a list nested deeper than any stack', 'body_invalid', /nested more than 500 deep/, nested(200_000)],
  [
    'objects nested deeper than any stack',
    'body_invalid',
    /nested more than 500 deep/,
    `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`,
  ],
];

describe('refused, with the reason, and the next request is taken', () => {
  test.each(CASES)('%s: %s', async (_, code, detail, body, headers) => {
    const { port, taken, logged } = await listen();
    await expectProblem(await post(port, body, headers), code, detail);
    expect(taken).toEqual([]);
    expect((await post(port, JSON.stringify(good()))).status).toBe(200);
    expect(taken).toEqual([good()]);
    expect(logged(), 'a refused request is nothing to log as an error').not.toMatch(/"level":(50|60)/);
  });

  test('no content type', async () => {
    const { port, taken } = await listen();
    const body = JSON.stringify(good());
    const answer = await raw(port, start('Connection: close', `Content-Length: ${body.length}`), body);
    expect(answer).toMatch(/^HTTP\/1\.1 415 [\s\S]*"code":"media_type_unsupported"/);
    expect(taken).toEqual([]);
  });

  test('more than 4 MB without saying how much: cut at the bound', async () => {
    const { port, taken } = await listen();
    const chunk = `${(65_536).toString(16)}\r\n${' '.repeat(65_536)}\r\n`;
    const answer = await raw(
      port,
      start('Content-Type: application/json', 'Transfer-Encoding: chunked', 'Connection: close'),
      chunk.repeat(80),
    );
    expect(answer).toMatch(/^HTTP\/1\.1 413 [\s\S]*"code":"body_too_large"/);
    expect(taken).toEqual([]);
  });

  test('a length and chunks at once, as smugglers send them', async () => {
    const { port, taken } = await listen();
    const answer = await raw(
      port,
      start('Content-Type: application/json', 'Content-Length: 4', 'Transfer-Encoding: chunked'),
      '0\r\n\r\nGET / HTTP/1.1\r\n\r\n',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 400 [\s\S]*"code":"request_malformed"/);
    expect(taken).toEqual([]);
  });

  test('a connection cut in the middle of a body', async () => {
    const { port, taken, logged } = await listen();
    const body = JSON.stringify(good());
    await raw(port, start('Content-Type: application/json', `Content-Length: ${body.length}`), body, 100);
    expect((await post(port, body)).status).toBe(200);
    expect(taken).toEqual([good()]);
    expect(logged()).not.toMatch(/"level":(50|60)/);
  });

  test('headers without end, and https where http is spoken', async () => {
    const { port } = await listen();
    expect(await raw(port, start(`X-Long: ${'x'.repeat(20_000)}`))).toMatch(/^HTTP\/1\.1 431 [\s\S]*"code":"headers_too_large"/);
    expect(await raw(port, '\u0016\u0003\u0001\u0002\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 [\s\S]*"code":"request_malformed"/);
  });
});

describe('names that mean something to JavaScript', () => {
  test.each([
    ['__proto__', '"__proto__":{"polluted":true},'],
    ['constructor', '"constructor":{"prototype":{"polluted":true}},'],
    ['the same field twice: the last one counts', '"sentAt":"no number",'],
  ])('%s', async (_, field) => {
    const { port, taken } = await listen();
    const body = JSON.stringify(good()).replace('{', `{${field}`);
    expect((await post(port, body)).status).toBe(200);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(taken[0]!.sentAt).toBe(1);
    expect(Object.getPrototypeOf(taken[0])).toBe(Object.prototype);
  });

  test('__proto__ as a tag is refused or ignored, and nobody has it', async () => {
    const { port, taken } = await listen();
    const body = JSON.stringify(good()).replace('"version":"1"', '"version":"1","tags":{"__proto__":"x","role":"db"}');
    const answer = await post(port, body);
    expect([200, 400]).toContain(answer.status);
    expect(taken.every(({ agent }) => Object.getPrototypeOf(agent.tags) === Object.prototype)).toBe(true);
  });
});

test('brackets inside of strings are no nesting', async () => {
  const { port, taken } = await listen();
  const instance = `${'['.repeat(900)}\\"${'{'.repeat(100)}\\\\`;
  const observation = `{"kind":"a","version":1,"instance":"${instance}","document":"${'[{'.repeat(5_000)}\\\\\\""}`;
  const body = JSON.stringify(good()).replace('"blocks"', `"observations":[${observation}],"blocks"`);
  expect((await post(port, body)).status).toBe(200);
  expect(taken[0]!.reports[0]!.observations![0]!.document).toHaveLength(10_002);
});

test('what is as large as is allowed is taken: 10,000 values in a block, 4 MB, 500 deep', async () => {
  const { port, taken } = await listen();
  const large = spoilt(
    (_, report) => (report['blocks'] = [{ layout: '0123456789abcdef', values: Array.from({ length: 10_000 }, (_value, i) => i) }]),
  );
  expect((await post(port, large)).status).toBe(200);
  expect((await post(port, large.padEnd(LIMITS.bodyBytes))).status).toBe(200);
  expect((await post(port, gzipSync(large.padEnd(LIMITS.inflatedBytes)), { 'content-encoding': 'GZIP' })).status).toBe(200);
  expect((await post(port, nested(490))).status).toBe(200);
  expect(taken).toHaveLength(4);
});

test('twenty bombs at once are refused within bounded memory', async () => {
  const { port, taken } = await listen();
  const bomb = gzipSync(Buffer.alloc(256 * 1024 * 1024));
  const before = process.memoryUsage().rss;
  const answers = await Promise.all(Array.from({ length: 20 }, () => post(port, bomb, { 'content-encoding': 'gzip' })));
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 413));
  // Twenty times 16 MB is what the bound allows at once; inflated they would be 5 GB.
  expect(process.memoryUsage().rss - before).toBeLessThan(500 * 1024 * 1024);
  expect(taken).toEqual([]);
});

describe('slow clients', () => {
  test('the bounds are in force, and what is beyond them is answered and cut', async () => {
    const { app } = await testServer();
    expect([app.server.headersTimeout, app.server.requestTimeout]).toEqual([10_000, 30_000]);
    app.server.headersTimeout = 50;
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as AddressInfo;
    // Node looks at its connections every 5 s.
    expect(await raw(port, 'POST /echo HTTP/1.1\r\nHost: x\r\nX-Slow: ')).toMatch(/^HTTP\/1\.1 408 [\s\S]*"code":"request_timeout"/);
  }, 20_000);
});
