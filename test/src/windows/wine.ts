/**
 * Windows programs run by Wine: in a prefix of our own that is made once and kept below the temporary directory, without a display,
 * and with output into a file (a pipe for it makes node.exe fail there).
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants, existsSync, openSync, closeSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PREFIX_TIMEOUT_MS = 120_000;

/** Why Windows programs cannot be run here; undefined when they can. */
export function noWine(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return `there is no Wine for ${process.platform}-${process.arch}`;
  const found = (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, 'wine'), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  return found ? undefined : 'Wine is not installed (Debian: apt-get install wine wine64)';
}

/** A path of this machine as a Windows program has it. */
export const windowsPath = (path: string): string => `Z:${path.replaceAll('/', '\\')}`;

export interface WineProcess {
  readonly pid: number;
  readonly exited: Promise<number | string>;
  kill(signal: NodeJS.Signals): void;
  output(): string;
}

export class Wine {
  readonly prefix: string;
  readonly #environment: NodeJS.ProcessEnv;

  private constructor(prefix: string) {
    this.prefix = prefix;
    const { DISPLAY: _display, WAYLAND_DISPLAY: _wayland, ...rest } = process.env;
    // node.exe asks for a newer Windows than Wine says it is, and runs all the same.
    this.#environment = { ...rest, WINEPREFIX: prefix, WINEARCH: 'win64', WINEDEBUG: '-all', NODE_SKIP_PLATFORM_CHECK: '1' };
  }

  static async open(): Promise<Wine> {
    const wine = new Wine(join(tmpdir(), `tidemark-wine-${userInfo().uid}`));
    const ready = join(wine.prefix, 'tidemark-ready');
    if (existsSync(ready)) return wine;
    for (const [program, ...args] of [
      ['wineboot', '-i'],
      ['wine', 'winecfg', '-v', 'win10'],
      ['wineserver', '-w'],
    ] as const)
      await run(program, args, { env: wine.#environment, timeout: PREFIX_TIMEOUT_MS });
    writeFileSync(ready, '');
    return wine;
  }

  /** Starts a program; `log` gets what it writes. */
  start(program: string, args: readonly string[], log: string): WineProcess {
    const file = openSync(log, 'a');
    const child: ChildProcess = spawn('wine', [program, ...args], { stdio: ['ignore', file, file], env: this.#environment });
    closeSync(file);
    const exited = new Promise<number | string>((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')));
    return {
      pid: child.pid!,
      exited,
      kill: (signal) => void child.kill(signal),
      output: () => readFileSync(log, 'utf8'),
    };
  }

  /** Ends whatever still runs in this prefix. */
  async close(): Promise<void> {
    await run('wineserver', ['-k'], { env: this.#environment }).catch(() => undefined);
  }
}
