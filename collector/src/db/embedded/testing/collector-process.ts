/** Runs `hold.ts` as a process of its own, bundled into one file so that any user of the machine can run it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { EmbeddedPostgres, EmbeddedPostgresOptions } from '../server.ts';

export interface HeldServer {
  pid: number;
  host: string;
  binariesDir: string;
  connection: EmbeddedPostgres['connection'];
}

export interface CollectorProcess {
  readonly child: ChildProcess;
  /** What it said first, or the sentence it failed with. */
  readonly said: Promise<Partial<HeldServer> & { failure?: string }>;
  readonly exited: Promise<number | NodeJS.Signals>;
}

/** Makes the one file in a directory. Returns its path. */
export async function bundleHold(directory: string): Promise<string> {
  const outfile = join(directory, 'hold.mjs');
  await build({
    entryPoints: [fileURLToPath(new URL('./hold.ts', import.meta.url))],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    conditions: ['source', 'node'],
    outfile,
    logLevel: 'error',
    banner: { js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);" },
  });
  chmodSync(outfile, 0o644);
  return outfile;
}

/** Starts it, as the given user if any. */
export function spawnHold(
  file: string,
  options: Omit<EmbeddedPostgresOptions, 'log'>,
  as: { uid?: number; gid?: number } = {},
): CollectorProcess {
  const child = spawn(process.execPath, [file, JSON.stringify(options)], { ...as, cwd: '/', env: {}, stdio: ['ignore', 'pipe', 'pipe'] });
  const errors: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line));
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once('close', (code, signal) => resolve(signal ?? code ?? -1));
  });
  const said = new Promise<Partial<HeldServer> & { failure?: string }>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line) as HeldServer));
    void exited.then((how) => reject(new Error(`it said nothing and left with ${how}: ${errors.join('\n')}`)));
  });
  // Tests that kill it on purpose do not ask what it said.
  said.catch(() => {});
  return { child, said, exited };
}
