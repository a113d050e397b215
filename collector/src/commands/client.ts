/** How the command line speaks to the running collector: over HTTP with the admin token, like any other program. */
import { readFileSync } from 'node:fs';
import type { Problem } from '@tidemark/protocol';
import { EXIT, OperationalFailure, codeOf, sentenceOf } from '@tidemark/service';
import { request } from 'undici';
import { printable } from './table.ts';

export interface CollectorClient {
  /** Resolves with the answer's document; rejects with a sentence. */
  call<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown, options?: { timeoutMs?: number }): Promise<T>;
}

export interface ClientOptions {
  url: string;
  tokenFile: string;
}

const TIMEOUT_MS = 15_000;

export function connectTo({ url, tokenFile }: ClientOptions): CollectorClient {
  const token = readToken(tokenFile);
  return {
    async call(method, path, body, { timeoutMs = TIMEOUT_MS } = {}) {
      let status: number;
      let text: string;
      try {
        // Relative to the address, which may have a path of its own.
        const response = await request(new URL(path.slice(1), `${url}/`), {
          method,
          headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          headersTimeout: timeoutMs,
          bodyTimeout: timeoutMs,
        });
        status = response.statusCode;
        text = await response.body.text();
      } catch (error) {
        const code = codeOf(error);
        const why = code === 'ECONNREFUSED' ? 'nothing listens there' : code === 'ENOTFOUND' ? 'there is no such host' : sentenceOf(error);
        throw new OperationalFailure(
          `No collector answers at ${url}: ${why}. Start it (npm start, or tidemark-collector run), or name another with --server.`,
          EXIT.failed,
          { cause: error },
        );
      }
      if (status >= 300) throw new OperationalFailure(refusal(status, text, tokenFile));
      return (text === '' ? undefined : parsed(text, url)) as never;
    },
  };
}

function parsed(text: string, url: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new OperationalFailure(`What answers at ${url} is not a collector. Name it with --server.`, EXIT.failed, { cause: error });
  }
}

function readToken(file: string): string {
  let token: string;
  try {
    token = readFileSync(file, 'utf8').trim();
  } catch (error) {
    const why =
      codeOf(error) === 'ENOENT' ? 'there is no such file' : codeOf(error) === 'EACCES' ? 'this user may not read it' : sentenceOf(error);
    throw new OperationalFailure(
      `The credential ${file} cannot be read: ${why}. Name the collector's data directory with --data-dir, or a token's file with --token-file.`,
      EXIT.failed,
      { cause: error },
    );
  }
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new OperationalFailure(`${file} does not hold a token, alone on one line.`);
}

function refusal(status: number, text: string, tokenFile: string): string {
  try {
    const { detail, code } = JSON.parse(text) as Partial<Problem>;
    if (detail === undefined || code === undefined) throw new TypeError('not a problem document');
    const hint = code === 'credential_unknown' ? ` (the token was read from ${tokenFile})` : '';
    // A configuration's mistakes are a line each.
    const lines = `${detail}${hint} [${code}]`.split('\n');
    return lines.map((line) => printable(line)).join('\n');
  } catch {
    return `The address answers with ${status}, and not as a collector does. Is it one?`;
  }
}
