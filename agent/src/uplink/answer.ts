/**
 * What a collector's answer means to an agent. Fields it does not know are ignored; what it needs is checked
 * by hand, for an answer can come from a proxy, a captive portal or a later version, and none may crash it.
 */
import type { Answer } from './http-post.ts';

export interface ReceivedAcknowledgement {
  serverTime: number | undefined;
  clockOffsetMs: number | undefined;
  node: { name: string; state: string; site: string } | undefined;
  committed: { bootId: string; sequences: number[] }[];
  refused: { bootId: string; sequence: number; code: string; detail: string }[];
  layoutsMissing: string[];
  notStored: { code: string; detail: string } | undefined;
  retryAfterSeconds: number | undefined;
  /** Only when it is an http or https address. */
  newAddress: string | undefined;
}

const ADDRESS_CHARS_MAX = 1_000;

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
const isSequence = (value: unknown): value is number => Number.isInteger(value) && (value as number) > 0;
const text = (value: unknown, fallback = ''): string => (typeof value === 'string' ? value.slice(0, 1_000) : fallback);

function parseObject(json: string): Json | undefined {
  try {
    const value = JSON.parse(json) as unknown;
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The acknowledgement in an answer, or undefined when it is none. */
export function parseAcknowledgement(json: string): ReceivedAcknowledgement | undefined {
  const body = parseObject(json);
  if (body === undefined || !Array.isArray(body['committed'])) return undefined;
  const committed: ReceivedAcknowledgement['committed'] = [];
  for (const item of body['committed'] as unknown[]) {
    if (!isObject(item) || typeof item['bootId'] !== 'string' || !Array.isArray(item['sequences'])) return undefined;
    committed.push({ bootId: item['bootId'], sequences: (item['sequences'] as unknown[]).filter(isSequence) });
  }
  const refused = (Array.isArray(body['refused']) ? (body['refused'] as unknown[]) : []).flatMap((item) =>
    isObject(item) && typeof item['bootId'] === 'string' && isSequence(item['sequence'])
      ? [{ bootId: item['bootId'], sequence: item['sequence'], code: text(item['code'], 'unknown'), detail: text(item['detail']) }]
      : [],
  );
  const { node, notStored, serverTime, clockOffsetMs, retryAfterSeconds, layoutsMissing, newAddress } = body as Record<string, unknown>;
  return {
    serverTime: typeof serverTime === 'number' ? serverTime : undefined,
    clockOffsetMs: typeof clockOffsetMs === 'number' ? clockOffsetMs : undefined,
    node: isObject(node) ? { name: text(node['name']), state: text(node['state']), site: text(node['site']) } : undefined,
    committed,
    refused,
    layoutsMissing: Array.isArray(layoutsMissing) ? (layoutsMissing as unknown[]).filter((hash) => typeof hash === 'string') : [],
    notStored: isObject(notStored) ? { code: text(notStored['code'], 'unknown'), detail: text(notStored['detail']) } : undefined,
    retryAfterSeconds: typeof retryAfterSeconds === 'number' && retryAfterSeconds >= 0 ? retryAfterSeconds : undefined,
    newAddress: typeof newAddress === 'string' && newAddress.length <= ADDRESS_CHARS_MAX && isHttpUrl(newAddress) ? newAddress : undefined,
  };
}

function isHttpUrl(address: string): boolean {
  return URL.canParse(address) && /^https?:$/.test(new URL(address).protocol);
}

/** A collector's problem document: its stable code and what it says; undefined when somebody else answered. */
export function parseProblem(answer: Answer): { code: string; detail: string } | undefined {
  const body = parseObject(answer.text);
  if (body === undefined || typeof body['code'] !== 'string' || !text(body['type']).startsWith('urn:tidemark:problem:')) return undefined;
  // A sentence of a collector is one line; of somebody else's a person is to see that it is one.
  return { code: body['code'], detail: text(body['detail'], text(body['title'])).replace(/\s+/g, ' ') };
}

/** Codes by which a collector refuses a whole request for something that is in it: sent again it would be refused again. */
export const POISON: ReadonlySet<string> = new Set([
  'body_malformed',
  'body_invalid',
  'layout_mismatch',
  'value_invalid',
  'time_absurd',
  'series_limit',
  'observation_too_large',
  'not_storable',
]);

/** Why nothing could be sent, for a person: from the error of a connection. */
export function connectionTrouble(code: string | undefined, message: string, server: URL): string {
  const where = server.host;
  switch (code) {
    case 'ECONNREFUSED':
      return `nothing accepts connections at ${where}`;
    case 'ENOTFOUND':
      return `the name ${server.hostname} is not known to DNS`;
    case 'EAI_AGAIN':
      return `DNS does not answer for ${server.hostname}`;
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `there is no route to ${where}`;
    case 'ETIMEDOUT':
    case 'TIDEMARK_TIMEOUT':
    case 'TIDEMARK_NO_ANSWER':
      return `${where} does not answer in time`;
    case 'ECONNRESET':
    case 'EPIPE':
      return `${where} closed the connection without an answer`;
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return `the certificate of ${where} is not signed by an authority that is trusted here (caFile names one)`;
    case 'CERT_HAS_EXPIRED':
      return `the certificate of ${where} has expired`;
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `the certificate of ${where} is for another name`;
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
      return aboutOurCertificate(code, message, where) ?? `${where} does not speak TLS: use http:// or the port that does`;
    case 'TIDEMARK_PROXY':
    case 'TIDEMARK_FILE':
      return message;
    default:
      return aboutOurCertificate(code, message, where) ?? `${where}: ${message}`;
  }
}

/** What the other side said of the certificate that this agent shows; undefined when it was about something else. */
function aboutOurCertificate(code: string | undefined, message: string, where: string): string | undefined {
  const alert =
    /ALERT_([A-Z_]+)$/.exec(code ?? '')?.[1] ?? /alert ([a-z ]+?) *(?::|$)/m.exec(message)?.[1]?.toUpperCase().replaceAll(' ', '_');
  if (alert === undefined) return undefined;
  if (alert === 'CERTIFICATE_REQUIRED') return `${where} asks for a certificate of this agent: name one with certFile and keyFile`;
  if (alert === 'HANDSHAKE_FAILURE')
    return `${where} refuses the TLS connection; it may ask for a certificate of this agent (certFile and keyFile)`;
  if (!/CERT|UNKNOWN_CA|ACCESS_DENIED/.test(alert)) return undefined;
  return `${where} does not accept the certificate of this agent that certFile names (${alert.toLowerCase().replaceAll('_', ' ')})`;
}
