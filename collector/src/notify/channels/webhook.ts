/**
 * Signed webhooks after Standard Webhooks 1.0.0 (standardwebhooks.com): one POST, one answer. The message's id stays the
 * same over all attempts, the time and the signature are the attempt's. No redirect is followed.
 */
import { createHmac } from 'node:crypto';
import { lookup as dnsLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { BlockList, isIP, isIPv6 } from 'node:net';
import { EXIT, OperationalFailure, codeOf, sentenceOf } from '@tidemark/service';
import { Type, type Static } from 'typebox';
import { Agent, request, type Dispatcher } from 'undici';
import { oneLine } from '../wording.ts';
import type { Channel, ChannelKind, Sent } from './channel.ts';
import { readChannelFile } from './secrets.ts';
import { webhookPayload } from './webhook-payload.ts';

const ATTEMPT_MS = 15_000;
const CONNECT_MS = 5_000;
const ANSWER_BYTES = 4_096;
const SECRET_BYTES = { min: 24, max: 64 };

/** Those that say what the body is and who signed it are ours. */
const OWN_HEADERS = /^(webhook-.*|content-.*|host|connection|transfer-encoding|expect|upgrade|te|trailer|keep-alive|user-agent)$/i;

export const WebhookOptions = Type.Object({
  url: Type.Refine(
    Type.String({ maxLength: 2_000, wanted: 'an http:// or https:// address without a user and a password' }),
    (text) => /^https?:\/\/[^/?#@\s]+([/?][^#\s]*)?$/.test(text) && URL.canParse(text),
  ),
  secretFile: Type.String({
    minLength: 1,
    wanted: 'a file with "whsec_…" in it, one secret on a line; all of them sign',
  }),
  headers: Type.Optional(
    Type.Refine(
      Type.Record(Type.String(), Type.String(), {
        wanted: 'names and values of at most 20 headers; webhook-*, content-* and the like are set already',
      }),
      (headers) =>
        Object.keys(headers).length <= 20 &&
        Object.entries(headers).every(
          ([name, value]) => /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(name) && !OWN_HEADERS.test(name) && /^[\x20-\x7e]*$/.test(value),
        ),
    ),
  ),
  caFile: Type.Optional(Type.String({ minLength: 1, wanted: 'a file with certificates (PEM) to trust instead of those of the system' })),
});
export type WebhookOptions = Static<typeof WebhookOptions>;

/**
 * Where the machines of a cloud hand out credentials to whoever asks from inside: never a receiver of alerts. Everything
 * else is allowed, loopback and private networks included: who writes this file operates the collector already, and most
 * receivers of its alerts stand beside it.
 */
const METADATA = new BlockList();
METADATA.addSubnet('169.254.0.0', 16, 'ipv4');
METADATA.addSubnet('fe80::', 10, 'ipv6');
METADATA.addAddress('fd00:ec2::254', 'ipv6');
METADATA.addAddress('100.100.100.200', 'ipv4');

/** A BlockList matches IPv4 addresses in their IPv6 form as well. */
const isMetadata = (address: string): boolean => METADATA.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');

class MetadataAddress extends Error {
  constructor(address: string) {
    super(`${address} is a link-local or cloud metadata address`);
  }
}

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

/** As node looks names up, but a name that leads to a metadata address leads nowhere. Looked at when connecting, so that no change in between matters. */
function guardedLookup(hostname: string, options: LookupOptions, callback: LookupCallback): void {
  dnsLookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, []);
    const wrong = addresses.find(({ address }) => isMetadata(address));
    if (wrong !== undefined) return callback(new MetadataAddress(wrong.address), []);
    return options.all ? callback(null, addresses) : callback(null, addresses[0]!.address, addresses[0]!.family);
  });
}

/** The keys in a secret file. Throws an OperationalFailure for what is none. */
export function parseSecrets(text: string, file: string): Buffer[] {
  return text
    .split(/\s+/)
    .filter(Boolean)
    .map((secret, i) => {
      const base64 = secret.startsWith('whsec_') ? secret.slice('whsec_'.length) : '';
      const key = Buffer.from(base64, 'base64');
      const wellFormed = /^[A-Za-z0-9+/]+={0,2}$/.test(base64) && key.toString('base64').replace(/=+$/, '') === base64.replace(/=+$/, '');
      if (wellFormed && key.length >= SECRET_BYTES.min && key.length <= SECRET_BYTES.max) return key;
      throw new OperationalFailure(
        `${file}: secret ${i + 1} is not "whsec_" and the base64 of ${SECRET_BYTES.min} to ${SECRET_BYTES.max} bytes. Make one: echo "whsec_$(head -c 32 /dev/urandom | base64)"`,
        EXIT.configuration,
      );
    });
}

/** The `webhook-signature` header: a signature by each key. */
export function signature(id: string, timestamp: number, body: string, keys: readonly Buffer[]): string {
  return keys.map((key) => `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`).join(' ');
}

export const webhook: ChannelKind<WebhookOptions> = {
  kind: 'webhook',
  options: WebhookOptions,
  attemptMs: ATTEMPT_MS,
  make: makeWebhook,
};

function makeWebhook({ url: address, secretFile, headers = {}, caFile }: WebhookOptions): Channel {
  const url = new URL(address);
  const keys = parseSecrets(readChannelFile(secretFile, "the webhook's secret"), secretFile);
  const ca = caFile === undefined ? {} : { ca: readChannelFile(caFile, 'certificates to trust') };
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const dispatcher = new Agent({
    connect: { timeout: CONNECT_MS, lookup: guardedLookup, ...ca },
    headersTimeout: ATTEMPT_MS,
    bodyTimeout: ATTEMPT_MS,
    // A connection each: one that was kept may be closed by the other side just when it is needed.
    pipelining: 0,
    connections: 2,
  });
  return {
    destination: url.host,
    async send(message, { now, signal }) {
      // What is an address already is not looked up.
      if (isIP(host) !== 0 && isMetadata(host)) return refusedMetadata(new MetadataAddress(host));
      const body = JSON.stringify(webhookPayload(message));
      const timestamp = Math.floor(now / 1_000);
      try {
        const response = await request(url, {
          method: 'POST',
          dispatcher,
          signal,
          body,
          headers: {
            ...headers,
            'content-type': 'application/json',
            'user-agent': 'Tidemark',
            'webhook-id': message.id,
            'webhook-timestamp': String(timestamp),
            'webhook-signature': signature(message.id, timestamp, body, keys),
          },
        });
        return judge(response, await readAnswer(response), now);
      } catch (error) {
        return failed(error);
      }
    },
    close: () => dispatcher.destroy(),
  };
}

/** At most the first 4 KB, as one line. The status counts even when the rest never comes. */
async function readAnswer({ body }: Dispatcher.ResponseData): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= ANSWER_BYTES) break;
    }
  } catch {
    // What was read will do.
  }
  body.on('error', () => {});
  body.destroy();
  return oneLine(Buffer.concat(chunks).subarray(0, ANSWER_BYTES).toString('utf8'), 200);
}

function judge({ statusCode, headers }: Dispatcher.ResponseData, text: string, now: number): Sent {
  const answer = `HTTP ${statusCode}${text === '' ? '' : `: ${text}`}`;
  if (statusCode >= 200 && statusCode < 300) return { outcome: 'delivered', answer };
  if (statusCode === 410) return { outcome: 'gone', answer };
  if (statusCode >= 300 && statusCode < 400) {
    const to = headerOf(headers['location']);
    const where = to === undefined ? '' : ` to ${oneLine(to.split(/[?#]/)[0]!)}`;
    return {
      outcome: 'refused',
      answer: `HTTP ${statusCode}: redirected${where}; redirects are not followed, configure the address itself`,
    };
  }
  if (statusCode === 408 || statusCode === 425 || statusCode === 429 || statusCode >= 500) {
    const retryAfterMs = parseRetryAfter(headerOf(headers['retry-after']), now);
    return { outcome: 'retry', answer, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  }
  return { outcome: 'refused', answer };
}

const headerOf = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value);

/** How long to wait, from `Retry-After` as seconds or as an HTTP date; undefined for anything else. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  const text = value?.trim() ?? '';
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  // Date.parse takes far more than HTTP has: all three forms of an HTTP date begin with the name of a day.
  const at = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text) ? Date.parse(text.endsWith('GMT') ? text : `${text} GMT`) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

const refusedMetadata = (error: MetadataAddress): Sent => ({
  outcome: 'refused',
  answer: `not sent: ${error.message}, where no alert belongs`,
});

const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'the name cannot be looked up just now',
  ECONNRESET: 'the connection was cut',
  UND_ERR_SOCKET: 'the connection was cut',
  UND_ERR_CONNECT_TIMEOUT: `no connection within ${CONNECT_MS / 1_000} s`,
  UND_ERR_ABORTED: `no answer within ${ATTEMPT_MS / 1_000} s`,
  UND_ERR_HEADERS_TIMEOUT: `no answer within ${ATTEMPT_MS / 1_000} s`,
  EHOSTUNREACH: 'no way leads there',
  ENETUNREACH: 'no way leads there',
};

function failed(error: unknown): Sent {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
    if (cause instanceof MetadataAddress) return refusedMetadata(cause);
  const code = codeOf(error) ?? '';
  if ((error as Error).name === 'AbortError') return { outcome: 'retry', answer: NETWORK['UND_ERR_ABORTED']! };
  if (/CERT|SELF_SIGNED|UNABLE_TO|ERR_TLS|EPROTO|ERR_SSL/.test(code))
    return { outcome: 'retry', answer: `the certificate is not trusted or TLS fails (${code}); name its issuer with caFile` };
  return { outcome: 'retry', answer: NETWORK[code] ?? oneLine(sentenceOf(error)) };
}
