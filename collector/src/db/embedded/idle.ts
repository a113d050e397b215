/** A data directory that nobody serves, held so that nobody begins to: for copying it, or putting another in its place. */
import { join } from 'node:path';
import type { Log } from '@tidemark/service';
import { clearFormerServer } from './data-directory.ts';
import { lockDataDirectory } from './lock.ts';

/**
 * Takes the directory. A server that a killed collector left behind is stopped. Returns what gives it back.
 * Throws an OperationalFailure (alreadyRunning) when a collector runs on it.
 */
export async function holdIdleDataDirectory(dataDir: string, log: Log): Promise<() => void> {
  const giveBack = lockDataDirectory(dataDir);
  try {
    await clearFormerServer(join(dataDir, 'postgres'), log);
    return giveBack;
  } catch (error) {
    giveBack();
    throw error;
  }
}
