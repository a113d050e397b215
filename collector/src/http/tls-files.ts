/**
 * Certificates that an operator puts there: read, understood, and read again when they change. What does not fit together, has
 * expired or cannot be read is never taken up: it is one sentence, and what was in force stays.
 */
import { X509Certificate, createPrivateKey, type KeyObject } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { EXIT, OperationalFailure, codeOf, sentenceOf } from '@tidemark/service';

/** What a server shows, and until when. */
export interface ServerCertificate {
  /** The chain, the server's own certificate first. */
  cert: string;
  key: string;
  leaf: X509Certificate;
  notBeforeMs: number;
  notAfterMs: number;
}

const wrong = (sentence: string, cause?: unknown): OperationalFailure => new OperationalFailure(sentence, EXIT.configuration, { cause });
const day = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ') + ' UTC';
export const startOf = (certificate: X509Certificate): number => Date.parse(certificate.validFrom);
export const endOf = (certificate: X509Certificate): number => Date.parse(certificate.validTo);

/**
 * Reads a certificate chain and its key, both PEM. Throws an OperationalFailure that says which file is wrong, and how.
 * @param nowMs undefined: its age is not looked at
 */
export function readServerCertificate(files: { cert: string; key: string }, nowMs: number | undefined): ServerCertificate {
  const cert = readText(files.cert, 'tlsCert');
  const chain = certificatesIn(cert, files.cert, 'tlsCert');
  const keyText = readText(files.key, 'tlsKey');
  const key = privateKeyIn(keyText, files.key);
  const leaf = chain[0]!;
  if (!leaf.checkPrivateKey(key)) {
    if (chain.some((other) => other.checkPrivateKey(key)))
      throw wrong(
        `tlsCert: in ${files.cert} the server's own certificate has to come first, and the authorities that vouch for it after it.`,
      );
    throw wrong(`tlsKey: the key in ${files.key} does not belong to the certificate in ${files.cert} (${subjectOf(leaf)}).`);
  }
  const [notBeforeMs, notAfterMs] = [startOf(leaf), endOf(leaf)];
  if (nowMs !== undefined && nowMs >= notAfterMs)
    throw wrong(
      `tlsCert: the certificate in ${files.cert} (${subjectOf(leaf)}) has expired on ${day(notAfterMs)}: put a renewed one there.`,
    );
  if (nowMs !== undefined && nowMs < notBeforeMs)
    throw wrong(
      `tlsCert: the certificate in ${files.cert} (${subjectOf(leaf)}) is good only from ${day(notBeforeMs)} on: is this machine's clock right?`,
    );
  try {
    createSecureContext({ cert, key: keyText });
  } catch (error) {
    throw wrong(`tlsCert: the certificate in ${files.cert} cannot be used: ${sentenceOf(error)}.`, error);
  }
  return { cert, key: keyText, leaf, notBeforeMs, notAfterMs };
}

/** Reads the authorities whose certificates clients have to show. Throws an OperationalFailure. */
export function readClientAuthorities(file: string, nowMs: number): string {
  const text = readText(file, 'tlsClientCa');
  const certificates = certificatesIn(text, file, 'tlsClientCa');
  const other = certificates.find((certificate) => !certificate.ca);
  if (other !== undefined)
    throw wrong(
      `tlsClientCa: ${subjectOf(other)} in ${file} is not the certificate of an authority: put there what signs the agents' certificates.`,
    );
  if (certificates.every((certificate) => endOf(certificate) <= nowMs))
    throw wrong(`tlsClientCa: every authority in ${file} has expired; no agent could report.`);
  return text;
}

function readText(file: string, option: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = codeOf(error);
    const why =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EACCES'
          ? 'the user that the collector runs as may not read it'
          : code === 'EISDIR'
            ? 'it is a directory'
            : sentenceOf(error);
    throw wrong(`${option}: ${file} cannot be read: ${why}.`, error);
  }
}

function certificatesIn(text: string, file: string, option: string): X509Certificate[] {
  const blocks = text.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END (?:TRUSTED )?CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0)
    throw wrong(
      `${option}: ${file} holds no certificate as PEM (-----BEGIN CERTIFICATE-----). DER and PKCS#12 have to be converted first.`,
    );
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (error) {
    throw wrong(`${option}: a certificate in ${file} is damaged: ${sentenceOf(error)}.`, error);
  }
}

function privateKeyIn(text: string, file: string): KeyObject {
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text))
    throw wrong(`tlsKey: ${file} holds no private key as PEM (-----BEGIN PRIVATE KEY-----).`);
  try {
    return createPrivateKey(text);
  } catch (error) {
    if (/BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(text))
      throw wrong(
        `tlsKey: the key in ${file} is encrypted, and nobody is there to type its passphrase: write it without one (openssl pkey -in ${file} -out NEW), mode 0600.`,
        error,
      );
    throw wrong(`tlsKey: the key in ${file} is damaged: ${sentenceOf(error)}.`, error);
  }
}

const subjectOf = (certificate: X509Certificate): string =>
  (certificate.subject || certificate.subjectAltName || 'no name').replaceAll('\n', ', ');

/** Whether others than the owner and its group may read a file. */
export function isReadableByAll(file: string): boolean {
  try {
    return process.platform !== 'win32' && (statSync(file).mode & 0o004) !== 0;
  } catch {
    return false;
  }
}

/**
 * Files whose content is read again once they have changed and then stood still from one look to the next: a renewal replaces
 * the certificate and the key one after the other, and some write instead of renaming. Looked at by `stat`, which follows links.
 */
export class WatchedFiles<T> {
  readonly #files: readonly string[];
  readonly #read: () => T;
  #value: T;
  /** As the files were when they were last looked at, and when they were last taken up. */
  #seen: string;
  #taken: string;
  #trouble: string | undefined;

  /** Reads at once. Throws what `read` throws. */
  constructor(files: readonly string[], read: () => T) {
    this.#files = files;
    this.#read = read;
    this.#seen = this.#taken = versionOf(files);
    this.#value = read();
  }

  get value(): T {
    return this.#value;
  }

  /** Why what is there now was not taken up. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** True when there is a new value. */
  look(): boolean {
    const version = versionOf(this.#files);
    const settled = version === this.#seen;
    this.#seen = version;
    if (!settled) return false;
    if (version === this.#taken) {
      // What did not fit was taken back.
      this.#trouble = undefined;
      return false;
    }
    try {
      this.#value = this.#read();
    } catch (error) {
      if (!(error instanceof OperationalFailure)) throw error;
      this.#trouble = error.message;
      return false;
    }
    this.#taken = version;
    this.#trouble = undefined;
    return true;
  }
}

/** The time of the last change of content or rights, the size and the inode: a renewal changes at least one of them. */
function versionOf(files: readonly string[]): string {
  return files
    .map((file) => {
      try {
        const { ctimeMs, mtimeMs, size, ino } = statSync(file);
        return `${ctimeMs} ${mtimeMs} ${size} ${ino}`;
      } catch (error) {
        return codeOf(error) ?? 'gone';
      }
    })
    .join(', ');
}
