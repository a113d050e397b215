/** The console as it is served: whole to anyone, since people sign in on it, and nothing beside it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { expect, onTestFinished, test } from 'vitest';
import { consoleFiles } from './console-files.ts';
import { READ_TOKEN, testServer } from './testing.ts';

const PAGE = '<!doctype html><title>Tidemark</title><script type="module" src="/assets/index-abc.js"></script>';
const SCRIPT = `export const words = ${JSON.stringify('words '.repeat(1_000))};`;

async function served(build: (directory: string) => void, prefix = ''): Promise<FastifyInstance> {
  const outside = mkdtempSync(join(tmpdir(), 'tidemark-console-files-'));
  onTestFinished(() => rmSync(outside, { recursive: true, force: true }));
  writeFileSync(join(outside, 'secret.json'), '{"secret":true}');
  const directory = join(outside, 'dist');
  build(directory);
  const { app } = await testServer({ routes: (a) => consoleFiles(a, directory, prefix) });
  return app;
}

const built = (directory: string): void => {
  mkdirSync(join(directory, 'assets'), { recursive: true });
  writeFileSync(join(directory, 'index.html'), PAGE);
  writeFileSync(join(directory, 'favicon.svg'), '<svg xmlns="http://www.w3.org/2000/svg"/>');
  writeFileSync(join(directory, 'assets', 'index-abc.js'), SCRIPT);
  writeFileSync(join(directory, 'assets', 'notes.map'), '{}');
};

test('one page at every address that the console knows, asked for anew each time', async () => {
  const app = await served(built);
  for (const url of ['/', '/sign-in', '/add-node', '/nodes/db1', `/nodes/${encodeURIComponent('a/b "é" 👾')}`, '/?q=x']) {
    const { statusCode, headers, body } = await app.inject({ url });
    expect([statusCode, body], `at ${url}`).toEqual([200, PAGE]);
    expect(headers).toMatchObject({ 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-cache' });
    expect(headers['content-security-policy']).toContain("script-src 'self'");
  }
});

test('behind a path prefix the page names its files below it, and says where it stands', async () => {
  const app = await served((directory) => {
    built(directory);
    writeFileSync(join(directory, 'index.html'), `<meta name="tidemark-base" content="/" /><link href="/favicon.svg" />${PAGE}`);
  }, '/ops/tidemark');
  const { body } = await app.inject({ url: '/' });
  expect(body).toContain('<meta name="tidemark-base" content="/ops/tidemark/" />');
  expect(body).toContain('href="/ops/tidemark/favicon.svg"');
  expect(body).toContain('src="/ops/tidemark/assets/index-abc.js"');
  expect(body).not.toMatch(/"\/(?:assets|favicon)/);
});

test('other addresses are not the page', async () => {
  const app = await served(built);
  for (const url of ['/index.html', '/console', '/api/nothing', '/nodes.json']) {
    const { statusCode } = await app.inject({ url, headers: { authorization: `Bearer ${READ_TOKEN}` } });
    expect(statusCode, `at ${url}`).toBe(404);
  }
});

test('assets come compressed as asked, and for ever, for their names change with them', async () => {
  const app = await served(built);
  const get = (encoding?: string) =>
    app.inject({ url: '/assets/index-abc.js', headers: encoding === undefined ? {} : { 'accept-encoding': encoding } });
  const plain = await get();
  expect(plain.body).toBe(SCRIPT);
  expect(plain.headers).toMatchObject({
    'content-type': 'text/javascript; charset=utf-8',
    'cache-control': 'public, max-age=31536000, immutable',
    vary: 'accept-encoding',
  });
  const zipped = await get('gzip, deflate');
  expect([zipped.headers['content-encoding'], gunzipSync(zipped.rawPayload).toString()]).toEqual(['gzip', SCRIPT]);
  const brotli = await get('gzip, deflate, br, zstd');
  expect([brotli.headers['content-encoding'], brotliDecompressSync(brotli.rawPayload).toString()]).toEqual(['br', SCRIPT]);
  expect((await get('gzip;q=0, br;q=0')).headers['content-encoding']).toBeUndefined();
  expect((await app.inject({ url: '/favicon.svg' })).headers['content-type']).toBe('image/svg+xml');
});

test.each([
  '/assets/../secret.json',
  '/assets/..%2F..%2Fsecret.json',
  '/assets/%2e%2e/%2e%2e/secret.json',
  '/assets/..\\..\\secret.json',
  '/../secret.json',
  '/assets/notes.map',
  '/assets/',
  '/assets/%00',
  '/assets//etc/passwd',
])('nothing else is to be had: %s', async (url) => {
  const app = await served(built);
  const { statusCode, body } = await app.inject({ url });
  expect([400, 401, 404]).toContain(statusCode);
  expect(body).not.toContain('"secret"');
});

test('a console that was not built is said, and the rest works', async () => {
  const app = await served(() => {});
  const { statusCode, body } = await app.inject({ url: '/' });
  expect(statusCode).toBe(200);
  expect(body).toContain('npm run build');
  expect((await app.inject({ url: '/read', headers: { authorization: `Bearer ${READ_TOKEN}` } })).statusCode).toBe(200);
});
