/**
 * pg_rewind for the one scenario that needs it: the packages of the test's servers have none. Debian's package is only unpacked,
 * never installed, for installing it would make a cluster and start a server.
 */
import { execFile } from 'node:child_process';
import { accessSync, chmodSync, constants, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const PROGRAM = 'usr/lib/postgresql/15/bin/pg_rewind';
const UNPACKED = join(tmpdir(), 'tidemark-debian-postgresql-15');
const TIMEOUT_MS = 180_000;
const run = promisify(execFile);

/** Makes sure that it is here. Without it the scenario says that it was skipped; that is no failure of anything else. */
export async function ensureRewind(say) {
  if ([join('/', PROGRAM), join(UNPACKED, PROGRAM)].some(isProgram)) return;
  const fresh = mkdtempSync(`${UNPACKED}-`);
  try {
    chmodSync(fresh, 0o755);
    await run('apt-get', ['-q', 'download', 'postgresql-15'], { cwd: fresh, timeout: TIMEOUT_MS });
    const [file] = readdirSync(fresh);
    await run('dpkg-deb', ['-x', file, '.'], { cwd: fresh, timeout: TIMEOUT_MS });
    rmSync(join(fresh, file));
    await run(join(fresh, PROGRAM), ['--version'], { timeout: TIMEOUT_MS });
    // Another run may have been quicker.
    rmSync(UNPACKED, { recursive: true, force: true });
    renameSync(fresh, UNPACKED);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    say(
      `pg_rewind is not to be had here, so one scenario is skipped. It is in Debian's postgresql-15: ${String(error.message).split('\n')[0]}\n`,
    );
  }
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
