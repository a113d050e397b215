/** Runs a program of this checkout in the foreground, once everything is built: Ctrl-C is the program's to handle, and its exit code is ours. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { checkNode, ensureBuilt, ensureInstalled, root, runCommand } from './prepare.mjs';

/** `program` is a path within the checkout; it gets this command's arguments. */
export function runInForeground(program) {
  return runCommand(async () => {
    checkNode();
    await ensureInstalled();
    await ensureBuilt('everything', 'console', 'agent');
    const child = spawn(process.execPath, [join(root, program), ...process.argv.slice(2)], { stdio: 'inherit' });
    // A terminal sends Ctrl-C to both; the program ends in its own time.
    process.on('SIGINT', () => {});
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => resolve(code ?? 1));
    });
  });
}
