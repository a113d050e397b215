/**
 * Where the server's socket lies: a directory that only the server's user enters, whose path fits into the
 * 107 bytes that the kernel gives a socket's address, and that nobody else could have put there.
 */
import { createHash } from 'node:crypto';
import { chmodSync, lchownSync, lstatSync, mkdirSync, readdirSync, realpathSync, rmSync, rmdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, OperationalFailure, codeOf, sentenceOf } from '@tidemark/service';
import type { Account, Machine } from './account.ts';

export const SOCKET_PORT = 5432;
const SOCKET_NAME = `.s.PGSQL.${SOCKET_PORT}`;
/** sun_path holds 108 bytes with its final zero; macOS has 104. */
const SOCKET_PATH_BYTES_MAX = 103;

export interface SocketDirectoryOptions {
  dataDir: string;
  machine: Machine;
  account: Account | undefined;
  /** $XDG_RUNTIME_DIR, where there is one. */
  runtimeDir: string | undefined;
}

/** Makes the directory and clears an earlier server's socket from it: call it when no server runs. */
export async function prepareSocketDirectory(options: SocketDirectoryOptions): Promise<string> {
  const problems: string[] = [];
  for (const directory of candidates(options)) {
    if (Buffer.byteLength(join(directory, SOCKET_NAME)) > SOCKET_PATH_BYTES_MAX) {
      problems.push(`${directory} is too long a path`);
      continue;
    }
    try {
      own(directory, options);
      for (const name of readdirSync(directory))
        if (name.startsWith('.s.PGSQL.') || name.startsWith('init-')) rmSync(join(directory, name));
      await proveSocket(join(directory, '.s.probe'));
      return directory;
    } catch (error) {
      problems.push(sentenceOf(error));
    }
  }
  throw new OperationalFailure(`There is no place for the database's socket: ${problems.join('; ')}.`, EXIT.dataDirectory);
}

/** Takes an empty socket directory away again. One that holds something is somebody's. */
export function removeSocketDirectory(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // A directory that stays does no harm: the next start uses it.
  }
}

function candidates({ dataDir, machine, account, runtimeDir }: SocketDirectoryOptions): string[] {
  const name = `tidemark-${createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 12)}`;
  const temporary = (root: string): string => join(root, name.replace('-', `-${account?.uid ?? machine.uid ?? 0}-`));
  const fallbacks = [...new Set(['/tmp', tmpdir()])].map(temporary);
  // Another user may be unable to walk to the data directory, but can always reach these.
  if (account !== undefined) return [join('/run', name), ...fallbacks];
  return [join(dataDir, 'run'), ...(runtimeDir === undefined ? [] : [join(runtimeDir, name)]), ...fallbacks];
}

/** Makes the directory the server's own, or throws when somebody else has it. */
function own(directory: string, { machine, account }: SocketDirectoryOptions): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
  const stat = lstatSync(directory);
  const allowed = [machine.uid, account?.uid].filter((uid) => uid !== undefined);
  if (!stat.isDirectory() || (allowed.length > 0 && !allowed.includes(stat.uid))) {
    throw new Error(`${directory} belongs to somebody else (remove it if you know what it is)`);
  }
  if (stat.uid === machine.uid || machine.uid === undefined) {
    chmodSync(directory, 0o700);
    if (account !== undefined) lchownSync(directory, account.uid, account.gid);
  } else if ((stat.mode & 0o777) !== 0o700) {
    // Not ours any more, so not ours to change: its owner could put a link in its place meanwhile.
    throw new Error(`${directory} is open to others (remove it)`);
  }
}

/** Some file systems (shared folders of virtual machines) hold no sockets. */
function proveSocket(path: string): Promise<void> {
  rmSync(path, { force: true });
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(path, () => server.close(() => resolve()));
  });
}
