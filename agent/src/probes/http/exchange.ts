/**
 * One request to an endpoint and what came of it, phase by phase, over a connection of its own. It is bounded in time and
 * size, and says nothing secret to a server that has not proved who it is.
 */
import { lookup as systemLookup } from 'node:dns';
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, type PeerCertificate, type TLSSocket } from 'node:tls';

export const PHASES = ['resolve', 'connect', 'tls', 'processing', 'transfer'] as const;
export type Phase = (typeof PHASES)[number];

/** Where and why it went wrong. A bounded set: it is a label. */
export const FAILURES = [
  'configuration',
  'resolve',
  'connect',
  'tls',
  'timeout',
  'protocol',
  'redirect',
  'status',
  'body',
  'unhealthy',
] as const;
export type FailureReason = (typeof FAILURES)[number];

export interface Failure {
  readonly reason: FailureReason;
  /** One sentence for a person, without secrets. */
  readonly detail: string;
}

/** More of a body is not read: it is looked at, not kept. */
export const BODY_BYTES_MAX = 64 * 1024;
const HEADER_BYTES_MAX = 16 * 1024;
const REDIRECTS_MAX = 5;

export interface ExchangeRequest {
  readonly url: URL;
  readonly method: 'GET' | 'HEAD';
  /** Sent to the first origin alone; secrets may be in them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Certificates to trust in the place of the built-in ones (PEM). */
  readonly ca: string | undefined;
  /** A redirect that is wanted is an answer, and not followed. */
  readonly wantsStatus: (status: number) => boolean;
  /** Aborted when nobody waits any more. */
  readonly signal: AbortSignal;
}

export interface Exchange {
  /** 0 when there was no answer. */
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  /** Milliseconds from the beginning to the end, or to the failure. */
  readonly totalMs: number;
  readonly phasesMs: Readonly<Partial<Record<Phase, number>>>;
  /** Earliest end of a certificate in the chain that was shown, in milliseconds since 1970. */
  readonly certificateNotAfter: number | undefined;
  readonly failure: Failure | undefined;
}

/** What an exchange takes from outside. */
export interface ExchangeDoor {
  readonly now: () => number;
  readonly lookup: LookupFunction;
}

export const systemDoor: ExchangeDoor = { now: () => performance.now(), lookup: systemLookup };

interface Place {
  readonly host: string;
  readonly port: number;
  readonly lookup: ExchangeDoor['lookup'];
}

class ExchangeFailure extends Error {
  readonly failure: Failure;
  constructor(reason: FailureReason, detail: string) {
    super(detail);
    this.failure = { reason, detail };
  }
}

/** Asks once, following redirects. Never rejects. */
export async function exchange(request: ExchangeRequest, door: ExchangeDoor = systemDoor): Promise<Exchange> {
  const attempt = new Attempt(request, door);
  try {
    return await attempt.run();
  } catch (error) {
    return attempt.failed(error);
  } finally {
    attempt.end();
  }
}

class Attempt {
  readonly #request: ExchangeRequest;
  readonly #door: ExchangeDoor;
  readonly #startedMs: number;
  readonly #phasesMs: Partial<Record<Phase, number>> = {};
  readonly #late: Promise<never>;
  readonly #timer: NodeJS.Timeout;
  readonly #sockets: Socket[] = [];
  #phase: Phase = 'resolve';
  #phaseStartedMs: number;
  #certificateNotAfter: number | undefined;

  constructor(request: ExchangeRequest, door: ExchangeDoor) {
    this.#request = request;
    this.#door = door;
    this.#startedMs = this.#phaseStartedMs = door.now();
    let reject!: (error: Error) => void;
    this.#late = new Promise<never>((_, refuse) => (reject = refuse));
    this.#late.catch(() => {});
    this.#timer = setTimeout(() => reject(new ExchangeFailure('timeout', this.#lateSentence())), request.timeoutMs);
    request.signal.addEventListener('abort', () => reject(new ExchangeFailure('timeout', 'The agent stopped.')), { once: true });
  }

  async run(): Promise<Exchange> {
    const { method, headers } = this.#request;
    let url = this.#request.url;
    for (let redirects = 0; ; redirects++) {
      const socket = await this.#within(this.#open(url));
      const isFirstOrigin = url.origin === this.#request.url.origin;
      const response = await this.#within(
        this.#ask(socket, url, method, isFirstOrigin ? headers : { 'user-agent': headers['user-agent']! }),
      );
      const location = response.headers.location;
      const status = response.statusCode ?? 0;
      if (status >= 300 && status < 400 && location !== undefined && !this.#request.wantsStatus(status)) {
        response.resume();
        socket.destroy();
        if (redirects >= REDIRECTS_MAX) throw new ExchangeFailure('redirect', `It redirects more than ${REDIRECTS_MAX} times.`);
        url = redirected(url, location);
        continue;
      }
      const body = await this.#within(this.#read(response));
      this.#endPhase('transfer');
      return {
        status,
        contentType: response.headers['content-type'] ?? '',
        body,
        totalMs: this.#door.now() - this.#startedMs,
        phasesMs: this.#phasesMs,
        certificateNotAfter: this.#certificateNotAfter,
        failure: undefined,
      };
    }
  }

  failed(error: unknown): Exchange {
    const failure = error instanceof ExchangeFailure ? error.failure : this.#failureOf(error);
    this.#endPhase(this.#phase);
    return {
      status: 0,
      contentType: '',
      body: '',
      totalMs: this.#door.now() - this.#startedMs,
      phasesMs: this.#phasesMs,
      certificateNotAfter: this.#certificateNotAfter,
      failure,
    };
  }

  end(): void {
    clearTimeout(this.#timer);
    for (const socket of this.#sockets) socket.destroy();
  }

  #within<T>(work: Promise<T>): Promise<T> {
    // When the time is up first, what the work says later is nobody's.
    work.catch(() => {});
    return Promise.race([work, this.#late]);
  }

  /** Redirects add up: a phase is the time spent in it altogether. */
  #endPhase(phase: Phase): void {
    const now = this.#door.now();
    this.#phasesMs[phase] = (this.#phasesMs[phase] ?? 0) + (now - this.#phaseStartedMs);
    this.#phaseStartedMs = now;
  }

  #begin(phase: Phase): void {
    this.#phase = phase;
    this.#phaseStartedMs = this.#door.now();
  }

  async #open(url: URL): Promise<Socket> {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const isSecure = url.protocol === 'https:';
    const place = {
      host,
      port: Number(url.port) || (isSecure ? 443 : 80),
      lookup: this.#door.lookup,
    };
    this.#begin('resolve');
    return isSecure ? this.#connectSecurely(place) : this.#connected(connectTcp({ ...place, noDelay: true }), place);
  }

  /** Looked up and connected; of several addresses the first that answers counts. */
  #connected<S extends Socket>(socket: S, { host, port }: Place): Promise<S> {
    this.#sockets.push(socket);
    const isResolved = (): void => {
      if (this.#phase !== 'resolve') return;
      this.#endPhase('resolve');
      this.#begin('connect');
    };
    if (isIP(host) > 0) isResolved();
    return new Promise((resolve, reject) => {
      socket.once('lookup', (error: Error | null) => {
        if (error === null || error === undefined) isResolved();
      });
      socket.once('connect', () => {
        isResolved();
        this.#endPhase('connect');
        resolve(socket);
      });
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (error.syscall === 'getaddrinfo' || error.code === 'ENOTFOUND')
          reject(new ExchangeFailure('resolve', `The name ${host} cannot be looked up (${error.code ?? error.message}).`));
        else reject(new ExchangeFailure('connect', connectSentence(error, host, port)));
      });
    });
  }

  /** The handshake is completed whatever the certificate says, so that its end can be told; then it is judged. */
  async #connectSecurely(place: Place): Promise<TLSSocket> {
    const { host } = place;
    const { ca } = this.#request;
    const socket = connectTls({
      ...place,
      rejectUnauthorized: false,
      ...(isIP(host) > 0 ? {} : { servername: host }),
      checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate),
      ...(ca === undefined ? {} : { ca }),
      ALPNProtocols: ['http/1.1'],
    });
    const secured = new Promise<void>((resolve, reject) => {
      socket.on('error', (error) => reject(new ExchangeFailure('tls', handshakeSentence(error))));
      socket.once('close', () => reject(new ExchangeFailure('tls', 'The connection was closed during the TLS handshake.')));
      socket.once('secureConnect', () => {
        const chain = socket.getPeerCertificate(true);
        this.#certificateNotAfter = earliestEnd(chain);
        if (socket.authorized) resolve();
        else
          reject(
            new ExchangeFailure('tls', certificateSentence(codeOf(socket.authorizationError), host, chain, this.#certificateNotAfter)),
          );
      });
    });
    secured.catch(() => {});
    await this.#connected(socket, place);
    this.#begin('tls');
    await secured;
    this.#endPhase('tls');
    return socket;
  }

  #ask(socket: Socket, url: URL, method: string, headers: OutgoingHttpHeaders): Promise<IncomingMessage> {
    this.#begin('processing');
    return new Promise((resolve, reject) => {
      const asking = httpRequest({
        createConnection: () => socket,
        host: url.hostname,
        path: `${url.pathname}${url.search}`,
        method,
        headers: {
          host: url.host,
          connection: 'close',
          accept: 'application/json, */*;q=0.5',
          ...headers,
        },
        maxHeaderSize: HEADER_BYTES_MAX,
      });
      asking.once('response', (response) => {
        this.#endPhase('processing');
        this.#begin('transfer');
        resolve(response);
      });
      asking.on('error', reject);
      asking.end();
    });
  }

  #read(response: IncomingMessage): Promise<string> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        // The rest is not asked for: the connection ends here.
        if (size >= BODY_BYTES_MAX) resolve(text());
      });
      response.on('end', () => resolve(text()));
      response.on('error', reject);
      const text = (): string => Buffer.concat(chunks).subarray(0, BODY_BYTES_MAX).toString('utf8');
    });
  }

  #failureOf(error: unknown): Failure {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code?.startsWith('HPE_') === true) return { reason: 'protocol', detail: `What answers there does not speak HTTP (${code}).` };
    if (code === 'ECONNRESET' || code === 'EPIPE' || message === 'aborted')
      return {
        reason: 'protocol',
        detail: `The connection was closed ${this.#phase === 'transfer' ? 'in the middle of the answer' : 'before the answer'}.`,
      };
    return { reason: 'protocol', detail: `The request failed: ${message}.` };
  }

  #lateSentence(): string {
    const doing: Readonly<Record<Phase, string>> = {
      resolve: 'while its name was looked up',
      connect: 'while connecting: a firewall that drops, a wrong address, or a machine that is down',
      tls: 'during the TLS handshake',
      processing: 'while waiting for the first byte: it took the request and does not answer',
      transfer: 'while the answer was read',
    };
    return `No whole answer within ${this.#request.timeoutMs / 1_000} s; the time was up ${doing[this.#phase]}.`;
  }
}

function redirected(from: URL, location: string): URL {
  if (!URL.canParse(location, from.href)) throw new ExchangeFailure('redirect', 'It redirects to something that is not an address.');
  const to = new URL(location, from.href);
  if (to.protocol !== 'http:' && to.protocol !== 'https:')
    throw new ExchangeFailure('redirect', `It redirects to ${to.protocol} addresses.`);
  if (from.protocol === 'https:' && to.protocol === 'http:') throw new ExchangeFailure('redirect', 'It redirects from https to http.');
  return to;
}

function connectSentence({ code, message }: NodeJS.ErrnoException, host: string, port: number): string {
  const place = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  switch (code) {
    case 'ECONNREFUSED':
      return `${place} refuses the connection: nothing listens there.`;
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `There is no route to ${place}.`;
    case 'ECONNRESET':
      return `${place} closed the connection at once.`;
    default:
      return `${place} cannot be connected to (${code ?? message}).`;
  }
}

/** The chain as getPeerCertificate gives it; a root points at itself. */
function earliestEnd(certificate: PeerCertificate & { issuerCertificate?: PeerCertificate }): number | undefined {
  let earliest: number | undefined;
  const seen = new Set<string>();
  let one: (PeerCertificate & { issuerCertificate?: PeerCertificate }) | undefined = certificate;
  while (one !== undefined && one.fingerprint256 !== undefined && !seen.has(one.fingerprint256)) {
    seen.add(one.fingerprint256);
    const end = Date.parse(one.valid_to);
    if (Number.isFinite(end) && (earliest === undefined || end < earliest)) earliest = end;
    one = one.issuerCertificate;
  }
  return earliest;
}

/** OpenSSL's own message has a thread's number and a source file in it: another text in every process. */
function handshakeSentence(error: NodeJS.ErrnoException & { reason?: string }): string {
  if (error.code === 'ERR_SSL_WRONG_VERSION_NUMBER' || error.code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG')
    return 'The TLS handshake fails: what answers there does not speak TLS; is it http and not https?';
  if (error.code === 'ECONNRESET') return 'The connection was closed during the TLS handshake.';
  return `The TLS handshake fails: ${error.reason ?? error.code ?? 'no reason is known'}.`;
}

function certificateSentence(code: string, host: string, certificate: PeerCertificate, earliestMs: number | undefined): string {
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      // Not always its own: the leaf may be good for years when an issuer's has ended.
      return earliestMs !== undefined && earliestMs < Date.parse(certificate.valid_to)
        ? `A certificate that its own rests on ended on ${day(new Date(earliestMs).toISOString())}.`
        : `Its certificate ended on ${day(certificate.valid_to)}.`;
    case 'CERT_NOT_YET_VALID':
      return `Its certificate is valid from ${day(certificate.valid_from)} on; is a clock wrong?`;
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `Its certificate is for ${(certificate.subjectaltname ?? 'other names').slice(0, 200)}, not for ${host}.`;
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT':
      return `Its certificate was issued by somebody whom this machine does not trust (${code}); name the issuer with caFile.`;
    default:
      return `Its certificate is not accepted (${code}).`;
  }
}

function day(text: string): string {
  const at = Date.parse(text);
  return Number.isFinite(at) ? new Date(at).toISOString().slice(0, 10) : text;
}

/** Node.js has a code there, whatever its types say. */
function codeOf(reason: unknown): string {
  return typeof reason === 'string' ? reason : reason instanceof Error ? reason.message : 'unknown reason';
}
