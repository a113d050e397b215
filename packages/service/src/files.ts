/** Files that must be whole or absent, secrets that only their owner may read, and files of another user's directory. */
import { chmodSync, closeSync, constants, fstatSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { EXIT, OperationalFailure, codeOf } from './failure.ts';

/** Writes a file so that a reader sees the old or the new content, never half of it, even after a power cut. */
export function writeFileAtomically(path: string, content: string, mode = 0o600): void {
  const temporary = `${path}.${process.pid}.tmp`;
  const fd = openSync(temporary, 'w', mode);
  try {
    writeSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  chmodSync(temporary, mode);
  renameSync(temporary, path);
}

/**
 * The text of an ordinary file in a directory of somebody who is not trusted (root reads what the service's user wrote): no link is
 * followed, no pipe waited for, and nothing larger than `bytesMax` read. Throws what stands against it.
 */
export function readForeignFile(path: string, bytesMax: number): string {
  // Windows has neither flag; there they count as nothing.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size > bytesMax) throw new Error(`${path} is no ordinary file of at most ${bytesMax} bytes`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

/** Makes sure of a private directory this process can write to, or fails with a sentence that says what to do. */
export function ensureDirectory(path: string, purpose: string, mode = 0o700): void {
  try {
    mkdirSync(path, { recursive: true, mode });
    const probe = join(path, `.writable-${process.pid}`);
    closeSync(openSync(probe, 'w', 0o600));
    renameSync(probe, join(path, '.writable'));
  } catch (error) {
    const why = codeOf(error) ?? String(error);
    const reason =
      why === 'EACCES' || why === 'EPERM'
        ? 'this user may not write there'
        : why === 'EROFS'
          ? 'its file system is read-only'
          : why === 'ENOSPC'
            ? 'its file system is full'
            : why === 'ENOTDIR' || why === 'EEXIST'
              ? 'something that is not a directory is in the way'
              : why;
    throw new OperationalFailure(
      `Cannot use ${path} for ${purpose}: ${reason}. Choose another directory with --data-dir, or make ${dirname(path)} writable.`,
      EXIT.dataDirectory,
      { cause: error },
    );
  }
}
