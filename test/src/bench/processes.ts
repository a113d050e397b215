/** What processes cost, read from /proc: CPU of all their threads in nanoseconds, resident and proportional memory, children reaped. Linux only. */
import { readFileSync, readdirSync } from 'node:fs';

/** CPU milliseconds that all living threads of a process have used (schedstat, nanosecond resolution). */
export function cpuMs(pid: number): number {
  let nanoseconds = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      // A thread that has just ended; its time is in no other place, and short.
    }
  }
  return nanoseconds / 1e6;
}

/** Fields of /proc/PID/stat after the command name; index 0 is the state. */
function statFields(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** Processes whose parent is `pid`. */
export function childrenOf(pid: number): number[] {
  const children: number[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (Number(statFields(Number(name))[1]) === pid) children.push(Number(name));
    } catch {
      // It ended between the listing and the reading.
    }
  }
  return children;
}

/**
 * CPU milliseconds of a process and of all children it has or had. For PostgreSQL: the postmaster with
 * backends that have ended (cutime, 10 ms resolution) and those that live.
 */
export function treeCpuMs(pid: number): number {
  const fields = statFields(pid);
  const reapedMs = (Number(fields[13]) + Number(fields[14])) * 10;
  return cpuMs(pid) + reapedMs + childrenOf(pid).reduce((sum, child) => sum + cpuMs(child), 0);
}

export interface Memory {
  rssMB: number;
  anonMB: number;
  pssMB: number;
}

/** Memory of one process in MiB. */
export function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const mb = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0) / 1024;
  return { rssMB: mb('Rss'), anonMB: mb('Anonymous'), pssMB: mb('Pss') };
}

/** Page faults of children that were waited for: zero means that no child process was ever started and reaped. */
export function reapedChildFaults(pid: number): number {
  const fields = statFields(pid);
  return Number(fields[8]) + Number(fields[10]);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which a share `q` of the values lie (nearest rank). */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}
