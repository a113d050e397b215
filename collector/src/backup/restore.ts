/**
 * Puts a backup in the place of a stopped collector's data. The copy is made and checked beside the data first; while the
 * two change places a marker stands, with which no collector starts: half a restore never becomes an empty database.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { EXIT, OperationalFailure, codeOf, sentenceOf, type Log } from '@tidemark/service';
import { holdIdleDataDirectory, writeFresh } from '../db/embedded/index.ts';
import { DATA, ensureRoom, isLeftOut, megabytes, type Backup } from './backup.ts';
import { copyTree } from './tree.ts';

const MARKER = '.restore-under-way';
const FRESH = '.restore-new';
const ASIDE = '.restore-replaced';

export interface RestoreOptions {
  backup: Backup;
  dataDir: string;
  log: Log;
  onProgress?: (doneBytes: number, sizeBytes: number) => void;
}

/** Restores. The collector must be stopped. Until the copy is whole and checked, the data in place is not touched. */
export async function restoreBackup({ backup, dataDir, log, onProgress }: RestoreOptions): Promise<void> {
  const { directory, manifest } = backup;
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const giveBack = await holdIdleDataDirectory(dataDir, log);
  const fresh = join(dataDir, FRESH);
  const aside = join(dataDir, ASIDE);
  try {
    rmSync(fresh, { recursive: true, force: true });
    ensureRoom(dataDir, manifest.sizeBytes, 'what is restored');
    await copyTree({
      from: join(directory, DATA),
      to: fresh,
      tree: { directories: manifest.directories, files: manifest.files, sizeBytes: manifest.sizeBytes },
      owner: ownerToGive(dataDir),
      expected: new Map(manifest.files.map(({ path, sha256 }) => [path, sha256])),
      ...(onProgress && { onProgress: (done: number) => onProgress(done, manifest.sizeBytes) }),
    });
    writeFresh(join(dataDir, MARKER), `${directory}\n`, 0o644);
    rmSync(aside, { recursive: true, force: true });
    mkdirSync(aside, { mode: 0o700 });
    for (const name of readdirSync(dataDir)) if (!isLeftOut(name)) renameSync(join(dataDir, name), join(aside, name));
    for (const name of readdirSync(fresh)) renameSync(join(fresh, name), join(dataDir, name));
    rmSync(join(dataDir, MARKER));
    rmSync(fresh, { recursive: true, force: true });
    rmSync(aside, { recursive: true, force: true });
  } catch (error) {
    if (error instanceof OperationalFailure || codeOf(error) === undefined) throw error;
    throw new OperationalFailure(
      `Restoring ${directory} (${megabytes(manifest.sizeBytes)}) failed: ${sentenceOf(error)}. Nothing is lost: restore it again.`,
      EXIT.failed,
      { cause: error },
    );
  } finally {
    if (!existsSync(join(dataDir, MARKER))) rmSync(fresh, { recursive: true, force: true });
    giveBack();
  }
}

/** Restored by root, the data belongs to whoever owns the data directory. */
function ownerToGive(dataDir: string): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const { uid, gid } = statSync(dataDir);
  return { uid, gid };
}

/** Throws an OperationalFailure when a restore of this data directory was cut off: what is there is not whole. */
export function refuseHalfRestored(dataDir: string): void {
  if (!existsSync(join(dataDir, MARKER))) return;
  throw new OperationalFailure(
    `A restore of ${resolve(dataDir)} was cut off. Do it again before the collector starts: tidemark-collector restore BACKUP`,
    EXIT.dataDirectory,
  );
}
