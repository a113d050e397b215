/** Scripts with nothing in them that anybody else has put there, and the page that leads to them. */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Problem } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import { BASE, RUNTIME, listening, served, sha256 } from './testing.ts';

describe('a script', () => {
  test('knows where it came from, and what it may believe', async () => {
    const authority = { pem: '-----BEGIN CERTIFICATE-----\n', fingerprint: 'a'.repeat(64) };
    const { app, files } = await served({ authority });
    const answer = await app.inject({ url: `${BASE}agent-install-linux.sh`, headers: { host: 'watch.example:5055' } });
    expect(answer.headers).toMatchObject({ 'content-type': 'text/x-shellscript; charset=utf-8', 'cache-control': 'no-store' });
    const [url, key, runtimes, fingerprint, version, node] = execFileSync('sh', { input: answer.body, encoding: 'utf8' }).split('\n');
    expect([url, runtimes, fingerprint, version, node]).toEqual([
      'http://watch.example:5055',
      `${sha256(files[RUNTIME]!)} ${RUNTIME}`,
      authority.fingerprint,
      '0.1.0',
      '20.20.2',
    ]);
    expect(Buffer.from(key!, 'base64').length).toBe(32);
    const windows = await app.inject({ url: `${BASE}agent-install-windows.ps1` });
    expect(windows.headers).toMatchObject({ 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' });
    expect((await app.inject({ url: `${BASE}ca.pem` })).body).toBe(authority.pem);
  });

  test('gets the public URL with its prefix, whatever the Host says', async () => {
    const { app } = await served({ publicUrl: new URL('https://ops.example/tidemark/') });
    const { body } = await app.inject({ url: `${BASE}check-replication-status.sh`, headers: { host: "x';reboot;'" } });
    expect(body).toBe("url='https://ops.example/tidemark'\n");
  });

  test.each([
    "x';reboot;'",
    'x y',
    'x"',
    '$(reboot)',
    '`reboot`',
    'a/b',
    'a@b',
    'x:y',
    'x:123456',
    '-x',
    'é.example',
    '[::1',
    '[::1]x',
    'x\\',
    'x'.repeat(300),
  ])('gets no Host that is not one: %s', async (host) => {
    const { app } = await served();
    for (const name of ['', 'agent-install-linux.sh', 'agent-uninstall-windows.ps1']) {
      const answer = await app.inject({ url: BASE + name, headers: { host } });
      expect([answer.statusCode, answer.json<Problem>().code]).toEqual([400, 'request_malformed']);
    }
  });

  test.each(['localhost:5000', '192.168.1.10:5000', '[fe80::1]:5000', '[::1]', 'db-1.example', 'under_score', 'EXAMPLE'])(
    'gets the Host %s',
    async (host) => {
      const { app } = await served();
      expect((await app.inject({ url: `${BASE}agent-uninstall-linux.sh`, headers: { host } })).body).toBe(`url='http://${host}'\n`);
    },
  );

  test('gets the scheme that a trusted proxy names, if it is one', async () => {
    const { app } = await served({ trustedProxies: ['127.0.0.1'] });
    const get = (proto: string) =>
      app.inject({ url: `${BASE}agent-uninstall-linux.sh`, headers: { host: 'a.example', 'x-forwarded-proto': proto } });
    expect((await get('https')).body).toBe("url='https://a.example'\n");
    for (const proto of ["x'", 'javascript', 'ftp']) expect((await get(proto)).statusCode, proto).toBe(400);
    const { app: alone } = await served();
    const answer = await alone.inject({
      url: `${BASE}agent-uninstall-linux.sh`,
      headers: { host: 'a.example', 'x-forwarded-proto': 'https' },
    });
    expect(answer.body).toBe("url='http://a.example'\n");
  });

  test('without a Host gets the local address', async () => {
    const { app } = await served();
    const { port } = new URL(await listening(app));
    const text = await new Promise<string>((resolve, reject) => {
      let all = '';
      connect(Number(port), '127.0.0.1')
        .on('error', reject)
        .on('data', (chunk) => (all += chunk.toString()))
        .on('end', () => resolve(all))
        .write(`GET ${BASE}agent-uninstall-linux.sh HTTP/1.0\r\n\r\n`);
    });
    expect(text).toMatch(/\r\n\r\nurl='http:\/\/127\.0\.0\.1:5000'\n$/);
  });

  test('that this installation does not have is said', async () => {
    const { app, installersDir } = await served();
    rmSync(join(installersDir, 'windows'), { recursive: true });
    const answer = await app.inject({ url: `${BASE}agent-install-windows.ps1` });
    expect([answer.statusCode, answer.json<Problem>().detail]).toEqual([404, 'This installation has no agent-install-windows.ps1.']);
  });

  test('with a placeholder that nobody knows is not served half filled', async () => {
    const { app, installersDir } = await served();
    writeFileSync(join(installersDir, 'linux/agent-install-linux.sh'), "a='@TIDEMARK_NONSENSE@'\n");
    expect((await app.inject({ url: `${BASE}agent-install-linux.sh` })).json<Problem>().code).toBe('downloads_unavailable');
  });

  test('of certificates is there only with an authority', async () => {
    const { app } = await served();
    expect((await app.inject({ url: `${BASE}ca.pem` })).statusCode).toBe(404);
  });
});

describe('the page', () => {
  test('has the commands with the own address, every file with its sum, and nothing from elsewhere', async () => {
    const { app, files } = await served({ publicUrl: new URL('https://ops.example/tidemark') });
    const { statusCode, body, headers } = await app.inject({ url: BASE });
    expect([statusCode, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(body).toContain(
      'curl -o agent-install-linux.sh https://ops.example/tidemark/documentation/downloads/agent-install-linux.sh\nchmod +x agent-install-linux.sh\nsudo ./agent-install-linux.sh --server &quot;https://ops.example/tidemark&quot; --hostname &quot;NAME&quot; --interval 60',
    );
    expect(body).toContain(
      '.\\agent-install-windows.ps1 -Server &quot;https://ops.example/tidemark&quot; -HostName &quot;NAME&quot; -Interval 60',
    );
    for (const [name, content] of Object.entries(files)) {
      expect(body).toContain(`<a href="${name}">${name}</a>`);
      expect(body).toContain(sha256(content));
    }
    expect(body).not.toMatch(/<script|<style|\son\w+=|style=|(?:href|src)="(?:\/|https?:)/);
    const css = await app.inject({ url: `${BASE}page.css` });
    expect(css.headers['content-type']).toBe('text/css; charset=utf-8');
  });

  test('is at the address with a slash', async () => {
    const { app } = await served();
    const answer = await app.inject({ url: '/documentation/downloads' });
    expect([answer.statusCode, answer.headers.location]).toEqual([308, 'downloads/']);
  });
});
