/** The CPU of an agent's connection to a PostgreSQL server: its backend process, found by the name that PostgreSQL gives it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { childrenOf, cpuMs } from './processes.ts';

/** CPU milliseconds of all backends of the role `tidemark_agent` in the embedded server of a data directory. */
export function backendCpuMs(dataDir: string): number {
  const postmaster = Number(readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]);
  return childrenOf(postmaster)
    .filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('tidemark_agent'))
    .reduce((sum, pid) => sum + cpuMs(pid), 0);
}
