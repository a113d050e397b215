/**
 * The collector's own Ed25519 key, with which it signs the list of what it serves. It is made once and never replaced by
 * itself: nodes remember it, and another key under the same address is what they refuse.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { chmodSync, closeSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT, OperationalFailure, codeOf, sentenceOf } from '@tidemark/service';

export interface SigningKey {
  /** Base64 of the 32 raw bytes of the public key. */
  readonly publicKey: string;
  /** The public key as PEM. */
  readonly publicPem: string;
  /** The 64 raw bytes of a signature. */
  sign(bytes: Buffer): Buffer;
}

export const signingKeyFile = (dataDir: string): string => join(dataDir, 'downloads-key.pem');

/** Reads the key, and makes it when there is none. Throws an OperationalFailure when the file is not such a key; it is left as it is. */
export function openSigningKey(dataDir: string): SigningKey {
  const file = signingKeyFile(dataDir);
  try {
    return asSigningKey(readKey(file) ?? makeKey(file));
  } catch (error) {
    if (error instanceof OperationalFailure) throw error;
    throw new OperationalFailure(
      `The key that downloads are signed with cannot be read or made in ${file}: ${sentenceOf(error)}.`,
      EXIT.dataDirectory,
      { cause: error },
    );
  }
}

function readKey(file: string): KeyObject | undefined {
  let pem: string;
  try {
    pem = readFileSync(file, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  // Restored from a backup, or copied: nobody but the owner has any business in it.
  if ((statSync(file).mode & 0o077) !== 0) chmodSync(file, 0o600);
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // Said below, without what the file holds.
  }
  throw new OperationalFailure(
    `${file} is not the Ed25519 key that downloads are signed with. Put it back from a backup. Only when there is none, delete it: a new one is made, and installed agents refuse upgrades from here until their downloads-key file is deleted too.`,
    EXIT.dataDirectory,
  );
}

/** Whoever links it first has made it: two collectors that start at once end up with one key. */
function makeKey(file: string): KeyObject {
  const { privateKey } = generateKeyPairSync('ed25519');
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  writeWhole(temporary, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  try {
    linkSync(temporary, file);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
  return readKey(file)!;
}

function writeWhole(file: string, text: string): void {
  const fd = openSync(file, 'wx', 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function asSigningKey(key: KeyObject): SigningKey {
  const publicHalf = createPublicKey(key);
  const { x } = publicHalf.export({ format: 'jwk' });
  return {
    publicKey: Buffer.from(x!, 'base64url').toString('base64'),
    publicPem: publicHalf.export({ type: 'spki', format: 'pem' }).toString(),
    sign: (bytes) => sign(null, bytes, key),
  };
}
