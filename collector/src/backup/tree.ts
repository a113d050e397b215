/**
 * Copies a directory that nobody writes to, file by file: real copies (never links to the same blocks), each with its
 * SHA-256, on the disk when it returns. What it may not follow (links) it refuses, since a copy without it would lie.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants, lstatSync, readdirSync } from 'node:fs';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { EXIT, OperationalFailure, codeOf } from '@tidemark/service';

export interface TreeFile {
  /** Relative, with slashes. */
  path: string;
  sizeBytes: number;
  mode: number;
}

export interface Tree {
  /** Parents before children; relative, with slashes. */
  directories: { path: string; mode: number }[];
  files: TreeFile[];
  sizeBytes: number;
}

export interface CopiedFile extends TreeFile {
  sha256: string;
}

export interface CopyTreeOptions {
  from: string;
  to: string;
  tree: Tree;
  /** Whose the copies are; undefined for this process's user. */
  owner?: { uid: number; gid: number } | undefined;
  /** What the content must be; checked while copying. */
  expected?: ReadonlyMap<string, string>;
  onProgress?: (doneBytes: number) => void;
}

const CHUNK_BYTES = 1024 * 1024;
const AT_ONCE = 4;
const FLUSH_TIMEOUT_MS = 600_000;

/** What is in a directory. Throws an OperationalFailure when there is something that cannot be copied. */
export function readTree(root: string, isLeftOut: (path: string) => boolean): Tree {
  const tree: Tree = { directories: [], files: [], sizeBytes: 0 };
  const visit = (directory: string): void => {
    for (const name of readdirSync(join(root, directory)).toSorted()) {
      const path = directory === '' ? name : `${directory}/${name}`;
      if (isLeftOut(path)) continue;
      const stat = lstatSync(join(root, path));
      const mode = stat.mode & 0o7777;
      if (stat.isDirectory()) {
        tree.directories.push({ path, mode });
        visit(path);
      } else if (stat.isFile()) {
        tree.files.push({ path, sizeBytes: stat.size, mode });
        tree.sizeBytes += stat.size;
      } else if (!stat.isSocket()) {
        throw new OperationalFailure(
          `${join(root, path)} is ${stat.isSymbolicLink() ? 'a link' : 'no ordinary file'}, and a copy would not hold what is behind it. Put the data itself there (a mount point will do), or back it up by other means.`,
          EXIT.dataDirectory,
        );
      }
    }
  };
  visit('');
  return tree;
}

/** Copies a tree to a directory that is made for it. Rejects when a file is not what was expected, or does not fit. */
export async function copyTree({ from, to, tree, owner, expected, onProgress }: CopyTreeOptions): Promise<CopiedFile[]> {
  await mkdir(to, { mode: 0o700 });
  // Open to nobody else until it is whole: modes and owners of directories come last.
  for (const { path } of tree.directories) await mkdir(join(to, path), { mode: 0o700 });
  const copied: CopiedFile[] = [];
  let doneBytes = 0;
  const rest = tree.files.values();
  const work = async (): Promise<void> => {
    for (const file of rest) {
      const sha256 = await copyFile(join(from, file.path), join(to, file.path), file, owner, (bytes) => onProgress?.((doneBytes += bytes)));
      if (expected !== undefined && expected.get(file.path) !== sha256)
        throw new OperationalFailure(
          `${join(from, file.path)} has changed since the backup was made: it cannot be restored from.`,
          EXIT.checksumWrong,
        );
      copied.push({ ...file, sha256 });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  for (const { path, mode } of tree.directories.toReversed()) await settleDirectory(join(to, path), mode, owner);
  await settleDirectory(to, 0o700, owner);
  await flush(to, tree);
  return copied.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

async function copyFile(
  from: string,
  to: string,
  { mode }: TreeFile,
  owner: CopyTreeOptions['owner'],
  onBytes: (bytes: number) => void,
): Promise<string> {
  const hash = createHash('sha256');
  let source: FileHandle | undefined;
  let target: FileHandle | undefined;
  try {
    // Not through a link that somebody put there meanwhile; not over a file that somebody else made.
    source = await open(from, constants.O_RDONLY | constants.O_NOFOLLOW);
    target = await open(to, 'wx', 0o600);
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    for (;;) {
      const { bytesRead } = await source.read(buffer, 0, CHUNK_BYTES, null);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      for (let written = 0; written < bytesRead;) written += (await target.write(buffer, written, bytesRead - written, null)).bytesWritten;
      onBytes(bytesRead);
    }
    if (owner !== undefined) await target.chown(owner.uid, owner.gid);
    await target.chmod(mode);
  } catch (error) {
    if (codeOf(error) !== 'ENOSPC' && codeOf(error) !== 'EDQUOT') throw error;
    throw new OperationalFailure(`The file system of ${dirname(to)} became full.`, EXIT.noRoom, { cause: error });
  } finally {
    await source?.close();
    await target?.close();
  }
  return hash.digest('hex');
}

async function settleDirectory(path: string, mode: number, owner: CopyTreeOptions['owner']): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    if (owner !== undefined) await handle.chown(owner.uid, owner.gid);
    await handle.chmod(mode);
  } finally {
    await handle.close();
  }
}

/** Waits until it all is on the disk: the whole file system at once, since file by file a busy disk takes minutes for a thousand. */
async function flush(directory: string, tree: Tree): Promise<void> {
  if (process.platform !== 'win32') {
    try {
      await promisify(execFile)('sync', ['-f', directory], { timeout: FLUSH_TIMEOUT_MS });
      return;
    } catch {
      // A `sync` that knows no -f: the slow way.
    }
  }
  for (const { path } of tree.files) {
    const handle = await open(join(directory, path), 'r+');
    await handle.sync();
    await handle.close();
  }
}
