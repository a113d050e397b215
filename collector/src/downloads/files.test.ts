/** What a machine downloads: whole files or none, resumed where they were cut, signed; and clients that are not well behaved. */
import { execFile, execFileSync } from 'node:child_process';
import { createPublicKey, verify } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Problem } from '@tidemark/protocol';
import { describe, expect, test, vi } from 'vitest';
import { signingKeyFile } from './signing-key.ts';
import { AGENT, BASE, RUNTIME, bytes, listening, served, sha256, temporary, writeBundle } from './testing.ts';

const run = promisify(execFile);

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

  test('that has gone before its answer takes nobody else’s place', async () => {
    const { app, bundleDir } = await served();
    const url = await listening(app);
    const { port } = new URL(url);
    const arrived = { requests: 0 };
    app.server.on('request', () => (arrived.requests += 1));
    // More than may be under way at once; of some the reset is quicker than the request.
    while (arrived.requests < 300) {
      await new Promise<void>((resolve) => {
        const socket = connect(Number(port), '127.0.0.1', () => {
          socket.write(`GET ${BASE}${RUNTIME} HTTP/1.1\r\nhost: x\r\n\r\n`, () => socket.resetAndDestroy());
        });
        socket.on('error', () => {}).once('close', () => resolve());
      });
    }
    await vi.waitFor(async () => {
      const answer = await fetch(url + BASE + RUNTIME);
      await answer.arrayBuffer();
      expect(answer.status).toBe(200);
    }, 5_000);
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
