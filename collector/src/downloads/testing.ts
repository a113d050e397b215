/** An installation's `installers` directory for tests, with a small bundle of the documented form, and a server over it. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock } from '@tidemark/service';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { expect, onTestFinished } from 'vitest';
import { testServer } from '../http/testing.ts';
import { downloadRoutes, type DownloadRoutesOptions } from './routes.ts';
import { SCRIPTS } from './templates.ts';

export const RUNTIME = 'tidemark-runtime-20.20.2-linux-x64.tar.xz';
export const AGENT = 'tidemark-agent-0.1.0.tar.gz';

export const sha256 = (content: string | Buffer): string => createHash('sha256').update(content).digest('hex');

/** Bytes that are different everywhere, so that a wrong part is seen. */
export function bytes(length: number, seed = 1): Buffer {
  const made = Buffer.alloc(length);
  let x = seed;
  for (let i = 0; i < length; i += 1) {
    x = (x * 1_103_515_245 + 12_345) & 0x7fffffff;
    made[i] = x >> 16;
  }
  return made;
}

export function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-downloads-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Writes a bundle; the lists last, as a bundle that is being replaced has them. Returns its files. */
export function writeBundle(installersDir: string, changes: Record<string, Buffer> = {}, version = '0.1.0'): Record<string, Buffer> {
  const directory = join(installersDir, 'dist', 'bundle');
  mkdirSync(directory, { recursive: true });
  const files: Record<string, Buffer> = { [AGENT]: bytes(5_000, 2), [RUNTIME]: bytes(3_000_000), ...changes };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
  const release = {
    version,
    node: '20.20.2',
    files: Object.fromEntries(
      Object.entries(files).map(([name, content]) => [name, { sha256: sha256(content), sizeBytes: content.length }]),
    ),
  };
  const releaseText = JSON.stringify(release);
  const rows = [...Object.entries(files), ['release.json', Buffer.from(releaseText)] as const].toSorted(([a], [b]) => (a < b ? -1 : 1));
  writeFileSync(join(directory, 'release.json'), releaseText);
  writeFileSync(join(directory, 'SHA256SUMS'), rows.map(([name, content]) => `${sha256(content)}  ${name}\n`).join(''));
  return files;
}

export const LINUX_TEMPLATE = `#!/bin/sh
url='@TIDEMARK_URL@'
key='@TIDEMARK_KEY@'
runtimes='@TIDEMARK_RUNTIMES@'
fingerprint='@TIDEMARK_FINGERPRINT@'
version='@TIDEMARK_VERSION@'
node='@TIDEMARK_NODE@'
printf '%s\\n' "$url" "$key" "$runtimes" "$fingerprint" "$version" "$node"
`;

/** Templates of every script: the installers with all placeholders, the others with the address alone. */
export function writeTemplates(installersDir: string): void {
  for (const directory of ['linux', 'windows']) mkdirSync(join(installersDir, directory), { recursive: true });
  for (const { name, template } of SCRIPTS)
    writeFileSync(join(installersDir, template), name.startsWith('agent-install') ? LINUX_TEMPLATE : "url='@TIDEMARK_URL@'\n");
}

/** A bundler that says what it does as the real one does; `body` runs with `out`, `progress` and `fs` at hand. */
export function writeBundler(installersDir: string, body: string): void {
  mkdirSync(join(installersDir, 'dist'), { recursive: true });
  writeFileSync(join(installersDir, 'dist', 'package.json'), '{"type":"module"}');
  writeFileSync(
    join(installersDir, 'dist', 'main.js'),
    `import fs from 'node:fs';
const [command, flag, out, last] = process.argv.slice(2);
if (command !== 'bundle' || flag !== '--out' || last !== '--progress') process.exit(2);
const progress = (percent, what) => process.stdout.write(JSON.stringify({ percent, what }) + '\\n');
${body}
`,
  );
}

export const BASE = '/documentation/downloads/';

export interface Served {
  app: FastifyInstance;
  installersDir: string;
  bundleDir: string;
  dataDir: string;
  files: Record<string, Buffer>;
  clock: ManualClock;
}

/** A server with a bundle (but for `empty`), templates, and a clock that the test moves. Closed, and found to have failed at nothing, when the test is over. */
export async function served({
  trustedProxies,
  ...options
}: Partial<DownloadRoutesOptions> & { empty?: boolean; trustedProxies?: string[] } = {}): Promise<Served> {
  const [installersDir, dataDir, clock] = [temporary(), temporary(), new ManualClock()];
  const files = options.empty ? {} : writeBundle(installersDir);
  writeTemplates(installersDir);
  const { app, logged } = await testServer({
    trustedProxies,
    routes: (a) =>
      downloadRoutes(a, {
        installersDir,
        version: '0.1.0',
        dataDir,
        clock,
        log: pino({ level: 'silent' }),
        publicUrl: undefined,
        policy: 'approve',
        baseUrl: () => new URL('http://127.0.0.1:5000'),
        ...options,
      }),
  });
  onTestFinished(() => expect(logged()).not.toContain('a request failed'));
  return { app, installersDir, bundleDir: join(installersDir, 'dist/bundle'), dataDir, files, clock };
}

/** Listens, and resolves with the address. */
export async function listening(app: FastifyInstance): Promise<string> {
  await app.listen({ host: '127.0.0.1', port: 0 });
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
}
