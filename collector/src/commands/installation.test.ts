/** The commands of an installation: the file, the port, the backups of a directory, and waiting for a collector, each with its exit code. */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { EXIT } from '@tidemark/service';
import { describe, expect, onTestFinished, test } from 'vitest';
import { commandLine, temporaryDirectory } from '../testing.ts';
import { welcome } from './welcome.ts';

/** A server on a port of its own that answers so. */
async function answering(body: () => unknown, status = 200): Promise<number> {
  const server: Server = createHttpServer(
    (_, response) => void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body())),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

describe('configure', () => {
  test('writes what is given, says it, and leaves the rest', async () => {
    const config = join(temporaryDirectory(), 'collector.yaml');
    writeFileSync(config, '# ours\nlisten: 5000 # the port\n');
    const changed = await commandLine(['configure', '--config', config, '--listen', '0.0.0.0:5055', '--public-url', 'https://x.example']);
    expect(changed).toEqual({ code: 0, out: 'listen: "0.0.0.0:5055" (was 5000)\npublicUrl: "https://x.example" (was not set)\n', err: '' });
    expect(readFileSync(config, 'utf8')).toBe('# ours\nlisten: 0.0.0.0:5055 # the port\npublicUrl: https://x.example\n');
    expect(await commandLine(['configure', '--config', config])).toEqual({ code: 0, out: '', err: `Nothing to change in ${config}.\n` });
    const refused = await commandLine(['configure', '--config', config, '--database-url', 'postgresql://a:b@c/d']);
    expect(refused).toMatchObject({ code: EXIT.configuration, err: expect.stringContaining('can be read by every user') as string });
  });

  test('the address of a database comes out of its file, and stays unseen', async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'url');
    const check = (): ReturnType<typeof commandLine> => commandLine(['config', 'check', '--database-url-file', file]);
    expect(await check()).toMatchObject({ code: EXIT.configuration, err: expect.stringContaining('there is no such file') as string });
    writeFileSync(file, 'mysql://x\n');
    expect(await check()).toMatchObject({
      code: EXIT.configuration,
      err: expect.stringContaining('does not hold one postgresql:// address') as string,
    });
    writeFileSync(file, 'postgresql://tidemark:s3cret@db/tidemark\n');
    const { code, out, err } = await check();
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(new RegExp(`^databaseUrl +\\(secret\\) +${file}$`, 'm'));
    expect(out).not.toContain('s3cret');
  });
});

test.runIf(process.platform === 'linux')('a taken port: by whom, and a free one', async () => {
  const port = await answering(() => 'mine');
  const { code, err } = await commandLine(['config', 'listen', '--listen', `127.0.0.1:${port}`]);
  expect(code).toBe(EXIT.portInUse);
  expect(err).toContain(`Port ${port} is taken by`);
  expect(err).toContain(`(process ${process.pid}: `);
  expect(err).toMatch(/--listen 127\.0\.0\.1:\d+,/);
  expect(await commandLine(['config', 'listen', '--listen', '127.0.0.1:0'])).toEqual({ code: 0, out: '127.0.0.1:0 is free.\n', err: '' });
});

describe('wait', () => {
  const health = (status: string, uptime: number, reasons?: string[]): unknown => ({
    status,
    timestamp: new Date().toISOString(),
    uptime,
    ...(reasons && { reasons }),
  });
  const wait = (port: number, ...more: string[]): ReturnType<typeof commandLine> =>
    commandLine(['wait', '--listen', `127.0.0.1:${port}`, '--timeout', '1', ...more]);

  test('until it is healthy', async () => {
    let asked = 0;
    const port = await answering(() => (++asked < 3 ? health('unhealthy', 1, ['database: does not answer']) : health('healthy', 1)));
    expect(await wait(port)).toEqual({ code: 0, out: '', err: `The collector at http://127.0.0.1:${port} is healthy.\n` });
    expect(asked).toBe(3);
  });

  test.each([
    ['what it says itself', () => health('unhealthy', 1, ['database: does not answer']), 'it says: database: does not answer'],
    ['something else on the port', () => ({ hello: 'world' }), 'is not a collector'],
  ])('and in vain, with the reason: %s', async (_, body, reason) => {
    const { code, err } = await wait(await answering(body));
    expect(code).toBe(EXIT.serviceNotStarted);
    expect(err).toContain(reason);
  });

  test('one that was there before does not count', async () => {
    const port = await answering(() => health('healthy', 3_600));
    const { code, err } = await wait(port, '--since', String(Math.floor(Date.now() / 1_000)));
    expect(code).toBe(EXIT.serviceNotStarted);
    expect(err).toContain('an earlier collector still answers');
  });
});

test('a backup and back, by hand', async () => {
  const directory = temporaryDirectory();
  const dataDir = join(directory, 'data');
  const to = join(directory, 'backups');
  mkdirSync(dataDir);
  writeFileSync(join(dataDir, 'admin-token'), 'one\n', { mode: 0o600 });
  const checked = await commandLine(['backup', '--check', '--data-dir', dataDir, '--to', to]);
  expect(checked).toEqual({ code: 0, out: '', err: `A backup of ${dataDir} takes 1 MB; ${to} has room for it.\n` });
  expect(existsSync(to)).toBe(false);
  const made = await commandLine(['backup', '--data-dir', dataDir, '--to', to, '--of', '9.9.9']);
  expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/-9\.9\.9\n$/) as string });
  writeFileSync(join(dataDir, 'admin-token'), 'two\n');
  expect((await commandLine(['backups', '--data-dir', dataDir, '--to', to])).out).toMatch(
    /^MADE AT +VERSION +SIZE +DIRECTORY\n\S+ +9\.9\.9 +1 MB +\S+\n$/,
  );
  expect((await commandLine(['backups', '--data-dir', dataDir, '--to', to, '--keep', 'all'])).code).toBe(EXIT.usage);
  expect((await commandLine(['restore', made.out.trim(), '--data-dir', dataDir])).code).toBe(0);
  expect(readFileSync(join(dataDir, 'admin-token'), 'utf8')).toBe('one\n');
  expect(readdirSync(dataDir)).toEqual(['admin-token']);
  expect(await commandLine(['restore', directory, '--data-dir', dataDir])).toMatchObject({
    code: EXIT.usage,
    err: expect.stringContaining('is no backup of Tidemark') as string,
  });
});

describe('welcome', () => {
  const base = {
    listen: { host: '0.0.0.0', port: 5_000 },
    https: false,
    selfMade: false,
    publicUrl: undefined,
    addresses: ['10.0.0.1', '10.0.0.2'],
    adminTokenFile: '/d/admin-token',
    enrollment: 'approve',
    isWindows: false,
  } as const;

  test('addresses, the way in, the first node, what listens', () => {
    const text = welcome(base);
    expect(text).toContain('  Console      http://10.0.0.1:5000\n               http://10.0.0.2:5000\n');
    expect(text).toContain('sudo cat /d/admin-token');
    expect(text).toContain('sudo sh agent-install-linux.sh --server http://10.0.0.1:5000 --hostname NAME --interval 60');
    expect(text).toContain('sudo tidemark-collector nodes approve NAME');
    expect(text).toContain('TCP port 5000');
  });

  test('its public address is the one in commands; with an authority of its own a token comes first', () => {
    expect(welcome({ ...base, publicUrl: 'http://10.0.0.2:5000/' }), 'each once').toContain(
      '  Console      http://10.0.0.2:5000\n               http://10.0.0.1:5000\n  Sign in',
    );
    expect(welcome({ ...base, publicUrl: 'http://x.example:5055/' })).toContain('--server http://x.example:5055 --hostname');
    const selfMade = welcome({ ...base, https: true, selfMade: true, listen: { host: '::', port: 443 } });
    expect(selfMade).toContain('https://10.0.0.1\n');
    expect(selfMade).toContain('sudo tidemark-collector enroll');
    expect(selfMade).not.toContain('curl');
    expect(welcome({ ...base, isWindows: true, adminTokenFile: 'C:\\d\\admin-token' })).toMatch(
      /Get-Content 'C:\\d\\admin-token'(?![\s\S]*sudo tidemark)/,
    );
    expect(welcome({ ...base, listen: { host: '127.0.0.1', port: 5_000 } })).toContain('on nothing else');
  });
});
