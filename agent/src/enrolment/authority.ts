/**
 * The collector's self-made certificate authority, pinned by the fingerprint in an enrolment string: it is fetched from whoever
 * answers, and nothing of the answer is believed before its SHA-256 is the one that a person carried here.
 */
import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { EXIT } from '@tidemark/service';
import type { Route } from '../uplink/connections.ts';
import { Poster, type Answer } from '../uplink/http-post.ts';
import { addressBelow, troubleOf, withConnections, type Asked } from './exchange.ts';

export const AUTHORITY_PATH = '/documentation/downloads/ca.pem';
const PEM_CHARS_MAX = 64 * 1024;
const TIMEOUTS = { connectMs: 5_000, answerMs: 10_000 };

export type FetchedAuthority = { readonly kind: 'fetched'; readonly pem: string } | Extract<Asked, { kind: 'trouble' }>;

/** The PEM of the authority with this fingerprint (64 hexadecimal digits of SHA-256). One attempt. */
export async function fetchAuthority(server: URL, fingerprint: string, route: Route): Promise<FetchedAuthority> {
  let answer: Answer;
  try {
    answer = await withConnections(server, { ...route, caFile: undefined, unverified: true }, (connections) =>
      new Poster(addressBelow(server, AUTHORITY_PATH), connections, TIMEOUTS).get(),
    );
  } catch (error) {
    return troubleOf(error, server);
  }
  if (answer.status !== 200)
    return {
      kind: 'trouble',
      exitCode: EXIT.notACollector,
      detail: `${server.href} answers with HTTP status ${answer.status} where a collector gives its certificate authority`,
      again: answer.status >= 500,
      retryAfterSeconds: answer.retryAfterSeconds,
    };
  const pem = authorityIn(answer.text, fingerprint);
  if (pem !== undefined) return { kind: 'fetched', pem };
  const detail =
    `the certificate authority that ${server.host} gives is not the one that the enrolment string names: ` +
    'somebody may stand between, or the collector has a new one. Make a new string on the collector with tidemark-collector enroll';
  return { kind: 'trouble', exitCode: EXIT.tlsFailed, detail, again: false };
}

/** The certificate with this fingerprint out of a PEM file, alone; undefined when it is not in there. */
export function authorityIn(text: string, fingerprint: string): string | undefined {
  if (text.length > PEM_CHARS_MAX) return undefined;
  const wanted = Buffer.from(fingerprint, 'hex');
  for (const block of text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? []) {
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(block);
    } catch {
      continue;
    }
    const found = createHash('sha256').update(certificate.raw).digest();
    if (wanted.length === found.length && timingSafeEqual(found, wanted)) return certificate.toString();
  }
  return undefined;
}

/** Whether a file has the authority with this fingerprint. */
export function hasAuthority(file: string | undefined, fingerprint: string): boolean {
  if (file === undefined) return false;
  try {
    return authorityIn(readFileSync(file, 'utf8'), fingerprint) !== undefined;
  } catch {
    return false;
  }
}
