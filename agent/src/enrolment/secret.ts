/**
 * The agent's own secret: made here, kept in a file that only its owner may read, and never sent but as the credential of a request.
 * At enrolment its hash travels alone.
 */
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, renameSync, statSync } from 'node:fs';
import { looksLikeEnrolment } from '@tidemark/protocol';
import { codeOf, EXIT, OperationalFailure, writeFileAtomically } from '@tidemark/service';
import { readToken } from '../config.ts';

const GROUP_MAY_READ = 0o640;

export function makeSecret(): string {
  return `tma_${randomBytes(32).toString('base64url')}`;
}

/** As the collector keeps it: SHA-256, base64url. */
export function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

/** The secret in a file, which is made when it is not there. Throws an OperationalFailure that says what is wrong with the file. */
export function keepSecret(file: string): { secret: string; made: boolean } {
  if (existsSync(file)) {
    const secret = readToken(file);
    if (!looksLikeEnrolment(secret)) return { secret, made: false };
    throw new OperationalFailure(
      `${file} holds an enrolment string, which is no secret: name it with --token-file, and another file for the secret.`,
      EXIT.usage,
    );
  }
  const secret = makeSecret();
  writeSecret(file, secret);
  return { secret, made: true };
}

/** Puts a secret into a file, whole or not at all: of mode 0600, or for the owner and the group that an earlier one there was for. */
export function writeSecret(file: string, secret: string): void {
  const beside = `${file}.next`;
  try {
    const before = statSync(file, { throwIfNoEntry: false });
    writeFileAtomically(beside, `${secret}\n`, 0o600);
    if (before !== undefined) {
      const made = statSync(beside);
      if (made.uid !== before.uid || made.gid !== before.gid) chownSync(beside, before.uid, before.gid);
      chmodSync(beside, before.mode & GROUP_MAY_READ);
    }
    renameSync(beside, file);
  } catch (error) {
    throw new OperationalFailure(
      `The agent's secret cannot be kept in ${file} (${codeOf(error) ?? String(error)}): that directory must exist and this user may write to it.`,
      EXIT.noRights,
      { cause: error },
    );
  }
}
