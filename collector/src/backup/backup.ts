/**
 * A backup of a stopped collector's data directory: its embedded database, keys and admin token, copied whole to a
 * directory that appears when it is complete and says what it holds. An external database is its operator's to back up.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { EXIT, OperationalFailure, codeOf, sentenceOf, writeFileAtomically, type Clock, type Log } from '@tidemark/service';
import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';
import { holdIdleDataDirectory } from '../db/embedded/index.ts';
import { copyTree, readTree, type Tree } from './tree.ts';

export const BACKUP_DIRECTORY = '/var/backups/tidemark';
export const MANIFEST = 'backup.json';
export const DATA = 'data';

const Manifest = Type.Object({
  format: Type.Literal(1),
  /** The Tidemark whose data it is. */
  version: Type.String(),
  madeAt: Type.String(),
  dataDir: Type.String(),
  database: Type.Union([Type.Literal('embedded'), Type.Literal('external')]),
  sizeBytes: Type.Integer({ minimum: 0 }),
  directories: Type.Array(Type.Object({ path: Type.String(), mode: Type.Integer() })),
  files: Type.Array(Type.Object({ path: Type.String(), sizeBytes: Type.Integer(), mode: Type.Integer(), sha256: Type.String() })),
});
export type Manifest = Static<typeof Manifest>;

export interface Backup {
  directory: string;
  manifest: Manifest;
}

export interface BackupOptions {
  dataDir: string;
  /** The directory that backups lie in. */
  backupDir: string;
  version: string;
  database: 'embedded' | 'external';
  clock: Clock;
  log: Log;
  onProgress?: (doneBytes: number, sizeBytes: number) => void;
}

/** Room beyond what is copied: directories, the list of files, whatever else is written there meanwhile. */
const SPARE_BYTES = 32 * 1024 * 1024;
const SPARE_RATIO = 0.02;

/** What the collector makes anew by itself, or what belongs to one run only. */
export function isLeftOut(path: string): boolean {
  return (
    /^(?:postgres-binaries-[^/]*|run|collector\.lock|\.collector\.lock\.[^/]*|\.writable[^/]*|\.restore-[^/]*|postgres\.new-[^/]*)$/.test(
      path,
    ) || path === 'postgres/postmaster.pid'
  );
}

/** What a backup would hold, and whether there is room for it. Throws an OperationalFailure when there is not. Changes nothing. */
export function planBackup({ dataDir, backupDir }: Pick<BackupOptions, 'dataDir' | 'backupDir'>): Tree {
  if (!existsSync(dataDir)) throw new OperationalFailure(`There is no data in ${dataDir}: nothing to back up.`, EXIT.dataDirectory);
  const [data, backups] = [resolve(dataDir), resolve(backupDir)];
  if (backups === data || backups.startsWith(`${data}/`))
    throw new OperationalFailure(`${backupDir} lies in the data itself. Choose another directory for backups.`, EXIT.usage);
  const tree = readTree(dataDir, isLeftOut);
  ensureRoom(backupDir, tree.sizeBytes, 'the backup');
  return tree;
}

/** Throws an OperationalFailure (noRoom) with both numbers. The directory itself need not exist yet. */
export function ensureRoom(directory: string, sizeBytes: number, what: string): void {
  const wanted = sizeBytes + SPARE_BYTES + Math.ceil(sizeBytes * SPARE_RATIO);
  let existing = resolve(directory);
  while (!existsSync(existing)) existing = resolve(existing, '..');
  const { bavail, bsize } = statfsSync(existing);
  const free = bavail * bsize;
  if (free < wanted)
    throw new OperationalFailure(
      `There is no room for ${what}: ${directory} has ${megabytes(free)} free, and ${megabytes(wanted)} are needed.`,
      EXIT.noRoom,
    );
}

export const megabytes = (bytes: number): string => (bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);

/** Makes a backup. The collector must be stopped; a database server that it left behind is stopped first. */
export async function makeBackup(options: BackupOptions): Promise<Backup> {
  const { dataDir, backupDir, version, database, clock, log } = options;
  planBackup(options);
  const giveBack = await holdIdleDataDirectory(dataDir, log);
  const fresh = join(backupDir, `.new-${randomBytes(4).toString('hex')}`);
  try {
    makePrivate(backupDir);
    for (const left of readdirSync(backupDir).filter((name) => /^\.new-[0-9a-f]{8}$/.test(name)))
      rmSync(join(backupDir, left), { recursive: true, force: true });
    // Read again: only now does nobody write to it.
    const tree = planBackup(options);
    mkdirSync(fresh, { mode: 0o700 });
    const files = await copyTree({
      from: dataDir,
      to: join(fresh, DATA),
      tree,
      ...(options.onProgress && { onProgress: (done: number) => options.onProgress?.(done, tree.sizeBytes) }),
    });
    const madeAt = new Date(clock.wallMs()).toISOString();
    const manifest: Manifest = {
      format: 1,
      version,
      madeAt,
      dataDir: resolve(dataDir),
      database,
      sizeBytes: tree.sizeBytes,
      directories: tree.directories,
      files,
    };
    writeFileAtomically(join(fresh, MANIFEST), `${JSON.stringify(manifest)}\n`, 0o600);
    const directory = freeName(backupDir, `${madeAt.replace(/[-:]|\.\d+/g, '')}-${version}`);
    renameSync(fresh, directory);
    return { directory, manifest };
  } catch (error) {
    if (error instanceof OperationalFailure || codeOf(error) === undefined) throw error;
    throw new OperationalFailure(`The backup could not be made: ${sentenceOf(error)}`, EXIT.failed, { cause: error });
  } finally {
    rmSync(fresh, { recursive: true, force: true });
    giveBack();
  }
}

function makePrivate(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new OperationalFailure(`${directory} cannot be made for backups: ${sentenceOf(error)}`, EXIT.dataDirectory, { cause: error });
  }
}

function freeName(parent: string, name: string): string {
  for (let n = 1; ; n++) {
    const path = join(parent, n === 1 ? name : `${name}-${n}`);
    if (!existsSync(path)) return path;
  }
}

/** The backup in a directory. Throws an OperationalFailure when it is none. */
export function readBackup(directory: string): Backup {
  const none = (why: string): OperationalFailure => new OperationalFailure(`${directory} is no backup of Tidemark: ${why}.`, EXIT.usage);
  let manifest: unknown;
  try {
    manifest = JSON.parse(readFileSync(join(directory, MANIFEST), 'utf8'));
  } catch (error) {
    throw none(codeOf(error) === 'ENOENT' ? `it has no ${MANIFEST}` : sentenceOf(error));
  }
  if (!Value.Check(Manifest, manifest)) throw none(`its ${MANIFEST} is not understood (made by a newer version?)`);
  const paths = [...manifest.files, ...manifest.directories].map(({ path }) => path);
  if (paths.some((path) => path.split('/').some((part) => part === '' || part === '.' || part === '..')))
    throw none('it names a file outside of itself');
  return { directory, manifest };
}

/** The complete backups of this data directory, newest first. */
export function listBackups(backupDir: string, dataDir: string): Backup[] {
  if (!existsSync(backupDir)) return [];
  return readdirSync(backupDir)
    .filter((name) => !name.startsWith('.') && existsSync(join(backupDir, name, MANIFEST)))
    .flatMap((name) => {
      try {
        return [readBackup(join(backupDir, name))];
      } catch (error) {
        // Of a version that wrote them in another way: not ours to judge, or to remove.
        if (error instanceof OperationalFailure) return [];
        throw error;
      }
    })
    .filter(({ manifest }) => manifest.dataDir === resolve(dataDir))
    .toSorted((a, b) => b.manifest.madeAt.localeCompare(a.manifest.madeAt) || basename(b.directory).localeCompare(basename(a.directory)));
}

/** Removes all but the newest backups of this data directory. Returns what it removed. */
export function keepNewest(backupDir: string, dataDir: string, count: number): Backup[] {
  const old = listBackups(backupDir, dataDir).slice(count);
  for (const { directory } of old) rmSync(directory, { recursive: true, force: true });
  return old;
}
