/** The console's files, read into memory at start: the page for the addresses it knows, its assets for ever, nothing else. */
import { readFileSync, readdirSync } from 'node:fs';
import { extname, join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ProblemError } from '@tidemark/protocol';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
};
/** Addresses that the page itself makes sense of. */
const PAGES = ['/', '/sign-in', '/add-node', '/nodes', '/nodes/*', '/alerts', '/alerts/*', '/replication', '/settings'];
const NOT_BUILT =
  '<!doctype html><html lang="en"><title>Tidemark</title><p>The console has not been built: <code>npm run build</code>. The API is at <a href="/api/docs">/api/docs</a>.';

interface File {
  type: string;
  plain: Buffer;
  gzip: Buffer | undefined;
  brotli: Buffer | undefined;
}

/** @param prefix the path below which browsers find this collector: "/tidemark", or empty for none. */
export function consoleFiles(app: FastifyInstance, directory: string, prefix = ''): void {
  const files = readFiles(directory);
  const built = files.get('/index.html');
  const page = built === undefined ? toFile('.html', Buffer.from(NOT_BUILT)) : belowPrefix(built, prefix);
  for (const url of PAGES) {
    app.get(url, {
      config: { access: 'public' },
      schema: { hide: true },
      handler: (request, reply) => sendFile(request, reply.header('cache-control', 'no-cache'), page),
    });
  }
  app.get('/assets/*', {
    config: { access: 'public' },
    schema: { hide: true },
    handler: (request, reply) => {
      const file = files.get(new URL(request.url, 'http://x').pathname);
      if (file === undefined) throw new ProblemError('not_found', 'There is no such file.');
      return sendFile(request, reply.header('cache-control', 'public, max-age=31536000, immutable'), file);
    },
  });
  for (const [url, file] of files) {
    if (url === '/index.html' || url.startsWith('/assets/')) continue;
    app.get(url, {
      config: { access: 'public' },
      schema: { hide: true },
      handler: (request, reply) => sendFile(request, reply.header('cache-control', 'max-age=3600'), file),
    });
  }
}

/** The page names its files from the root, and says in a meta element where that is. */
function belowPrefix(page: File, prefix: string): File {
  if (prefix === '') return page;
  const text = page.plain
    .toString('utf8')
    .replaceAll(/(\b(?:href|src)=")\//g, `$1${prefix}/`)
    .replace('<meta name="tidemark-base" content="/"', `<meta name="tidemark-base" content="${prefix}/"`);
  return toFile('.html', Buffer.from(text));
}

function sendFile(request: FastifyRequest, reply: FastifyReply, file: File): FastifyReply {
  const accepted = request.headers['accept-encoding'] ?? '';
  void reply.type(file.type).header('vary', 'accept-encoding');
  if (file.brotli !== undefined && accepts(accepted, 'br')) return reply.header('content-encoding', 'br').send(file.brotli);
  if (file.gzip !== undefined && accepts(accepted, 'gzip')) return reply.header('content-encoding', 'gzip').send(file.gzip);
  return reply.send(file.plain);
}

/** Whether an Accept-Encoding names an encoding, and not to refuse it. */
function accepts(header: string, encoding: string): boolean {
  return header.split(',').some((part) => {
    const [name, ...parameters] = part.split(';').map((word) => word.trim().toLowerCase());
    return name === encoding && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}

function toFile(extension: string, plain: Buffer): File {
  const worth = plain.length > 1_024 && extension !== '.png';
  return {
    type: TYPES[extension] ?? 'application/octet-stream',
    plain,
    gzip: worth ? gzipSync(plain) : undefined,
    brotli: worth ? brotliCompressSync(plain) : undefined,
  };
}

function readFiles(directory: string): Map<string, File> {
  const files = new Map<string, File>();
  let names: string[];
  try {
    names = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  } catch {
    return files;
  }
  for (const name of names) {
    const extension = extname(name);
    if (TYPES[extension] !== undefined) files.set(`/${name.replaceAll('\\', '/')}`, toFile(extension, readFileSync(join(directory, name))));
  }
  return files;
}
