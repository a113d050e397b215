/** Who may do what with which credential, and what a session is worth: when it ends, from where it may be used, and that it cannot be made up. */
import { createHmac } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, ManualClock, OperationalFailure } from '@tidemark/service';
import type { Problem } from '@tidemark/protocol';
import type { InjectOptions } from 'fastify';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AdminToken, resetAdminToken } from './admin-token.ts';
import { ADMIN_TOKEN, AGENT_TOKEN, READ_TOKEN, nodeRecord, testServer, type TestServer } from './testing.ts';

const DAY_MS = 86_400_000;
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

/** Status, with the code of a problem. */
async function ask(
  { app }: TestServer,
  method: 'GET' | 'POST' | 'DELETE' | 'HEAD',
  url: string,
  headers: InjectOptions['headers'] = {},
  payload?: object,
): Promise<string> {
  const answer = await app.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) });
  return answer.statusCode < 400 || method === 'HEAD' ? String(answer.statusCode) : `${answer.statusCode} ${answer.json<Problem>().code}`;
}

describe('what each credential may do', () => {
  const none = {};
  test.each<
    [string, (server: TestServer) => Record<string, string> | Promise<Record<string, string>>, [string, string, string, string, string]]
  >([
    //                                                        report                    read                      change                    no such address       sign-in page
    ['none', () => none, ['401 credential_missing', '401 credential_missing', '401 credential_missing', '401 credential_missing', '200']],
    ['an agent', () => bearer(AGENT_TOKEN), ['200', '403 role_insufficient', '403 role_insufficient', '404 not_found', '200']],
    ['a reader', () => bearer(READ_TOKEN), ['403 role_insufficient', '200', '403 role_insufficient', '404 not_found', '200']],
    ['an administrating program', () => bearer(ADMIN_TOKEN), ['403 role_insufficient', '200', '200', '404 not_found', '200']],
    ['the admin token', (s) => bearer(s.adminToken()), ['403 role_insufficient', '200', '200', '404 not_found', '200']],
    ['a session', async (s) => ({ cookie: await s.signIn() }), ['403 role_insufficient', '200', '200', '404 not_found', '200']],
    [
      'an unknown token',
      () => bearer('tma_unknown'),
      ['401 credential_unknown', '401 credential_unknown', '401 credential_unknown', '401 credential_unknown', '200'],
    ],
    [
      'a password',
      () => ({ authorization: 'Basic YTpi' }),
      ['401 credential_missing', '401 credential_missing', '401 credential_missing', '401 credential_missing', '200'],
    ],
    [
      'an empty token',
      () => ({ authorization: 'Bearer ' }),
      ['401 credential_missing', '401 credential_missing', '401 credential_missing', '401 credential_missing', '200'],
    ],
    [
      'a made-up session',
      () => ({ cookie: 'tidemark_session=1.9999999999999.x.y' }),
      ['401 session_expired', '401 session_expired', '401 session_expired', '401 session_expired', '200'],
    ],
  ])('%s', async (_, credential, [report, read, change, nowhere, page]) => {
    const server = await testServer({ routes: (app) => app.get('/page', { config: { access: 'public' } }, async () => 'page') });
    const headers = await credential(server);
    expect(await ask(server, 'POST', '/echo', headers, {})).toBe(report);
    expect(await ask(server, 'GET', '/read', headers)).toBe(read);
    expect(await ask(server, 'HEAD', '/read', headers)).toBe(read.slice(0, 3));
    expect(await ask(server, 'POST', '/change', headers, { size: 1 })).toBe(change);
    expect(await ask(server, 'DELETE', '/change', headers)).toBe(change);
    expect(await ask(server, 'POST', '/nowhere', headers, {})).toBe(nowhere);
    expect(await ask(server, 'GET', '/page', headers)).toBe(page);
  });

  test.each<[string, ReturnType<TestServer['agents']['get']>]>([
    ['403 node_pending', { node: nodeRecord('n', 'pending'), revoked: false }],
    ['403 node_revoked', { node: nodeRecord('n', 'revoked'), revoked: false }],
    ['403 node_revoked', { node: nodeRecord('n'), revoked: true }],
    ['403 node_retired', { node: nodeRecord('n', 'retired'), revoked: false }],
    ['403 node_pending', { node: nodeRecord('n'), revoked: false, asks: true }],
    ['403 node_pending', { node: nodeRecord('n', 'revoked'), revoked: false, asks: true }],
    ['403 node_revoked', { node: nodeRecord('n'), revoked: true, endedAs: 'replaced' }],
    ['403 node_revoked', { node: nodeRecord('n', 'retired'), revoked: true, endedAs: 'denied' }],
  ])('an agent: %s', async (expected, agent) => {
    const server = await testServer();
    server.agents.set('tma_x', agent!);
    const answer = await server.app.inject({ method: 'POST', url: '/echo', headers: bearer('tma_x'), payload: {} });
    expect(`${answer.statusCode} ${answer.json<Problem>().code}`).toBe(expected);
    expect(answer.headers['retry-after']).toBe('60');
  });

  test('a 401 says how, and no answer repeats a token', async () => {
    const { app, logged } = await testServer();
    const answer = await app.inject({ url: '/read', headers: bearer('tmt_guess') });
    expect(answer.headers['www-authenticate']).toBe('Bearer realm="tidemark"');
    expect(answer.body).not.toContain('tmt_guess');
    expect(logged()).not.toContain('tmt_guess');
  });
});

describe('a session', () => {
  test('is a cookie that no script and no other site gets', async () => {
    const { app, adminToken } = await testServer();
    const answer = await app.inject({ method: 'POST', url: '/api/session', payload: { token: ` ${adminToken()}\n` } });
    expect(answer.statusCode).toBe(204);
    const [value, ...attributes] = String(answer.headers['set-cookie']).split('; ');
    expect(attributes.toSorted()).toEqual(['HttpOnly', `Max-Age=${7 * 86_400}`, 'Path=/', 'SameSite=Strict']);
    expect(value).not.toContain(adminToken());
    const secure = await testServer({ publicUrl: new URL('https://watch.example') });
    const cookie = (await secure.app.inject({ method: 'POST', url: '/api/session', payload: { token: secure.adminToken() } })).headers[
      'set-cookie'
    ];
    expect(cookie).toContain('Secure');
  });

  test('says who it is and until when, and ends at the sign-out', async () => {
    const { app, clock, signIn } = await testServer();
    const cookie = await signIn();
    const answer = await app.inject({ url: '/api/session', headers: { cookie } });
    expect(answer.json()).toEqual({ role: 'admin', expiresAt: new Date(clock.wallMs() + 7 * DAY_MS).toISOString() });
    const out = await app.inject({ method: 'DELETE', url: '/api/session', headers: { cookie } });
    expect(out.statusCode).toBe(204);
    expect(out.headers['set-cookie']).toMatch(/^tidemark_session=; .*(Max-Age=0|Expires=Thu, 01 Jan 1970)/);
    expect((await app.inject({ url: '/api/session', headers: bearer(READ_TOKEN) })).json()).toEqual({ role: 'read', expiresAt: null });
  });

  test('ends after seven days without a request', async () => {
    const server = await testServer();
    const cookie = await server.signIn();
    server.clock.advance(7 * DAY_MS - 1);
    expect(await ask(server, 'GET', '/read', { cookie })).toBe('200');
    server.clock.advance(1);
    expect(await ask(server, 'GET', '/read', { cookie })).toBe('401 session_expired');
  });

  test('goes on while it is used, for thirty days', async () => {
    const server = await testServer();
    let cookie = await server.signIn();
    for (let day = 0; day < 29; day++) {
      server.clock.advance(DAY_MS);
      const answer = await server.app.inject({ url: '/read', headers: { cookie } });
      expect(answer.statusCode).toBe(200);
      cookie = String(answer.headers['set-cookie'] ?? cookie).split(';')[0]!;
    }
    server.clock.advance(DAY_MS);
    expect(await ask(server, 'GET', '/read', { cookie })).toBe('401 session_expired');
  });

  test('ends when the admin token is reset, and so does the old token', async () => {
    const server = await testServer();
    const cookie = await server.signIn();
    const old = server.adminToken();
    const fresh = resetAdminToken(server.dataDir);
    // The file is looked at once a second.
    server.clock.advance(1_000);
    expect(await ask(server, 'GET', '/read', { cookie })).toBe('401 session_expired');
    expect(await ask(server, 'GET', '/read', bearer(old))).toBe('401 credential_unknown');
    expect(await ask(server, 'GET', '/read', bearer(fresh))).toBe('200');
  });

  test('cannot be made up or lengthened', async () => {
    const server = await testServer();
    const cookie = await server.signIn();
    const [started, expires, nonce, signature] = cookie.split('=')[1]!.split('.');
    const longer = `${started}.${Number(expires) + DAY_MS}.${nonce}`;
    const forged = createHmac('sha256', '').update(longer).digest('base64url');
    for (const value of [
      `${longer}.${signature}`,
      `${longer}.${forged}`,
      `${longer}.`,
      longer,
      '',
      '.',
      '....',
      `${started}.${expires}.${nonce}.${signature}x`,
      'é'.repeat(9),
    ]) {
      expect(
        await ask(server, 'GET', '/read', { cookie: `tidemark_session=${encodeURIComponent(value)}` }),
        `${value} as a session`,
      ).toMatch(/^401 /);
    }
    expect(await ask(server, 'GET', '/read', { cookie })).toBe('200');
  });

  test.each<[string, Record<string, string>, string]>([
    ['the console itself', { 'sec-fetch-site': 'same-origin' }, '200'],
    ['a bookmark', { 'sec-fetch-site': 'none' }, '200'],
    ['another site', { 'sec-fetch-site': 'cross-site' }, '403 origin_foreign'],
    ['a neighbour of the same site', { 'sec-fetch-site': 'same-site' }, '403 origin_foreign'],
    ['the console over plain http', { origin: 'http://watch.example:5000', host: 'watch.example:5000' }, '200'],
    ['another port', { origin: 'http://watch.example:8080', host: 'watch.example:5000' }, '403 origin_foreign'],
    ['another site over plain http', { origin: 'http://evil.example', host: 'watch.example:5000' }, '403 origin_foreign'],
    ['a sandboxed frame', { origin: 'null', host: 'watch.example:5000' }, '403 origin_foreign'],
    ['the public address behind a proxy that changes Host', { origin: 'https://public.example', host: '127.0.0.1:5000' }, '200'],
  ])('used by a page of %s', async (_, headers, expected) => {
    const server = await testServer({ publicUrl: new URL('https://public.example/') });
    const cookie = await server.signIn();
    expect(await ask(server, 'POST', '/change', { cookie, ...headers }, { size: 1 })).toBe(expected);
    expect(await ask(server, 'DELETE', '/api/session', { cookie, ...headers })).toBe(expected === '200' ? '204' : expected);
    // A token in a header is put there on purpose: no page of another site has it.
    expect(await ask(server, 'POST', '/change', { ...bearer(ADMIN_TOKEN), ...headers }, { size: 1 })).toBe('200');
    const signedIn = await ask(server, 'POST', '/api/session', headers, { token: server.adminToken() });
    expect(signedIn).toBe(expected === '200' ? '204' : expected);
  });
});

describe('the admin token', () => {
  const directory = (): string => {
    const dir = mkdtempSync(join(tmpdir(), 'tidemark-admin-'));
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
    return dir;
  };

  test('is made once, long, for its owner alone', () => {
    const dir = directory();
    const { file } = new AdminToken(dir);
    const token = readFileSync(file, 'utf8');
    expect(token).toMatch(/^tmadm_[\w-]{43}\n$/);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(new AdminToken(dir).matches(token.trim())).toBe(true);
    expect(new AdminToken(dir).matches('')).toBe(false);
  });

  test('one that others may read is closed to them', () => {
    const dir = directory();
    const { file } = new AdminToken(dir);
    chmodSync(file, 0o644);
    expect(new AdminToken(dir).matches(readFileSync(file, 'utf8').trim())).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test('holds while the file is gone or empty, so that an accident locks nobody out', () => {
    const dir = directory();
    const clock = new ManualClock();
    const admin = new AdminToken(dir, clock);
    const token = readFileSync(admin.file, 'utf8').trim();
    writeFileSync(admin.file, '');
    clock.advance(1_000);
    expect(admin.matches(token)).toBe(true);
    expect(admin.matches('')).toBe(false);
    rmSync(admin.file);
    clock.advance(1_000);
    expect(admin.matches(token)).toBe(true);
  });

  test('an empty file at start, or a directory that is not there, is one sentence', () => {
    const dir = directory();
    writeFileSync(join(dir, 'admin-token'), '\n');
    expect(() => new AdminToken(dir)).toThrow(/is empty.*token reset/);
    const failure = ((): unknown => {
      try {
        return resetAdminToken(join(dir, 'not', 'there'));
      } catch (error) {
        return error;
      }
    })();
    expect(failure).toBeInstanceOf(OperationalFailure);
    expect((failure as OperationalFailure).exitCode).toBe(EXIT.dataDirectory);
  });
});
