/** Runs the program that makes the bundle, as a child of low priority that is gone when it is told to stop, and within a bounded time. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { OperationalFailure, sentenceOf } from '@tidemark/service';

export interface Progress {
  /** 0 to 100. */
  percent: number;
  /** What is being done, for people. */
  what: string;
}

export interface Bundling {
  /** installers/dist/main.js. */
  program: string;
  directory: string;
  onProgress: (progress: Progress) => void;
  signal: AbortSignal;
}

/** Packing three runtimes takes some four minutes the first time; this is for a machine that is very busy. */
const BUNDLE_TIMEOUT_MS = 30 * 60_000;
const KILL_AFTER_MS = 5_000;
const KEPT_ERROR_CHARS = 4_096;
const MAX_SENTENCE_CHARS = 500;

/** The bundler of a checkout; undefined in a release, where nothing is ever built. */
export function bundlerIn(installersDir: string): string | undefined {
  const program = join(installersDir, 'dist', 'main.js');
  return existsSync(program) ? program : undefined;
}

/** Resolves when the bundle is made. Rejects with an OperationalFailure that has the program's own last sentence. */
export async function runBundler({ program, directory, onProgress, signal }: Bundling): Promise<void> {
  signal.throwIfAborted();
  const child = spawn(process.execPath, [program, 'bundle', '--out', directory, '--progress'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors = (errors + text).slice(-KEPT_ERROR_CHARS)));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const progress = progressOf(line);
    if (progress !== undefined) onProgress(progress);
  });
  child.once('spawn', () => lower(child.pid));
  let late = false;
  let killTimer: NodeJS.Timeout | undefined;
  const end = (): void => {
    child.kill('SIGTERM');
    killTimer ??= setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
  };
  const timer = setTimeout(() => {
    late = true;
    end();
  }, BUNDLE_TIMEOUT_MS);
  signal.addEventListener('abort', end, { once: true });
  try {
    const left = await new Promise<number | string>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, killedBy) => resolve(code ?? killedBy ?? 'unknown'));
    });
    signal.throwIfAborted();
    if (late) throw new OperationalFailure(`Making the downloads took longer than ${BUNDLE_TIMEOUT_MS / 60_000} minutes and was ended.`);
    if (left !== 0) throw new OperationalFailure(lastSentence(errors) ?? `The program that makes the downloads ended with ${left}.`);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof OperationalFailure) throw error;
    throw new OperationalFailure(`The program that makes the downloads could not be run: ${sentenceOf(error)}.`, undefined, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    clearTimeout(killTimer);
    signal.removeEventListener('abort', end);
  }
}

/** Reports come first. */
function lower(pid: number | undefined): void {
  try {
    if (pid !== undefined) setPriority(pid, constants.priority.PRIORITY_LOW);
  } catch {
    // It has ended already, or the system has no such thing.
  }
}

function progressOf(line: string): Progress | undefined {
  try {
    const { percent, what } = JSON.parse(line) as { percent?: unknown; what?: unknown };
    if (typeof percent !== 'number' || typeof what !== 'string') return undefined;
    return { percent: Math.min(Math.max(Math.floor(percent), 0), 100), what: what.slice(0, 200) };
  } catch {
    // It may say other things as well.
    return undefined;
  }
}

function lastSentence(errors: string): string | undefined {
  const line = errors
    .split('\n')
    .map((one) => one.trim())
    .findLast((one) => one !== '');
  return line?.replace(/^tidemark-[a-z]+: /, '').slice(0, MAX_SENTENCE_CHARS);
}
