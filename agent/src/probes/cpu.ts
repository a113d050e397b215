/**
 * CPU on Linux: times by CPU and mode, load, and what else /proc/stat counts, read in one go. The usage ratio
 * is the busy share since the collection before; in a container with a CPU limit it is the share of that limit.
 */
import { join } from 'node:path';
import type { Clock } from '@tidemark/service';
import { Cgroup, type CpuAllowance } from './cgroup.ts';
import { CPU_USAGE_RATIO } from './headline.ts';
import { KernelFile, type Cursor } from './kernel-file.ts';
import type { Probe } from './probe.ts';
import { metric, type BlockRecorder } from './recorder.ts';

/** Linux tells user space a hundred ticks a second on every architecture that matters, whatever the kernel ticks at. */
const TICKS_PER_SECOND = 100;
/** A shorter stretch holds too few ticks to say anything; the very first collection waits for it. */
const STRETCH_MS = 150;
/** Counters of a CPU may step back a little (iowait, idle); further back than this, the CPU was taken out and put in again. */
const STEP_BACK_SECONDS = 3;
/** The columns of a cpu line. The last two are part of the first two, so they are not added to the total. */
const MODES = ['user', 'nice', 'system', 'idle', 'iowait', 'irq', 'softirq', 'steal'];
const IDLE = 3;
const IOWAIT = 4;
const GUEST_MODES = ['user', 'nice'];
const COLUMNS = MODES.length + GUEST_MODES.length;

const cpuSeconds = metric('node_cpu_seconds_total', 'counter', 'seconds', 'Seconds the CPUs spent in each mode.', ['cpu', 'mode']);
const guestSeconds = metric('node_cpu_guest_seconds_total', 'counter', 'seconds', 'Seconds the CPUs spent in guests (VMs) for each mode.', [
  'cpu',
  'mode',
]);
const limitCores = metric('tidemark_cpu_limit_cores', 'gauge', '', "CPUs' worth of time that the container may use.");
const load1 = metric('node_load1', 'gauge', '', '1m load average.');
const load5 = metric('node_load5', 'gauge', '', '5m load average.');
const load15 = metric('node_load15', 'gauge', '', '15m load average.');

/** The lines of /proc/stat below those of the CPUs, by what they begin with. */
const COUNTS = [
  { word: 'intr ', metric: metric('node_intr_total', 'counter', '', 'Total number of interrupts serviced.') },
  { word: 'ctxt ', metric: metric('node_context_switches_total', 'counter', '', 'Total number of context switches.') },
  { word: 'btime ', metric: metric('node_boot_time_seconds', 'gauge', 'seconds', 'Node boot time, in unixtime.') },
  { word: 'processes ', metric: metric('node_forks_total', 'counter', '', 'Total number of forks.') },
  { word: 'procs_running ', metric: metric('node_procs_running', 'gauge', '', 'Number of processes in runnable state.') },
  { word: 'procs_blocked ', metric: metric('node_procs_blocked', 'gauge', '', 'Number of processes blocked waiting for I/O to complete.') },
];

interface OneCpu {
  readonly name: string;
  /** Ticks by column; NaN for columns that this kernel does not have. */
  readonly ticks: Float64Array;
}

/** Busy and total ticks so far; and where the container has a limit, that limit and the seconds its group has used so far. */
interface Reading {
  readonly atMs: number;
  readonly busy: number;
  readonly total: number;
  readonly allowance: CpuAllowance | undefined;
}

export interface CpuProbeOptions {
  readonly procfs: string;
  readonly cgroupfs: string;
  /** Waits, so that the first collection has a stretch to measure. */
  readonly sleep?: (ms: number) => Promise<void>;
}

/** Takes its base line when it is made, so that the first collection has a usage to tell. */
export function cpuProbe(options: CpuProbeOptions, clock: Clock): Probe {
  const sleep = options.sleep ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms)));
  const stat = new KernelFile(join(options.procfs, 'stat'));
  const loadavg = new KernelFile(join(options.procfs, 'loadavg'));
  const cgroup = new Cgroup(options.procfs, options.cgroupfs);
  const times = new CpuTimes();
  let before = baseLine();

  /** What cannot be read will be this probe's failure when it is collected; making it must not stop the agent. */
  function baseLine(): Reading | undefined {
    try {
      return read();
    } catch {
      return undefined;
    }
  }

  function read(): Reading {
    times.read(stat.mustRead());
    return { atMs: clock.monotonicMs(), busy: times.busy, total: times.total, allowance: cgroup.cpu(times.cpus.length) };
  }

  function record(block: BlockRecorder): void {
    const now = read();
    block.add(CPU_USAGE_RATIO, before === undefined ? null : usageRatio(before, now));
    before = now;
    if (now.allowance !== undefined) block.add(limitCores, now.allowance.limitCores);
    const load = loadavg.mustRead();
    block.add(load1, load.number());
    block.add(load5, load.number());
    block.add(load15, load.number());
    times.record(block);
  }

  return {
    name: 'cpu',
    collect(context) {
      const block = context.block();
      const waitMs = before === undefined ? 0 : before.atMs + STRETCH_MS - clock.monotonicMs();
      if (waitMs > 0) return sleep(waitMs).then(() => record(block));
      return record(block);
    },
    close() {
      stat.close();
      loadavg.close();
    },
  };
}

/** The busy share of the time between two readings, of the limit where the container has one; null when no time passed. */
function usageRatio(before: Reading, now: Reading): number | null {
  if (now.allowance !== undefined) {
    const seconds = (now.atMs - before.atMs) / 1000;
    if (before.allowance === undefined || seconds <= 0) return null;
    return clamp((now.allowance.usageSeconds - before.allowance.usageSeconds) / (now.allowance.limitCores * seconds));
  }
  const total = now.total - before.total;
  return total > 0 ? clamp((now.busy - before.busy) / total) : null;
}

function clamp(ratio: number): number {
  return Math.min(1, Math.max(0, ratio));
}

/** What /proc/stat says, with its counters held from stepping back. */
export class CpuTimes {
  cpus: OneCpu[] = [];
  /** Ticks of all CPUs since the first reading. Waiting for I/O is idle; what the hypervisor took away ("steal") is busy: there is no more to have. */
  busy = 0;
  total = 0;
  readonly #counts = new Float64Array(COUNTS.length);
  readonly #line = new Float64Array(COLUMNS);

  /** Reads /proc/stat. Throws when it has not the form of one. */
  read(cursor: Cursor): void {
    this.#counts.fill(Number.NaN);
    let at = 0;
    do {
      // The first line is the sum of the others.
      if (cursor.take('cpu ')) continue;
      if (cursor.take('cpu')) this.#readCpu(at++, cursor);
      else this.#readCount(cursor);
    } while (cursor.nextLine());
    this.cpus.length = at;
    if (at === 0) throw new Error('/proc/stat names no CPU');
  }

  record(block: BlockRecorder): void {
    for (const [i, count] of COUNTS.entries()) if (!Number.isNaN(this.#counts[i]!)) block.add(count.metric, this.#counts[i]);
    for (const { name, ticks } of this.cpus) {
      for (let column = 0; column < COLUMNS; column++) {
        const value = ticks[column]!;
        if (Number.isNaN(value)) continue;
        if (column < MODES.length) block.add(cpuSeconds, value / TICKS_PER_SECOND, name, MODES[column]!);
        else block.add(guestSeconds, value / TICKS_PER_SECOND, name, GUEST_MODES[column - MODES.length]!);
      }
    }
  }

  #readCpu(at: number, cursor: Cursor): void {
    const name = cursor.word();
    const line = this.#line;
    for (let column = 0; column < COLUMNS; column++) line[column] = cursor.number();
    const known = this.cpus[at];
    // Idle that fell by seconds means a CPU that was away: everything it counts began anew.
    if (known?.name !== name || known.ticks[IDLE]! - line[IDLE]! > STEP_BACK_SECONDS * TICKS_PER_SECOND) {
      this.cpus[at] = { name, ticks: Float64Array.from(line) };
      return;
    }
    const { ticks } = known;
    for (let column = 0; column < COLUMNS; column++) {
      const step = line[column]! - ticks[column]!;
      // Also leaves out NaN, for columns that this kernel does not have.
      if (!(step > 0)) continue;
      ticks[column] = line[column]!;
      if (column >= MODES.length) continue;
      this.total += step;
      if (column !== IDLE && column !== IOWAIT) this.busy += step;
    }
  }

  #readCount(cursor: Cursor): void {
    for (let i = 0; i < COUNTS.length; i++) {
      if (!cursor.take(COUNTS[i]!.word)) continue;
      this.#counts[i] = cursor.number();
      return;
    }
  }
}
