/**
 * One agent per data directory: a file that names the process that has it. A file left behind by a process
 * that is gone, or whose id now belongs to another, does not count. Where nothing tells that a process id is another's by now
 * (Windows, after each start of the machine), a second file that the process keeps open alone is what counts.
 */
import { closeSync, constants, linkSync, openSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT, OperationalFailure, codeOf, readForeignFile } from '@tidemark/service';

const FILE = 'agent.pid';
const HELD_FILE = 'agent.lock';
const HOLDER_BYTES_MAX = 1_024;
/** UV_FS_O_EXLOCK of libuv on Windows: nobody else can open the file until it is closed, which the end of the process does too. */
const OPEN_ALONE = 0x1000_0000;
/** Somebody who only looks has the file open for a moment. */
const LOOKS_MAX = 10;
const LOOK_MS = 30;

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
export function holderOf(dataDir: string, platform: NodeJS.Platform = process.platform): number | undefined {
  if (platform !== 'win32') return livingHolder(readHolder(join(dataDir, FILE)));
  const held = openAlone(join(dataDir, HELD_FILE), 'r+');
  if (held === 'held') return pidIn(readHolder(join(dataDir, FILE)));
  if (held !== undefined) closeSync(held);
  return undefined;
}

/** "held" when another process has it; undefined when it is not there, or cannot be opened for another reason. */
function openAlone(path: string, flags: 'r+' | 'a'): number | 'held' | undefined {
  try {
    return openSync(path, (flags === 'a' ? constants.O_CREAT | constants.O_APPEND : 0) | constants.O_RDWR | OPEN_ALONE, 0o600);
  } catch (error) {
    return codeOf(error) === 'EBUSY' ? 'held' : undefined;
  }
}

/** As on Windows: Windows itself lets go of the file when the process ends, however it ends. */
function lockByOpening(dataDir: string): () => void {
  const path = join(dataDir, FILE);
  const own = `${process.pid} \n`;
  for (let look = 1; ; look++) {
    const held = openAlone(join(dataDir, HELD_FILE), 'a');
    if (typeof held === 'number') {
      writeFileSync(path, own, { mode: 0o600 });
      return () => {
        rmSync(path, { force: true });
        closeSync(held);
      };
    }
    if (held === undefined)
      throw new OperationalFailure(
        `${join(dataDir, HELD_FILE)} cannot be written: give the agent's account the right to change files in ${dataDir}.`,
        EXIT.dataDirectory,
      );
    if (look === LOOKS_MAX) throw taken(dataDir, pidIn(readHolder(path)));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
  }
}

function taken(dataDir: string, pid: number | undefined): OperationalFailure {
  return new OperationalFailure(
    `Another agent (process ${pid ?? 'unknown'}) already runs on ${dataDir}. Stop it first, or give this one a --data-dir of its own.`,
    EXIT.alreadyRunning,
  );
}

function pidIn(text: string): number | undefined {
  const pid = Number(text.trim().split(' ')[0]);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

function readHolder(path: string): string {
  try {
    return readForeignFile(path, HOLDER_BYTES_MAX);
  } catch {
    return '';
  }
}

function livingHolder(text: string): number | undefined {
  const [, started] = text.trim().split(' ');
  const pid = pidIn(text);
  if (pid === undefined || pid === process.pid || !isAlive(pid)) return undefined;
  const startedNow = startOf(pid);
  return started === undefined || startedNow === undefined || started === startedNow ? pid : undefined;
}

/** Takes the directory for this process. Throws an OperationalFailure when another agent has it; the result gives it back. */
export function lockDataDir(dataDir: string, platform: NodeJS.Platform = process.platform): () => void {
  if (platform === 'win32') return lockByOpening(dataDir);
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
      if (pid !== undefined) throw taken(dataDir, pid);
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
