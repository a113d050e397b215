/**
 * The admin token: a file of mode 0600 in the data directory, made at the first start and read again when
 * it changes, so that `token reset` takes effect on a running collector.
 */
import { chmodSync, chownSync, existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { hkdfSync, timingSafeEqual } from 'node:crypto';
import { EXIT, OperationalFailure, codeOf, sentenceOf, systemClock, writeFileAtomically, type Clock } from '@tidemark/service';
import { hashToken, newToken } from './token.ts';

const LOOK_AGAIN_MS = 1_000;

export const adminTokenFile = (dataDir: string): string => join(dataDir, 'admin-token');

/** Makes a new admin token; every session made with the old one ends. Returns the token. */
export function resetAdminToken(dataDir: string): string {
  const token = newToken('admin');
  const file = adminTokenFile(dataDir);
  try {
    writeFileAtomically(file, `${token}\n`, 0o600);
    // Reset by root, the token of a collector that runs as somebody else must stay readable to it.
    const { uid, gid } = statSync(dataDir);
    if (uid !== statSync(file).uid) chownSync(file, uid, gid);
  } catch (error) {
    const why =
      codeOf(error) === 'ENOENT'
        ? 'there is no such directory'
        : codeOf(error) === 'EACCES'
          ? 'this user may not write there'
          : sentenceOf(error);
    throw new OperationalFailure(
      `The admin token cannot be written to ${file}: ${why}. Name the collector's data directory with --data-dir.`,
      EXIT.dataDirectory,
      { cause: error },
    );
  }
  return token;
}

export class AdminToken {
  readonly file: string;
  readonly #clock: Clock;
  #token = '';
  #version = '';
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(dataDir: string, clock: Clock = systemClock) {
    this.#clock = clock;
    this.file = adminTokenFile(dataDir);
    if (!existsSync(this.file)) resetAdminToken(dataDir);
    try {
      // Restored from a backup, or copied: nobody but the owner has any business in it.
      if ((statSync(this.file).mode & 0o077) !== 0) chmodSync(this.file, 0o600);
      this.#read(versionOf(this.file));
    } catch (error) {
      throw new OperationalFailure(
        `The admin token cannot be read: ${sentenceOf(error)}. Make a new one with: tidemark-collector token reset`,
        EXIT.dataDirectory,
        { cause: error },
      );
    }
    if (this.#token === '')
      throw new OperationalFailure(`${this.file} is empty. Make a new token with: tidemark-collector token reset`, EXIT.dataDirectory);
  }

  /** Whether this is the admin token, in constant time. */
  matches(token: string): boolean {
    return timingSafeEqual(hashToken(token), hashToken(this.#current()));
  }

  /** The key that sessions are signed with; another one after each reset. */
  sessionKey(): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#current(), '', 'tidemark session v1', 32));
  }

  #current(): string {
    const now = this.#clock.monotonicMs();
    if (now - this.#lookedMs < LOOK_AGAIN_MS) return this.#token;
    this.#lookedMs = now;
    try {
      const version = versionOf(this.file);
      if (version !== this.#version) this.#read(version);
    } catch {
      // The file is being replaced, or gone: the token that was known holds.
    }
    return this.#token;
  }

  #read(version: string): void {
    const token = readFileSync(this.file, 'utf8').trim();
    this.#version = version;
    if (token !== '') this.#token = token;
  }
}

/** Two resets within one tick of the file system's clock differ in their inode. */
function versionOf(file: string): string {
  const { mtimeMs, ino } = statSync(file);
  return `${mtimeMs} ${ino}`;
}
