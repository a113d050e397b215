/** What is served to machines that are to become nodes: whole files or none, resumed where they were cut, signed, and with nothing in a script that anybody else has put there. */
import { execFile, execFileSync } from 'node:child_process';
import { createPublicKey, verify } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Problem } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { testServer } from '../http/testing.ts';
import { downloadRoutes, type DownloadRoutesOptions } from './routes.ts';
import { signingKeyFile } from './signing-key.ts';
import { AGENT, RUNTIME, bytes, sha256, temporary, writeBundle, writeBundler, writeTemplates } from './testing.ts';

const run = promisify(execFile);
const BASE = '/documentation/downloads/';

interface Served {
  app: FastifyInstance;
  installersDir: string;
  bundleDir: string;
  dataDir: string;
  files: Record<string, Buffer>;
  clock: ManualClock;
}

async function served(options: Partial<DownloadRoutesOptions> & { empty?: boolean } = {}): Promise<Served> {
  const [installersDir, dataDir, clock] = [temporary(), temporary(), new ManualClock()];
  const files = options.empty ? {} : writeBundle(installersDir);
  writeTemplates(installersDir);
  const { app, logged } = await testServer({
    routes: (a) =>
      downloadRoutes(a, {
        installersDir,
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

async function listening(app: FastifyInstance): Promise<string> {
  await app.listen({ host: '127.0.0.1', port: 0 });
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
}

describe('a file of the bundle', () => {
  test('comes whole, with its size and a tag that is its sum', async () => {
    const { app, files } = await served();
    for (const [name, content] of Object.entries(files)) {
      const answer = await app.inject({ url: BASE + name });
      expect(answer.statusCode).toBe(200);
      expect(answer.rawPayload.equals(content)).toBe(true);
      expect(answer.headers).toMatchObject({
        'content-type': 'application/octet-stream',
        'content-length': String(content.length),
        'accept-ranges': 'bytes',
        etag: `"${sha256(content)}"`,
        'x-content-type-options': 'nosniff',
      });
      expect(answer.headers['content-security-policy']).toContain("default-src 'none'");
      expect((await app.inject({ url: BASE + name, headers: { 'if-none-match': answer.headers.etag as string } })).statusCode).toBe(304);
    }
  });

  test('is described without being sent', async () => {
    const { app } = await served();
    const answer = await app.inject({ method: 'HEAD', url: BASE + RUNTIME });
    expect([answer.statusCode, answer.headers['content-length'], answer.rawPayload.length]).toEqual([200, '3000000', 0]);
    const script = await app.inject({ method: 'HEAD', url: `${BASE}agent-install-linux.sh` });
    expect([script.statusCode, script.rawPayload.length]).toEqual([200, 0]);
  });

  test.each([
    ['bytes=0-9', 0, 9],
    ['bytes=2999990-', 2_999_990, 2_999_999],
    ['bytes=-10', 2_999_990, 2_999_999],
    ['bytes=2999990-9999999', 2_999_990, 2_999_999],
    ['bytes=-9999999', 0, 2_999_999],
  ])('is had in part: %s', async (range, start, end) => {
    const { app, files } = await served();
    const answer = await app.inject({ url: BASE + RUNTIME, headers: { range } });
    expect([answer.statusCode, answer.headers['content-range']]).toEqual([206, `bytes ${start}-${end}/3000000`]);
    expect(answer.headers['content-length']).toBe(String(end - start + 1));
    expect(answer.rawPayload.equals(files[RUNTIME]!.subarray(start, end + 1))).toBe(true);
  });

  test('is sent whole when the part makes no sense, or is of another file', async () => {
    const { app } = await served();
    for (const headers of [
      { range: 'bytes=5-1' },
      { range: 'lines=1-2' },
      { range: 'bytes=0-1,5-6' },
      { range: 'bytes=-' },
      { range: 'bytes=5-9', 'if-range': '"another"' },
      { range: 'bytes=5-9', 'if-range': 'Wed, 21 Oct 2026 07:28:00 GMT' },
    ]) {
      const answer = await app.inject({ url: BASE + RUNTIME, headers });
      expect([answer.statusCode, answer.rawPayload.length], JSON.stringify(headers)).toEqual([200, 3_000_000]);
    }
    for (const range of ['bytes=3000000-', 'bytes=-0']) {
      const answer = await app.inject({ url: BASE + RUNTIME, headers: { range } });
      expect([answer.statusCode, answer.headers['content-range']]).toEqual([416, 'bytes */3000000']);
      expect(answer.json<Problem>().code).toBe('range_unsatisfiable');
    }
  });

  test('that was cut is taken up again by curl, and one that is whole already stays so', async () => {
    const { app, files } = await served();
    const url = (await listening(app)) + BASE + RUNTIME;
    const file = join(temporary(), RUNTIME);
    writeFileSync(file, files[RUNTIME]!.subarray(0, 1_234_567));
    // One that is waited for would stop this process, which serves it.
    const curl = async (): Promise<string> =>
      (await run('curl', ['-sS', '--noproxy', '*', '-C', '-', '-o', file, '-w', '%{http_code} %{size_download}', url])).stdout;
    expect(await curl()).toBe(`206 ${3_000_000 - 1_234_567}`);
    expect(sha256(readFileSync(file))).toBe(sha256(files[RUNTIME]!));
    expect(await curl()).toMatch(/^416 /);
    expect(sha256(readFileSync(file))).toBe(sha256(files[RUNTIME]!));
  });

  test.each([
    'nothing.tar.gz',
    '..%2F..%2Flinux%2Fagent-install-linux.sh',
    '..%2fpackage.json',
    '%2e%2e%2fbundle%2fSHA256SUMS',
    '....//SHA256SUMS',
    '..\\..\\linux',
    '%00',
    'secret',
    'constructor',
    '__proto__',
    'sub/file',
  ])('is one of the list, or nothing: %s', async (name) => {
    const { app, bundleDir } = await served();
    writeFileSync(join(bundleDir, 'secret'), 'not listed');
    mkdirSync(join(bundleDir, 'sub'));
    writeFileSync(join(bundleDir, 'sub/file'), 'not listed');
    const { statusCode, body } = await app.inject({ url: BASE + name });
    expect([400, 401, 404]).toContain(statusCode);
    expect(body).not.toContain('not listed');
  });

  test('that is not what the list says is refused, and the others are served', async () => {
    const { app, bundleDir, files } = await served();
    const wrong = Buffer.from(files[AGENT]!);
    wrong[17]! ^= 1;
    writeFileSync(join(bundleDir, AGENT), wrong);
    const answer = await app.inject({ url: BASE + AGENT });
    expect([answer.statusCode, answer.json<Problem>().code]).toEqual([503, 'downloads_unavailable']);
    expect(answer.json<Problem>().detail).toBe(`${AGENT} is not what SHA256SUMS says, and so is not served.`);
    expect((await app.inject({ url: BASE + RUNTIME })).statusCode).toBe(200);
    expect((await app.inject({ url: BASE })).body).toContain('is not what SHA256SUMS says');
  });

  test('that changes after it was checked is checked again before anything of it is sent', async () => {
    const { app, bundleDir, files } = await served();
    expect((await app.inject({ url: BASE + AGENT })).statusCode).toBe(200);
    const wrong = Buffer.from(files[AGENT]!);
    wrong[17]! ^= 1;
    writeFileSync(join(bundleDir, AGENT), wrong);
    utimesSync(join(bundleDir, AGENT), new Date(), new Date(Date.now() + 5_000));
    const changed = await app.inject({ url: BASE + AGENT });
    expect([changed.statusCode, changed.json<Problem>().code]).toEqual([503, 'downloads_preparing']);
    expect((await app.inject({ url: BASE + AGENT })).json<Problem>().code).toBe('downloads_unavailable');
  });

  test('of a new bundle is served without a restart', async () => {
    const { app, installersDir } = await served();
    expect((await app.inject({ url: `${BASE}release.json` })).json<{ version: string }>().version).toBe('0.1.0');
    const files = writeBundle(installersDir, { [AGENT]: bytes(700, 9) }, '0.2.0');
    expect((await app.inject({ url: `${BASE}release.json` })).json<{ version: string }>().version).toBe('0.2.0');
    expect((await app.inject({ url: BASE + AGENT })).rawPayload.equals(files[AGENT]!)).toBe(true);
  });

  test.each<[string, (bundleDir: string) => void, RegExp]>([
    ['are cut off', (dir) => writeFileSync(join(dir, 'SHA256SUMS'), readFileSync(join(dir, 'SHA256SUMS')).subarray(0, -5)), /cut off/],
    [
      'disagree',
      (dir) => writeFileSync(join(dir, 'release.json'), readFileSync(join(dir, 'release.json'), 'utf8').replace('0.1.0"', '0.1.1"')),
      /release\.json is not what SHA256SUMS says/,
    ],
    ['are no JSON', (dir) => writeFileSync(join(dir, 'release.json'), '<html>'), /release\.json is not JSON/],
    ['name a path', (dir) => writeFileSync(join(dir, 'SHA256SUMS'), `${'0'.repeat(64)}  ../../linux/x\n`), /is not a sum and a name/],
    ['are a directory', (dir) => (rmSync(join(dir, 'SHA256SUMS')), mkdirSync(join(dir, 'SHA256SUMS'))), /cannot be read/],
  ])('is not served when the lists %s', async (_, damage, sentence) => {
    const { app, bundleDir } = await served();
    damage(bundleDir);
    const problem = (await app.inject({ url: BASE + AGENT })).json<Problem>();
    expect(problem.code).toBe('downloads_unavailable');
    expect(problem.detail).toMatch(sentence);
    expect(problem.detail).toMatch(/Install the collector again\.$/);
  });

  test('may lie behind a link', async () => {
    const { app, bundleDir, files } = await served();
    const elsewhere = join(temporary(), 'runtime');
    writeFileSync(elsewhere, files[RUNTIME]!);
    rmSync(join(bundleDir, RUNTIME));
    symlinkSync(elsewhere, join(bundleDir, RUNTIME));
    expect((await app.inject({ url: BASE + RUNTIME })).statusCode).toBe(200);
  });
});

describe('the signature', () => {
  test('over SHA256SUMS holds, for Node.js and for OpenSSL, with the key that the scripts carry', async () => {
    const { app, dataDir } = await served();
    const sums = (await app.inject({ url: `${BASE}SHA256SUMS` })).rawPayload;
    const signature = (await app.inject({ url: `${BASE}SHA256SUMS.sig` })).rawPayload;
    const key = /key='([^']+)'/.exec((await app.inject({ url: `${BASE}agent-install-linux.sh` })).body)![1]!;
    expect(signature.length).toBe(64);
    const x = Buffer.from(key, 'base64').toString('base64url');
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    expect(verify(null, sums, publicKey, signature)).toBe(true);
    expect(verify(null, Buffer.concat([sums, Buffer.from('\n')]), publicKey, signature)).toBe(false);

    // As the page tells people to.
    const page = (await app.inject({ url: BASE })).body;
    const pem = /-----BEGIN PUBLIC KEY-----[^&<]+-----END PUBLIC KEY-----/.exec(page)![0];
    const directory = temporary();
    writeFileSync(join(directory, 'tidemark-downloads.pem'), `${pem}\n`);
    writeFileSync(join(directory, 'SHA256SUMS'), sums);
    writeFileSync(join(directory, 'SHA256SUMS.sig'), signature);
    const openssl = (): string =>
      execFileSync(
        'openssl',
        'pkeyutl -verify -pubin -inkey tidemark-downloads.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig'.split(' '),
        { cwd: directory, encoding: 'utf8', stdio: 'pipe' },
      );
    expect(openssl()).toContain('Signature Verified Successfully');
    writeFileSync(join(directory, 'SHA256SUMS'), Buffer.concat([sums, Buffer.from('x')]));
    expect(openssl).toThrow(/Signature Verification Failure|Command failed/);
    expect(statSync(signingKeyFile(dataDir)).mode & 0o777).toBe(0o600);
  });

  test('cannot be had with a damaged key, which is left as it is; with the key put back it can, without a restart', async () => {
    const { app, dataDir } = await served();
    writeFileSync(signingKeyFile(dataDir), 'half a key');
    for (const name of ['SHA256SUMS.sig', 'agent-install-windows.ps1']) {
      const answer = await app.inject({ url: BASE + name });
      expect([answer.statusCode, answer.json<Problem>().code], name).toEqual([503, 'downloads_unavailable']);
      expect(answer.body).not.toContain(dataDir);
    }
    expect((await app.inject({ url: BASE })).statusCode).toBe(200);
    expect(readFileSync(signingKeyFile(dataDir), 'utf8')).toBe('half a key');
    rmSync(signingKeyFile(dataDir));
    expect((await app.inject({ url: `${BASE}SHA256SUMS.sig` })).rawPayload.length).toBe(64);
  });
});

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

describe('made on demand', () => {
  const waits = { scriptMs: 20, fileMs: 20 };

  test('in a checkout: how far it is is told meanwhile, and then it is served', async () => {
    const { app, installersDir } = await served({ empty: true, waits });
    const scratch = temporary();
    const files = writeBundle(scratch);
    const go = join(scratch, 'go');
    writeBundler(
      installersDir,
      `progress(42.7, 'packing linux-x64');
       const timer = setInterval(() => {
         if (!fs.existsSync(${JSON.stringify(go)})) return;
         clearInterval(timer);
         fs.cpSync(${JSON.stringify(join(scratch, 'dist/bundle'))}, out, { recursive: true });
       }, 10);`,
    );
    await vi.waitFor(async () => {
      const answer = await app.inject({ url: BASE + RUNTIME });
      expect([answer.statusCode, answer.headers['retry-after'], answer.json<Problem>().detail]).toEqual([
        503,
        '5',
        'The collector is preparing its downloads: 42 %, packing linux-x64.',
      ]);
    });
    const script = await app.inject({ url: `${BASE}agent-install-linux.sh` });
    expect([script.statusCode, script.headers['content-type'], script.headers['retry-after']]).toEqual([
      503,
      'text/x-shellscript; charset=utf-8',
      '5',
    ]);
    expect(runScript(script.body)).toEqual({
      code: 14,
      err: 'The collector is preparing its downloads: 42 %, packing linux-x64. Fetch agent-install-linux.sh again later; http://localhost:80/documentation/downloads/ shows how it stands.\n',
    });
    expect((await app.inject({ url: `${BASE}agent-uninstall-linux.sh` })).statusCode).toBe(200);
    const page = (await app.inject({ url: BASE })).body;
    expect(page).toContain('<progress max="100" value="42">');
    expect(page).toContain('Look again');
    writeFileSync(go, '');
    await vi.waitFor(async () => expect((await app.inject({ url: BASE + RUNTIME })).rawPayload.equals(files[RUNTIME]!)).toBe(true), 10_000);
    expect((await app.inject({ url: BASE })).body).not.toContain('Look again');
  });

  test('a script is waited for', async () => {
    const { app, installersDir } = await served({ empty: true });
    const scratch = temporary();
    writeBundle(scratch);
    writeBundler(installersDir, `progress(1, 'x'); fs.cpSync(${JSON.stringify(join(scratch, 'dist/bundle'))}, out, { recursive: true });`);
    expect((await app.inject({ url: `${BASE}agent-install-linux.sh` })).statusCode).toBe(200);
  });

  test('once at a time, however many ask; and what went wrong is told for a minute before it is tried again', async () => {
    const { app, installersDir, clock } = await served({ empty: true });
    const runs = join(temporary(), 'runs');
    writeBundler(
      installersDir,
      `fs.appendFileSync(${JSON.stringify(runs)}, 'x'); console.error('  at noise\\ntidemark-installers: There is no room left.'); process.exit(1);`,
    );
    const ask = (): Promise<Problem[]> =>
      Promise.all([AGENT, RUNTIME, 'SHA256SUMS'].map(async (name) => (await app.inject({ url: BASE + name })).json<Problem>()));
    await vi.waitFor(async () => {
      for (const { code, detail } of await ask()) expect([code, detail]).toEqual(['downloads_unavailable', 'There is no room left.']);
    }, 10_000);
    clock.advance(59_000);
    const answer = await app.inject({ url: BASE + AGENT });
    expect([answer.json<Problem>().code, answer.headers['retry-after']]).toEqual(['downloads_unavailable', '1']);
    expect((await app.inject({ url: BASE })).body).toContain('There is no room left.');
    expect(readFileSync(runs, 'utf8')).toBe('x');
    clock.advance(1_000);
    await vi.waitFor(async () => {
      await ask();
      expect(readFileSync(runs, 'utf8')).toBe('xx');
    }, 10_000);
  });

  test('a bundler that leaves out a file has failed', async () => {
    const { app, installersDir } = await served({ empty: true, waits: { scriptMs: 20_000, fileMs: 20_000 } });
    const scratch = temporary();
    writeBundle(scratch);
    rmSync(join(scratch, 'dist/bundle', RUNTIME));
    writeBundler(installersDir, `fs.cpSync(${JSON.stringify(join(scratch, 'dist/bundle'))}, out, { recursive: true });`);
    const problem = (await app.inject({ url: BASE + AGENT })).json<Problem>();
    expect(problem.code).toBe('downloads_unavailable');
    expect(problem.detail).toMatch(
      new RegExp(`^The downloads are not whole: ${RUNTIME} is not in .* \\(ENOENT\\)\\. Delete .*, and they are made anew\\.$`),
    );
  });

  test('is stopped with the collector, and who waits for it is answered', async () => {
    const { app, installersDir } = await served({ empty: true });
    const pid = join(temporary(), 'pid');
    writeBundler(
      installersDir,
      `fs.writeFileSync(${JSON.stringify(`${pid}.new`)}, String(process.pid)); fs.renameSync(${JSON.stringify(`${pid}.new`)}, ${JSON.stringify(pid)}); setInterval(() => {}, 1000);`,
    );
    const url = await listening(app);
    const waiting = new Promise<number>((resolve, reject) => {
      httpRequest(`${url}${BASE}agent-install-linux.sh`, { agent: false }, (response) => resolve(response.resume().statusCode!))
        .on('error', reject)
        .end();
    });
    await vi.waitFor(() => expect(readFileSync(pid, 'utf8')).not.toBe(''), 10_000);
    await app.close();
    expect(await waiting).toBe(503);
    expect(() => process.kill(Number(readFileSync(pid, 'utf8')), 0)).toThrow(/ESRCH/);
  });

  test('never in a release, which has them or says that it has lost them', async () => {
    const { app } = await served({ empty: true });
    const problem = (await app.inject({ url: BASE + AGENT })).json<Problem>();
    expect([problem.code, problem.status]).toEqual(['downloads_unavailable', 503]);
    expect(problem.detail).toMatch(/^This installation was shipped without its downloads, or has lost them: .*\. Install it again\.$/);
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

function runScript(text: string): { code: number; err: string } {
  try {
    execFileSync('sh', ['-s'], { input: text, encoding: 'utf8', stdio: 'pipe' });
    return { code: 0, err: '' };
  } catch (error) {
    const { status, stderr } = error as { status: number; stderr: string };
    return { code: status, err: stderr };
  }
}

/** Whether this process has the file open. */
const isOpen = (file: string): boolean =>
  readdirSync('/proc/self/fd').some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === file;
    } catch {
      return false;
    }
  });

describe('a client', () => {
  test('that hangs up holds no file', async () => {
    const { app, bundleDir, installersDir } = await served();
    writeBundle(installersDir, { [RUNTIME]: Buffer.alloc(40_000_000) });
    const url = await listening(app);
    await new Promise<void>((resolve, reject) => {
      httpRequest(url + BASE + RUNTIME, (response) => {
        response.once('data', () => {
          expect(isOpen(join(bundleDir, RUNTIME))).toBe(true);
          response.destroy();
          resolve();
        });
      })
        .on('error', reject)
        .end();
    });
    await vi.waitFor(() => expect(isOpen(join(bundleDir, RUNTIME))).toBe(false), 5_000);
  });

  test('that takes nothing for long is let go, and one that is slow is not', async () => {
    const { app, bundleDir, installersDir } = await served({ waits: { stalledMs: 400 } });
    writeBundle(installersDir, { [RUNTIME]: Buffer.alloc(40_000_000) });
    const url = await listening(app);
    const file = join(bundleDir, RUNTIME);
    const begin = (): Promise<IncomingMessage> =>
      new Promise((resolve, reject) =>
        httpRequest(url + BASE + RUNTIME, { agent: false }, resolve)
          .on('error', reject)
          .end(),
      );
    const idle = await begin();
    const cut = new Promise<Error>((resolve) => idle.once('error', resolve));
    idle.pause();
    expect(isOpen(file)).toBe(true);
    await vi.waitFor(() => expect(isOpen(file)).toBe(false), 5_000);
    idle.resume();
    expect((await cut).message).toBe('aborted');

    const slow = await begin();
    let takenBytes = 0;
    const began = performance.now();
    for await (const chunk of slow as AsyncIterable<Buffer>) {
      takenBytes += chunk.length;
      // Longer altogether than the bound of standing still.
      const due = (takenBytes / 40_000_000) * 1_200 - (performance.now() - began);
      if (due > 20) await new Promise((resolve) => setTimeout(resolve, due));
    }
    expect(takenBytes).toBe(40_000_000);
    expect(performance.now() - began).toBeGreaterThan(1_000);
  });
});
