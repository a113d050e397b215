/** An HTTP probe on bad days: files that go, lookups that hang, chains that ended. Whatever one endpoint has, the others are still told. */
import { execFileSync, spawn } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtempSync, readFileSync, rmSync, writeFileSync, unlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer, type Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog, systemClock } from '@tidemark/service';
import { afterAll, afterEach, expect, test } from 'vitest';
import { createHttpProbes, type HttpEndpointConfig } from './http.ts';
import { systemDoor, type ExchangeDoor } from './http/exchange.ts';
import { boundedLookup } from './http/lookup.ts';
import { readHealth } from './http/health.ts';
import { ProbeRunner } from './runner.ts';

const directory = mkdtempSync(join(tmpdir(), 'tidemark-http-bad-'));
const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));
async function listening(server: Server | TcpServer): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (s: Socket) => {
    sockets.add(s);
    s.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  stops.push(async () => {
    for (const s of sockets) s.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}
const runner = (configs: HttpEndpointConfig[], door?: ExchangeDoor, graceMs = 15_000) =>
  new ProbeRunner(createHttpProbes(configs, { version: '1', graceMs, ...(door ? { door } : {}) }), systemClock, createLog('t', 'silent'));
async function look(r: ProbeRunner) {
  const { blocks, observations } = await r.collect();
  const values: Record<string, unknown> = {};
  for (const { layout, values: v } of blocks)
    layout.series.forEach(
      ({ name, labels }, i) => (values[`${name.replace('tidemark_http_', '')} ${labels.map((l) => l[1]).join(' ')}`] = v[i]),
    );
  return { values, documents: Object.fromEntries(observations.map((o) => [o.instance, o.document as Record<string, unknown>])) };
}

test('a headers file that goes away harms one endpoint, for as long as it is away', async () => {
  const port = await listening(createServer((_, r) => void r.end('ok')));
  const headersFile = join(directory, 'h');
  writeFileSync(headersFile, 'X-A: 1\n');
  const r = runner([
    { url: `http://localhost:${port}/a`, name: 'a', headersFile },
    { url: `http://localhost:${port}/b`, name: 'b' },
  ]);
  expect((await look(r)).values).toMatchObject({ 'up a': 1, 'up b': 1 });
  unlinkSync(headersFile);
  const gone = await look(r);
  writeFileSync(headersFile, 'X-A: 1\n');
  const back = await look(r);
  expect(gone.values).toMatchObject({ 'up a': 0, 'up b': 1 });
  expect(back.values).toMatchObject({ 'up a': 1, 'up b': 1 });
});

test('health words of the prototype', () => {
  for (const word of ['constructor', '__proto__', 'toString', 'hasOwnProperty']) {
    expect(readHealth(JSON.stringify({ status: word })), word).toBeUndefined();
    expect(readHealth(word), word).toBeUndefined();
  }
});

test('refused has no response time', async () => {
  const port = await listening(createServer());
  for (const stop of stops.splice(0)) await stop();
  const { values } = await look(runner([{ url: `http://localhost:${port}/`, name: 'a' }]));
  expect(values['response_seconds a']).toBeNull();
});

test('plain HTTP behind https says so in one line', async () => {
  const port = await listening(createServer((_, r) => void r.end('ok')));
  const { documents } = await look(runner([{ url: `https://localhost:${port}/`, name: 'a' }]));
  expect(documents['a']!['detail']).not.toMatch(/\n|[0-9A-F]{12}|\.c:/);
});

test('a percent sign in the credentials', () => {
  expect(() => createHttpProbes([{ url: 'http://a%zz:b@host/' }], { version: '1' })).not.toThrow(URIError);
});

test('a caFile that is no certificate is said at the start', () => {
  const caFile = join(directory, 'no.pem');
  writeFileSync(caFile, 'hello\n');
  expect(() => createHttpProbes([{ url: 'https://host/', caFile }], { version: '1' })).toThrow(/certificate/);
});

test('a redirect that is wanted is not followed', async () => {
  const port = await listening(createServer((_, r) => void r.writeHead(301, { location: 'http://localhost:1/' }).end()));
  const { values } = await look(runner([{ url: `http://localhost:${port}/`, name: 'a', expectStatus: 301 }]));
  expect(values).toMatchObject({ 'up a': 1, 'status_code a': 301 });
});

test('lookups that do not return do not pile up', async () => {
  let open = 0;
  const door: ExchangeDoor = { ...systemDoor, lookup: () => void open++ };
  const r = runner(
    Array.from({ length: 20 }, (_, i) => ({ url: `http://h${i}.invalid/`, name: `e${i}`, timeoutSeconds: 0.1 })),
    door,
  );
  for (let i = 0; i < 5; i++) await look(r);
  expect(open).toBeLessThanOrEqual(20);
});

test('the expired one in the chain is the one that is named', async () => {
  const ssl = (...a: string[]) => void execFileSync('openssl', a, { cwd: directory, stdio: 'ignore' });
  const cnf = (n: string, ext: string[]) =>
    writeFileSync(
      join(directory, `${n}.cnf`),
      [
        '[ca]',
        'default_ca=own',
        '[own]',
        `database=${n}.index`,
        'new_certs_dir=.',
        'rand_serial=yes',
        'default_md=sha256',
        'policy=any',
        'x509_extensions=x',
        '[any]',
        'commonName=supplied',
        '[x]',
        ...ext,
        '',
      ].join('\n'),
    );
  cnf('root', ['basicConstraints=critical,CA:TRUE']);
  cnf('leaf', ['subjectAltName=DNS:localhost']);
  for (const n of ['root', 'leaf']) {
    writeFileSync(join(directory, `${n}.index`), '');
    ssl(
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      `${n}.key`,
      '-out',
      `${n}.csr`,
      '-subj',
      n === 'root' ? '/CN=Root' : '/CN=localhost',
    );
  }
  ssl(
    'ca',
    '-batch',
    '-selfsign',
    '-config',
    'root.cnf',
    '-keyfile',
    'root.key',
    '-in',
    'root.csr',
    '-out',
    'root.crt',
    '-notext',
    '-startdate',
    '20200101000000Z',
    '-enddate',
    '20250301000000Z',
  );
  ssl(
    'ca',
    '-batch',
    '-config',
    'leaf.cnf',
    '-keyfile',
    'root.key',
    '-cert',
    'root.crt',
    '-in',
    'leaf.csr',
    '-out',
    'leaf.crt',
    '-notext',
    '-startdate',
    '20200101000000Z',
    '-enddate',
    '20991231000000Z',
  );
  const chain = readFileSync(join(directory, 'leaf.crt'), 'utf8') + readFileSync(join(directory, 'root.crt'), 'utf8');
  const port = await listening(
    createSecureServer({ key: readFileSync(join(directory, 'leaf.key')), cert: chain }, (_, r) => void r.end('ok')),
  );
  const { documents } = await look(runner([{ url: `https://localhost:${port}/`, name: 'a', caFile: join(directory, 'root.crt') }]));
  expect(documents['a']!['detail']).toContain('2025-03-01');
});

test('five requests make a rate, however long the interval', async () => {
  let now = 0;
  const clock = { ...systemClock, monotonicMs: () => now, wallMs: () => Date.now() };
  const port = await listening(createServer((_, r) => void r.writeHead(500).end()));
  const r = new ProbeRunner(
    createHttpProbes([{ url: `http://localhost:${port}/`, name: 'a' }], { version: '1', clock }),
    clock,
    createLog('t', 'silent'),
  );
  let last: unknown;
  for (let i = 0; i < 8; i++) {
    now += 120_000;
    last = (await look(r)).values['error_ratio a'];
  }
  expect(last).toBe(1);
});

test('an endless header ends in one sentence', async () => {
  const port = await listening(
    createTcpServer((socket) => void socket.once('data', () => socket.write(`HTTP/1.1 200 OK\r\n${'X-Y: z\r\n'.repeat(5_000)}`))),
  );
  const { documents } = await look(runner([{ url: `http://localhost:${port}/`, name: 'a', timeoutSeconds: 5 }]));
  expect(documents['a']).toMatchObject({ reason: 'protocol', detail: expect.stringContaining('HPE_HEADER_OVERFLOW') });
});

test('closed, the probe lets go of the request that is open', async () => {
  let gone!: () => void;
  const ended = new Promise<void>((resolve) => (gone = resolve));
  const port = await listening(createTcpServer((socket) => void socket.resume().once('close', gone)));
  const hanging = runner([{ url: `http://localhost:${port}/`, name: 'a', timeoutSeconds: 60 }], undefined, 20);
  expect((await look(hanging)).values).toMatchObject({ 'up a': null });
  await hanging.close();
  await ended;
});

test('a wrong status with a health document says both', async () => {
  const port = await listening(
    createServer((_, response) => void response.writeHead(503).end('{"status":"degraded","checks":{"db":"down"}}')),
  );
  const { documents } = await look(runner([{ url: `http://localhost:${port}/health`, name: 'a' }]));
  expect(documents['a']!['detail']).toBe('It answers with status 503; wanted is 2xx. It says that it is degraded: db.');
});

test('who may wait for longer is not given up by the runner', () => {
  const [probe] = createHttpProbes([{ url: 'http://host/' }], { version: '1', graceMs: 60_000 });
  expect(probe!.timeoutMs).toBeGreaterThan(60_000);
});

test('HEAD with a body to look at is refused at the start', () => {
  expect(() => createHttpProbes([{ url: 'http://host/', method: 'HEAD', expectBody: 'x' }], { version: '1' })).toThrow(/asked with HEAD/);
});

const hasIpv6 = Object.values(networkInterfaces()).some((ones) => ones?.some(({ address }) => address === '::1'));
test.runIf(hasIpv6)('an address of IPv6 needs no name', async () => {
  const server = createServer((request, response) => void response.end(request.headers.host));
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '::1', resolve));
  stops.push(() => new Promise((resolve) => server.close(() => resolve())));
  const { port } = server.address() as AddressInfo;
  const door: ExchangeDoor = { ...systemDoor, lookup: () => expect.unreachable('nothing is to be looked up') };
  const { values } = await look(runner([{ url: `http://[::1]:${port}/`, name: 'a', expectBody: `[::1]:${port}` }], door));
  expect(values).toMatchObject({ 'up a': 1 });
});

test('no child process is started', async () => {
  let started = 0;
  const count = (): void => void started++;
  subscribe('child_process', count);
  try {
    const port = await listening(createServer((_, response) => void response.end('ok')));
    expect((await look(runner([{ url: `http://localhost:${port}/`, name: 'a' }]))).values).toMatchObject({ 'up a': 1 });
    expect(started).toBe(0);
    // That one would have been seen.
    execFileSync(process.execPath, ['--version']);
    spawn(process.execPath, ['--version'], { stdio: 'ignore' }).unref();
    expect(started).toBeGreaterThan(0);
  } finally {
    unsubscribe('child_process', count);
  }
});

test('lookups: one for a name, few in all, each asker gets its answer', () => {
  const open: { host: string; done: (error: null, address: string, family: number) => void }[] = [];
  const bounded = boundedLookup(((host: string, _: object, done: () => void) => void open.push({ host, done })) as never, 2);
  const answers: string[] = [];
  for (const host of ['a', 'a', 'b', 'c'])
    bounded(host, { all: false }, (_, address) => answers.push(`${host}=${JSON.stringify(address)}`));
  expect(open.map(({ host }) => host)).toEqual(['a', 'b']);
  open[0]!.done(null, '1', 4);
  expect(answers).toEqual(['a="1"', 'a="1"']);
  expect(open.map(({ host }) => host)).toEqual(['a', 'b', 'c']);
});
