/** A collector below a path: found with the path and without, never by what only looks like it, and its cookie stays there. */
import { EXIT, OperationalFailure } from '@tidemark/service';
import { describe, expect, test } from 'vitest';
import { prefixOf, refuseAmbiguousPrefix, withoutPrefix } from './prefix.ts';
import { READ_TOKEN, testServer } from './testing.ts';

const publicUrl = new URL('https://ops.example/tidemark/');
const reader = { authorization: `Bearer ${READ_TOKEN}` };

test('the prefix is the path of the public URL', () => {
  const prefixes = [undefined, 'https://ops.example', 'https://ops.example/', 'https://ops.example/a', 'https://ops.example/a/b//'];
  expect(prefixes.map((url) => prefixOf(url === undefined ? undefined : new URL(url)))).toEqual(['', '', '', '/a', '/a/b']);
});

test.each([
  ['/tidemark', '/'],
  ['/tidemark/', '/'],
  ['/tidemark?a=/b', '/?a=/b'],
  ['/tidemark/read', '/read'],
  ['/tidemark/tidemark/read', '/tidemark/read'],
  ['/tidemark//evil.example/', '//evil.example/'],
  ['/tidemarks/read', '/tidemarks/read'],
  ['/read?x=/tidemark/', '/read?x=/tidemark/'],
  ['/Tidemark/read', '/Tidemark/read'],
  ['/', '/'],
  ['*', '*'],
])('%s is %s', (asked, known) => {
  expect(withoutPrefix(asked, '/tidemark')).toBe(known);
  expect(withoutPrefix(asked, '')).toBe(asked);
});

describe('the server', () => {
  test('answers with the prefix and without, and to nothing that looks like it', async () => {
    const { app } = await testServer({ publicUrl });
    for (const url of ['/read', '/tidemark/read', '/tidemark/read/', '/tidemark/read?x=1'])
      expect((await app.inject({ url, headers: reader })).json(), url).toEqual({ read: true });
    for (const url of ['/tidemarks/read', '/tidemarkread', '/tidemark/tidemark/read', '/x/tidemark/read'])
      expect((await app.inject({ url, headers: reader })).statusCode, url).toBe(404);
    expect((await app.inject({ method: 'PUT', url: '/tidemark/read', headers: reader })).json()).toMatchObject({
      code: 'method_not_allowed',
    });
    const { app: atRoot } = await testServer();
    expect((await atRoot.inject({ url: '/tidemark/read', headers: reader })).statusCode).toBe(404);
  });

  test('wants a credential behind the prefix as before it', async () => {
    const { app } = await testServer({ publicUrl });
    expect((await app.inject({ url: '/tidemark/read' })).statusCode).toBe(401);
  });

  test('shows its session to nothing else on the host, and ends it there', async () => {
    const { app, adminToken } = await testServer({ publicUrl });
    const signIn = await app.inject({ method: 'POST', url: '/tidemark/api/session', payload: { token: adminToken() } });
    expect(signIn.headers['set-cookie']).toMatch(/; Path=\/tidemark; HttpOnly; Secure; SameSite=Strict$/);
    const cookie = String(signIn.headers['set-cookie']).split(';')[0]!;
    const signOut = await app.inject({ method: 'DELETE', url: '/tidemark/api/session', headers: { cookie, origin: publicUrl.origin } });
    expect(signOut.headers['set-cookie']).toMatch(/^tidemark_session=; .*Path=\/tidemark(;|$)/);
    const { app: atRoot, adminToken: other } = await testServer({ publicUrl: new URL('https://ops.example') });
    const there = await atRoot.inject({ method: 'POST', url: '/api/session', payload: { token: other() } });
    expect(there.headers['set-cookie']).toMatch(/; Path=\/; /);
  });

  test('leaves it to the host whether browsers have to use https', async () => {
    for (const [url, expected] of [
      ['https://ops.example/tidemark', undefined],
      ['https://ops.example', 'max-age=31536000'],
    ] as const) {
      const { app } = await testServer({ publicUrl: new URL(url) });
      expect((await app.inject({ url: '/read', headers: reader })).headers['strict-transport-security']).toBe(expected);
    }
  });

  test('has its page on the API find its files', async () => {
    const { app } = await testServer({ publicUrl });
    const page = (await app.inject({ url: '/tidemark/api/docs', headers: reader })).body;
    const links = [...page.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, link]) => link!);
    expect(links.every((link) => link.startsWith('/tidemark/'))).toBe(true);
    for (const link of links.filter((one) => one.includes('/docs/')))
      expect((await app.inject({ url: link, headers: reader })).statusCode, link).toBe(200);
  });
});

describe('who asked', () => {
  const asked = async (trustedProxies: string[], remoteAddress: string): Promise<string> => {
    const { app } = await testServer({
      trustedProxies,
      routes: (a) => void a.get('/who', { config: { access: 'public' }, handler: async ({ ip, protocol }) => `${protocol} ${ip}` }),
    });
    const headers = { 'x-forwarded-for': '198.51.100.7, 203.0.113.9', 'x-forwarded-proto': 'https' };
    return (await app.inject({ url: '/who', headers, remoteAddress })).body;
  };

  test('is who connects, whatever is claimed', async () => {
    expect(await asked([], '127.0.0.1')).toBe('http 127.0.0.1');
    expect(await asked(['192.0.2.0/24'], '127.0.0.1')).toBe('http 127.0.0.1');
  });

  test('is whom a trusted proxy names last, and not what its client claims before', async () => {
    expect(await asked(['192.0.2.0/24'], '192.0.2.1')).toBe('https 203.0.113.9');
    expect(await asked(['192.0.2.1', '203.0.113.9'], '192.0.2.1')).toBe('https 198.51.100.7');
  });
});

test('a prefix that begins like an address of its own is refused', async () => {
  const { app } = await testServer();
  for (const prefix of ['/api', '/api/tidemark', '/things', '/read'])
    expect(() => refuseAmbiguousPrefix(app, prefix)).toThrow(
      expect.objectContaining({
        exitCode: EXIT.configuration,
        message: expect.stringContaining(`path ${prefix}: `) as string,
      }) as OperationalFailure,
    );
  for (const prefix of ['', '/tidemark', '/apis', '/ops/api']) expect(() => refuseAmbiguousPrefix(app, prefix)).not.toThrow();
});
