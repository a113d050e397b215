import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer, type Server, type ServerOptions } from 'node:https';
import { connect, type AddressInfo, type Server as TcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sentenceOf, codeOf } from '@tidemark/service';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { connectionTrouble } from './answer.ts';
import { createConnections, type Route } from './connections.ts';
import { Poster } from './http-post.ts';

const directory = mkdtempSync(join(tmpdir(), 'tidemark-connections-'));
const at = (name: string): string => join(directory, name);
const stops: (() => Promise<void>)[] = [];
const openssl = (...options: string[]): void => void execFileSync('openssl', options, { stdio: 'ignore', cwd: directory });

function authority(name: string): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', `${name}.key`];
  openssl('req', '-x509', ...key, '-out', `${name}.pem`, '-subj', `/CN=${name}`, '-days', '2');
}

function certificate(name: string, ca: string): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', `${name}.key`];
  openssl('req', ...key, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
  writeFileSync(at('names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  const signed = ['-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial', '-days', '2', '-extfile', 'names'];
  openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...signed);
}

beforeAll(() => {
  authority('ours');
  authority('other');
  certificate('server', 'ours');
  certificate('server-of-other', 'other');
  certificate('agent', 'ours');
  certificate('agent-of-other', 'other');
});
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function listening(server: HttpServer | Server | TcpServer): Promise<number> {
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

/** An HTTPS server that answers with the name in the client's certificate. */
async function secure(name: string, more: ServerOptions = {}): Promise<{ url: URL; server: Server }> {
  const server = createServer(
    { key: readFileSync(at(`${name}.key`)), cert: readFileSync(at(`${name}.pem`)), ...more },
    (request, response) => {
      const { subject } = (request.socket as unknown as { getPeerCertificate: () => { subject?: { CN?: string } } }).getPeerCertificate();
      request.resume().on('end', () => response.end(subject?.CN ?? 'nobody'));
    },
  );
  server.on('tlsClientError', () => {});
  return { url: new URL(`https://localhost:${await listening(server)}/`), server };
}

/** What a request comes to: the answer, or why there was none, as it is told to people. */
async function ask(url: URL, route: Route, posts = 1): Promise<string> {
  const connections = createConnections(url, 1, route);
  const poster = new Poster(url, connections, { connectMs: 3_000, answerMs: 3_000 });
  try {
    let text = '';
    for (let i = 0; i < posts; i++) ({ text } = await poster.post({}, Buffer.from('{}')));
    return text;
  } catch (error) {
    return connectionTrouble(codeOf(error), sentenceOf(error), url);
  } finally {
    connections.destroy();
  }
}

describe('authorities', () => {
  test('caFile vouches in place of the machine’s own; without it the option is named', async () => {
    const { url } = await secure('server');
    expect(await ask(url, { caFile: at('ours.pem') })).toBe('nobody');
    const refused = `the certificate of ${url.host} is not signed by an authority that is trusted here (caFile names one)`;
    expect(await ask(url, {})).toBe(refused);
    expect(await ask(url, { caFile: at('other.pem') })).toBe(refused);
    expect(await ask(url, { unverified: true })).toBe('nobody');
  });

  test('a file that was replaced is in force with the next connection', async () => {
    const { url, server } = await secure('server');
    writeFileSync(at('trusted.pem'), readFileSync(at('ours.pem')));
    const connections = createConnections(url, 1, { caFile: at('trusted.pem') });
    stops.push(() => Promise.resolve(connections.destroy()));
    const poster = new Poster(url, connections);
    await poster.post({}, Buffer.from('{}'));
    server.setSecureContext({ key: readFileSync(at('server-of-other.key')), cert: readFileSync(at('server-of-other.pem')) });
    server.closeAllConnections();
    await expect(poster.post({}, Buffer.from('{}'))).rejects.toMatchObject({ code: expect.stringMatching(/CERT|SIGNATURE/) as string });
    writeFileSync(at('trusted.pem'), readFileSync(at('other.pem')));
    expect((await poster.post({}, Buffer.from('{}'))).text).toBe('nobody');
  });

  test.each<[string, Route, RegExp]>([
    ['that is not there', { caFile: at('nowhere.pem') }, /^caFile: .*nowhere\.pem cannot be read \(ENOENT\)$/],
    ['that holds no certificate', { caFile: at('ours.key') }, /^caFile: .*ours\.key holds no certificate as PEM$/],
    [
      'of a key that is another’s',
      { caFile: at('ours.pem'), certFile: at('agent.pem'), keyFile: at('server.key') },
      /agent\.pem and .*server\.key do not belong together$/,
    ],
  ])('a file %s is named', async (_, route, said) => {
    const { url } = await secure('server');
    expect(await ask(url, route)).toMatch(said);
  });
});

describe('a certificate of our own', () => {
  const asked = (): ServerOptions => ({ requestCert: true, rejectUnauthorized: true, ca: readFileSync(at('ours.pem')) });

  test.each(['TLSv1.2', 'TLSv1.3'] as const)('is shown over %s; none, and another authority’s, are told apart', async (version) => {
    const { url } = await secure('server', { ...asked(), minVersion: version, maxVersion: version });
    const caFile = at('ours.pem');
    expect(await ask(url, { caFile, certFile: at('agent.pem'), keyFile: at('agent.key') })).toBe('agent');
    const said = await ask(url, { caFile });
    // Node's servers close the connection, at times before the alert is read; what alerts say is told below.
    expect(said).toMatch(/closed the connection without an answer|(asks|may ask) for a certificate of this agent/);
    const other = await ask(url, { caFile, certFile: at('agent-of-other.pem'), keyFile: at('agent-of-other.key') });
    expect(other).toMatch(/closed the connection without an answer|does not accept the certificate of this agent/);
  });

  test.each([
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'asks for a certificate of this agent: name one with certFile and keyFile'],
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'does not accept the certificate of this agent that certFile names (unknown ca)'],
    ['ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE', 'does not accept the certificate of this agent that certFile names (bad certificate)'],
    ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED', 'does not accept the certificate of this agent that certFile names (certificate expired)'],
    [
      'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE',
      'refuses the TLS connection; it may ask for a certificate of this agent (certFile and keyFile)',
    ],
  ])('%s is put into words', (code, words) => {
    expect(connectionTrouble(code, 'x', new URL('https://collector:5000'))).toBe(`collector:5000 ${words}`);
  });
});

describe('a proxy', () => {
  /** An HTTP proxy that knows CONNECT alone, and the targets it was asked for. */
  async function proxying(status = 200): Promise<{ proxy: URL; targets: string[] }> {
    const targets: string[] = [];
    const server = createHttpServer((_request, response) => response.writeHead(405).end());
    server.on('connect', ({ url = '' }, client: Socket) => {
      targets.push(url);
      if (status !== 200) return void client.end(`HTTP/1.1 ${status} No\r\n\r\n`);
      const upstream = connect(Number(url.split(':')[1]), '127.0.0.1', () => {
        client.write('HTTP/1.1 200 Yes\r\n\r\n');
        upstream.pipe(client).pipe(upstream);
      });
      for (const socket of [upstream, client]) socket.on('error', () => {});
      client.on('close', () => upstream.destroy());
    });
    return { proxy: new URL(`http://127.0.0.1:${await listening(server)}`), targets };
  }

  test('https goes through it, with the certificate of the collector checked, over one kept connection', async () => {
    const { url } = await secure('server', { requestCert: true, rejectUnauthorized: false, ca: readFileSync(at('ours.pem')) });
    const { proxy, targets } = await proxying();
    expect(await ask(url, { proxy, caFile: at('ours.pem'), certFile: at('agent.pem'), keyFile: at('agent.key') }, 3)).toBe('agent');
    expect(targets).toEqual([url.host]);
    expect(await ask(url, { proxy, caFile: at('other.pem') })).toContain('caFile');
  });

  test('http likewise', async () => {
    const server = createHttpServer((request, response) => void request.resume().on('end', () => response.end('here')));
    const url = new URL(`http://localhost:${await listening(server)}/`);
    const { proxy, targets } = await proxying();
    expect(await ask(url, { proxy }, 2)).toBe('here');
    expect(targets).toEqual([url.host]);
  });

  test('its own troubles are said to be its', async () => {
    const { url } = await secure('server');
    const { proxy } = await proxying(407);
    expect(await ask(url, { proxy })).toBe(
      `the proxy ${proxy.host} does not connect to ${url.host}: it answers with HTTP status 407, that is, it asks for a password`,
    );
    const gone = new URL('http://127.0.0.1:1');
    expect(await ask(url, { proxy: gone })).toBe('the proxy 127.0.0.1:1 does not accept connections');
    expect(await ask(new URL('http://127.0.0.1:2'), { proxy: gone })).toBe('the proxy 127.0.0.1:1 does not accept connections');
  });

  test('one that never answers is given up in time', async () => {
    const server = createHttpServer();
    server.on('connect', () => {});
    const proxy = new URL(`http://127.0.0.1:${await listening(server)}`);
    const { url } = await secure('server');
    expect(await ask(url, { proxy })).toBe(`${url.host} does not answer in time`);
  });
});
