/**
 * The embedded server's data directory: made whole or not at all, served by one server only, and never
 * touched when it is of another PostgreSQL or not PostgreSQL's.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  closeSync,
  existsSync,
  fchownSync,
  fsyncSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { EXIT, OperationalFailure, sentenceOf, type Log } from '@tidemark/service';
import { identityOf, type Account } from './account.ts';
import { POSTGRES_ENVIRONMENT, dataArgument } from './postgres-process.ts';
import { identifyProcess, servesDirectory, waitUntilGone } from './process-identity.ts';

const INIT_TIMEOUT_MS = 120_000;
const ORPHAN_FAST_MS = 20_000;
const ORPHAN_IMMEDIATE_MS = 10_000;

/** True when there is a data directory of this major version. Throws an OperationalFailure when there is something else. */
export function inspectDataDirectory(dataDirectory: string, major: number): boolean {
  if (!existsSync(dataDirectory) || readdirSync(dataDirectory).length === 0) return false;
  let found: string;
  try {
    found = readFileSync(join(dataDirectory, 'PG_VERSION'), 'utf8').trim();
  } catch (error) {
    throw new OperationalFailure(
      `${dataDirectory} is in the way: it holds files, but no PostgreSQL database. Move it aside, or choose another directory with --data-dir.`,
      EXIT.dataDirectory,
      { cause: error },
    );
  }
  if (found === String(major)) return true;
  throw new OperationalFailure(
    `The database in ${dataDirectory} was made by PostgreSQL ${found} and this Tidemark brings PostgreSQL ${major}, which cannot read it. Run the Tidemark that made it, or move the directory aside to begin anew.`,
    EXIT.databaseNewer,
  );
}

export interface InitialiseOptions {
  binariesDir: string;
  account: Account | undefined;
  superuser: string;
  /** None: everyone who reaches the server is let in (for tests). */
  password: string | undefined;
  /** A private directory the account can reach; the password passes through it. */
  passDir: string;
  /** The builtin locale exists from PostgreSQL 17. */
  major: number;
  /** Skips fsync: only where losing the data costs nothing. */
  volatile?: boolean;
}

/**
 * Makes a new data directory beside its place and moves it there when it is whole. What an interrupted run left
 * behind is removed first.
 */
export async function initialiseDataDirectory(dataDirectory: string, options: InitialiseOptions): Promise<void> {
  const parent = dirname(dataDirectory);
  const prefix = `${basename(dataDirectory)}.new-`;
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  for (const left of readdirSync(parent).filter((name) => name.startsWith(prefix))) {
    rmSync(join(parent, left), { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
  // A name of its own: an initdb that outlived its collector must not write into this one.
  const fresh = join(parent, `${prefix}${randomBytes(4).toString('hex')}`);
  const passwordFile = join(options.passDir, `init-${randomBytes(8).toString('hex')}`);
  mkdirSync(fresh, { mode: 0o700 });
  try {
    if (options.account !== undefined) chownSync(fresh, options.account.uid, options.account.gid);
    if (options.password !== undefined) writeForAccount(passwordFile, `${options.password}\n`, options.account);
    await runInitdb(fresh, options, options.password === undefined ? undefined : passwordFile);
    // An empty directory may be there (a mount point cannot be replaced and says so here).
    if (existsSync(dataDirectory)) rmSync(dataDirectory, { recursive: true });
    renameSync(fresh, dataDirectory);
    syncDirectory(parent);
  } finally {
    rmSync(passwordFile, { force: true });
    rmSync(fresh, { recursive: true, force: true });
  }
}

function runInitdb(directory: string, options: InitialiseOptions, passwordFile: string | undefined): Promise<void> {
  const locale = options.major >= 17 ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'] : ['--locale=C'];
  const authentication = passwordFile === undefined ? ['--auth=trust'] : ['--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  const args = ['-D', dataArgument(directory, options.account), '-U', options.superuser, '--encoding=UTF8', ...locale, ...authentication];
  if (options.volatile) args.push('--no-sync');
  return new Promise((resolve, reject) => {
    const child = execFile(
      join(options.binariesDir, 'bin', 'initdb'),
      args,
      { ...identityOf(options.account), cwd: directory, env: { ...POSTGRES_ENVIRONMENT }, timeout: INIT_TIMEOUT_MS },
      (error, stdout, stderr) => {
        if (error === null) return resolve();
        const said = `${stderr}\n${stdout}`.split('\n').find((line) => /error|fatal|could not/i.test(line)) ?? stderr.trim().split('\n')[0];
        reject(
          new OperationalFailure(`The database could not be made: ${(said || error.message).trim()}`, EXIT.dataDirectory, { cause: error }),
        );
      },
    );
    child.stdin?.end();
  });
}

/** Creates a file that nobody but the account can read. It must not exist: the directory is the account's, and so could be a link in it. */
function writeForAccount(path: string, content: string, account: Account | undefined): void {
  const fd = openSync(path, 'wx', 0o600);
  try {
    writeSync(fd, content);
    if (account !== undefined) fchownSync(fd, account.uid, account.gid);
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes sure that no server runs on the directory: one that a killed collector left behind is stopped, and a pid file
 * whose process is gone or another program is removed, since PostgreSQL would believe it.
 */
export async function clearFormerServer(dataDirectory: string, log: Log): Promise<void> {
  const pidFile = join(dataDirectory, 'postmaster.pid');
  let pid: number;
  try {
    pid = Math.abs(Number.parseInt(readFileSync(pidFile, 'utf8'), 10));
  } catch {
    return;
  }
  const identity = identifyProcess(pid);
  if (identity !== undefined && servesDirectory(pid, dataDirectory)) {
    log.warn({ pid }, 'a database server of an earlier run is still there; stopping it');
    process.kill(pid, 'SIGINT');
    if (!(await waitUntilGone(identity, ORPHAN_FAST_MS))) {
      process.kill(pid, 'SIGQUIT');
      if (!(await waitUntilGone(identity, ORPHAN_IMMEDIATE_MS))) {
        throw new OperationalFailure(
          `An earlier PostgreSQL (process ${pid}) on ${dataDirectory} does not stop. End it, then start again.`,
          EXIT.alreadyRunning,
        );
      }
    }
  }
  rmSync(pidFile, { force: true });
}

/** Gives a data directory that root owns (a restored backup) to the account that serves it. */
export function giveTo(account: Account | undefined, dataDirectory: string): void {
  if (account === undefined || lstatSync(dataDirectory).uid === account.uid) return;
  const visit = (path: string): void => {
    const stat = lstatSync(path);
    lchownSync(path, account.uid, account.gid);
    if (stat.isDirectory()) for (const name of readdirSync(path)) visit(join(path, name));
  };
  visit(dataDirectory);
}

/** Sets a role's password on a stopped server, for when its file was lost. `password` holds no quotes. */
export function setPasswordOffline(
  dataDirectory: string,
  options: { binariesDir: string; account: Account | undefined; role: string; password: string },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      join(options.binariesDir, 'bin', 'postgres'),
      [
        '--single',
        '-D',
        dataArgument(dataDirectory, options.account),
        '-c',
        'listen_addresses=',
        '-c',
        'log_min_error_statement=panic',
        'postgres',
      ],
      { ...identityOf(options.account), cwd: dataDirectory, env: { ...POSTGRES_ENVIRONMENT }, timeout: INIT_TIMEOUT_MS },
      (error, _stdout, stderr) => {
        if (error === null && !/ERROR:|FATAL:/.test(stderr)) resolve();
        else
          reject(
            new OperationalFailure(
              `The database's password could not be set anew: ${(stderr.trim().split('\n').at(-1) ?? '') || sentenceOf(error)}`,
              EXIT.dataDirectory,
            ),
          );
      },
    );
    child.stdin?.end(`ALTER ROLE "${options.role}" PASSWORD '${options.password}'\n`);
  });
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
