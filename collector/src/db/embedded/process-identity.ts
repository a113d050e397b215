/**
 * Which process is meant by a number in a file: a pid alone proves nothing, since pids are used again.
 * A process is the same one when its pid, its start time and the boot of the machine are the same.
 */
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { execFileSync } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';

export interface ProcessIdentity {
  pid: number;
  /** Opaque; empty where the system does not tell. */
  startedAt: string;
}

/** The process with this pid as it is now, or undefined when there is none. A zombie counts as gone. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // The name stands in parentheses and may hold spaces and parentheses itself.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
      const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
      return { pid, startedAt: `${boot}/${fields[19] ?? ''}` };
    } catch {
      return undefined;
    }
  }
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return undefined;
  }
  return { pid, startedAt: '' };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startedAt === identity.startedAt;
}

/** True when the process with this pid is a PostgreSQL server whose data directory is this one. */
export function servesDirectory(pid: number, dataDirectory: string): boolean {
  if (identifyProcess(pid) === undefined) return false;
  if (process.platform === 'linux') {
    try {
      const executable = basename(readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, ''));
      // A server changes into its data directory and stays there. Inodes, since the directory may have been moved.
      const [theirs, ours] = [statSync(`/proc/${pid}/cwd`), statSync(dataDirectory)];
      return executable === 'postgres' && theirs.dev === ours.dev && theirs.ino === ours.ino;
    } catch {
      // A process that we may not look into is of another user, and the owner of this directory is one we may look into.
      return false;
    }
  }
  try {
    const command = execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8', timeout: 5_000 });
    return command.includes('postgres') && command.includes(dataDirectory);
  } catch {
    return false;
  }
}

/** Resolves with true when the process is gone, with false when it still runs after `timeoutMs`. For processes that are not our children. */
export async function waitUntilGone(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (isAlive(identity)) {
    if (performance.now() > deadline) return false;
    await pause(20);
  }
  return true;
}
