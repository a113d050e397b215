/** nginx and HAProxy with the very configurations that the documents show, but for names, ports and files; each on a port of the system's choice, stopped by its own pid. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createHash, createPublicKey } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitUntil } from './postgres/cluster.ts';

const DOCUMENT = fileURLToPath(new URL('../../docs/how-to/behind-a-proxy.md', import.meta.url));
/** What the document calls the host. */
const DOCUMENTED_HOST = /ops\.example/g;

export const PROXIES = ['nginx', 'haproxy'] as const;
export type ProxyKind = (typeof PROXIES)[number];

/** A block of the document, by its language; the first that has `word` in it. */
export function documented(language: string, word = ''): string {
  const blocks = [...readFileSync(DOCUMENT, 'utf8').matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)];
  const found = blocks.find(([, its, text]) => its === language && text!.includes(word));
  if (found === undefined) throw new Error(`${DOCUMENT} has no ${language} block with "${word}"`);
  return found[2]!;
}

export interface Certificate {
  /** The authority that signed it, to be trusted. */
  caFile: string;
  certFile: string;
  keyFile: string;
  /** Certificate and key in one. */
  bothFile: string;
  /** SHA-256 of the key, as Chromium is told to trust it. */
  keySum: string;
}

/** An authority and a certificate of it for "localhost", made by OpenSSL. */
export function makeCertificate(directory: string): Certificate {
  mkdirSync(directory, { recursive: true });
  const file = (name: string): string => join(directory, name);
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'pipe', cwd: directory });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=Authority of a test');
  openssl('req', ...newKey, '-keyout', 'proxy.key', '-out', 'proxy.csr', '-subj', '/CN=localhost');
  writeFileSync(file('names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  openssl(
    'x509',
    '-req',
    '-in',
    'proxy.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    'names',
    '-out',
    'proxy.pem',
  );
  writeFileSync(file('both.pem'), readFileSync(file('proxy.pem'), 'utf8') + readFileSync(file('proxy.key'), 'utf8'), { mode: 0o600 });
  const key = createPublicKey(readFileSync(file('proxy.pem'))).export({ type: 'spki', format: 'der' });
  const keySum = createHash('sha256').update(key).digest('base64');
  return { caFile: file('ca.pem'), certFile: file('proxy.pem'), keyFile: file('proxy.key'), bothFile: file('both.pem'), keySum };
}

export interface ProxyOptions {
  kind: ProxyKind;
  /** Cut the path prefix off, by the way that the document names beside its configuration. */
  cutsPrefix: boolean;
  port: number;
  collectorUrl: string;
  certificate: Certificate;
  directory: string;
}

export interface RunningProxy {
  output: () => string;
  stop: () => Promise<void>;
}

/** Starts it and waits until it listens. */
export async function startProxy(options: ProxyOptions): Promise<RunningProxy> {
  const { kind, directory, port } = options;
  mkdirSync(directory, { recursive: true });
  const file = join(directory, `${kind}.cfg`);
  writeFileSync(file, kind === 'nginx' ? nginxFile(options) : haproxyFile(options));
  const child =
    kind === 'nginx'
      ? spawn('/usr/sbin/nginx', ['-p', directory, '-c', file, '-e', 'stderr', '-g', 'daemon off;'], { stdio: ['ignore', 'pipe', 'pipe'] })
      : spawn('/usr/sbin/haproxy', ['-db', '-f', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await exited;
  };
  try {
    await waitUntil(() => listens(port, child), { what: `${kind} to listen`, timeoutMs: 15_000 });
  } catch (error) {
    await stop();
    throw new Error(`${kind} did not start:\n${output}`, { cause: error });
  }
  return { output: () => output, stop };
}

function nginxFile({ port, collectorUrl, certificate, cutsPrefix, directory }: ProxyOptions): string {
  let server = documented('nginx')
    .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
    .replace('/etc/nginx/tls/ops.example.pem', certificate.certFile)
    .replace('/etc/nginx/tls/ops.example.key', certificate.keyFile)
    .replace('http://127.0.0.1:5000', collectorUrl)
    .replace(DOCUMENTED_HOST, 'localhost');
  if (cutsPrefix) server = server.replace(`proxy_pass ${collectorUrl};`, `proxy_pass ${collectorUrl}/;`);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory}/${name};`);
  // Where root runs it, the workers would be another user, who may not write here.
  const user = process.getuid?.() === 0 ? 'user root;\n' : '';
  return `${user}worker_processes 1;\npid ${directory}/nginx.pid;\nerror_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n${temporary.join('\n')}\n${server}\n}\n`;
}

function haproxyFile({ port, collectorUrl, certificate, cutsPrefix }: ProxyOptions): string {
  const text = documented('haproxy')
    .replace('bind :443', `bind 127.0.0.1:${port}`)
    .replace('/etc/haproxy/tls/ops.example.pem', certificate.bothFile)
    .replace('127.0.0.1:5000', new URL(collectorUrl).host);
  if (!cutsPrefix) return text;
  const cut = text.replace(/# To cut the prefix off.*: (http-request replace-path .*)$/m, '$1');
  if (cut === text) throw new Error('the document does not say how HAProxy cuts the prefix off');
  return cut;
}

function listens(port: number, child: ChildProcess): Promise<boolean> {
  if (child.exitCode !== null) return Promise.reject(new Error('it has ended'));
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => (socket.destroy(), resolve(true))).on('error', () => resolve(false));
  });
}

/** A port of the system's choice. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
