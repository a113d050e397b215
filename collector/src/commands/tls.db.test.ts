/** The command line and a collector that speaks HTTPS, on one machine: the commands find what to trust by the configuration, whatever name is in the certificate. */
import { statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TelemetryHealth } from '@tidemark/protocol';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createTestDatabase } from '../db/testing.ts';
import { TestAuthority } from '../http/tls-testing.ts';
import { commandLine, startTestCollector, temporaryDirectory, urlOf, type CommandResult, type TestCollector } from '../testing.ts';
import { connectTo } from './client.ts';

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface World extends TestCollector {
  dataDir: string;
  file: string;
  /** A command with the collector's own configuration file, and nothing else. */
  run: (...argv: string[]) => Promise<CommandResult>;
}

async function world(settings: (directory: string) => Record<string, unknown>): Promise<World> {
  const { address, database } = await createTestDatabase();
  await database.close();
  const dataDir = temporaryDirectory();
  const listen = `127.0.0.1:${await freePort()}`;
  const file = join(dataDir, 'collector.yaml');
  writeFileSync(file, JSON.stringify({ dataDir, listen, ...settings(dataDir) }));
  const collector = await startTestCollector({ dataDir, databaseUrl: urlOf(address), listen, file });
  return { ...collector, dataDir, file, run: (...argv) => commandLine([...argv, '--config', file]) };
}

/** A certificate of the operator's, for a name that this machine is not known by. */
function issued(directory: string): { tls: string; tlsCert: string; tlsKey: string } {
  const { cert, key } = new TestAuthority().issue(['monitor.example']);
  const files = { tlsCert: join(directory, 'cert.pem'), tlsKey: join(directory, 'key.pem') };
  writeFileSync(files.tlsCert, cert);
  writeFileSync(files.tlsKey, key, { mode: 0o600 });
  return { tls: 'files', ...files };
}

describe.each<[string, (directory: string) => Record<string, unknown>]>([
  ['self-made', () => ({ tls: 'self-made' })],
  ['of files', issued],
])('a certificate %s', (_, settings) => {
  test('commands and the health check just work', async () => {
    const { url, run } = await world(settings);
    expect(url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    expect(await run('health')).toEqual({ code: 0, out: 'healthy\n', err: '' });
    expect((await run('nodes', 'add', 'db1')).code).toBe(0);
    expect((await run('nodes', 'list')).out).toMatch(/^db1 +approved/m);
  });

  test('health tells of it', async () => {
    const { url, adminTokenFile, trust } = await world(settings);
    const client = connectTo({ url, tokenFile: adminTokenFile, trust });
    const { components } = await client.call<TelemetryHealth>('GET', '/api/telemetry/health');
    expect(components.find(({ name }) => name === 'tls')?.detail).toMatch(/^(HTTPS, certificate until|the certificate expires on) \d{4}/);
  });
});

test('a self-made one from elsewhere: with the authority it works, without it the sentence says what is missing', async () => {
  const { url, dataDir, adminTokenFile } = await world(() => ({ tls: 'self-made' }));
  const elsewhere = ['nodes', 'list', '--server', url, '--token-file', adminTokenFile, '--data-dir', temporaryDirectory()];
  const refused = await commandLine(elsewhere);
  expect([refused.code, refused.err]).toEqual([
    1,
    expect.stringContaining('nobody that is trusted here vouches for its certificate; name the authority with --ca-file'),
  ]);
  expect((await commandLine([...elsewhere, '--ca-file', join(dataDir, 'tls-authority.pem')])).code).toBe(0);
  // Started with flags, it has left its authority in the data directory.
  expect((await commandLine(['nodes', 'list', '--server', url, '--data-dir', dataDir])).code).toBe(0);
  for (const key of ['tls-authority-key.pem', 'tls-key.pem']) expect(statSync(join(dataDir, key)).mode & 0o077).toBe(0);
});

test('who asks in the wrong way is told the right one', async () => {
  const { url, dataDir } = await world(() => ({ tls: 'self-made' }));
  const plain = url.replace('https:', 'http:');
  for (const command of [['nodes', 'list'], ['health']])
    expect(await commandLine([...command, '--server', plain, '--data-dir', dataDir])).toMatchObject({
      code: 1,
      err: expect.stringContaining('write https:// in the address') as string,
    });
  const without = await world(() => ({}));
  expect(await commandLine(['health', '--server', without.url.replace('http:', 'https:'), '--data-dir', without.dataDir])).toMatchObject({
    code: 1,
    err: expect.stringContaining('what listens there does not speak HTTPS; is it http://?') as string,
  });
});

test('files that do not fit are one sentence, at the start and when the configuration is checked', async () => {
  const directory = temporaryDirectory();
  const settings = { ...issued(directory), dataDir: join(directory, 'data'), listen: '127.0.0.1:0' };
  writeFileSync(settings.tlsKey, new TestAuthority().issue(['monitor.example']).key);
  const file = join(directory, 'collector.yaml');
  writeFileSync(file, JSON.stringify(settings));
  const checked = await commandLine(['config', 'check', '--config', file]);
  expect([checked.code, checked.out]).toEqual([78, '']);
  expect(checked.err).toMatch(/^tlsKey: the key in .*key\.pem does not belong to the certificate in .*cert\.pem .*\.\n$/);
  const started = startTestCollector({ dataDir: settings.dataDir, databaseUrl: 'postgresql://nobody@127.0.0.1:1/none', file });
  await expect(started).rejects.toMatchObject({ exitCode: 78, message: checked.err.trim() });
});

test('health without a collector is a sentence too', async () => {
  const nobody = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi')).listen(0, '127.0.0.1');
  await new Promise((resolve) => nobody.once('listening', resolve));
  onTestFinished(() => void nobody.close());
  const { port } = nobody.address() as AddressInfo;
  const other = await commandLine(['health', '--server', `http://127.0.0.1:${port}`]);
  expect([other.code, other.err]).toEqual([1, `http://127.0.0.1:${port}: no collector answers there (HTTP status 200).\n`]);
  const gone = await commandLine(['health', '--server', `http://127.0.0.1:${await freePort()}`]);
  expect([gone.code, gone.err]).toEqual([1, expect.stringContaining('nothing listens there')]);
});
