/**
 * The password of the monitoring role: out of a file that nobody else may read, or made into a new one, and as the verifier
 * that PostgreSQL keeps of it. The password itself never goes to the server, so no log of the server can have it.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { codeOf, EXIT, OperationalFailure } from '@tidemark/service';

const ITERATIONS = 4_096;
const SALT_BYTES = 16;
const PASSWORD_BYTES = 24;

/** "SCRAM-SHA-256$…", which ALTER ROLE … PASSWORD takes as it is. `password` must be of printable ASCII, for which SASLprep does nothing. */
export function scramVerifier(password: string, salt: Buffer = randomBytes(SALT_BYTES), iterations = ITERATIONS): string {
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const hmac = (text: string): Buffer => createHmac('sha256', salted).update(text).digest();
  const storedKey = createHash('sha256').update(hmac('Client Key')).digest('base64');
  const serverKey = hmac('Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}

/**
 * The first line of the file; undefined when there is no such file. Throws an OperationalFailure for one that will not do.
 * `forbidden`: the bits of its mode that it may not have.
 */
export function readPassword(file: string, platform: NodeJS.Platform, forbidden = 0o077): string | undefined {
  let text: string;
  try {
    if (platform !== 'win32' && (statSync(file).mode & forbidden) !== 0)
      throw new OperationalFailure(`Others may read ${file}, so it is not used: chmod 600 ${file}.`, EXIT.configuration);
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    if (error instanceof OperationalFailure) throw error;
    throw new OperationalFailure(`The password cannot be read from ${file} (${codeOf(error) ?? 'error'}).`, EXIT.configuration, {
      cause: error,
    });
  }
  const [password = ''] = text.split(/\r?\n/, 1);
  if (password === '') throw new OperationalFailure(`The password file ${file} is empty.`, EXIT.configuration);
  if (!/^[\x20-\x7e]+$/.test(password))
    throw new OperationalFailure(`The password in ${file} must be of ASCII letters, digits and signs alone.`, EXIT.configuration);
  return password;
}

export function generatePassword(): string {
  return randomBytes(PASSWORD_BYTES).toString('base64url');
}

/** Makes a password, and a file of mode 0600 for it. Throws an OperationalFailure when the file cannot be made. */
export function makePassword(file: string): string {
  const password = generatePassword();
  try {
    const fd = openSync(file, 'wx', 0o600);
    try {
      writeSync(fd, `${password}\n`);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw new OperationalFailure(
      `The password file ${file} cannot be made (${codeOf(error) ?? 'error'}): name one in a directory that exists and that you may write to.`,
      EXIT.configuration,
      { cause: error },
    );
  }
  return password;
}
