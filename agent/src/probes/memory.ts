/**
 * Memory and swap on Linux: every field of /proc/meminfo under node_exporter's name for it, and what
 * /proc/vmstat counts about paging. In a container with a memory limit the usage ratio is the share of that limit.
 */
import { join } from 'node:path';
import { Cgroup } from './cgroup.ts';
import { MEMORY_TOTAL_BYTES, MEMORY_USAGE_RATIO } from './headline.ts';
import { KernelFile, type Cursor } from './kernel-file.ts';
import type { Probe } from './probe.ts';
import { metric, type BlockRecorder, type Metric } from './recorder.ts';

const KIB = 1024;

const swapUsageRatio = metric('tidemark_swap_usage_ratio', 'gauge', 'ratio', 'Used share of the swap space; no value where there is none.');
const limitBytes = metric('tidemark_memory_limit_bytes', 'gauge', 'bytes', 'Memory that the container may use.');

/** node_exporter's default choice of /proc/vmstat. */
const VMSTAT = ['pgpgin', 'pgpgout', 'pswpin', 'pswpout', 'pgfault', 'pgmajfault', 'oom_kill'].map((field) => ({
  line: `${field} `,
  metric: metric(`node_vmstat_${field}`, 'counter', '', `/proc/vmstat information field ${field}.`),
}));

export function memoryProbe(options: { readonly procfs: string; readonly cgroupfs: string }): Probe {
  const meminfo = new KernelFile(join(options.procfs, 'meminfo'));
  const vmstat = new KernelFile(join(options.procfs, 'vmstat'));
  const cgroup = new Cgroup(options.procfs, options.cgroupfs);
  const fields = new MeminfoFields();
  return {
    name: 'memory',
    collect(context) {
      const block = context.block();
      fields.read(meminfo.mustRead());
      const total = fields.bytes('MemTotal') ?? 0;
      const allowance = cgroup.memory(total);
      if (allowance !== undefined) {
        block.add(MEMORY_USAGE_RATIO, Math.min(1, allowance.usedBytes / allowance.limitBytes));
        block.add(limitBytes, allowance.limitBytes);
      } else block.add(MEMORY_USAGE_RATIO, usageRatio(total, fields.availableBytes()));
      block.add(swapUsageRatio, usageRatio(fields.bytes('SwapTotal') ?? 0, fields.bytes('SwapFree')));
      fields.record(block);
      const cursor = vmstat.read();
      if (cursor !== undefined) recordVmstat(cursor, block);
    },
    close() {
      meminfo.close();
      vmstat.close();
    },
  };
}

function usageRatio(total: number, free: number | undefined): number | null {
  return total > 0 && free !== undefined ? Math.max(0, (total - free) / total) : null;
}

function recordVmstat(cursor: Cursor, block: BlockRecorder): void {
  let found = 0;
  do {
    for (const { line, metric: field } of VMSTAT) {
      if (!cursor.take(line)) continue;
      block.add(field, cursor.number());
      found++;
      break;
    }
  } while (found < VMSTAT.length && cursor.nextLine());
}

/** The lines of /proc/meminfo. The kernel keeps their order, so a line is known by its place until it proves another. */
export class MeminfoFields {
  readonly #fields: { line: string; name: string; metric: Metric; value: number }[] = [];
  #count = 0;

  read(cursor: Cursor): void {
    this.#count = 0;
    do {
      let field = this.#fields[this.#count];
      if (field === undefined || !cursor.take(field.line)) {
        const name = cursor.word(':');
        if (name === '') continue;
        field = this.#learn(name);
      }
      const value = cursor.number();
      if (Number.isNaN(value)) continue;
      if (cursor.more()) {
        field.value = value * KIB;
        if (!field.metric.name.endsWith('_bytes')) field.metric = meminfoMetric(field.name, true);
      } else field.value = value;
      this.#count++;
    } while (cursor.nextLine());
  }

  bytes(name: string): number | undefined {
    for (let i = 0; i < this.#count; i++) if (this.#fields[i]!.name === name) return this.#fields[i]!.value;
    return undefined;
  }

  /** Kernels before 3.14 do not estimate it; then it is what is free or holds data that are on disk as well. */
  availableBytes(): number | undefined {
    const told = this.bytes('MemAvailable');
    if (told !== undefined) return told;
    const free = this.bytes('MemFree');
    return free === undefined ? undefined : free + (this.bytes('Buffers') ?? 0) + (this.bytes('Cached') ?? 0);
  }

  record(block: BlockRecorder): void {
    for (let i = 0; i < this.#count; i++) block.add(this.#fields[i]!.metric, this.#fields[i]!.value);
  }

  #learn(name: string): { line: string; name: string; metric: Metric; value: number } {
    const field = { line: `${name}:`, name, metric: meminfoMetric(name, false), value: 0 };
    this.#fields[this.#count] = field;
    return field;
  }
}

/** "Active(anon)" is node_memory_Active_anon_bytes; a field without "kB" is a count and has no unit in its name. */
function meminfoMetric(name: string, inBytes: boolean): Metric {
  if (name === 'MemTotal' && inBytes) return MEMORY_TOTAL_BYTES;
  const field = name.replaceAll(/[^A-Za-z0-9_]+/g, '_').replace(/_$/, '') + (inBytes ? '_bytes' : '');
  return metric(`node_memory_${field}`, 'gauge', inBytes ? 'bytes' : '', `Memory information field ${field}.`);
}
