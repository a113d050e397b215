/**
 * One agent per data directory: a file that names the process that has it. A file left behind by a process
 * that is gone, or whose id now belongs to another, does not count.
 */
import { linkSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT, OperationalFailure, codeOf } from '@tidemark/service';

const FILE = 'agent.pid';

/** What tells a process from a later one with the same id: its start, as the kernel counts it. Unknown off Linux. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return afterName[19];
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

/** The living process that has a data directory, or undefined. Never throws. */
export function holderOf(dataDir: string): number | undefined {
  return livingHolder(readHolder(join(dataDir, FILE)));
}

function readHolder(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function livingHolder(text: string): number | undefined {
  const [word = '', started] = text.trim().split(' ');
  const pid = Number(word);
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid || !isAlive(pid)) return undefined;
  const startedNow = startOf(pid);
  return started === undefined || startedNow === undefined || started === startedNow ? pid : undefined;
}

/** Takes the directory for this process. Throws an OperationalFailure when another agent has it; the result gives it back. */
export function lockDataDir(dataDir: string): () => void {
  const path = join(dataDir, FILE);
  const own = `${process.pid} ${startOf(process.pid) ?? ''}\n`;
  const claim = join(dataDir, `.${FILE}.${process.pid}`);
  writeFileSync(claim, own, { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        // A link appears whole or not at all, and fails when the name is taken.
        linkSync(claim, path);
        return () => {
          if (readHolder(path) === own) rmSync(path, { force: true });
        };
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') {
          // No hard links here (some file systems have none): an exclusive write does nearly as well.
          if (codeOf(error) !== 'EPERM' && codeOf(error) !== 'ENOTSUP' && codeOf(error) !== 'EOPNOTSUPP') throw error;
          if (takeByWriting(path, own))
            return () => {
              if (readHolder(path) === own) rmSync(path, { force: true });
            };
        }
      }
      const seen = readHolder(path);
      const pid = livingHolder(seen);
      if (pid !== undefined)
        throw new OperationalFailure(
          `Another agent (process ${pid}) already runs on ${dataDir}. Stop it first, or give this one a --data-dir of its own.`,
          EXIT.alreadyRunning,
        );
      removeStale(path, seen);
    }
  } finally {
    rmSync(claim, { force: true });
  }
  throw new OperationalFailure(
    `Cannot take ${path}: other agents keep taking it at the same moment. Start one agent only.`,
    EXIT.alreadyRunning,
  );
}

function takeByWriting(path: string, own: string): boolean {
  try {
    writeFileSync(path, own, { mode: 0o600, flag: 'wx' });
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Moves the stale file away, and back when it turns out that another agent has just replaced it. */
function removeStale(path: string, seen: string): void {
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  try {
    if (readHolder(aside) !== seen) linkSync(aside, path);
  } catch {
    // Taken again meanwhile: the next attempt sees by whom.
  }
  unlinkSync(aside);
}
