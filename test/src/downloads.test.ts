/** The commands that the downloads' page shows, run to the letter by a shell against a real collector: over plain HTTP, and over HTTPS with its own authority. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitUntil } from './postgres/cluster.ts';
import { startCollector, type RunningCollector } from './programs.ts';

const run = promisify(execFile);

describe.each(['off', 'self-made'])('tls: %s', (tls) => {
  let directory: string;
  let collector: RunningCollector;
  let blocks: string[];
  let fingerprint: string | undefined;
  let version: string;
  const shell = (script: string) =>
    run('bash', ['-eu', '-c', script], { cwd: directory, env: { PATH: process.env['PATH'], HOME: directory } });
  const block = (word: string): string => {
    const found = blocks.find((one) => one.includes(word));
    if (found === undefined) throw new Error(`no commands with "${word}" on the page`);
    return found;
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tidemark-downloads-'));
    mkdirSync(join(directory, 'data'));
    collector = await startCollector({ dataDir: join(directory, 'data'), arguments: ['--tls', tls] });
    const base = `${collector.url}/documentation/downloads/`;
    const release = await waitUntil(async () => JSON.parse(await fetched(`${base}release.json`)) as { version?: string }, {
      what: 'the bundle',
      timeoutMs: 170_000,
    });
    version = release.version!;
    const page = await fetched(base);
    blocks = [...page.matchAll(/<pre[^>]*><code>([\s\S]*?)<\/code><\/pre>/g)].map(([, text]) =>
      text!.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&'),
    );
    fingerprint = /<code>((?:[0-9A-F]{2}:){31}[0-9A-F]{2})<\/code>/.exec(page)?.[1];
  }, 240_000);
  afterAll(async () => {
    await collector?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  test('the authority is the one whose fingerprint is shown', async () => {
    expect(fingerprint !== undefined).toBe(tls === 'self-made');
    if (fingerprint === undefined) return;
    const { stdout } = await shell(block('openssl x509'));
    expect(stdout.trim().toUpperCase()).toBe(`SHA256 FINGERPRINT=${fingerprint}`);
  });

  test('the installer is fetched, and knows where from', async () => {
    const commands = block('sudo ./agent-install-linux.sh');
    expect(commands).toMatch(/\nsudo \.\/agent-install-linux\.sh --server "(https?:\/\/\S+)" --hostname "NAME" --interval 60$/);
    await shell(commands.slice(0, commands.indexOf('\nsudo ')));
    const script = readFileSync(join(directory, 'agent-install-linux.sh'), 'utf8');
    const value = (name: string): string | undefined => new RegExp(`^TIDEMARK_${name}='(.*)'$`, 'm').exec(script)?.[1];
    expect(value('URL')).toBe(collector.url);
    expect(value('VERSION')).toBe(version);
    expect(value('FINGERPRINT')).toBe((fingerprint ?? '').replaceAll(':', '').toLowerCase());
    expect(value('RUNTIMES')!.split(';').length).toBe(5);
    expect((await shell('./agent-install-linux.sh --help')).stdout).toContain('--server URL');
    await shell(block('sudo sh ./agent-uninstall-linux.sh').split('\n')[0]!);
    expect(readFileSync(join(directory, 'agent-uninstall-linux.sh'), 'utf8')).toMatch(/^#!\/bin\/sh\n/);
  });

  test('what was fetched is checked by its sum, and the list by its signature', async () => {
    const [curl] = /^curl.* -o/.exec(block('sudo ./agent-install-linux.sh'))!;
    const name = `tidemark-agent-${version}.tar.gz`;
    await shell(`${curl} ${name} ${collector.url}/documentation/downloads/${name}`);
    expect((await shell(block('sha256sum --check'))).stdout).toBe(`${name}: OK\n`);
    expect((await shell(block('openssl pkeyutl'))).stdout).toContain('Signature Verified Successfully');
    await expect(shell(`echo x >> SHA256SUMS; ${block('openssl pkeyutl').split('\n').at(-1)}`)).rejects.toThrow('Command failed');
  });

  /** Without a look at the certificate: the commands are what is tested. */
  async function fetched(url: string): Promise<string> {
    if (tls === 'off') {
      const response = await fetch(url);
      if (!response.ok) throw new Error(await response.text());
      return response.text();
    }
    return new Promise((resolve, reject) => {
      get(url, { rejectUnauthorized: false, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(text))));
      }).on('error', reject);
    });
  }
});
