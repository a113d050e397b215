/** What nodes download and what collectors are installed from, with the real Node.js and the real PostgreSQL: sizes, sameness, and that it runs where nothing else is. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ReadyMessage } from '../programs.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../../', import.meta.url));
const INSTALLERS = join(root, 'installers/dist/main.js');
/** Packing a runtime takes a minute and a half the first time, and more on a busy machine; then it is in the cache. */
const PACKING_MS = 15 * 60_000;
const LIMITS = { installedBytes: 130e6, xzBytes: 32e6, gzipBytes: 44e6, upgradeBytes: 1e6 };
const NOBODY = 65_534;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-e2e-bundle-'));
  chmodSync(directory, 0o755);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const sizeOf = (...parts: string[]): number => statSync(join(...parts)).size;
const read = (...parts: string[]): string => readFileSync(join(...parts), 'utf8');

describe.runIf(process.platform === 'linux' && process.arch === 'x64')('the bundle for linux-x64', () => {
  let out: string;
  let node: string;
  let version: string;
  let progress: { percent: number; what: string }[];
  beforeAll(async () => {
    out = join(directory, 'one');
    const { stdout } = await run(process.execPath, [INSTALLERS, 'bundle', '--platform', 'linux-x64', '--out', out, '--progress'], {
      cwd: '/',
    });
    progress = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { percent: number; what: string });
    ({ node, version } = JSON.parse(read(out, 'release.json')) as { node: string; version: string });
  }, PACKING_MS);

  test('progress is a line of JSON each, to the end', () => {
    expect(progress.at(-1)).toEqual({ percent: 100, what: 'ready' });
    expect(progress.map(({ percent }) => percent)).toEqual(progress.map(({ percent }) => percent).toSorted((a, b) => a - b));
  });

  test('the same bytes once more, from another directory, in another time zone, with another umask', { timeout: PACKING_MS }, async () => {
    const again = join(directory, 'two');
    const command = `umask 077; exec "$@"`;
    const args = [INSTALLERS, 'bundle', '--platform', 'linux-x64', '--format', 'xz', '--format', 'gzip', '--out', again];
    const began = performance.now();
    await run('/bin/sh', ['-c', command, 'sh', process.execPath, ...args], {
      cwd: directory,
      env: { ...process.env, TZ: 'Asia/Kathmandu' },
    });
    // All that takes time was kept.
    expect(performance.now() - began).toBeLessThan(60_000);
    expect(readdirSync(again).toSorted()).toEqual(readdirSync(out).toSorted());
    for (const name of readdirSync(out))
      expect({ name, same: readFileSync(join(again, name)).equals(readFileSync(join(out, name))) }).toEqual({ name, same: true });
  });

  test('is as small as promised', async () => {
    const installed = join(directory, 'installed');
    mkdirSync(installed);
    for (const name of [`tidemark-runtime-${node}-linux-x64.tar.xz`, `tidemark-agent-${version}.tar.gz`])
      await run('tar', ['xf', join(out, name), '-C', installed]);
    const sizes = {
      installedBytes: readdirSync(installed).reduce((sum, name) => sum + sizeOf(installed, name), 0),
      xzBytes: sizeOf(out, `tidemark-runtime-${node}-linux-x64.tar.xz`) + sizeOf(out, `tidemark-agent-${version}.tar.gz`),
      gzipBytes: sizeOf(out, `tidemark-runtime-${node}-linux-x64.tar.gz`) + sizeOf(out, `tidemark-agent-${version}.tar.gz`),
      upgradeBytes: sizeOf(out, `tidemark-agent-${version}.tar.gz`),
    };
    process.stdout.write(
      `what nodes download: ${Object.entries(sizes)
        .map(([what, bytes]) => `${what} ${(bytes / 1e6).toFixed(2)} MB`)
        .join(', ')}\n`,
    );
    for (const [what, bytes] of Object.entries(sizes))
      expect({ what, fits: bytes <= LIMITS[what as keyof typeof LIMITS] }).toEqual({ what, fits: true });
  });

  test('is the Node.js it says, and runs the agent', async () => {
    const installed = join(directory, 'installed');
    expect((await run(join(installed, 'node'), ['--version'])).stdout).toBe(`v${node}\n`);
    const flags = read(installed, 'flags').trim().split('\n');
    const args = [...flags, join(installed, 'tidemark-agent.cjs'), '--version'];
    expect((await run(join(installed, 'node'), args, { env: {} })).stdout).toBe(`${version}\n`);
  });
});

describe.runIf(process.platform === 'linux' && process.arch === 'x64')('a release', () => {
  let release: string;
  let collector: ChildProcess | undefined;
  beforeAll(async () => {
    const args = ['release', '--platform', 'linux-x64', '--nodes', 'linux-x64', '--unpacked', '--out', directory];
    await run(process.execPath, [INSTALLERS, ...args], { cwd: '/' });
    const { version } = JSON.parse(read(root, 'collector/package.json')) as { version: string };
    release = join(directory, `tidemark-${version}`);
  }, PACKING_MS);
  afterAll(async () => {
    if (collector === undefined || collector.exitCode !== null) return;
    const gone = new Promise((resolve) => collector!.once('exit', resolve));
    collector.kill('SIGTERM');
    await gone;
  });

  test('every file of it is in its sums', async () => {
    await run('sha256sum', ['--check', '--quiet', '--strict', 'SHA256SUMS'], { cwd: release, maxBuffer: 1024 * 1024 });
    const { stdout } = await run('find', ['.', '-type', 'f', '-printf', '%P\n'], { cwd: release, maxBuffer: 1024 * 1024 });
    const summed = read(release, 'SHA256SUMS')
      .trim()
      .split('\n')
      .map((row) => row.slice(66));
    expect(stdout.trim().split('\n').toSorted()).toEqual([...summed, 'SHA256SUMS'].toSorted());
  });

  test('has what an operator begins with', () => {
    expect(readdirSync(release)).toEqual(
      expect.arrayContaining(['LICENSE', 'VERSION', 'bin', 'collector-install-linux.sh', 'THIRD-PARTY-LICENSES']),
    );
    expect(statSync(join(release, 'collector-install-linux.sh')).mode & 0o777).toBe(0o755);
  });

  test('its collector runs for an ordinary user, with nothing on its path and no right to write there', { timeout: 120_000 }, async () => {
    const dataDir = join(directory, 'data');
    mkdirSync(dataDir);
    const isRoot = process.getuid?.() === 0;
    if (isRoot) chownSync(dataDir, NOBODY, NOBODY);
    let output = '';
    collector = spawn(join(release, 'bin/tidemark-collector'), ['run', '--data-dir', dataDir, '--listen', '127.0.0.1:0'], {
      ...(isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
      cwd: '/',
      env: { PATH: '/nonexistent' },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [collector.stdout!, collector.stderr!])
      stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
    const { url } = await new Promise<ReadyMessage>((resolve, reject) => {
      collector!.once('message', (message) => resolve(message as ReadyMessage));
      collector!.once('exit', (code) => reject(new Error(`left with ${code}:\n${output}`)));
    });
    expect(readdirSync(join(dataDir, 'postgres'))).toContain('PG_VERSION');
    expect(await (await fetch(`${url}/api/health`)).json()).toMatchObject({ status: 'healthy' });
    const page = await fetch(`${url}/`);
    expect({ status: page.status, html: (await page.text()).includes('<script') }).toEqual({ status: 200, html: true });
    // It serves what it was shipped with: to the byte.
    const name = readdirSync(join(release, 'installers/dist/bundle')).find(
      (file) => file.startsWith('tidemark-agent-') && file.endsWith('.tar.gz'),
    )!;
    const served = await fetch(`${url}/documentation/downloads/${name}`);
    expect(served.status).toBe(200);
    expect(Buffer.from(await served.arrayBuffer()).equals(readFileSync(join(release, 'installers/dist/bundle', name)))).toBe(true);
  });
});
