/**
 * The life of a process: it starts its parts in order, stops them in the reverse order exactly once, on
 * SIGTERM, SIGINT or the loss of the parent that started it with an IPC channel, and it is gone within a
 * bounded time even when a part hangs.
 */
import { isatty } from 'node:tty';
import type { Log } from './log.ts';
import { EXIT, OperationalFailure, sentenceOf } from './failure.ts';

export interface Lifecycle {
  /** Registers what undoes a step of the start; steps are undone in reverse order. */
  onStop(name: string, stop: () => Promise<void> | void): void;
  /** Registers what SIGHUP means: reading the configuration again. Without it, and at a terminal that was closed, SIGHUP stops. */
  onReload(reload: () => void): void;
  /** Begins to stop, with the given exit code; later calls change nothing. */
  stop(reason: string, exitCode?: number): void;
  /** True from the moment that stopping began. */
  readonly stopping: boolean;
}

export interface LifecycleOptions {
  log: Log;
  /** Bound of the whole stop in milliseconds; after it the process leaves by SIGKILL to itself. */
  stopTimeoutMs: number;
}

/**
 * Runs `start` and keeps the process until a stop is asked for. Resolves with the exit code.
 * A stuck system call (a dead network mount) can hold even `process.exit`, so the last resort is SIGKILL.
 */
export function runUntilStopped(options: LifecycleOptions, start: (lifecycle: Lifecycle) => Promise<void>): Promise<number> {
  const { log } = options;
  const steps: { name: string; stop: () => Promise<void> | void }[] = [];
  return new Promise<number>((resolve, reject) => {
    let exitCode: number | undefined;
    let started: Promise<void> = Promise.resolve();
    let reload: (() => void) | undefined;
    const lifecycle: Lifecycle = {
      get stopping() {
        return exitCode !== undefined;
      },
      onStop: (name, stop) => void steps.push({ name, stop }),
      onReload: (given) => void (reload = given),
      stop(reason, code = EXIT.ok) {
        if (exitCode !== undefined) return;
        exitCode = code;
        log.info({ reason }, 'stopping');
        setTimeout(() => {
          log.error({ stopTimeoutMs: options.stopTimeoutMs }, 'did not stop in time; leaving at once');
          process.kill(process.pid, 'SIGKILL');
        }, options.stopTimeoutMs).unref();
        void started
          .catch(() => {})
          .then(undo)
          .then(() => resolve(code));
      },
    };
    const undo = async (): Promise<void> => {
      for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
        try {
          await step.stop();
        } catch (error) {
          log.error({ err: error, step: step.name }, 'a part did not stop cleanly');
        }
      }
    };
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      if (signal === 'SIGHUP' && process.listenerCount('SIGHUP') > 0) continue;
      process.on(signal, () => {
        // A closed terminal says the same as `kill -HUP` to a service, and means the opposite.
        if (signal === 'SIGHUP' && reload !== undefined && !isatty(0)) reload();
        else lifecycle.stop(signal);
      });
    }
    if (process.connected) process.once('disconnect', () => lifecycle.stop('parent gone'));
    started = start(lifecycle);
    started.catch((error: unknown) => {
      if (exitCode !== undefined) return;
      exitCode = EXIT.failed;
      void undo().then(() => reject(error instanceof Error ? error : new Error(sentenceOf(error))));
    });
  });
}

/** Runs a program's main function and leaves with its exit code: an operational failure as one sentence, anything else as a crash. */
export async function runProgram(program: string, main: () => Promise<number>): Promise<void> {
  // A reader that has gone (`| head`, a closed terminal, a dead parent) must not cut short what is being done or undone.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  let code: number;
  try {
    code = await main();
  } catch (error) {
    if (!(error instanceof OperationalFailure)) throw error;
    process.stderr.write(`${program}: ${withoutControls(error.message)}\n`);
    code = error.exitCode;
  }
  process.exitCode = code;
  await Promise.all([process.stdout, process.stderr].map((stream) => new Promise<void>((done) => stream.write('', () => done()))));
  // Before it ends, `process.exit` waits for every thread; one that is stuck in a dead mount never comes back.
  for (let waited = 0; holdsThread() && waited < THREAD_WAIT_MS; waited += 25) await new Promise((done) => setTimeout(done, 25));
  if (holdsThread()) process.kill(process.pid, 'SIGKILL');
  process.exit(code);
}

/** A sentence may quote whoever answered over the network: nothing of it moves a terminal's cursor. Lines stay lines. */
function withoutControls(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, (character) =>
    character === '\n' || character === '\t' ? character : `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

/** What a file operation that is still under way may take at the end. */
const THREAD_WAIT_MS = 500;

function holdsThread(): boolean {
  return process.getActiveResourcesInfo().some((resource) => resource.startsWith('FSReq') || resource === 'GetAddrInfoReqWrap');
}
