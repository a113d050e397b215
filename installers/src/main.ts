/** Builds what is installed on nodes: without arguments the agent as one file, `bundle` all that nodes download, `--help` says more. */
import { writeSync } from 'node:fs';
import { homedir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { EXIT, OperationalFailure, runProgram } from '@tidemark/service';
import { bundleAgent } from './bundle.ts';
import { bundleCommand } from './commands/bundle.ts';
import { releaseCommand } from './commands/release.ts';
import { cacheDirectory } from './downloads/cache.ts';
import { findNpm } from './runtime/npm.ts';

/** Writes at once: packing holds the thread, and a stream would keep its words until it is over. */
function writeNow(descriptor: number, text: string): void {
  try {
    writeSync(descriptor, text);
  } catch {
    // A full pipe or a reader that has gone: what was said is progress, which the next line tells anew.
  }
}

await runProgram('tidemark-installers', async () => {
  const [command, ...args] = process.argv.slice(2);
  const surroundings = {
    root: fileURLToPath(new URL('../../', import.meta.url)),
    cacheDirectory: cacheDirectory(process.env, process.platform, homedir()),
    npm: findNpm(process.env, process.execPath),
    out: (text: string) => writeNow(1, text),
    err: (text: string) => writeNow(2, text),
    nowMs: () => Date.now(),
  };
  if (command === 'bundle') return bundleCommand(args, surroundings);
  if (command === 'release') return releaseCommand(args, surroundings);
  if (command !== undefined)
    throw new OperationalFailure(`There is no command "${command}" here; there are "bundle" and "release".`, EXIT.usage);
  const { file, sizeBytes } = await bundleAgent();
  process.stdout.write(`${file}: ${(sizeBytes / 1024).toFixed(0)} KiB\n`);
  return EXIT.ok;
});
