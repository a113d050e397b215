/**
 * Stands between machines and the collector as a proxy would, and passes everything on, except what a test has it change: other
 * downloads, downloads that are cut, a collector that is gone. Downloads that it changes are signed with the collector's own key
 * unless a test says otherwise, for they are to be believed.
 */
import { execFileSync } from 'node:child_process';
import { createHash, createPrivateKey, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as ask, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const DOWNLOADS = '/documentation/downloads/';
const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');

export class Gate {
  readonly url: string;
  /** What was asked for, in order: method, path, and bytes that went out. */
  readonly asked: { path: string; sizeBytes: number }[] = [];
  readonly #server: Server;
  readonly #collector: URL;
  readonly #dataDir: string;
  #replaced = new Map<string, Buffer>();
  #script: ((text: string) => string) | undefined;
  #onRequest: ((path: string, response: ServerResponse) => boolean) | undefined;
  #cut: { name: string; afterBytes: number; times: number } | undefined;

  private constructor(server: Server, address: string, collector: URL, dataDir: string) {
    this.#server = server;
    this.#collector = collector;
    this.#dataDir = dataDir;
    this.url = `http://${address}:${(server.address() as AddressInfo).port}`;
  }

  static async open(address: string, collector: { url: string; ready: { dataDir: string } }): Promise<Gate> {
    const server = createServer();
    server.listen(0, address);
    await once(server, 'listening');
    const gate = new Gate(server, address, new URL(collector.url), collector.ready.dataDir);
    server.on('request', (request, response) => gate.#handle(request, response));
    return gate;
  }

  /** Everything passes unchanged again. */
  clear(): void {
    this.#replaced = new Map();
    this.#script = undefined;
    this.#onRequest = undefined;
    this.#cut = undefined;
    this.asked.length = 0;
  }

  replace(name: string, bytes: Buffer): void {
    this.#replaced.set(name, bytes);
  }

  /** The connection ends after so many bytes of a download, that often. */
  cut(name: string, afterBytes: number, times: number): void {
    this.#cut = { name, afterBytes, times };
  }

  /** Answers a request itself when the function returns true. */
  intercept(handler: (path: string, response: ServerResponse) => boolean): void {
    this.#onRequest = handler;
  }

  /** Offers another version of the agent: what is served now, changed by a function of its source. */
  async offer(version: string, change: (source: string) => string = (source) => source): Promise<void> {
    const release = JSON.parse(await this.#text('release.json')) as {
      version: string;
      files: Record<string, { sha256: string; sizeBytes: number }>;
    };
    const oldName = `tidemark-agent-${release.version}.tar.gz`;
    const archive = repack(
      await this.#bytes(oldName),
      (source) => change(source.replaceAll(`"${release.version}"`, `"${version}"`)),
      version,
    );
    const name = `tidemark-agent-${version}.tar.gz`;
    const { [oldName]: _, ...others } = release.files;
    const files = { ...others, [name]: { sha256: sha256(archive), sizeBytes: archive.length } };
    const releaseText = Buffer.from(JSON.stringify({ ...release, version, files }));
    const rows = (await this.#text('SHA256SUMS'))
      .split('\n')
      .filter((row) => row !== '' && !row.endsWith(` ${oldName}`) && !row.endsWith(' release.json'));
    const sums = Buffer.from(
      [...rows, `${sha256(archive)}  ${name}`, `${sha256(releaseText)}  release.json`].map((row) => `${row}\n`).join(''),
    );
    this.replace(name, archive);
    this.replace('release.json', releaseText);
    this.replace('SHA256SUMS', sums);
    this.replace('SHA256SUMS.sig', sign(null, sums, createPrivateKey(readFileSync(join(this.#dataDir, 'downloads-key.pem')))));
    this.#script = (text) => text.replace(/^TIDEMARK_VERSION='.*'$/m, `TIDEMARK_VERSION='${version}'`);
  }

  /** Bytes of downloads that went out since the last `clear`. */
  downloadedBytes(): number {
    return this.asked.filter(({ path }) => path.startsWith(DOWNLOADS)).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #bytes(name: string): Promise<Buffer> {
    return Buffer.from(await (await fetch(new URL(DOWNLOADS + name, this.#collector))).arrayBuffer());
  }

  async #text(name: string): Promise<string> {
    return (await this.#bytes(name)).toString('utf8');
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? '/';
    const entry = { path, sizeBytes: 0 };
    this.asked.push(entry);
    if (this.#onRequest?.(path, response) === true) return void request.resume();
    const name = path.startsWith(DOWNLOADS) ? path.slice(DOWNLOADS.length) : undefined;
    const own = name === undefined ? undefined : this.#replaced.get(name);
    if (own !== undefined) {
      entry.sizeBytes = own.length;
      response.writeHead(200, { 'content-length': own.length }).end(own);
      return;
    }
    const onward = ask(
      new URL(path, this.#collector),
      { method: request.method, headers: { ...request.headers, connection: 'close' } },
      (answer) => {
        if (name === 'agent-install-linux.sh' && this.#script !== undefined) {
          this.#rewrite(answer, response);
          return;
        }
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        let ending = false;
        answer.on('data', (chunk: Buffer) => {
          entry.sizeBytes += chunk.length;
          const cut = this.#cut;
          if (ending || cut === undefined || cut.name !== name || cut.times === 0 || entry.sizeBytes < cut.afterBytes) return;
          ending = true;
          cut.times -= 1;
          // What was sent already is to arrive, and then nothing.
          setImmediate(() => {
            answer.destroy();
            response.destroy();
          });
        });
        answer.pipe(response);
      },
    );
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  }

  #rewrite(answer: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    answer.on('data', (chunk: Buffer) => chunks.push(chunk));
    answer.on('end', () => response.end(this.#script!(Buffer.concat(chunks).toString('utf8'))));
  }
}

function repack(archive: Buffer, change: (source: string) => string, version: string): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-repack-'));
  try {
    execFileSync('tar', ['-xz', '-C', directory], { input: archive });
    const program = join(directory, 'tidemark-agent.cjs');
    writeFileSync(program, change(readFileSync(program, 'utf8')));
    writeFileSync(join(directory, 'VERSION'), `${version}\n`);
    return execFileSync('tar', ['-cz', '-C', directory, '.'], { maxBuffer: 64 * 1024 * 1024 });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
