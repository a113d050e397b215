/**
 * One run of a PostgreSQL server as a child process, in a session of its own so that Ctrl-C on a terminal
 * does not reach it. Whoever launches one stops it; it is told to leave, then made to.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { identityOf, type Account } from './account.ts';

export interface PostgresProcessOptions {
  binariesDir: string;
  dataDirectory: string;
  account: Account | undefined;
  /** Server settings, given as arguments: nobody's edit of a file can undo them. No secrets here. */
  settings: Readonly<Record<string, string>>;
  /** Each line the server writes. */
  onLine?: (line: string) => void;
  /** Bound of the time until it accepts connections, recovery after a crash included. */
  readyTimeoutMs: number;
  /** Gives up the start. */
  abort?: AbortSignal;
}

export interface PostgresExit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** The last line it wrote that says why, if any. */
  detail: string;
}

export interface PostgresProcess {
  readonly pid: number;
  /** Resolves when it is gone, however that came. */
  readonly exited: Promise<PostgresExit>;
  /** Resolves when it is gone. `fast` ends sessions, `smart` waits for them, `immediate` leaves recovery to the next start. */
  stop(mode?: StopMode): Promise<void>;
}

export type StopMode = 'smart' | 'fast' | 'immediate';

const STOP_SIGNALS: Readonly<Record<StopMode, NodeJS.Signals>> = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' };
const POLITE_MS = 20_000;
const IMMEDIATE_MS = 5_000;

/**
 * The path by which a server (or initdb) started *in* its data directory names it. As another user it may be unable to walk
 * to it; the kernel resolves this link without walking.
 */
export function dataArgument(dataDirectory: string, account: Account | undefined): string {
  return account !== undefined && process.platform === 'linux' ? '/proc/self/cwd' : dataDirectory;
}

/** The environment of PostgreSQL's programs: nothing of ours, messages in the one language that we read. */
export const POSTGRES_ENVIRONMENT: Readonly<Record<string, string>> = { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/bin:/bin' };

/** Starts a server and resolves when it accepts connections. Rejects with what it said when it does not get that far. */
export async function launchPostgres(options: PostgresProcessOptions): Promise<PostgresProcess> {
  const { account, dataDirectory } = options;
  const child = spawn(
    join(options.binariesDir, 'bin', 'postgres'),
    [
      '-D',
      dataArgument(dataDirectory, account),
      ...Object.entries(options.settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    {
      ...identityOf(account),
      cwd: dataDirectory,
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...POSTGRES_ENVIRONMENT },
    },
  );
  let detail = '';
  const exited = new Promise<PostgresExit>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, detail }));
    child.once('error', (error) => {
      detail = error.message;
      if (child.pid === undefined) resolve({ code: null, signal: null, detail });
    });
  });
  const ready = new Promise<void>((resolve) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      const reason = /(?:FATAL|PANIC|ERROR):\s+(.*)/.exec(line)?.[1];
      if (reason !== undefined) detail = reason;
      else if (detail === '' && !line.includes('LOG:')) detail = line.trim();
      options.onLine?.(line);
      if (line.includes('database system is ready to accept')) resolve();
    });
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), options.readyTimeoutMs);
  });
  const giveUp = (): void => void child.kill(STOP_SIGNALS.fast);
  options.abort?.addEventListener('abort', giveUp, { once: true });
  const outcome = await Promise.race([ready, exited, late]);
  clearTimeout(timer);
  options.abort?.removeEventListener('abort', giveUp);
  const server: PostgresProcess = { pid: child.pid ?? 0, exited, stop: (mode = 'fast') => stop(child, exited, mode) };
  if (outcome === 'late') {
    await server.stop('immediate');
    throw new Error(`PostgreSQL was not ready within ${options.readyTimeoutMs / 1000} s${detail === '' ? '' : `: ${detail}`}`);
  }
  if (outcome !== undefined) throw new Error(`PostgreSQL did not start: ${detail || describeExit(outcome)}`);
  return server;
}

/** "exit code 1" or "signal SIGKILL". */
export function describeExit(exit: PostgresExit): string {
  return exit.signal === null ? `exit code ${exit.code ?? 'unknown'}` : `signal ${exit.signal}`;
}

async function stop(child: ChildProcess, exited: Promise<PostgresExit>, mode: StopMode): Promise<void> {
  const steps: [NodeJS.Signals, number][] = [
    [STOP_SIGNALS[mode], mode === 'immediate' ? IMMEDIATE_MS : POLITE_MS],
    ['SIGQUIT', IMMEDIATE_MS],
  ];
  for (const [signal, waitMs] of steps) {
    child.kill(signal);
    if (await settlesWithin(exited, waitMs)) return;
  }
  child.kill('SIGKILL');
  await exited;
}

async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const settled = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return settled;
}
