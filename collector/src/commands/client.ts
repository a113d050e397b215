/** How the command line speaks to the running collector: over HTTP with the admin token, like any other program. */
import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import type { Problem } from '@tidemark/protocol';
import { EXIT, OperationalFailure, codeOf, sentenceOf } from '@tidemark/service';
import { Agent, request, type Dispatcher } from 'undici';
import type { LocalTrust } from '../http/tls.ts';
import { printable } from './table.ts';

export interface CollectorClient {
  /** Resolves with the answer's document; rejects with a sentence. */
  call<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown, options?: { timeoutMs?: number }): Promise<T>;
}

/** Where a collector is. */
export interface CollectorAddress {
  url: string;
  /** What is trusted for https, besides the public authorities. */
  trust?: LocalTrust | undefined;
}

export interface ClientOptions extends CollectorAddress {
  tokenFile: string;
}

const TIMEOUT_MS = 15_000;

export function connectTo({ url, tokenFile, trust }: ClientOptions): CollectorClient {
  const token = readToken(tokenFile);
  const dispatcher = dispatcherFor(trust);
  return {
    async call(method, path, body, { timeoutMs = TIMEOUT_MS } = {}) {
      const { status, text } = await ask({ url, dispatcher }, path, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      });
      if (status >= 300) throw new OperationalFailure(refusal(status, text, tokenFile));
      return (text === '' ? undefined : parsed(text, url)) as never;
    },
  };
}

/** What an address answers to anybody. Rejects with a sentence when nothing does. */
export async function askAnybody(
  { url, trust }: CollectorAddress,
  path: string,
  timeoutMs: number,
): Promise<{ status: number; text: string }> {
  return ask({ url, dispatcher: dispatcherFor(trust) }, path, { method: 'GET', headersTimeout: timeoutMs, bodyTimeout: timeoutMs });
}

type Sent = Pick<Dispatcher.RequestOptions, 'headersTimeout' | 'bodyTimeout'> & {
  method: 'GET' | 'POST' | 'DELETE';
  headers?: Record<string, string>;
  body?: string;
};

async function ask(
  { url, dispatcher }: { url: string; dispatcher: Dispatcher | undefined },
  path: string,
  sent: Sent,
): Promise<{ status: number; text: string }> {
  try {
    // Relative to the address, which may have a path of its own.
    const response = await request(new URL(path.slice(1), `${url}/`), { ...sent, ...(dispatcher === undefined ? {} : { dispatcher }) });
    return { status: response.statusCode, text: await response.body.text() };
  } catch (error) {
    throw new OperationalFailure(
      `No collector answers at ${url}: ${whyNot(error)}. Start it (npm start, or tidemark-collector run), or name another with --server.`,
      EXIT.failed,
      { cause: error },
    );
  }
}

function whyNot(error: unknown): string {
  switch (codeOf(error)) {
    case 'ECONNREFUSED':
      return 'nothing listens there';
    case 'ENOTFOUND':
      return 'there is no such host';
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
      return 'what listens there does not speak HTTPS; is it http://?';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return 'its certificate is not for that name; use one that it is for (tlsNames adds names to a self-made one)';
    case 'CERT_HAS_EXPIRED':
      return "its certificate has expired, or this machine's clock is wrong";
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return 'nobody that is trusted here vouches for its certificate; name the authority with --ca-file';
    default:
      return sentenceOf(error);
  }
}

/** Undefined where the public authorities are all that is trusted. */
function dispatcherFor(trust: LocalTrust | undefined): Dispatcher | undefined {
  if (trust === undefined) return undefined;
  let pem: string;
  try {
    pem = readFileSync(trust.file, 'utf8');
  } catch {
    // Of another user: the answer is judged as anybody would judge it.
    return undefined;
  }
  if (!trust.exact) return new Agent({ connect: { ca: [...rootCertificates, pem] } });
  // Read by who may: the certificate itself is known, so its name and its authority need not be.
  const [own = pem] = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/.exec(pem) ?? [];
  return new Agent({ connect: { ca: own, allowPartialTrustChain: true, checkServerIdentity: () => undefined } });
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
    if (status === 400 && text.includes('speaks HTTPS')) return text.trim();
    return `The address answers with ${status}, and not as a collector does. Is it one?`;
  }
}
