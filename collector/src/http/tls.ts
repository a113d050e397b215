/**
 * HTTPS of the collector: which certificate it shows, when that changes, and what clients that have to show one of their own have
 * shown. A change is taken up by new connections; those that are open go on, but for agents whose authority counts no more.
 */
import type { X509Certificate } from 'node:crypto';
import type { Server } from 'node:https';
import { isIP, type Socket } from 'node:net';
import { TLSSocket, type SecureContextOptions, type TlsOptions } from 'node:tls';
import type { Clock, Log } from '@tidemark/service';
import { SelfMadeCertificate, authorityFile } from './tls-authority.ts';
import { WatchedFiles, isReadableByAll, readClientAuthorities, readServerCertificate, type ServerCertificate } from './tls-files.ts';

export type TlsKind = 'off' | 'files' | 'self-made';

/** What other parts may know of it. */
export interface CollectorTls {
  /** What --tls says. */
  readonly kind: TlsKind;
  /** Whether this collector itself speaks HTTPS; a proxy in front of it may do so besides. */
  readonly https: boolean;
  /** Only with `self-made`: SHA-256 of the DER of the authority's certificate, 64 lower-case hexadecimal digits. */
  readonly fingerprint: string | undefined;
  /** Only with `self-made`: the authority's certificate as PEM. Stays as it is while the collector runs. */
  readonly caPem: string | undefined;
  /** Only with `self-made`: `sha256//…` of the served key, for `curl --pinnedpubkey`. Stays the same over renewals. */
  readonly pinnedKey: string | undefined;
}

export const NO_TLS: CollectorTls = { kind: 'off', https: false, fingerprint: undefined, caPem: undefined, pinnedKey: undefined };

/** What a client on this machine trusts when it speaks to this collector. */
export interface LocalTrust {
  /** PEM. */
  file: string;
  /** The file's first certificate is the collector's own, whatever name stands in it; else it is an authority. */
  exact: boolean;
}

/** The options that TLS is made of, as the configuration has them. */
export interface TlsSettings {
  tls: TlsKind;
  tlsCert: string | undefined;
  tlsKey: string | undefined;
  tlsClientCa: string | undefined;
  dataDir: string;
}

export interface TlsOptionsOfCollector extends TlsSettings {
  clock: Clock;
  random: (bytes: number) => Buffer;
  /** What a self-made certificate is for; asked again and again. */
  names: () => readonly string[];
  hostname: string;
  /** What the collector is called from outside, when that is known: a certificate for something else is worth a word. */
  publicHost: string | undefined;
  log: Log;
}

const LOOK_MS = 3_000;
const DAY_MS = 86_400_000;
/** Whoever renews by a program does it a month or so before the end; after this somebody has to look. */
const ENDING_SOON_MS = 14 * DAY_MS;
const AUTHORITY_ENDING_SOON_MS = 180 * DAY_MS;

/** Where a client on this machine finds what it has to trust. */
export function localTrust({ tls, tlsCert, dataDir }: TlsSettings): LocalTrust | undefined {
  if (tls === 'self-made') return { file: authorityFile(dataDir), exact: false };
  return tls === 'files' && tlsCert !== undefined ? { file: tlsCert, exact: true } : undefined;
}

/** Reads the operator's files as a start does. Throws an OperationalFailure that names the first mistake. */
export function checkTlsFiles({ tls, tlsCert, tlsKey, tlsClientCa }: TlsSettings, clock: Clock): void {
  if (tls === 'files' && tlsCert !== undefined && tlsKey !== undefined)
    readServerCertificate({ cert: tlsCert, key: tlsKey }, clock.wallMs());
  if (tls !== 'off' && tlsClientCa !== undefined) readClientAuthorities(tlsClientCa, clock.wallMs());
}

/** Undefined without TLS. Throws an OperationalFailure when what is configured cannot be used. */
export function openTls(options: TlsOptionsOfCollector): ServedTls | undefined {
  return options.tls === 'off' ? undefined : new ServedTls(options);
}

export class ServedTls implements CollectorTls {
  readonly kind: TlsKind;
  readonly https = true;
  readonly fingerprint: string | undefined;
  readonly caPem: string | undefined;
  readonly #options: TlsOptionsOfCollector;
  readonly #selfMade: SelfMadeCertificate | undefined;
  readonly #files: WatchedFiles<ServerCertificate> | undefined;
  readonly #clientCa: WatchedFiles<string> | undefined;
  readonly #servers: Server[] = [];
  /** Connections that were made under the authorities for clients that hold now. */
  #current = new WeakSet<Socket>();
  #saidTrouble = '';

  constructor(options: TlsOptionsOfCollector) {
    const { clock, tlsCert: cert, tlsKey: key, tlsClientCa } = options;
    this.#options = options;
    this.kind = options.tls;
    if (options.tls === 'self-made') this.#selfMade = new SelfMadeCertificate(options);
    else if (cert !== undefined && key !== undefined) this.#files = watchedCertificate(cert, key, clock);
    else throw new Error('the options were not checked');
    this.#clientCa =
      tlsClientCa === undefined ? undefined : new WatchedFiles([tlsClientCa], () => readClientAuthorities(tlsClientCa, clock.wallMs()));
    this.fingerprint = this.#selfMade?.fingerprint;
    this.caPem = this.#selfMade?.caPem;
    this.#sayOddities();
    this.#sayTrouble();
  }

  get pinnedKey(): string | undefined {
    return this.#selfMade?.pinnedKey;
  }

  get clientsAreAsked(): boolean {
    return this.#clientCa !== undefined;
  }

  /** For `https.createServer`. */
  serverOptions(): TlsOptions {
    // Who shows none is let in, and judged by what is asked for: people and programs have credentials of their own.
    const clients = this.#clientCa === undefined ? {} : { requestCert: true, rejectUnauthorized: false };
    return { ...this.#context(), ...clients };
  }

  /** Takes a server that was made with these options into its care. */
  serve(server: Server): void {
    this.#servers.push(server);
    if (this.#clientCa !== undefined) server.on('secureConnection', (socket) => this.#current.add(socket));
  }

  /** Looks whether there is something newer, and shows it from now on. */
  look(): void {
    const certificate = (this.#selfMade ?? this.#files)!.look();
    const clients = this.#clientCa?.look() ?? false;
    if (clients) this.#current = new WeakSet();
    if (certificate || clients) {
      for (const server of this.#servers) server.setSecureContext(this.#context());
      this.#options.log.info({ until: new Date(this.#served.notAfterMs).toISOString(), clients }, 'TLS: what has changed was taken up');
    }
    this.#sayTrouble();
  }

  /** Looks every few seconds. Returns what ends it. */
  watch(): () => void {
    const timer = setInterval(() => this.look(), LOOK_MS).unref();
    return () => clearInterval(timer);
  }

  /**
   * Why the client at the other end of this connection may not act as an agent: a sentence, `outdated` when it has shown a
   * certificate that other authorities judged (a new connection will tell), or undefined when it may.
   */
  problemWithClient(socket: Socket): string | undefined {
    if (this.#clientCa === undefined) return undefined;
    if (!(socket instanceof TLSSocket)) return 'The connection is not encrypted.';
    if (!this.#current.has(socket)) return 'outdated';
    if (socket.authorized) return undefined;
    if (socket.getPeerCertificate().subject === undefined)
      return 'This collector asks agents for a certificate of their own, and none was shown.';
    // Not always an Error, whatever its type says.
    return `The certificate that was shown is not accepted: ${String(socket.authorizationError)}.`;
  }

  /** For the page that says how the collector is. */
  health(): { status: 'healthy' | 'degraded' | 'unhealthy'; detail: string } {
    const nowMs = this.#options.clock.wallMs();
    const { notAfterMs } = this.#served;
    const until = day(notAfterMs);
    const authorityEndsMs = this.#selfMade?.authorityEndsMs ?? Number.POSITIVE_INFINITY;
    const troubles = [
      nowMs >= notAfterMs && `the certificate has expired on ${until}.`,
      this.#files?.trouble !== undefined && `${this.#files.trouble} The certificate before it is served on, until ${until}.`,
      this.#clientCa?.trouble !== undefined && `${this.#clientCa.trouble} The authorities for agents that were read before hold on.`,
      this.#files !== undefined &&
        nowMs < notAfterMs &&
        notAfterMs - nowMs < ENDING_SOON_MS &&
        `the certificate expires on ${until}: renew it.`,
      authorityEndsMs - nowMs < AUTHORITY_ENDING_SOON_MS &&
        `the collector's own authority ends on ${day(authorityEndsMs)}: make another and enrol the agents anew before.`,
    ].filter((trouble) => trouble !== false);
    if (troubles.length === 0) return { status: 'healthy', detail: `HTTPS, certificate until ${until}` };
    return { status: nowMs >= notAfterMs ? 'unhealthy' : 'degraded', detail: troubles.join(' ') };
  }

  get #served(): ServerCertificate {
    return (this.#selfMade ?? this.#files)!.value;
  }

  #context(): SecureContextOptions {
    const { cert, key } = this.#served;
    return { cert, key, minVersion: 'TLSv1.2', ...(this.#clientCa === undefined ? {} : { ca: this.#clientCa.value }) };
  }

  #sayTrouble(): void {
    const { status, detail } = this.health();
    const trouble = status === 'healthy' ? '' : detail;
    if (trouble === this.#saidTrouble) return;
    this.#saidTrouble = trouble;
    if (trouble === '') this.#options.log.info(`TLS: ${detail}`);
    else this.#options.log.warn(`TLS: ${trouble}`);
  }

  #sayOddities(): void {
    const { log, publicHost, tlsKey } = this.#options;
    if (this.#files === undefined) return;
    const { leaf } = this.#served;
    if (tlsKey !== undefined && isReadableByAll(tlsKey))
      log.warn({ file: tlsKey }, 'TLS: every user of this machine can read the private key: chmod 640');
    if (publicHost !== undefined && !isFor(leaf, publicHost))
      log.warn(
        { names: leaf.subjectAltName, publicUrl: publicHost },
        'TLS: the certificate is not for the name in --public-url: who connects by it will refuse it',
      );
  }
}

/**
 * One that has expired is shown all the same at a start: a collector that does not run pages nobody, and health and log say why agents
 * refuse it. In place of one that is good it is never taken.
 */
function watchedCertificate(cert: string, key: string, clock: Clock): WatchedFiles<ServerCertificate> {
  let starting = true;
  const files = new WatchedFiles([cert, key], () => readServerCertificate({ cert, key }, starting ? undefined : clock.wallMs()));
  starting = false;
  return files;
}

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
/** `host` as a URL has it. */
function isFor(certificate: X509Certificate, host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  return (isIP(bare) === 0 ? certificate.checkHost(bare) : certificate.checkIP(bare)) !== undefined;
}
