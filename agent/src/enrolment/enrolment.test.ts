import { createHash, X509Certificate } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { ENROLL_PATH, formatEnrolment, problem, type EnrollAnswer, type EnrollRequest, type ProblemCode } from '@tidemark/protocol';
import { createLog, EXIT } from '@tidemark/service';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { agentConfig, type AgentConfig, type AgentOptionValues } from '../config.ts';
import { createConnections } from '../uplink/connections.ts';
import { authorityIn, AUTHORITY_PATH, fetchAuthority, hasAuthority } from './authority.ts';
import { askOnce, patiently, type Asked } from './exchange.ts';
import { membershipOf, type Membership } from './joining.ts';
import { machineHash } from './machine.ts';
import { forgetMove, keepMove, readMove } from './moved.ts';
import { hashOf, keepSecret, makeSecret, writeSecret } from './secret.ts';

const TOKEN = 'a'.repeat(43);
const ANSWER: EnrollAnswer = {
  state: 'approved',
  node: { name: 'db', site: '' },
  machineCode: 'ABCD-0123',
  reason: null,
  approveCommand: '',
  consoleUrl: '',
};
let directory: string;
let tls: string;
let pem: string;
let fingerprint: string;
const stops: (() => Promise<void>)[] = [];

beforeAll(() => {
  tls = mkdtempSync(join(tmpdir(), 'tidemark-enrol-tls-'));
  const request = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    'key.pem',
    '-out',
    'ca.pem',
  ];
  execFileSync('openssl', [...request, '-subj', '/CN=x', '-addext', 'subjectAltName=DNS:localhost', '-days', '2'], {
    cwd: tls,
    stdio: 'ignore',
  });
  pem = readFileSync(join(tls, 'ca.pem'), 'utf8');
  fingerprint = createHash('sha256').update(new X509Certificate(pem).raw).digest('hex');
});
afterAll(() => rmSync(tls, { recursive: true, force: true }));
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-enrol-'));
});
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
  rmSync(directory, { recursive: true, force: true });
});

async function listening(server: Server | TcpServer): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return (server.address() as AddressInfo).port;
}
const serving = async (listener: RequestListener): Promise<URL> =>
  new URL(`http://localhost:${await listening(createServer(listener))}/base/`);
async function serve(status: number, body: object | string, headers: Record<string, string> = {}): Promise<URL> {
  return await serving((request, response) => {
    request.resume();
    response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}
const refusal = (code: ProblemCode): Promise<URL> => serve(problem(code, '').status, problem(code, `because of ${code}`));
async function ask(server: URL): Promise<Asked> {
  const connections = createConnections(server);
  const request: EnrollRequest = { name: 'db', secretHash: hashOf('tma_x'), version: '1' };
  try {
    return await askOnce({ server, request, connections, timeouts: { connectMs: 300, answerMs: 300 } });
  } finally {
    connections.destroy();
  }
}

describe('the secret', () => {
  test('is 32 random bytes, kept in a file of its owner alone, and made once', () => {
    const file = join(directory, 'secret');
    const { secret, made } = keepSecret(file);
    expect(made).toBe(true);
    expect(secret).toMatch(/^tma_[A-Za-z0-9_-]{43}$/);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(keepSecret(file)).toEqual({ secret, made: false });
    expect(makeSecret()).not.toBe(makeSecret());
    expect(() => keepSecret(join(directory, 'no', 'directory'))).toThrow(/cannot be kept in .*ENOENT/);
  });

  test('a new one is for whom the old one was for', () => {
    const file = join(directory, 'secret');
    writeFileSync(file, 'tma_old\n');
    chmodSync(file, 0o644);
    if (process.getuid?.() === 0) chownSync(file, 65_534, 65_534);
    writeSecret(file, 'tma_new');
    expect(readFileSync(file, 'utf8')).toBe('tma_new\n');
    expect(statSync(file).mode & 0o777).toBe(0o640);
    if (process.getuid?.() === 0) expect(statSync(file)).toMatchObject({ uid: 65_534, gid: 65_534 });
    expect(readdirSync(directory)).toEqual(['secret']);
  });

  test('its hash is the collector’s', () => {
    expect(hashOf('tma_x')).toBe(createHash('sha256').update('tma_x').digest('base64url'));
  });
});

describe('the machine', () => {
  test('is a salted hash of what Linux calls it, the first file that has an id', async () => {
    const [empty, whole] = [join(directory, 'empty'), join(directory, 'whole')];
    writeFileSync(empty, 'uninitialized\n');
    writeFileSync(whole, '0123456789abcdef0123456789ABCDEF\n');
    const hash = await machineHash({ platform: 'linux', files: [join(directory, 'nowhere'), empty, whole] });
    expect(hash).toBe(createHash('sha256').update('tidemark:0123456789abcdef0123456789abcdef').digest('hex'));
    expect(await machineHash({ platform: 'linux', files: [empty] })).toBeUndefined();
    writeFileSync(empty, '0'.repeat(32));
    expect(await machineHash({ platform: 'linux', files: [empty] })).toBeUndefined();
  });

  test('is asked of the registry on Windows', async () => {
    const reg = join(directory, 'reg');
    const said =
      '\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\r\n    MachineGuid    REG_SZ    0A1B2C3D-1111-2222-3333-444455556666\r\n';
    writeFileSync(join(directory, 'said'), said);
    writeFileSync(
      reg,
      `#!/bin/sh\n[ "$1 $2 $4" = 'query HKLM\\SOFTWARE\\Microsoft\\Cryptography MachineGuid' ] && cat '${join(directory, 'said')}'\n`,
    );
    chmodSync(reg, 0o755);
    const hash = createHash('sha256').update('tidemark:0a1b2c3d-1111-2222-3333-444455556666').digest('hex');
    expect(await machineHash({ platform: 'win32', reg })).toBe(hash);
    expect(await machineHash({ platform: 'win32', reg: join(directory, 'nowhere') })).toBeUndefined();
    expect(await machineHash({ platform: 'darwin' })).toBeUndefined();
  });
});

describe('what an answer means', () => {
  test('taken in, below the address’s path, with what it is', async () => {
    let seen: unknown;
    const server = await serving((request, response) => {
      void json(request).then((body) => {
        seen = { path: request.url, body };
        response.end(JSON.stringify({ ...ANSWER, later: 'field', consoleUrl: 'javascript:alert(1)' }));
      });
    });
    expect(await ask(server)).toEqual({ kind: 'answered', answer: ANSWER });
    expect(seen).toEqual({ path: `/base${ENROLL_PATH}`, body: { name: 'db', secretHash: hashOf('tma_x'), version: '1' } });
  });

  test.each([
    'enrollment_token_unknown',
    'enrollment_token_expired',
    'enrollment_token_used_up',
    'enrollment_token_revoked',
    'enrollment_token_needed',
    'node_revoked',
    'node_retired',
    'name_taken',
    'state_conflict',
    'body_invalid',
  ] as const)('%s is a no for good', async (code) => {
    expect(await ask(await refusal(code))).toEqual({ kind: 'refused', code, detail: `because of ${code} (${code})` });
  });

  test.each<[ProblemCode, boolean]>([
    ['database_away', true],
    ['rate_limited', true],
    ['shutting_down', true],
    ['enrollments_full', false],
    ['not_found', false],
    ['credential_missing', false],
  ])('%s is none', async (code, again) => {
    expect(await ask(await refusal(code))).toMatchObject({ kind: 'trouble', exitCode: EXIT.notACollector, again });
  });

  test('a certificate that is asked for is a matter of TLS', async () => {
    expect(await ask(await refusal('client_certificate_needed'))).toMatchObject({
      kind: 'trouble',
      exitCode: EXIT.tlsFailed,
      again: false,
    });
  });

  test.each<[string, number, object | string, boolean]>([
    ['a page', 200, '<html>', false],
    ['another JSON', 200, { state: 'approved' }, false],
    ['a redirection', 301, '', false],
    ['a balancer without anybody behind it', 502, 'Bad Gateway', true],
  ])('%s is no collector', async (_, status, body, again) => {
    expect(await ask(await serve(status, body, { location: 'https://elsewhere' }))).toMatchObject({
      kind: 'trouble',
      exitCode: EXIT.notACollector,
      again,
    });
  });

  test('DNS, TCP, TLS and silence are told apart', async () => {
    expect(await ask(new URL('http://no-such-host.invalid'))).toMatchObject({ exitCode: EXIT.nameUnknown });
    expect(await ask(new URL('http://127.0.0.1:1'))).toMatchObject({ exitCode: EXIT.connectionRefused, again: true });
    const port = await listening(createTcpServer((socket) => void socket.resume()));
    expect(await ask(new URL(`http://127.0.0.1:${port}`))).toMatchObject({ exitCode: EXIT.notACollector, again: true });
    const plain = await serve(200, ANSWER);
    expect(await ask(new URL(plain.href.replace('http:', 'https:')))).toMatchObject({ exitCode: EXIT.tlsFailed, again: false });
    const server = createSecureServer({ key: readFileSync(join(tls, 'key.pem')), cert: pem }, (_request, response) => response.end());
    expect(await ask(new URL(`https://localhost:${await listening(server)}`))).toMatchObject({ exitCode: EXIT.tlsFailed, again: false });
    const foreign = createTcpServer((socket) => void socket.end('SSH-2.0-x\r\n'));
    expect(await ask(new URL(`http://127.0.0.1:${await listening(foreign)}`))).toMatchObject({ exitCode: EXIT.notACollector });
  });
});

describe('patience', () => {
  const trouble = (again: boolean, retryAfterSeconds?: number): Asked => ({
    kind: 'trouble',
    exitCode: 21,
    detail: 'away',
    again,
    retryAfterSeconds,
  });
  async function tried(timeoutMs: number, ...answers: Asked[]): Promise<{ waits: number[]; outcome: Asked | string }> {
    const waits: number[] = [];
    let now = 0;
    const sleep = (ms: number): Promise<void> => {
      waits.push(ms);
      now += ms;
      return Promise.resolve();
    };
    let at = 0;
    const attempt = (): Promise<Asked> => Promise.resolve(answers[Math.min(at++, answers.length - 1)]!);
    const outcome = await patiently(attempt, { timeoutMs, random: () => 0.999_999, now: () => now, sleep }).catch(
      (error: Error) => error.message,
    );
    return { waits, outcome };
  }

  test('waits longer each time, and no longer than it was told', async () => {
    expect(await tried(10_000, trouble(true))).toEqual({
      waits: [500, 1_000, 2_000, 4_000],
      outcome: 'The collector could not be asked: away.',
    });
    expect(await tried(10_000, trouble(true, 3), { kind: 'answered', answer: ANSWER })).toEqual({
      waits: [3_000],
      outcome: { kind: 'answered', answer: ANSWER },
    });
    expect((await tried(10_000, trouble(false))).waits).toEqual([]);
    expect((await tried(0, trouble(true))).waits).toEqual([]);
    expect((await tried(10_000, { kind: 'refused', code: 'x', detail: 'y' })).outcome).toEqual({ kind: 'refused', code: 'x', detail: 'y' });
  });
});

describe('the authority', () => {
  test('is taken from whoever answers when its fingerprint is right, and from nobody else', async () => {
    const listener: RequestListener = (request, response) =>
      response.writeHead(request.url === AUTHORITY_PATH ? 200 : 404).end(`junk\n${pem}`);
    const server = createSecureServer({ key: readFileSync(join(tls, 'key.pem')), cert: pem }, listener);
    const url = new URL(`https://localhost:${await listening(server)}`);
    expect(await fetchAuthority(url, fingerprint, {})).toEqual({
      kind: 'fetched',
      pem: expect.stringContaining('BEGIN CERTIFICATE') as string,
    });
    expect(await fetchAuthority(url, 'f'.repeat(64), {})).toMatchObject({ kind: 'trouble', exitCode: EXIT.tlsFailed, again: false });
    expect(await fetchAuthority(new URL('below', url), fingerprint, {})).toMatchObject({ exitCode: EXIT.notACollector });
    expect(await fetchAuthority(new URL('https://127.0.0.1:1'), fingerprint, {})).toMatchObject({
      exitCode: EXIT.connectionRefused,
      again: true,
    });
  });

  test('is found in a file of several, and not in one that is no PEM, or too large', () => {
    expect(authorityIn(pem, fingerprint)?.trim()).toBe(pem.trim());
    expect(authorityIn(`-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${pem}`, fingerprint)?.trim()).toBe(pem.trim());
    expect(authorityIn('none', fingerprint)).toBeUndefined();
    expect(authorityIn(`${pem}${' '.repeat(70_000)}`, fingerprint)).toBeUndefined();
    expect(hasAuthority(join(tls, 'ca.pem'), fingerprint)).toBe(true);
    expect(hasAuthority(join(tls, 'key.pem'), fingerprint)).toBe(false);
    expect(hasAuthority(join(tls, 'nowhere'), fingerprint)).toBe(false);
  });
});

describe('a move', () => {
  test('is in force while the configured address is the one that it was from', () => {
    const [old, fresh] = [new URL('http://old:5000'), new URL('http://fresh:5000')];
    keepMove(directory, { from: old.href, to: 'https://new/' });
    expect(readMove(directory, old)).toEqual({ from: old.href, to: 'https://new/' });
    expect(readMove(directory, fresh)).toBeUndefined();
    expect(readMove(directory, undefined)).toBeUndefined();
    forgetMove(directory);
    expect(readMove(directory, old)).toBeUndefined();
    writeFileSync(join(directory, 'server.json'), '{"from":"http://old:5000/","to":"file:///etc/passwd"}');
    expect(readMove(directory, old)).toBeUndefined();
    writeFileSync(join(directory, 'server.json'), '{"from":');
    expect(readMove(directory, old)).toBeUndefined();
  });
});

describe('as what the running agent reports', () => {
  const SURROUNDINGS = { environment: {}, platform: process.platform, uid: 0 } as const;
  const log = createLog('test', 'silent');
  function configured(more: Partial<AgentOptionValues>): AgentConfig {
    const values = { interval: 15, tag: {}, postgres: [], http: [], spoolMegabytes: 1, spoolHours: 1, dataDir: directory, ...more };
    return agentConfig(values as AgentOptionValues, SURROUNDINGS);
  }
  const member = (more: Partial<AgentOptionValues>): Membership =>
    membershipOf({ config: configured(more), applicant: () => Promise.resolve({ name: 'db', version: '1' }), log });
  const own = (): string => join(directory, 'token');

  test('without a token file: with a secret of its own, the same at the next start', () => {
    const first = member({ server: 'http://c:5000' });
    expect(first).toMatchObject({ secretFile: own(), joining: { first: true } });
    const secret = readFileSync(own(), 'utf8');
    expect(member({ server: 'http://c:5000' })).toMatchObject({ secretFile: own(), joining: { first: false } });
    expect(readFileSync(own(), 'utf8')).toBe(secret);
  });

  test('with a credential in the token file: with that', () => {
    const tokenFile = join(directory, 'given');
    writeFileSync(tokenFile, 'tma_given\n');
    expect(member({ server: 'http://c:5000', tokenFile })).toMatchObject({ secretFile: tokenFile, joining: { first: false } });
    expect(existsSync(own())).toBe(false);
    expect(() => member({ server: 'http://c:5000', tokenFile: join(directory, 'nowhere') })).toThrow(/cannot be read \(ENOENT\)/);
  });

  test('with an enrolment string: it is exchanged, deleted, and not missed at the next start', async () => {
    let seen: EnrollRequest | undefined;
    const server = await serving((request, response) => {
      void json(request).then((body) => {
        seen = body as EnrollRequest;
        response.end(JSON.stringify(ANSWER));
      });
    });
    const tokenFile = join(directory, 'string');
    writeFileSync(tokenFile, formatEnrolment({ token: TOKEN, fingerprint: undefined, url: server.href.replace(/\/$/, '') }));
    const first = member({ tokenFile });
    expect(first.joining).toMatchObject({ first: true });
    const connections = createConnections(first.server);
    expect(await first.joining.ask(first.server, connections)).toEqual({ kind: 'approved', name: 'db' });
    connections.destroy();
    expect(seen).toEqual({ name: 'db', version: '1', token: TOKEN, secretHash: hashOf(readFileSync(own(), 'utf8').trim()) });
    expect(existsSync(tokenFile)).toBe(false);
    expect(member({ tokenFile })).toMatchObject({ server: first.server, secretFile: own(), joining: { first: false } });
  });

  test('a string that was cut, and no collector at all, are said', () => {
    const tokenFile = join(directory, 'string');
    writeFileSync(tokenFile, formatEnrolment({ token: TOKEN, fingerprint, url: 'https://c' }).slice(0, 60));
    expect(() => member({ tokenFile })).toThrow(/not whole/);
    expect(() => member({})).toThrow(/Which collector/);
  });

  test('a pinned authority: the configured file when it has it, else one of our own, which stays', () => {
    const tokenFile = join(directory, 'string');
    writeFileSync(tokenFile, formatEnrolment({ token: TOKEN, fingerprint, url: 'https://c:5000' }));
    expect(member({ tokenFile, caFile: join(tls, 'ca.pem') }).route.caFile).toBe(join(tls, 'ca.pem'));
    expect(member({ tokenFile, caFile: join(tls, 'key.pem') }).route.caFile).toBe(join(directory, 'ca.pem'));
    rmSync(tokenFile);
    expect(member({ tokenFile, server: 'https://c:5000' }).route.caFile).toBeUndefined();
    writeFileSync(join(directory, 'ca.pem'), pem);
    expect(member({ tokenFile, server: 'https://c:5000' }).route.caFile).toBe(join(directory, 'ca.pem'));
    expect(member({ tokenFile, server: 'http://c:5000' }).route.caFile).toBeUndefined();
  });

  test('a string that pins an authority is not spent where nothing is encrypted', () => {
    const tokenFile = join(directory, 'string');
    writeFileSync(tokenFile, formatEnrolment({ token: TOKEN, fingerprint, url: 'https://c:5000' }));
    expect(() => member({ server: 'http://c:5000', tokenFile })).toThrow(
      'The enrolment string is for https://c:5000 and says whom to trust there; the configured server is http://c:5000/, which is not encrypted. Set server to https://c:5000,',
    );
    expect(existsSync(tokenFile)).toBe(true);
    writeFileSync(tokenFile, formatEnrolment({ token: TOKEN, fingerprint: undefined, url: 'https://c:5000' }));
    expect(member({ server: 'http://c:5000', tokenFile }).server.href).toBe('http://c:5000/');
  });

  test('a move is followed, unless a person says otherwise', () => {
    keepMove(directory, { from: 'http://c:5000/', to: 'https://new/' });
    expect(member({ server: 'http://c:5000' }).server.href).toBe('https://new/');
    expect(member({ server: 'http://d:5000' }).server.href).toBe('http://d:5000/');
  });
});
