/** What every route gets from the server: bounds, bodies in their encodings, one form of error, headers, limits. */
import { request as httpRequest } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { LIMITS, PROBLEMS, type Problem, type ProblemCode } from '@tidemark/protocol';
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify';
import { describe, expect, test } from 'vitest';
import { AGENT_TOKEN, READ_TOKEN, testServer } from './testing.ts';

const agent = { authorization: `Bearer ${AGENT_TOKEN}` };
const reader = { authorization: `Bearer ${READ_TOKEN}` };
const json = { ...agent, 'content-type': 'application/json' };

function expectProblem(answer: LightMyRequestResponse, code: ProblemCode): Problem {
  const document = answer.json<Problem>();
  expect(document).toMatchObject({ code, type: `urn:tidemark:problem:${code}`, ...PROBLEMS[code] });
  expect(answer.statusCode).toBe(PROBLEMS[code].status);
  expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8');
  expect(document.detail).not.toBe('');
  return document;
}

const post = (
  app: FastifyInstance,
  payload: InjectOptions['payload'],
  headers: Record<string, string> = {},
): Promise<LightMyRequestResponse> => app.inject({ method: 'POST', url: '/echo', payload: payload!, headers: { ...json, ...headers } });

describe('bodies', () => {
  test('plain and gzip come to the same', async () => {
    const { app } = await testServer();
    const body = JSON.stringify({ text: 'é👾'.repeat(2_000) });
    expect((await post(app, body)).body).toBe(body);
    expect((await post(app, gzipSync(body), { 'content-encoding': 'gzip' })).body).toBe(body);
    expect((await post(app, body, { 'content-encoding': 'identity' })).body).toBe(body);
    expect((await post(app, body, { 'content-type': 'application/json; charset=utf-8' })).body).toBe(body);
  });

  test.each<[string, ProblemCode, InjectOptions['payload'], Record<string, string>]>([
    ['no JSON', 'body_malformed', '{"a":', {}],
    ['nothing', 'body_malformed', '', {}],
    ['gzip of no JSON', 'body_malformed', gzipSync('{"a":'), { 'content-encoding': 'gzip' }],
    ['a bomb', 'body_too_large', gzipSync(Buffer.alloc(LIMITS.inflatedBytes + 1, ' ')), { 'content-encoding': 'gzip' }],
    ['gzip cut off', 'encoding_invalid', gzipSync('{"a":1234567890}').subarray(0, 20), { 'content-encoding': 'gzip' }],
    ['what is not gzip', 'encoding_invalid', '{"a":1}', { 'content-encoding': 'gzip' }],
    [
      'gzip with a wrong sum',
      'encoding_invalid',
      Buffer.concat([gzipSync('{"a":1}').subarray(0, -8), Buffer.alloc(8)]),
      { 'content-encoding': 'gzip' },
    ],
    ['another encoding', 'media_type_unsupported', '{"a":1}', { 'content-encoding': 'br' }],
    ['encodings upon encodings', 'media_type_unsupported', '{"a":1}', { 'content-encoding': 'gzip, gzip' }],
    ['another type', 'media_type_unsupported', '<a/>', { 'content-type': 'text/xml' }],
    ['a form', 'media_type_unsupported', 'a=1', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['no type', 'media_type_unsupported', Buffer.from('{}'), { 'content-type': '' }],
    ['5 MB', 'body_too_large', Buffer.alloc(5 * 1024 * 1024, ' '), {}],
  ])('%s: %s', async (_, code, payload, headers) => {
    const { app, logged } = await testServer();
    expectProblem(await post(app, payload, headers), code);
    expect(logged()).not.toContain('"level":50');
    expect((await post(app, '{"a":1}')).json()).toEqual({ a: 1 });
  });

  test('a bomb is given up at the bound, not after it', async () => {
    const { app } = await testServer();
    const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024));
    const before = process.memoryUsage().rss;
    expectProblem(await post(app, bomb, { 'content-encoding': 'gzip' }), 'body_too_large');
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
  });

  test('"__proto__" is a name like any other and changes nothing', async () => {
    const { app } = await testServer();
    const body = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}';
    const answer = await post(app, body);
    expect(answer.statusCode).toBe(200);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(answer.body).toBe(body);
  });

  test('what is wrong is said by its field, and what was sent is not repeated', async () => {
    const { app, adminToken } = await testServer();
    const change = async (payload: object): Promise<string> =>
      expectProblem(
        await app.inject({ method: 'POST', url: '/change', payload, headers: { authorization: `Bearer ${adminToken()}` } }),
        'body_invalid',
      ).detail;
    expect(await change({})).toBe("body must have required property 'size'.");
    expect(await change({ size: '3' })).toBe('body.size must be integer.');
    expect(await change({ size: 10 })).toBe('body.size must be <= 9.');
    expect(await change({ size: 1, word: 'tmadm_secret' })).toBe('body.word must be a word that begins with a.');
  });

  test('a report of a wrong form names the place', async () => {
    const { app } = await testServer();
    const answer = await app.inject({
      method: 'POST',
      url: '/agent',
      headers: json,
      payload: { agent: { version: '1', intervalSeconds: 'often' }, reports: [] },
    });
    expect(expectProblem(answer, 'body_invalid').detail).toMatch(
      /^body(\.agent\.intervalSeconds must be number| must have required property)/,
    );
  });
});

describe('errors', () => {
  test('what nobody expected is told as such, with nothing from inside, and logged', async () => {
    const { app, logged } = await testServer();
    const { detail } = expectProblem(await app.inject({ url: '/broken', headers: reader }), 'internal');
    expect(detail).not.toContain('secret');
    expect(logged()).toContain('the secret inside');
    expect(logged()).toContain(/request id (\S+)\./.exec(detail)![1]);
  });

  test('a problem of a route, with when to come back', async () => {
    const { app } = await testServer();
    const answer = await app.inject({ url: '/away', headers: reader });
    expectProblem(answer, 'database_away');
    expect(answer.headers['retry-after']).toBe('5');
  });

  test.each(['/nothing', '/api/telemetry/nothing', '/things', '/things/a/b', '/assets/x.js'])('nothing at %s', async (url) => {
    const { app } = await testServer();
    expect(expectProblem(await app.inject({ url, headers: reader }), 'not_found').detail).toContain(url);
  });

  test.each([
    ['PUT', '/read', 'GET, HEAD'],
    ['DELETE', '/things/x%2Fy', 'GET, HEAD'],
    ['GET', '/change?x=1', 'POST, DELETE'],
    ['PATCH', '/api/session', 'POST, GET, HEAD, DELETE'],
  ] as const)('%s %s is refused with what is taken', async (method, url, allow) => {
    const { app } = await testServer();
    const answer = await app.inject({ method, url, headers: reader });
    expectProblem(answer, 'method_not_allowed');
    expect(String(answer.headers['allow']).split(', ').toSorted()).toEqual(allow.split(', ').toSorted());
  });

  test('an address that cannot be decoded, and one without end', async () => {
    const { app } = await testServer();
    expectProblem(await app.inject({ url: '/things/%zz', headers: reader }), 'query_invalid');
    const long = await app.inject({ url: `/things/${'x'.repeat(8_000)}`, headers: reader });
    expect(long.statusCode).toBeGreaterThanOrEqual(400);
    expect(long.statusCode).toBeLessThan(500);
    expect(long.json<Problem>().code).toBe('query_invalid');
  });

  test('a name of the longest kind still fits', async () => {
    const { app } = await testServer();
    const name = '👾'.repeat(LIMITS.nodeNameChars);
    expect((await app.inject({ url: `/things/${encodeURIComponent(name)}`, headers: reader })).json()).toEqual({ name });
  });
});

test('headers of every answer: a strict policy, nothing kept, no promise of https that is not there', async () => {
  const { app } = await testServer();
  for (const url of ['/read', '/broken', '/nothing']) {
    const { headers } = await app.inject({ url, headers: reader });
    expect(headers['content-security-policy']).toBe(
      "default-src 'none';script-src 'self';style-src 'self';img-src 'self' data:;connect-src 'self';font-src 'self';manifest-src 'self';base-uri 'none';form-action 'self';frame-ancestors 'none'",
    );
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
    });
    expect(headers['strict-transport-security']).toBeUndefined();
    expect(headers['x-powered-by']).toBeUndefined();
  }
  const secure = await testServer({ publicUrl: new URL('https://watch.example') });
  expect((await secure.app.inject({ url: '/read', headers: reader })).headers['strict-transport-security']).toMatch(/^max-age=\d+/);
});

describe('limits', () => {
  test('guessing at the sign-in is slowed down', async () => {
    const { app } = await testServer();
    const attempt = (): Promise<LightMyRequestResponse> => app.inject({ method: 'POST', url: '/api/session', payload: { token: 'guess' } });
    for (let i = 0; i < 10; i++) expectProblem(await attempt(), 'credential_unknown');
    const answer = await attempt();
    expectProblem(answer, 'rate_limited');
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    expect((await app.inject({ url: '/read', headers: reader })).statusCode).toBe(200);
  });

  test('an agent that runs wild is told to wait, until the minute is over, and others are not', async () => {
    const { app, clock, agents } = await testServer();
    agents.set('tma_other', { node: { ...agents.get(AGENT_TOKEN)!.node, id: 2, name: 'db2' }, revoked: false });
    for (let i = 0; i < 1_200; i++) expect((await post(app, '{}')).statusCode).toBe(200);
    const answer = await post(app, '{}');
    expectProblem(answer, 'rate_limited');
    expect(answer.headers['retry-after']).toBe('60');
    expect((await post(app, '{}', { authorization: 'Bearer tma_other' })).statusCode).toBe(200);
    clock.advance(60_000);
    expect((await post(app, '{}')).statusCode).toBe(200);
  });

  test('a program may scrape a thousand nodes four times a minute', async () => {
    const { app } = await testServer();
    const statuses = new Set<number>();
    for (let i = 0; i < 4_000; i++) statuses.add((await app.inject({ url: '/read', headers: reader })).statusCode);
    expect([...statuses]).toEqual([200]);
  });
});

describe('on a socket', () => {
  const listen = async (app: FastifyInstance): Promise<number> => {
    await app.listen({ host: '127.0.0.1', port: 0 });
    return (app.server.address() as AddressInfo).port;
  };

  test('what is not HTTP is answered and cut', async () => {
    const { app } = await testServer();
    const port = await listen(app);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => socket.end('\u0016\u0003\u0001 hello\r\n\r\n'));
      let text = '';
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
      socket.on('close', () => resolve(text)).on('error', reject);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  });

  test('while closing, what is under way is finished and what comes is sent away', async () => {
    let finish = (): void => {};
    const { app } = await testServer({
      routes: (a) =>
        a.get('/slow', async () => {
          await new Promise<void>((resolve) => (finish = resolve));
          return { done: true };
        }),
    });
    const requested = (): Promise<void> => new Promise((resolve) => app.server.once('request', () => resolve()));
    const port = await listen(app);
    // One connection, so that the second request comes in after the server has stopped listening.
    const socket = connect(port, '127.0.0.1');
    let text = '';
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${READ_TOKEN}\r\n\r\n`;
    const begun = requested();
    socket.write(get('/slow'));
    await begun;
    const closing = app.close();
    const late = requested();
    socket.write(get('/read'));
    await late;
    finish();
    await closing;
    await closed;
    expect(text).toMatch(/^HTTP\/1\.1 200 [^]*\{"done":true\}HTTP\/1\.1 503 [^]*retry-after: 5[^]*"code":"shutting_down"/);
  });

  test('a body that stops coming does not hold the others', async () => {
    const { app } = await testServer();
    const port = await listen(app);
    const stuck = httpRequest({ port, method: 'POST', path: '/echo', headers: { ...json, 'content-length': '1000' } });
    stuck.on('error', () => {});
    stuck.write('{"a":');
    const answer = await fetch(`http://127.0.0.1:${port}/read`, { headers: reader });
    expect(answer.status).toBe(200);
    stuck.destroy();
    expect(app.server.requestTimeout).toBe(30_000);
  });
});
