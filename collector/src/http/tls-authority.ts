/**
 * The collector's own certificate authority, and the certificate that it signs for this collector. The authority is made at the
 * first start and never again while its files are there: agents pin it. The certificate is renewed long before its end, for the
 * same key, so that a client that has pinned the key need not be told.
 */
import { X509Certificate, createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { domainToASCII } from 'node:url';
import { EXIT, OperationalFailure, sentenceOf, writeFileAtomically, type Clock, type Log } from '@tidemark/service';
import { authorityCertificate, leafCertificate, pinOf, type Issuer } from './tls-certificate.ts';
import { endOf, startOf, type ServerCertificate } from './tls-files.ts';

const DAY_MS = 86_400_000;
const AUTHORITY_DAYS = 3_650;
const LEAF_DAYS = 90;
/** Long enough for a collector that was switched off over a holiday, and for nodes whose clocks run ahead. */
const RENEW_BEFORE_DAYS = 30;
/** A node whose clock is behind by a day can still connect. */
const BACKDATED_DAYS = 2;
/** Nobody's clock says so; it has lost its battery. An authority from then would have ended already when the clock is set right. */
const CLOCK_PLAUSIBLE_FROM_MS = Date.UTC(2025, 0, 1);
const NAMES_MAX = 200;

export const authorityFile = (dataDir: string): string => join(dataDir, 'tls-authority.pem');

export interface SelfMadeOptions {
  dataDir: string;
  clock: Clock;
  random: (bytes: number) => Buffer;
  /** What the collector can be called by now: asked again at each look, for addresses come and go. */
  names: () => readonly string[];
  /** For the authority's name. */
  hostname: string;
  log: Pick<Log, 'info' | 'warn'>;
}

export class SelfMadeCertificate {
  readonly caPem: string;
  /** SHA-256 of the authority's DER, in hexadecimal. */
  readonly fingerprint: string;
  readonly #options: SelfMadeOptions;
  readonly #authority: Issuer;
  readonly authorityEndsMs: number;
  readonly #key: KeyObject;
  readonly #keyPem: string;
  #value: ServerCertificate;

  /** Reads what is there and makes what is missing. Throws an OperationalFailure when the authority cannot be used. */
  constructor(options: SelfMadeOptions) {
    this.#options = options;
    const { certificate, pem, issuer } = openAuthority(options);
    this.caPem = pem;
    this.fingerprint = createHash('sha256').update(certificate.raw).digest('hex');
    this.#authority = issuer;
    this.authorityEndsMs = endOf(certificate);
    if (options.clock.wallMs() >= this.authorityEndsMs)
      throw new OperationalFailure(
        `The authority in ${authorityFile(options.dataDir)} has ended on ${certificate.validTo}. If this machine's clock is right, move the tls-*.pem files of ${options.dataDir} away, start again, and enrol every agent anew.`,
        EXIT.configuration,
      );
    [this.#key, this.#keyPem] = this.#openKey();
    this.#value = this.#stored(certificate) ?? this.#renew();
  }

  get value(): ServerCertificate {
    return this.#value;
  }

  get pinnedKey(): string {
    return pinOf(createPublicKey(this.#key));
  }

  /** Renews the certificate when its time has come, or when this machine has got a name that is not in it. True when there is a new one. */
  look(): boolean {
    if (!this.#isDue(this.#value)) return false;
    this.#value = this.#renew();
    return true;
  }

  #isDue({ leaf, notBeforeMs, notAfterMs }: Pick<ServerCertificate, 'leaf' | 'notBeforeMs' | 'notAfterMs'>): boolean {
    const nowMs = this.#options.clock.wallMs();
    // Near the authority's own end nothing is gained by another one.
    const renewsAtMs = notAfterMs < this.authorityEndsMs ? notAfterMs - RENEW_BEFORE_DAYS * DAY_MS : Number.POSITIVE_INFINITY;
    if (nowMs >= renewsAtMs || nowMs < notBeforeMs) return true;
    const covered = namesIn(leaf);
    return this.#names().some((name) => !covered.has(canonical(name)));
  }

  #names(): string[] {
    return certificateNames(this.#options.names());
  }

  #renew(): ServerCertificate {
    const { clock, random, dataDir, log } = this.#options;
    const nowMs = clock.wallMs();
    const names = this.#names();
    const pem = leafCertificate({
      issuer: this.#authority,
      publicKey: createPublicKey(this.#key),
      names,
      notBeforeMs: nowMs - BACKDATED_DAYS * DAY_MS,
      notAfterMs: Math.min(nowMs + LEAF_DAYS * DAY_MS, this.authorityEndsMs),
      serial: random(16),
    });
    try {
      writeFileAtomically(join(dataDir, 'tls-certificate.pem'), pem, 0o644);
    } catch (error) {
      // It serves all the same; the next start makes another.
      log.warn({ err: error }, 'the renewed certificate cannot be kept in the data directory');
    }
    const leaf = new X509Certificate(pem);
    log.info({ names, until: new Date(endOf(leaf)).toISOString() }, 'a certificate for this collector was made');
    return this.#served(pem, leaf);
  }

  /** The one that was made before, when it is still good. */
  #stored(authority: X509Certificate): ServerCertificate | undefined {
    try {
      const pem = readFileSync(join(this.#options.dataDir, 'tls-certificate.pem'), 'utf8');
      const leaf = new X509Certificate(pem);
      const served = this.#served(pem, leaf);
      const ours = leaf.checkPrivateKey(this.#key) && leaf.checkIssued(authority) && leaf.verify(authority.publicKey);
      return ours && !this.#isDue(served) ? served : undefined;
    } catch {
      return undefined;
    }
  }

  /** The authority goes along: who knows only its fingerprint finds it there. */
  #served(pem: string, leaf: X509Certificate): ServerCertificate {
    return { cert: `${pem}${this.caPem}`, key: this.#keyPem, leaf, notBeforeMs: startOf(leaf), notAfterMs: endOf(leaf) };
  }

  #openKey(): [KeyObject, string] {
    const file = join(this.#options.dataDir, 'tls-key.pem');
    if (existsSync(file)) {
      try {
        const pem = readPrivately(file);
        return [createPrivateKey(pem), pem];
      } catch (error) {
        this.#options.log.warn(
          { err: error, file },
          'the key of the certificate cannot be read and is made anew: who has pinned it has to be told',
        );
      }
    }
    const key = newKey();
    const pem = pemOf(key);
    writeKey(file, pem);
    return [key, pem];
  }
}

function openAuthority({ dataDir, clock, random, hostname, log }: SelfMadeOptions): {
  certificate: X509Certificate;
  pem: string;
  issuer: Issuer;
} {
  const file = authorityFile(dataDir);
  const keyFile = join(dataDir, 'tls-authority-key.pem');
  if (existsSync(file)) {
    try {
      const pem = readFileSync(file, 'utf8');
      const certificate = new X509Certificate(pem);
      const key = createPrivateKey(readPrivately(keyFile));
      if (!certificate.checkPrivateKey(key)) throw new Error(`the key in ${keyFile} is not its key`);
      return { certificate, pem, issuer: { name: nameOf(certificate), key, publicKey: certificate.publicKey } };
    } catch (error) {
      // Another one in its place would lock out every agent that has pinned this one.
      throw new OperationalFailure(
        `The collector's certificate authority in ${file} cannot be used: ${sentenceOf(error)}. Put both files back from a backup; without one, move the tls-*.pem files of ${dataDir} away, start again, and enrol every agent anew.`,
        EXIT.dataDirectory,
        { cause: error },
      );
    }
  }
  const nowMs = clock.wallMs();
  if (nowMs < CLOCK_PLAUSIBLE_FROM_MS)
    throw new OperationalFailure(
      `This machine's clock says ${new Date(nowMs).toISOString()}: set it before a certificate authority is made by it.`,
      EXIT.configuration,
    );
  // A start that was cut off after the key goes on with it.
  const key = existsSync(keyFile) ? createPrivateKey(readPrivately(keyFile)) : newKey();
  writeKey(keyFile, pemOf(key));
  const name = `Tidemark authority of ${hostname.replace(/[^A-Za-z0-9.-]/g, '-').slice(0, 30)} ${random(4).toString('hex')}`;
  const issuer: Issuer = { name, key, publicKey: createPublicKey(key) };
  const pem = authorityCertificate({
    ...issuer,
    notBeforeMs: nowMs - BACKDATED_DAYS * DAY_MS,
    notAfterMs: nowMs + AUTHORITY_DAYS * DAY_MS,
    serial: random(16),
  });
  writeFileAtomically(file, pem, 0o644);
  log.info({ file }, 'a certificate authority for this collector was made');
  return { certificate: new X509Certificate(pem), pem, issuer };
}

/** The names that can stand in a certificate, each once; internationalised ones as DNS has them. */
export function certificateNames(names: readonly string[]): string[] {
  const usable = names.map(asciiName).filter((name) => name !== undefined);
  return [...new Map(usable.map((name) => [canonical(name), name])).values()].slice(0, NAMES_MAX);
}

/** A host name or address as a certificate has it; undefined for what can be neither. */
export function asciiName(name: string): string | undefined {
  const bare = name.replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare) !== 0) return bare.includes('%') ? undefined : bare;
  const wildcard = bare.startsWith('*.') ? '*.' : '';
  const ascii = domainToASCII(bare.slice(wildcard.length).replace(/\.$/, ''));
  // "1.2.3" is an address to some and a name to others.
  const isName =
    ascii.length <= 253 && /^(?!.*\.[0-9]+$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/.test(ascii);
  return isName ? `${wildcard}${ascii}` : undefined;
}

function namesIn(certificate: X509Certificate): Set<string> {
  const names = (certificate.subjectAltName ?? '').split(', ').map((part) => part.slice(part.indexOf(':') + 1));
  return new Set(names.map(canonical));
}

/** One spelling for each IPv6 address. */
function canonical(name: string): string {
  return isIP(name) === 6 ? new URL(`http://[${name}]/`).hostname : name.toLowerCase();
}

const nameOf = (certificate: X509Certificate): string => /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? '';
const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

function writeKey(file: string, pem: string): void {
  try {
    writeFileAtomically(file, pem, 0o600);
  } catch (error) {
    throw new OperationalFailure(`${file} cannot be written: ${sentenceOf(error)}.`, EXIT.dataDirectory, { cause: error });
  }
}

/** Restored from a backup, or copied: nobody but the owner has any business in it. */
function readPrivately(file: string): string {
  if (process.platform !== 'win32' && (statSync(file).mode & 0o077) !== 0) chmodSync(file, 0o600);
  return readFileSync(file, 'utf8');
}
