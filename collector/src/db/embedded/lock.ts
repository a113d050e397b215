/**
 * One collector a data directory: a file that names its holder. It is held when that very process (pid,
 * start time, boot) lives, so that a crash never leaves a lock that somebody has to remove by hand.
 */
import { linkSync, readFileSync, renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT, OperationalFailure, codeOf } from '@tidemark/service';
import { writeFresh } from './fresh-file.ts';
import { identifyProcess, isAlive, type ProcessIdentity } from './process-identity.ts';

const ATTEMPTS = 10;

/** Takes the directory for this process. Returns what gives it back. Throws an OperationalFailure when another collector has it. */
export function lockDataDirectory(dataDir: string): () => void {
  const path = join(dataDir, 'collector.lock');
  const own = identifyProcess(process.pid) ?? { pid: process.pid, startedAt: '' };
  const mine = join(dataDir, `.collector.lock.${process.pid}`);
  writeFresh(mine, JSON.stringify(own));
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        // A link is made whole or not at all: of two that try at once, one wins.
        linkSync(mine, path);
        return () => release(path, own);
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
      }
      const holder = readHolder(path);
      if (holder === undefined) continue;
      // Where the system tells no start times, our own pid in the file is from a life before this one.
      const former = holder !== 'unreadable' && holder.startedAt === '' && holder.pid === process.pid;
      if (holder !== 'unreadable' && !former && isAlive(holder)) throw heldBy(holder, dataDir);
      takeAside(path, holder, dataDir);
    }
  } finally {
    unlinkSync(mine);
  }
  throw new OperationalFailure(`Cannot lock ${dataDir}: several collectors are starting on it at once. Start one.`, EXIT.alreadyRunning);
}

/** Removes a dead holder's file, and puts it back when it turns out that somebody living was quicker. */
function takeAside(path: string, expected: ProcessIdentity | 'unreadable', dataDir: string): void {
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  const taken = readHolder(aside);
  const mistaken = typeof taken === 'object' && typeof expected === 'object' && taken.startedAt !== expected.startedAt && isAlive(taken);
  if (mistaken) renameSync(aside, path);
  else unlinkSync(aside);
  if (mistaken) throw heldBy(taken, dataDir);
}

function heldBy(holder: ProcessIdentity, dataDir: string): OperationalFailure {
  return new OperationalFailure(
    `A collector (process ${holder.pid}) already runs on ${dataDir}. Stop it first, or give this one another directory with --data-dir.`,
    EXIT.alreadyRunning,
  );
}

function readHolder(path: string): ProcessIdentity | 'unreadable' | undefined {
  try {
    const { pid, startedAt } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    return typeof pid === 'number' && typeof startedAt === 'string' ? { pid, startedAt } : 'unreadable';
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? undefined : 'unreadable';
  }
}

function release(path: string, own: ProcessIdentity): void {
  const holder = readHolder(path);
  if (typeof holder === 'object' && holder.pid === own.pid && holder.startedAt === own.startedAt) unlinkSync(path);
}
