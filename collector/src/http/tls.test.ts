/** HTTPS as clients meet it, over real sockets: who is trusted, what a renewal does to open connections, who needs a certificate, and what plain HTTP hears. */
import { execFile } from 'node:child_process';
import { X509Certificate, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { ENROLL_PATH } from '@tidemark/protocol';
import { ManualClock } from '@tidemark/service';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { AGENT_TOKEN, READ_TOKEN, testServer, type TestServer } from './testing.ts';
import { TestAuthority, type IssuedCertificate } from './tls-testing.ts';
import { NO_TLS, ServedTls, checkTlsFiles, localTrust, openTls, type TlsSettings } from './tls.ts';

const DAY_MS = 86_400_000;
const run = promisify(execFile);

let directory: string;
let clock: ManualClock;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-tls-'));
  // Real clients judge by the real time.
  clock = new ManualClock(Date.now());
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
});

function write(name: string, content: string): string {
  const file = join(directory, name);
  writeFileSync(file, content);
  return file;
}

interface Served extends TestServer {
  tls: ServedTls;
  port: number;
  logged: () => string;
}

/** The real server on a port that the system gives. */
async function served(settings: Partial<TlsSettings> & { publicHost?: string }, routes?: (app: FastifyInstance) => void): Promise<Served> {
  let log = '';
  const tls = openTls({
    tls: 'self-made',
    tlsCert: undefined,
    tlsKey: undefined,
    tlsClientCa: undefined,
    dataDir: directory,
    clock,
    random: randomBytes,
    names: () => ['localhost', '127.0.0.1'],
    hostname: 'db-1',
    publicHost: undefined,
    log: pino({ level: 'info' }, { write: (line) => void (log += line) }),
    ...settings,
  });
  const server = await testServer({ tls, ...(routes === undefined ? {} : { routes }) });
  await server.app.listen({ host: '127.0.0.1', port: 0 });
  return { ...server, tls: tls!, port: (server.app.server.address() as AddressInfo).port, logged: () => log };
}

const files = (issued: IssuedCertificate): Pick<TlsSettings, 'tls' | 'tlsCert' | 'tlsKey'> => ({
  tls: 'files',
  tlsCert: write('cert.pem', issued.cert),
  tlsKey: write('key.pem', issued.key),
});

/** Looks as the collector does every few seconds: what has changed is taken up once it stands still. */
function settle(tls: ServedTls): void {
  tls.look();
  tls.look();
}

interface Asked {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** Of the certificate that the server has shown. */
  serial: string;
  localPort: number;
}

interface Ask {
  path?: string;
  ca?: string | undefined;
  client?: IssuedCertificate | undefined;
  method?: string;
  token?: string;
  body?: string;
  agent?: Agent;
}

function ask(port: number, { path = '/read', ca, client, method = 'GET', token = READ_TOKEN, body, agent }: Ask): Promise<Asked> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
    const outgoing = request(
      { host: '127.0.0.1', port, path, method, headers, ca, ...client, agent: agent ?? false, timeout: 5_000 },
      (response) => {
        const socket = response.socket as TLSSocket;
        const { serialNumber } = socket.getPeerCertificate();
        const { localPort = 0 } = socket;
        text(response).then(
          (all) => resolve({ status: response.statusCode!, headers: response.headers, text: all, serial: serialNumber, localPort }),
          reject,
        );
      },
    );
    outgoing.on('error', reject).on('timeout', () => outgoing.destroy(new Error('no answer')));
    outgoing.end(body);
  });
}

const codeOf = async (asked: Promise<Asked>): Promise<string> => {
  try {
    return String((await asked).status);
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
};

function keptAlive(): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0 });
  onTestFinished(() => agent.destroy());
  return agent;
}

/** Everything that comes over a plain connection until it ends. */
async function plainly(port: number, sent: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  if (sent !== '') socket.write(sent);
  return text(socket);
}

describe('who is trusted', () => {
  test('a client that has pinned the self-made authority connects; one that trusts another, or the public ones, does not', async () => {
    const { port, tls } = await served({});
    expect((await ask(port, { ca: tls.caPem })).text).toBe('{"read":true}');
    expect(await codeOf(ask(port, { ca: new TestAuthority().caPem }))).toBe('SELF_SIGNED_CERT_IN_CHAIN');
    expect(await codeOf(ask(port, {}))).toBe('SELF_SIGNED_CERT_IN_CHAIN');
  });

  test('curl with the authority, and curl with the pinned key', async () => {
    const { port, tls } = await served({});
    const ca = write('ca.pem', tls.caPem!);
    const url = `https://localhost:${port}/read`;
    const authorization = ['-sS', '--max-time', '10', '-H', `Authorization: Bearer ${READ_TOKEN}`];
    expect((await run('curl', [...authorization, '--cacert', ca, url])).stdout).toBe('{"read":true}');
    expect((await run('curl', [...authorization, '-k', '--pinnedpubkey', tls.pinnedKey!, url])).stdout).toBe('{"read":true}');
    const another = write('another.pem', new TestAuthority().caPem);
    await expect(run('curl', [...authorization, '--cacert', another, url])).rejects.toMatchObject({ code: 60 });
    const wrongPin = `sha256//${randomBytes(32).toString('base64')}`;
    await expect(run('curl', [...authorization, '-k', '--pinnedpubkey', wrongPin, url])).rejects.toMatchObject({ code: 90 });
  });

  test('openssl s_client agrees, down to TLS 1.2 and no further', async () => {
    const { port, tls } = await served({});
    const ca = write('ca.pem', tls.caPem!);
    const shown = async (version: string): Promise<string> => {
      const child = run('openssl', [
        's_client',
        '-connect',
        `127.0.0.1:${port}`,
        '-CAfile',
        ca,
        '-verify_return_error',
        '-verify_ip',
        '127.0.0.1',
        version,
        '-cipher',
        'ALL:@SECLEVEL=0',
      ]);
      child.child.stdin!.end();
      return child.then(
        ({ stdout }) => stdout,
        (error: { stdout: string; stderr: string }) => error.stdout + error.stderr,
      );
    };
    expect(await shown('-tls1_3')).toMatch(/New, TLSv1\.3[^]*Verify return code: 0 \(ok\)/);
    expect(await shown('-tls1_2')).toMatch(/New, TLSv1\.2[^]*Verify return code: 0 \(ok\)/);
    expect(await shown('-tls1_1')).toMatch(/alert protocol version|no protocols available|unsupported protocol/);
  });

  test('who knows the fingerprint alone finds the authority in what is shown', async () => {
    const { port, tls } = await served({});
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
    onTestFinished(() => void socket.destroy());
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    const { issuerCertificate } = socket.getPeerCertificate(true);
    expect(issuerCertificate.fingerprint256.replaceAll(':', '').toLowerCase()).toBe(tls.fingerprint);
  });

  test("an operator's chain", async () => {
    const authority = new TestAuthority();
    const { port, tls } = await served(files(authority.issue(['localhost', '127.0.0.1'])));
    expect((await ask(port, { ca: authority.caPem })).status).toBe(200);
    expect([tls.kind, tls.fingerprint, tls.caPem, tls.pinnedKey]).toEqual(['files', undefined, undefined, undefined]);
  });
});

describe('what changes while it runs', () => {
  test('renewed files are shown to new connections; one that is kept alive goes on', async () => {
    const authority = new TestAuthority();
    const { port, tls } = await served(files(authority.issue(['127.0.0.1'])));
    const agent = keptAlive();
    const ca = authority.caPem;
    const before = await ask(port, { ca, agent });
    const renewed = authority.issue(['127.0.0.1']);
    files(renewed);
    settle(tls);
    const kept = await ask(port, { ca, agent });
    expect([kept.status, kept.localPort, kept.serial]).toEqual([200, before.localPort, before.serial]);
    const fresh = await ask(port, { ca });
    expect(fresh.serial).toBe(new X509Certificate(renewed.cert).serialNumber);
    expect(fresh.serial).not.toBe(before.serial);
  });

  test('a broken renewal changes nothing but what is said, once, and how the collector is; a good one ends that', async () => {
    const authority = new TestAuthority();
    const { port, tls, logged } = await served(files(authority.issue(['127.0.0.1'], { notAfterMs: Date.now() + 60 * DAY_MS })));
    const { serial } = await ask(port, { ca: authority.caPem });
    write('cert.pem', authority.issue(['127.0.0.1']).cert);
    for (let look = 0; look < 5; look++) tls.look();
    expect((await ask(port, { ca: authority.caPem })).serial).toBe(serial);
    expect(tls.health()).toEqual({
      status: 'degraded',
      detail: expect.stringMatching(/does not belong to the certificate.* is served on, until \d{4}-/) as string,
    });
    expect(logged().match(/TLS: tlsKey: the key in .* does not belong/g)).toHaveLength(1);
    files(authority.issue(['127.0.0.1'], { notAfterMs: Date.now() + 90 * DAY_MS }));
    settle(tls);
    expect(tls.health().status).toBe('healthy');
    expect((await ask(port, { ca: authority.caPem })).serial).not.toBe(serial);
  });

  test('a self-made certificate is renewed by the clock, for the same key, without a restart', async () => {
    const { port, tls } = await served({});
    const agent = keptAlive();
    const ca = tls.caPem;
    const { pinnedKey } = tls;
    const before = await ask(port, { ca, agent });
    clock.advance(61 * DAY_MS);
    tls.look();
    // It is good from two days before that on; a client of that time judges it so.
    const made = new X509Certificate(readFileSync(join(directory, 'tls-certificate.pem')));
    expect(Date.parse(made.validTo)).toBeGreaterThan(clock.wallMs() + 89 * DAY_MS);
    expect((await ask(port, { ca, agent })).localPort).toBe(before.localPort);
    await expect(ask(port, { ca })).rejects.toMatchObject({ code: 'CERT_NOT_YET_VALID' });
    const pinned = await run('curl', [
      '-sS',
      '-k',
      '--pinnedpubkey',
      pinnedKey!,
      '-H',
      `Authorization: Bearer ${READ_TOKEN}`,
      `https://127.0.0.1:${port}/read`,
    ]);
    expect(pinned.stdout).toBe('{"read":true}');
    expect(tls.health()).toEqual({
      status: 'healthy',
      detail: expect.stringContaining(new Date(Date.parse(made.validTo)).toISOString().slice(0, 10)) as string,
    });
  });

  test('the timer looks by itself, and ends', async () => {
    const authority = new TestAuthority();
    const { port, tls } = await served(files(authority.issue(['127.0.0.1'])));
    const { serial } = await ask(port, { ca: authority.caPem });
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const end = tls.watch();
    files(authority.issue(['127.0.0.1']));
    vi.advanceTimersByTime(6_000);
    expect((await ask(port, { ca: authority.caPem })).serial).not.toBe(serial);
    end();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('one that expired before the start is shown, for a collector that does not run pages nobody; a renewed one follows', async () => {
    const authority = new TestAuthority();
    const age = { notBeforeMs: clock.wallMs() - 90 * DAY_MS, notAfterMs: clock.wallMs() - DAY_MS };
    const { tls, logged } = await served(files(authority.issue(['127.0.0.1'], age)));
    tls.look();
    expect(tls.health()).toEqual({ status: 'unhealthy', detail: expect.stringMatching(/has expired on/) as string });
    expect(logged()).toMatch(/TLS: the certificate has expired on/);
  });

  test('health tells of an end before it comes', async () => {
    const authority = new TestAuthority();
    const { tls, logged } = await served(files(authority.issue(['127.0.0.1'], { notAfterMs: clock.wallMs() + 30 * DAY_MS })));
    expect(tls.health().status).toBe('healthy');
    clock.advance(17 * DAY_MS);
    expect(tls.health()).toEqual({ status: 'degraded', detail: expect.stringMatching(/expires on .*: renew it/) as string });
    clock.advance(14 * DAY_MS);
    expect(tls.health()).toEqual({ status: 'unhealthy', detail: expect.stringMatching(/has expired on/) as string });
    for (let look = 0; look < 3; look++) tls.look();
    expect(logged().match(/TLS: the certificate has expired on/g)).toHaveLength(1);
    const own = await served({ dataDir: mkdtempSync(join(directory, 'own-')) });
    clock.advance(3_500 * DAY_MS);
    own.tls.look();
    expect(own.tls.health()).toEqual({ status: 'degraded', detail: expect.stringMatching(/own authority ends on/) as string });
  });
});

describe('mutual TLS', () => {
  const REPORT = JSON.stringify({});

  async function mutual() {
    const clients = new TestAuthority('Agents CA');
    const world = await served({ tlsClientCa: write('clients.pem', clients.caPem) }, (app) => {
      app.post(ENROLL_PATH, { config: { access: 'public' }, handler: async () => ({ enrolled: true }) });
    });
    const client = clients.issue(['agent-1'], { purpose: 'client' });
    const report = (more: Ask = {}) =>
      ask(world.port, { ca: world.tls.caPem, path: '/echo', method: 'POST', token: AGENT_TOKEN, body: REPORT, ...more });
    return { ...world, clients, client, report };
  }

  test('an agent reports and joins with a certificate of that authority', async () => {
    const { port, tls, client, report } = await mutual();
    expect((await report({ client })).status).toBe(200);
    expect((await ask(port, { ca: tls.caPem, client, path: ENROLL_PATH, method: 'POST', body: '{}' })).text).toBe('{"enrolled":true}');
  });

  test.each<[string, (clients: TestAuthority) => IssuedCertificate | undefined, RegExp]>([
    ['none', () => undefined, /none was shown\. Set certFile and keyFile on the agent\.$/],
    ['one of another authority', () => new TestAuthority().issue(['agent-1'], { purpose: 'client' }), /is not accepted: UNABLE_TO_/],
    [
      'one that has expired',
      (clients) => clients.issue(['agent-1'], { purpose: 'client', notBeforeMs: Date.now() - 2 * DAY_MS, notAfterMs: Date.now() - DAY_MS }),
      /is not accepted: CERT_HAS_EXPIRED/,
    ],
    ["a server's", (clients) => clients.issue(['agent-1']), /is not accepted: INVALID_PURPOSE/],
  ])('with %s it is told so, before its credential is looked at', async (_, certificateOf, sentence) => {
    const { port, tls, clients, report } = await mutual();
    const client = certificateOf(clients);
    const answer = await report({ client });
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.text)).toMatchObject({ code: 'client_certificate_needed', detail: expect.stringMatching(sentence) as string });
    expect(answer.headers['retry-after']).toBe('60');
    expect((await report({ client, token: 'tma_unknown' })).status).toBe(403);
    expect((await ask(port, { ca: tls.caPem, client, path: ENROLL_PATH, method: 'POST', body: '{}' })).status).toBe(403);
  });

  test('people and programs need none', async () => {
    const { port, tls } = await mutual();
    expect((await ask(port, { ca: tls.caPem })).status).toBe(200);
    expect((await ask(port, { ca: tls.caPem, path: '/api/session' })).status).toBe(200);
  });

  test('when the authority is replaced, connections that it had let in do not report any more', async () => {
    const { tls, client, report } = await mutual();
    const agent = keptAlive();
    const first = await report({ client, agent });
    expect((await report({ client, agent })).localPort).toBe(first.localPort);
    const successor = new TestAuthority('Agents CA 2');
    write('clients.pem', successor.caPem);
    settle(tls);
    await expect(report({ client, agent })).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect((await report({ client })).status).toBe(403);
    expect((await report({ client: successor.issue(['agent-1'], { purpose: 'client' }) })).status).toBe(200);
  });

  test('authorities that cannot be used are not taken up, and health says so', async () => {
    const { tls, client, report } = await mutual();
    write('clients.pem', client.cert);
    settle(tls);
    expect(tls.health()).toEqual({
      status: 'degraded',
      detail: expect.stringMatching(/is not the certificate of an authority.*hold on\.$/) as string,
    });
    expect((await report({ client })).status).toBe(200);
  });

  test("a renewed certificate of the server's alone cuts no agent off", async () => {
    const { tls, client, report } = await mutual();
    const agent = keptAlive();
    const first = await report({ client, agent });
    clock.advance(61 * DAY_MS);
    tls.look();
    expect(await report({ client, agent })).toMatchObject({ status: 200, localPort: first.localPort });
  });
});

describe('what is not TLS', () => {
  const SENTENCE = 'This port speaks HTTPS, and this request came as plain HTTP: write https:// in the address.\n';

  test('a plain request is answered with one sentence', async () => {
    const { port } = await served({});
    const answer = await plainly(port, 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\nContent-Type: text\/plain; charset=utf-8\r\n/);
    expect(answer.split('\r\n\r\n')[1]).toBe(SENTENCE);
  });

  test('so is one that brings more than is read, and curl understands it', async () => {
    const { port } = await served({});
    const body = write('body', 'x'.repeat(8_000_000));
    const { stdout } = await run('curl', [
      '-sS',
      '--max-time',
      '10',
      '--data-binary',
      `@${body}`,
      `http://127.0.0.1:${port}/api/telemetry/v1/reports`,
    ]);
    expect(stdout).toBe(SENTENCE);
  });

  test('bytes that are neither, a connection without a word and one that is cut end without harm to the next', async () => {
    const { port, tls } = await served({});
    expect(await plainly(port, '\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007')).not.toContain('HTTP');
    const silent: Socket = connect(port, '127.0.0.1');
    await new Promise((resolve) => silent.once('connect', resolve));
    silent.destroy();
    const reset = connect(port, '127.0.0.1');
    await new Promise((resolve) => reset.once('connect', resolve));
    reset.write('\u0016\u0003\u0001');
    reset.resetAndDestroy();
    expect((await ask(port, { ca: tls.caPem })).status).toBe(200);
  });

  test('the first bytes of a handshake may come one by one', async () => {
    const { port, tls } = await served({});
    const plain = connect({ port, host: '127.0.0.1', noDelay: true });
    const byByte = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _, done) => {
        for (const byte of chunk) plain.write(Buffer.from([byte]));
        done();
      },
      final: (done) => (plain.end(), done()),
    });
    plain.on('data', (chunk) => byByte.push(chunk)).on('end', () => byByte.push(null));
    onTestFinished(() => void plain.destroy());
    const socket = connectTls({ socket: byByte, ca: tls.caPem, servername: 'localhost' });
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    socket.write('GET /health-of-nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 401 /);
  });

  test('a connection that has never said anything does not hold up the end', async () => {
    const { app, port } = await served({});
    const silent = connect(port, '127.0.0.1');
    await new Promise((resolve) => silent.once('connect', resolve));
    const closed = new Promise((resolve) => silent.once('close', resolve));
    silent.on('error', () => {});
    const startedMs = performance.now();
    await app.close();
    await closed;
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });
});

test('sessions are for https alone', async () => {
  const { port, tls, adminToken } = await served({});
  const signIn = await ask(port, { ca: tls.caPem, path: '/api/session', method: 'POST', body: JSON.stringify({ token: adminToken() }) });
  expect(signIn.status).toBe(204);
  expect(signIn.headers['set-cookie']).toEqual([expect.stringMatching(/HttpOnly; Secure; SameSite=Strict$/)]);
  // Browsers that were told to would leave no way around a certificate that they do not know.
  expect(signIn.headers['strict-transport-security']).toBe(undefined);
});

test('what a client on this machine trusts', () => {
  const settings: TlsSettings = { tls: 'off', tlsCert: undefined, tlsKey: undefined, tlsClientCa: undefined, dataDir: '/data' };
  expect(localTrust(settings)).toBe(undefined);
  expect(localTrust({ ...settings, tls: 'self-made' })).toEqual({ file: '/data/tls-authority.pem', exact: false });
  expect(localTrust({ ...settings, tls: 'files', tlsCert: '/c', tlsKey: '/k' })).toEqual({ file: '/c', exact: true });
});

test('without TLS nothing is opened; files are checked without being served', () => {
  const settings: TlsSettings = { tls: 'off', tlsCert: '/none', tlsKey: '/none', tlsClientCa: '/none', dataDir: directory };
  expect(
    openTls({
      ...settings,
      clock,
      random: randomBytes,
      names: () => [],
      hostname: '',
      publicHost: undefined,
      log: pino({ level: 'silent' }),
    }),
  ).toBe(undefined);
  expect(NO_TLS.https).toBe(false);
  expect(() => checkTlsFiles(settings, clock)).not.toThrow();
  expect(() => checkTlsFiles({ ...settings, tls: 'files' }, clock)).toThrow('tlsCert: /none cannot be read');
  expect(() => checkTlsFiles({ ...settings, tls: 'self-made' }, clock)).toThrow('tlsClientCa: /none cannot be read');
});

test('what is odd is said at the start: a key for all to read, a certificate for another name', async () => {
  const odd = await served({ ...files(new TestAuthority().issue(['other.example'])), publicHost: 'monitor.example' });
  expect(odd.logged()).toContain('the certificate is not for the name in --public-url');
  expect(odd.logged()).toContain('every user of this machine can read the private key');
});
