/** Endpoints of every kind, real servers on loopback: what is measured, what is said, and that nothing is left behind. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog, systemClock } from '@tidemark/service';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createHttpProbes, type HttpEndpointConfig } from './http.ts';
import { BODY_BYTES_MAX, systemDoor, type ExchangeDoor } from './http/exchange.ts';
import { ProbeRunner } from './runner.ts';

const directory = mkdtempSync(join(tmpdir(), 'tidemark-http-'));
const stops: (() => Promise<void>)[] = [];
const log = createLog('test', 'silent');

interface Certificate {
  key: string;
  cert: string;
}
let good: Certificate;
let expired: Certificate;

const openssl = (...options: string[]): void => void execFileSync('openssl', options, { stdio: 'ignore', cwd: directory });

/** A self-signed certificate for localhost; `openssl ca` is the one command that takes an end in the past. */
function certificate(name: string, end: string): Certificate {
  const settings = ['[ca]', 'default_ca=own', '[own]', `database=${name}.index`, `new_certs_dir=.`, `rand_serial=yes`, 'default_md=sha256'];
  const extensions = ['policy=any', 'x509_extensions=names', '[any]', 'commonName=supplied', '[names]', 'subjectAltName=DNS:localhost'];
  writeFileSync(join(directory, `${name}.cnf`), [...settings, ...extensions, ''].join('\n'));
  writeFileSync(join(directory, `${name}.index`), '');
  const [key, request, cert] = [`${name}.key`, `${name}.csr`, `${name}.crt`];
  openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', request, '-subj', '/CN=localhost');
  openssl(
    'ca',
    '-batch',
    '-selfsign',
    '-config',
    `${name}.cnf`,
    '-keyfile',
    key,
    '-in',
    request,
    '-out',
    cert,
    '-notext',
    '-startdate',
    '20250101000000Z',
    '-enddate',
    end,
  );
  return { key: readFileSync(join(directory, key), 'utf8'), cert: readFileSync(join(directory, cert), 'utf8') };
}

beforeAll(() => {
  good = certificate('good', '20991231000000Z');
  expired = certificate('expired', '20250301000000Z');
});
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function listening(server: Server | TcpServer): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}
const serving = async (listener: RequestListener): Promise<string> => `http://localhost:${await listening(createServer(listener))}`;
const securely = async (of: Certificate, listener: RequestListener = (_, response) => void response.end('ok')): Promise<string> =>
  `https://localhost:${await listening(createSecureServer(of, listener))}`;
const raw = async (answer: (socket: Socket) => void): Promise<string> =>
  `http://localhost:${await listening(
    createTcpServer((socket) => {
      socket.once('data', () => answer(socket));
    }),
  )}`;

interface Seen {
  /** By metric, or metric and its second label's value. */
  values: Record<string, unknown>;
  document: { up: boolean; status: string | null; failing: string[]; reason: string | null; detail: string | null; url: string };
}

function watching(config: Partial<HttpEndpointConfig> & { url: string }, door?: ExchangeDoor, graceMs = 15_000) {
  const runner = new ProbeRunner(
    createHttpProbes([{ name: 'it', timeoutSeconds: 5, ...config }], { version: '1.2', graceMs, ...(door === undefined ? {} : { door }) }),
    systemClock,
    log,
  );
  return async (): Promise<Seen> => {
    const { blocks, observations } = await runner.collect();
    const values: Record<string, unknown> = {};
    for (const { layout, values: measured } of blocks)
      layout.series.forEach(({ name, labels }, i) => {
        if (!name.startsWith('tidemark_http_')) return;
        expect(labels[0]).toEqual(['endpoint', 'it']);
        values[[name.slice('tidemark_http_'.length), ...labels.slice(1).map(([, value]) => value)].join(' ')] = measured[i];
      });
    return { values, document: observations.find(({ kind }) => kind === 'http.health')?.document as Seen['document'] };
  };
}
const once = (config: Partial<HttpEndpointConfig> & { url: string }, door?: ExchangeDoor): Promise<Seen> => watching(config, door)();

describe('an endpoint that answers', () => {
  test('is up, with its status, its time and its phases', async () => {
    const url = await serving((_, response) => void setTimeout(() => response.end('hello'), 60));
    const { values, document } = await once({ url: `${url}/` });
    expect(values).toMatchObject({ up: 1, status_code: 200, requests_total: 1, error_ratio: null, 'failures_total status': 0 });
    expect(values['response_seconds']).toBeGreaterThan(0.05);
    const phases = ['resolve', 'connect', 'processing', 'transfer'].map((phase) => values[`phase_seconds ${phase}`] as number);
    expect(phases.every((seconds) => seconds >= 0)).toBe(true);
    expect(phases.reduce((sum, one) => sum + one, 0)).toBeCloseTo(values['response_seconds'] as number, 1);
    expect(phases[2]).toBeGreaterThan(0.05);
    expect(values).not.toHaveProperty('certificate_expires_seconds');
    expect(document).toMatchObject({ up: true, reason: null, url: `${url}/` });
  });

  test.each([
    [404, '2xx' as const, 0],
    [404, 404, 1],
    [503, ['2xx', 503], 1],
    [302, '3xx' as const, 1],
  ])('with status %s where %j is wanted: %s', async (status, expectStatus, up) => {
    const url = await serving((_, response) => void response.writeHead(status).end());
    const { values, document } = await once({ url, expectStatus });
    expect(values).toMatchObject({ up, status_code: status, 'failures_total status': 1 - up });
    if (up === 0) expect(document.detail).toBe('It answers with status 404; wanted is 2xx.');
  });

  test('has to hold the text that is wanted', async () => {
    const url = await serving((_, response) => void response.end('all is well'));
    expect((await once({ url, expectBody: 'well' })).values['up']).toBe(1);
    expect((await once({ url, expectBody: 'fine' })).document).toMatchObject({ up: false, reason: 'body' });
  });

  test('is asked with its headers and credentials, which nobody else gets to see', async () => {
    const seen: (string | undefined)[] = [];
    const other = await serving((request, response) => {
      seen.push(request.headers.authorization, request.headers['x-key'] as string | undefined);
      response.end('ok');
    });
    const url = await serving((request, response) => {
      seen.push(request.headers.authorization, request.headers['x-key'] as string | undefined);
      response.writeHead(302, { location: `${other}/there` }).end();
    });
    const headersFile = join(directory, 'headers');
    writeFileSync(headersFile, '# for the shop\nX-Key: s3cret\n', { mode: 0o600 });
    const { values, document } = await once({ url: url.replace('//', '//me:pa%40ss@'), headersFile });
    expect(values['up']).toBe(1);
    expect(seen).toEqual([`Basic ${Buffer.from('me:pa@ss').toString('base64')}`, 's3cret', undefined, undefined]);
    expect(JSON.stringify(document)).not.toMatch(/s3cret|pa@ss|pa%40ss/);
  });

  test('with a body without end costs what is read of it', async () => {
    let sent = 0;
    const url = await serving((_, response) => {
      const chunk = 'x'.repeat(16_384);
      const more = (): void => {
        while (!response.destroyed) {
          sent += chunk.length;
          if (!response.write(chunk)) return void response.once('drain', more);
        }
      };
      more();
    });
    expect((await once({ url })).values['up']).toBe(1);
    expect(sent).toBeLessThan(BODY_BYTES_MAX * 200);
  });
});

describe('health addresses', () => {
  test.each([
    ['ours', '/api/health', { status: 'healthy', uptime: 3 }, 1, []],
    ['Spring, up', '/actuator/health', { status: 'UP', components: { db: { status: 'UP' } } }, 1, []],
    ['Spring, down', '/actuator/health', { status: 'DOWN', components: { db: { status: 'DOWN' }, disk: { status: 'UP' } } }, 0, ['db']],
    ['health+json', '/health', { status: 'warn', checks: { 'cassandra:time': [{ status: 'warn' }] } }, 0.5, ['cassandra:time']],
    ['named parts', '/health', { status: 'unhealthy', components: [{ name: 'ingest', status: 'unhealthy' }] }, 0, ['ingest']],
  ])('%s', async (_, path, answer, health, failing) => {
    const url = await serving((__, response) => void response.writeHead(health === 0 ? 503 : 200).end(JSON.stringify(answer)));
    const { values, document } = await once({ url: `${url}${path}` });
    expect(values).toMatchObject({ up: health === 0 ? 0 : 1, health });
    expect(document.failing).toEqual(failing);
    if (health === 0) expect(document).toMatchObject({ reason: 'unhealthy', detail: expect.stringContaining(failing[0]!) });
  });

  test('what says nothing of health is judged by its status alone', async () => {
    const url = await serving((_, response) => void response.end('<html>welcome</html>'));
    expect((await once({ url: `${url}/health` })).values).toMatchObject({ up: 1, health: null });
  });
});

describe('TLS', () => {
  test('a trusted certificate tells its end', async () => {
    const url = await securely(good);
    const caFile = join(directory, 'good.crt');
    const { values } = await once({ url, caFile });
    expect(values['up']).toBe(1);
    expect(values['certificate_expires_seconds']).toBeGreaterThan(29 * 86_400);
    expect(values['certificate_not_after_seconds']).toBeGreaterThan(Date.now() / 1_000);
    expect(values['phase_seconds tls']).toBeGreaterThan(0);
  });

  test('an expired one as well, and nothing is said to the server', async () => {
    let asked = false;
    const url = await securely(expired, (_, response) => {
      asked = true;
      response.end();
    });
    const { values, document } = await once({ url, caFile: join(directory, 'expired.crt') });
    expect(values).toMatchObject({ up: 0, status_code: 0, 'failures_total tls': 1 });
    expect(values['certificate_expires_seconds']).toBeLessThan(0);
    expect(document.detail).toBe('Its certificate ended on 2025-03-01.');
    expect(asked).toBe(false);
  });

  test('one of another name, and one of somebody unknown, are named as that', async () => {
    const url = await securely(good);
    const named = await once({ url: url.replace('localhost', '127.0.0.1'), caFile: join(directory, 'good.crt') });
    expect(named.document.detail).toBe('Its certificate is for DNS:localhost, not for 127.0.0.1.');
    expect((await once({ url })).document.detail).toContain('does not trust');
  });

  test('https is not followed to http', async () => {
    const url = await securely(good, (_, response) => void response.writeHead(301, { location: 'http://localhost:1/' }).end());
    expect((await once({ url, caFile: join(directory, 'good.crt') })).document).toMatchObject({
      reason: 'redirect',
      detail: 'It redirects from https to http.',
    });
  });
});

describe('an endpoint on a bad day', () => {
  test('that is not there', async () => {
    const url = await serving(() => {});
    for (const stop of stops.splice(0)) await stop();
    const { values, document } = await once({ url });
    expect(values).toMatchObject({ up: 0, status_code: 0, 'failures_total connect': 1 });
    expect(document.detail).toMatch(/refuses the connection: nothing listens there\.$/);
  });

  test('whose name nobody knows', async () => {
    const door: ExchangeDoor = {
      ...systemDoor,
      lookup: ((_host: string, _options: object, done: (error: Error) => void) =>
        setImmediate(() =>
          done(Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' })),
        )) as unknown as ExchangeDoor['lookup'],
    };
    const { document } = await once({ url: 'http://shop.invalid/' }, door);
    expect(document).toMatchObject({ reason: 'resolve', detail: 'The name shop.invalid cannot be looked up (ENOTFOUND).' });
  });

  test.each<[string, (socket: Socket) => void, string, RegExp]>([
    ['that hangs', () => {}, 'timeout', /waiting for the first byte/],
    [
      'that drips',
      (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab'),
      'timeout',
      /while the answer was read/,
    ],
    ['that speaks something else', (socket) => void socket.end('SSH-2.0-OpenSSH_9.2\r\n'), 'protocol', /does not speak HTTP/],
    ['that hangs up', (socket) => void socket.resetAndDestroy(), 'protocol', /before the answer/],
    [
      'that ends half way',
      (socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab'),
      'protocol',
      /middle of the answer/,
    ],
  ])('%s', async (_, answer, reason, detail) => {
    const { values, document } = await once({ url: await raw(answer), timeoutSeconds: 0.3 });
    expect(values['up']).toBe(0);
    expect(document.reason).toBe(reason);
    expect(document.detail).toMatch(detail);
    if (reason === 'timeout') expect(values['response_seconds']).toBeGreaterThanOrEqual(0.29);
  });

  test('that redirects in circles', async () => {
    const url = await serving((request, response) => void response.writeHead(302, { location: `${request.url!}x` }).end());
    expect((await once({ url })).document).toMatchObject({ reason: 'redirect' });
  });

  test('does not make the report late, and is told as slow while it still is', async () => {
    let release = (): void => {};
    const url = await serving((_, response) => void (release = () => response.end('ok')));
    const look = watching({ url }, undefined, 50);
    expect((await look()).values).toMatchObject({ up: null, requests_total: 0 });
    const second = await look();
    expect(second.values['response_seconds']).toBeGreaterThanOrEqual(0.09);
    release();
    while ((await look()).values['requests_total'] === 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test('its failures of late are a rate', async () => {
    let status = 200;
    const url = await serving((_, response) => void response.writeHead(status).end());
    const look = watching({ url });
    for (let i = 0; i < 4; i++) expect((await look()).values['error_ratio']).toBeNull();
    status = 500;
    const { values } = await look();
    expect(values).toMatchObject({ error_ratio: 0.2, requests_total: 5, 'failures_total status': 1 });
  });
});

test('fifty at once leave no socket behind', async () => {
  const before = process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap' || kind === 'TLSWrap').length;
  const url = await serving((_, response) => void response.end('ok'));
  const hanging = await raw(() => {});
  const configs = Array.from({ length: 50 }, (_, i) => ({
    url: `${i % 5 === 0 ? hanging : url}/${i}`,
    name: `e${i}`,
    timeoutSeconds: 0.3,
  }));
  const runner = new ProbeRunner(createHttpProbes(configs, { version: '1' }), systemClock, log);
  const { blocks } = await runner.collect();
  const ups = blocks.flatMap(({ layout, values }) =>
    layout.series.flatMap(({ name }, i) => (name === 'tidemark_http_up' ? [values[i]] : [])),
  );
  expect([ups.filter((one) => one === 1).length, ups.filter((one) => one === 0).length]).toEqual([40, 10]);
  for (const stop of stops.splice(0)) await stop();
  // A destroyed socket is let go of in the next turns of the loop.
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap' || kind === 'TLSWrap').length).toBeLessThanOrEqual(
    before,
  );
});

test('mistakes are said at the start', () => {
  const making =
    (...configs: HttpEndpointConfig[]) =>
    () =>
      createHttpProbes(configs, { version: '1' });
  expect(making({ url: 'http://a/x' }, { url: 'http://a/x?y=1' })).toThrow('Two HTTP endpoints are called "http://a/x"');
  expect(making({ url: 'http://a/', caFile: '/nonexistent' })).toThrow('cannot be read (ENOENT)');
  const headersFile = join(directory, 'wrong');
  writeFileSync(headersFile, 'no colon\n');
  expect(making({ url: 'http://a/', headersFile })).toThrow(`${headersFile}:1: a header is written as "Name: value"`);
  expect(createHttpProbes([], { version: '1' })).toEqual([]);
});
